//! Records forward passes, for prediction, evaluation and training.

use super::Model;
use super::memory::Values;
use crate::error::{Error, TargetKind};
use crate::gpu::Gpu;
use crate::kernel::Element;
use crate::memory::total;
use crate::network::{Source, Use};
use crate::ops::{
    Conv2d, Draw, Forward, Layer, Linear, Loss, LossPass, Mode, add, columns, to_u32, unwrapped,
};
use crate::plan::{Plan, Recorder, flops_per_submit};
use crate::random::part_key;
use crate::tensor::Tensor;

/// A forward pass outside of training, over a maximum number of rows. It has its own memory for features and outputs.
/// The values between them use memory that all forward passes of the model share.
#[derive(Debug)]
pub(crate) struct ForwardPass {
    pub(crate) values: Values,
    /// Targets: class indices, (1, rows) of `u32`, or values, (rows, outputs) of `f32`.
    pub(crate) targets: Tensor,
    /// The loss of each row, (1, rows).
    pub(crate) losses: Tensor,
    /// The gradient with respect to the outputs. A loss always writes it, but it is not used here.
    doutputs: Tensor,
}

impl ForwardPass {
    pub(crate) fn new(
        model: &Model,
        rows: usize,
        input: Element,
        targets: TargetKind,
    ) -> Result<Self, Error> {
        let features = model.features_tensor(rows, input)?;
        let outputs = model.output_tensor("outputs", rows)?;
        Ok(Self {
            values: model.passing_values(&features, &outputs)?,
            targets: model.targets_tensor(rows, targets)?,
            losses: losses_tensor(&model.gpu, rows)?,
            doutputs: model.output_tensor("gradient by the outputs", rows)?,
        })
    }

    /// Returns a pass over the first `rows` rows, in the same memory.
    pub(crate) fn first_rows(&self, rows: usize) -> Self {
        Self {
            values: self.values.first_rows(rows),
            targets: first_targets(&self.targets, rows),
            losses: self.losses.first_columns(rows),
            doutputs: self.doutputs.first_rows(rows),
        }
    }

    pub(crate) fn outputs(&self) -> &Tensor {
        self.values.output()
    }

    /// Records the pass, in evaluation mode.
    pub(crate) fn record(&self, model: &Model, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let head = model.passing_head(&self.values.features);
        model.record_passing(recorder, &self.values, head.as_ref())
    }

    /// Records the loss of each row.
    pub(crate) fn record_loss(
        &self,
        recorder: &mut Recorder<'_>,
        loss: &dyn Loss,
    ) -> Result<(), Error> {
        let from = [self.outputs(), &self.targets];
        let pass = LossPass::new(from, [&self.losses, &self.doutputs]);
        record_loss(recorder, loss, pass)
    }
}

/// Allocates the tensor for the losses of rows, (1, rows).
pub(super) fn losses_tensor(gpu: &Gpu, rows: usize) -> Result<Tensor, Error> {
    Tensor::zeros(gpu, "losses of the minibatch", [1, rows], Element::F32)
}

/// Returns the targets of the first `rows` rows.
pub(super) fn first_targets(targets: &Tensor, rows: usize) -> Tensor {
    match targets.element() {
        Element::U32 => targets.first_columns(rows),
        Element::F32 => targets.first_rows(rows),
    }
}

