//! Files with the weights of a network and, optionally, the state of a training, in the safetensors format.
//!
//! # Tensors
//! Tensors have the same names as in the network, such as `layers.0.weight` and `layers.0.bias`. The state of a layer,
//! such as `layers.1.running_mean`, is saved and loaded with the weights. The optimizer's state is named
//! `optimizer.<name of the state>.layers.0.weight` and so on.
//!
//! Tensors have PyTorch's layout, so `torch.nn.Linear` can load them unchanged. Its weight has the shape (outputs,
//! inputs), which is the transpose of the weight in this crate's kernels ([`Layout`]).
//!
//! This crate writes all tensors as `f32`. From files of other programs, it also reads weights in `f16` and `bf16`, and
//! in `f64` if an `f32` represents each value exactly.
//!
//! # Metadata of a network
//! The metadata contain `format` (`wgrad 2`), `network` (a description in one line), `structure`, and `sha256`, a
//! digest of everything else in the file. `structure` is the network as JSON.
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
//! `inputs` has the shape of each input, for one example. `values` has all other values, in order of computation.
//! Inputs and values are numbered together, from 0, in this order. Each value is computed from earlier ones, which are
//! given by their numbers:
//!
//! - `layer`: a layer of this crate, applied to the value `of`;
//! - `other`: a layer from outside this crate, which is given by its name;
//! - `again`: another use of an earlier layer, which is given by its index among the layers;
//! - `sum`: the sum of two values;
//! - `concat`: the concatenation of several values.
//!
//! For each name that was given to a value, `names` has the number of the value.
//!
//! The metadata also contain `columns` if the network was made for the columns of a table
//! ([`Sequential::of`](crate::Sequential::of)): the output of
//! [`FittedColumns::to_json`](crate::data::FittedColumns::to_json).
//!
//! The layers are `Linear` {`outputs`, `bias`}, `Conv2d` {`outputs`, `window`, `dilation`, `bias`}, `MaxPool2d` and
//! `AvgPool2d` (windows), `GlobalAvgPool2d`, `BatchNorm` {`eps`, `momentum`}, `LayerNorm` {`eps`}, `Embedding`
//! {`count`, `width`}, `Frequency` {`octaves`}, `OneBlob` {`bins`}, `SphericalHarmonics` {`degrees`}, `HashGrid`
//! {`levels`, `features_per_level`, `table_size`, `base_resolution`, `growth`}, `Dropout` {`p`}, `LeakyRelu`
//! {`negative_slope`}, and, without settings, `Relu`, `Gelu`, `Sigmoid`, `Tanh`, `Flatten`. A window is {`kernel`,
//! `stride`, `padding`}; each of these, and `dilation`, is a pair of height and width.
//!
//! # Metadata of a training
//! The metadata of a training also contain the settings that determine its next steps:
//!
//! - `seed` (of the network), `step` (the number of steps taken), `batch`, `examples_sha256`, `sampling`;
//! - `optimizer` and `loss`, as [`Optimizer::describe`](crate::ops::Optimizer::describe) and
//!   [`Loss::describe`](crate::ops::Loss::describe) write them: name, settings, schedule;
//! - `groups` and `moving_average`, if they are used;
//! - `decay`, if the optimizer has weight decay: the parameters to which it applies by default;
//! - `optimizer_began`, if it is not 0: the step at which the optimizer's state started from zero;
//! - `examples`: the number of examples, which is not compared;
//! - for a training on a stream, `window`: the number of the window that contains the next minibatch;
//! - for a training on a stream, `rows_of_window`, if it is not 0: the number of rows of this window that were already
//!   used.
//!
//! If the program passes the rows of each step, or stores them in its own tensors, `batch` and `sampling` are `none`.
//!
//! A training resumes from a file only if the training and the file have the same settings, except for the [`Changes`]
//! that the program allows. So set groups, frozen parameters, minibatches per step and a moving average before you
//! resume. `step`, `optimizer_began` and `rows_of_window` are not compared but loaded.
//! [`Model::load_weights`](crate::Model::load_weights) loads only the weights. The same training always writes the same
//! bytes.
//!
//! # Files of other programs
//! If the `format` of a file does not begin with `wgrad`, another program has written it. Then only the tensors are
//! read, because another program may use the same metadata keys for other purposes. [`import()`] renames the tensors.
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

