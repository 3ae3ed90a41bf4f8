//! Saving a training to a checkpoint, and resuming from it.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

use super::Trainer;
use super::minibatches::Source;
use crate::checkpoint::{self, Changes, Position, Resumed, State};
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::check_averaged;
use crate::error::Error;

/// Only for `f32`, because checkpoints store `f32` values.
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

    /// Serializes the parameters and the training state in the safetensors format. [`crate::Trainer`] can also read the
    /// result: see [`crate::checkpoint`].
    ///
    /// # Errors
    /// [`Error::NotSaved`] when the training has diverged, [`Error::Checkpoint`] when a value to save is not finite,
    /// [`Error::Memory`] when the host has too little memory for the file, [`Error::Setting`] when the processes have
    /// not averaged their latest [local steps](crate::distributed::Distribution::local_steps) yet.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        #[cfg(not(target_arch = "wasm32"))]
        check_averaged(self.data_parallel.as_deref())?;
        self.soundness.check_saving(self.steps_taken())?;
        let kept = self.updater.roles().len();
        let graph = self.network.graph();
        // Check that there is memory for two more copies of the parameters than are made, because large blocks fragment
        // an allocator's heap.
        checkpoint::check_saving(graph, 1 + kept, 1 + kept + 2)?;
        let state: State = self.updater.kept().collect();
        let training = Some((&state, &self.position()));
        let parameters = self.network.parameters();
        let of_layers = self.network.state();
        checkpoint::encode(graph, &parameters, &of_layers, training)
    }

    /// Resumes a training from the bytes of a checkpoint: see [`crate::Trainer::set_safetensors`].
    ///
    /// # Errors
    /// The errors of [`crate::Trainer::set_safetensors`].
    pub fn set_safetensors(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.set_safetensors_with(bytes, Changes::new())
    }

    /// Resumes from the bytes of a checkpoint whose training had other settings. `changes` names the settings that may
    /// differ: see [`crate::Trainer::set_safetensors_with`].
    ///
    /// # Errors
    /// The errors of [`crate::Trainer::set_safetensors_with`].
    pub fn set_safetensors_with(&mut self, bytes: &[u8], changes: Changes) -> Result<(), Error> {
        let roles = self.updater.roles();
        let resumed = Resumed {
            roles: &roles,
            position: &self.position(),
            changes,
        };
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(shared) = &self.data_parallel {
            shared.check_same("checkpoint to resume from", bytes)?;
        }
        let contents = checkpoint::decode(self.network.graph(), Some(resumed), bytes)?;
        self.network.set_parameters(&contents.parameters)?;
        self.network.set_state(&contents.state_of_layers)?;
        self.updater.set_kept(&self.network, contents.state);
        let start = contents.start;
        self.updater.count_from(start.step, start.began);
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(Source::Stream(windows)) = self.minibatches.as_mut().map(|of| &mut of.rows) {
            windows.skip_used_rows(start.rows_of_window);
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

    /// Loads only the parameters and the layers' state from the bytes of a file: see [`crate::Trainer::set_weights`].
    ///
    /// # Errors
    /// The errors of [`crate::Trainer::set_weights`].
    pub fn set_weights(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let contents = checkpoint::decode(self.network.graph(), None, bytes)?;
        self.set_parameters(&contents.parameters)?;
        self.network.set_state(&contents.state_of_layers)
    }

    /// Saves the parameters and the training state to a safetensors file. The write is atomic: after a failure, the
    /// file has either its complete old content or its complete new content.
    ///
    /// # Errors
    /// The errors of [`to_safetensors`](Self::to_safetensors), and [`Error::Checkpoint`] when the file cannot be
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
        Ok(checkpoint::write(path.as_ref(), &self.to_safetensors()?)?)
    }

    /// Resumes a training from a checkpoint file: see [`crate::Trainer::set_safetensors`].
    ///
    /// # Errors
    /// The errors of [`set_safetensors`](Self::set_safetensors), and [`Error::Checkpoint`] when the file cannot be
    /// read.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let most = checkpoint::largest(self.network.graph());
        checkpoint::read(path.as_ref(), most, |bytes| self.set_safetensors(bytes))
    }

    /// Resumes from a checkpoint file whose training had other settings. `changes` names the settings that may differ,
    /// for example the learning rate.
    ///
    /// # Errors
    /// The errors of [`resume`](Self::resume).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn resume_with(&mut self, path: impl AsRef<Path>, changes: Changes) -> Result<(), Error> {
        let most = checkpoint::largest(self.network.graph());
        checkpoint::read(path.as_ref(), most, |bytes| {
            self.set_safetensors_with(bytes, changes)
        })
    }
}
