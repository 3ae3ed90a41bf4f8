//! What a GPU does of steps that several processes share.

use super::{Source, Trainer};
use crate::distributed::{Distribution, Shared, Shares, check_same, not_shared};
use crate::error::{Error, Unfused};
use crate::gpu::block_on;
use crate::steps::copy;
use crate::tensor::Arena;

impl Trainer {
    /// Shares the steps from now on out among processes: each computes some of the minibatches that a step
    /// [accumulates](Self::accumulate), and all update by the same mean gradient. See [`crate::distributed`].
    ///
    /// All processes make the same trainer, and call the same methods in the same order. [`evaluate`](Self::evaluate) is
    /// shared out, too; [`save`](Self::save) writes on process 0 alone; [`resume`](Self::resume) looks whether all have the
    /// same file.
    ///
    /// # Errors
    /// [`Error::Setting`] when there is no data set, there are more processes than minibatches of a step, a layer keeps
    /// state from step to step (as [`BatchNorm`](crate::ops::BatchNorm) does), or a process has another device or training
    /// than process 0: updates would not be the same; [`Error::Plan`] where fused steps were asked for; [`Error::Process`]
    /// when one has left; or an error of the device. Then nothing is changed.
    pub fn distribute(&mut self, distribution: Distribution) -> Result<(), Error> {
        let Source::Examples { accumulated, .. } = &self.source else {
            return Err(not_shared("a trainer without a data set"));
        };
        self.check_alone("steps that are shared already")?;
        self.check_unfused(Unfused::Steered)?;
        let shards = *accumulated;
        let device = self.model.gpu().description();
        check_same(&*distribution.world, "device", device.as_bytes())?;
        let shared = Shared::new(distribution, self.model.graph(), shards)?;
        shared.check_same("training", &self.to_safetensors()?)?;
        self.shared = Some(Box::new(shared));
        self.data_sets.forget_evaluators();
        let recorded = self.record_again();
        if recorded.is_err() {
            self.shared = None;
        }
        recorded
    }

    /// Whether steps are taken by this process alone.
    ///
    /// # Errors
    /// [`Error::Setting`] where they are not, which names what cannot be shared.
    pub(super) fn check_alone(&self, what: &str) -> Result<(), Error> {
        match self.shared {
            None => Ok(()),
            Some(_) => Err(not_shared(what)),
        }
    }

    /// Whether all processes have the same parameters.
    ///
    /// # Errors
    /// [`Error::Setting`] when some steps are local, and their mean is still to come.
    pub(super) fn check_averaged(&self) -> Result<(), Error> {
        let shared = self.shared.as_ref();
        shared.map_or(Ok(()), |shared| shared.check_averaged())
    }

    /// All that is trained and kept from step to step.
    fn arenas(&self) -> Vec<Arena> {
        let kept = self.updater.kept().map(|(_, arena)| arena.clone());
        std::iter::once(self.model.parameter_arena().clone())
            .chain(kept)
            .collect()
    }
}

impl Shares for Trainer {
    fn shared(&mut self) -> &mut Option<Box<Shared>> {
        &mut self.shared
    }

    fn steps_before(&self) -> u64 {
        self.steps_taken()
    }

    fn begin(&mut self, steps: usize) -> Result<(), Error> {
        self.updater.announce(steps)
    }

    fn gradient_count(&self) -> usize {
        self.model.parameter_arena().numbers() + 1
    }

    fn gradients(&mut self, shard: usize, to: &mut [f32]) -> Result<(), Error> {
        let gpu = self.model.gpu().clone();
        let shards = self.source.shards_mut();
        let shards = shards.ok_or_else(|| not_shared("whole steps"))?;
        shards.gradients(&gpu, shard, to)
    }

    fn update(&mut self, mean: &[f32]) -> Result<(), Error> {
        let gpu = self.model.gpu().clone();
        let shards = self.source.shards_mut();
        shards
            .ok_or_else(|| not_shared("whole steps"))?
            .update(&gpu, mean)?;
        self.updater.advance(1);
        Ok(())
    }

    fn own_steps(&mut self, count: usize) -> Result<Vec<f32>, Error> {
        self.steps(count)
    }

    fn value_count(&self) -> usize {
        self.arenas().iter().map(Arena::numbers).sum()
    }

    fn values(&self, to: &mut [f32]) -> Result<(), Error> {
        let arenas = self.arenas();
        let reads: Vec<_> = arenas
            .iter()
            .map(|arena| arena.read(self.model.gpu()))
            .collect();
        let mut left = to;
        for read in reads {
            left = copy(&block_on(read)?, left);
        }
        Ok(())
    }

    fn set_values(&mut self, values: &[f32]) -> Result<(), Error> {
        let mut left = values;
        for arena in self.arenas() {
            left = arena.write_numbers(self.model.gpu(), left)?;
        }
        self.source.parameters_changed();
        Ok(())
    }

    fn judge(&mut self, before: u64, losses: &[f32]) -> Result<(), Error> {
        self.soundness.judge(before, losses)
    }

    fn is_sound(&self, loss: f32) -> bool {
        self.soundness.is_sound(loss)
    }
}
