//! Reads the rows of a stream window by window, and shuffles each window into training order.

use super::{Fault, Layout, Stream};
use crate::data::sampling::Shuffle;
use crate::data::{Table, Targets};
use crate::error::{Error, TargetKind};
use crate::memory::bytes_of;

/// The current window of a stream, from which minibatches are taken, and the rows of the next window that have been
/// read ahead.
#[derive(Debug)]
pub(crate) struct Windows {
    reader: Reader,
    batch: usize,
    /// Rows per window, a multiple of `batch`.
    size: usize,
    /// Rows of the current window.
    now: Rows,
    /// Indices of the rows of `now` in training order, up to the last whole minibatch. Empty while `now` is being
    /// read.
    order: Vec<u32>,
    /// Number of rows at the beginning of `order` that were used for training.
    taken: usize,
    /// Number of rows to skip in the next window, because they were used before the training was resumed.
    skipped: usize,
    /// Rows of the next window that have been read ahead.
    next: Rows,
    /// Number of rows at the end of the stream that do not fill a minibatch; `None` until the end is reached.
    rows_left: Option<usize>,
}

/// Reads rows into windows. If the iterator panics, no rows are lost.
#[derive(Debug)]
struct Reader {
    stream: Stream,
    layout: Layout,
    /// A block that does not fit in the current window, and the number of its rows that are already in a window.
    block: Option<(Table, usize)>,
    fault: Option<Fault>,
}

/// Rows of a window: features, and a class or target values per row.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) features: Vec<f32>,
    pub(crate) classes: Vec<u32>,
    pub(crate) values: Vec<f32>,
}

impl Windows {
    /// Creates windows whose size is a multiple of `batch`, the rows per minibatch.
    pub(crate) fn new(stream: Stream, layout: Layout, batch: usize) -> Result<Self, Error> {
        let most = u32::MAX as usize;
        if batch == 0 || batch > most {
            let expected = format!("1 to {most}");
            return Err(Error::setting("batch", expected, batch));
        }
        let window = stream.window;
        let size = window.checked_next_multiple_of(batch);
        let Some(size) = size.filter(|size| (1..=most).contains(size)) else {
            let expected = format!("1 to {} rows", most - most % batch);
            return Err(Error::setting("window of the stream", expected, window));
        };
        let reader = Reader {
            stream,
            layout,
            block: None,
            fault: None,
        };
        Ok(Self {
            reader,
            batch,
            size,
            now: Rows::default(),
            order: Vec::new(),
            taken: 0,
            skipped: 0,
            next: Rows::default(),
            rows_left: None,
        })
    }

    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// Describes how rows are drawn for minibatches. A checkpoint stores this text.
    pub(crate) fn sampling(&self) -> String {
        let window = self.size;
        let seed = self.reader.stream.seed;
        format!("of a stream, windows of {window} rows, seed {seed}")
    }

    pub(crate) fn layout(&self) -> Layout {
        self.reader.layout
    }

    /// Size of a window and its `order`, in bytes.
    pub(crate) fn bytes_of_window(&self) -> u64 {
        let numbers = self.layout().numbers().saturating_add(1) as u64;
        bytes_of::<f32>(numbers.saturating_mul(self.size as u64))
    }

    /// Returns the number of whole minibatches left in the current window. If none is left, reads the next window
    /// first. Returns 0 at the end of the stream and if reading fails.
    pub(crate) fn ready(&mut self) -> usize {
        while self.taken == self.order.len() && self.rows_left.is_none() {
            self.read_window();
            if self.order.is_empty() {
                break;
            }
        }
        self.left()
    }

    /// Returns the number of whole minibatches left in the current window.
    fn left(&self) -> usize {
        (self.order.len() - self.taken) / self.batch
    }

    fn read_window(&mut self) {
        // Reuse the memory of a finished window. If `order` is empty, this is the first window, or an error interrupted
        // the window: continue it.
        if !self.order.is_empty() {
            (self.taken, self.now) = (0, std::mem::take(&mut self.now).cleared());
            self.order.clear();
            if !self.next.is_empty() {
                std::mem::swap(&mut self.now, &mut self.next);
            }
        }
        self.now.reserve(self.reader.layout, self.size);
        let is_whole = self.reader.read_into(&mut self.now, self.size);
        let stream = &mut self.reader.stream;
        if !is_whole && !stream.has_ended {
            return;
        }
        let rows = self.now.len(self.reader.layout);
        let whole = rows - rows % self.batch;
        if !is_whole {
            self.rows_left = Some(rows - whole);
        }
        if whole == 0 {
            return;
        }
        let shuffle = Shuffle::new(stream.seed, rows, stream.number);
        self.order.reserve_exact(whole);
        self.order.extend(shuffle.take(whole));
        stream.number = stream.number.wrapping_add(1);
        let skipped = std::mem::take(&mut self.skipped);
        self.taken = self.rows_to_skip(skipped);
    }

    /// Rounds a number of rows of the current window down to whole minibatches.
    fn rows_to_skip(&self, rows: usize) -> usize {
        rows.min(self.order.len()) / self.batch * self.batch
    }

    /// Returns the number of the window that contains the next minibatch, and how many of its rows were already used.
    pub(crate) fn place(&self) -> (u32, usize) {
        let next = self.reader.stream.number;
        if self.taken < self.order.len() {
            (next.wrapping_sub(1), self.taken)
        } else {
            (next, self.skipped)
        }
    }

