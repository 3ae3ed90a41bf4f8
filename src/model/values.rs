//! Parameters and state on the host: read and written by name or all at once, copied between models, saved and loaded.

use std::sync::Arc;

use ndarray::{Array2, ArrayD, ArrayViewD};

use super::{Model, arena};
use crate::checkpoint::{self, Opened};
use crate::error::Error;
use crate::gpu::Gpu;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::block_on;
use crate::network::{
    Graph, Parameter, Parameters, array, check_all, check_shape, find, row_major,
};
use crate::ops::{add, mix};
use crate::plan::Recorder;
use crate::tensor::{Arena, Tensor};

impl Model {
    /// Names of the parameters in order, `layers.<index>.<name within the layer>`.
    pub fn parameter_names(&self) -> impl Iterator<Item = &str> {
        self.graph
            .parameters
            .iter()
            .map(|parameter| parameter.name.as_str())
    }

    /// The tensor that holds the parameter of this name, for kernels to read. Do not write to it while a trainer trains
    /// the model: the trainer has already begun its next step with the old value. Use
    /// [`Trainer::set_parameter`](crate::Trainer::set_parameter) instead.
    ///
    /// # Errors
    /// [`Error::Setting`] when the network has no parameter of this name.
    pub fn parameter_tensor(&self, name: &str) -> Result<&Tensor, Error> {
        Ok(&self.parameters.tensors()[find(&self.graph.parameters, name)?])
    }

