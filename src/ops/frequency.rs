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

/// Maximum number of octaves. The highest octave then has 2³¹ times the frequency of the lowest.
const MOST: usize = 32;

/// Frequency encoding of coordinates: sines and cosines of each input, in several octaves.
///
/// With this encoding, a network of `Linear` layers can learn the fine detail of an image or a shape. Without it, the
/// network would smooth the detail out.
///
/// An input of `n` numbers gives 2·`octaves`·`n` outputs: first all `octaves` pairs for the first number, then those
/// for the next. The pairs of a number `x` are `sin(2⁰πx), cos(2⁰πx), sin(2¹πx), cos(2¹πx), …`, as in Mildenhall et
/// al., "Representing scenes as neural radiance fields for view synthesis", 2020, formula 4. The lowest octave has a
/// period of 2, so inputs should lie in −1…1 or in 0…1. Use [`concat`](crate::Sequential::concat) to add the inputs
/// themselves to the encoding.
///
/// ```
/// use wgrad::Sequential;
/// use wgrad::ndarray::array;
/// use wgrad::ops::{Frequency, Linear, Relu};
///
/// // From a position in an image to a color.
/// let network = Sequential::input(2).layer(Frequency::new(8)).layer(Linear::new(64)).layer(Relu);
/// let network = network.layer(Linear::new(3)).on_cpu()?;
/// assert_eq!(network.predict(array![[0.25, 0.75]].view())?.dim(), (1, 3));
///
/// // Behind the input stands the encoding: sin(π/2), cos(π/2), sin(π), cos(π).
/// let network = Sequential::input(1).layer(Frequency::new(2)).layer(Linear::new(1)).on_cpu()?;
/// let encoded = &network.activations(array![[0.5]].view())?[1];
/// assert_eq!(encoded.values, array![[1.0, 0.0, 0.0, -1.0]]);
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// On every device, sine and cosine have an error of at most 1.5 units in the last place (3·2⁻²⁴, relative), for any
/// octave and any `f32`: the kernel subtracts whole periods exactly, and evaluates its own polynomials for the
/// remainder. An infinite input gives NaN. The backward pass computes
/// `dx = Σ 2ˡπ·(cos(2ˡπx)·dy_sin − sin(2ˡπx)·dy_cos)` over the octaves `l`, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "positional encoding")]
#[doc(alias = "NeRF")]
pub struct Frequency {
    octaves: usize,
}

impl Frequency {
    /// Creates an encoding with this number of octaves, 1 to 32.
    #[must_use]
    pub const fn new(octaves: usize) -> Self {
        Self { octaves }
    }

    /// Returns the number of octaves.
    #[must_use]
    pub const fn octaves(&self) -> usize {
        self.octaves
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Settings {
    elements: u32,
    octaves: u32,
}

static FORWARD: Kernel<Settings> = Kernel {
    shader: "frequency",
    source: include_str!("../../shaders/frequency.wgsl"),
    entry: "forward",
    bindings: &[Binding::read("x"), Binding::write("y")],
    fields: fields!(Settings: elements, octaves),
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

/// Operations that compute one sine and its cosine.
const WAVE: u64 = 24;

impl Frequency {
    fn settings(&self, elements: usize) -> Settings {
        Settings {
            elements: to_u32(elements),
            octaves: to_u32(self.octaves),
        }
    }
}

impl Layer for Frequency {
    fn name(&self) -> String {
        format!("Frequency({})", self.octaves)
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        if self.octaves == 0 || self.octaves > MOST {
            let expected = format!("1 to {MOST}");
            return Err(Error::setting("number of octaves", expected, self.octaves));
        }
        let waves = input.len().saturating_mul(self.octaves);
        Ok(LayerSpec::new(waves.saturating_mul(2)).flops(WAVE * waves as u64))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        let elements = pass.x.len();
        let waves = elements * self.octaves;
        assert_eq!(pass.y.len(), 2 * waves, "frequency::forward: shapes");
        let tensors = [pass.x, pass.y];
        record_elements(
            recorder,
            &FORWARD,
            self.settings(elements),
            &tensors,
            waves,
            WAVE,
        );
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        let Some(dx) = pass.dx else { return Ok(()) };
        let elements = pass.x.len();
        assert_eq!(
            [pass.dy.len(), dx.len()],
            [2 * elements * self.octaves, elements],
            "frequency::backward: shapes"
        );
        let tensors = [pass.x, pass.dy, dx];
        let loops = (self.octaves, WAVE + 6);
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
        reference::Twin::of(reference::Frequency {
            octaves: self.octaves,
        })
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![FORWARD.contract(), BACKWARD.contract()]
}
