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

/// Blocks of rows that come one after another, for data that do not fit in memory: see
/// [`Trainer::streamed`](crate::Trainer::streamed) and [`cpu::Trainer::streamed`](crate::cpu::Trainer::streamed).
///
/// A block is a [`Table`] of any number of rows; all have as many features and the same kind of targets. Rows are
/// shuffled within a window: window `w` of so many rows is the part of the stream behind those before it, wherever
/// blocks end, in an order that seed and `w` decide. So the same blocks and the same seed are the same minibatches. A
/// stream that repeats a table, with a window as large, has those of
/// [`Sampling::Shuffled`](super::Sampling::Shuffled).
///
/// The iterator runs on the thread that takes the steps. A thread of its own that reads ahead sends its blocks through a
/// channel, whose receiver is an iterator:
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
    /// Iterators need not be for several threads, as trainers are; nobody waits for this lock.
    blocks: Mutex<Blocks>,
    window: usize,
    seed: u64,
    /// Number of the window that comes next.
    number: u32,
    /// Blocks that were asked for.
    asked: u64,
    has_ended: bool,
}

impl Stream {
    /// Of blocks, or of errors in their place, to be shuffled in windows of `window` rows: as many as are wanted in
    /// memory, and more than rows that are alike stand behind each other. A trainer rounds them up to whole minibatches.
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

    /// Whose first window is the one of this number, which are 0, 1 and so on: for a training that goes on where another
    /// has stopped, with blocks from the first row of that window on. A window has the rows that were asked for, rounded up
    /// to whole minibatches; so the first row of window `w` is `w` times as many. A file of a training has the number of
    /// the window that it stopped in: another is refused with both numbers, and the minibatches of it that were
    /// trained on are left out. Then the training has the same bits as if it had not stopped.
    #[must_use]
    pub fn from_window(self, number: u32) -> Self {
        Self { number, ..self }
    }

    /// Whose blocks are what its iterator gives and `check` lets pass; what it says of another is the reason why that
    /// block could not be had.
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

    /// The next block, if it is as it should be. Behind its end it is not asked again.
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

/// What a row of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) width: usize,
    /// Classes, or values of a row.
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

    /// Numbers of a row, of four bytes each.
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

/// Why there is no block.
#[derive(Debug)]
pub(crate) enum Fault {
    /// What the iterator says.
    Source { block: u64, source: Boxed },
    /// It is of other rows.
    Layout {
        block: u64,
        expected: Layout,
        found: Layout,
    },
}
