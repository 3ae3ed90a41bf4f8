//! Training steps that do not return their losses.

use std::time::Duration;

use super::Trainer;
use crate::clock::Instant;
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::distributed_steps_within;
use crate::error::Error;
use crate::ops::metrics::HISTORY;
use crate::pace::Pace;
use crate::reference::Float;

impl<F: Float> Trainer<F> {
    /// Takes `count` steps like [`steps`](Self::steps), but does not return the losses. [`losses`](Self::losses)
    /// returns the losses of the latest 16,384 steps; earlier losses are lost.
    ///
    /// # Errors
    /// The errors of [`steps`](Self::steps). An error of a stream includes the losses of this call, at most the latest
    /// 16,384.
    pub fn advance(&mut self, count: usize) -> Result<(), Error> {
        let first = self.steps_taken();
        self.advance_while_there_are_rows(first, count).map(drop)
    }

    /// Takes as many steps as fit in `time`, at least one, and returns their number. Call it once per frame in a
    /// program that draws frames. It measures how long steps take. If the stream ends, it takes fewer steps, perhaps
    /// none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wgrad::data::{Sampling, synthetic};
    /// use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
    /// use wgrad::{TwoLayerNet, cpu};
    ///
    /// let digits = synthetic::digits_of(1, 1000, 100)?;
    /// let network = TwoLayerNet::spec(784, 50, 10).on_cpu()?;
    /// let (loss, optimizer) = (SoftmaxCrossEntropy, Sgd::new(0.1));
    /// let sampling = Sampling::Shuffled { seed: 1 };
    /// let mut trainer =
    ///     cpu::Trainer::new(network, loss, optimizer, &digits.train, 100, sampling)?;
    /// for _frame in 0..10 {
    ///     trainer.advance_within(Duration::from_millis(4))?;
    ///     // ... draw
    /// }
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`steps`](Self::steps).
    pub fn advance_within(&mut self, time: Duration) -> Result<usize, Error> {
        self.soundness.check()?;
        #[cfg(not(target_arch = "wasm32"))]
        if self.data_parallel.is_some() {
            return distributed_steps_within(self, time);
        }
        let start = Instant::now();
        let first = self.steps_taken();
        let mut pace = Pace::default();
        let mut taken = 0;
        let mut now = 1;
        while now > 0 {
            let began = Instant::now();
            let done = self.advance_while_there_are_rows(first, now)?;
            taken += done;
            if done < now {
                break;
            }
            pace.record(done, began.elapsed());
            let left = time.saturating_sub(start.elapsed());
            now = match pace.steps_within(left) {
                // A browser's clock is coarse: it may not have advanced yet.
                None if left > Duration::ZERO => now,
                None => 0,
                Some(fit) => fit.min(2 * now),
            };
        }
        Ok(taken)
    }

    /// Takes `count` steps, or fewer if the stream ends; returns their number. `first` is the step count when the
    /// public call began: an error of a stream gets the losses of all steps since then.
    #[cfg_attr(
        target_arch = "wasm32",
        expect(unused_variables, reason = "errors of a stream have losses")
    )]
    fn advance_while_there_are_rows(&mut self, first: u64, count: usize) -> Result<usize, Error> {
        let mut taken = 0;
        loop {
            let steps = (count - taken).min(HISTORY);
            let losses = self.steps(steps);
            #[cfg(not(target_arch = "wasm32"))]
            let losses = losses.map_err(|error| self.with_losses_since(first, error));
            let done = losses?.len();
            taken += done;
            if done < steps || taken == count {
                return Ok(taken);
            }
        }
    }
}
