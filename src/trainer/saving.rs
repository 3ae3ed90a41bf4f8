//! Saving a training to a checkpoint, and resuming from it.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::sync::Arc;

use super::{Source, Trainer};
use crate::checkpoint::{self, Changes, Position, Resumed};
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::check_averaged;
use crate::error::Error;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::block_on;

impl Trainer {
    fn position(&self) -> Position {
        let updater = &self.updater;
        let average = updater.average_kept().map(|(decay, _)| decay);
        let steps = [updater.steps_taken(), updater.began()];
        let optimizer = &**updater.optimizer();
        let position = Position::new(steps, &*self.loss, optimizer, updater.groups(), average);
        match &self.source {
            Source::Examples {
                examples,
                batch,
                accumulated,
                sampling,
                ..
            } => position.with_minibatches([*batch, *accumulated], examples, sampling),
            #[cfg(not(target_arch = "wasm32"))]
            Source::Stream { streamed, .. } => position.with_stream(streamed.windows()),
            Source::External { .. } | Source::Given => position,
        }
    }

    /// Calls [`to_safetensors_async`](Self::to_safetensors_async) and waits for the result.
    ///
    /// # Errors
    /// The errors of [`to_safetensors_async`](Self::to_safetensors_async).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        block_on(self.to_safetensors_async())
    }

    /// Writes the parameters and the training state at the time of this call into the bytes of a safetensors file: see
    /// [`crate::checkpoint`]. The training may continue while the future waits.
    ///
    /// # Errors
    /// [`Error::Setting`] when the processes have not averaged their latest [local
    /// steps](crate::distributed::Distribution::local_steps) yet, [`Error::NotSaved`] when one of the last 16,384
    /// losses shows a divergence, [`Error::Checkpoint`] when a value is not finite because the training has failed,
    /// [`Error::Memory`] when the host has no memory for the file; otherwise the errors of
    /// [`Gpu::read_async`](crate::Gpu::read_async).
    pub fn to_safetensors_async(&self) -> impl Future<Output = Result<Vec<u8>, Error>> + use<> {
        let graph = Arc::clone(self.model.graph());
        let position = self.position();
        let soundness = self.soundness.clone();
        let taken = self.steps_taken();
        #[cfg(not(target_arch = "wasm32"))]
        let averaged = check_averaged(self.data_parallel.as_deref());
        // A diverged training must not replace a good file. So the losses that were not read yet are checked first.
        let unread = self.unread_losses();
        let reads: Vec<_> = self
            .updater
            .kept()
            .map(|(role, arena)| (role, arena.read(self.model.gpu())))
            .collect();
        let parameters = self.model.parameters_async();
        let of_layers = self.model.state_async();
        let values = 1 + reads.len();
        async move {
            #[cfg(not(target_arch = "wasm32"))]
            averaged?;
            checkpoint::check_saving(&graph, values, values)?;
            let mut state = Vec::new();
            for (role, read) in reads {
                state.push((role, read.await?));
            }
            let parameters = parameters.await?;
            let of_layers = of_layers.await?;
            // The result is stored in `soundness`, which is checked next.
            let (first, unread) = unread;
            let _ = soundness.judge_last(first, &unread.await?);
            soundness.check_saving(taken)?;
            checkpoint::encode(&graph, &parameters, &of_layers, Some((&state, &position)))
        }
    }

    /// Resumes the training that a file contains. Its network, examples, batch, sampling, loss and optimizer must be
    /// those of this trainer.
    ///
    /// The results are bit for bit those of a training that never stopped. Examples are compared by their contents, not
    /// by name. On a stream, the training continues within the window that the file names: see
    /// [`Stream::from_window`](crate::data::Stream::from_window).
    ///
    /// First give this trainer the settings of the file's training: groups, frozen parameters, accumulated minibatches
    /// and moving average. If settings differ, one error lists all differences. A learning rate that was
    /// [set](Self::set_learning_rate) later, for example on a plateau, counts as a setting of the optimizer: set it on
    /// this trainer, too, before you resume.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the file is damaged, is from another training, or contains a value that is not
    /// finite. After an error, nothing is changed.
    pub fn set_safetensors(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.set_safetensors_with(bytes, Changes::new())
    }

    /// Resumes the training that a file contains. The settings that `changes` names may differ from the file's.
    ///
    /// For these settings, this trainer's values apply. [`Changes::optimizer`] names the learning rate, groups and
    /// moving average; the average restarts if the file has none.
    ///
    /// # Errors
    /// The errors of [`set_safetensors`](Self::set_safetensors).
    pub fn set_safetensors_with(&mut self, bytes: &[u8], changes: Changes) -> Result<(), Error> {
        let roles: Vec<_> = self.updater.kept().map(|(role, _)| role).collect();
        let resumed = Resumed {
            roles: &roles,
            position: &self.position(),
            changes,
        };
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(shared) = &self.data_parallel {
            shared.check_same("checkpoint to resume from", bytes)?;
        }
        let contents = checkpoint::decode(self.model.graph(), Some(resumed), bytes)?;
        self.model.set_parameters(&contents.parameters)?;
        self.model.set_state(&contents.state_of_layers)?;
        // State that the file lacks is reset.
        self.updater.forget(&self.model)?;
        for ((_, arena), values) in self.updater.kept().zip(&contents.state) {
            if let Some(values) = values {
                arena.write(self.model.gpu(), values.iter().map(Vec::as_slice))?;
            }
        }
        let start = contents.start;
        self.updater.count_from(start.step, start.began)?;
        #[cfg(not(target_arch = "wasm32"))]
        if let Source::Stream { streamed, .. } = &mut self.source {
            streamed.windows_mut().skip_used_rows(start.rows_of_window);
        }
        self.best.forget();
        self.steps_before_resume = start.step;
        self.source.step_count_changed();
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(shared) = &mut self.data_parallel {
            shared.resumed();
        }
        self.soundness.begin_anew(start.step);
        Ok(())
    }

    /// Writes the parameters and the training state to a safetensors file.
    ///
    /// The write is atomic: even after a failure, the file has either its complete old contents or its complete new
    /// contents. If several [processes](Self::distribute) share the steps, process 0 writes the file.
    ///
    /// # Errors
    /// The errors of [`to_safetensors`](Self::to_safetensors), or [`Error::Checkpoint`] when the file cannot be
    /// written.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        if self
            .data_parallel
            .as_ref()
            .is_some_and(|shared| !shared.leads())
        {
            return check_averaged(self.data_parallel.as_deref());
        }
        let bytes = self.to_safetensors()?;
        Ok(checkpoint::write(path.as_ref(), &bytes)?)
    }

    /// Resumes from a file: see [`set_safetensors`](Self::set_safetensors).
    ///
    /// # Errors
    /// The errors of [`set_safetensors`](Self::set_safetensors), or [`Error::Checkpoint`] when the file cannot be read.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let most = checkpoint::largest(self.model.graph());
        checkpoint::read(path.as_ref(), most, |bytes| self.set_safetensors(bytes))
    }

    /// Resumes from a file. The settings that `changes` names, for example the learning rate, may differ from the
    /// file's.
    ///
    /// # Errors
    /// The errors of [`resume`](Self::resume).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn resume_with(&mut self, path: impl AsRef<Path>, changes: Changes) -> Result<(), Error> {
        let most = checkpoint::largest(self.model.graph());
        checkpoint::read(path.as_ref(), most, |bytes| {
            self.set_safetensors_with(bytes, changes)
        })
    }
}