    /// Reads all parameters.
    ///
    /// # Errors
    /// As [`Gpu::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn parameters(&self) -> Result<Parameters, Error> {
        block_on(self.parameters_async())
    }

    /// Reads all parameters as they are at the time of the call, without blocking a browser's main thread.
    ///
    /// # Errors
    /// As [`Gpu::read_async`].
    pub fn parameters_async(&self) -> impl Future<Output = Result<Parameters, Error>> + use<> {
        self.read_like_parameters(&self.parameters)
    }

    /// Reads the state of all layers: values that no optimizer changes, such as running means.
    ///
    /// # Errors
    /// As [`Gpu::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn state(&self) -> Result<Parameters, Error> {
        block_on(self.state_async())
    }

    /// Reads the state as it is at the time of the call, without blocking a browser's main thread.
    ///
    /// # Errors
    /// As [`Gpu::read_async`].
    pub fn state_async(&self) -> impl Future<Output = Result<Parameters, Error>> + use<> {
        read_named(&self.gpu, &self.graph, &self.state, |graph| &graph.state)
    }

    /// Reads values that have the shapes of the parameters, under the parameters' names.
    pub(crate) fn read_like_parameters(
        &self,
        values: &Arena,
    ) -> impl Future<Output = Result<Parameters, Error>> + use<> {
        read_like_parameters(&self.gpu, &self.graph, values)
    }

    /// Reads the parameter of this name.
    ///
    /// # Errors
    /// [`Error::Setting`] when the network has no parameter of this name, or as [`Gpu::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn parameter(&self, name: &str) -> Result<ArrayD<f32>, Error> {
        block_on(self.parameter_async(name))
    }

    /// Reads the parameter as it is at the time of the call, without blocking a browser's main thread.
    ///
    /// # Errors
    /// As [`parameter`](Self::parameter).
    pub fn parameter_async(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<ArrayD<f32>, Error>> + use<> {
        let index = find(&self.graph.parameters, name);
        let read = index.map(|index| {
            let read = self.gpu.read_async(&self.parameters.tensors()[index]);
            (self.graph.parameters[index].spec.shape, read)
        });
        async move {
            let (shape, read) = read?;
            Ok(array(&shape, read.await?))
        }
    }

    /// Replaces all parameters.
    ///
    /// # Errors
    /// [`Error::Setting`] when a parameter is missing, unknown, or of another shape; then none is replaced.
    pub fn set_parameters(&mut self, values: &Parameters) -> Result<(), Error> {
        write_all(&self.gpu, &self.parameters, &self.graph.parameters, values)
    }

    /// Replaces the state of all layers.
    ///
    /// # Errors
    /// As [`set_parameters`](Self::set_parameters).
    pub fn set_state(&mut self, values: &Parameters) -> Result<(), Error> {
        write_all(&self.gpu, &self.state, &self.graph.state, values)
    }

    /// Resets the layers' state to its initial values.
    pub(crate) fn reset_state(&mut self) -> Result<(), Error> {
        let initial = self.graph.initial_state();
        let values: Vec<Vec<f32>> = initial.map(|(_, values)| values).collect();
        self.state
            .write(&self.gpu, values.iter().map(Vec::as_slice))
    }

    /// Replaces the parameter of this name.
    ///
    /// # Errors
    /// [`Error::Setting`] when the network has no parameter of this name, or `value` has another shape.
    pub fn set_parameter(&mut self, name: &str, value: ArrayViewD<'_, f32>) -> Result<(), Error> {
        let index = find(&self.graph.parameters, name)?;
        check_shape(
            name,
            &self.graph.parameters[index].spec.shape,
            value.shape(),
        )?;
        self.gpu
            .write(&self.parameters.tensors()[index], &row_major(value))
    }

    /// Copies the model, with its own parameters and state on the same GPU. [`Clone`] does the same, but panics on
    /// errors.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when the GPU has no room for the copy.
    pub fn try_clone(&self) -> Result<Self, Error> {
        let mut copy = Self {
            gpu: self.gpu.clone(),
            spec: self.spec.clone(),
            graph: Arc::clone(&self.graph),
            parameters: arena(&self.gpu, "parameters", &self.graph.parameters)?,
            state: arena(&self.gpu, "state", &self.graph.state)?,
            scratch: Arc::default(),
        };
        copy.copy_from(self)?;
        Ok(copy)
    }

    /// Copies the parameters and the state of another model of the same network, on the device.
    ///
    /// # Errors
    /// As [`mix`](Self::mix).
    pub fn copy_from(&mut self, other: &Self) -> Result<(), Error> {
        self.mix(other, 1.0)
    }

    /// Returns a copy of the parameters, on the device.
    pub(crate) fn copied_parameters(&self, role: &str) -> Result<Arena, Error> {
        let copy = self.like_parameters(role)?;
        self.copy(&self.parameters, &copy)?;
        Ok(copy)
    }

    /// Returns a copy of the layers' state, on the device.
    pub(crate) fn copied_state(&self, role: &str) -> Result<Arena, Error> {
        let copy = arena(&self.gpu, role, &self.graph.state)?;
        self.copy(&self.state, &copy)?;
        Ok(copy)
    }

    /// Copies the parameters into an arena with the same shapes, on the device.
    pub(crate) fn copy_parameters_to(&self, to: &Arena) -> Result<(), Error> {
        self.copy(&self.parameters, to)
    }

    /// Copies the parameter of this name into an arena with the shapes of the parameters.
    pub(crate) fn copy_parameter_to(&self, name: &str, to: &Arena) -> Result<(), Error> {
        let index = find(&self.graph.parameters, name)?;
        let [from, to] = [&self.parameters, to].map(|arena| &arena.tensors()[index]);
        let mut recorder = Recorder::new(&self.gpu);
        add::copy(&mut recorder, from, to);
        self.gpu.submit(&recorder.finish()?, 1)?;
        Ok(())
    }

    /// Copies the layers' state into an arena with the same shapes, on the device.
    pub(crate) fn copy_state_to(&self, to: &Arena) -> Result<(), Error> {
        self.copy(&self.state, to)
    }

    /// Restores parameters and state from such copies.
    pub(crate) fn restore(&mut self, parameters: &Arena, state: &Arena) -> Result<(), Error> {
        self.copy(parameters, &self.parameters)?;
        self.copy(state, &self.state)
    }

    fn copy(&self, from: &Arena, to: &Arena) -> Result<(), Error> {
        let mut recorder = Recorder::new(&self.gpu);
        for (from, to) in from.blocks().iter().zip(to.blocks()) {
            add::copy(&mut recorder, from, to);
        }
        self.gpu.submit(&recorder.finish()?, 1)?;
        Ok(())
    }

    /// Moves parameters and state toward those of another model of the same network, on the device:
    /// `own ← own + share·(other − own)`, which is `own ← other` for a share of 1. With a small share, a target network
    /// slowly follows the network that is trained (Lillicrap and others, "Continuous control with deep reinforcement
    /// learning", 2016).
    ///
    /// ```
    /// use wgrad::{Gpu, TwoLayerNet};
    ///
    /// let gpu = Gpu::new()?;
    /// let trained = TwoLayerNet::spec(4, 8, 2).seed(1).build(&gpu)?;
    /// let mut target = trained.try_clone()?;
    /// // After every step of the training of the first:
    /// target.mix(&trained, 0.005)?;
    /// assert_eq!(target.parameters()?, trained.parameters()?);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] when `other` is another network, or `share` is not in 0..=1; [`Error::OtherGpu`] when `other`
    /// is on another device.
    pub fn mix(&mut self, other: &Self, share: f32) -> Result<(), Error> {
        mix::check(share)?;
        self.graph.check_alike(&other.graph)?;
        self.gpu
            .check_owner(&other.gpu, || "the other model".to_owned())?;
        let mut recorder = Recorder::new(&self.gpu);
        for (own, others) in [
            (&self.parameters, &other.parameters),
            (&self.state, &other.state),
        ] {
            for (own, other) in own.blocks().iter().zip(others.blocks()) {
                mix::record(&mut recorder, other, own, share);
            }
        }
        self.gpu.submit(&recorder.finish()?, 1)?;
        Ok(())
    }

    /// Encodes parameters and state like [`to_safetensors_async`](Self::to_safetensors_async), and waits for the
    /// result.
    ///
    /// # Errors
    /// As [`to_safetensors_async`](Self::to_safetensors_async).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        block_on(self.to_safetensors_async())
    }

    /// Encodes parameters and state as a safetensors file: see [`crate::checkpoint`].
    ///
    /// # Errors
    /// As [`parameters_async`](Self::parameters_async), [`Error::Checkpoint`] when a value is not finite, or
    /// [`Error::Memory`] when the host has no room for the file.
    pub fn to_safetensors_async(&self) -> impl Future<Output = Result<Vec<u8>, Error>> + use<> {
        let graph = Arc::clone(&self.graph);
        let parameters = self.parameters_async();
        let state = self.state_async();
        async move {
            checkpoint::check_saving(&graph, 1, 1)?;
            checkpoint::encode(&graph, &parameters.await?, &state.await?, None)
        }
    }

    /// Builds the network that a safetensors file describes: layers, parameters and state. The file can come from this
    /// engine or from [`cpu::Network`](crate::cpu::Network); the state of a training in it is ignored.
    /// [`crate::checkpoint`] explains how a file describes its network.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the file is damaged, holds a value that is not finite, does not describe its network,
    /// or has a layer that is not from this crate; or as [`build`](crate::Sequential::build).
    pub fn from_safetensors(bytes: &[u8], gpu: &Gpu) -> Result<Self, Error> {
        let Opened {
            spec,
            graph,
            contents,
        } = checkpoint::open(bytes)?;
        let values = [&contents.parameters, &contents.state_of_layers];
        Self::new(gpu, &spec, graph, Some(values))
    }

    /// Replaces parameters and state by those of a safetensors file. The file is either one of this crate, with or
    /// without the state of a training, or one whose tensors have the same names and shapes. [`checkpoint::import`]
    /// renames the tensors of other files.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the file is damaged, belongs to another network, or holds a value that is not finite;
    /// then nothing is changed.
    pub fn set_safetensors(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let contents = checkpoint::decode(&self.graph, None, bytes)?;
        self.set_parameters(&contents.parameters)?;
        self.set_state(&contents.state_of_layers)
    }
}

