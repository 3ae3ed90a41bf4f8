use super::{Backward, Forward, Layer, LayerSpec, Response, add};
use crate::error::Error;
use crate::plan::Recorder;
use crate::reference;
use crate::shape::Shape;

/// Makes a vector of an image or whatever has several extents, as `torch.nn.Flatten`: the same values in the same order.
///
/// [`Linear`](super::Linear) takes any shape as it is, so that a network needs this layer only where a shape makes a
/// difference: before a layer that treats channels apart, or to have the layers of a PyTorch network one by one.
///
/// ```
/// use wgrad::Sequential;
/// use wgrad::ops::{Conv2d, Flatten};
///
/// let filtered = Sequential::input([1, 28, 28]).layer(Conv2d::new(30, 5)); // 30×24×24
/// assert_eq!(filtered.layer(Flatten).output()?, 17_280.into());
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Flatten;

impl Layer for Flatten {
    fn name(&self) -> String {
        "Flatten".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        let spec = LayerSpec::new(input.len()).response(Response::PassesOn);
        Ok(spec.flops(0))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        add::copy(recorder, pass.x, pass.y);
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        if let Some(dx) = pass.dx {
            add::copy(recorder, pass.dy, dx);
        }
        Ok(())
    }

    fn reference(&self) -> reference::Twin {
        reference::Twin::of(reference::Flatten)
    }
}
