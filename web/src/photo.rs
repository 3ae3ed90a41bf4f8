//! A picture to learn: a place in, its colour out.

#[path = "../../examples/common/painting.rs"]
mod painting;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wgrad::data::{Sampling, Table};
use wgrad::ndarray::{Array2, ArrayView2};
use wgrad::ops::{
    Adam, HashGrid, Linear, MeanSquaredError, Optimizer as _, Relu, Schedule, Sigmoid,
};
use wgrad::{Error, Fusion, Init, Sequential};

use crate::device::Device;
use crate::engine::Training;
use crate::error::thrown;
use crate::session::{Session, promise};

/// Bytes of a pixel: red, green, blue and alpha, as a canvas has them.
const PIXEL: usize = 4;

/// A picture, whose pixels are the examples of a training: the middle of each, with `x` and `y` in 0…1 from the left
/// upper corner, and its red, green and blue, in 0…1.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Photo {
    width: usize,
    rgba: Vec<u8>,
    pixels: Table,
}

/// Rows of the picture that a network has learnt so far.
#[wasm_bindgen(getter_with_clone)]
#[derive(Debug, Clone)]
pub struct Painted {
    /// Their pixels, row after row, in bytes of red, green, blue and alpha.
    pub rgba: Vec<u8>,
    /// Sum of the squared differences from the bytes of the photo, of red, green and blue.
    pub squares: f64,
}

#[wasm_bindgen]
impl Photo {
    /// A picture of `width` pixels a row, each in bytes of red, green, blue and alpha; alpha is not learnt.
    ///
    /// # Errors
    /// `Data` where there are no pixels, `Setting` where they are no rows of this width.
    #[wasm_bindgen(constructor)]
    pub fn new(width: usize, rgba: Vec<u8>) -> Result<Self, JsValue> {
        Self::of(width, rgba).map_err(thrown)
    }

    /// A picture of `side`×`side` pixels that is painted here: that of the example `learn_image`.
    ///
    /// # Errors
    /// `Data` where there are no pixels.
    pub fn painted(side: usize) -> Result<Self, JsValue> {
        let places = (0..side * side).map(|pixel| [pixel % side, pixel / side]);
        let rgba = places.flat_map(|place| {
            let [red, green, blue] = painting::paint(place.map(|at| at as f32 / side as f32));
            [red, green, blue, u8::MAX]
        });
        Self::new(side, rgba.collect())
    }

    /// Pixels of a row.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn height(&self) -> usize {
        self.pixels.len() / self.width
    }

    /// The pixels, in bytes of red, green, blue and alpha.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn rgba(&self) -> Vec<u8> {
        self.rgba.clone()
    }
}

#[wasm_bindgen]
impl Session {
    /// The training of a network that learns `photo`, from its beginning: a hash grid of so many levels and two layers
    /// of 64 units, as in the example `learn_image`.
    ///
    /// # Errors
    /// As [`Session::new`].
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

    /// What the network has learnt of the rows `first`, `first + every`… of a photo.
    #[wasm_bindgen(unchecked_return_type = "Promise<Painted>")]
    pub fn paint(&mut self, photo: &Photo, first: usize, every: usize) -> Promise {
        let rows: Vec<usize> = (first..photo.height()).step_by(every.max(1)).collect();
        let places = photo.places(&rows);
        let wanted = photo.rows(&rows);
        promise(self.predict(places.view()), move |colours| {
            Painted::new(colours.view(), &wanted).into()
        })
    }
}

impl Photo {
    fn of(width: usize, rgba: Vec<u8>) -> Result<Self, Error> {
        let pixels = rgba.len() / PIXEL;
        let height = pixels / width.max(1);
        if height * width * PIXEL != rgba.len() {
            return Err(Error::Setting {
                name: "width of a photo".to_owned(),
                expected: format!("a divisor of its {pixels} pixels"),
                found: width.to_string(),
            });
        }
        let middle = |at, size| (at as f32 + 0.5) / size as f32;
        let places = Array2::from_shape_fn((pixels, 2), |(pixel, axis)| match axis {
            0 => middle(pixel % width, width),
            _ => middle(pixel / width, height),
        });
        let colours = Array2::from_shape_fn((pixels, 3), |(pixel, c)| {
            f32::from(rgba[PIXEL * pixel + c]) / 255.0
        });
        Ok(Self {
            pixels: Table::regression("pixels", places.view(), colours.view())?,
            width,
            rgba,
        })
    }

