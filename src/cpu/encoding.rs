//! Fast encodings of coordinates, in `f32`: recurrences, and polynomials in place of sines, cosines and exponentials.
//! In `f64`, the definitions are used. Several cores divide the rows among them.

mod frequency;
mod one_blob;
mod spherical_harmonics;

use std::any::Any;
use std::fmt::Debug;

use super::cores::{for_each_part, rows_of_part};
use super::dense::dense;
use crate::ops;
use crate::reference::{Backward, Forward, Layer, Twin};

/// Minimum number of output elements for which several cores share the rows. For fewer, one core is faster.
const SHARED: usize = 1 << 14;

/// Returns the fast form of a layer, if there is one.
pub(super) fn twin(layer: &dyn Any) -> Option<Twin> {
    if let Some(layer) = layer.downcast_ref::<ops::Frequency>() {
        let octaves = layer.octaves();
        return Some(Twin::of(Encoding(frequency::Waves { octaves })));
    }
    if let Some(layer) = layer.downcast_ref::<ops::OneBlob>() {
        let bins = layer.bins();
        return Some(Twin::of(Encoding(one_blob::Blobs { bins })));
    }
    let layer = layer.downcast_ref::<ops::SphericalHarmonics>()?;
    let harmonics = spherical_harmonics::Harmonics::new(layer.degrees());
    Some(Twin::of(Encoding(harmonics)))
}

/// An encoding that encodes each point separately. A point is one number or a vector.
trait Points: Debug + Send + Sync {
    /// Number of coordinates of a point, and number of elements of its encoding.
    fn sizes(&self) -> [usize; 2];

    fn definition(&self) -> impl Layer<f64>;

    /// Encodes the points in `x`, which are stored consecutively, and writes the encodings to `y`.
    fn encode(&self, x: &[f32], y: &mut [f32]);

    /// Writes the gradient with respect to the points to `dx`.
    fn gradient(&self, x: &[f32], dy: &[f32], dx: &mut [f32]);
}

/// The layer of an encoding: each row has one or more points. All arrays are contiguous in memory, row by row.
#[derive(Debug, Clone)]
struct Encoding<P>(P);

impl<P: Points> Layer<f64> for Encoding<P> {
    fn forward(&self, pass: Forward<'_, f64>) {
        self.0.definition().forward(pass);
    }

    fn backward(&self, pass: Backward<'_, f64>) {
        self.0.definition().backward(pass);
    }
}

impl<P: Points> Layer<f32> for Encoding<P> {
    fn forward(&self, pass: Forward<'_, f32>) {
        let [inputs, outputs] = self.0.sizes();
        let x = dense(pass.x.to_slice());
        let y = dense(pass.y.into_slice());
        let of_part = rows_of_part(x.len() / inputs);
        let is_shared = y.len() >= SHARED;
        let parts = x
            .chunks(of_part * inputs)
            .zip(y.chunks_mut(of_part * outputs));
        for_each_part(parts, is_shared, |(x, y)| self.0.encode(x, y));
    }

    fn backward(&self, pass: Backward<'_, f32>) {
        let Some(dx) = pass.dx else { return };
        let [inputs, outputs] = self.0.sizes();
        let [x, dy] = [pass.x, pass.dy].map(|of| dense(of.to_slice()));
        let of_part = rows_of_part(x.len() / inputs);
        let from = x.chunks(of_part * inputs).zip(dy.chunks(of_part * outputs));
        let parts = from.zip(dense(dx.into_slice()).chunks_mut(of_part * inputs));
        for_each_part(parts, dy.len() >= SHARED, |((x, dy), dx)| {
            self.0.gradient(x, dy, dx);
        });
    }
}

/// Helpers for the tests of `frequency`, `one_blob` and `spherical_harmonics`.
#[cfg(test)]
mod testing {
    use ndarray::Array2;

    use super::{Encoding, Points};
    use crate::reference::{Backward, Float, Forward, Layer, Mode};
    use crate::shape::Shape;

    /// The relative size of half a unit in the last place.
    pub(super) const ROUNDING: f64 = f32::EPSILON as f64 / 2.0;

    /// Returns `y` and `dx` of the points `x`: first in the fast form, then by the definition. The gradients `dy` are
    /// from −1 to 1.
    pub(super) fn passes<P: Points>(points: P, x: &[f32]) -> [[Array2<f64>; 2]; 2] {
        let [inputs, outputs] = points.sizes();
        let encoding = Encoding(points);
        let rows = x.len() / inputs;
        let x = Array2::from_shape_fn((rows, inputs), |(row, at)| x[inputs * row + at]);
        let dy = Array2::from_shape_fn((rows, outputs), |(row, at)| {
            ((row * 31 + at * 17) % 64) as f32 / 32.0 - 1.0
        });
        [
            both::<f32>(&encoding, &x, &dy),
            both::<f64>(&encoding, &x, &dy),
        ]
    }

    fn both<F: Float>(of: &dyn Layer<F>, x: &Array2<f32>, dy: &Array2<f32>) -> [Array2<f64>; 2] {
        let cast = |of: &Array2<f32>| of.mapv(|value| F::from_f64(value.into()));
        let x = cast(x);
        let dy = cast(dy);
        let mut y = Array2::zeros(dy.raw_dim());
        let mut dx = Array2::zeros(x.raw_dim());
        let input = (x.view(), Shape::from(x.ncols()));
        of.forward(Forward::new(input, &[], y.view_mut(), Mode::Evaluation));
        let of_y = [y.view(), dy.view()];
        let pass = Backward::new(input, of_y, Some(dx.view_mut()), Mode::Evaluation);
        of.backward(pass);
        [y, dx].map(|of| of.mapv(Float::into_f64))
    }
}
