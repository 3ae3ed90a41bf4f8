use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::elementwise::{WORKGROUP_SIZE, record_elements, record_loops};
use super::{Backward, Forward, Layer, LayerSpec, to_u32};
use crate::error::Error;
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::plan::Recorder;
use crate::reference;
use crate::shape::Shape;

/// Maximum number of bins.
const MOST: usize = 1024;

/// One-blob encoding of numbers in 0 to 1: a smooth form of one-hot encoding over bins.
///
/// An input of `n` numbers gives `bins`·`n` outputs: first all bins of the first number, then all bins of the next. For
/// a number `x`, output `k` is `y_k = exp(−u²/2)` with `u = bins·x − (k + ½)`: a Gaussian around `x`, evaluated at the
/// center of bin `k`. Its standard deviation is the width of a bin (Müller et al., "Neural importance sampling", 2019),
/// and its maximum is 1, like the 1 in one-hot encoding. The further a number is outside of 0 to 1, the closer all its
/// outputs are to 0. The backward pass computes `dx = −bins·Σ_k dy_k·u·y_k`.
///
/// ```
/// use wgrad::Sequential;
/// use wgrad::ndarray::array;
/// use wgrad::ops::{Linear, OneBlob};
///
/// let network = Sequential::input(1).layer(OneBlob::new(4)).layer(Linear::new(1)).on_cpu()?;
/// let encoded = &network.activations(array![[0.625]].view())?[1];
/// // Centers at 0.125, 0.375, 0.625 and 0.875.
/// assert_eq!(encoded.values.mapv(|y| (y * 1e3).round()), array![[135.0, 607.0, 1000.0, 607.0]]);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneBlob {
    bins: usize,
}

impl OneBlob {
    /// Creates an encoding with this number of bins, 1 to 1,024.
    #[must_use]
    pub const fn new(bins: usize) -> Self {
        Self { bins }
    }

    /// Returns the number of bins.
    #[must_use]
    pub const fn bins(&self) -> usize {
        self.bins
    }

    fn settings(&self, elements: usize) -> Settings {
        Settings {
            elements: to_u32(elements),
            bins: to_u32(self.bins),
        }
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Settings {
    elements: u32,
    bins: u32,
}

static FORWARD: Kernel<Settings> = Kernel {
    shader: "one_blob",
    source: concat!(
        include_str!("../../shaders/is_nan.wgsl"),
        include_str!("../../shaders/one_blob.wgsl"),
    ),
    entry: "forward",
    bindings: &[Binding::read("x"), Binding::write("y")],
    fields: fields!(Settings: elements, bins),
    constants: &[],
    workgroup_size: WORKGROUP_SIZE,
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

static BACKWARD: Kernel<Settings> = Kernel {
    entry: "backward",
    bindings: &[
        Binding::read("x"),
        Binding::read("dy"),
        Binding::write("dx"),
    ],
    ..FORWARD
};

/// Operations that compute one Gaussian.
const BLOB: u64 = 8;

impl Layer for OneBlob {
    fn name(&self) -> String {
        format!("OneBlob({})", self.bins)
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        if self.bins == 0 || self.bins > MOST {
            let expected = format!("1 to {MOST}");
            return Err(Error::setting("number of bins", expected, self.bins));
        }
        let outputs = input.len().saturating_mul(self.bins);
        Ok(LayerSpec::new(outputs).flops(BLOB * outputs as u64))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        let elements = pass.x.len();
        let outputs = pass.y.len();
        assert_eq!(outputs, elements * self.bins, "one_blob::forward: shapes");
        let settings = self.settings(elements);
        record_elements(
            recorder,
            &FORWARD,
            settings,
            &[pass.x, pass.y],
            outputs,
            BLOB,
        );
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        let Some(dx) = pass.dx else { return Ok(()) };
        let elements = pass.x.len();
        let lengths = [pass.dy.len(), dx.len()];
        assert_eq!(
            lengths,
            [elements * self.bins, elements],
            "one_blob::backward: shapes"
        );
        let tensors = [pass.x, pass.dy, dx];
        let loops = (self.bins, BLOB + 3);
        record_loops(
            recorder,
            &BACKWARD,
            self.settings(elements),
            &tensors,
            elements,
            loops,
        );
        Ok(())
    }

    fn reference(&self) -> reference::Twin {
        reference::Twin::of(reference::OneBlob { bins: self.bins })
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![FORWARD.contract(), BACKWARD.contract()]
}
