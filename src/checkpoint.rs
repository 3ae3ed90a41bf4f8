//! Weights, and optionally the state of a training, in a safetensors file.
//!
//! Tensors have the network's own names, `layers.0.weight` or `layers.0.bias`. The state of a layer, such as
//! `layers.1.running_mean`, is saved and loaded with the weights. Tensors have PyTorch's layout, so `torch.nn.Linear`
//! takes them unchanged: its weight is (outputs, inputs), the transpose of the kernels' weight ([`Layout`]). The
//! optimizer's state is named `optimizer.<what>.layers.0.weight` and so on. This crate writes everything as `f32`. It
//! also reads files of other programs with weights in `f16` or `bf16`, and in `f64` if the values are exact in `f32`.
//!
//! The metadata contain `format` (`wgrad 2`), `network` (a description in one line), `structure`, and `sha256`, a
//! digest of everything else in the file. `structure` is the network as JSON;
//! [`cpu::Network::load`](crate::cpu::Network::load), [`Model::load`](crate::Model::load) and
//! [`Sequential::load`](crate::Sequential::load) build the network from it:
//!
//! ```json
//! {
//!   "inputs": [[784]],
//!   "values": [
//!     {"layer": {"is": {"Linear": {"outputs": 50, "bias": true}}, "of": 0}},
//!     {"layer": {"is": "Relu", "of": 1}},
//!     {"sum": [2, 1]}
//!   ],
//!   "names": {"skip": 1}
//! }
//! ```
//!
//! `inputs` are the shapes of an example. `values` follow the inputs; all are numbered from 0 in this order. Each value
//! is made from earlier ones, given by their numbers: a `layer` applied to value `of`, an earlier layer used `again`
//! (by its index among the layers), an `other` layer from outside of this crate (by its name), a `sum` of two values,
//! or a `concat` of several. `names` are the names given to values. `columns` is present if the network was made for
//! the columns of a table ([`Sequential::of`](crate::Sequential::of)): it is the output of
//! [`FittedColumns::to_json`](crate::data::FittedColumns::to_json).
//!
//! The layers are `Linear` {`outputs`, `bias`}, `Conv2d` {`outputs`, `window`, `dilation`, `bias`}, `MaxPool2d` and
//! `AvgPool2d` (windows), `GlobalAvgPool2d`, `BatchNorm` {`eps`, `momentum`}, `LayerNorm` {`eps`}, `Embedding`
//! {`count`, `width`}, `Frequency` {`octaves`}, `OneBlob` {`bins`}, `SphericalHarmonics` {`degrees`}, `HashGrid`
//! {`levels`, `features_per_level`, `table_size`, `base_resolution`, `growth`}, `Dropout` {`p`}, `LeakyRelu`
//! {`negative_slope`}, and by name alone `Relu`, `Gelu`, `Sigmoid`, `Tanh`, `Flatten`. A window is {`kernel`, `stride`,
//! `padding`}; each of these, and `dilation`, is a pair of height and width.
//!
//! The metadata of a training also contain what its steps need to go on where they stopped:
//!
//! - `seed` (of the network), `step`, `batch`, `examples_sha256`, `sampling`;
//! - `optimizer` and `loss`, as [`Optimizer::describe`](crate::ops::Optimizer::describe) and
//!   [`Loss::describe`](crate::ops::Loss::describe) write them: name, settings, schedule;
//! - `groups` and `moving_average`, if there are any, and `decay` (which parameters decay by default), if the optimizer
//!   decays;
//! - `optimizer_began`, the step at which the optimizer's state started with zeros, if that is not 0;
//! - `examples`, the number of examples, as information for people;
//! - on a stream, `window` (the number of the window of the next minibatch) and, if it is not 0, `rows_of_window` (how
//!   many rows of that window were already trained on).
//!
//! If the rows are given to each step, or lie in tensors of a program, `batch` and `sampling` are `none`. A training
//! goes on from a file only if all these settings are the same, except for the [`Changes`] that it allows;
//! [`Model::load_weights`](crate::Model::load_weights) takes just the weights. So set groups, frozen parameters,
//! minibatches per step and a moving average before a training goes on from a file. The same training always writes the
//! same bytes.
//!
//! A file counts as written by this crate only if its `format` says so. Other programs may use any of these keys for
//! their own purposes; from their files only the tensors are read. [`import`] renames the tensors.
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
mod open;
mod position;

