//! A training as a checkpoint, and back.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::sync::Arc;

use super::Trainer;
use crate::checkpoint::{self, Position};
use crate::error::Error;

impl Trainer {
    fn position(&self) -> Position {
        let (step, examples) = (self.steps_taken, &self.examples);
        let rules = (&*self.loss, &*self.optimizer);
        Position::new(step, self.batch, examples, &self.sampling, rules)
    }

    /// Parameters and the state of the training at the time of this call as a safetensors file: see
    /// [`crate::checkpoint`]. The training may go on while the future waits.
    ///
    /// # Errors
    /// [`Error::NotSaved`] when losses that were read have shown that it has diverged, [`Error::Checkpoint`] when a
    /// value is not finite: the training has failed; [`Error::Memory`] when the host has no room for it; else as
    /// [`Gpu::read_async`](crate::Gpu::read_async).
    pub fn to_safetensors(&self) -> impl Future<Output = Result<Vec<u8>, Error>> + use<> {
        let (graph, position) = (Arc::clone(self.model.graph()), self.position());
        let (soundness, taken) = (self.soundness.clone(), self.steps_taken);
        let roles = self.optimizer.state().iter().zip(&self.state);
        let reads: Vec<_> = roles
            .map(|(role, arena)| (*role, arena.read(self.model.gpu())))
            .collect();
        let (parameters, of_layers) = (self.model.parameters_async(), self.model.state_async());
        let values = 1 + self.state.len();
        async move {
            checkpoint::check_saving(&graph, values, values)?;
            let mut state = Vec::new();
            for (role, read) in reads {
                state.push((role, read.await?));
            }
            let (parameters, of_layers) = (parameters.await?, of_layers.await?);
            // Losses may have been read while this waited.
            soundness.check_saving(taken)?;
            checkpoint::encode(&graph, &parameters, &of_layers, Some((&state, &position)))
        }
    }

    /// Goes on from a file that a training of the same network, examples, batch, sampling, loss and optimizer
    /// has given: with the same bits as if it had never stopped. Examples are the same by their contents,
    /// under any name.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the file is damaged or of another training, or holds a value that is not
    /// finite; then nothing is changed.
    pub fn set_safetensors(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let training = Some((self.optimizer.state(), &self.position()));
        let contents = checkpoint::decode(self.model.graph(), training, bytes)?;
        self.steps.parameters_changed();
        self.model.set_parameters(&contents.parameters)?;
        self.model.set_state(&contents.state_of_layers)?;
        for (arena, values) in self.state.iter().zip(&contents.state) {
            arena.write(self.model.gpu(), values.iter().map(Vec::as_slice))?;
        }
        let gpu = self.model.gpu();
        #[expect(clippy::cast_possible_truncation, reason = "wraps, as on a GPU")]
        gpu.write(&self.step_count, &[contents.step as u32])?;
        self.steps_taken = contents.step;
        self.steps_elsewhere = contents.step;
        self.steps.step_count_changed();
        self.soundness.begin_anew(contents.step);
        Ok(())
    }

    /// Writes parameters and the state of the training to a safetensors file. Whatever happens, the
    /// whole old file or the whole new one is there.
    ///
    /// # Errors
    /// As [`to_safetensors`](Self::to_safetensors), or [`Error::Checkpoint`] when the file cannot be written.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let bytes = pollster::block_on(self.to_safetensors())?;
        Ok(checkpoint::write(path.as_ref(), &bytes)?)
    }

    /// Goes on from a file: see [`set_safetensors`](Self::set_safetensors).
    ///
    /// # Errors
    /// As there, or [`Error::Checkpoint`] when the file cannot be read.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let most = checkpoint::largest(self.model.graph());
        checkpoint::read(path.as_ref(), most, |bytes| self.set_safetensors(bytes))
    }
}
