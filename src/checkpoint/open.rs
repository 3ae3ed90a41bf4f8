//! A network that a file describes, with what it has of it.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::sync::Arc;

use super::header::File;
use super::{CheckpointError, Contents, decode_file, shown};
use crate::data::FittedColumns;
use crate::error::Error;
use crate::network::{Graph, Sequential, StructureFault};
use crate::ops::Layer;

/// Key of the structure among the metadata.
pub(super) const STRUCTURE_KEY: &str = "structure";

/// Key of what a row of features is made of.
pub(super) const COLUMNS_KEY: &str = "columns";

/// What gives layers from outside of this crate, by their names.
type Find<'a> = &'a mut dyn FnMut(&str) -> Option<Arc<dyn Layer>>;

/// A network, and what a file has of it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) spec: Sequential,
    pub(crate) graph: Graph,
    pub(crate) contents: Contents,
}

/// The network that a file describes, whose layers are all of this crate.
pub(crate) fn open(bytes: &[u8]) -> Result<Opened, Error> {
    let file = File::parse(bytes)?;
    let spec = structure(&file, &mut |_| None)?;
    let graph = graph(&spec)?;
    // Only what is in the file is taken, and all that the network has is there: it has no more than the file.
    let contents = decode_file(&graph, None, &file)?;
    Ok(Opened {
        spec,
        graph,
        contents,
    })
}

fn structure(file: &File<'_>, find: Find<'_>) -> Result<Sequential, CheckpointError> {
    let Some(text) = file.metadata.get(STRUCTURE_KEY).filter(|_| file.is_ours()) else {
        let is_ours = file.is_ours();
        return Err(CheckpointError::NoStructure { is_ours });
    };
    let network = Sequential::of_structure(text, find).map_err(|fault| match fault {
        StructureFault::Layer(name) => CheckpointError::Layer { name: shown(&name) },
        StructureFault::Damaged(reason) => makes_no_sense(&reason),
    })?;
    let Some(columns) = file.metadata.get(COLUMNS_KEY) else {
        return Ok(network);
    };
    let columns =
        FittedColumns::from_json(columns).map_err(|error| makes_no_sense(&error.to_string()))?;
    // What does not fit is told when the network's shapes are.
    Ok(network.with_columns(&columns))
}

fn makes_no_sense(reason: &str) -> CheckpointError {
    let reason = shown(reason);
    CheckpointError::Structure { reason }
}

/// A network that cannot be is the file's mistake.
fn graph(spec: &Sequential) -> Result<Graph, CheckpointError> {
    spec.graph()
        .map_err(|error| makes_no_sense(&error.to_string()))
}

impl Sequential {
    /// The network that a file describes, without its parameters: what [`cpu::Network::save`](crate::cpu::Network::save),
    /// [`Model::save`](crate::Model::save) or [`Trainer::save`](crate::Trainer::save) has written.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the file cannot be read, is damaged, describes no network, or one with a layer from
    /// outside of this crate: [`load_with`](Self::load_with) takes those.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load_with(path, |_| None)
    }

    /// [`load`](Self::load) where layers are from outside of this crate: `find` is given what each returns as its
    /// [`name`](Layer::name), and returns that layer.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use wgrad::ops::{Layer, Linear};
    /// use wgrad::{Sequential, cpu};
    /// # use wgrad::ops::Tanh as Softplus;
    ///
    /// let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("network.safetensors");
    /// Sequential::input(4).layer(Linear::new(8)).layer(Softplus).layer(Linear::new(2)).on_cpu()?.save(&path)?;
    ///
    /// let network = Sequential::load_with(&path, |name| match name {
    ///     "Softplus" => Some(Arc::new(Softplus) as Arc<dyn Layer>),
    ///     _ => None,
    /// })?;
    /// let mut network = network.on_cpu()?;
    /// network.load_weights(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`load`](Self::load), for a layer that `find` does not return.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load_with(
        path: impl AsRef<Path>,
        mut find: impl FnMut(&str) -> Option<Arc<dyn Layer>>,
    ) -> Result<Self, Error> {
        super::read_whole(path.as_ref(), |bytes| {
            let network = structure(&File::parse(bytes)?, &mut find)?;
            graph(&network)?;
            Ok(network)
        })
    }
}