use std::collections::BTreeSet;

use ndarray::{ArrayViewD, Ix2};

use crate::error::Error;
use crate::error::checkpoint::{FORMAT, OPTIMIZER};
use crate::memory::{self, bytes_of, total};
use crate::network::{Graph, Parameter, Parameters, array};
use crate::ops::{Layout, ParameterSpec};
use element::{Rounding, floats};
use header::{File, Texts};

pub use crate::error::{CheckpointError, Difference};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use file::{read, read_whole, write};
pub use import::import;
pub(crate) use open::{Opened, open};
pub use position::Changes;
pub(crate) use position::{Position, Start};

/// Name of the moving averages of parameters, beside the names of the optimizer's state.
pub(crate) const AVERAGE: &str = "moving_average";

/// Maximum size of a header in bytes, with room for names far longer than usual.
#[cfg(not(target_arch = "wasm32"))]
const HEADER_ROOM: u64 = 16 << 20;

/// The optimizer's state under each name: for every parameter, in network order, its values, row-major.
pub(crate) type State = Vec<(&'static str, Vec<Vec<f32>>)>;

/// The contents of a file.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) parameters: Parameters,
    pub(crate) state_of_layers: Parameters,
    /// State of every parameter, as in [`State`], under the requested names; `None` for state that starts anew.
    pub(crate) state: Vec<Option<Vec<Vec<f32>>>>,
    pub(crate) start: Start,
}

fn state_name(role: &str, parameter: &str) -> String {
    format!("{OPTIMIZER}{role}.{parameter}")
}

fn shape_in_file(parameter: &ParameterSpec) -> Vec<usize> {
    let extents = parameter.shape.extents().iter().copied();
    match parameter.layout {
        Layout::AsIs => extents.collect(),
        Layout::Transposed => extents.rev().collect(),
    }
}

/// A text from a file, made fit for a message: it may be long or contain line breaks.
fn shown(text: &str) -> String {
    const MOST: usize = 200;
    let mut shown = String::new();
    for c in text.chars().take(MOST) {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
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

/// Maximum size in bytes of a checkpoint of this network: parameters, optimizer state, the state of its layers, and a
/// header. Some of the values may be `f64`.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn largest(graph: &Graph) -> u64 {
    let values = graph.parameter_count().saturating_add(state_count(graph));
    bytes_of::<f32>(values)
        .saturating_mul(8)
        .saturating_add(HEADER_ROOM)
}

/// Number of values in the state of the network's layers.
fn state_count(graph: &Graph) -> u64 {
    let sizes = graph
        .state
        .iter()
        .map(|state| state.spec.shape.len() as u64);
    total(sizes)
}

/// Checks that the host has room for a checkpoint with `values` values per parameter, `copied` of which are copied
/// first. The checkpoint exists twice as bytes: by tensor, and as the file.
pub(crate) fn check_saving(graph: &Graph, values: usize, copied: usize) -> Result<(), Error> {
    let count = graph.parameter_count();
    let of_parameters = count.saturating_mul((copied + 2 * values) as u64);
    let all = of_parameters.saturating_add(state_count(graph).saturating_mul(3));
    let what = || format!("a checkpoint of {count} parameters");
    memory::check(what, bytes_of::<f32>(all))
}

/// Encodes the whole file. `parameters` and `state_of_layers` must be complete and in network order.
pub(crate) fn encode(
    graph: &Graph,
    parameters: &Parameters,
    state_of_layers: &Parameters,
    training: Option<(&State, &Position)>,
) -> Result<Vec<u8>, Error> {
    let mut tensors = header::Tensors::new();
    let mut add = |name: String, parameter: &ParameterSpec, value: ArrayViewD<'_, f32>| {
        if let Some(&found) = value.iter().find(|value| !value.is_finite()) {
            return Err(CheckpointError::Failed { name, found });
        }
        tensors.insert(
            name,
            (shape_in_file(parameter), bytes_in_file(parameter, value)),
        );
        Ok(())
    };
    for (all, values) in [
        (&graph.parameters, parameters),
        (&graph.state, state_of_layers),
    ] {
        assert_eq!(all.len(), values.len(), "checkpoint::encode");
        for (Parameter { name, spec }, (named, value)) in all.iter().zip(values.iter()) {
            assert_eq!(name, named, "checkpoint::encode");
            add(name.clone(), spec, value.view())?;
        }
    }
    let mut metadata = Texts::new();
    metadata.insert(header::FORMAT_KEY.to_owned(), FORMAT.to_owned());
    metadata.insert("network".to_owned(), graph.line());
    metadata.insert(open::STRUCTURE_KEY.to_owned(), graph.structure());
    if let Some(columns) = &graph.columns {
        metadata.insert(open::COLUMNS_KEY.to_owned(), columns.text.clone());
    }
    if let Some((state, position)) = training {
        for (role, values) in state {
            for (Parameter { name, spec }, value) in graph.parameters.iter().zip(values) {
                add(state_name(role, name), spec, view(spec, value))?;
            }
        }
        metadata.extend(position.metadata(graph));
    }
    Ok(header::write(&tensors, metadata)?)
}

