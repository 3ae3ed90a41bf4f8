//! A training as a checkpoint, and back.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

use super::Trainer;
use super::minibatches::Source;
use crate::checkpoint::{self, Changes, Position, Resumed, State};
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::check_averaged;
use crate::error::Error;

/// Checkpoints hold `f32`.
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

    /// Parameters and the state of the training as a safetensors file, which [`crate::Trainer`] takes
    /// too: see [`crate::checkpoint`].
    ///
    /// # Errors
    /// [`Error::NotSaved`] when it has diverged, [`Error::Checkpoint`] when a value is not finite: the training
    /// has failed; [`Error::Memory`] when the host has no room for it.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        #[cfg(not(target_arch = "wasm32"))]
        check_averaged(self.data_parallel.as_deref())?;
        self.soundness.check_saving(self.steps_taken())?;
        let kept = self.updater.roles().len();
        let graph = self.network.graph();
        // Two more than are made: blocks of some megabytes leave parts of an allocator's heaps empty.
        checkpoint::check_saving(graph, 1 + kept, 1 + kept + 2)?;
        let state: State = self.updater.kept().collect();
        let training = Some((&state, &self.position()));
        let parameters = self.network.parameters();
        let of_layers = self.network.state();
        checkpoint::encode(graph, &parameters, &of_layers, training)
    }

    /// Goes on from such a file: see [`crate::Trainer::set_safetensors`].
    ///
    /// # Errors
    /// As there.
    pub fn set_safetensors(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.set_safetensors_with(bytes, Changes::new())
    }

    /// Goes on from a file whose training differs in what `changes` names: see
    /// [`crate::Trainer::set_safetensors_with`].
    ///
    /// # Errors
    /// As there.
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

    /// Takes the parameters and the state of the layers out of a file, and not the state of the training: see
    /// [`crate::Trainer::set_weights`].
    ///
    /// # Errors
    /// As there.
    pub fn set_weights(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let contents = checkpoint::decode(self.network.graph(), None, bytes)?;
        self.set_parameters(&contents.parameters)?;
        self.network.set_state(&contents.state_of_layers)
    }

    /// Writes parameters and the state of the training to a safetensors file. Whatever happens, the
    /// whole old file or the whole new one is there.
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

    /// Goes on from a file: see [`crate::Trainer::set_safetensors`].
    ///
    /// # Errors
    /// As there, or [`Error::Checkpoint`] when the file cannot be read.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let most = checkpoint::largest(self.network.graph());
        checkpoint::read(path.as_ref(), most, |bytes| self.set_safetensors(bytes))
    }

    /// Goes on from a file whose training differs in what `changes` names: with another learning rate, say.
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
