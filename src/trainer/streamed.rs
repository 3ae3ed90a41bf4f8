//! Steps on rows that come in a stream.

use super::source::{Source, check_host};
use super::{PIECE, PIECES, Trainer};
use crate::data::{Layout, Rows, Sampling, Stream, Windows};
use crate::error::Error;
use crate::error::memory::readable;
use crate::fit::windows;
use crate::gpu::Finished;
use crate::model::{Model, probe_loss};
use crate::network::summary::Summary;
use crate::ops::gather::Resident;
use crate::ops::{Loss, Optimizer};
use crate::steps::{self, Fusion, Minibatches, Parts};
use crate::updater::Updater;

/// A stream, and the minibatches of it that are on the device: there is room for a few, which take turns. A minibatch is
/// written where its step looks for it, right before that step is submitted.
#[derive(Debug)]
pub(super) struct Streamed {
    windows: Windows,
    /// Of as many rows as there is room for, in order: step `t` has the minibatch at `t` modulo their number.
    sampling: Sampling,
    resident: Resident,
    /// Minibatches that there is room for: a power of two, so that the device may count steps modulo 2³².
    room: usize,
    /// On their way there.
    rows: Rows,
    /// What the device works on.
    before: Option<Finished>,
}

impl Streamed {
    fn new(model: &Model, windows: Windows) -> Result<Self, Error> {
        let layout = windows.layout();
        let batch = windows.batch();
        let room = minibatches_of_piece(layout, batch);
        let rows = room * batch;
        // Below 2³²: a batch is, and more than one have no more bytes than a piece.
        let all = u32::try_from(rows).unwrap_or(u32::MAX);
        Ok(Self {
            resident: Resident::of_stream(model.gpu(), layout, rows)?,
            sampling: Sampling::Listed((0..all).collect()),
            room,
            windows,
            rows: Rows::default(),
            before: None,
        })
    }

    pub(super) fn windows(&self) -> &Windows {
        &self.windows
    }

    pub(super) fn windows_mut(&mut self) -> &mut Windows {
        &mut self.windows
    }

    /// What steps are recorded on.
    pub(super) fn rows(&self) -> steps::Rows<'_> {
        steps::Rows::Minibatches(Minibatches {
            resident: &self.resident,
            batch: self.windows.batch(),
            parts: Parts::all(1),
            sampling: &self.sampling,
        })
    }
}

/// As many minibatches as a piece has, up to a power of two.
fn minibatches_of_piece(layout: Layout, batch: usize) -> usize {
    let of_minibatch = 4 * (layout.numbers() as u64).saturating_mul(batch as u64);
    let most = usize::try_from(PIECE / of_minibatch.max(1)).unwrap_or(usize::MAX);
    // The largest power of two up to it.
    1 << most.max(1).ilog2()
}

/// Writes what the next steps read of the optimizer: of at most so many, and of at least half of those before the first
/// whose rate no update can be made with. Returns of how many.
fn announce(updater: &mut Updater, most: usize) -> Result<usize, Error> {
    let mut steps = most;
    while steps > 0 {
        match updater.announce(steps) {
            Ok(()) => break,
            Err(Error::Setting { .. }) => steps /= 2,
            Err(error) => return Err(error),
        }
    }
    Ok(steps)
}

