//! A network on a GPU, and the recording of its forward and backward passes.

mod backward;
#[cfg(not(target_arch = "wasm32"))]
mod direct;
mod forward;
mod head;
mod memory;
#[cfg(feature = "onnx")]
mod onnx;
mod pass;
#[cfg(not(target_arch = "wasm32"))]
mod probe;
mod values;

use std::sync::{Arc, Mutex};

use crate::data::FittedColumns;
use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernel::Element;
use crate::memory::{bytes_of, total};
use crate::network::{Graph, Parameter, Parameters, Sequential};
use crate::shape::Shape;
use crate::tensor::{self, Arena, ArenaSpec, Tensor};

pub(crate) use backward::{LossTensors, TrainingPass};
pub(crate) use forward::{ForwardPass, TrainingStep};
pub(crate) use head::{ModelHead, TrainedHead};
pub use pass::Pass;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use probe::probe_loss;
pub(crate) use values::read_matrix;
use values::write_all;

/// A network on a GPU: its parameters, and the state of its layers.
#[derive(Debug)]
pub struct Model {
    gpu: Gpu,
    spec: Sequential,
    graph: Arc<Graph>,
    parameters: Arena,
    state: Arena,
    /// Memory blocks for the values between the features and the output. All forward passes share them.
    scratch: Arc<Mutex<Vec<Tensor>>>,
}

impl Sequential {
    /// Builds the network with its initial parameters on a GPU.
    ///
    /// # Errors
    /// - [`Error::Setting`] when a layer does not accept its input, records no kernel or leaves part of its output
    ///   unwritten, when a parameter has no elements, or when the network has no parameters.
    /// - [`Error::Limit`] or [`Error::OutOfMemory`] when the network does not fit in the GPU's memory.
    /// - [`Error::Memory`] when the host has not enough memory for the initial values.
    pub fn build(&self, gpu: &Gpu) -> Result<Model, Error> {
        Model::new(gpu, self, self.graph()?, None)
    }
}

impl Model {
    /// Builds the model with the `given` parameters and state, or with initial values if `given` is `None`.
    fn new(
        gpu: &Gpu,
        spec: &Sequential,
        graph: Graph,
        given: Option<[&Parameters; 2]>,
    ) -> Result<Self, Error> {
        for Parameter { name, spec } in graph.parameters.iter().chain(&graph.state) {
            tensor::span_of(gpu, name, spec.tensor_shape())?;
        }
        check_host(gpu, &graph)?;
        let parameters = arena(gpu, "parameters", &graph.parameters)?;
        let state = arena(gpu, "state", &graph.state)?;
        match given {
            Some([of_parameters, of_state]) => {
                write_all(gpu, &parameters, &graph.parameters, of_parameters)?;
                write_all(gpu, &state, &graph.state, of_state)?;
            }
            None => {
                write_each(gpu, &parameters, graph.initial_parameters())?;
                write_each(gpu, &state, graph.initial_state())?;
            }
        }
        gpu.flush()?;
        let model = Self {
            gpu: gpu.clone(),
            spec: spec.clone(),
            graph: Arc::new(graph),
            parameters,
            state,
            scratch: Arc::default(),
        };
        #[cfg(not(target_arch = "wasm32"))]
        model.probe()?;
        Ok(model)
    }

    /// The GPU that holds the model.
    #[must_use]
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The description from which the model was built.
    #[must_use]
    pub fn spec(&self) -> &Sequential {
        &self.spec
    }

    /// Number of features per row: the elements of all inputs.
    #[must_use]
    pub fn features(&self) -> usize {
        self.graph.features()
    }

    /// Shape of the output for one row.
    #[must_use]
    pub fn output(&self) -> Shape {
        self.graph.output().shape
    }

    /// The table columns from which a row of features is made. `None` unless [`Sequential::of`] or
    /// [`Sequential::with_columns`] set them, or the file of the network contains them.
    #[must_use]
    pub fn columns(&self) -> Option<&FittedColumns> {
        self.graph.columns.as_ref().map(|of| &of.columns)
    }

    pub(crate) fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// The arena of the parameters, in the network's order.
    pub(crate) fn parameter_arena(&self) -> &Arena {
        &self.parameters
    }

    /// Allocates an arena of zeros that has a tensor in the shape of each parameter.
    pub(crate) fn like_parameters(&self, role: &str) -> Result<Arena, Error> {
        like_parameters(&self.gpu, &self.graph, role)
    }

    /// The element type of the features that the first layer reads: the type of `features` if this layer can read
    /// packed bytes, otherwise floats.
    pub(crate) fn input_element(&self, features: &Tensor) -> Element {
        match self.graph.first_use() {
            Some(first) if first.layer.takes_bytes(&self.gpu) => features.element(),
            _ => Element::F32,
        }
    }
}

/// Writes one tensor after another, so that the values of only one tensor are in host memory at a time.
fn write_each<'a>(
    gpu: &Gpu,
    arena: &Arena,
    values: impl Iterator<Item = (&'a Parameter, Vec<f32>)>,
) -> Result<(), Error> {
    let mut both = arena.tensors().iter().zip(values);
    both.try_for_each(|(tensor, (_, values))| gpu.write(tensor, &values))
}

/// Allocates an arena of zeros that has a tensor in the shape of each parameter of a network.
pub(crate) fn like_parameters(gpu: &Gpu, graph: &Graph, role: &str) -> Result<Arena, Error> {
    arena(gpu, role, &graph.parameters)
}

/// Allocates an arena of zeros that has a tensor for each of `parameters`. A tensor is named `role.<parameter name>`.
fn arena(gpu: &Gpu, role: &str, parameters: &[Parameter]) -> Result<Arena, Error> {
    let spec = |Parameter { name, spec }: &Parameter| {
        ArenaSpec::new(format!("{role}.{name}"), spec.tensor_shape()).decays(spec.decays)
    };
    let specs: Vec<ArenaSpec> = parameters.iter().map(spec).collect();
    Arena::zeros(gpu, role, &specs)
}

/// Checks that the host has enough memory to build a network.
fn check_host(gpu: &Gpu, graph: &Graph) -> Result<(), Error> {
    let sizes = graph.parameters.iter().chain(&graph.state);
    let sizes = sizes.map(|parameter| parameter.spec.shape.len() as u64);
    let largest = sizes.clone().max().unwrap_or(0);
    let all = total(sizes);
    // The host needs memory for the initial values of one parameter, and for the staging buffers of all values. A
    // software driver uses host memory, so the parameters on the device count as well.
    let copies = if gpu.is_software() { 2 } else { 1 };
    let values = all.saturating_mul(copies).saturating_add(largest);
    let what = || format!("building a network of {all} parameters");
    gpu.check_host(what, bytes_of::<f32>(values))
}

#[cfg(test)]
mod tests;
