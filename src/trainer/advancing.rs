//! Steps that nobody waits for.

#[cfg(not(target_arch = "wasm32"))]
use super::Source;
use super::Trainer;
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::{check_alone, distributed_steps};
use crate::error::Error;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::block_on;
use crate::ops::metrics::HISTORY;

impl Trainer {
    /// Submits `count` steps and returns at once: for a program that draws frames, and trains a little in
    /// each. Their losses stay on the GPU: [`losses_async`](Self::losses_async) reads those of the last 16,384 steps, and
    /// earlier ones are gone. The queue grows where more is asked for than the device does in a frame; of more than 16,384
    /// steps, all but so many are waited for, except in a browser. Of a stream there may be fewer, when it has ended:
    /// [`steps_taken`](Self::steps_taken) says how many there were.
    ///
    /// # Errors
    /// [`Error::Setting`] for a learning rate as in [`steps`](Self::steps), or when there is nothing to take steps on;
    /// [`Error::Diverged`] once losses that were read have shown it; those of a stream that [`Trainer::streamed`] tells of,
    /// with the losses of the last 16,384 steps of this call at most; [`Error::DeviceLost`], [`Error::OutOfMemory`],
    /// [`Error::Timeout`] or [`Error::Gpu`] when the GPU fails.
    pub fn advance(&mut self, count: usize) -> Result<(), Error> {
        self.soundness.check()?;
        #[cfg(not(target_arch = "wasm32"))]
        if self.data_parallel.is_some() {
            return distributed_steps(self, count).map(drop);
        }
        self.source.expect_steps()?;
        #[cfg(not(target_arch = "wasm32"))]
        let first = self.steps_taken();
        let mut left = count;
        // So that the queue has an end: the last ones alone are not waited for, and of a stream none.
        #[cfg(not(target_arch = "wasm32"))]
        {
            let unwaited = match self.source {
                Source::Stream { .. } => 0,
                _ => HISTORY,
            };
            while left > unwaited {
                let steps = (left - unwaited).min(HISTORY);
                if block_on(self.submit_in_turn(steps, left - steps))? < steps {
                    let taken = (self.steps_taken() - first).min(HISTORY as u64);
                    #[expect(clippy::cast_possible_truncation, reason = "at most HISTORY")]
                    let losses = self.losses(taken as usize)?;
                    return self.end_of_stream(&losses);
                }
                left -= steps;
            }
        }
        while left > 0 {
            let steps = left.min(HISTORY);
            self.announce(steps)?;
            left -= steps;
            let mut unsubmitted = steps;
            while unsubmitted > 0 {
                unsubmitted -= self.submit(unsubmitted)?.1;
            }
        }
        Ok(())
    }

    /// Puts `count` steps into a compute pass of the program's own, to be submitted with what else is in its encoder. They
    /// count as taken once they are recorded: submit them before any others of this trainer, and before a save or a read of
    /// losses. Steps that are never submitted are lost, and counted all the same. The pass is left with pipeline and bind
    /// group 0 of the last dispatch: set those of yours again.
    ///
    /// Record as many as the slowest GPU takes within a second, by [`Listing::flops`](crate::plan::Listing::flops) of
    /// [`plan`](Self::plan): a system may take a longer submit for a hang.
    ///
    /// # Errors
    /// As [`advance`](Self::advance), and [`Error::Setting`] for more than 16,384 steps: no more coefficients of the
    /// optimizer are on the GPU at once.
    pub fn encode(&mut self, count: usize, pass: &mut wgpu::ComputePass<'_>) -> Result<(), Error> {
        if count > HISTORY {
            let expected = format!(
                "at most {HISTORY}, the number of steps whose coefficients can be on the GPU at once"
            );
            return Err(Error::setting("steps to encode", expected, count));
        }
        self.soundness.check()?;
        #[cfg(not(target_arch = "wasm32"))]
        check_alone(
            self.data_parallel.as_deref(),
            "steps in a pass of your program",
        )?;
        self.source.expect_encoded()?;
        self.announce(count)?;
        self.source.expect_encoded()?.encode(count, pass);
        self.updater.advance(count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::data::{Sampling, synthetic};
    use crate::error::Error;
    use crate::ops::{Linear, Relu, Sgd, SoftmaxCrossEntropy};
    use crate::plan::flops_per_submit;
    use crate::{Fusion, Gpu, Sequential, Trainer};

    /// A step is as many submits as it is long: by counting, and by time once that is known.
    #[test]
    fn a_long_step_is_several_submits() -> Result<(), Error> {
        let gpu = Gpu::new()?;
        let digits = synthetic::digits_of(3, 1100, 10)?;
        let spec = Sequential::input(784).layer(Linear::new(1024)).layer(Relu);
        let model = spec
            .layer(Linear::new(1024))
            .layer(Relu)
            .layer(Linear::new(10));
        let loss = SoftmaxCrossEntropy;
        let sgd = Sgd::new(0.1);
        let model = model.build(&gpu)?;
        let sampling = Sampling::Shuffled { seed: 1 };
        let fusion = Fusion::Layers;
        let mut trainer =
            Trainer::with_fusion(model, loss, sgd, &digits.train, 1100, sampling, fusion)?;
        let flops = trainer.plan().flops();
        let mut submits = |learned: Option<Duration>| -> Result<usize, Error> {
            let steps = trainer.source.expect_steps()?;
            if let Some(took) = learned {
                (0..40).for_each(|_submit| steps.learn(1, took));
            }
            let before = gpu.count_submits(0);
            trainer.advance(1)?;
            Ok(gpu.count_submits(0) - before)
        };
        let counted = submits(None)?;
        let expected = usize::try_from(flops.div_ceil(flops_per_submit(&gpu))).unwrap_or_default();
        assert!(
            (expected..=2 * expected).contains(&counted),
            "{counted} submits, {expected}"
        );
        assert_eq!(submits(Some(Duration::from_millis(20)))?, 1);
        let slow = submits(Some(Duration::from_secs(1)))?;
        assert!((4..=12).contains(&slow), "{slow} submits of a second");
        Ok(())
    }
}
