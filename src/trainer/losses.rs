//! Losses, as the device keeps them.

use super::Trainer;
use crate::error::Error;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::block_on;
use crate::ops::metrics::HISTORY;

impl Trainer {
    /// Reads the losses of the last `count` steps of this trainer; of 16,384 at most.
    ///
    /// # Errors
    /// As [`losses_async`](Self::losses_async).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn losses(&self, count: usize) -> Result<Vec<f32>, Error> {
        block_on(self.losses_async(count))
    }

    /// Losses of the last `count` steps of this trainer before this call; of 16,384 at most. The
    /// training may go on while the future waits.
    ///
    /// # Errors
    /// [`Error::Setting`] for more steps than were taken or are kept; else as [`steps`](Self::steps).
    pub fn losses_async(
        &self,
        count: usize,
    ) -> impl Future<Output = Result<Vec<f32>, Error>> + use<> {
        let taken = self.steps_taken();
        let soundness = self.soundness.clone();
        let kept = (taken - self.steps_elsewhere).min(HISTORY as u64);
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

    /// The losses that are kept and that nobody has looked at, behind the number of steps before them.
    pub(super) fn unread_losses(
        &self,
    ) -> (u64, impl Future<Output = Result<Vec<f32>, Error>> + use<>) {
        let taken = self.steps_taken();
        let kept = (taken - self.steps_elsewhere).min(HISTORY as u64);
        let first = self.soundness.judged().clamp(taken - kept, taken);
        #[expect(clippy::cast_possible_truncation, reason = "at most HISTORY")]
        let count = (taken - first) as usize;
        (first, self.read_losses(first, count))
    }

    /// Whether the training has diverged, by all losses that are kept; in a browser, by those that were read.
    pub(super) fn has_diverged(&self) -> Result<bool, Error> {
        #[cfg(not(target_arch = "wasm32"))]
        {
            let (first, unread) = self.unread_losses();
            // What it fails with is known from then on.
            let _ = self.soundness.judge_last(first, &block_on(unread)?);
        }
        Ok(self.soundness.has_diverged())
    }

    /// The losses of `count` steps, at most as many as are kept, from `first` on.
    pub(super) fn read_losses(
        &self,
        first: u64,
        count: usize,
    ) -> impl Future<Output = Result<Vec<f32>, Error>> + use<> {
        #[expect(clippy::cast_possible_truncation, reason = "below HISTORY")]
        let slot = (first % HISTORY as u64) as usize;
        let end = slot + count;
        // Those behind the end of the ring lie at its start.
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
