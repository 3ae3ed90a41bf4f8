//! Weights, and the state of a training, as a safetensors file.
//!
//! Tensors are named as the network names them: `layers.0.weight`, `layers.0.bias`. They lie as
//! PyTorch has them, so that `torch.nn.Linear` takes them as they are: a weight of a layer is
//! (outputs, inputs), the transpose of what its kernels use, and a bias is a vector. What an optimizer
//! keeps is named `optimizer.<what>.layers.0.weight` and so on. Everything is `f32`.
//!
//! The metadata holds `format` (`wgrad 1`), `network`, and `sha256` of all the rest of the file; of a
//! training also `seed` (of the network), `step`, `batch`, `examples`, `sampling`, `optimizer` (with its
//! settings and schedule) and `loss`, by which its steps go on where they stopped. A training that
//! differs in one of these does not take it; [`Model::load`](crate::Model::load) takes the weights.
//!
//! ```python
//! from safetensors.torch import load_file
//! net = torch.nn.Module()
//! net.layers = torch.nn.Sequential(torch.nn.Linear(784, 50), torch.nn.ReLU(), torch.nn.Linear(50, 10))
//! weights = load_file("model.safetensors")
//! net.load_state_dict({k: v for k, v in weights.items() if not k.startswith("optimizer.")})
//! ```

#[cfg(not(target_arch = "wasm32"))]
mod file;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use ndarray::Array2;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use crate::data::{Examples, Sampling};
use crate::error::Error;
#[cfg(not(target_arch = "wasm32"))]
use crate::files::FileError;
use crate::ops::{Loss, Optimizer, ParameterSpec};
use crate::sequential::Sequential;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use file::{read, write};

/// Why a checkpoint could not be written or taken. Nothing is changed by one that was not taken.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file could not be written.
    #[cfg(not(target_arch = "wasm32"))]
    #[error(transparent)]
    Write(FileError),
    /// The file could not be read.
    #[error("cannot read {}: {reason}. Name a file that was saved from this network", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// It is no safetensors file, or a damaged one.
    #[error("this is no whole safetensors file: {reason}. Take another copy of it")]
    Format {
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor is missing.
    #[error(
        "tensor {name}, of shape {expected:?}, is missing: the file is of another network or optimizer"
    )]
    Missing {
        /// Its name.
        name: String,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A tensor is there that this network has no use for.
    #[error("tensor {name}, of shape {found:?}, is not of this network or optimizer")]
    Unknown {
        /// Its name.
        name: String,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// A tensor has another shape or element type.
    #[error(
        "tensor {name}: expected {expected}, found {found}. Build the network that the file was saved from, or save it as float32"
    )]
    Tensor {
        /// Its name.
        name: String,
        /// Expected element type and shape.
        expected: String,
        /// Those it has.
        found: String,
    },
    /// It is of another network or training.
    #[error(
        "the checkpoint's {what}: expected {expected}, found {found}. Set up the same as when it was saved, or take its weights alone with Model::load"
    )]
    Mismatch {
        /// What differs, for example `batch`.
        what: &'static str,
        /// Of the network or training that takes it.
        expected: String,
        /// In the file.
        found: String,
    },
}

/// The message, which says what to do: a `main` that returns an error prints this.
impl fmt::Debug for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What says which steps come next.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    pub(crate) step: u64,
    pub(crate) batch: usize,
    /// Name and number of the examples.
    pub(crate) data: String,
    pub(crate) sampling: Sampling,
    /// With its settings.
    pub(crate) optimizer: String,
    pub(crate) loss: String,
}

impl Position {
    pub(crate) fn new(
        step: u64,
        batch: usize,
        examples: &Examples,
        sampling: &Sampling,
        (loss, optimizer): (&dyn Loss, &dyn Optimizer),
    ) -> Self {
        Self {
            step,
            batch,
            data: format!("{} of {}", examples.len(), examples.name()),
            sampling: sampling.clone(),
            optimizer: format!("{optimizer:?}"),
            loss: format!("{loss:?}"),
        }
    }