    /// The middles of the pixels of these rows, (pixels, 2).
    fn places(&self, rows: &[usize]) -> Array2<f32> {
        let features = self.pixels.features();
        Array2::from_shape_fn((rows.len() * self.width, 2), |(pixel, axis)| {
            let from = rows[pixel / self.width] * self.width + pixel % self.width;
            features[2 * from + axis]
        })
    }

    /// The bytes of these rows.
    fn rows(&self, rows: &[usize]) -> Vec<u8> {
        let bytes = PIXEL * self.width;
        let row = |&row: &usize| &self.rgba[row * bytes..(row + 1) * bytes];
        rows.iter().flat_map(row).copied().collect()
    }
}

impl Painted {
    /// `colours` (pixels, 3), of pixels that are in truth `wanted`.
    fn new(colours: ArrayView2<'_, f32>, wanted: &[u8]) -> Self {
        let mut squares = 0.0;
        let mut rgba = vec![u8::MAX; wanted.len()];
        let pixels = rgba.chunks_exact_mut(PIXEL).zip(wanted.chunks_exact(PIXEL));
        for ((to, wanted), colour) in pixels.zip(colours.rows()) {
            for ((to, &wanted), &c) in to.iter_mut().zip(wanted).zip(colour) {
                *to = to_byte(c);
                squares += (f64::from(*to) - f64::from(wanted)).powi(2);
            }
        }
        Self { rgba, squares }
    }
}

fn to_byte(colour: f32) -> u8 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 255"
    )]
    let byte = (colour * 255.0).round() as u8;
    byte
}

/// What the grid gives goes through a network of 64 units twice.
fn network(levels: usize) -> Sequential {
    let linear = |outputs| Linear::new(outputs).weight_init(Init::HeNormal);
    Sequential::input(2)
        .layer(HashGrid::new().levels(levels))
        .layer(linear(64))
        .layer(Relu)
        .layer(linear(64))
        .layer(Relu)
        .layer(linear(3))
        .layer(Sigmoid)
        .seed(1)
}

/// The settings of the paper on hash grids; what no sample has reached stays as it is. Nobody knows how long a visitor
/// trains, so that the rate falls without an end.
fn optimizer() -> impl wgrad::ops::Optimizer + use<> {
    let adam = Adam::new(1e-2).betas(0.9, 0.99).epsilon(1e-15).lazy();
    adam.scheduled(Schedule::of("1 / (1 + step / 500)", |step| {
        1.0 / (1.0 + step as f64 / 500.0)
    }))
}

#[cfg(test)]
mod tests {
    use wgrad::ndarray::array;

    use super::{Painted, Photo};

    /// 3 columns, 2 rows.
    fn photo() -> Photo {
        let pixel = |at: u8| [10 * at, 20 * at, 255 - at, 255];
        Photo::of(3, (0..6).flat_map(pixel).collect()).unwrap()
    }

    #[test]
    fn examples_are_the_middles_of_pixels_and_their_colours() {
        let photo = photo();
        assert_eq!((photo.width(), photo.height()), (3, 2));
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
    }

    #[test]
    fn a_photo_whose_rows_differ_in_width_is_refused() {
        let error = Photo::of(4, vec![0; 24]).unwrap_err().to_string();
        assert!(error.contains("a divisor of its 6 pixels"), "{error}");
        assert!(Photo::of(0, vec![0; 24]).is_err());
        assert!(Photo::of(3, vec![0; 23]).is_err());
        assert!(Photo::of(0, Vec::new()).is_err());
    }

    #[test]
    fn the_rows_of_a_slice_are_those_asked_for() {
        let photo = photo();
        assert_eq!(photo.places(&[1]).row(0).to_vec(), [1.0 / 6.0, 0.75]);
        assert_eq!(photo.rows(&[1]), photo.rgba[12..]);
    }

    #[test]
    fn squares_are_of_bytes_and_leave_out_alpha() {
        let colours = array![[0.0, 1.0, 0.5], [-0.1, 1.1, 0.0]];
        let painted = Painted::new(colours.view(), &[3, 255, 128, 7, 0, 250, 0, 7]);
        assert_eq!(painted.rgba, [0, 255, 128, 255, 0, 255, 0, 255]);
        assert_eq!(painted.squares, 9.0 + 25.0);
    }
}
