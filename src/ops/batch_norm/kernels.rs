//! The kernels of batch normalization, and the code that records its passes.

use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use crate::error::Error;
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Element, Kernel, Trust};
use crate::ops::elementwise::{WORKGROUP_SIZE, record_elements};
use crate::ops::{Backward, Forward, Mode, to_u32};
use crate::plan::{Cost, Recorder};
use crate::tensor::Tensor;

/// Operations per value in a training step's forward pass: 1 for the sum, 4 for the deviations, and `NORMALIZE` for
/// computing `y` from `x`.
pub(super) const FLOPS: u64 = 1 + 4 + NORMALIZE;
const NORMALIZE: u64 = 4;
const SUM_GRADIENTS: u64 = 5;
const BACKWARD_INPUT: u64 = 8;

/// Invocations per workgroup of the kernels that sum.
const INVOCATIONS: usize = 256;
/// Maximum number of channels per workgroup of the kernels that sum: 16 neighboring features fill a GPU's cache line.
const MOST_WIDTH: usize = 16;
/// Values per invocation of the kernels that sum, unless a channel would then have more than [`MOST_PIECES`] pieces.
const ROUNDS: usize = 16;
/// Maximum number of pieces into which a channel's values are split. A workgroup sums each piece; then one invocation
/// merges a channel's pieces.
const MOST_PIECES: usize = 64;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Shape {
    values: u32,
    channels: u32,
    positions: u32,
    width: u32,
    pieces: u32,
    piece: u32,
    hop: u32,
    shift: u32,
    elements: u32,
    stride_position: u32,
    stride_channel: u32,
    eps: f32,
    momentum: f32,
    share: f32,
}

const X: Binding = Binding::read("x");

const MEASURE: Kernel<Shape> = Kernel {
    shader: "batch_norm",
    source: concat!(
        include_str!("../../../shaders/batch_norm_shape.wgsl"),
        include_str!("../../../shaders/batch_norm.wgsl"),
    ),
    entry: "measure",
    bindings: &[X, Binding::write("moments")],
    fields: fields!(Shape: values, channels, positions, width, pieces, piece, hop, shift, elements,
                    stride_position, stride_channel, eps, momentum, share),
    constants: &[],
    workgroup_size: WORKGROUP_SIZE,
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

static MEASURED: Kernel<Shape> = MEASURE;

static MERGE: Kernel<Shape> = Kernel {
    entry: "merge",
    bindings: &[
        Binding::read("measured"),
        Binding::write("mean"),
        Binding::write("inverse"),
        Binding::write("running_mean"),
        Binding::write("running_var"),
    ],
    workgroup_size: [64, 1, 1],
    ..MEASURE
};

static TAKE_RUNNING: Kernel<Shape> = Kernel {
    entry: "take_running",
    bindings: &[
        Binding::read("known_mean"),
        Binding::write("mean"),
        Binding::write("inverse"),
        Binding::read("known_var"),
    ],
    workgroup_size: [64, 1, 1],
    ..MEASURE
};

static NORMALIZED: Kernel<Shape> = Kernel {
    entry: "normalize",
    bindings: &[
        X,
        Binding::read("channel_mean"),
        Binding::read("channel_inverse"),
        Binding::read("weight"),
        Binding::read("bias"),
        Binding::write("y"),
    ],
    ..MEASURE
};

const SUMMED: Kernel<Shape> = Kernel {
    shader: "batch_norm_backward",
    source: concat!(
        include_str!("../../../shaders/batch_norm_shape.wgsl"),
        include_str!("../../../shaders/batch_norm_backward.wgsl"),
    ),
    entry: "sum_gradients",
    bindings: &[
        X,
        Binding::read("mean"),
        Binding::read("inverse"),
        Binding::read("dy"),
        Binding::write("sums"),
    ],
    ..MEASURE
};

static GRADIENTS: Kernel<Shape> = SUMMED;

static MERGE_GRADIENTS: Kernel<Shape> = Kernel {
    entry: "merge_gradients",
    bindings: &[
        Binding::read("pieces"),
        Binding::write("dweight"),
        Binding::write("dbias"),
    ],
    workgroup_size: [64, 1, 1],
    ..SUMMED
};

static INPUT: Kernel<Shape> = Kernel {
    entry: "backward_input",
    bindings: &[
        X,
        Binding::read("mean"),
        Binding::read("inverse"),
        Binding::read("dy"),
        Binding::read("weight"),
        Binding::read("of_weight"),
        Binding::read("of_bias"),
        Binding::write("dx"),
    ],
    ..SUMMED
};

/// The sizes of a minibatch's channels, and how the sums over them are split.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channels {
    values: usize,
    channels: usize,
    positions: usize,
    /// Channels per workgroup.
    width: usize,
    pieces: usize,
    /// Number of values of a channel in one piece: see [`MOST_PIECES`].
    piece: usize,
    eps: f32,
}

