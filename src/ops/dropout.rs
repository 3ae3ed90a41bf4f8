use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::elementwise::{WORKGROUP_SIZE, record_elements};
use super::update::{check_below_one, to_f32};
use super::{Backward, Draw, Forward, Layer, LayerSpec, Mode, Response, to_u32};
use crate::error::Error;
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::plan::Recorder;
use crate::reference;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Dropout (Srivastava et al., 2014), like `torch.nn.Dropout`: sets random elements to 0 during training.
///
/// In a training step, each element becomes 0 with probability `p`; otherwise it is multiplied by `1/(1 − p)`. Outside
/// of training, `y = x`.
///
/// Whether an element is dropped depends only on the network's [seed](crate::Sequential::seed), the layer's position in
/// the network, the number of the step, and the element's index. So the same elements are dropped on every device, and
/// after a training is resumed.
///
/// ```
/// use wgrad::Sequential;
/// use wgrad::ops::{Dropout, Linear, Relu};
///
/// let spec = Sequential::input(784).layer(Linear::new(50)).layer(Relu);
/// let spec = spec.layer(Dropout::new(0.5)).layer(Linear::new(10)).seed(1);
/// # assert!(spec.output().is_ok());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    p: f32,
}

impl Dropout {
    /// Creates a layer that drops each element with probability `p`: at least 0 and below 1.
    #[must_use]
    pub const fn new(p: f32) -> Self {
        Self { p }
    }

    /// Returns the probability that an element is dropped.
    #[must_use]
    pub const fn p(&self) -> f32 {
        self.p
    }

    /// Returns `p·2³²`, rounded up. An element is dropped if its random 32-bit word is below this number.
    pub(crate) fn threshold(self) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "p is 0 to 1 − 2⁻²⁴, as checked when the network was built"
        )]
        let threshold = (f64::from(self.p) * 2.0f64.powi(32)).ceil() as u32;
        threshold
    }

    /// Returns the factor of the elements that are not dropped.
    pub(crate) fn scale(self) -> f64 {
        1.0 / (1.0 - f64::from(self.p))
    }

    fn record(self, recorder: &mut Recorder<'_>, mode: Mode<'_>, x: &Tensor, y: &Tensor) {
        assert_eq!(x.dims(), y.dims(), "dropout: shapes");
        let elements = x.len();
        let settings = Settings {
            elements: to_u32(elements),
            threshold: self.threshold(),
            scale: to_f32(self.scale()),
            ..Settings::default()
        };
        match mode {
            Mode::Evaluation => record_elements(recorder, &PASS_ON, settings, &[x, y], elements, 0),
            Mode::Training(Draw { key, step_count }) => {
                let [key0, key1] = key;
                let settings = Settings {
                    key0,
                    key1,
                    ..settings
                };
                record_elements(recorder, &DROP, settings, &[x, y, step_count], elements, 1);
            }
        }
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
struct Settings {
    key0: u32,
    key1: u32,
    elements: u32,
    threshold: u32,
    scale: f32,
}

const X: Binding = Binding::read("x");
const Y: Binding = Binding::write("y");

static DROP: Kernel<Settings> = Kernel {
    shader: "dropout",
    source: concat!(
        include_str!("../../shaders/threefry.wgsl"),
        include_str!("../../shaders/dropout.wgsl")
    ),
    entry: "drop",
    bindings: &[X, Y, Binding::read("step_count").of_u32()],
    fields: fields!(Settings: key0, key1, elements, threshold, scale),
    constants: &[],
    workgroup_size: WORKGROUP_SIZE,
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

static PASS_ON: Kernel<Settings> = Kernel {
    entry: "pass_on",
    bindings: &[X, Y],
    ..DROP
};

impl Layer for Dropout {
    fn name(&self) -> String {
        format!("Dropout({})", self.p)
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        check_below_one("p", self.p)?;
        Ok(LayerSpec::new(*input).response(Response::PassesOn))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        self.record(recorder, pass.mode, pass.x, pass.y);
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        if let Some(dx) = pass.dx {
            self.record(recorder, pass.mode, pass.dy, dx);
        }
        Ok(())
    }

    fn reference(&self) -> reference::Twin {
        reference::Twin::of(reference::Dropout { p: self.p.into() })
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![DROP.contract(), PASS_ON.contract()]
}
