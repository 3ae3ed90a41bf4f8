//! A fused head: the last layers of a network, a multilayer perceptron over rows of floats, with kernels that compute
//! all its layers at once. See `shaders/head_rows.wgsl`.

mod cost;
mod kernels;

use super::{
    AdjustedCrossEntropy, BinaryCrossEntropy, Gelu, Huber, Layer, LeakyRelu, Loss,
    MeanSquaredError, RelativeL2, Relu, Sigmoid, SoftmaxCrossEntropy, Tanh, to_u32, unwrapped,
    unwrapped_loss,
};
use crate::error::{Error, Unfused};
use crate::gpu::{Gpu, SoftwareDriver};
use crate::kernel::Element;
use crate::plan::Recorder;
use crate::tensor::Tensor;

pub use kernels::Form;
pub(super) use kernels::contracts;
use kernels::{Block, LayerBlock, NO_BIAS};

/// Maximum number of linear layers in a head: the kernels' settings have an array of this length.
pub(crate) const MOST_LAYERS: usize = 8;
/// Maximum width (inputs or outputs) of a layer. Wider layers are better computed by separate kernels, which reuse each
/// weight for more rows.
pub(crate) const MOST_WIDTH: usize = 128;

/// Maximum number of values per row, including the inputs. With more values, no tile of rows would fit in workgroup
/// memory.
pub(crate) const MOST_COLUMNS: usize = 1023;

/// A linear layer of a head, and the activation that follows it.
#[derive(Debug, Clone, Copy)]
pub struct HeadLayer {
    /// Number of inputs.
    pub inputs: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// Offset of the layer's weight in the tensor of all parameters, in elements.
    pub weight: usize,
    /// Offset of the layer's bias in the tensor of all parameters, in elements; `None` without a bias.
    pub bias: Option<usize>,
    /// The activation that follows the linear layer.
    pub activation: HeadActivation,
}

impl HeadLayer {
    /// Returns the number of values per row that the kernels store for this layer: its outputs, and for a GELU also the
    /// activation's inputs.
    pub(crate) fn columns(&self) -> usize {
        self.outputs * if self.activation.kind == GELU { 2 } else { 1 }
    }
}

/// The number by which the shaders identify an activation, and the activation's slope for negative inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HeadActivation {
    kind: u32,
    slope: f32,
}

/// The number by which the shaders identify GELU. GELU is the only activation whose input is stored as well, because
/// its derivative is not a function of its output.
const GELU: u32 = 5;

impl HeadActivation {
    /// Returns the activation of a layer, or `None` if the shaders do not support it. The shaders compute every
    /// derivative except GELU's from the activation's output.
    #[must_use]
    pub fn of(layer: &dyn Layer) -> Option<Self> {
        let layer = unwrapped(layer);
        let plain = |kind| Some(Self { kind, slope: 0.0 });
        match layer.downcast_ref::<LeakyRelu>() {
            // A negative slope is not supported: the output would not show the sign of the input.
            Some(leaky) if leaky.negative_slope() >= 0.0 => Some(Self {
                kind: 3,
                slope: leaky.negative_slope(),
            }),
            _ if layer.is::<Relu>() => plain(1),
            _ if layer.is::<Sigmoid>() => plain(2),
            _ if layer.is::<Tanh>() => plain(4),
            _ if layer.is::<Gelu>() => plain(GELU),
            _ => None,
        }
    }
}

/// The number by which the shaders identify a loss, and the loss's settings. The shaders support losses in which a
/// row's term depends only on that row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadLoss {
    /// Whether the targets are classes; otherwise they are values.
    of_classes: bool,
    kind: u32,
    /// The loss's setting, for example Huber's delta.
    setting: f32,
    /// Constant factor of the loss's derivative. The shader does not compute it; the host multiplies it into
    /// `Block::scale`.
    factor: f32,
}

impl HeadLoss {
    /// Returns the number by which the shaders identify a loss, and the loss's settings.
    ///
    /// # Errors
    /// [`Unfused::AdjustedLoss`] or [`Unfused::RowLoss`] if the shaders do not support the loss.
    pub fn of(loss: &dyn Loss) -> Result<Self, Unfused> {
        let loss = unwrapped_loss(loss);
        let of_values = |kind, setting, factor| Self {
            of_classes: false,
            kind,
            setting,
            factor,
        };
        if let Some(huber) = loss.downcast_ref::<Huber>() {
            return Ok(of_values(1, huber.delta, 1.0));
        }
        if let Some(relative) = loss.downcast_ref::<RelativeL2>() {
            return Ok(of_values(3, relative.epsilon, 2.0));
        }
        match () {
            () if loss.is::<MeanSquaredError>() => Ok(of_values(0, 0.0, 2.0)),
            () if loss.is::<BinaryCrossEntropy>() => Ok(of_values(2, 0.0, 1.0)),
            () if loss.is::<SoftmaxCrossEntropy>() => Ok(Self {
                of_classes: true,
                ..of_values(0, 0.0, 1.0)
            }),
            () if loss.is::<AdjustedCrossEntropy>() => Err(Unfused::AdjustedLoss),
            () => Err(Unfused::RowLoss),
        }
    }
}

