use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::elementwise::WORKGROUP_SIZE;
use super::update::check_above_zero;
use super::{Backward, Forward, KeptSpec, Layer, LayerSpec, ParameterSpec, to_u32};
use crate::error::Error;
use crate::fields;
use crate::init::Init;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::reference;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Layer normalization: normalizes each row to mean 0 and variance 1, then scales and shifts it.
///
/// This is `torch.nn.LayerNorm` over the whole shape of an example (Ba, Kiros and Hinton, 2016).
///
/// `y = weight·(x − mean)/√(variance + eps) + bias`. The mean is taken over all features of a row, and the variance is
/// the sum of the squared deviations divided by the number of features. `weight` starts at 1 and `bias` at 0. Both have
/// the shape of the input, and weight decay does not apply to them. The layer behaves the same in training and
/// evaluation.
///
/// ```
/// use wgrad::Sequential;
/// use wgrad::ops::{LayerNorm, Linear};
///
/// let network = Sequential::input([3, 8, 8]).layer(LayerNorm::new()).layer(Linear::new(10));
/// let network = network.on_cpu()?;
/// assert_eq!(network.parameters()["layers.0.weight"].shape(), [3, 8, 8]);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerNorm {
    pub(super) eps: f32,
}

impl Default for LayerNorm {
    fn default() -> Self {
        Self::new()
    }
}

impl LayerNorm {
    /// Creates the layer with PyTorch's default: `eps` 1e-5.
    #[must_use]
    pub const fn new() -> Self {
        Self { eps: 1e-5 }
    }

    /// Sets the number, above 0, that is added to the variance before the square root is taken.
    #[must_use]
    pub const fn eps(self, eps: f32) -> Self {
        Self { eps }
    }

    /// Returns the number that is added to the variance.
    pub(crate) const fn epsilon(&self) -> f32 {
        self.eps
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Settings {
    rows: u32,
    columns: u32,
    lanes: u32,
    eps: f32,
}

const X: Binding = Binding::read("x");

static FORWARD: Kernel<Settings> = Kernel {
    shader: "layer_norm",
    source: include_str!("../../shaders/layer_norm.wgsl"),
    entry: "forward",
    bindings: &[
        X,
        Binding::read("weight"),
        Binding::read("bias"),
        Binding::write("y"),
        Binding::write("mean"),
        Binding::write("inverse"),
    ],
    fields: fields!(Settings: rows, columns, lanes, eps),
    constants: &[],
    workgroup_size: WORKGROUP_SIZE,
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

static BACKWARD_INPUT: Kernel<Settings> = Kernel {
    entry: "backward_input",
    bindings: &[
        X,
        Binding::read("weight"),
        Binding::read("row_mean"),
        Binding::read("row_inverse"),
        Binding::read("dy"),
        Binding::write("dx"),
    ],
    ..FORWARD
};

static BACKWARD_PARAMETERS: Kernel<Settings> = Kernel {
    entry: "backward_parameters",
    bindings: &[
        X,
        Binding::read("mean_of_row"),
        Binding::read("inverse_of_row"),
        Binding::read("gradient"),
        Binding::write("dweight"),
        Binding::write("dbias"),
    ],
    ..FORWARD
};

/// Operations per value in a forward pass: 1 for the sum, 4 for the deviations, 4 for computing `y` from `x`.
const FLOPS: u64 = 1 + 4 + 4;
/// Columns per workgroup of the kernel that sums over rows, and invocations per column.
const SIDE: usize = 16;

impl LayerNorm {
    /// Records a kernel that reads each row `passes` times.
    fn record_rows(
        self,
        recorder: &mut Recorder<'_>,
        kernel: &'static Kernel<Settings>,
        tensors: &[&Tensor],
        flops: u64,
        passes: u64,
    ) {
        let block = self.block(tensors[0]);
        let rows = u64::from(block.rows);
        let columns = u64::from(block.columns);
        let lanes = u64::from(block.lanes);
        // Each sum is reduced over the invocations in at most nine iterations, including the loop's final test.
        let iterations = passes * (columns.div_ceil(lanes) + 1 + 9);
        let cost = Cost::new(flops * rows * columns).iterations(iterations);
        let workgroups = rows.div_ceil(256 / lanes);
        recorder.dispatch(kernel, block, tensors, workgroups, cost);
    }

    /// Returns the kernels' settings. Each invocation (lane) takes about four columns of a row, or more if the row has
    /// more than 1,024 columns.
    fn block(self, x: &Tensor) -> Settings {
        let lanes = x.columns().div_ceil(4).next_power_of_two().min(256);
        Settings {
            rows: to_u32(x.rows()),
            columns: to_u32(x.columns()),
            lanes: to_u32(lanes),
            eps: self.eps,
        }
    }
}

impl Layer for LayerNorm {
    fn name(&self) -> String {
        format!("LayerNorm(eps {:e})", self.eps)
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        check_above_zero("eps", self.eps)?;
        let of_input = |name, init| ParameterSpec::new(name, *input, init).without_decay();
        Ok(LayerSpec::new(*input)
            .parameter(of_input("weight", Init::Ones))
            .parameter(of_input("bias", Init::Zeros))
            .kept(KeptSpec::per_row("mean", 1))
            .kept(KeptSpec::per_row("inverse", 1))
            .flops((input.len() as u64).saturating_mul(FLOPS)))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        let [weight, bias] = [0, 1].map(|i| &pass.parameters[i]);
        let tensors = [pass.x, weight, bias, pass.y, &pass.kept[0], &pass.kept[1]];
        self.record_rows(recorder, &FORWARD, &tensors, FLOPS, 3);
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        let [mean, inverse] = [0, 1].map(|i| &pass.kept[i]);
        let [dweight, dbias] = [0, 1].map(|i| &pass.gradients[i]);
        let block = self.block(pass.x);
        let cost = Cost::new(5 * pass.x.len() as u64)
            .iterations((pass.x.rows().div_ceil(SIDE) + 1 + SIDE) as u64);
        let workgroups = pass.x.columns().div_ceil(SIDE) as u64;
        let tensors = [pass.x, mean, inverse, pass.dy, dweight, dbias];
        recorder.dispatch(&BACKWARD_PARAMETERS, block, &tensors, workgroups, cost);
        if let Some(dx) = pass.dx {
            let tensors = [pass.x, &pass.parameters[0], mean, inverse, pass.dy, dx];
            self.record_rows(recorder, &BACKWARD_INPUT, &tensors, 12, 2);
        }
        Ok(())
    }

    fn reference(&self) -> reference::Twin {
        reference::Twin::of(reference::LayerNorm {
            eps: self.eps.into(),
        })
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    let kernels = [&FORWARD, &BACKWARD_INPUT, &BACKWARD_PARAMETERS];
    kernels.into_iter().map(Kernel::contract).collect()
}
