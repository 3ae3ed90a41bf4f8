//! Weights, and the state of a training, as a safetensors file.
//!
//! Tensors are named as the network names them: `layers.0.weight`, `layers.0.bias`. They lie as
//! PyTorch has them, so that `torch.nn.Linear` takes them as they are: a weight of a layer is
//! (outputs, inputs), the transpose of what its kernels use, and a bias is a vector. What an optimizer
//! keeps is named `optimizer.<what>.layers.0.weight` and so on. Everything is written as `f32`; weights of
//! other programs may be `f16` or `bf16`, too, and `f64` where an `f32` has the same values.
//!
//! The metadata holds `format` (`wgrad 2`), `network`, and `sha256` of all the rest of the file; of a
//! training also `seed` (of the network), `step`, `batch`, `examples_sha256`, `sampling`, `optimizer` (with its
//! settings and schedule) and `loss`, by which its steps go on where they stopped, and `examples` (how many
//! there are) for whoever reads it. A training that differs in one of the former does not take it;
//! [`Model::load`](crate::Model::load) takes the weights. The same training gives the same bytes.
//!
//! A file is this crate's only if its `format` says so. Other programs may have used any of these keys: of
//! their files the tensors alone count. [`import`] renames those.
//!
//! ```python
//! from safetensors.torch import load_file
//! net = torch.nn.Module()
//! net.layers = torch.nn.Sequential(torch.nn.Linear(784, 50), torch.nn.ReLU(), torch.nn.Linear(50, 10))
//! weights = load_file("model.safetensors")
//! net.load_state_dict({k: v for k, v in weights.items() if not k.startswith("optimizer.")})
//! ```

mod element;
#[cfg(not(target_arch = "wasm32"))]
mod file;
mod header;
mod import;
mod kind;
mod names;
mod position;

use std::collections::BTreeSet;

use ndarray::Array2;

use crate::error::Error;
use crate::error::checkpoint::{FORMAT, OPTIMIZER};
use crate::memory::{self, bytes_of};
use crate::ops::ParameterSpec;
use crate::sequential::Sequential;
use element::{Rounding, floats};
use header::{File, Texts};

pub use crate::error::CheckpointError;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use file::{read, write};
pub use import::import;
pub(crate) use position::Position;

/// What an optimizer keeps under one name, of every parameter in order.
pub(crate) type State = Vec<(&'static str, Vec<Array2<f32>>)>;

/// What was read from a file.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) parameters: Vec<Vec<Array2<f32>>>,
    pub(crate) state: Vec<Vec<Array2<f32>>>,
    pub(crate) step: u64,
}

fn network(spec: &Sequential) -> String {
    let layers = spec.layers().iter().map(|layer| layer.name());
    let all = std::iter::once(spec.widths()[0].to_string()).chain(layers);
    all.collect::<Vec<_>>().join(" → ")
}

/// Names of all parameters, and what they are.
fn parameters_of(spec: &Sequential) -> Vec<(String, ParameterSpec)> {
    spec.map_specs(|name, spec| (name, spec)).concat()
}

fn state_name(role: &str, parameter: &str) -> String {
    format!("{OPTIMIZER}{role}.{parameter}")
}

/// As PyTorch has it.
fn shape_in_file(parameter: &ParameterSpec) -> Vec<usize> {
    let [rows, columns] = parameter.shape;
    match parameter.is_vector {
        true => vec![columns],
        false => vec![columns, rows],
    }
}

