//! Built-in functions that compare numbers, for the setting that decides comparisons with NaN
//! ([`NanComparisons`](crate::NanComparisons)).

use naga::MathFunction as F;

use super::Number;

/// Computes one component by WGSL's definition of the function, where each comparison with NaN gives `outcome`. Returns
/// `None` if the function does not compare, or if no operand is NaN.
pub(crate) fn component_of_nan(
    function: F,
    number: Number,
    bits: [u32; 4],
    outcome: bool,
) -> Option<u32> {
    if !matches!(number, Number::F32 | Number::F16) {
        return None;
    }
    let [x, y, z, _] = bits.map(f32::from_bits);
    let compare = Compare(outcome);
    let (value, operands) = match function {
        F::Max => (compare.larger(x, y), [x, y, x]),
        F::Min => (compare.smaller(x, y), [x, y, x]),
        F::Clamp => (compare.clamp(x, y, z), [x, y, z]),
        F::Saturate => (compare.clamp(x, 0.0, 1.0), [x; 3]),
        F::Sign if compare.less(0.0, x) => (1.0, [x; 3]),
        F::Sign if compare.less(x, 0.0) => (-1.0, [x; 3]),
        F::Sign => (0.0, [x; 3]),
        // `step(x, y)` is the number 1 if `x <= y`, else 0.
        F::Step => (f32::from(u8::from(outcome)), [x, y, x]),
        F::SmoothStep => {
            let along = (z - x) / (y - x);
            let t = compare.clamp(along, 0.0, 1.0);
            (t * t * (3.0 - 2.0 * t), [along; 3])
        }
        _ => return None,
    };
    let is_of_nan = operands.into_iter().any(f32::is_nan);
    is_of_nan.then(|| number.round(value))
}

/// Compares two numbers. The field is the result of a comparison with NaN.
#[derive(Clone, Copy)]
struct Compare(bool);

impl Compare {
    fn less(self, a: f32, b: f32) -> bool {
        if a.is_nan() || b.is_nan() {
            self.0
        } else {
            a < b
        }
    }

    fn larger(self, a: f32, b: f32) -> f32 {
        if self.less(a, b) { b } else { a }
    }

    fn smaller(self, a: f32, b: f32) -> f32 {
        if self.less(b, a) { b } else { a }
    }

    fn clamp(self, value: f32, low: f32, high: f32) -> f32 {
        self.smaller(self.larger(value, low), high)
    }
}
