//! The work of one GPU in steps that several processes share.

use super::{Source, Trainer};
use crate::distributed::{DataParallel, Distribution, Replica, check_same_text, not_distributed};
use crate::error::{Error, Unfused};
use crate::gpu::block_on;
use crate::steps::Shards;
use crate::tensor::Arena;

impl Trainer {
    /// Distributes all following steps among processes. A step [accumulates](Self::accumulate) several minibatches:
    /// each process computes the gradients of some of them, and all processes update by the same mean gradient. See
    /// [`crate::distributed`].
    ///
    /// All processes create the same trainer and call the same methods in the same order. [`evaluate`](Self::evaluate)
    /// is distributed, too. [`save`](Self::save) writes only in process 0. [`resume`](Self::resume) checks that all
    /// processes read the same file. To change how the processes share steps, call this method again with another
    /// distribution.
    ///
    /// # Errors
    /// [`Error::Setting`] when the trainer has no data set, the processes have not averaged their latest local steps
    /// yet, there are more processes than minibatches per step, a layer keeps state from step to step (as
    /// [`BatchNorm`](crate::ops::BatchNorm) does), or a process has another device or training than process 0, because
    /// its updates would differ; [`Error::Plan`] when [`Fusion::Fused`](crate::Fusion::Fused) was requested;
    /// [`Error::Process`] when a process has exited; or an error of the device. After an error, nothing is changed.
    pub fn distribute(&mut self, distribution: Distribution) -> Result<(), Error> {
        let Source::Examples { accumulated, .. } = &self.source else {
            return Err(not_distributed("a trainer without a data set"));
        };
        self.check_unfused(Unfused::Steered)?;
        let shards = *accumulated;
        let device = self.model.gpu().description();
        check_same_text(&*distribution.world, "device", &device)?;
        let kept = self.updater.kept().count();
        let shared = DataParallel::new(distribution, (self.model.graph(), kept), shards)?;
        shared.check_same("training", &self.to_safetensors()?)?;
        let before = self.data_parallel.replace(Box::new(shared));
        self.data_sets.forget_evaluators();
        let recorded = self.record_again();
        if recorded.is_err() {
            self.data_parallel = before;
        }
        recorded
    }

    /// Selects the items of the trained parameters from `all`, which has one item per parameter. Frozen parameters need
    /// no exchange: they are the same in all processes.
    fn trained<'a, T>(&self, all: &'a mut [T]) -> impl Iterator<Item = &'a mut T> {
        let groups = self.updater.groups().resolved();
        let trained = all
            .iter_mut()
            .zip(groups)
            .filter(|(_, group)| !group.is_frozen());
        trained.map(|(of, _)| of)
    }

    /// The arenas of the parameters, of the optimizer's state and of the moving average.
    fn arenas(&self) -> Vec<Arena> {
        let kept = self.updater.kept().map(|(_, arena)| arena.clone());
        std::iter::once(self.model.parameter_arena().clone())
            .chain(kept)
            .collect()
    }
}

impl Replica for Trainer {
    fn data_parallel(&mut self) -> &mut Option<Box<DataParallel>> {
        &mut self.data_parallel
    }

    fn steps_before(&self) -> u64 {
        self.steps_taken()
    }

    fn begin(&mut self, steps: usize) -> Result<(), Error> {
        self.updater.announce(steps)
    }

    fn compute(&mut self, shard: usize) -> Result<f32, Error> {
        let gpu = self.model.gpu().clone();
        let shards = self.source.shards_mut();
        let shards = shards.ok_or_else(|| not_distributed("whole steps"))?;
        shards.compute(&gpu, shard)
    }

    fn gradients(&mut self) -> Vec<&mut [f32]> {
        let shards = self.source.shards_mut();
        shards.map(Shards::gradients).unwrap_or_default()
    }

    fn update(&mut self, loss: f32) -> Result<(), Error> {
        let gpu = self.model.gpu().clone();
        let shards = self.source.shards();
        shards
            .ok_or_else(|| not_distributed("whole steps"))?
            .update(&gpu, loss)?;
        self.updater.advance(1);
        Ok(())
    }

    fn own_steps(&mut self, count: usize) -> Result<Vec<f32>, Error> {
        self.steps(count)
    }

    fn average_values(
        &mut self,
        average: impl FnOnce(Vec<&mut [f32]>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let gpu = self.model.gpu();
        let arenas = self.arenas();
        let reads: Vec<_> = arenas.iter().map(|arena| arena.read(gpu)).collect();
        let read = reads.into_iter().map(block_on);
        let mut values = read.collect::<Result<Vec<_>, _>>()?;
        let trained = values.iter_mut().flat_map(|of| self.trained(of));
        average(trained.map(|vector| &mut vector[..]).collect())?;
        for (arena, values) in arenas.iter().zip(&values) {
            arena.write(gpu, values.iter().map(Vec::as_slice))?;
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
