//! Saving a training to a checkpoint, and resuming from it.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

use super::Trainer;
use super::minibatches::Source;
use crate::checkpoint::{self, Changes, Position, Resumed, State};
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::check_averaged;
use crate::error::Error;

/// Only for `f32`, because checkpoints hold `f32`.
impl Trainer<f32> {
    fn position(&self) -> Position {
        let updater = &self.updater;
        let steps = [updater.steps_taken(), updater.began()];
        let optimizer = &**updater.optimizer();
        let groups = updater.groups();
        let average = updater.decay_of_average();
        let position = Position::new(steps, &*self.loss, optimizer, groups, average);
        let Some(of) = &self.minibatches else {
            return position;
        };
        match &of.rows {
            Source::Examples(examples, sampling) => {
                let batch = [of.batch(), of.accumulated()];
                position.with_minibatches(batch, examples, sampling)
            }
            #[cfg(not(target_arch = "wasm32"))]
            Source::Stream(windows) => position.with_stream(windows),
        }
    }

    /// Serializes the parameters and the training state to a safetensors file, which [`crate::Trainer`] reads, too: see
    /// [`crate::checkpoint`].
    ///
    /// # Errors
    /// [`Error::NotSaved`] when the training has diverged, [`Error::Checkpoint`] when a value is not finite because the
    /// training has failed, [`Error::Memory`] when the host has no room for the file, [`Error::Setting`] when the
    /// processes have not averaged their latest [local steps](crate::distributed::Distribution::local_steps) yet.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        #[cfg(not(target_arch = "wasm32"))]
        check_averaged(self.data_parallel.as_deref())?;
        self.soundness.check_saving(self.steps_taken())?;
        let kept = self.updater.roles().len();
        let graph = self.network.graph();
        // Room for two more arrays than are made, because blocks of some megabytes fragment an allocator's heaps.
        checkpoint::check_saving(graph, 1 + kept, 1 + kept + 2)?;
        let state: State = self.updater.kept().collect();
        let training = Some((&state, &self.position()));
        let parameters = self.network.parameters();
        let of_layers = self.network.state();
        checkpoint::encode(graph, &parameters, &of_layers, training)
    }

    /// Resumes from such a file: see [`crate::Trainer::set_safetensors`].
    ///
    /// # Errors
    /// As [`crate::Trainer::set_safetensors`].
    pub fn set_safetensors(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.set_safetensors_with(bytes, Changes::new())
    }

    /// Resumes from a file whose training differs in the settings that `changes` names: see
    /// [`crate::Trainer::set_safetensors_with`].
    ///
    /// # Errors
    /// As [`crate::Trainer::set_safetensors_with`].
    pub fn set_safetensors_with(&mut self, bytes: &[u8], changes: Changes) -> Result<(), Error> {
        let roles = self.updater.roles();
        let resumed = Resumed {
            roles: &roles,
            position: &self.position(),
            changes,
        };
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(shared) = &self.data_parallel {
            shared.check_same("file to go on from", bytes)?;
        }
        let contents = checkpoint::decode(self.network.graph(), Some(resumed), bytes)?;
        self.network.set_parameters(&contents.parameters)?;
        self.network.set_state(&contents.state_of_layers)?;
        self.updater.set_kept(&self.network, contents.state);
        let start = contents.start;
        self.updater.count_from(start.step, start.began);
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(Source::Stream(windows)) = self.minibatches.as_mut().map(|of| &mut of.rows) {
            windows.go_on_behind(start.rows_of_window);
        }
        self.best.forget();
        self.losses.clear();
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(shared) = &mut self.data_parallel {
            shared.resumed();
        }
        self.soundness.begin_anew(start.step);
        Ok(())
    }

    /// Loads only the parameters and the layers' state from a file: see [`crate::Trainer::set_weights`].
    ///
    /// # Errors
    /// As [`crate::Trainer::set_weights`].
    pub fn set_weights(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let contents = checkpoint::decode(self.network.graph(), None, bytes)?;
        self.set_parameters(&contents.parameters)?;
        self.network.set_state(&contents.state_of_layers)
    }

    /// Writes the parameters and the training state to a safetensors file. The write is atomic: even after a failure,
    /// the file is either completely old or completely new.
    ///
    /// # Errors
    /// As [`to_safetensors`](Self::to_safetensors), or [`Error::Checkpoint`] when the file cannot be written.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        if self
            .data_parallel
            .as_ref()
            .is_some_and(|shared| !shared.leads())
        {
            return check_averaged(self.data_parallel.as_deref());
        }
        Ok(checkpoint::write(path.as_ref(), &self.to_safetensors()?)?)
    }

    /// Resumes from a file: see [`crate::Trainer::set_safetensors`].
    ///
    /// # Errors
    /// As [`set_safetensors`](Self::set_safetensors), or [`Error::Checkpoint`] when the file cannot be read.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let most = checkpoint::largest(self.network.graph());
        checkpoint::read(path.as_ref(), most, |bytes| self.set_safetensors(bytes))
    }

    /// Resumes from a file whose training differs in the settings that `changes` names, for example the learning rate.
    ///
    /// # Errors
    /// As [`resume`](Self::resume).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn resume_with(&mut self, path: impl AsRef<Path>, changes: Changes) -> Result<(), Error> {
        let most = checkpoint::largest(self.network.graph());
        checkpoint::read(path.as_ref(), most, |bytes| {
            self.set_safetensors_with(bytes, changes)
        })
    }
}
