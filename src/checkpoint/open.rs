//! Creates a network from its description in a file.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::sync::Arc;

use super::header::File;
use super::{CheckpointError, Contents, decode_file, shown};
use crate::data::FittedColumns;
use crate::error::Error;
use crate::network::{Graph, Sequential, StructureFault};
use crate::ops::Layer;

/// Metadata key of the network's structure.
pub(super) const STRUCTURE_KEY: &str = "structure";

/// Metadata key of the table columns from which a row of features is made.
pub(super) const COLUMNS_KEY: &str = "columns";

/// A function that returns the layer from outside this crate that has the given name.
type Find<'a> = &'a mut dyn FnMut(&str) -> Option<Arc<dyn Layer>>;

/// A network that was built from a file, and the contents of the file.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) spec: Sequential,
    pub(crate) graph: Graph,
    pub(crate) contents: Contents,
}

/// Opens a file whose network has only layers of this crate.
pub(crate) fn open(bytes: &[u8]) -> Result<Opened, Error> {
    let file = File::parse(bytes)?;
    let spec = structure(&file, &mut |_| None)?;
    let graph = graph(&spec)?;
    // Decoding fails unless the file contains every parameter. So a network cannot take much more memory than its file.
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
    // If the columns do not fit the network, `graph` reports it, together with errors of the network's shapes.
    Ok(network.with_columns(&columns))
}

fn makes_no_sense(reason: &str) -> CheckpointError {
    let reason = shown(reason);
    CheckpointError::Structure { reason }
}

/// Computes the shapes of the network. An invalid network is reported as an error in the file.
fn graph(spec: &Sequential) -> Result<Graph, CheckpointError> {
    spec.graph()
        .map_err(|error| makes_no_sense(&error.to_string()))
}

impl Sequential {
    /// Loads the description of a network from a safetensors file, without its parameters.
    ///
    /// [`cpu::Network::save`](crate::cpu::Network::save), [`Model::save`](crate::Model::save) and
    /// [`Trainer::save`](crate::Trainer::save) write such files.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the file cannot be read, is damaged, describes no network, or contains a layer from
    /// outside this crate; for such layers, use [`load_with`](Self::load_with).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load_with(path, |_| None)
    }

    /// Loads the description of a network that has layers from outside this crate, like [`load`](Self::load). `find`
    /// receives the [`name`](Layer::name) of each such layer and returns the layer.
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
    /// The errors of [`load`](Self::load), and [`Error::Checkpoint`] when `find` returns `None` for a layer.
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