impl Channels {
    pub(super) fn new(x: &Tensor, eps: f32) -> Self {
        let channels = x.row_shape().extents()[0];
        let positions = x.columns() / channels;
        let values = x.rows() * positions;
        // With many positions, neighboring positions of a single channel fill the cache line.
        let width = if positions < MOST_WIDTH {
            channels.next_power_of_two().min(MOST_WIDTH)
        } else {
            1
        };
        let lanes = INVOCATIONS / width;
        let least = values.div_ceil(MOST_PIECES).next_multiple_of(lanes);
        let piece = least.max(ROUNDS * lanes);
        Self {
            values,
            channels,
            positions,
            width,
            pieces: values.div_ceil(piece),
            piece,
            eps,
        }
    }

    fn elements(&self) -> usize {
        self.values * self.channels
    }

    /// Returns the kernels' settings. `share` is the weight of one value in its channel's mean.
    fn shape(&self, momentum: f32, share: f32) -> Shape {
        let lanes = INVOCATIONS / self.width;
        let rows = lanes / self.positions;
        let shift = lanes % self.positions;
        let passed = INVOCATIONS / self.positions;
        Shape {
            values: to_u32(self.values),
            channels: to_u32(self.channels),
            positions: to_u32(self.positions),
            width: to_u32(self.width),
            pieces: to_u32(self.pieces),
            piece: to_u32(self.piece),
            // The product wraps around only if the hop leads past the last value, where the kernel does not read.
            hop: to_u32(rows)
                .wrapping_mul(to_u32(self.channels * self.positions))
                .wrapping_add(to_u32(shift)),
            shift: to_u32(shift),
            elements: to_u32(self.elements()),
            stride_position: to_u32(INVOCATIONS % self.positions),
            stride_channel: to_u32(passed % self.channels),
            eps: self.eps,
            momentum,
            share,
        }
    }

    /// Allocates a temporary tensor for two sums per piece and channel.
    fn room(&self, recorder: &Recorder<'_>) -> Result<Tensor, Error> {
        let shape = [self.pieces, 2 * self.channels];
        Tensor::zeros(recorder.gpu(), "pieces of batch norm", shape, Element::F32)
    }

    /// Records a kernel that sums the values of each piece. The kernel reads each piece `passes` times.
    fn record_pieces(
        &self,
        recorder: &mut Recorder<'_>,
        kernel: &'static Kernel<Shape>,
        tensors: &[&Tensor],
        flops: u64,
        passes: u64,
    ) {
        let rounds = (self.piece * self.width / INVOCATIONS) as u64;
        // In addition, a workgroup reduces its sums in at most nine iterations, including the loop's final test.
        let cost = Cost::new(flops * self.elements() as u64).iterations(passes * (rounds + 1 + 9));
        let workgroups = (self.channels.div_ceil(self.width) * self.pieces) as u64;
        recorder.dispatch(kernel, self.shape(0.0, 0.0), tensors, workgroups, cost);
    }

