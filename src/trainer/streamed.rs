//! Steps on rows from a stream.

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

/// A stream, and a ring buffer of its minibatches on the device. Right before a step is submitted, its minibatch is
/// written into its slot of the ring.
#[derive(Debug)]
pub(super) struct Streamed {
    windows: Windows,
    /// Lists all rows of the ring in order, so that step `t` reads the minibatch in slot `t` modulo `room`.
    sampling: Sampling,
    resident: Resident,
    /// Number of minibatches in the ring: a power of two, so that the slots stay in order when the device's step
    /// counter wraps around at 2³².
    room: usize,
    /// Rows that are being uploaded.
    rows: Rows,
    /// The latest submit, on which the device may still work.
    before: Option<Finished>,
}

impl Streamed {
    fn new(model: &Model, windows: Windows) -> Result<Self, Error> {
        let layout = windows.layout();
        let batch = windows.batch();
        let room = minibatches_of_piece(layout, batch);
        let rows = room * batch;
        // `rows` is below 2³²: `batch` is, and a ring of several minibatches is at most `PIECE` bytes large.
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

    /// Describes where a recorded step finds its rows: in the ring buffer on the device.
    pub(super) fn rows(&self) -> steps::Rows<'_> {
        steps::Rows::Minibatches(Minibatches {
            resident: &self.resident,
            batch: self.windows.batch(),
            parts: Parts::all(1),
            sampling: &self.sampling,
        })
    }
}

/// The number of minibatches that fit in `PIECE` bytes, rounded down to a power of two; at least 1.
fn minibatches_of_piece(layout: Layout, batch: usize) -> usize {
    let of_minibatch = 4 * (layout.numbers() as u64).saturating_mul(batch as u64);
    let most = usize::try_from(PIECE / of_minibatch.max(1)).unwrap_or(usize::MAX);
    // The largest power of two that is at most `most`.
    1 << most.max(1).ilog2()
}

/// Writes the optimizer's coefficients for the next steps. Returns the number of these steps: at most `most`. If the
/// schedule gives one of them an invalid learning rate, the number is halved until all rates are valid.
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
    /// Records the training of `model` on a stream of rows, with minibatches of `batch` rows. This is for data sets
    /// that do not fit in memory.
    ///
    /// While the device works on some minibatches, the host reads, shuffles and uploads the minibatches of the
    /// following steps of the same call. So request many steps per call. A call reads only rows that its own steps
    /// need; a program may therefore alternate between sending rows through a channel and taking the steps on these
    /// rows.
    ///
    /// The host holds the latest block, two windows, and some megabytes of minibatches that are being uploaded. The
    /// device holds 8 MB of minibatches, or a single minibatch if it is larger.
    ///
    /// When the stream ends, [`steps`](Self::steps) returns fewer losses than requested, and later calls return none:
    /// [`is_finished`](Self::is_finished) is then true. If the last rows do not fill a minibatch, they are not used;
    /// [`rows_left`](Self::rows_left) counts them. [`advance`](Self::advance) waits for the iterator, and until at most
    /// two submits are in flight. A checkpoint contains the position in the stream, but no rows. To resume, create the
    /// trainer with a stream that starts at the window in which the checkpoint was saved ([`Stream::from_window`]).
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
    /// [`Error::Setting`] when the batch, the window or a setting of the loss or the optimizer is invalid,
    /// [`Error::Memory`] when the host has no memory for two windows, [`Error::Limit`] or [`Error::OutOfMemory`] when
    /// the GPU has no memory for the training. Steps return [`Error::Stream`] when the iterator fails, and
    /// [`Error::Block`] when a block has rows of another layout. Before that, all steps of the whole windows before the
    /// failing block are taken.
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
        // Minibatches in device memory, which is host memory in a software driver, and wgpu's copies of them.
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

    /// Submits at most `steps` steps of a stream and returns their number. Meanwhile, reads ahead the rows of these
    /// steps and of the `behind` steps that the caller will request next. If there were fewer steps,
    /// [`end_of_stream`](Self::end_of_stream) says why.
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

    /// Explains why a stream gave fewer steps than requested: `Ok` if it has ended, otherwise an error. `losses` are
    /// the losses of the steps that this call took.
    pub(super) fn end_of_stream(&mut self, losses: &[f32]) -> Result<(), Error> {
        if let Source::Stream { streamed, .. } = &mut self.source {
            streamed.windows.fault(|| losses.to_vec())?;
        }
        if self.is_finished() {
            Ok(())
        } else {
            // Rows are left, so the stream stopped at an invalid learning rate: `announce` returns that error.
            self.announce(1)
        }
    }

    /// Returns whether the stream has ended and all its minibatches were used. It may become true only after a call
    /// requests more steps than the stream has.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.rows_left().is_some()
    }

    /// The number of rows at the end of the stream that do not fill a minibatch; `None` until the stream [is
    /// finished](Self::is_finished).
    #[must_use]
    pub fn rows_left(&self) -> Option<usize> {
        match &self.source {
            Source::Stream { streamed, .. } => streamed.windows.rows_left(),
            _ => None,
        }
    }
}
