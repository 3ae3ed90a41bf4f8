//! Weights, and the state of a training, as a safetensors file.
//!
//! Tensors are named as the network names them: `layers.0.weight`, `layers.0.bias`; the state of a layer, such as
//! `layers.1.running_mean`, is saved and loaded with the weights. They lie as PyTorch has them, so that
//! `torch.nn.Linear` takes them as they are: its weight is (outputs, inputs), the transpose of what the kernels use
//! ([`Layout`]). What an optimizer keeps is named `optimizer.<what>.layers.0.weight` and so on.
//! Everything is written as `f32`; weights of other programs may be `f16` or `bf16`, too, and `f64` where an `f32`
//! has the same values.
//!
//! The metadata holds `format` (`wgrad 2`), `network` in a line, `structure`, and `sha256` of all the rest of the file.
//! `structure` is the network as JSON, from which [`cpu::Network::load`](crate::cpu::Network::load),
//! [`Model::load`](crate::Model::load) and [`Sequential::load`](crate::Sequential::load) make it:
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
//! `inputs` are shapes of an example. `values` stand behind them, each made of values before it, by their index: what a
//! `layer` gives `of` one, an `again` of an earlier layer (by its index among the layers), an `other` layer from outside of
//! this crate (by its name), a `sum` of two, or a `concat` of several. `names` are those that values were given. `columns` is
//! there where the network is of the columns of a table ([`Sequential::of`](crate::Sequential::of)): what
//! [`FittedColumns::to_json`](crate::data::FittedColumns::to_json) writes.
//!
//! Layers are `Linear` {`outputs`, `bias`}, `Conv2d` {`outputs`, `window`, `dilation`, `bias`}, `MaxPool2d` and `AvgPool2d`
//! (windows), `GlobalAvgPool2d`, `BatchNorm` {`eps`, `momentum`}, `LayerNorm` {`eps`}, `Embedding` {`count`, `width`},
//! `Frequency` {`octaves`}, `OneBlob` {`bins`}, `SphericalHarmonics` {`degrees`},
//! `HashGrid` {`levels`, `features_per_level`, `table_size`, `base_resolution`, `growth`},
//! `Dropout` {`p`}, `LeakyRelu` {`negative_slope`}, and by their names alone `Relu`, `Gelu`, `Sigmoid`, `Tanh`, `Flatten`. A
//! window is {`kernel`, `stride`, `padding`}, and each of these and `dilation` is a pair of height and width.
//!
//! A training's metadata also hold `seed` (of the network), `step`, `batch`, `examples_sha256`, `sampling`, `optimizer` and
//! `loss` (as [`Optimizer::describe`](crate::ops::Optimizer::describe) and [`Loss::describe`](crate::ops::Loss::describe) say:
//! name, settings, schedule), `groups` and `moving_average` where there are any, `decay`
//! (which parameters decay by default) where the optimizer decays, `optimizer_began` (the step at which what it keeps
//! began with zeros) where that is not 0, by which its steps go on where they
//! stopped, and `examples` (how many there are) for whoever reads it. On a stream there are `window` (number of the one
//! that the next minibatch is of) and, where that is not 0, `rows_of_window` (how many of it were trained on). Where rows
//! are given or in tensors of a program, `batch` and `sampling` are `none`. A training that differs in one of these does
//! not take it, but for the [`Changes`] that are chosen; [`Model::load_weights`](crate::Model::load_weights) takes the weights. So groups,
//! frozen parameters, minibatches of a step and a moving average are set before a training goes on from a file. The same
//! training gives the same bytes.
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

/// Name of the moving averages of parameters, beside those of what an optimizer keeps.
pub(crate) const AVERAGE: &str = "moving_average";

/// Bytes of a header at the most, with room for names far longer than usual.
#[cfg(not(target_arch = "wasm32"))]
const HEADER_ROOM: u64 = 16 << 20;

/// What an optimizer keeps under each name: of every parameter in the order of the network its values, row-major.
pub(crate) type State = Vec<(&'static str, Vec<Vec<f32>>)>;

/// What was read from a file.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) parameters: Parameters,
    pub(crate) state_of_layers: Parameters,
    /// What is kept of every parameter, as [`State`], under the names that were asked for; what begins anew is absent.
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

/// A text of a file, which may be long or have line breaks, as it can stand in a message.
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

/// Bytes that a checkpoint of this network may have at the most: parameters, what an optimizer keeps of them, the
/// state of its layers, and a header. Some of it may be `f64`.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn largest(graph: &Graph) -> u64 {
    let values = graph.parameter_count().saturating_add(state_count(graph));
    bytes_of::<f32>(values)
        .saturating_mul(8)
        .saturating_add(HEADER_ROOM)
}

/// Number of values in the state of a network's layers.
fn state_count(graph: &Graph) -> u64 {
    let sizes = graph
        .state
        .iter()
        .map(|state| state.spec.shape.len() as u64);
    total(sizes)
}

/// Whether the host has room for a checkpoint with so many values of each parameter, `copied` of which are copied first:
/// all of them are there as bytes twice, by tensor and in the file.
pub(crate) fn check_saving(graph: &Graph, values: usize, copied: usize) -> Result<(), Error> {
    let count = graph.parameter_count();
    let of_parameters = count.saturating_mul((copied + 2 * values) as u64);
    let all = of_parameters.saturating_add(state_count(graph).saturating_mul(3));
    let what = || format!("a checkpoint of {count} parameters");
    memory::check(what, bytes_of::<f32>(all))
}

/// The whole file. Parameters and state are all those of the network, in its order.
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
    /// Names of what is kept of every parameter.
    pub(crate) roles: &'a [&'static str],
    pub(crate) position: &'a Position,
    pub(crate) changes: Changes,
}

/// A file's contents, if all of it is of this network and, where one is given, this training.
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
        // Weights alone may be taken from a file with the state of a training.
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
            // Where something of it is not in the file all of it counts as new.
            began: if lacks_some { start.step } else { start.began },
            ..start
        },
    })
}

/// Whether the file says that it is of this network, and of a training that goes on; one of another program
/// says nothing of that.
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

/// The tensors that are taken out of a file.
struct Taken<'a> {
    graph: &'a Graph,
    file: &'a File<'a>,
    /// All names, those of what the optimizer keeps, too.
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

    /// Parameters, or the state of layers.
    fn named(&self, all: &[Parameter]) -> Result<Parameters, CheckpointError> {
        let values = all.iter().map(|Parameter { name, spec }| {
            let values = self.values(name.clone(), spec)?;
            Ok((name.clone(), array(&spec.shape, values)))
        });
        values.collect()
    }

    /// What is kept of all parameters under one name. Where it may begin anew and the file has none of it, nothing.
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

    /// Row-major values in the parameter's own shape.
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
            // An array of a rank that is known is read several times as fast in another order than its own.
            let matrix = value.into_dimensionality::<Ix2>().expect("two extents");
            let values = matrix.t();
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        }
    }
}

/// Row-major values in the parameter's own shape.
#[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
fn view<'a>(parameter: &ParameterSpec, values: &'a [f32]) -> ArrayViewD<'a, f32> {
    let view = ArrayViewD::from_shape(parameter.shape.extents(), values);
    view.expect("as many values as the parameter has")
}
