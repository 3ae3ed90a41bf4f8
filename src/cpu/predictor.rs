//! Repeated predictions with low latency.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

use ndarray::{ArrayView2, ArrayViewMut2, s};

use super::Network;
use super::dense::dense;
use super::passes::Context;
use super::rows::{PassLayout, PassMemory};
use super::workspace::matrix;
use crate::error::Error;
use crate::fit::{Indices, check_columns, check_indices};
use crate::memory;
use crate::reference::Float;

/// Repeatedly computes a network's outputs for a few rows, on the CPU.
///
/// The first call allocates the activations for its number of rows; later calls with the same number or fewer reuse
/// them. Then a prediction of a single row allocates nothing if all layers are fully connected layers or activations.
/// Convolutions, normalizations and matrix products of several rows allocate some memory temporarily.
///
/// A prediction of a single row spends most of its time reading weights. If most of the row's features are 0, only the
/// weights of the nonzero features are read. [`crate::Predictor`] is the counterpart on a GPU.
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
    layout: PassLayout,
    indices: Vec<Indices>,
    memory: PassMemory<F>,
    /// Largest number of rows for which available memory was checked.
    most: usize,
}

impl<F: Float> Predictor<F> {
    /// Makes a predictor for `network`.
    #[must_use]
    pub fn new(network: Network<F>) -> Self {
        Self {
            layout: PassLayout::new(&network.passes),
            indices: network.graph().indices().collect(),
            memory: PassMemory::default(),
            most: 0,
            network,
        }
    }

    /// The network that computes the predictions.
    #[must_use]
    pub fn network(&self) -> &Network<F> {
        &self.network
    }

    /// Consumes the predictor and returns the network.
    #[must_use]
    pub fn into_network(self) -> Network<F> {
        self.network
    }

    /// Computes the outputs of one row of features: logits of classes or labels, or predicted values. The next call
    /// overwrites them.
    ///
    /// # Errors
    /// The errors of [`predict`](Self::predict).
    pub fn predict_row(&mut self, x: &[F]) -> Result<&[F], Error> {
        let x = matrix(x, [1, x.len()]);
        Ok(dense(self.predict(x)?.to_slice()))
    }

    /// Computes the outputs (rows, outputs) of rows `x` (rows, features), all in one pass.
    ///
    /// The next call overwrites the outputs. Memory grows with the number of rows: all rows of an activation are in
    /// memory at once. For a million rows, use [`Network::predict`], which computes a few hundred rows at a time.
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` has the wrong number of columns, [`Error::Setting`] when a column of indices has a
    /// value that is not a valid index, [`Error::Memory`] when the host has too little memory for this number of rows.
    pub fn predict(&mut self, x: ArrayView2<'_, F>) -> Result<ArrayView2<'_, F>, Error> {
        let passes = &*self.network.passes;
        check_columns(&passes.graph, x.dim().into())?;
        for indices in &self.indices {
            check_indices("x", indices, x.outer_iter())?;
        }
        let rows = x.nrows();
        if rows > self.most {
            let what = || format!("a forward pass of {rows} rows");
            memory::check(what, self.layout.bytes::<F>(rows))?;
            self.most = rows;
        }
        self.memory.fit(passes, &self.layout, rows);
        if rows == 0 {
            return Ok(self.memory.outputs(passes, &self.layout).0);
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
        self.memory.pass(passes, &self.layout, &mut context, copy);
        Ok(self.memory.outputs(passes, &self.layout).0)
    }
}

impl Predictor<f32> {
    /// Loads the network from a file and makes a predictor for it: see [`Network::load`].
    ///
    /// # Errors
    /// The errors of [`Network::load`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self::new(Network::load(path)?))
    }
}