impl Model {
    /// Plans a forward pass in evaluation mode, from `x` to `y`, which are two tensors of the caller.
    ///
    /// `x` has the shape (rows, features), and `y` has the shape (rows, outputs). [`Plan::encode`] encodes the plan
    /// into a compute pass of the caller; nothing is submitted or read back. Each run uses the parameters that the
    /// model has at that time.
    ///
    /// The plan processes a large number of rows in parts, so that the output of each layer takes at most 64 MiB. A
    /// chain of layers needs memory for two outputs at a time. The memory can be larger if a part cannot be small
    /// enough: each part of `x` and `y` must begin at an offset that the device can bind, on most devices a multiple of
    /// 256 bytes. All forward passes of a model share this memory, and the model keeps it allocated.
    ///
    /// ```
    /// use wgrad::kernel::Element;
    /// use wgrad::tensor::Tensor;
    /// use wgrad::{Gpu, TwoLayerNet};
    ///
    /// let gpu = Gpu::new()?; // or Gpu::from_wgpu(device, queue)
    /// let model = TwoLayerNet::spec(784, 50, 10).build(&gpu)?;
    /// // Or Tensor::in_buffer, over a buffer that exists.
    /// let x = Tensor::zeros(&gpu, "x", [1, 784], Element::F32)?;
    /// let y = Tensor::zeros(&gpu, "y", [1, 10], Element::F32)?;
    /// let forward = model.forward_plan(&x, &y)?;
    /// let mut encoder = gpu.device().create_command_encoder(&Default::default());
    /// forward.encode(&mut encoder.begin_compute_pass(&Default::default()));
    /// gpu.queue().submit([encoder.finish()]);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` or `y` has the wrong shape or their numbers of rows differ; [`Error::Setting`] when
    /// the elements of `x` or `y` are not `f32`, or both are in the same buffer; [`Error::OutOfMemory`] or
    /// [`Error::Limit`] when the device has not enough memory for the values between the layers.
    pub fn forward_plan(&self, x: &Tensor, y: &Tensor) -> Result<Plan, Error> {
        let rows = x.rows();
        for (tensor, columns) in [(x, self.graph.features()), (y, self.graph.outputs())] {
            tensor.check_element(Element::F32)?;
            if tensor.dims() != [rows, columns] {
                return Err(Error::shape(
                    format!("{}, for this network", tensor.label()),
                    [rows, columns],
                    tensor.shape(),
                    "Make x as (rows, features) and y as (rows, outputs), with the same number of rows",
                ));
            }
        }
        if x.buffer().0 == y.buffer().0 {
            return Err(Error::setting(
                format!("the buffer of {}, the output,", y.label()),
                "different from the buffer of the input: a kernel cannot read one part of a buffer and write another",
                format!("the buffer of {}", x.label()),
            ));
        }
        let most = self.rows_of_part(rows);
        let values = self.passing_values(&x.rows_from(0, most), &y.rows_from(0, most))?;
        let head = self.passing_head(&values.features);
        let mut recorder = Recorder::new(&self.gpu);
        for first in (0..rows).step_by(most) {
            let part = most.min(rows - first);
            let values = values.between(&x.rows_from(first, part), &y.rows_from(first, part));
            self.record_passing(&mut recorder, &values, head.as_ref())?;
        }
        recorder.finish()
    }

    /// The number of rows that a forward plan processes at a time, so that each part of `x` and `y` begins at an offset
    /// that the device can bind.
    fn rows_of_part(&self, rows: usize) -> usize {
        let alignment = self.gpu.limits().min_storage_buffer_offset_alignment;
        let alignment = u64::from(alignment);
        let rows_between = |columns: usize| alignment / gcd(alignment, 4 * columns as u64);
        let [of_x, of_y] = [self.graph.features(), self.graph.outputs()].map(rows_between);
        let both = of_x / gcd(of_x, of_y) * of_y;
        let both = usize::try_from(both).unwrap_or(usize::MAX);
        let most = self.rows_by_memory();
        if rows <= most {
            rows
        } else {
            rows.min((most / both).max(1).saturating_mul(both))
        }
    }

    /// The largest number of rows per forward pass, limited by memory and by the floating-point operations per submit.
    pub(crate) fn rows_of_submit(&self) -> usize {
        let flops = self.graph.uses.iter().map(|layer_use| layer_use.spec.flops);
        let of_row = total(flops);
        let by_flops = flops_per_submit(&self.gpu) / of_row.max(1);
        let by_flops = usize::try_from(by_flops).unwrap_or(usize::MAX);
        self.rows_by_memory().min(by_flops).max(1)
    }

    pub(crate) fn targets_tensor(&self, rows: usize, kind: TargetKind) -> Result<Tensor, Error> {
        match kind {
            TargetKind::Classes => {
                let label = "labels of the minibatch";
                Tensor::zeros(&self.gpu, label, [1, rows], Element::U32)
            }
            TargetKind::Values | TargetKind::Probabilities => self.output_tensor("targets", rows),
        }
    }

    /// Records a forward pass: in training mode if `step` is given, otherwise in evaluation mode.
    pub(crate) fn record_forward(
        &self,
        recorder: &mut Recorder<'_>,
        values: &Values,
        step: Option<TrainingStep<'_>>,
    ) -> Result<(), Error> {
        self.record_forward_to(recorder, values, step, self.graph.values.len() - 1)
    }

