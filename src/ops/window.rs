//! Windows that slide over images, shared by convolution and pooling.

use crate::error::Error;
use crate::shape::Shape;

/// Maximum kernel size, stride, padding or dilation along one axis. With this maximum, pixel positions fit in 32 bits
/// for every image that fits in a buffer.
const MOST: usize = u16::MAX as usize;

/// Height and width of a kernel, a stride, a padding or a dilation. Created from one number for both, or from
/// `[height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size2 {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
}

impl Size2 {
    pub(crate) const fn as_array(self) -> [usize; 2] {
        [self.height, self.width]
    }
}

impl From<usize> for Size2 {
    fn from(both: usize) -> Self {
        Self::from([both, both])
    }
}

impl From<[usize; 2]> for Size2 {
    fn from([height, width]: [usize; 2]) -> Self {
        Self { height, width }
    }
}

impl std::fmt::Display for Size2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}×{}", self.height, self.width)
    }
}

/// A window that slides over an image. It covers `kernel` pixels, which are `dilation` apart. Its positions are
/// `stride` apart. The image has a border of `padding` around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: Size2,
    pub(crate) stride: Size2,
    pub(crate) padding: Size2,
    pub(crate) dilation: Size2,
}

impl Window {
    /// Creates a window of adjacent pixels, with stride 1 and no padding.
    pub(crate) fn new(kernel: Size2) -> Self {
        Self {
            kernel,
            stride: Size2::from(1),
            padding: Size2::from(0),
            dilation: Size2::from(1),
        }
    }

    /// Creates windows that lie side by side: the stride equals the kernel size.
    pub(crate) fn beside(kernel: Size2) -> Self {
        Self {
            stride: kernel,
            ..Self::new(kernel)
        }
    }

    /// Returns the number of pixels that the window covers.
    pub(crate) fn len(&self) -> usize {
        self.kernel.height * self.kernel.width
    }

    /// Returns the settings that differ from the defaults, as part of a layer's name. `stride` is the default stride.
    pub(crate) fn named(&self, stride: Size2) -> String {
        let settings = [
            ("stride", self.stride, stride),
            ("padding", self.padding, Size2::from(0)),
            ("dilation", self.dilation, Size2::from(1)),
        ];
        let others = settings.into_iter().filter(|(_, is, usual)| is != usual);
        others
            .map(|(name, is, _)| format!(", {name} {is}"))
            .collect()
    }

    /// Returns the `[height, width]` of the output of a layer that slides the window over images of this shape.
    ///
    /// # Errors
    /// [`Error::Setting`] if a setting is invalid, or the window does not fit the image.
    pub(crate) fn output(&self, input: &Shape) -> Result<[usize; 2], Error> {
        self.check()?;
        let [_, height, width] = image(input)?;
        let mut output = [0; 2];
        for (axis, (name, extent)) in [("height", height), ("width", width)]
            .into_iter()
            .enumerate()
        {
            let [kernel, stride, padding, dilation] =
                [self.kernel, self.stride, self.padding, self.dilation]
                    .map(|size| size.as_array()[axis]);
            let covered = dilation * (kernel - 1) + 1;
            let padded = extent.saturating_add(2 * padding);
            if covered > padded {
                let what = format!("{name} that the kernel covers");
                let expected = format!("at most {padded}, the size of the image with its padding");
                return Err(Error::setting(what, expected, covered));
            }
            output[axis] = (padded - covered) / stride + 1;
        }
        Ok(output)
    }

    fn check(&self) -> Result<(), Error> {
        let settings = [
            ("kernel", self.kernel, 1),
            ("stride", self.stride, 1),
            ("padding", self.padding, 0),
            ("dilation", self.dilation, 1),
        ];
        for (name, size, least) in settings {
            if size
                .as_array()
                .iter()
                .any(|axis| !(least..=MOST).contains(axis))
            {
                let expected = format!("{least} to {MOST} along both axes");
                return Err(Error::setting(name, expected, size));
            }
        }
        Ok(())
    }

    /// Checks that each window of a pooling layer contains at least one pixel of the image.
    ///
    /// # Errors
    /// [`Error::Setting`] if the padding is more than half of the kernel.
    pub(crate) fn check_padding(&self) -> Result<(), Error> {
        let axes = self
            .padding
            .as_array()
            .into_iter()
            .zip(self.kernel.as_array());
        if axes
            .into_iter()
            .any(|(padding, kernel)| padding > kernel / 2)
        {
            let expected = format!("at most half of the kernel, {}", self.kernel);
            return Err(Error::setting("padding", expected, self.padding));
        }
        Ok(())
    }
}

/// Returns the channels, height and width of an image.
///
/// # Errors
/// [`Error::Setting`] if the shape is not that of an image.
pub(crate) fn image(input: &Shape) -> Result<[usize; 3], Error> {
    <[usize; 3]>::try_from(input.extents()).map_err(|_| {
        let expected = "an image of channels×height×width, for example 1×28×28";
        Error::setting("input", expected, input)
    })
}

#[cfg(test)]
mod tests {
    use super::{Size2, Window};
    use crate::shape::Shape;

    /// Compares the output's height and width with the formula in the documentation of `torch.nn.Conv2d`.
    #[test]
    fn outputs_are_those_of_pytorch() {
        let window =
            |kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2], dilation| Window {
                kernel: kernel.into(),
                stride: stride.into(),
                padding: padding.into(),
                dilation: Size2::from(dilation),
            };
        for (window, image, output) in [
            (window([5, 5], [1, 1], [0, 0], 1), [28, 28], Ok([24, 24])),
            (window([3, 3], [1, 1], [2, 2], 1), [14, 14], Ok([16, 16])),
            (window([3, 2], [2, 2], [1, 1], 1), [9, 9], Ok([5, 5])),
            (window([3, 3], [2, 1], [0, 1], 2), [9, 9], Ok([3, 7])),
            (window([7, 1], [1, 9], [0, 0], 1), [7, 9], Ok([1, 1])),
            (window([4, 1], [1, 1], [1, 0], 3), [7, 9], Err("covers")),
            (window([0, 1], [1, 1], [0, 0], 1), [7, 9], Err("kernel")),
            (window([1, 1], [1, 0], [0, 0], 1), [7, 9], Err("stride")),
            (
                window([1, 1], [1, 1], [0, 65_536], 1),
                [7, 9],
                Err("padding"),
            ),
            (window([1, 1], [1, 1], [0, 0], 0), [7, 9], Err("dilation")),
        ] {
            let [height, width] = image;
            let found = window.output(&Shape::from([2, height, width]));
            match (found, output) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{window:?}"),
                (Err(found), Err(word)) => assert!(found.to_string().contains(word), "{found}"),
                (found, _) => panic!("{window:?} {image:?}: {found:?}"),
            }
        }
    }
}
