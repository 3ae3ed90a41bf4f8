use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::elementwise::{WORKGROUP_SIZE, record_elements};
use super::{Backward, Forward, Layer, LayerSpec, to_u32};
use crate::error::Error;
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::reference;
use crate::shape::Shape;

/// Maximum number of degrees.
const MOST: usize = 8;

/// Real spherical harmonics of a direction: an encoding with the harmonics of the `degrees` lowest degrees.
///
/// They are for directions in space what sines and cosines are for angles. Functions that depend only on a direction,
/// such as the light that comes from it, are smooth functions of the harmonics.
///
/// The input is a vector (x, y, z) of length 1, with components from −1 to 1. Harmonic m of degree l, for m from −l to
/// l, is output l² + l + m. So there are `degrees`² outputs. The harmonics are orthonormal over the sphere, and their
/// signs follow the convention of Condon and Shortley, as in Sloan, "Stupid spherical harmonics tricks", 2008, appendix
/// A2: the first four are 0.2821, −0.4886·y, 0.4886·z, −0.4886·x.
///
/// Each harmonic is a polynomial: `N·Πₗᵐ(z)·Re (x + iy)ᵐ` for m ≥ 0 and `N·Πₗ^|m|(z)·Im (x + iy)^|m|` for m < 0. Here
/// `Πₗᵐ` is the m-th derivative of Legendre's polynomial `Pₗ`, and `N = (−1)ᵐ·√((2l+1)/4π·(l−|m|)!/(l+|m|)!)`, times √2
/// unless m is 0. The gradient with respect to the input is the gradient of these polynomials; it is not projected onto
/// the sphere.
///
/// ```
/// use wgrad::Sequential;
/// use wgrad::ndarray::array;
/// use wgrad::ops::{Linear, SphericalHarmonics};
///
/// let network = Sequential::input(3).layer(SphericalHarmonics::new(2)).layer(Linear::new(3)).on_cpu()?;
/// let encoded = &network.activations(array![[0.0, 0.6, 0.8]].view())?[1];
/// assert_eq!(encoded.values.mapv(|y| (y * 1e4).round()), array![[2821.0, -2932.0, 3909.0, 0.0]]);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SphericalHarmonics {
    degrees: usize,
}

impl SphericalHarmonics {
    /// Creates an encoding with the harmonics of degrees 0 to `degrees` − 1. `degrees` is 1 to 8.
    #[must_use]
    pub const fn new(degrees: usize) -> Self {
        Self { degrees }
    }

    /// Returns the number of degrees.
    #[must_use]
    pub const fn degrees(&self) -> usize {
        self.degrees
    }

    fn settings(&self, rows: usize) -> Settings {
        Settings {
            rows: to_u32(rows),
            degrees: to_u32(self.degrees),
        }
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Settings {
    rows: u32,
    degrees: u32,
}

static FORWARD: Kernel<Settings> = Kernel {
    shader: "spherical_harmonics",
    source: include_str!("../../shaders/spherical_harmonics.wgsl"),
    entry: "forward",
    bindings: &[Binding::read("x"), Binding::write("y")],
    fields: fields!(Settings: rows, degrees),
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

/// Upper bounds for one harmonic: operations for its value, operations for its gradient, and loop iterations for its
/// gradient, in this order.
const HARMONIC: u64 = 40;
const GRADIENT: u64 = 110;
const ROUNDS: u64 = 48;

impl Layer for SphericalHarmonics {
    fn name(&self) -> String {
        format!("SphericalHarmonics({})", self.degrees)
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        if self.degrees == 0 || self.degrees > MOST {
            let expected = format!("1 to {MOST}");
            return Err(Error::setting("number of degrees", expected, self.degrees));
        }
        if input.len() != 3 {
            let name = "input of SphericalHarmonics";
            return Err(Error::setting(name, "the 3 parts of a direction", input));
        }
        let outputs = self.degrees * self.degrees;
        Ok(LayerSpec::new(outputs).flops(HARMONIC * outputs as u64))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        let rows = pass.x.rows();
        let outputs = pass.y.len();
        assert_eq!(
            [pass.x.len(), outputs],
            [3 * rows, rows * self.degrees * self.degrees],
            "spherical_harmonics::forward: shapes"
        );
        let settings = self.settings(rows);
        record_elements(
            recorder,
            &FORWARD,
            settings,
            &[pass.x, pass.y],
            outputs,
            HARMONIC,
        );
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        let Some(dx) = pass.dx else { return Ok(()) };
        let rows = pass.x.rows();
        let outputs = self.degrees * self.degrees;
        assert_eq!(
            [pass.x.len(), pass.dy.len(), dx.len()],
            [3 * rows, rows * outputs, 3 * rows],
            "spherical_harmonics::backward: shapes"
        );
        let outputs = outputs as u64;
        let cost = Cost::new(GRADIENT * outputs * rows as u64).iterations(ROUNDS * outputs + 1);
        let tensors = [pass.x, pass.dy, dx];
        recorder.dispatch_each(&BACKWARD, self.settings(rows), &tensors, rows, cost);
        Ok(())
    }

    fn reference(&self) -> reference::Twin {
        reference::Twin::of(reference::SphericalHarmonics {
            degrees: self.degrees,
        })
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![FORWARD.contract(), BACKWARD.contract()]
}
