//! Steps within a time budget on the device.

use std::time::Duration;

use super::Trainer;
use crate::clock::Instant;
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::distributed_steps_within;
use crate::error::Error;
use crate::gpu::Completion;
use crate::ops::metrics::HISTORY;

/// State of [`Trainer::advance_within`]: the steps in flight, and the unused time of earlier frames.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// The last submitted steps, until the device reports that they have ended.
    pending: Option<Submitted>,
    /// Time at which the steps before `pending` ended.
    done: Option<Instant>,
    /// Unused time of earlier frames in which no whole step fitted.
    saved: Duration,
    /// Number of steps submitted in the last frame that submitted any.
    steps: usize,
}

#[derive(Debug)]
struct Submitted {
    completion: Completion,
    steps: usize,
    at: Instant,
}

impl Budget {
    /// Drops all measurements, because the steps were recorded again.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Trainer {
    /// Submits about as many steps as the device takes in `time`, and returns their number.
    ///
    /// Call it once per frame in a program that draws frames. It never waits and reads nothing back. It measures how
    /// long steps take: the first call submits one step, and each later call at most twice as many as the call before.
    /// While the device still works on the steps of an earlier call, this call submits none, so that no queue grows. If
    /// a step takes longer than `time`, one step is submitted every few frames. Firefox reports the end of work about
    /// 100 ms late; steps then seem longer, so fewer are submitted.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wgrad::data::{Sampling, synthetic};
    /// use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
    /// use wgrad::{Gpu, Trainer, TwoLayerNet};
    ///
    /// let digits = synthetic::digits_of(1, 1000, 100)?;
    /// let model = TwoLayerNet::spec(784, 50, 10).build(&Gpu::new()?)?;
    /// let (loss, optimizer) = (SoftmaxCrossEntropy, Sgd::new(0.1));
    /// let sampling = Sampling::Shuffled { seed: 1 };
    /// let mut trainer = Trainer::new(model, loss, optimizer, &digits.train, 100, sampling)?;
    /// for _frame in 0..10 {
    ///     trainer.advance_within(Duration::from_millis(4))?;
    ///     // ... draw
    /// }
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`advance`](Self::advance), and [`Error::Setting`] for a trainer on a stream, because a step might
    /// have to wait for rows.
    pub fn advance_within(&mut self, time: Duration) -> Result<usize, Error> {
        self.soundness.check()?;
        #[cfg(not(target_arch = "wasm32"))]
        if self.data_parallel.is_some() {
            return distributed_steps_within(self, time);
        }
        self.source.expect_encoded()?;
        // Taken out of the field, because a completion must not be polled again after it has returned an error.
        if let Some(mut submitted) = self.budget.pending.take() {
            let Some(done) = submitted.completion.seen()? else {
                self.budget.pending = Some(submitted);
                return Ok(0);
            };
            // These steps began when they were submitted or when the steps before them ended, whichever is later.
            let began = self
                .budget
                .done
                .map_or(submitted.at, |done| done.max(submitted.at));
            let steps = submitted.steps;
            let took = done.saturating_duration_since(began);
            self.source.expect_steps()?.learn(steps, took);
            self.budget.done = Some(done);
        }
        let pace = self.source.expect_steps()?.pace();
        let available = self.budget.saved.saturating_add(time);
        let steps = match pace.steps_within(available) {
            None => 1,
            Some(0) => {
                self.budget.saved = available;
                return Ok(0);
            }
            Some(fit) => fit.min(2 * self.budget.steps.max(1)).min(HISTORY),
        };
        (self.budget.saved, self.budget.steps) = (Duration::ZERO, steps);
        self.announce(steps)?;
        let at = Instant::now();
        let mut left = steps;
        while left > 0 {
            left -= self.submit(left)?.1;
        }
        let completion = self.model.gpu().look_for_end()?;
        self.budget.pending = Some(Submitted {
            completion,
            steps,
            at,
        });
        Ok(steps)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use crate::data::{Sampling, synthetic};
    use crate::error::Error;
    use crate::ops::{Sgd, SoftmaxCrossEntropy};
    use crate::{Trainer, TwoLayerNet};

    fn trainer() -> Result<Trainer, Error> {
        let digits = synthetic::digits_of(1, 400, 10)?;
        let model = TwoLayerNet::spec(784, 50, 10).build(crate::testing::gpu())?;
        let loss = SoftmaxCrossEntropy;
        let optimizer = Sgd::new(0.1);
        let sampling = Sampling::WithReplacement { seed: 1 };
        Trainer::new(model, loss, optimizer, &digits.train, 50, sampling)
    }

    /// Each time the device has finished, the number of steps doubles. The budget of time is large, so that it suffices
    /// even on a busy machine.
    #[test]
    fn steps_of_a_frame_grow_to_its_time() -> Result<(), Error> {
        let mut trainer = trainer()?;
        let ample = Duration::from_secs(1000);
        let mut found = Vec::new();
        while found.len() < 5 {
            match trainer.advance_within(ample)? {
                0 => thread::sleep(Duration::from_millis(1)),
                steps => found.push(steps),
            }
        }
        assert_eq!(found, [1, 2, 4, 8, 16]);
        Ok(())
    }

    /// Each step takes as long as ten frames, so one step is submitted every ten frames.
    #[test]
    fn a_step_that_is_longer_than_a_frame_is_taken_now_and_then() -> Result<(), Error> {
        let mut trainer = trainer()?;
        trainer
            .source
            .expect_steps()?
            .learn(1, Duration::from_secs(10));
        let frames = (0..9).map(|_| trainer.advance_within(Duration::from_secs(1)));
        assert_eq!(frames.sum::<Result<usize, _>>()?, 0);
        assert_eq!(trainer.advance_within(Duration::from_millis(1100))?, 1);
        Ok(())
    }
}
