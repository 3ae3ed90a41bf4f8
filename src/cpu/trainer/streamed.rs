//! Training steps on rows from a stream.

use super::minibatches::{Minibatches, Source};
use super::{Trainer, as_f32, in_f32};
use crate::cpu::Network;
use crate::data::Stream;
use crate::error::Error;
use crate::fit::windows;
use crate::ops::{Loss, Optimizer};
use crate::reference::Float;

impl<F: Float> Trainer<F> {
    /// Makes a trainer of `network` on a stream of rows, with minibatches of `batch` rows: for data that does not fit
    /// in memory.
    ///
    /// The minibatches and their order are the same as for [`crate::Trainer::streamed`]. Memory holds the latest block
    /// of rows from the iterator and one window of the [`Stream`]. The next window is read when all minibatches of the
    /// present window have been used.
    ///
    /// When the stream ends, [`steps`](Self::steps) takes fewer steps than requested, and later calls take none. If too
    /// few rows are left for a minibatch at the end, they are not used. [`crate::Trainer::streamed`] says how to resume
    /// such a training from a checkpoint; [`Stream`] has an example.
    ///
    /// # Errors
    /// [`Error::Setting`] when the batch size, the window, or a setting of the loss or of the optimizer is invalid,
    /// [`Error::Memory`] when the host has too little memory for the training and a window. Steps return
    /// [`Error::Stream`] when the iterator fails, and [`Error::Block`] when the rows of a block have another layout.
    /// Before such an error is returned, all steps of the complete windows before that block are taken.
    pub fn streamed(
        network: Network<F>,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
        stream: Stream,
        batch: usize,
    ) -> Result<Self, Error> {
        let windows = windows(network.graph(), &loss, &optimizer, stream, batch)?;
        let kept = optimizer.state().len();
        let minibatches = Minibatches::streamed(&network, kept, windows)?;
        Self::with(network, loss, optimizer, Some(minibatches))
    }

    /// Returns the error that interrupted the stream, if there is one. `losses` are the losses of the steps that the
    /// present call of `steps` took; the error contains them.
    pub(super) fn fault_of_stream(&mut self, losses: &[F]) -> Result<(), Error> {
        match self.minibatches.as_mut().map(|of| &mut of.rows) {
            Some(Source::Stream(windows)) => windows.fault(|| in_f32(losses)),
            _ => Ok(()),
        }
    }

    /// Replaces the losses in an error of a stream by the stored losses of all steps since step count `first`.
    pub(super) fn with_losses_since(&self, first: u64, mut error: Error) -> Error {
        if let Error::Stream { losses, .. } | Error::Block { losses, .. } = &mut error {
            let steps = (self.steps_taken() - first).min(self.losses.len() as u64);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "at most those that are kept"
            )]
            let before = self.losses.len() - steps as usize;
            *losses = self.losses.range(before..).copied().map(as_f32).collect();
        }
        error
    }

    /// Whether the stream has ended and all its minibatches have been used: see [`crate::Trainer::is_finished`].
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.rows_left().is_some()
    }

    /// Number of rows at the end of the stream that were too few for a minibatch. `None` until the training [is
    /// finished](Self::is_finished).
    #[must_use]
    pub fn rows_left(&self) -> Option<usize> {
        match self.minibatches.as_ref().map(|of| &of.rows) {
            Some(Source::Stream(windows)) => windows.rows_left(),
            _ => None,
        }
    }
}