/// Name of the moving averages of parameters. They are stored like another state of the optimizer.
pub(crate) const AVERAGE: &str = "moving_average";

/// Bytes for the header in the size limit of a checkpoint. They allow names that are much longer than usual.
#[cfg(not(target_arch = "wasm32"))]
const HEADER_ROOM: u64 = 16 << 20;

/// The optimizer's state: each item has the name of a state and, for every parameter in network order, the state's
/// values in row-major order.
pub(crate) type State = Vec<(&'static str, Vec<Vec<f32>>)>;

/// The contents of a file.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) parameters: Parameters,
    pub(crate) state_of_layers: Parameters,
    /// For each requested name, the state of every parameter, as in [`State`]; `None` for state that starts from zero.
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

/// Prepares a text from a file for a message: shortens it, and escapes line breaks and other control characters.
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

/// Maximum size of a checkpoint of this network, in bytes: parameters, optimizer state, the layers' state and a header.
/// Other programs may have written the values as `f64`.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn largest(graph: &Graph) -> u64 {
    let values = graph.parameter_count().saturating_add(state_count(graph));
    bytes_of::<f32>(values)
        .saturating_mul(8)
        .saturating_add(HEADER_ROOM)
}

/// Number of elements in the state of all layers.
fn state_count(graph: &Graph) -> u64 {
    let sizes = graph
        .state
        .iter()
        .map(|state| state.spec.shape.len() as u64);
    total(sizes)
}

/// Checks that the host has enough memory to encode a checkpoint that stores `values` values per parameter element. The
/// caller first copies `copied` of these values. All bytes of the checkpoint exist twice at a time: tensor by tensor,
/// and as the whole file.
pub(crate) fn check_saving(graph: &Graph, values: usize, copied: usize) -> Result<(), Error> {
    let count = graph.parameter_count();
    let of_parameters = count.saturating_mul((copied + 2 * values) as u64);
    let all = of_parameters.saturating_add(state_count(graph).saturating_mul(3));
    let what = || format!("a checkpoint of {count} parameters");
    memory::check(what, bytes_of::<f32>(all))
}

/// Encodes a checkpoint file. `parameters` and `state_of_layers` must be complete and in network order.
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

/// A training that resumes from a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resumed<'a> {
    /// Names of the optimizer's states. For each name, every parameter has one tensor.
    pub(crate) roles: &'a [&'static str],
    pub(crate) position: &'a Position,
    pub(crate) changes: Changes,
}

/// Decodes a checkpoint file. Fails if something in it does not belong to this network or, if `training` is given, to
/// this training.
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
        // If only weights are loaded, or the optimizer may change, ignore other optimizer state in the file.
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
            // If the file lacks some of the optimizer's state, the whole state counts as started at this step.
            began: if lacks_some { start.step } else { start.began },
            ..start
        },
    })
}

/// Checks that a file of this crate belongs to this network. If a training resumes, also checks that the file does not
/// have the older format. A file of another program is accepted, except for resuming.
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

/// The tensors of a file that are loaded into a network.
struct Taken<'a> {
    graph: &'a Graph,
    file: &'a File<'a>,
    /// The names of all tensors that may be loaded, including those of the optimizer's state.
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

    /// Loads the values of `all`: all parameters of the network, or the state of all layers.
    fn named(&self, all: &[Parameter]) -> Result<Parameters, CheckpointError> {
        let values = all.iter().map(|Parameter { name, spec }| {
            let values = self.values(name.clone(), spec)?;
            Ok((name.clone(), array(&spec.shape, values)))
        });
        values.collect()
    }

    /// Loads the optimizer state named `role` of all parameters. `None` if the file does not have it and `begins_anew`
    /// allows this.
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

    /// Loads the values of a tensor, in row-major order of the parameter's shape in this crate.
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
            // ndarray iterates over a transposed array several times as fast if its rank is known at compile time.
            let matrix = value.into_dimensionality::<Ix2>().expect("two extents");
            let values = matrix.t();
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        }
    }
}

/// A view of row-major values in the shape of the parameter.
#[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
fn view<'a>(parameter: &ParameterSpec, values: &'a [f32]) -> ArrayViewD<'a, f32> {
    let view = ArrayViewD::from_shape(parameter.shape.extents(), values);
    view.expect("as many values as the parameter has")
}
