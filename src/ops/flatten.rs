use super::{Backward, Forward, Layer, LayerSpec, Response, add};
use crate::error::Error;
use crate::plan::Recorder;
use crate::reference;
use crate::shape::Shape;

/// Reshapes an image, or any other input, into a vector with the same values in the same order, like
/// `torch.nn.Flatten`.
///
/// [`Linear`](super::Linear) accepts any shape. A network needs this layer only where the shape makes a difference:
/// before a layer that treats channels separately, or to match the layers of a PyTorch network one by one.
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