/// A text of a file, which may be long or have line breaks, as it can stand in a message.
fn shown(text: &str) -> String {
    const MOST: usize = 200;
    let mut shown = String::new();
    for c in text.chars().take(MOST) {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the host has room for a checkpoint with so many values of each parameter, `copied` of which are copied first:
/// all of them are there as bytes twice, by tensor and in the file.
pub(crate) fn check_saving(spec: &Sequential, values: usize, copied: usize) -> Result<(), Error> {
    let count = spec.sizes().into_iter().fold(0, u64::saturating_add);
    let copies = (copied + 2 * values) as u64;
    let what = || format!("a checkpoint of {count} parameters");
    memory::check(what, bytes_of::<f32>(count).saturating_mul(copies))
}

/// The whole file.
pub(crate) fn encode(
    spec: &Sequential,
    parameters: &[Vec<Array2<f32>>],
    training: Option<(&State, &Position)>,
) -> Result<Vec<u8>, Error> {
    let named = parameters_of(spec);
    let mut tensors = header::Tensors::new();
    let mut add = |name: String, parameter: &ParameterSpec, value: &Array2<f32>| {
        if let Some(&found) = value.iter().find(|value| !value.is_finite()) {
            return Err(CheckpointError::Failed { name, found });
        }
        let values = value.t();
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        tensors.insert(name, (shape_in_file(parameter), bytes));
        Ok(())
    };
    for ((name, parameter), value) in named.iter().zip(parameters.iter().flatten()) {
        add(name.clone(), parameter, value)?;
    }
    let mut metadata = Texts::new();
    metadata.insert(header::FORMAT_KEY.to_owned(), FORMAT.to_owned());
    metadata.insert("network".to_owned(), network(spec));
    if let Some((state, position)) = training {
        for (role, values) in state {
            for ((name, parameter), value) in named.iter().zip(values) {
                add(state_name(role, name), parameter, value)?;
            }
        }
        metadata.extend(position.metadata(spec));
    }
    Ok(header::write(&tensors, metadata)?)
}

/// A file's contents, if all of it is of this network and, where one is given, this training.
pub(crate) fn decode(
    spec: &Sequential,
    training: Option<(&[&str], &Position)>,
    bytes: &[u8],
) -> Result<Contents, Error> {
    let file = File::parse(bytes)?;
    check_origin(spec, training.is_some(), &file)?;
    let (roles, step) = match training {
        None => (&[][..], 0),
        Some((roles, position)) => (roles, position.step_in(spec, &file)?),
    };
    let taken = Taken::new(spec, &file, roles);
    let mut flat = taken.matrices(None)?.into_iter();
    let state = roles.iter().map(|role| taken.matrices(Some(role)));
    let state = state.collect::<Result<Vec<_>, _>>()?;
    for (name, view) in &file.tensors {
        // Weights alone may be taken from a file with the state of a training.
        if !taken.knows(name) && (training.is_some() || !name.starts_with(OPTIMIZER)) {
            let (name, found) = (shown(name), view.shape.clone());
            return Err(CheckpointError::Unknown { name, found }.into());
        }
    }
    let layers = spec.map_specs(|_, _| ()).into_iter();
    let parameters = layers.map(|layer| flat.by_ref().take(layer.len()).collect());
    Ok(Contents {
        parameters: parameters.collect(),
        state,
        step,
    })
}

/// Whether the file says that it is of this network, and of a training that goes on; one of another program
/// says nothing of that.
fn check_origin(
    spec: &Sequential,
    is_resumed: bool,
    file: &File<'_>,
) -> Result<(), CheckpointError> {
    if !file.is_ours() {
        return match is_resumed {
            true => Err(CheckpointError::NoTraining { is_ours: false }),
            false => Ok(()),
        };
    }
    let format = file.text(header::FORMAT_KEY);
    if is_resumed && format == header::OLDER_FORMAT {
        return Err(CheckpointError::Version {
            found: format.to_owned(),
            is_older: true,
        });
    }
    let (expected, found) = (network(spec), file.text("network"));
    if expected != found {
        let [expected, found] = names::difference(&expected, found);
        return Err(CheckpointError::Network { expected, found });
    }
    Ok(())
}

/// The tensors that are taken out of a file.
struct Taken<'a> {
    file: &'a File<'a>,
    parameters: Vec<(String, ParameterSpec)>,
    /// All names, those of the optimizer's state too.
    known: BTreeSet<String>,
}

impl<'a> Taken<'a> {
    fn new(spec: &Sequential, file: &'a File<'a>, roles: &[&str]) -> Self {
        let parameters = parameters_of(spec);
        let names = parameters.iter().map(|(name, _)| name);
        let states = roles
            .iter()
            .flat_map(|role| names.clone().map(|name| state_name(role, name)));
        Self {
            file,
            known: states.chain(names.clone().cloned()).collect(),
            parameters,
        }
    }

    fn knows(&self, name: &str) -> bool {
        self.known.contains(name)
    }

    /// All parameters in order, or what the optimizer keeps of them under the name `role`.
    fn matrices(&self, role: Option<&str>) -> Result<Vec<Array2<f32>>, CheckpointError> {
        let named = self.parameters.iter().map(|(name, parameter)| match role {
            None => self.matrix(name.clone(), parameter),
            Some(role) => self.matrix(state_name(role, name), parameter),
        });
        named.collect()
    }

    fn matrix(
        &self,
        name: String,
        parameter: &ParameterSpec,
    ) -> Result<Array2<f32>, CheckpointError> {
        let (expected, tensors) = (shape_in_file(parameter), &self.file.tensors);
        let Some(view) = tensors.get(&name) else {
            let network: Vec<&str> = self.parameters.iter().map(|(name, _)| &**name).collect();
            return Err(CheckpointError::Missing {
                name,
                expected,
                present: names::listed(tensors, |name| self.knows(name)),
                remedy: names::remedy(self.file, &network),
            });
        };
        if view.shape != expected {
            return Err(CheckpointError::Shape {
                name,
                expected,
                found: view.shape.clone(),
            });
        }
        let values = floats(&name, view, Rounding::Refused)?;
        let [rows, columns] = parameter.shape;
        let value = |(row, column)| values[column * rows + row];
        Ok(Array2::from_shape_fn((rows, columns), value))
    }
}