    /// Records the forward pass up to the value with index `last`, like [`record_forward`](Self::record_forward).
    pub(super) fn record_forward_to(
        &self,
        recorder: &mut Recorder<'_>,
        values: &Values,
        step: Option<TrainingStep<'_>>,
        last: usize,
    ) -> Result<(), Error> {
        for (index, value) in self.graph.values[..=last].iter().enumerate() {
            let y = &values.of[index];
            match &value.source {
                Source::Input { first } => {
                    if self.graph.inputs > 1 {
                        let from = (&values.features, *first);
                        columns::copy(recorder, from, (y, 0), y.columns());
                    }
                }
                Source::Layer { layer, x } => {
                    self.record_layer(recorder, values, *layer, *x, step)?;
                }
                Source::Sum(of) => add::add(recorder, of.map(|value| &values.of[value]), y),
                Source::Concat(of) => {
                    let mut first = 0;
                    for &part in of {
                        let part = &values.of[part];
                        columns::copy(recorder, (part, 0), (y, first), part.columns());
                        first += part.columns();
                    }
                }
            }
        }
        Ok(())
    }

    /// Records the forward pass of a layer. If the outputs of a `Linear` or `Conv2d` and of the `Relu` after it share
    /// memory, one dispatch computes both.
    fn record_layer(
        &self,
        recorder: &mut Recorder<'_>,
        values: &Values,
        index: usize,
        of_x: usize,
        step: Option<TrainingStep<'_>>,
    ) -> Result<(), Error> {
        let layer_use = &self.graph.uses[index];
        let x = &values.of[of_x];
        let y = &values.of[layer_use.value];
        if x.buffer() == y.buffer() {
            return Ok(());
        }
        let relu = self.graph.relu_after(layer_use);
        let relu = relu.filter(|&relu| values.of[relu].buffer() == y.buffer());
        let y = relu.map_or(y, |relu| &values.of[relu]);
        let pass = Forward::new(x, self.parameters_of(layer_use), y, mode(layer_use, step));
        let pass = pass
            .with_input(self.graph.values[of_x].shape)
            .with_state(self.state_of(layer_use))
            .with_kept(&values.kept[index]);
        let who = || format!("the forward pass of {}", place(index, layer_use));
        recorder.watched(who, |recorder| match relu {
            Some(_) => record_with_relu(&*layer_use.layer, recorder, pass),
            None => layer_use.layer.forward(recorder, pass),
        })
    }

    pub(super) fn parameters_of(&self, layer_use: &Use) -> &[Tensor] {
        &self.parameters.tensors()[layer_use.parameters.clone()]
    }

    pub(super) fn state_of(&self, layer_use: &Use) -> &[Tensor] {
        &self.state.tensors()[layer_use.state.clone()]
    }
}

/// Records a `Linear` or `Conv2d` and the `Relu` after it as one dispatch: see
/// [`Graph::relu_after`](crate::network::Graph::relu_after).
fn record_with_relu(
    layer: &dyn Layer,
    recorder: &mut Recorder<'_>,
    pass: Forward<'_>,
) -> Result<(), Error> {
    match unwrapped(layer).downcast_ref::<Conv2d>() {
        Some(conv) => conv.record_forward(recorder, &pass, true),
        None => Linear::record_forward(recorder, pass, true),
    }
}

/// The name of a layer in messages.
pub(super) fn place(index: usize, layer_use: &Use) -> String {
    format!("layers.{index}, {},", layer_use.layer.name())
}

/// Records the loss of each row, and the gradient of the mean loss with respect to the outputs.
pub(super) fn record_loss(
    recorder: &mut Recorder<'_>,
    loss: &dyn Loss,
    pass: LossPass<'_>,
) -> Result<(), Error> {
    let who = || format!("the loss {}", loss.describe());
    recorder.watched(who, |recorder| loss.forward_backward(recorder, pass))
}

/// The greatest common divisor of two numbers above 0.
fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// A training step, or the work of the step on one part of its minibatch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrainingStep<'a> {
    /// The number of earlier steps, a (1, 1) tensor.
    count: &'a Tensor,
    part: u32,
}

impl<'a> TrainingStep<'a> {
    pub(crate) fn new(count: &'a Tensor) -> Self {
        Self { count, part: 0 }
    }

    /// Returns the same step for the part of the minibatch with this index. Layers draw different random numbers for
    /// each part.
    pub(crate) fn part(self, part: usize) -> Self {
        let part = to_u32(part);
        Self { part, ..self }
    }
}

/// The mode in which a layer runs. In a training step, the mode contains the layer's source of random numbers.
pub(super) fn mode<'a>(layer_use: &Use, step: Option<TrainingStep<'a>>) -> Mode<'a> {
    match step {
        None => Mode::Evaluation,
        Some(TrainingStep { count, part }) => {
            Mode::Training(Draw::new(part_key(layer_use.key, part), count))
        }
    }
}
