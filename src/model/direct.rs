//! The book's five functions: each uploads its rows, runs a plan of its own and reads the answer. None
//! is a step of training: nothing is dropped.

use std::path::Path;

use ndarray::{Array2, ArrayView2};

use super::{Activations, Model, read_matrices, read_matrix, row_major};
use crate::checkpoint;
use crate::data::Labels;
use crate::error::Error;
use crate::kernel::Element;
use crate::ops::{SoftmaxCrossEntropy, TargetKind};
use crate::plan::{Plan, Recorder};
use crate::reference;
use crate::sequential::Sequential;
use crate::tensor::Tensor;

impl Model {
    /// Reads the parameters of every layer, in the order of [`Layer::parameters`](crate::ops::Layer::parameters).
    ///
    /// # Errors
    /// As [`crate::Gpu::read_async`].
    pub fn parameters(&self) -> Result<Vec<Vec<Array2<f32>>>, Error> {
        pollster::block_on(self.parameters_async())
    }

    /// Writes the parameters to a safetensors file: see [`crate::checkpoint`]. Whatever happens, the
    /// whole old file or the whole new one is there.
    ///
    /// ```
    /// use wgrad::{Gpu, TwoLayerNet};
    ///
    /// let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("model.safetensors");
    /// let gpu = Gpu::new()?;
    /// let model = TwoLayerNet::spec(784, 50, 10).seed(1).build(&gpu)?;
    /// model.save(&path)?;
    /// let mut other = TwoLayerNet::spec(784, 50, 10).seed(2).build(&gpu)?;
    /// other.load(&path)?;
    /// assert_eq!(model.parameters()?, other.parameters()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`to_safetensors`](Self::to_safetensors), or [`Error::Checkpoint`] when the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let bytes = pollster::block_on(self.to_safetensors())?;
        Ok(checkpoint::write(path.as_ref(), &bytes)?)
    }

    /// Reads the parameters from a safetensors file: see [`set_safetensors`](Self::set_safetensors).
    ///
    /// # Errors
    /// As there, or [`Error::Checkpoint`] when the file cannot be read.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let most = self.spec.largest_checkpoint();
        checkpoint::read(path.as_ref(), most, |bytes| self.set_safetensors(bytes))
    }

    /// Outputs (rows, outputs) of `x` (rows, inputs): logits of classes, or values.
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` has another number of columns, or an error of the device.
    pub fn predict(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        let pass = self.upload(x, None)?;
        let mut recorder = Recorder::new(&self.gpu);
        self.record_forward(&mut recorder, &pass, None);
        self.gpu.submit(&recorder.finish()?, 1)?;
        pollster::block_on(read_matrix(&self.gpu, pass.logits()))
    }

    /// Mean softmax cross-entropy of `x` with its labels; for other losses, and for data sets, there is
    /// [`evaluate`](Self::evaluate).
    ///
    /// # Errors
    /// As [`predict`](Self::predict), or [`Error::Shape`] when labels and rows differ in number.
    pub fn loss(&self, x: ArrayView2<'_, f32>, labels: &Labels) -> Result<f32, Error> {
        let pass = self.upload(x, Some(labels))?;
        let mut recorder = Recorder::new(&self.gpu);
        self.record_forward(&mut recorder, &pass, None);
        Self::record_loss(&mut recorder, &SoftmaxCrossEntropy, &pass);
        self.gpu.submit(&recorder.finish()?, 1)?;
        let losses: Vec<f32> = self.gpu.read(&pass.losses)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "an f32 loss, summed in f64"
        )]
        let mean =
            (losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64) as f32;
        Ok(mean)
    }

    /// Share of rows whose largest logit is their label's.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn accuracy(&self, x: ArrayView2<'_, f32>, labels: &Labels) -> Result<f64, Error> {
        check_labels(&self.spec, x.nrows(), labels)?;
        let logits = self.predict(x)?;
        let hits = reference::correct(logits.view(), labels.indices());
        Ok(hits as f64 / labels.len() as f64)
    }

    /// Gradients of the mean softmax cross-entropy by all parameters, by backpropagation on the GPU.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn gradient(
        &self,
        x: ArrayView2<'_, f32>,
        labels: &Labels,
    ) -> Result<Vec<Vec<Array2<f32>>>, Error> {
        let pass = self.upload(x, Some(labels))?;
        self.gpu.submit(&self.record_gradient(&pass)?, 1)?;
        let gpu = &self.gpu;
        let read_layer = |tensors: &Vec<Tensor>| pollster::block_on(read_matrices(gpu, tensors));
        self.gradients.layers.iter().map(read_layer).collect()
    }

    /// The same gradients by central differences through the `f64` reference: slow, and right.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn numerical_gradient(
        &self,
        x: ArrayView2<'_, f32>,
        labels: &Labels,
    ) -> Result<Vec<Vec<Array2<f64>>>, Error> {
        check_input(&self.spec, x)?;
        check_labels(&self.spec, x.nrows(), labels)?;
        let mut network = self.to_reference()?;
        Ok(network.numerical_gradient(x.mapv(f64::from).view(), labels.indices()))
    }

    /// The network with its present parameters on the CPU, in `f64`.
    ///
    /// # Errors
    /// As [`parameters`](Self::parameters).
    pub fn to_reference(&self) -> Result<reference::Network<f64>, Error> {
        let mut network = reference::Network::new(&self.spec)?;
        for (to, from) in network.parameters_mut().iter_mut().zip(self.parameters()?) {
            *to = from
                .iter()
                .map(|parameter| parameter.mapv(f64::from))
                .collect();
        }
        Ok(network)
    }

    /// A pass over rows given by the caller.
    fn upload(
        &self,
        x: ArrayView2<'_, f32>,
        labels: Option<&Labels>,
    ) -> Result<Activations, Error> {
        check_input(&self.spec, x)?;
        let pass = self.activations(x.nrows(), Element::F32, TargetKind::Classes)?;
        self.gpu.write(&pass.values[0], &row_major(x))?;
        if let Some(labels) = labels {
            check_labels(&self.spec, x.nrows(), labels)?;
            self.gpu.write(&pass.targets, labels.indices())?;
        }
        Ok(pass)
    }

    fn record_gradient(&self, pass: &Activations) -> Result<Plan, Error> {
        let mut recorder = Recorder::new(&self.gpu);
        self.record_forward(&mut recorder, pass, None);
        self.record_backward(&mut recorder, &SoftmaxCrossEntropy, pass, None);
        recorder.finish()
    }
}

fn check_input(spec: &Sequential, x: ArrayView2<'_, f32>) -> Result<(), Error> {
    let inputs = spec.widths()[0];
    if x.ncols() == inputs && x.nrows() > 0 {
        return Ok(());
    }
    Err(Error::Shape {
        what: "input of the network".to_owned(),
        expected: [x.nrows().max(1), inputs],
        found: x.dim().into(),
    })
}

fn check_labels(spec: &Sequential, rows: usize, labels: &Labels) -> Result<(), Error> {
    let widths = spec.widths();
    let expected = [rows, widths[widths.len() - 1]];
    let found = [labels.len(), labels.classes()];
    if expected == found {
        return Ok(());
    }
    Err(Error::Shape {
        what: "labels (examples, classes)".to_owned(),
        expected,
        found,
    })
}
