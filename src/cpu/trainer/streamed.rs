//! Steps on rows that come in a stream.

use super::minibatches::{Minibatches, Source};
use super::{Trainer, as_f32, in_f32};
use crate::cpu::Network;
use crate::data::Stream;
use crate::error::Error;
use crate::fit::windows;
use crate::ops::{Loss, Optimizer};
use crate::reference::Float;

impl<F: Float> Trainer<F> {
    /// Trains `network` on a stream of rows with minibatches of `batch` rows, for data that do not fit in memory: the
    /// same minibatches, in the same order, as [`crate::Trainer::streamed`]. In memory are the block that came last and
    /// one window, which is read when the one before it is trained on.
    ///
    /// [`steps`](Self::steps) returns fewer losses than steps that were asked for when the stream ends, and then none.
    /// Rows at its end that fill no minibatch are not trained on. [`crate::Trainer::streamed`] says how such a training
    /// goes on from a checkpoint; [`Stream`] has an example.
    ///
    /// # Errors
    /// [`Error::Setting`] when batch, window or a setting of the loss or the optimizer make no sense, [`Error::Memory`]
    /// when the host has no room for the training with a window. Steps return [`Error::Stream`] or [`Error::Block`] for a
    /// block that could not be had or is of other rows, when all steps of whole windows before it are taken.
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

    /// The error that a stream ended with for now.
    pub(super) fn fault_of_stream(&mut self, losses: &[F]) -> Result<(), Error> {
        match self.minibatches.as_mut().map(|of| &mut of.rows) {
            Some(Source::Stream(windows)) => windows.fault(|| in_f32(losses)),
            _ => Ok(()),
        }
    }

    /// The same error of a call that has begun behind the `first` steps, with the losses of all its steps that are kept.
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

    /// Whether a stream has ended and all of its minibatches were trained on: see [`crate::Trainer::is_finished`].
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.rows_left().is_some()
    }

    /// How many rows at the end of a stream fill no minibatch, once it [is finished](Self::is_finished).
    #[must_use]
    pub fn rows_left(&self) -> Option<usize> {
        match self.minibatches.as_ref().map(|of| &of.rows) {
            Some(Source::Stream(windows)) => windows.rows_left(),
            _ => None,
        }
    }
}
