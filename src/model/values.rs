//! Reads, writes, copies, saves and loads the parameters and state of a model.

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
    /// Names of the parameters in order. A name is `layers.<index>.<name within the layer>`.
    pub fn parameter_names(&self) -> impl Iterator<Item = &str> {
        self.graph
            .parameters
            .iter()
            .map(|parameter| parameter.name.as_str())
    }

    /// The tensor of the parameter with this name, for kernels that read it.
    ///
    /// Do not write to it while a trainer trains the model, because the trainer has already begun its next step with
    /// the old value. Use [`Trainer::set_parameter`](crate::Trainer::set_parameter) instead.
    ///
    /// # Errors
    /// [`Error::Setting`] when the network has no parameter of this name.
    pub fn parameter_tensor(&self, name: &str) -> Result<&Tensor, Error> {
        Ok(&self.parameters.tensors()[find(&self.graph.parameters, name)?])
    }

    /// Reads all parameters from the GPU, and waits for the result.
    ///
    /// # Errors
    /// The errors of [`Gpu::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn parameters(&self) -> Result<Parameters, Error> {
        block_on(self.parameters_async())
    }

    /// Reads all parameters from the GPU without blocking. The future returns their values at the time of the call.
    ///
    /// # Errors
    /// The errors of [`Gpu::read_async`].
    pub fn parameters_async(&self) -> impl Future<Output = Result<Parameters, Error>> + use<> {
        self.read_like_parameters(&self.parameters)
    }

    /// Reads the state of all layers from the GPU, and waits for the result. State consists of tensors that layers
    /// update and optimizers do not, such as running means.
    ///
    /// # Errors
    /// The errors of [`Gpu::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn state(&self) -> Result<Parameters, Error> {
        block_on(self.state_async())
    }

    /// Reads the state of all layers from the GPU without blocking. The future returns its values at the time of the
    /// call.
    ///
    /// # Errors
    /// The errors of [`Gpu::read_async`].
    pub fn state_async(&self) -> impl Future<Output = Result<Parameters, Error>> + use<> {
        read_named(&self.gpu, &self.graph, &self.state, |graph| &graph.state)
    }

    /// Reads an arena that has a tensor in the shape of each parameter. The arrays have the names of the parameters.
    pub(crate) fn read_like_parameters(
        &self,
        values: &Arena,
    ) -> impl Future<Output = Result<Parameters, Error>> + use<> {
        read_like_parameters(&self.gpu, &self.graph, values)
    }

    /// Reads the parameter with this name from the GPU, and waits for the result.
    ///
    /// # Errors
    /// [`Error::Setting`] when the network has no parameter of this name; the errors of [`Gpu::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn parameter(&self, name: &str) -> Result<ArrayD<f32>, Error> {
        block_on(self.parameter_async(name))
    }

    /// Reads the parameter with this name from the GPU without blocking. The future returns its value at the time of
    /// the call.
    ///
    /// # Errors
    /// The errors of [`parameter`](Self::parameter).
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
    /// [`Error::Setting`] when a parameter is missing, unknown, or has the wrong shape. Then no parameter is replaced.
    pub fn set_parameters(&mut self, values: &Parameters) -> Result<(), Error> {
        write_all(&self.gpu, &self.parameters, &self.graph.parameters, values)
    }

    /// Replaces the state of all layers.
    ///
    /// # Errors
    /// The errors of [`set_parameters`](Self::set_parameters).
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

    /// Replaces the parameter with this name.
    ///
    /// # Errors
    /// [`Error::Setting`] when the network has no parameter of this name, or `value` has the wrong shape.
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

    /// Returns a copy of the model on the same GPU, with separate parameters and state. [`Clone`] does the same, but
    /// panics on errors.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when the GPU has not enough memory for the copy.
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

    /// Copies the parameters and the state of another model of the same network into this model, on the GPU.
    ///
    /// # Errors
    /// The errors of [`mix`](Self::mix).
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

    /// Copies the parameter with this name into the same tensor of an arena with the same shapes, on the device.
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

    /// Restores parameters and state from copies that [`copied_parameters`](Self::copied_parameters) and
    /// [`copied_state`](Self::copied_state) returned.
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

    /// Moves the parameters and the state toward those of another model of the same network, on the GPU:
    /// `own ← own + share·(other − own)`.
    ///
    /// If `share` is 1, this copies the other model. With a small `share`, this model follows the other model slowly,
    /// as a target network does in reinforcement learning (Lillicrap and others, "Continuous control with deep
    /// reinforcement learning", 2016).
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
    /// [`Error::Setting`] when `other` has other layers or parameters, or `share` is not in 0..=1; [`Error::OtherGpu`]
    /// when `other` is on another [`Gpu`].
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

    /// Encodes parameters and state as a safetensors file, and waits for the result: see [`crate::checkpoint`].
    ///
    /// # Errors
    /// The errors of [`to_safetensors_async`](Self::to_safetensors_async).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        block_on(self.to_safetensors_async())
    }

    /// Encodes parameters and state as a safetensors file, without blocking: see [`crate::checkpoint`]. The file
    /// contains the values at the time of the call.
    ///
    /// # Errors
    /// The errors of [`parameters_async`](Self::parameters_async); [`Error::Checkpoint`] when a value is infinite or
    /// NaN; [`Error::Memory`] when the host has not enough memory for the file.
    pub fn to_safetensors_async(&self) -> impl Future<Output = Result<Vec<u8>, Error>> + use<> {
        let graph = Arc::clone(&self.graph);
        let parameters = self.parameters_async();
        let state = self.state_async();
        async move {
            checkpoint::check_saving(&graph, 1, 1)?;
            checkpoint::encode(&graph, &parameters.await?, &state.await?, None)
        }
    }

    /// Builds the network that a safetensors file describes, with the file's parameters and state.
    ///
    /// A `Model`, a trainer or a [`cpu::Network`](crate::cpu::Network) has saved the file. The state of a training is
    /// ignored. [`crate::checkpoint`] explains how a file describes its network.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the file is damaged, contains an infinite or NaN value, does not describe its
    /// network, or has a layer that is not from this crate; the errors of [`build`](crate::Sequential::build).
    pub fn from_safetensors(bytes: &[u8], gpu: &Gpu) -> Result<Self, Error> {
        let Opened {
            spec,
            graph,
            contents,
        } = checkpoint::open(bytes)?;
        let values = [&contents.parameters, &contents.state_of_layers];
        Self::new(gpu, &spec, graph, Some(values))
    }

    /// Replaces parameters and state by those of a safetensors file.
    ///
    /// The file may have been saved by this crate, with or without the state of a training. It may also be a file of
    /// another program whose tensors have the same names and shapes. [`checkpoint::import`] renames the tensors of
    /// other files.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the file is damaged, belongs to another network, or contains an infinite or NaN
    /// value. Then nothing is changed.
    pub fn set_safetensors(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let contents = checkpoint::decode(&self.graph, None, bytes)?;
        self.set_parameters(&contents.parameters)?;
        self.set_state(&contents.state_of_layers)
    }
}

/// Returns a copy of the model on the same GPU, with separate parameters and state.
///
/// # Panics
/// When the GPU is lost or has not enough memory for the copy. [`try_clone`](Model::try_clone) returns an error
/// instead.
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

/// Reads an arena that has a tensor in the shape of each parameter of a network. The arrays have the parameters' names.
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

/// Reads a tensor as a matrix of its rows and columns, without blocking.
pub(crate) fn read_matrix(
    gpu: &Gpu,
    tensor: &Tensor,
) -> impl Future<Output = Result<Array2<f32>, Error>> + use<> {
    let ([rows, columns], read) = (tensor.dims(), gpu.read_async::<f32>(tensor));
    async move { Ok(matrix([rows, columns], read.await?)) }
}

/// Converts row-major values to a matrix.
#[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
fn matrix(dims: [usize; 2], values: Vec<f32>) -> Array2<f32> {
    Array2::from_shape_vec(dims, values).expect("a tensor has as many elements as its shape")
}
