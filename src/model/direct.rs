//! The book's five functions: each uploads its rows, runs a plan of its own and reads the answer. None
//! is a step of training: nothing is dropped.

use std::ops::Range;
use std::path::Path;

use ndarray::{Array2, ArrayView2, s};

use super::{Activations, Model, read_matrices, read_matrix, row_major};
use crate::checkpoint;
use crate::confusion::correct;
use crate::cpu;
use crate::data::Labels;
use crate::error::Error;
use crate::fit::{check_input, check_rows};
use crate::kernel::Element;
use crate::memory::{self, bytes_of};
use crate::ops::{SoftmaxCrossEntropy, TargetKind};
use crate::plan::{Plan, Recorder};
use crate::tensor::Tensor;

/// With fewer rows at a time than this a device does next to nothing: what has no room for them has none at all.
const FEWEST_ROWS: usize = 16;

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

    /// Outputs (rows, outputs) of `x` (rows, inputs): logits of classes, or values. Any number of rows, also none:
    /// many go through the device a part at a time, so that their outputs alone must fit the host's memory.
    ///
    /// The same call gives the same bits. On a GPU the kernel of a product is chosen by its shape, so that the last
    /// bits of a row's outputs may be others when other rows are predicted with it.
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` has another number of columns, [`Error::Memory`] without room for the outputs, or
    /// an error of the device.
    pub fn predict(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        let widths = self.spec.widths();
        check_input(&widths, x.dim().into())?;
        let shape = (x.nrows(), widths[widths.len() - 1]);
        let what = || format!("the outputs of {} rows", shape.0);
        let values = (shape.0 as u64).saturating_mul(shape.1 as u64);
        memory::check(what, bytes_of::<f32>(values))?;
        let mut outputs = Array2::zeros(shape);
        self.for_each_pass(x, None, |rows, pass| {
            let of_rows = pollster::block_on(read_matrix(&self.gpu, pass.logits()))?;
            outputs.slice_mut(s![rows, ..]).assign(&of_rows);
            Ok(())
        })?;
        Ok(outputs)
    }

    /// Mean softmax cross-entropy of `x` with its labels, of any number of rows but none; for other losses, and for
    /// data sets, there is [`evaluate`](Self::evaluate).
    ///
    /// # Errors
    /// As [`predict`](Self::predict), [`Error::Shape`] when labels and rows differ in number, or [`Error::Setting`]
    /// when there are none.
    pub fn loss(&self, x: ArrayView2<'_, f32>, labels: &Labels) -> Result<f32, Error> {
        self.check_labelled(x, labels)?;
        let mut sum = 0.0;
        self.for_each_pass(x, Some(labels.indices()), |_, pass| {
            let losses: Vec<f32> = self.gpu.read(&pass.losses)?;
            sum += losses.iter().map(|&loss| f64::from(loss)).sum::<f64>();
            Ok(())
        })?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "an f32 loss, summed in f64"
        )]
        let mean = (sum / labels.len() as f64) as f32;
        Ok(mean)
    }

    /// Share of rows whose largest logit is their label's. NaN is never the largest; of equal logits the first is.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn accuracy(&self, x: ArrayView2<'_, f32>, labels: &Labels) -> Result<f64, Error> {
        self.check_labelled(x, labels)?;
        let logits = self.predict(x)?;
        let hits = correct(logits.view(), labels.indices());
        Ok(hits as f64 / labels.len() as f64)
    }

    /// Gradients of the mean softmax cross-entropy by all parameters, by backpropagation on the GPU.
    ///
    /// All rows are on the device at once, with what each layer gives for them. That of more rows is the mean of
    /// the gradients of equal parts of them.
    ///
    /// # Errors
    /// As [`loss`](Self::loss), or [`Error::Limit`], [`Error::OutOfMemory`] or [`Error::Memory`] when device or host
    /// have no room for so many rows.
    pub fn gradient(
        &self,
        x: ArrayView2<'_, f32>,
        labels: &Labels,
    ) -> Result<Vec<Vec<Array2<f32>>>, Error> {
        self.check_labelled(x, labels)?;
        let rows = x.nrows();
        self.check_copy(rows)?;
        let pass = self.activations(rows, Element::F32, TargetKind::Classes);
        let pass = pass.map_err(|error| of_too_many_rows(error, rows))?;
        self.gpu.write(&pass.values[0], &row_major(x))?;
        self.gpu.write(&pass.targets, labels.indices())?;
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
        self.check_labelled(x, labels)?;
        let mut network = self.to_reference()?;
        network.numerical_gradient(x.mapv(f64::from).view(), labels.indices())
    }

    /// The network with its present parameters on the CPU, in `f64`, every layer by its definition.
    ///
    /// # Errors
    /// As [`parameters`](Self::parameters).
    pub fn to_reference(&self) -> Result<cpu::Network<f64>, Error> {
        let mut network = cpu::Network::by_definition(&self.spec)?;
        for (to, from) in network.parameters_mut().iter_mut().zip(self.parameters()?) {
            *to = from
                .iter()
                .map(|parameter| parameter.mapv(f64::from))
                .collect();
        }
        Ok(network)
    }

    /// Forward passes over rows given by the caller, as many at a time as the device takes, with their losses where
    /// there are labels. Calls `see` with each part of the rows when it is computed.
    fn for_each_pass(
        &self,
        x: ArrayView2<'_, f32>,
        labels: Option<&[u32]>,
        mut see: impl FnMut(Range<usize>, &Activations) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let total = x.nrows();
        if total == 0 {
            return Ok(());
        }
        let (most, all) = self.room_for_rows(total)?;
        let record = |rows| {
            let pass = all.first_rows(rows);
            let mut recorder = Recorder::new(&self.gpu);
            self.record_forward(&mut recorder, &pass.values, None);
            if labels.is_some() {
                Self::record_loss(&mut recorder, &SoftmaxCrossEntropy, &pass);
            }
            Ok::<_, Error>((pass, recorder.finish()?))
        };
        let mut recorded = record(most)?;
        for first in (0..total).step_by(most) {
            let rows = first..total.min(first + most);
            if rows.len() < most {
                recorded = record(rows.len())?;
            }
            let (pass, plan) = &recorded;
            let x = x.slice(s![rows.clone(), ..]);
            self.gpu.write(&pass.values[0], &row_major(x))?;
            if let Some(labels) = labels {
                self.gpu.write(&pass.targets, &labels[rows.clone()])?;
            }
            self.gpu.submit(plan, 1)?;
            see(rows, pass)?;
        }
        Ok(())
    }

    /// As many of so many rows as a submit takes, with room for them: where memory is short, for fewer.
    fn room_for_rows(&self, total: usize) -> Result<(usize, Activations), Error> {
        let mut rows = self.rows_of_submit().min(total);
        loop {
            // The copies come later, when a software driver has taken its part of the host's memory.
            let room = self.forward_activations(rows, Element::F32, TargetKind::Classes);
            let room = room.and_then(|room| {
                self.check_copy(rows)?;
                Ok(room)
            });
            match room {
                Ok(room) => return Ok((rows, room)),
                Err(Error::Memory { .. } | Error::OutOfMemory { .. }) if rows > FEWEST_ROWS => {
                    // So that what was allocated is freed.
                    self.gpu.flush()?;
                    rows /= 2;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the host has room for rows of inputs on their way to the device, or of outputs back: in row-major order,
    /// and in a buffer that is copied.
    fn check_copy(&self, rows: usize) -> Result<(), Error> {
        let widths = self.spec.widths();
        let wider = widths[0].max(widths[widths.len() - 1]) as u64;
        let values = wider.saturating_mul(rows as u64);
        let what = || format!("a copy of {rows} rows");
        self.gpu
            .check_host(what, bytes_of::<f32>(values.saturating_mul(2)))
    }

    /// Whether there are rows of the network's inputs, and a label of its classes for each.
    fn check_labelled(&self, x: ArrayView2<'_, f32>, labels: &Labels) -> Result<(), Error> {
        let widths = self.spec.widths();
        check_input(&widths, x.dim().into())?;
        check_rows(x.nrows())?;
        let expected = [x.nrows(), widths[widths.len() - 1]];
        let found = [labels.len(), labels.classes()];
        if expected == found {
            return Ok(());
        }
        Err(Error::Shape {
            what: "labels (examples, classes)".to_owned(),
            expected,
            found,
            remedy: "Give a label for each row, of as many classes as the network has outputs",
        })
    }

    fn record_gradient(&self, pass: &Activations) -> Result<Plan, Error> {
        let mut recorder = Recorder::new(&self.gpu);
        self.record_forward(&mut recorder, &pass.values, None);
        self.record_backward(&mut recorder, &SoftmaxCrossEntropy, pass, None);
        recorder.finish()
    }
}

/// What is too large for a device when all rows are on it at once is so for the number of rows.
fn of_too_many_rows(error: Error, rows: usize) -> Error {
    match error {
        Error::Limit {
            what,
            limit,
            needed,
            available,
        } => Error::Limit {
            what: format!("a gradient over {rows} rows at once, for its {what}"),
            limit,
            needed,
            available,
        },
        Error::OutOfMemory { doing } => Error::OutOfMemory {
            doing: format!("{doing} for a gradient over {rows} rows at once"),
        },
        error => error,
    }
}
