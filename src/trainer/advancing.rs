//! Steps that are submitted without waiting.

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
    /// Submits `count` steps and returns at once. A program that draws frames can train a little in each frame.
    ///
    /// The losses of these steps stay on the GPU. [`losses_async`](Self::losses_async) reads those of the last 16,384
    /// steps; earlier losses are lost. The queue grows if each frame requests more steps than the device completes. If
    /// `count` exceeds 16,384, this call waits until only the last 16,384 steps are left in the queue; in a browser, it
    /// never waits. A stream may end before `count` steps: [`steps_taken`](Self::steps_taken) then says how many were
    /// taken.
    ///
    /// # Errors
    /// [`Error::Setting`] for an invalid learning rate (see `steps`), or for a trainer whose rows are passed to each
    /// step; [`Error::Diverged`] once the program has read a loss that shows the divergence; the errors of a stream
    /// that [`Trainer::streamed`] lists, with the losses of at most the last 16,384 steps of this call;
    /// [`Error::DeviceLost`], [`Error::OutOfMemory`], [`Error::Timeout`] or [`Error::Gpu`] when the GPU fails.
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
        // Bounds the queue: at most the last `HISTORY` steps are submitted without waiting. On a stream, all steps are
        // waited for.
        #[cfg(not(target_arch = "wasm32"))]
        {
            let unwaited = match self.source {
                Source::Stream { .. } => 0,
                _ => HISTORY,
            };
            while left > unwaited {
                let steps = (left - unwaited).min(HISTORY);
                if block_on(self.submit_two_in_flight(steps, left - steps))? < steps {
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

    /// Encodes `count` steps into the program's own compute pass. The program submits them together with the other
    /// commands of its encoder.
    ///
    /// The steps count as taken once they are encoded, so steps that are never submitted are lost but still counted.
    /// Submit the encoded steps before any other steps of this trainer, before a save, and before a read of losses.
    /// After the call, the pass still has the pipeline and bind group 0 of the last dispatch: set your own again.
    ///
    /// Encode no more steps than the slowest GPU takes in one second, because an operating system may mistake a longer
    /// submit for a hang. [`Listing::flops`](crate::plan::Listing::flops) of [`plan`](Self::plan) helps to estimate
    /// this.
    ///
    /// # Errors
    /// The errors of [`advance`](Self::advance), and [`Error::Setting`] for more than 16,384 steps: the GPU's table of
    /// the optimizer's coefficients has one entry for each of 16,384 steps.
    pub fn encode(&mut self, count: usize, pass: &mut wgpu::ComputePass<'_>) -> Result<(), Error> {
        if count > HISTORY {
            let expected =
                format!("at most {HISTORY} in one call: encode the others in a later call");
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

    /// A long step is split into several submits. The size of a submit follows the counted FLOPs at first, and the
    /// measured time later.
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