    fn metadata(&self) -> [(&'static str, String); 5] {
        let sampling = match &self.sampling {
            Sampling::WithReplacement { seed } => format!("with replacement, seed {seed}"),
            Sampling::Shuffled { seed } => format!("shuffled, seed {seed}"),
            Sampling::Listed(list) => {
                let digest = Sha256::digest(bytemuck::cast_slice::<u32, u8>(list));
                let digest = hex(&digest);
                format!("listed, {} indices, SHA-256 {digest}", list.len())
            }
        };
        [
            ("batch", self.batch.to_string()),
            ("examples", self.data.clone()),
            ("sampling", sampling),
            ("optimizer", self.optimizer.clone()),
            ("loss", self.loss.clone()),
        ]
    }
}

/// What an optimizer keeps under one name, of every parameter in order.
pub(crate) type State = Vec<(&'static str, Vec<Array2<f32>>)>;

/// What was read from a file.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) parameters: Vec<Vec<Array2<f32>>>,
    pub(crate) state: Vec<Vec<Array2<f32>>>,
    pub(crate) step: u64,
}

const FORMAT: &str = "wgrad 1";
/// Key of the digest among the metadata.
const DIGEST: &str = "sha256";
/// No training takes so many steps, and to count on from there is safe.
const MOST_STEPS: u64 = 1 << 53;

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
    format!("optimizer.{role}.{parameter}")
}

/// As PyTorch has it.
fn shape_in_file(parameter: &ParameterSpec) -> Vec<usize> {
    let [rows, columns] = parameter.shape;
    match parameter.is_vector {
        true => vec![columns],
        false => vec![columns, rows],
    }
}

/// The whole file.
pub(crate) fn encode(
    spec: &Sequential,
    parameters: &[Vec<Array2<f32>>],
    training: Option<(&State, &Position)>,
) -> Result<Vec<u8>, Error> {
    let named = parameters_of(spec);
    let mut tensors = Vec::new();
    let mut add = |name: String, parameter: &ParameterSpec, value: &Array2<f32>| {
        let bytes: Vec<u8> = value
            .t()
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        tensors.push((name, shape_in_file(parameter), bytes));
    };
    for ((name, parameter), value) in named.iter().zip(parameters.iter().flatten()) {
        add(name.clone(), parameter, value);
    }
    let mut metadata = HashMap::new();
    metadata.insert("format".to_owned(), FORMAT.to_owned());
    metadata.insert("network".to_owned(), network(spec));
    if let Some((state, position)) = training {
        for (role, values) in state {
            for ((name, parameter), value) in named.iter().zip(values) {
                add(state_name(role, name), parameter, value);
            }
        }
        metadata.insert("seed".to_owned(), spec.seed_of_network().to_string());
        metadata.insert("step".to_owned(), position.step.to_string());
        metadata.extend(
            position
                .metadata()
                .map(|(key, value)| (key.to_owned(), value)),
        );
    }
    let named_bytes = tensors
        .iter()
        .map(|(name, _, bytes)| (name.as_str(), &bytes[..]));
    let digest = digest_of(&metadata, named_bytes.collect());
    metadata.insert(DIGEST.to_owned(), digest);
    let views = tensors.iter().map(|(name, shape, bytes)| {
        Ok((
            name,
            TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(malformed)?,
        ))
    });
    let views = views.collect::<Result<Vec<_>, CheckpointError>>()?;
    Ok(safetensors::serialize(views, Some(metadata)).map_err(malformed)?)
}

fn malformed(error: SafeTensorError) -> CheckpointError {
    CheckpointError::Format {
        reason: error.to_string(),
    }
}

