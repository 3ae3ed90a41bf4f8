//! Streams of training data that do not fit in memory.

pub(super) mod windows;

use std::error::Error;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::{Table, Targets};
use crate::error::TargetKind;

#[cfg(test)]
mod tests;

type Boxed = Box<dyn Error + Send + Sync>;
type Blocks = Box<dyn Iterator<Item = Result<Table, Boxed>> + Send>;

/// Training data that arrives in blocks of rows, for data that does not fit in memory. See
/// [`Trainer::streamed`](crate::Trainer::streamed) and [`cpu::Trainer::streamed`](crate::cpu::Trainer::streamed).
///
/// A block is a [`Table`] with any number of rows. All blocks must have the same number of features and the same kind
/// of targets.
///
/// Rows are shuffled within windows. A window consists of `window` consecutive rows of the stream, and may contain
/// parts of several blocks. The seed and the number of the window determine the order of its rows, so the same rows
/// with the same seed give the same minibatches. If the stream repeats one table, and a window has as many rows as the
/// table, the minibatches are the same as with [`Sampling::Shuffled`](super::Sampling::Shuffled).
///
/// The iterator runs on the thread that takes the training steps. To read ahead on another thread, let that thread
/// send its blocks through a channel: the receiver is an iterator.
///
/// ```
/// use std::sync::mpsc::sync_channel;
/// use std::thread;
///
/// use wgrad::data::{DataError, Stream, Table};
/// use wgrad::ndarray::Array2;
/// use wgrad::ops::{Adam, Linear, MeanSquaredError};
/// use wgrad::{Sequential, cpu};
///
/// let (sender, receiver) = sync_channel::<Result<Table, DataError>>(2);
/// let reader = thread::spawn(move || {
///     for block in 0..20 {
///         let x = Array2::from_shape_fn((100, 1), |(row, _)| (block * row % 101) as f32 / 101.0);
///         let table = Table::regression("block", x.view(), x.mapv(|x| 3.0 * x).view());
///         if sender.send(table).is_err() {
///             break; // the trainer is gone
///         }
///     }
/// });
///
/// let stream = Stream::new(receiver, 500, 1);
/// let network = Sequential::input(1).layer(Linear::new(1)).on_cpu()?;
/// let mut trainer = cpu::Trainer::streamed(network, MeanSquaredError, Adam::new(0.05), stream, 10)?;
/// let mut steps = 0;
/// loop {
///     let losses = trainer.steps(50)?;
///     steps += losses.len();
///     let Some(loss) = losses.last() else { break };
///     println!("loss {loss}");
/// }
/// assert_eq!(steps, 200);
/// # reader.join().unwrap();
/// # Ok::<(), wgrad::Error>(())
/// ```
pub struct Stream {
    /// The mutex makes the stream `Sync`, even if the iterator is not. Trainers must be `Sync`. The lock is never
    /// contended.
    blocks: Mutex<Blocks>,
    window: usize,
    seed: u64,
    /// Number of the next window.
    number: u32,
    /// Number of blocks requested so far.
    asked: u64,
    has_ended: bool,
}

impl Stream {
    /// Creates a stream from blocks of rows, which are shuffled within windows of `window` rows. The iterator may
    /// return an error instead of a block.
    ///
    /// A window must fit in memory, and should be longer than any run of similar rows in the stream. A trainer rounds
    /// `window` up to a multiple of the batch size.
    #[must_use]
    pub fn new<I, E>(blocks: I, window: usize, seed: u64) -> Self
    where
        I: IntoIterator<Item = Result<Table, E>, IntoIter: Send + 'static>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let blocks = blocks.into_iter().map(|block| block.map_err(E::into));
        Self {
            blocks: Mutex::new(Box::new(blocks)),
            window,
            seed,
            number: 0,
            asked: 0,
            has_ended: false,
        }
    }

    /// Sets the number of the first window, so that a resumed training need not read the earlier blocks again. Windows
    /// are numbered from 0.
    ///
    /// The blocks must then start with the first row of window `number`. The index of that row is `number` times the
    /// rows per window, where the rows per window are rounded up to a multiple of the batch size.
    ///
    /// A checkpoint stores the number of the window in which its training stopped. Resuming with any other number
    /// fails, and the error shows both numbers. The resumed training skips the minibatches of this window that were
    /// used before the checkpoint. It computes the same bits as a training without interruption.
    #[must_use]
    pub fn from_window(self, number: u32) -> Self {
        Self { number, ..self }
    }

    /// Adds a check of every block. If `check` fails for a block, the stream returns the error instead of the block.
    pub(crate) fn checked(
        self,
        check: impl Fn(&Table) -> Result<(), crate::error::Error> + Send + 'static,
    ) -> Self {
        let blocks = self.blocks.into_inner();
        let blocks = blocks.unwrap_or_else(PoisonError::into_inner);
        let blocks = blocks.map(move |block| {
            let table = block?;
            check(&table)?;
            Ok(table)
        });
        Self {
            blocks: Mutex::new(Box::new(blocks)),
            ..self
        }
    }

    /// Returns the next block, or `None` at the end of the stream, after which the iterator is not called again.
    ///
    /// # Errors
    /// [`Fault::Source`] when the iterator fails; [`Fault::Layout`] when the block's layout is not `expected`.
    fn next(&mut self, expected: Layout) -> Result<Option<Table>, Fault> {
        if self.has_ended {
            return Ok(None);
        }
        let blocks = self.blocks.get_mut();
        let next = blocks.unwrap_or_else(PoisonError::into_inner).next();
        let block = self.asked;
        let table = match next {
            None => {
                self.has_ended = true;
                return Ok(None);
            }
            Some(Ok(table)) => table,
            Some(Err(source)) => {
                self.asked += 1;
                return Err(Fault::Source { block, source });
            }
        };
        self.asked += 1;
        let found = Layout::of(&table);
        if found == expected {
            Ok(Some(table))
        } else {
            Err(Fault::Layout {
                block,
                expected,
                found,
            })
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("window", &self.window)
            .field("seed", &self.seed)
            .field("blocks_asked_for", &self.asked)
            .finish_non_exhaustive()
    }
}

/// The format of a stream's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) width: usize,
    /// Number of classes, or number of target values per row.
    pub(crate) outputs: usize,
    pub(crate) targets: TargetKind,
}

impl Layout {
    pub(crate) fn of(table: &Table) -> Self {
        Self {
            width: table.width(),
            outputs: table.outputs(),
            targets: match table.targets() {
                Targets::Classes(_) => TargetKind::Classes,
                Targets::Values { .. } => TargetKind::Values,
            },
        }
    }

    /// Number of 4-byte values per row: features and targets.
    pub(crate) fn numbers(self) -> usize {
        let targets = match self.targets {
            TargetKind::Classes => 1,
            TargetKind::Values | TargetKind::Probabilities => self.outputs,
        };
        self.width.saturating_add(targets)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            width,
            outputs,
            targets,
        } = self;
        let of_row = match targets {
            TargetKind::Classes => format!("one of {outputs} classes"),
            TargetKind::Values | TargetKind::Probabilities => format!("values: {outputs}"),
        };
        write!(f, "rows with features: {width}, and {of_row}")
    }
}

/// The reason why a block cannot be used.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The iterator returned an error.
    Source { block: u64, source: Boxed },
    /// The rows of the block do not have the expected layout.
    Layout {
        block: u64,
        expected: Layout,
        found: Layout,
    },
}
