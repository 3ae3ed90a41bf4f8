//! Outputs of rows that are asked for one after another.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

use ndarray::{ArrayView2, ArrayViewMut2, s};

use super::Network;
use super::dense::dense;
use super::passes::Context;
use super::rows::{Room, Turns};
use super::workspace::matrix;
use crate::error::Error;
use crate::fit::{Indices, check_columns, check_indices};
use crate::memory;
use crate::reference::Float;

/// A network that is asked for the outputs of rows again and again, on the CPU: what a pass needs is allocated at the first
/// call with as many rows, and kept. Then a row allocates nothing in networks of fully connected layers and activations;
/// convolutions, normalizations and products of several rows take some memory for their time. Reading the weights takes
/// most of the time of a single row: of a row that is mostly 0 only those of the others are read. [`crate::Predictor`] is
/// the same on a GPU.
///
/// ```
/// use wgrad::TwoLayerNet;
/// use wgrad::cpu::Predictor;
///
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("network.safetensors");
/// TwoLayerNet::spec(784, 50, 10).on_cpu()?.save(&path)?;
///
/// let mut predictor = Predictor::load(&path)?;
/// let logits = predictor.predict_row(&[0.5; 784])?;
/// assert_eq!(logits.len(), 10);
/// let error = predictor.predict_row(&[0.5; 783]).unwrap_err();
/// assert!(error.to_string().contains("expected shape 1 × 784, found 1 × 783"), "{error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Predictor<F = f32> {
    network: Network<F>,
    turns: Turns,
    indices: Vec<Indices>,
    room: Room<F>,
    /// Rows that there is room for.
    most: usize,
}

impl<F: Float> Predictor<F> {
    /// Predicts by this network.
    #[must_use]
    pub fn new(network: Network<F>) -> Self {
        Self {
            turns: Turns::new(&network.passes),
            indices: network.graph().indices().collect(),
            room: Room::default(),
            most: 0,
            network,
        }
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network<F> {
        &self.network
    }

    /// The network, and nothing else.
    #[must_use]
    pub fn into_network(self) -> Network<F> {
        self.network
    }

    /// Outputs of a row of features: logits of classes or labels, or values. They stay until the next call.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn predict_row(&mut self, x: &[F]) -> Result<&[F], Error> {
        let x = matrix(x, [1, x.len()]);
        Ok(dense(self.predict(x)?.to_slice()))
    }

    /// Outputs (rows, outputs) of rows `x` (rows, features), all of them at once. They stay until the next call. Each row
    /// takes as much memory as the network's values that are there at the same time: of a million rows
    /// [`Network::predict`] takes a few hundred at a time.
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` has another number of columns, [`Error::Setting`] when a column is to be an index and is
    /// none, [`Error::Memory`] without room for so many rows.
    pub fn predict(&mut self, x: ArrayView2<'_, F>) -> Result<ArrayView2<'_, F>, Error> {
        let passes = &*self.network.passes;
        check_columns(&passes.graph, x.dim().into())?;
        for indices in &self.indices {
            check_indices("x", indices, x.outer_iter())?;
        }
        let rows = x.nrows();
        if rows > self.most {
            let what = || format!("a forward pass of {rows} rows");
            memory::check(what, self.turns.bytes::<F>(rows))?;
            self.most = rows;
        }
        self.room.fit(passes, &self.turns, rows);
        if rows == 0 {
            return Ok(self.room.outputs(passes, &self.turns).0);
        }
        let mut context = Context {
            parameters: &self.network.parameters,
            state: &mut self.network.state,
            step: None,
        };
        let copy = |first: usize, mut to: ArrayViewMut2<'_, F>| {
            let columns = first..first + to.ncols();
            to.assign(&x.slice(s![.., columns]));
        };
        self.room.pass(passes, &self.turns, &mut context, copy);
        Ok(self.room.outputs(passes, &self.turns).0)
    }
}

impl Predictor<f32> {
    /// Predicts by the network that a file holds: see [`Network::load`].
    ///
    /// # Errors
    /// As there.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self::new(Network::load(path)?))
    }
}