impl Trainer {
    /// Records the training of `model` on a stream of rows with minibatches of `batch` rows, for data that do not fit in
    /// memory. While the device works on some minibatches, the next that the same call takes steps on are read, shuffled
    /// and written: ask for many steps at a time. What no step of a call needs is not read in it, so that a program may
    /// send rows through a channel and take their steps in turn.
    ///
    /// In memory are the block that came last, two windows, and some megabytes of minibatches on their way; on the
    /// device are 8 MB of minibatches, or one.
    ///
    /// [`steps`](Self::steps) returns fewer losses than steps that were asked for when the stream ends, and then none
    /// ([`is_finished`](Self::is_finished)). Rows at the end that fill no minibatch are not trained on
    /// ([`rows_left`](Self::rows_left)). [`advance`](Self::advance) waits until no more than two submits are on their
    /// way, and for the iterator. A checkpoint has the place in the stream, but not its rows: whoever resumes from one gives
    /// the trainer a stream that begins with the window in which that one stopped ([`Stream::from_window`]).
    ///
    /// ```
    /// use wgrad::data::{DataError, Stream, Table};
    /// use wgrad::ndarray::Array2;
    /// use wgrad::ops::{Adam, Linear, MeanSquaredError};
    /// use wgrad::{Gpu, Sequential, Trainer};
    ///
    /// let blocks = (0..50).map(|block| {
    ///     let x = Array2::from_shape_fn((100, 1), |(row, _)| (block * row % 101) as f32 / 101.0);
    ///     Table::regression("line", x.view(), x.mapv(|x| 3.0 * x).view())
    /// });
    /// let model = Sequential::input(1).layer(Linear::new(1)).build(&Gpu::new()?)?;
    /// let stream = Stream::new(blocks, 1_000, 7);
    /// let mut trainer = Trainer::streamed(model, MeanSquaredError, Adam::new(0.05), stream, 20)?;
    /// while !trainer.is_finished() {
    ///     if let Some(loss) = trainer.steps(100)?.last() {
    ///         println!("step {}, loss {loss}", trainer.steps_taken());
    ///     }
    /// }
    /// assert_eq!(trainer.steps_taken(), 250);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] when batch, window or a setting of the loss or the optimizer make no sense, [`Error::Memory`]
    /// when the host has no room for two windows, [`Error::Limit`] or [`Error::OutOfMemory`] when the GPU cannot hold what
    /// the training needs. Steps return [`Error::Stream`] or [`Error::Block`] for a block that could not be had or is of
    /// other rows, when all steps of whole windows before it are taken.
    pub fn streamed(
        model: Model,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
        stream: Stream,
        batch: usize,
    ) -> Result<Self, Error> {
        let windows = windows(model.graph(), &loss, &optimizer, stream, batch)?;
        let gpu = model.gpu();
        let layout = windows.layout();
        probe_loss(gpu, &loss, model.output())?;
        let of_windows = windows.bytes_of_window().saturating_mul(2);
        // Those on the device, where its memory is the host's, and their copies.
        let of_minibatch = 4 * (layout.numbers() as u64).saturating_mul(batch as u64);
        let copies = (1 + PIECES).saturating_mul(PIECE.max(of_minibatch));
        let of_stream = || {
            let windows = readable(of_windows);
            format!(" (two windows of its stream need {windows}; use a smaller window)")
        };
        if gpu.is_software() {
            let summary = Summary::of(model.graph());
            let of_examples = of_windows.saturating_add(copies.saturating_add(PIECE));
            let of_examples = (of_examples, &*of_stream());
            check_host(&summary, optimizer.state().len(), batch, of_examples)?;
        } else {
            let what = || format!("a training{}", of_stream());
            gpu.check_host(what, of_windows.saturating_add(copies))?;
        }
        let streamed = Box::new(Streamed::new(&model, windows)?);
        let mut trainer = Self::with(model, loss, optimizer, None)?;
        let steps = trainer.record(streamed.rows(), Fusion::Auto)?;
        trainer.source = Source::Stream { streamed, steps };
        Ok(trainer)
    }

    /// Submits at most so many steps of a stream, and meanwhile reads on what they and so many `behind` them need;
    /// returns how many there were. [`end_of_stream`](Self::end_of_stream) says why there were fewer.
    pub(super) async fn submit_streamed(
        &mut self,
        steps: usize,
        behind: usize,
    ) -> Result<usize, Error> {
        let Source::Stream {
            streamed,
            steps: recorded,
        } = &mut self.source
        else {
            return Ok(0);
        };
        let Streamed {
            windows,
            resident,
            room,
            rows,
            before,
            ..
        } = &mut **streamed;
        let gpu = self.model.gpu();
        let layout = windows.layout();
        let batch = windows.batch();
        let mut taken = 0;
        while taken < steps {
            #[expect(clippy::cast_possible_truncation, reason = "below the room")]
            let place = (self.updater.steps_taken() % *room as u64) as usize;
            let ready = windows.ready().min(steps - taken).min(*room - place);
            let now = announce(&mut self.updater, ready)?;
            if now == 0 {
                break;
            }
            *rows = std::mem::take(rows).cleared();
            rows.reserve(layout, now * batch);
            let (order, window) = windows.minibatches(now);
            for &row in order {
                rows.push(layout, window, row as usize);
            }
            resident.write(gpu, place * batch, rows)?;
            let mut left = now;
            while left > 0 {
                let (submitted, done) = recorded.submit(gpu, left)?;
                self.updater.advance(done);
                windows.advance(done);
                left -= done;
                if let Some(before) = before.replace(gpu.finished(submitted)?) {
                    before.end().await?;
                }
            }
            taken += now;
            windows.read_ahead(now * batch, (steps - taken).saturating_add(behind));
        }
        Ok(taken)
    }

    /// Why a stream gave fewer steps than were asked for, which had these losses: it has ended, or there is an error.
    pub(super) fn end_of_stream(&mut self, losses: &[f32]) -> Result<(), Error> {
        if let Source::Stream { streamed, .. } = &mut self.source {
            streamed.windows.fault(|| losses.to_vec())?;
        }
        match self.is_finished() {
            true => Ok(()),
            // There are rows for it, and no rate.
            false => self.announce(1),
        }
    }

    /// Whether a stream has ended and all of its minibatches were trained on. It is known when steps were asked for
    /// that it does not have.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.rows_left().is_some()
    }

    /// How many rows at the end of a stream fill no minibatch, once it [is finished](Self::is_finished).
    #[must_use]
    pub fn rows_left(&self) -> Option<usize> {
        match &self.source {
            Source::Stream { streamed, .. } => streamed.windows.rows_left(),
            _ => None,
        }
    }
}
