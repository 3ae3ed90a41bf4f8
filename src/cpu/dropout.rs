//! Fast dropout. It gives the same bits as [`reference::Dropout`](crate::reference::Dropout), but draws the random
//! words of many elements at once. The backward pass draws the words again, which costs less than storing a mask.

use multiversion::multiversion;
use ndarray::{ArrayView2, ArrayViewMut2};

use super::dense::dense;
use crate::ops;
use crate::random::threefry_inlined;
use crate::reference::{Backward, Draw, Float, Forward, Layer, Mode};

/// Number of words that are drawn at once. They are drawn in a separate loop, which compilers vectorize on every
/// target.
const WORDS: u32 = 256;

/// The layer. All arrays are contiguous in memory, row by row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dropout {
    /// An element is dropped if its random word is below this threshold.
    threshold: u32,
    /// The factor by which elements that are not dropped are multiplied.
    scale: f64,
}

impl Dropout {
    /// Returns the fast form of a layer.
    pub(super) fn of(layer: ops::Dropout) -> Self {
        Self {
            threshold: layer.threshold(),
            scale: layer.scale(),
        }
    }

    fn apply<F: Float>(self, mode: Mode, x: ArrayView2<'_, F>, mut y: ArrayViewMut2<'_, F>) {
        match mode {
            Mode::Evaluation => y.assign(&x),
            Mode::Training(draw) => {
                let x = dense(x.as_slice());
                let y = dense(y.as_slice_mut());
                scale_kept(draw, self.threshold, F::from_f64(self.scale), x, y);
            }
        }
    }
}

/// Computes, for each element, `y = scale·x` if the element's random word is at least the threshold, otherwise `y = 0`.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn scale_kept<F: Float>(draw: Draw, threshold: u32, scale: F, x: &[F], y: &mut [F]) {
    let Draw { key, step } = draw;
    let mut words = [0; WORDS as usize];
    let mut first = 0u32;
    let x = x.chunks(words.len());
    for (x, y) in x.zip(y.chunks_mut(words.len())) {
        let words = &mut words[..x.len()];
        for (at, word) in (0..).zip(words.iter_mut()) {
            // The index of the element wraps, as in the definition.
            [*word, _] = threefry_inlined(key, [step, first.wrapping_add(at)]);
        }
        for ((&word, &x), y) in words.iter().zip(x).zip(y) {
            *y = if word >= threshold {
                x * scale
            } else {
                F::zero()
            };
        }
        first = first.wrapping_add(WORDS);
    }
}

impl<F: Float> Layer<F> for Dropout {
    fn forward(&self, pass: Forward<'_, F>) {
        self.apply(pass.mode, pass.x, pass.y);
    }

    fn backward(&self, pass: Backward<'_, F>) {
        if let Some(dx) = pass.dx {
            self.apply(pass.mode, pass.dy, dx);
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::Dropout;
    use crate::ops;
    use crate::random::threefry;
    use crate::reference::{self, Backward, Draw, Float, Forward, Layer, Mode};
    use crate::shape::Shape;

    /// Returns the bits of `y` and `dx`. Both passes use the same values, as `x` and as `dy`.
    fn passes<F: Float>(layer: &dyn Layer<F>, x: &Array2<F>, mode: Mode) -> [Vec<u64>; 2] {
        let unwritten = Array2::from_elem(x.dim(), F::from_f64(7.0));
        let mut y = unwritten.clone();
        let mut dx = unwritten;
        let input = (x.view(), Shape::from(x.ncols()));
        layer.forward(Forward::new(input, &[], y.view_mut(), mode));
        let outputs = [y.view(), x.view()];
        layer.backward(Backward::new(input, outputs, Some(dx.view_mut()), mode));
        let bits = |values: &Array2<F>| {
            let values = values.iter();
            values.map(|value| value.into_f64().to_bits()).collect()
        };
        [bits(&y), bits(&dx)]
    }

    fn assert_is_its_definition<F: Float>(dims: [usize; 2], p: f32, mode: Mode) {
        let special = [f64::NAN, f64::INFINITY, -0.0, f64::from(f32::MAX), 0.1];
        let x = Array2::from_shape_fn(dims, |(row, column)| {
            let at = row * dims[1] + column;
            F::from_f64(special.get(at % 19).map_or(at as f64 - 99.5, |&x| x))
        });
        let definition = reference::Dropout { p: p.into() };
        let expected = passes::<F>(&definition, &x, mode);
        let found = passes::<F>(&Dropout::of(ops::Dropout::new(p)), &x, mode);
        assert!(found == expected, "{dims:?}, {p}, {mode:?}");
    }

    const DIMS: [[usize; 2]; 7] = [
        [1, 1],
        [3, 5],
        [15, 17],
        [16, 16],
        [1, 257],
        [31, 33],
        [2, 1000],
    ];

    #[test]
    fn it_gives_the_bits_of_its_definition() {
        for dims in DIMS {
            for p in [0.0, 0.3, 0.5, 1.0 - f32::EPSILON / 2.0] {
                for step in [0, 7, u32::MAX] {
                    let mode = Mode::Training(Draw::new([step ^ 9, 3], step));
                    assert_is_its_definition::<f32>(dims, p, mode);
                    assert_is_its_definition::<f64>(dims, p, mode);
                }
                assert_is_its_definition::<f32>(dims, p, Mode::Evaluation);
            }
        }
    }

    /// An element whose word equals the threshold must not be dropped.
    #[test]
    fn it_is_its_definition_where_a_word_is_the_threshold() {
        let key = [1, 2];
        let step = 3;
        let words = (0..2000).map(|element| threefry(key, [step, element])[0]);
        // For these words, the probability `p` is exact in `f32`.
        let exact: Vec<u32> = words
            .filter(|word| word % 256 == 0 && word >> 31 == 1)
            .collect();
        assert!(!exact.is_empty());
        for word in exact {
            let p = (word >> 8) as f32 / 2.0f32.powi(24);
            assert_eq!(ops::Dropout::new(p).threshold(), word);
            assert_is_its_definition::<f32>([2, 1000], p, Mode::Training(Draw::new(key, step)));
        }
    }
}
