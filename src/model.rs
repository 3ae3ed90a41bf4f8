//! A network on a GPU, and how its passes are recorded.

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

pub(crate) use backward::{Compared, TrainingPass};
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
    /// What forward passes write between their first and last layer: one after another, in the same memory.
    scratch: Arc<Mutex<Vec<Tensor>>>,
}

impl Sequential {
    /// Puts the network with its initial parameters on a GPU.
    ///
    /// # Errors
    /// [`Error::Setting`] when a layer does not take what it is given, records nothing or leaves part of its output
    /// unwritten, a parameter is empty, or nothing can be trained;
    /// [`Error::Limit`] or [`Error::OutOfMemory`] when the GPU cannot hold it, [`Error::Memory`] when the host has
    /// no room for its initial values.
    pub fn build(&self, gpu: &Gpu) -> Result<Model, Error> {
        Model::new(gpu, self, self.graph()?, None)
    }
}

impl Model {
    /// With parameters and state that are given, or the initial ones.
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

    /// The device it is on.
    #[must_use]
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// What it was built from.
    #[must_use]
    pub fn spec(&self) -> &Sequential {
        &self.spec
    }

    /// Numbers in a row of features: the elements of all inputs.
    #[must_use]
    pub fn features(&self) -> usize {
        self.graph.features()
    }

    /// Shape of what it gives for a row.
    #[must_use]
    pub fn output(&self) -> Shape {
        self.graph.output().shape
    }

    /// What a row of features is made of, where the network was made by [`Sequential::of`], or the file has it that it was
    /// loaded from.
    #[must_use]
    pub fn columns(&self) -> Option<&FittedColumns> {
        self.graph.columns.as_ref().map(|of| &of.columns)
    }

    pub(crate) fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// The parameters in the order of the network.
    pub(crate) fn parameter_arena(&self) -> &Arena {
        &self.parameters
    }

    /// Zeros in the shapes of the parameters.
    pub(crate) fn like_parameters(&self, role: &str) -> Result<Arena, Error> {
        like_parameters(&self.gpu, &self.graph, role)
    }

    /// What the first layer best takes of features: bytes as they are, or floats.
    pub(crate) fn input_element(&self, features: &Tensor) -> Element {
        match self.graph.first_use() {
            Some(first) if first.layer.takes_bytes(&self.gpu) => features.element(),
            _ => Element::F32,
        }
    }
}

/// One value after another, so that the host never has all of them.
fn write_each<'a>(
    gpu: &Gpu,
    arena: &Arena,
    values: impl Iterator<Item = (&'a Parameter, Vec<f32>)>,
) -> Result<(), Error> {
    let mut both = arena.tensors().iter().zip(values);
    both.try_for_each(|(tensor, (_, values))| gpu.write(tensor, &values))
}

/// Zeros in the shapes of the parameters of a network.
pub(crate) fn like_parameters(gpu: &Gpu, graph: &Graph, role: &str) -> Result<Arena, Error> {
    arena(gpu, role, &graph.parameters)
}

/// Zeros in the shapes of parameters, under their names.
fn arena(gpu: &Gpu, role: &str, parameters: &[Parameter]) -> Result<Arena, Error> {
    let spec = |Parameter { name, spec }: &Parameter| {
        ArenaSpec::new(format!("{role}.{name}"), spec.tensor_shape()).decays(spec.decays)
    };
    let specs: Vec<ArenaSpec> = parameters.iter().map(spec).collect();
    Arena::zeros(gpu, role, &specs)
}

/// Whether the host has room for what building a network takes of it.
fn check_host(gpu: &Gpu, graph: &Graph) -> Result<(), Error> {
    let sizes = graph.parameters.iter().chain(&graph.state);
    let sizes = sizes.map(|parameter| parameter.spec.shape.len() as u64);
    let largest = sizes.clone().max().unwrap_or(0);
    let all = total(sizes);
    // Initial values of one parameter, and copies of all of them on their way to the device. The memory of a
    // software driver is the host's: the parameters are there, too.
    let copies = if gpu.is_software() { 2 } else { 1 };
    let values = all.saturating_mul(copies).saturating_add(largest);
    let what = || format!("building a network of {all} parameters");
    gpu.check_host(what, bytes_of::<f32>(values))
}

#[cfg(test)]
mod tests;
