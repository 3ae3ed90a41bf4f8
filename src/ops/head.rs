//! The head of a network, a multilayer perceptron over rows of floats, in one dispatch: see `shaders/head_rows.wgsl`.

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

/// Linear layers that the kernels have room for.
pub(crate) const MOST_LAYERS: usize = 8;
/// Inputs and outputs of a layer: wider ones are better off in kernels of their own, which use a weight for more rows.
pub(crate) const MOST_WIDTH: usize = 128;

/// Values of a row, inputs among them: so many that the kernels have room for a tile of rows.
pub(crate) const MOST_COLUMNS: usize = 1023;

/// A linear layer of a head, and the activation behind it.
#[derive(Debug, Clone, Copy)]
pub struct HeadLayer {
    /// Width of what it takes.
    pub inputs: usize,
    /// Width of what it gives.
    pub outputs: usize,
    /// Where its weight starts among the parameters, in elements.
    pub weight: usize,
    /// Where its bias starts, if it has one.
    pub bias: Option<usize>,
    /// What is behind it.
    pub activation: HeadActivation,
}

impl HeadLayer {
    /// Values of a row that it makes.
    pub(crate) fn columns(&self) -> usize {
        self.outputs * if self.activation.kind == GELU { 2 } else { 1 }
    }
}

/// An activation, as the shaders number it, with its slope.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HeadActivation {
    kind: u32,
    slope: f32,
}

/// Its input is a value of a row as well.
const GELU: u32 = 5;

impl HeadActivation {
    /// Those that the shaders have: their derivative is a function of their output, but a GELU's.
    #[must_use]
    pub fn of(layer: &dyn Layer) -> Option<Self> {
        let layer = unwrapped(layer);
        let plain = |kind| Some(Self { kind, slope: 0.0 });
        match layer.downcast_ref::<LeakyRelu>() {
            // A falling line would hide the sign of its input.
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

/// A loss that is local to a row, as the shaders number it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadLoss {
    /// Classes, or values.
    of_classes: bool,
    kind: u32,
    /// Of the loss, as its shader names it.
    setting: f32,
    /// Which the derivatives of its terms lack.
    factor: f32,
}

impl HeadLoss {
    /// Those that the shaders have.
    ///
    /// # Errors
    /// [`Unfused::AdjustedLoss`] or [`Unfused::RowLoss`] for another.
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

/// The sizes of a head, and the kernels for it.
#[derive(Debug, Clone)]
pub struct Head {
    layers: Vec<HeadLayer>,
    form: Form,
    /// Whether a `Relu` has made its rows.
    rectified: bool,
    /// Elements of a row of values, from one to the next.
    pitch: usize,
    /// Rows that a workgroup takes at a time.
    block: usize,
}

/// What a step of training reads and writes.
#[derive(Debug, Clone, Copy)]
pub struct HeadPass<'a> {
    /// All parameters of the network.
    pub parameters: &'a Tensor,
    /// Where the gradients by them go.
    pub gradients: &'a Tensor,
    /// (rows, inputs).
    pub x: &'a Tensor,
    /// Where the gradient by those goes, if anybody reads it.
    pub dx: Option<&'a Tensor>,
    /// As the loss takes them.
    pub targets: &'a Tensor,
    /// (1, rows).
    pub losses: &'a Tensor,
}

impl Head {
    /// A head of these layers, of which each takes what the one before gives.
    ///
    /// # Errors
    /// [`Unfused::Depth`] or [`Unfused::Width`] when the kernels have no room for so many, [`Unfused::Limit`] when the
    /// device does not run them.
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
        // Odd, so that neighbouring rows lie in other banks of workgroup memory.
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

    /// The kernels that suit a device.
    pub(crate) fn form_for(gpu: &Gpu) -> Form {
        match gpu.software_driver() {
            Some(SoftwareDriver::Lavapipe) => Form::Registers,
            None | Some(SoftwareDriver::SwiftShader) => Form::Tiles,
        }
    }

    /// Gradients by parameters of one slot.
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

    /// What the kernels are told, but for a loss.
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

    /// Shapes of the gradients of workgroups, and of values that do not lie in workgroup memory.
    #[must_use]
    pub fn scratch_shapes(&self, rows: usize) -> ([usize; 2], Option<[usize; 2]>) {
        let workgroups = self.workgroups(rows);
        let values = [workgroups, self.block * self.pitch];
        let values = (self.form == Form::Registers).then_some(values);
        ([workgroups, self.slot()], values)
    }

    /// Memory that a step of so many rows needs.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::Limit`] when the GPU has none.
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

    /// Records the losses of all rows, the gradients by all parameters of the head, and that by its input where it is
    /// wanted.
    ///
    /// # Panics
    /// When the shapes do not fit together: a bug in the caller.
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

    /// Records what the head gives for rows; `values` are memory for those that do not lie in that of workgroups.
    ///
    /// # Panics
    /// When the shapes do not fit together: a bug in the caller.
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

/// What a step writes for itself alone.
#[derive(Debug)]
pub struct HeadScratch {
    /// (workgroups, gradients): see [`Head::scratch_shapes`].
    pub slots: Tensor,
    /// Those of blocks of rows.
    pub values: Option<Tensor>,
    /// Bound where no gradient by the input is wanted, (1, 1).
    pub no_dx: Tensor,
}