    /// Skips the first `rows` rows of the window that contains the next minibatch.
    pub(crate) fn skip_used_rows(&mut self, rows: usize) {
        if self.taken < self.order.len() {
            self.taken = self.rows_to_skip(rows);
        } else {
            self.skipped = rows;
        }
    }

    /// Reads up to `rows` more rows of the next window, if the current window has fewer than `wanted` minibatches left.
    /// Otherwise no step needs more rows yet, so the call reads nothing: it must not wait for a stream that has no rows
    /// ready. An error is reported only after all steps on the current window have been taken.
    pub(crate) fn read_ahead(&mut self, rows: usize, wanted: usize) {
        if self.order.is_empty() || wanted <= self.left() {
            return;
        }
        let has = self.next.len(self.reader.layout);
        let until = has.saturating_add(rows).min(self.size);
        self.next.reserve(self.reader.layout, self.size);
        self.reader.read_into(&mut self.next, until);
    }

    /// Returns the next `count` minibatches, which must be [`ready`](Self::ready): the indices of their rows, and the
    /// rows of the window.
    pub(crate) fn minibatches(&self, count: usize) -> (&[u32], &Rows) {
        let rows = count * self.batch;
        (&self.order[self.taken..][..rows], &self.now)
    }

    /// Marks the next `count` minibatches as used.
    pub(crate) fn advance(&mut self, count: usize) {
        self.taken += count * self.batch;
    }

    /// Returns a pending error, with the losses of the steps before it, and clears it. Reading then continues with the
    /// next block.
    pub(crate) fn fault(&mut self, losses: impl FnOnce() -> Vec<f32>) -> Result<(), Error> {
        match self.reader.fault.take() {
            None => Ok(()),
            Some(Fault::Source { block, source }) => Err(Error::Stream {
                block,
                source,
                losses: losses(),
            }),
            Some(Fault::Layout {
                block,
                expected,
                found,
            }) => Err(Error::Block {
                block,
                expected: expected.to_string(),
                found: found.to_string(),
                losses: losses(),
            }),
        }
    }

    /// The number of rows at the end of the stream that do not fill a minibatch; `None` until all other rows were used.
    pub(crate) fn rows_left(&self) -> Option<usize> {
        self.rows_left.filter(|_| self.taken == self.order.len())
    }
}

impl Reader {
    /// Reads until `rows` has `until` rows. Returns `false` if the stream ends or an error occurs before.
    fn read_into(&mut self, rows: &mut Rows, until: usize) -> bool {
        let layout = self.layout;
        while self.fault.is_none() {
            let missing = until - rows.len(layout);
            if missing == 0 {
                return true;
            }
            let (table, first) = match self.block.take() {
                Some(block) => block,
                None => match self.stream.next(layout) {
                    Ok(Some(table)) => (table, 0),
                    Ok(None) => return false,
                    Err(fault) => {
                        self.fault = Some(fault);
                        return false;
                    }
                },
            };
            let end = table.len().min(first.saturating_add(missing));
            rows.extend(&table, first, end);
            if end < table.len() {
                self.block = Some((table, end));
            }
        }
        false
    }
}

impl Rows {
    pub(crate) fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    fn len(&self, layout: Layout) -> usize {
        self.features.len() / layout.width
    }

    /// Removes all rows and keeps the memory.
    pub(crate) fn cleared(mut self) -> Self {
        self.features.clear();
        self.classes.clear();
        self.values.clear();
        self
    }

    /// Reserves memory for a total of exactly `rows` rows.
    pub(crate) fn reserve(&mut self, layout: Layout, rows: usize) {
        let more = |rows: usize, of_row: usize, has: usize| (rows * of_row).saturating_sub(has);
        let features = more(rows, layout.width, self.features.len());
        self.features.reserve_exact(features);
        match layout.targets {
            TargetKind::Classes => {
                let classes = more(rows, 1, self.classes.len());
                self.classes.reserve_exact(classes);
            }
            TargetKind::Values | TargetKind::Probabilities => {
                let values = more(rows, layout.outputs, self.values.len());
                self.values.reserve_exact(values);
            }
        }
    }

    /// Appends rows `first..end` of a table.
    fn extend(&mut self, table: &Table, first: usize, end: usize) {
        let part = |columns: usize| first * columns..end * columns;
        let features = &table.features()[part(table.width())];
        self.features.extend_from_slice(features);
        match table.targets() {
            Targets::Classes(labels) => {
                self.classes
                    .extend_from_slice(&labels.indices()[first..end]);
            }
            Targets::Values { outputs, values } => {
                self.values.extend_from_slice(&values[part(*outputs)]);
            }
        }
    }

    /// Appends the row with index `row` of `of`.
    pub(crate) fn push(&mut self, layout: Layout, of: &Self, row: usize) {
        let part = |columns: usize| row * columns..(row + 1) * columns;
        self.features
            .extend_from_slice(&of.features[part(layout.width)]);
        match layout.targets {
            TargetKind::Classes => self.classes.push(of.classes[row]),
            TargetKind::Values | TargetKind::Probabilities => self
                .values
                .extend_from_slice(&of.values[part(layout.outputs)]),
        }
    }
}
