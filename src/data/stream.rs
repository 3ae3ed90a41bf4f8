//! Data that do not fit in memory.

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

/// A sequence of blocks of rows, for data that do not fit in memory. See
/// [`Trainer::streamed`](crate::Trainer::streamed) and [`cpu::Trainer::streamed`](crate::cpu::Trainer::streamed).
///
/// A block is a [`Table`] with any number of rows. All blocks have the same number of features and the same kind of
/// targets. Rows are shuffled within windows. A window is the next `window` rows of the stream, whatever the ends of
/// blocks; the seed and the number of the window determine its order. So the same rows with the same seed give the
/// same minibatches. A stream that repeats a table, with the table's size as window, gives the minibatches of
/// [`Sampling::Shuffled`](super::Sampling::Shuffled).
///
/// The iterator runs on the thread that takes the steps. To read ahead on another thread, let that thread send its
/// blocks through a channel: the receiver is an iterator.
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
    /// Makes the stream `Sync`, as trainers are, although iterators need not be. The lock is never contended.
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
    /// Creates a stream from blocks, or errors in place of blocks, to be shuffled in windows of `window` rows.
    ///
    /// A window must fit in memory, and should be longer than any run of similar rows in the stream. A trainer rounds
    /// it up to whole minibatches.
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

    /// Sets the number of the first window, so that a resumed training can start with a later block. Windows are
    /// numbered 0, 1 and so on.
    ///
    /// The blocks must then start with the first row of that window. A window has the requested number of rows,
    /// rounded up to whole minibatches; window `w` starts at row `w` times that number. The checkpoint of a training
    /// stores the number of the window in which it stopped. Resuming fails for any other number, and the error has
    /// both numbers. In the right window, the minibatches that were already trained on are skipped. The training then
    /// has the same bits as if it had not stopped.
    #[must_use]
    pub fn from_window(self, number: u32) -> Self {
        Self { number, ..self }
    }

    /// Adds a check of every block. If `check` fails for a block, its error takes the place of the block.
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

    /// The next block, if its layout is right. After the end of the stream, the iterator is not called again.
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
    /// Number of classes, or of values per row.
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

    /// Numbers per row, at four bytes each.
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

/// Why a block is not available.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The iterator returned an error.
    Source { block: u64, source: Boxed },
    /// The rows of the block have another layout.
    Layout {
        block: u64,
        expected: Layout,
        found: Layout,
    },
}