/// A training that goes on from a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resumed<'a> {
    /// Names of the state that is kept of every parameter.
    pub(crate) roles: &'a [&'static str],
    pub(crate) position: &'a Position,
    pub(crate) changes: Changes,
}

/// Reads a file's contents, if all of it belongs to this network and, if one is given, to this training.
pub(crate) fn decode(
    graph: &Graph,
    training: Option<Resumed<'_>>,
    bytes: &[u8],
) -> Result<Contents, Error> {
    decode_file(graph, training, &File::parse(bytes)?)
}

fn decode_file(
    graph: &Graph,
    training: Option<Resumed<'_>>,
    file: &File<'_>,
) -> Result<Contents, Error> {
    check_origin(graph, training.is_some(), file)?;
    let (roles, start, begins_anew) = match training {
        None => (&[][..], Start::default(), true),
        Some(Resumed {
            roles,
            position,
            changes,
        }) => {
            let start = position.start_in(graph, file, changes)?;
            (roles, start, changes.has_optimizer())
        }
    };
    let taken = Taken::new(graph, file, roles);
    let parameters = taken.named(&graph.parameters)?;
    let state_of_layers = taken.named(&graph.state)?;
    let state = roles.iter().map(|role| taken.kept(role, begins_anew));
    let state = state.collect::<Result<Vec<_>, _>>()?;
    for (name, view) in &file.tensors {
        // The weights alone may be taken from a file that also has the state of a training.
        let is_left_out = begins_anew && name.starts_with(OPTIMIZER);
        if !taken.known.contains(name) && !is_left_out {
            let name = shown(name);
            let found = view.shape.clone();
            return Err(CheckpointError::Unknown { name, found }.into());
        }
    }
    let mut kept = roles.iter().zip(&state);
    let lacks_some = kept.any(|(role, kept)| *role != AVERAGE && kept.is_none());
    Ok(Contents {
        parameters,
        state_of_layers,
        state,
        start: Start {
            // If the file lacks some of the state, all of it counts as new.
            began: if lacks_some { start.step } else { start.began },
            ..start
        },
    })
}

