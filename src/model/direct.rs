//! Methods that evaluate a model on rows of the caller. Each call uploads the rows, records and runs a plan, and reads
//! the result. All run in evaluation mode: `Dropout` drops nothing, and no state changes.

use std::ops::Range;
use std::path::Path;

use ndarray::{Array2, ArrayView2, s};

use super::backward::{LossTensors, TrainingPass};
use super::forward::ForwardPass;
use super::probe::probe_loss;
use super::{Model, read_matrix};
use crate::checkpoint;
use crate::cpu;
use crate::error::{Error, TargetKind};
use crate::fit::{check_features, check_outputs, check_targets};
use crate::gpu::{Gpu, block_on};
use crate::kernel::Element;
use crate::memory::{bytes_of, total};
use crate::network::{Activation, Parameters, Wanted};
use crate::ops::{Loss, weight_of_rows};
use crate::plan::Recorder;
use crate::reference::Targets;
use crate::tensor::Tensor;

/// A pass of at most this many rows is not halved. If the memory is too small for such a pass, the call fails, because
/// with fewer rows a device would be almost idle.
const FEWEST_ROWS: usize = 16;

/// Largest number of rows per pass for a loss with class weights. One workgroup sums the weights of all rows of a pass,
/// and software drivers limit the length of its loop.
const MOST_WEIGHED: usize = 64 * 64_000;