/// A fused head: its layers, its sizes, and the family of shaders that computes it.
#[derive(Debug, Clone)]
pub struct Head {
    layers: Vec<HeadLayer>,
    form: Form,
    /// Whether the head's input is the output of a `Relu`.
    rectified: bool,
    /// Stride from one row's values to the next row's, in elements.
    pitch: usize,
    /// Rows that a workgroup processes at a time.
    block: usize,
}

/// The tensors that a training step of the head reads and writes.
#[derive(Debug, Clone, Copy)]
pub struct HeadPass<'a> {
    /// All parameters of the network.
    pub parameters: &'a Tensor,
    /// Receives the gradients with respect to the parameters.
    pub gradients: &'a Tensor,
    /// Input, (rows, inputs).
    pub x: &'a Tensor,
    /// Receives the gradient with respect to `x`, if it is needed.
    pub dx: Option<&'a Tensor>,
    /// Targets: classes, (1, rows) of `u32`, or values, (rows, outputs), depending on the loss.
    pub targets: &'a Tensor,
    /// Receives the loss of every row, (1, rows).
    pub losses: &'a Tensor,
}

impl Head {
    /// Creates a head from these layers. Each layer reads the output of the previous one. `rectified` says whether the
    /// head's input is the output of a `Relu`.
    ///
    /// # Errors
    /// [`Unfused::Depth`] if there are too many layers, [`Unfused::Width`] if a row has too many values,
    /// [`Unfused::Limit`] if the device's limits are too low for the kernels.
    pub fn new(
        layers: Vec<HeadLayer>,
        rectified: bool,
        form: Form,
        gpu: &Gpu,
    ) -> Result<Self, Unfused> {
        let found = layers.len();
        if found > MOST_LAYERS {
            let most = MOST_LAYERS;
            return Err(Unfused::Depth { found, most });
        }
        form.check_limits(gpu)?;
        let made: usize = layers.iter().map(HeadLayer::columns).sum();
        // An odd stride puts neighboring rows into different banks of workgroup memory.
        let pitch = (layers.first().map_or(0, |layer| layer.inputs) + made) | 1;
        let Some(block) = form.block(pitch) else {
            return Err(Unfused::Width {
                found: pitch,
                most: form.most_columns(),
            });
        };
        Ok(Self {
            layers,
            form,
            rectified,
            pitch,
            block,
        })
    }

    /// Returns the family of shaders for this device.
    pub(crate) fn form_for(gpu: &Gpu) -> Form {
        match gpu.software_driver() {
            Some(SoftwareDriver::Lavapipe) => Form::Registers,
            None | Some(SoftwareDriver::SwiftShader) => Form::Tiles,
        }
    }

    /// Returns the number of elements per slot. A slot holds one workgroup's gradients with respect to all parameters
    /// of the head.
    fn slot(&self) -> usize {
        let size = |layer: &HeadLayer| (layer.inputs + 1) * layer.outputs;
        self.layers.iter().map(size).sum()
    }