/// Checks that the file says that it belongs to this network and, for a training that goes on, has the state of a
/// training. A file of another program says neither.
fn check_origin(graph: &Graph, is_resumed: bool, file: &File<'_>) -> Result<(), CheckpointError> {
    if !file.is_ours() {
        return if is_resumed {
            Err(CheckpointError::NoTraining { is_ours: false })
        } else {
            Ok(())
        };
    }
    let format = file.text(header::FORMAT_KEY);
    if is_resumed && format == header::OLDER_FORMAT {
        return Err(CheckpointError::Version {
            found: format.to_owned(),
            is_older: true,
        });
    }
    let expected = graph.line();
    let found = file.text("network");
    if expected != found {
        let [expected, found] = names::difference(&expected, found);
        return Err(CheckpointError::Network { expected, found });
    }
    Ok(())
}

/// The tensors to take from a file.
struct Taken<'a> {
    graph: &'a Graph,
    file: &'a File<'a>,
    /// All names, including those of the optimizer's state.
    known: BTreeSet<String>,
}

impl<'a> Taken<'a> {
    fn new(graph: &'a Graph, file: &'a File<'a>, roles: &[&str]) -> Self {
        let parameters = graph.parameters.iter();
        let kept = roles.iter().flat_map(|role| {
            let parameters = parameters.clone();
            parameters.map(move |parameter| state_name(role, &parameter.name))
        });
        let names = parameters.clone().chain(&graph.state);
        let names = names.map(|parameter| parameter.name.clone());
        Self {
            graph,
            file,
            known: kept.chain(names).collect(),
        }
    }

    /// Takes parameters, or the state of layers.
    fn named(&self, all: &[Parameter]) -> Result<Parameters, CheckpointError> {
        let values = all.iter().map(|Parameter { name, spec }| {
            let values = self.values(name.clone(), spec)?;
            Ok((name.clone(), array(&spec.shape, values)))
        });
        values.collect()
    }

    /// Takes the state of all parameters under one name. `None` if it may start anew and the file has none of it.
    fn kept(
        &self,
        role: &str,
        begins_anew: bool,
    ) -> Result<Option<Vec<Vec<f32>>>, CheckpointError> {
        let parameters = self.graph.parameters.iter();
        let is_in_file = |Parameter { name, .. }: &Parameter| {
            let name = state_name(role, name);
            self.file.tensors.contains_key(&name)
        };
        if begins_anew && !parameters.clone().any(is_in_file) {
            return Ok(None);
        }
        let values: Result<_, _> = parameters
            .map(|Parameter { name, spec }| self.values(state_name(role, name), spec))
            .collect();
        values.map(Some)
    }

    /// Takes a tensor's values, row-major in the parameter's own shape.
    fn values(&self, name: String, parameter: &ParameterSpec) -> Result<Vec<f32>, CheckpointError> {
        let expected = shape_in_file(parameter);
        let tensors = &self.file.tensors;
        let Some(view) = tensors.get(&name) else {
            let all = self.graph.parameters.iter().chain(&self.graph.state);
            let network: Vec<&str> = all.map(|parameter| &*parameter.name).collect();
            return Err(CheckpointError::Missing {
                name,
                expected,
                present: names::listed(tensors, |name| self.known.contains(name)),
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
        Ok(match (parameter.layout, parameter.shape.extents()) {
            (Layout::Transposed, &[rows, columns]) => {
                let places =
                    (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
                places
                    .map(|(row, column)| values[column * rows + row])
                    .collect()
            }
            _ => values,
        })
    }
}

#[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
fn bytes_in_file(parameter: &ParameterSpec, value: ArrayViewD<'_, f32>) -> Vec<u8> {
    match parameter.layout {
        Layout::AsIs => value.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Layout::Transposed => {
            // ndarray reads an array of known rank several times as fast in another order than its own.
            let matrix = value.into_dimensionality::<Ix2>().expect("two extents");
            let values = matrix.t();
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        }
    }
}

/// A view of row-major values in the parameter's own shape.
#[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
fn view<'a>(parameter: &ParameterSpec, values: &'a [f32]) -> ArrayViewD<'a, f32> {
    let view = ArrayViewD::from_shape(parameter.shape.extents(), values);
    view.expect("as many values as the parameter has")
}