impl Model {
    /// Writes parameters and state to a safetensors file: see [`crate::checkpoint`]. The write is atomic: after a
    /// failure, the path still names either the complete old file or the complete new file.
    ///
    /// ```
    /// use wgrad::{Gpu, Model, TwoLayerNet};
    ///
    /// let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("model.safetensors");
    /// let gpu = Gpu::new()?;
    /// let model = TwoLayerNet::spec(784, 50, 10).seed(1).build(&gpu)?;
    /// model.save(&path)?;
    /// let same = Model::load(&path, &gpu)?;
    /// assert_eq!(model.parameters()?, same.parameters()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`to_safetensors`](Self::to_safetensors), or [`Error::Checkpoint`] when the file cannot be
    /// written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let bytes = self.to_safetensors()?;
        Ok(checkpoint::write(path.as_ref(), &bytes)?)
    }

    /// Builds the network that a safetensors file describes: see [`from_safetensors`](Self::from_safetensors).
    /// [`save`](Self::save) has an example.
    ///
    /// # Errors
    /// The errors of [`from_safetensors`](Self::from_safetensors), or [`Error::Checkpoint`] when the file cannot be
    /// read.
    pub fn load(path: impl AsRef<Path>, gpu: &Gpu) -> Result<Self, Error> {
        checkpoint::read_whole(path.as_ref(), |bytes| Self::from_safetensors(bytes, gpu))
    }

    /// Replaces parameters and state by those of a safetensors file: see [`set_safetensors`](Self::set_safetensors).
    ///
    /// # Errors
    /// The errors of [`set_safetensors`](Self::set_safetensors), or [`Error::Checkpoint`] when the file cannot be read.
    pub fn load_weights(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let most = checkpoint::largest(&self.graph);
        checkpoint::read(path.as_ref(), most, |bytes| self.set_safetensors(bytes))
    }

    /// Computes the outputs of the network, such as logits of classes, for rows of features.
    ///
    /// `x` has the shape (rows, features), and may have any number of rows, including 0. The result has the shape
    /// (rows, outputs). Many rows are processed in parts, so only their outputs must fit in the host's memory. The
    /// model keeps the device memory that the values between the layers need: see [`forward_plan`](Self::forward_plan).
    ///
    /// The same call gives the same bits. If the number of rows in the call changes, the last bits of a row's outputs
    /// can change, because the shape of a matrix product determines which kernel computes it.
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` has the wrong number of columns; [`Error::Memory`] when the host has not enough memory
    /// for the outputs; an error of the device.
    pub fn predict(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        check_features(&self.graph, x)?;
        let shape = [x.nrows(), self.graph.outputs()];
        check_outputs::<f32>(shape)?;
        let mut outputs = Array2::zeros(shape);
        self.for_each_pass(x, None, |rows, pass| {
            let of_rows = block_on(read_matrix(&self.gpu, pass.outputs()))?;
            outputs.slice_mut(s![rows, ..]).assign(&of_rows);
            Ok(())
        })?;
        Ok(outputs)
    }

    /// Computes the mean loss over rows of features `x`, (rows, features), with their targets. There must be at least
    /// one row. For data sets, use [`evaluate`](Self::evaluate).
    ///
    /// # Errors
    /// The errors of [`predict`](Self::predict); [`Error::Count`] or [`Error::Shape`] when the numbers of targets and
    /// rows differ; [`Error::Setting`] when there are no rows, a label is not a class of the network, or the loss needs
    /// another kind of targets.
    pub fn loss(
        &self,
        loss: &dyn Loss,
        x: ArrayView2<'_, f32>,
        targets: Targets<'_, f32>,
    ) -> Result<f32, Error> {
        check_targets(&self.graph, loss, x, &targets)?;
        probe_loss(&self.gpu, loss, self.output())?;
        let mut sum = 0.0;
        self.for_each_pass(x, Some((loss, targets)), |rows, pass| {
            let losses: Vec<f32> = self.gpu.read(&pass.losses)?;
            let of_rows = losses.iter().map(|&loss| f64::from(loss)).sum::<f64>();
            let count = rows.len();
            let weight = weight_of_rows(loss, count, targets.of_rows(rows).labels());
            sum += of_rows * (weight / count as f64);
            Ok(())
        })?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "an f32 loss, summed in f64"
        )]
        let mean = (sum / weight_of_rows(loss, x.nrows(), targets.labels())) as f32;
        Ok(mean)
    }

    /// Computes the gradients of the mean loss with respect to all parameters, by backpropagation on the GPU.
    ///
    /// The features and layer outputs of all rows must fit in the device's memory at the same time. If there are too
    /// many rows, divide them into equal parts and average the gradients of the parts. If the loss has
    /// [`class_weights`](Loss::class_weights), compute a weighted average: the weight of a part is the sum of its
    /// labels' class weights.
    ///
    /// # Errors
    /// The errors of [`loss`](Self::loss); [`Error::Limit`], [`Error::OutOfMemory`] or [`Error::Memory`] when the
    /// device or the host has not enough memory for this many rows.
    pub fn gradient(
        &self,
        loss: &dyn Loss,
        x: ArrayView2<'_, f32>,
        targets: Targets<'_, f32>,
    ) -> Result<Parameters, Error> {
        check_targets(&self.graph, loss, x, &targets)?;
        probe_loss(&self.gpu, loss, self.output())?;
        let rows = x.nrows();
        self.check_copy(rows)?;
        let room = || {
            let features = self.features_tensor(rows, Element::F32)?;
            let wanted = Wanted::parameters(&self.graph);
            let pass = TrainingPass::new(self, &features, &wanted, None)?;
            Ok((pass, LossTensors::new(self, rows, targets.kind())?))
        };
        let room = room().map_err(|error| of_too_many_rows(error, "a gradient", rows));
        let (pass, compared) = room?;
        let mut recorder = Recorder::new(&self.gpu);
        self.record_forward(&mut recorder, &pass.values, None)?;
        self.record_loss(&mut recorder, loss, &pass, &compared)?;
        self.record_backward(&mut recorder, &pass, None)?;
        let plan = recorder.finish()?;
        self.gpu.write(&pass.values.features, &elements(x))?;
        self.write_targets(&targets, &compared.targets, 0..rows)?;
        self.gpu.submit(&plan, 1)?;
        block_on(self.read_like_parameters(&pass.gradients))
    }

    /// Computes every value of the network for rows of features `x`, (rows, features): inputs, outputs of layers, sums
    /// and concatenations, in order, with their names. `x` may have no rows. The values of all rows must fit in the
    /// device's memory at the same time.
    ///
    /// ```
    /// use wgrad::ndarray::Array2;
    /// use wgrad::{Gpu, TwoLayerNet};
    ///
    /// let model = TwoLayerNet::spec(784, 50, 10).build(&Gpu::new()?)?;
    /// let activations = model.activations(Array2::ones((3, 784)).view())?;
    /// let names: Vec<&str> = activations.iter().map(|of| &*of.name).collect();
    /// assert_eq!(names, ["input", "layers.0", "layers.1", "layers.2"]);
    /// assert_eq!(activations[1].values.dim(), (3, 50));
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`predict`](Self::predict); [`Error::Limit`], [`Error::OutOfMemory`] or [`Error::Memory`] when the
    /// device or the host has not enough memory for this many rows.
    pub fn activations(&self, x: ArrayView2<'_, f32>) -> Result<Vec<Activation>, Error> {
        check_features(&self.graph, x)?;
        let rows = x.nrows();
        let all = self.graph.values.iter();
        if rows == 0 {
            let none = |columns| Array2::zeros((0, columns));
            let empty = all.map(|value| {
                Activation::new(value.name.clone(), value.shape, none(value.shape.len()))
            });
            return Ok(empty.collect());
        }
        self.check_values(rows)?;
        let too_many = |error| of_too_many_rows(error, "the activations", rows);
        let features = self.features_tensor(rows, Element::F32).map_err(too_many)?;
        let last = self.graph.values.len() - 1;
        let values = self.values_to(last, &features, false);
        let values = values.map_err(too_many)?;
        let mut recorder = Recorder::new(&self.gpu);
        self.record_forward(&mut recorder, &values, None)?;
        let plan = recorder.finish()?;
        self.gpu.write(&features, &elements(x))?;
        self.gpu.submit(&plan, 1)?;
        let of_values = all.zip(&values.of).map(|(value, tensor)| {
            let read = block_on(read_matrix(&self.gpu, tensor))?;
            Ok(Activation::new(value.name.clone(), value.shape, read))
        });
        of_values.collect()
    }

    /// Copies the network with its current parameters and state to the CPU, in `f64`. There, every layer is computed
    /// directly by its formula, without the optimizations of the CPU engine.
    ///
    /// # Errors
    /// The errors of [`parameters`](Self::parameters).
    pub fn to_reference(&self) -> Result<cpu::Network<f64>, Error> {
        let mut network = cpu::Network::by_definition(&self.spec)?;
        network.set_parameters(&self.parameters()?.mapv(f64::from))?;
        network.set_state(&self.state()?.mapv(f64::from))?;
        Ok(network)
    }

    /// Runs forward passes over the caller's rows, with as many rows per pass as one submit allows. If `compared` is
    /// given, also computes the loss of each row. Calls `see` after each submitted pass, with the range of its rows.
    fn for_each_pass(
        &self,
        x: ArrayView2<'_, f32>,
        compared: Option<(&dyn Loss, Targets<'_, f32>)>,
        mut see: impl FnMut(Range<usize>, &ForwardPass) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let total = x.nrows();
        if total == 0 {
            return Ok(());
        }
        let kind = compared.map_or(TargetKind::Classes, |(_, targets)| targets.kind());
        let is_weighed = compared.is_some_and(|(loss, _)| loss.class_weights().is_some());
        let at_once = if is_weighed {
            total.min(MOST_WEIGHED)
        } else {
            total
        };
        let (most, all) = self.room_for_rows(at_once, kind)?;
        let record = |rows| {
            let pass = all.first_rows(rows);
            let mut recorder = Recorder::new(&self.gpu);
            pass.record(self, &mut recorder)?;
            if let Some((loss, _)) = compared {
                pass.record_loss(&mut recorder, loss)?;
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
            let of_rows = x.slice(s![rows.clone(), ..]);
            self.gpu.write(&pass.values.features, &elements(of_rows))?;
            if let Some((_, targets)) = compared {
                self.write_targets(&targets, &pass.targets, rows.clone())?;
            }
            self.gpu.submit(plan, 1)?;
            see(rows, pass)?;
        }
        Ok(())
    }

    /// Allocates a forward pass over at most `total` rows, and returns its number of rows. If memory is not sufficient,
    /// halves the number of rows and tries again.
    fn room_for_rows(&self, total: usize, kind: TargetKind) -> Result<(usize, ForwardPass), Error> {
        let mut rows = self.rows_of_submit().min(total);
        loop {
            // Check the host memory for copies only after the allocation, because a software driver allocates host
            // memory.
            let room = ForwardPass::new(self, rows, Element::F32, kind);
            let room = room.and_then(|room| {
                self.check_copy(rows)?;
                Ok(room)
            });
            match room {
                Ok(room) => return Ok((rows, room)),
                Err(Error::Memory { .. } | Error::OutOfMemory { .. }) if rows > FEWEST_ROWS => {
                    // Free the tensors of the failed attempt, and the shared memory of earlier passes.
                    crate::gpu::lock(&self.scratch).clear();
                    self.gpu.flush()?;
                    rows /= 2;
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn write_targets(
        &self,
        targets: &Targets<'_, f32>,
        to: &Tensor,
        rows: Range<usize>,
    ) -> Result<(), Error> {
        match targets {
            Targets::Classes(labels) => self.gpu.write(to, &labels[rows]),
            Targets::Values(values) => self.gpu.write(to, &elements(values.slice(s![rows, ..]))),
        }
    }

    /// Checks that the host has enough memory for all values of this many rows, and for two copies of the largest value
    /// during its transfer.
    fn check_values(&self, rows: usize) -> Result<(), Error> {
        let sizes: Vec<u64> = self.graph.sizes().map(|size| size as u64).collect();
        let largest = sizes
            .iter()
            .fold(self.graph.features() as u64, |a, &b| a.max(b));
        let all = total(sizes);
        // A software driver uses host memory, so the values on the device count as well.
        let all = if self.gpu.is_software() {
            all.saturating_mul(2)
        } else {
            all
        };
        let of_row = all.saturating_add(largest.saturating_mul(2));
        let what = || format!("the activations of {rows} rows at once");
        let values = of_row.saturating_mul(rows as u64);
        self.gpu.check_host(what, bytes_of::<f32>(values))
    }

    /// Checks that the host has enough memory to upload this many rows of features, or to read back this many rows of
    /// outputs. Each needs a copy in row-major order, and a copy in a staging buffer.
    fn check_copy(&self, rows: usize) -> Result<(), Error> {
        let wider = self.graph.features().max(self.graph.outputs()) as u64;
        let values = wider.saturating_mul(rows as u64);
        let what = || format!("a copy of {rows} rows");
        self.gpu
            .check_host(what, bytes_of::<f32>(values.saturating_mul(2)))
    }
}

/// Returns the elements in row-major order.
fn elements(matrix: ArrayView2<'_, f32>) -> Vec<f32> {
    matrix.iter().copied().collect()
}

/// Adds the operation and its number of rows to the message of a limit error or an out-of-memory error.
fn of_too_many_rows(error: Error, doing: &str, rows: usize) -> Error {
    match error {
        Error::Limit {
            what,
            limit,
            needed,
            available,
        } => Error::Limit {
            what: format!("{doing} over {rows} rows at once, for its {what}"),
            limit,
            needed,
            available,
        },
        Error::OutOfMemory { doing: allocating } => Error::OutOfMemory {
            doing: format!("{allocating} for {doing} over {rows} rows at once"),
        },
        error => error,
    }
}