/// Of the metadata, but for the digest itself, and of all tensors, in the order of their names: a
/// safetensors file has no checksum of its own.
fn digest_of(metadata: &HashMap<String, String>, mut tensors: Vec<(&str, &[u8])>) -> String {
    let said = metadata.iter().filter(|(key, _)| *key != DIGEST);
    let mut said: Vec<(&str, &[u8])> = said
        .map(|(key, value)| (key.as_str(), value.as_bytes()))
        .collect();
    said.sort_unstable();
    tensors.sort_unstable();
    let mut hash = Sha256::new();
    for (name, bytes) in said.into_iter().chain(tensors) {
        // With their lengths, so that nothing can pass from one to the next.
        for part in [name.as_bytes(), bytes] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file's contents, if all of it is of this network and, where one is given, this training.
pub(crate) fn decode(
    spec: &Sequential,
    training: Option<(&[&str], &Position)>,
    bytes: &[u8],
) -> Result<Contents, Error> {
    let file = File::parse(bytes)?;
    // Weights made elsewhere have no metadata of ours.
    let is_ours = |key: &&str| file.metadata.contains_key(*key);
    if ["format", "network", DIGEST].iter().any(is_ours) {
        let all = file.tensors.iter().map(|(name, view)| (name, view.data()));
        let digest = digest_of(&file.metadata, all.collect());
        if file.metadata.get(DIGEST) != Some(&digest) {
            let reason = "it is not as it was saved: its SHA-256 differs".to_owned();
            return Err(CheckpointError::Format { reason }.into());
        }
    }
    if let Some(found) = file.metadata.get("network") {
        must_be("network", network(spec), found)?;
    }
    let (roles, step) = match training {
        None => (&[][..], 0),
        Some((roles, position)) => {
            let seed = spec.seed_of_network().to_string();
            (roles, file.step(&seed, position)?)
        }
    };
    let named = parameters_of(spec);
    let all = |role: Option<&str>| {
        let tensors = named.iter().map(|(name, parameter)| match role {
            None => file.matrix(name, parameter),
            Some(role) => file.matrix(&state_name(role, name), parameter),
        });
        tensors.collect::<Result<Vec<_>, CheckpointError>>()
    };
    let mut flat = all(None)?.into_iter();
    let state = roles.iter().map(|role| all(Some(role)));
    let state = state.collect::<Result<Vec<_>, _>>()?;
    let is_known = |name: &str| {
        let of_state =
            |parameter: &str| roles.iter().any(|role| state_name(role, parameter) == name);
        let is_of = |(parameter, _): &(String, _)| parameter == name || of_state(parameter);
        // Weights alone may be taken from a file with the state of a training.
        named.iter().any(is_of) || (training.is_none() && name.starts_with("optimizer."))
    };
    for (name, view) in file.tensors.iter() {
        if !is_known(name) {
            let (name, found) = (name.to_owned(), view.shape().to_vec());
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

struct File<'a> {
    tensors: SafeTensors<'a>,
    metadata: HashMap<String, String>,
}

impl<'a> File<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, CheckpointError> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
        Ok(Self {
            tensors: SafeTensors::deserialize(bytes).map_err(malformed)?,
            metadata: header.metadata().clone().unwrap_or_default(),
        })
    }

    fn matrix(
        &self,
        name: &str,
        parameter: &ParameterSpec,
    ) -> Result<Array2<f32>, CheckpointError> {
        let expected = shape_in_file(parameter);
        let Ok(view) = self.tensors.tensor(name) else {
            let name = name.to_owned();
            return Err(CheckpointError::Missing { name, expected });
        };
        if view.dtype() != Dtype::F32 || view.shape() != expected {
            return Err(CheckpointError::Tensor {
                name: name.to_owned(),
                expected: format!("{:?} {expected:?}", Dtype::F32),
                found: format!("{:?} {:?}", view.dtype(), view.shape()),
            });
        }
        let (numbers, _) = view.data().as_chunks();
        let [rows, columns] = parameter.shape;
        let value = |(row, column)| f32::from_le_bytes(numbers[column * rows + row]);
        Ok(Array2::from_shape_fn((rows, columns), value))
    }

    /// Steps taken, if a network of this seed and the minibatches of `position` go on from there.
    fn step(&self, seed: &str, position: &Position) -> Result<u64, CheckpointError> {
        let get = |what: &'static str| self.metadata.get(what).map_or("", String::as_str);
        must_be("format", FORMAT.to_owned(), get("format"))?;
        for (what, expected) in position.metadata() {
            must_be(what, expected, get(what))?;
        }
        must_be("seed", seed.to_owned(), get("seed"))?;
        let step = get("step").parse().ok().filter(|&step| step < MOST_STEPS);
        step.ok_or_else(|| CheckpointError::Mismatch {
            what: "step",
            expected: format!("a whole number below {MOST_STEPS}"),
            found: shown(get("step")),
        })
    }
}

fn must_be(what: &'static str, expected: String, found: &str) -> Result<(), CheckpointError> {
    if expected == found {
        return Ok(());
    }
    Err(CheckpointError::Mismatch {
        what,
        expected,
        found: shown(found),
    })
}

/// What a file says may be missing, or long.
fn shown(found: &str) -> String {
    match found {
        "" => "nothing: the file holds no training".to_owned(),
        _ => found.chars().take(200).collect(),
    }
}
