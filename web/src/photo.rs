//! A photo for a network to learn: the network maps a position in the photo to the color there.

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wgrad::data::{Sampling, Table};
use wgrad::ndarray::Array2;
use wgrad::ops::{
    Adam, HashGrid, Linear, MeanSquaredError, Optimizer as _, Relu, Schedule, Sigmoid,
};
use wgrad::{Error, Fusion, Init, Sequential};

use crate::device::Device;
use crate::engine::Training;
use crate::error::thrown;
use crate::session::{Session, promise};

/// Bytes per pixel of a canvas: red, green, blue and alpha.
const PIXEL: usize = 4;
/// Color channels that the network learns: red, green and blue.
const COLOURS: usize = 3;

/// A photo, whose pixels are the examples of a training. The features of an example are the `x` and `y` of the pixel's
/// center, from 0 to 1, counted from the upper left corner. The targets are red, green and blue, from 0 to 1.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Photo {
    width: usize,
    pixels: Table,
}

#[wasm_bindgen]
impl Photo {
    /// Makes a photo with `width` pixels per row. `rgba` has four bytes per pixel: red, green, blue and alpha. The
    /// network does not learn alpha.
    ///
    /// # Errors
    /// Throws an `Error` named `Data` if there are no pixels, and `Setting` if the pixels do not form rows of `width`.
    #[wasm_bindgen(constructor)]
    pub fn new(width: usize, rgba: &[u8]) -> Result<Self, JsValue> {
        Self::of(width, rgba).map_err(thrown)
    }
}

#[wasm_bindgen]
impl Session {
    /// Creates the training of a network that learns `photo`. The network has a hash grid with `levels` levels and two
    /// hidden layers of 64 units, as in the example `learn_image`.
    ///
    /// # Errors
    /// Throws the same errors as [`Session::new`].
    #[wasm_bindgen(js_name = ofPhoto)]
    pub fn of_photo(
        device: &Device,
        photo: &Photo,
        levels: usize,
        batch: usize,
    ) -> Result<Self, JsValue> {
        let training = Training {
            network: network(levels),
            loss: Box::new(MeanSquaredError),
            optimizer: Box::new(optimizer()),
            examples: (&photo.pixels).into(),
            batch: batch.min(photo.pixels.len()),
            sampling: Sampling::WithReplacement { seed: 1 },
            fusion: Fusion::Auto,
        };
        Self::begin(device, training, Vec::new()).map_err(thrown)
    }

    /// Predicts the colors of `count` rows of pixels: rows `first`, `first + every`, `first + 2·every`, …. Rows past
    /// the last row of the photo are left out. Resolves to the pixels in row-major order, with four bytes per pixel:
    /// red, green, blue and alpha.
    #[wasm_bindgen(unchecked_return_type = "Promise<Uint8Array>")]
    pub fn paint(&mut self, photo: &Photo, first: usize, every: usize, count: usize) -> Promise {
        let places = photo.places(first, every, count);
        promise(self.predict(places.view()), |colours| {
            js_sys::Uint8Array::from(&pixels(&colours)[..]).into()
        })
    }
}

impl Photo {
    fn of(width: usize, rgba: &[u8]) -> Result<Self, Error> {
        let pixels = rgba.len() / PIXEL;
        let height = pixels / width.max(1);
        if height * width * PIXEL != rgba.len() {
            return Err(Error::Setting {
                name: "width of a photo".to_owned(),
                expected: format!("a divisor of its {pixels} pixels"),
                found: width.to_string(),
            });
        }
        let mut places = Array2::zeros((pixels, 2));
        let mut colours = Array2::zeros((pixels, COLOURS));
        for pixel in 0..pixels {
            for (axis, (at, size)) in [(pixel % width, width), (pixel / width, height)]
                .into_iter()
                .enumerate()
            {
                places[[pixel, axis]] = (at as f32 + 0.5) / size as f32;
            }
            for c in 0..COLOURS {
                colours[[pixel, c]] = f32::from(rgba[PIXEL * pixel + c]) / 255.0;
            }
        }
        Ok(Self {
            pixels: Table::regression("pixels", places.view(), colours.view())?,
            width,
        })
    }

