//! Reading the losses that the device stores.

use super::Trainer;
use crate::error::Error;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::block_on;
use crate::ops::metrics::HISTORY;

impl Trainer {
    /// Reads the losses of the last `count` steps of this trainer; at most 16,384 are stored.
    ///
    /// # Errors
    /// The errors of [`losses_async`](Self::losses_async).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn losses(&self, count: usize) -> Result<Vec<f32>, Error> {
        block_on(self.losses_async(count))
    }

    /// Reads the losses of the last `count` steps that this trainer took before this call; at most 16,384 are stored.
    /// The training may continue while the future waits.
    ///
    /// # Errors
    /// [`Error::Setting`] when `count` exceeds the number of stored losses; otherwise the errors of
    /// [`steps`](Self::steps).
    pub fn losses_async(
        &self,
        count: usize,
    ) -> impl Future<Output = Result<Vec<f32>, Error>> + use<> {
        let taken = self.steps_taken();
        let soundness = self.soundness.clone();
        let kept = (taken - self.steps_before_resume).min(HISTORY as u64);
        let read = (count as u64 <= kept).then(|| self.read_losses(taken - count as u64, count));
        async move {
            let Some(read) = read else {
                let expected = format!("at most {kept}, the number of losses that are kept");
                return Err(Error::setting("number of losses", expected, count));
            };
            let losses = read.await?;
            soundness.judge(taken - count as u64, &losses)?;
            Ok(losses)
        }
    }

    /// Reads the stored losses that were not checked for divergence yet. Also returns the number of steps before
    /// the first of these losses.
    pub(super) fn unread_losses(
        &self,
    ) -> (u64, impl Future<Output = Result<Vec<f32>, Error>> + use<>) {
        let taken = self.steps_taken();
        let kept = (taken - self.steps_before_resume).min(HISTORY as u64);
        let first = self.soundness.judged().clamp(taken - kept, taken);
        #[expect(clippy::cast_possible_truncation, reason = "at most HISTORY")]
        let count = (taken - first) as usize;
        (first, self.read_losses(first, count))
    }

    /// Returns whether the training has diverged. Natively, reads the stored losses first; in a browser, checks only
    /// losses that were read before.
    pub(super) fn has_diverged(&self) -> Result<bool, Error> {
        #[cfg(not(target_arch = "wasm32"))]
        {
            let (first, unread) = self.unread_losses();
            // A divergence is recorded in `soundness`.
            let _ = self.soundness.judge_last(first, &block_on(unread)?);
        }
        Ok(self.soundness.has_diverged())
    }

    /// Reads the losses of `count` steps, beginning with step `first`. All of them must still be stored.
    pub(super) fn read_losses(
        &self,
        first: u64,
        count: usize,
    ) -> impl Future<Output = Result<Vec<f32>, Error>> + use<> {
        #[expect(clippy::cast_possible_truncation, reason = "below HISTORY")]
        let slot = (first % HISTORY as u64) as usize;
        let end = slot + count;
        // The history is a ring buffer, so the range may wrap around to its start.
        let ranges = [slot..end.min(HISTORY), 0..end.saturating_sub(HISTORY)];
        let ranges = ranges.into_iter().filter(|range| !range.is_empty());
        let ranges: Vec<_> = ranges.collect();
        let read = (count > 0).then(|| self.model.gpu().read_ranges(&self.history, &ranges));
        async move {
            match read {
                Some(read) => read.await,
                None => Ok(Vec::new()),
            }
        }
    }
}