    fn inputs(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.inputs)
    }

    fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.outputs)
    }

    /// Returns the kernels' settings for this number of rows, without those of a loss.
    fn shape(&self, rows: usize) -> Block {
        let mut layer = [LayerBlock::default(); MOST_LAYERS];
        let mut column = self.inputs();
        let mut start = 0;
        for (block, of) in layer.iter_mut().zip(&self.layers) {
            column += of.columns() - of.outputs;
            *block = LayerBlock {
                inputs: to_u32(of.inputs),
                outputs: to_u32(of.outputs),
                weight: to_u32(of.weight),
                bias: of.bias.map_or(NO_BIAS, to_u32),
                activation: of.activation.kind,
                slope: of.activation.slope,
                column: to_u32(column),
                start: to_u32(start),
            };
            column += of.outputs;
            start += (of.inputs + 1) * of.outputs;
        }
        Block {
            rows: to_u32(rows),
            layers: to_u32(self.layers.len()),
            pitch: to_u32(self.pitch),
            block: to_u32(self.block),
            workgroups: to_u32(self.workgroups(rows)),
            first: 0,
            loss: 0,
            setting: 0.0,
            scale: 0.0,
            slot: to_u32(self.slot()),
            rectified: u32::from(self.rectified),
            has_dx: 0,
            layer,
        }
    }

    /// Returns the shape of the tensor for all workgroups' gradients, and the shape of the tensor for the rows' values.
    /// The second is `None` if the values are in workgroup memory.
    #[must_use]
    pub fn scratch_shapes(&self, rows: usize) -> ([usize; 2], Option<[usize; 2]>) {
        let workgroups = self.workgroups(rows);
        let values = [workgroups, self.block * self.pitch];
        let values = (self.form == Form::Registers).then_some(values);
        ([workgroups, self.slot()], values)
    }

    /// Allocates the temporary tensors of a training step for this number of rows.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::Limit`] if the GPU cannot provide these tensors.
    pub fn scratch(&self, gpu: &Gpu, rows: usize) -> Result<HeadScratch, Error> {
        let zeros = |label, shape| Tensor::zeros(gpu, label, shape, Element::F32);
        let (slots, values) = self.scratch_shapes(rows);
        let values = values.map(|shape| zeros("values of blocks of rows", shape));
        Ok(HeadScratch {
            slots: zeros("gradients of workgroups", slots)?,
            values: values.transpose()?,
            no_dx: zeros("no gradient by the input", [1, 1])?,
        })
    }

    /// Records the losses of all rows, the gradients with respect to all parameters of the head, and, if `pass.dx` is
    /// set, the gradient with respect to the input.
    ///
    /// # Panics
    /// If the shapes do not fit together, which is a bug in the caller.
    pub fn record_training(
        &self,
        recorder: &mut Recorder<'_>,
        loss: HeadLoss,
        pass: HeadPass<'_>,
        scratch: &HeadScratch,
    ) {
        let rows = pass.x.rows();
        assert_eq!(pass.x.columns(), self.inputs(), "head_rows: x");
        assert_eq!(pass.losses.dims(), [1, rows], "head_rows: losses");
        let targets = if loss.of_classes {
            [1, rows]
        } else {
            [rows, self.outputs()]
        };
        assert_eq!(pass.targets.dims(), targets, "head_rows: targets");
        if let Some(dx) = pass.dx {
            assert_eq!(dx.dims(), pass.x.dims(), "head_rows: dx");
        }
        #[expect(clippy::cast_precision_loss, reason = "rounded once")]
        let scale = loss.factor / (targets[0] * targets[1]) as f32;
        let block = Block {
            loss: loss.kind,
            setting: loss.setting,
            scale,
            has_dx: u32::from(pass.dx.is_some()),
            ..self.shape(rows)
        };
        let dx = pass.dx.unwrap_or(&scratch.no_dx);
        let mut tensors = vec![pass.parameters, pass.x];
        tensors.extend(&scratch.values);
        tensors.extend([pass.targets, pass.losses, &scratch.slots, dx]);
        let kernels = self.form.kernels();
        let kernel = if loss.of_classes {
            kernels.train_classes
        } else {
            kernels.train_values
        };
        let cost = self.cost_of_training(&pass, rows);
        let part = |first| block.from(first);
        let workgroups = u64::from(block.workgroups);
        recorder.dispatch_in_parts(kernel, part, &tensors, workgroups, cost);
        let tensors = [&scratch.slots, pass.gradients];
        let workgroups = self.slot().div_ceil(kernels::COLUMNS_OF_SUM) as u64;
        let cost = self.cost_of_sum(rows);
        recorder.dispatch(&kernels::SUM, block, &tensors, workgroups, cost);
    }

    /// Records the output of the head for all rows. `values` is the temporary tensor for the rows' values; it is `None`
    /// if they are in workgroup memory.
    ///
    /// # Panics
    /// If the shapes do not fit together, which is a bug in the caller.
    pub fn record_forward(
        &self,
        recorder: &mut Recorder<'_>,
        parameters: &Tensor,
        [x, y]: [&Tensor; 2],
        values: Option<&Tensor>,
    ) {
        let rows = x.rows();
        assert_eq!(x.columns(), self.inputs(), "head_rows: x");
        assert_eq!(y.dims(), [rows, self.outputs()], "head_rows: y");
        let block = self.shape(rows);
        let mut tensors = vec![parameters, x];
        tensors.extend(values);
        tensors.push(y);
        let part = |first| block.from(first);
        let workgroups = u64::from(block.workgroups);
        let cost = self.cost_of_forward(rows);
        let kernel = self.form.kernels().forward;
        recorder.dispatch_in_parts(kernel, part, &tensors, workgroups, cost);
    }
}

/// Temporary tensors of a training step.
#[derive(Debug)]
pub struct HeadScratch {
    /// Gradients of each workgroup, (workgroups, gradients): see [`Head::scratch_shapes`].
    pub slots: Tensor,
    /// Values of each workgroup's block of rows: see [`Head::scratch_shapes`]. `None` if they are in workgroup memory.
    pub values: Option<Tensor>,
    /// Placeholder, (1, 1), that is bound if the gradient with respect to the input is not needed.
    pub no_dx: Tensor,
}