/// Copies the model, with its own parameters and state on the same GPU.
///
/// # Panics
/// When the GPU is lost or has no room for the copy. [`try_clone`](Model::try_clone) returns an error instead.
impl Clone for Model {
    #[expect(
        clippy::expect_used,
        reason = "as documented, and as every allocation of a clone"
    )]
    fn clone(&self) -> Self {
        self.try_clone()
            .expect("room on the GPU for a copy of a model")
    }
}

pub(super) fn write_all(
    gpu: &Gpu,
    arena: &Arena,
    parameters: &[Parameter],
    values: &Parameters,
) -> Result<(), Error> {
    let expected = parameters.iter();
    let expected = expected.map(|Parameter { name, spec }| (name.as_str(), &spec.shape));
    check_all(expected, values)?;
    let values = parameters
        .iter()
        .filter_map(|parameter| values.get(&parameter.name));
    let values: Vec<Vec<f32>> = values.map(|value| row_major(value.view())).collect();
    arena.write(gpu, values.iter().map(Vec::as_slice))
}

/// Reads values that have the shapes of a network's parameters, under the parameters' names.
pub(super) fn read_like_parameters(
    gpu: &Gpu,
    graph: &Arc<Graph>,
    values: &Arena,
) -> impl Future<Output = Result<Parameters, Error>> + use<> {
    read_named(gpu, graph, values, |graph| &graph.parameters)
}

fn read_named(
    gpu: &Gpu,
    graph: &Arc<Graph>,
    values: &Arena,
    parameters: fn(&Graph) -> &[Parameter],
) -> impl Future<Output = Result<Parameters, Error>> + use<> {
    let graph = Arc::clone(graph);
    let read = values.read(gpu);
    async move {
        let values = parameters(&graph).iter().zip(read.await?);
        let values = values
            .map(|(Parameter { name, spec }, values)| (name.clone(), array(&spec.shape, values)));
        Ok(values.collect())
    }
}

/// Reads a tensor as a matrix of its rows and columns.
pub(crate) fn read_matrix(
    gpu: &Gpu,
    tensor: &Tensor,
) -> impl Future<Output = Result<Array2<f32>, Error>> + use<> {
    let ([rows, columns], read) = (tensor.dims(), gpu.read_async::<f32>(tensor));
    async move { Ok(matrix([rows, columns], read.await?)) }
}

/// Row-major values as a matrix.
#[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
fn matrix(dims: [usize; 2], values: Vec<f32>) -> Array2<f32> {
    Array2::from_shape_vec(dims, values).expect("a tensor has as many elements as its shape")
}