    /// Records a kernel with one invocation per channel.
    fn record_channels(
        &self,
        recorder: &mut Recorder<'_>,
        kernel: &'static Kernel<Shape>,
        shape: Shape,
        tensors: &[&Tensor],
        flops: usize,
    ) {
        let cost = Cost::new((flops * self.channels) as u64).iterations(self.pieces as u64 + 1);
        recorder.dispatch_each(kernel, shape, tensors, self.channels, cost);
    }

    /// Records the kernels that write the minibatch's means and inverse standard deviations into `kept`, and then
    /// update the running means and variances.
    pub(super) fn measure(
        &self,
        recorder: &mut Recorder<'_>,
        pass: Forward<'_>,
        momentum: f32,
    ) -> Result<(), Error> {
        let moments = self.room(recorder)?;
        self.record_pieces(
            recorder,
            &MEASURED,
            &[pass.x, &moments],
            FLOPS - NORMALIZE,
            2,
        );
        let tensors = [
            &moments,
            &pass.kept[0],
            &pass.kept[1],
            &pass.state[0],
            &pass.state[1],
        ];
        let flops = 8 * self.pieces + 10;
        let shape = self.shape(momentum, 0.0);
        self.record_channels(recorder, &MERGE, shape, &tensors, flops);
        Ok(())
    }

    /// Records the kernel that writes the running means, and the inverse of the running standard deviations, into
    /// `kept`.
    pub(super) fn take_running(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) {
        let tensors = [&pass.state[0], &pass.kept[0], &pass.kept[1], &pass.state[1]];
        let shape = self.shape(0.0, 0.0);
        self.record_channels(recorder, &TAKE_RUNNING, shape, &tensors, 2);
    }

    pub(super) fn normalize(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) {
        let [weight, bias] = [0, 1].map(|i| &pass.parameters[i]);
        let tensors = [pass.x, &pass.kept[0], &pass.kept[1], weight, bias, pass.y];
        let shape = self.shape(0.0, 0.0);
        let elements = self.elements();
        record_elements(recorder, &NORMALIZED, shape, &tensors, elements, NORMALIZE);
    }

    /// Records the gradients with respect to the parameters.
    pub(super) fn sum_gradients(
        &self,
        recorder: &mut Recorder<'_>,
        pass: Backward<'_>,
    ) -> Result<(), Error> {
        let sums = self.room(recorder)?;
        let tensors = [pass.x, &pass.kept[0], &pass.kept[1], pass.dy, &sums];
        self.record_pieces(recorder, &GRADIENTS, &tensors, SUM_GRADIENTS, 1);
        let tensors = [&sums, &pass.gradients[0], &pass.gradients[1]];
        let shape = self.shape(0.0, 0.0);
        let flops = 2 * self.pieces;
        self.record_channels(recorder, &MERGE_GRADIENTS, shape, &tensors, flops);
        Ok(())
    }

    /// Records the gradient with respect to `x`, if it is needed. The kernel reads the gradients with respect to the
    /// parameters.
    pub(super) fn backward_input(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) {
        let Some(dx) = pass.dx else { return };
        let share = match pass.mode {
            Mode::Training(_) => 1.0 / self.values as f32,
            Mode::Evaluation => 0.0,
        };
        let tensors = [
            pass.x,
            &pass.kept[0],
            &pass.kept[1],
            pass.dy,
            &pass.parameters[0],
            &pass.gradients[0],
            &pass.gradients[1],
            dx,
        ];
        let shape = self.shape(0.0, share);
        let elements = self.elements();
        record_elements(recorder, &INPUT, shape, &tensors, elements, BACKWARD_INPUT);
    }
}

pub(in crate::ops) fn contracts() -> Vec<Contract> {
    let forward = [&MEASURED, &MERGE, &TAKE_RUNNING, &NORMALIZED];
    let backward = [&GRADIENTS, &MERGE_GRADIENTS, &INPUT];
    let kernels = forward.into_iter().chain(backward);
    kernels.map(Kernel::contract).collect()
}