    /// The centers of all pixels in `count` rows: `first`, `first + every`, …. Shape (pixels, 2).
    fn places(&self, first: usize, every: usize, count: usize) -> Array2<f32> {
        let mut places = Vec::new();
        let rows = self.pixels.features().chunks_exact(2 * self.width);
        for row in rows.skip(first).step_by(every.max(1)).take(count) {
            places.extend_from_slice(row);
        }
        let pixels = places.len() / 2;
        // `places` has exactly 2 · `pixels` elements, so the conversion does not fail.
        Array2::from_shape_vec((pixels, 2), places).unwrap_or_default()
    }
}

/// Converts `colours` (pixels, 3) to bytes: red, green, blue and alpha of each pixel.
fn pixels(colours: &Array2<f32>) -> Vec<u8> {
    let mut rgba = vec![u8::MAX; PIXEL * colours.nrows()];
    for (index, &colour) in colours.iter().enumerate() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 255"
        )]
        let byte = (colour * 255.0).round() as u8;
        rgba[PIXEL * (index / COLOURS) + index % COLOURS] = byte;
    }
    rgba
}

/// The hash grid, followed by two hidden layers of 64 units.
fn network(levels: usize) -> Sequential {
    let linear = |outputs| Linear::new(outputs).weight_init(Init::HeNormal);
    Sequential::input(2)
        .layer(HashGrid::new().levels(levels))
        .layer(linear(64))
        .layer(Relu)
        .layer(linear(64))
        .layer(Relu)
        .layer(linear(COLOURS))
        .layer(Sigmoid)
        .seed(1)
}

/// `Adam` with the settings of the hash grid paper. Lazy updates leave a table entry unchanged if no sample of the
/// minibatch used it. The visitor may train for any time, so the learning rate keeps falling instead of ending at 0.
fn optimizer() -> impl wgrad::ops::Optimizer + use<> {
    let adam = Adam::new(1e-2).betas(0.9, 0.99).epsilon(1e-15).lazy();
    adam.scheduled(Schedule::of("1 / (1 + step / 500)", |step| {
        1.0 / (1.0 + step as f64 / 500.0)
    }))
}

#[cfg(test)]
mod tests {
    use wgrad::ndarray::array;

    use wgrad::Error;

    use super::{Photo, pixels};

    /// A photo with 3 columns and 2 rows.
    fn photo() -> Result<Photo, Error> {
        let pixel = |at: u8| [10 * at, 20 * at, 255 - at, 255];
        Photo::of(3, &(0..6).flat_map(pixel).collect::<Vec<u8>>())
    }

    #[test]
    fn examples_are_the_middles_of_pixels_and_their_colours() -> Result<(), Error> {
        let photo = photo()?;
        let row = [1.0 / 6.0, 0.5, 5.0 / 6.0];
        let expected: Vec<f32> = [0.25, 0.75]
            .into_iter()
            .flat_map(|y| row.into_iter().flat_map(move |x| [x, y]))
            .collect();
        assert_eq!(photo.pixels.features(), expected);
        let wgrad::data::Targets::Values { outputs, values } = photo.pixels.targets() else {
            panic!("classes");
        };
        assert_eq!(*outputs, 3);
        assert_eq!(values[3..6], [10.0 / 255.0, 20.0 / 255.0, 254.0 / 255.0]);
        Ok(())
    }

    #[test]
    fn a_photo_whose_rows_differ_in_width_is_refused() {
        let error = Photo::of(4, &[0; 24]).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("a divisor of its 6 pixels")));
        assert!(Photo::of(0, &[0; 24]).is_err());
        assert!(Photo::of(3, &[0; 23]).is_err());
        assert!(Photo::of(0, &[]).is_err());
    }

    #[test]
    fn a_slice_has_the_rows_that_are_asked_for() -> Result<(), Error> {
        let photo = photo()?;
        assert_eq!(
            photo.places(1, 2, 5),
            array![[1.0 / 6.0, 0.75], [0.5, 0.75], [5.0 / 6.0, 0.75]]
        );
        assert_eq!(photo.places(0, 1, 1).nrows(), 3);
        Ok(())
    }

    #[test]
    fn pixels_are_the_nearest_bytes_and_opaque() {
        let colours = array![[0.0, 1.0, 0.5], [-0.1, 1.1, 0.0019]];
        assert_eq!(pixels(&colours), [0, 255, 128, 255, 0, 255, 0, 255]);
    }
}
