//! Component-wise functions of floats.
// The lint asks for named constants such as `PI`. Here, a literal is the expected rounded result.
#![allow(clippy::approx_constant)]

use super::{F, Number, component, floats};

const NAN: f32 = f32::NAN;
const INFINITY: f32 = f32::INFINITY;
const TINY: f32 = 1e-45;

#[test]
fn comparisons() {
    floats(
        F::Abs,
        &[
            (&[-1.5], 1.5),
            (&[-0.0], 0.0),
            (&[-INFINITY], INFINITY),
            (&[NAN], NAN),
            (&[-TINY], TINY),
        ],
    );
    floats(
        F::Min,
        &[
            (&[1.0, -2.0], -2.0),
            (&[NAN, 3.0], 3.0),
            (&[3.0, NAN], 3.0),
            (&[NAN, NAN], NAN),
            (&[-INFINITY, 1.0], -INFINITY),
            (&[0.0, -TINY], -TINY),
        ],
    );
    floats(
        F::Max,
        &[
            (&[1.0, -2.0], 1.0),
            (&[NAN, 3.0], 3.0),
            (&[3.0, NAN], 3.0),
            (&[NAN, NAN], NAN),
            (&[INFINITY, 1.0], INFINITY),
            (&[0.0, TINY], TINY),
        ],
    );
    floats(
        F::Clamp,
        &[
            (&[5.0, 1.0, 3.0], 3.0),
            (&[-5.0, 1.0, 3.0], 1.0),
            (&[2.0, 1.0, 3.0], 2.0),
            (&[NAN, 1.0, 3.0], 1.0),
            (&[2.0, 3.0, 1.0], 1.0),
            (&[-INFINITY, -1.0, 1.0], -1.0),
            (&[2.0, NAN, NAN], 2.0),
        ],
    );
    floats(
        F::Saturate,
        &[
            (&[0.25], 0.25),
            (&[-3.0], 0.0),
            (&[3.0], 1.0),
            (&[NAN], 0.0),
            (&[INFINITY], 1.0),
            (&[TINY], TINY),
        ],
    );
    floats(
        F::Sign,
        &[
            (&[-TINY], -1.0),
            (&[7.0], 1.0),
            (&[0.0], 0.0),
            (&[-0.0], 0.0),
            (&[-INFINITY], -1.0),
            (&[NAN], 0.0),
        ],
    );
    floats(
        F::Step,
        &[
            (&[1.0, 1.0], 1.0),
            (&[1.0, 0.9], 0.0),
            (&[1.0, 2.0], 1.0),
            (&[0.0, -0.0], 1.0),
            (&[NAN, 1.0], 0.0),
            (&[1.0, NAN], 0.0),
        ],
    );
    // +0 and −0 are equal, so either may be the result.
    for function in [F::Min, F::Max] {
        let zeros = [0.0_f32.to_bits(), (-0.0_f32).to_bits(), 0, 0];
        assert_eq!(f32::from_bits(component(function, Number::F32, zeros)), 0.0);
    }
}

#[test]
fn whole_numbers() {
    floats(
        F::Ceil,
        &[
            (&[1.25], 2.0),
            (&[-1.75], -1.0),
            (&[-0.5], -0.0),
            (&[TINY], 1.0),
            (&[16_777_216.0], 16_777_216.0),
            (&[INFINITY], INFINITY),
            (&[NAN], NAN),
        ],
    );
    floats(
        F::Floor,
        &[
            (&[1.75], 1.0),
            (&[-1.25], -2.0),
            (&[-0.0], -0.0),
            (&[-TINY], -1.0),
            (&[-INFINITY], -INFINITY),
            (&[NAN], NAN),
        ],
    );
    floats(
        F::Round,
        &[
            (&[0.5], 0.0),
            (&[1.5], 2.0),
            (&[2.5], 2.0),
            (&[-0.5], -0.0),
            (&[-1.5], -2.0),
            (&[-2.5], -2.0),
            (&[0.499_999_97], 0.0),
            (&[2.500_000_2], 3.0),
            (&[8_388_609.0], 8_388_609.0),
            (&[INFINITY], INFINITY),
        ],
    );
    floats(
        F::Trunc,
        &[
            (&[1.75], 1.0),
            (&[-1.75], -1.0),
            (&[-0.5], -0.0),
            (&[NAN], NAN),
            (&[INFINITY], INFINITY),
        ],
    );
    // The fraction of a number just below 0 rounds to 1 in single precision.
    floats(
        F::Fract,
        &[
            (&[1.25], 0.25),
            (&[-1.25], 0.75),
            (&[3.0], 0.0),
            (&[-1e-10], 1.0),
            (&[INFINITY], NAN),
        ],
    );
}

#[test]
fn arithmetic() {
    floats(
        F::Sqrt,
        &[
            (&[2.0], 1.4142135),
            (&[0.3], 0.5477226),
            (&[TINY], 3.743392e-23),
            (&[3e38], 1.7320508e19),
            (&[-1.0], NAN),
            (&[-0.0], -0.0),
            (&[INFINITY], INFINITY),
        ],
    );
    floats(
        F::InverseSqrt,
        &[
            (&[2.0], 0.70710677),
            (&[0.3], 1.8257418),
            (&[TINY], 2.6713738e22),
            (&[3e38], 5.773503e-20),
            (&[0.0], INFINITY),
            (&[-1.0], NAN),
            (&[INFINITY], 0.0),
        ],
    );
    // `fma` does not round its product: (1 + 2⁻²³)² − (1 + 2⁻²²) = 2⁻⁴⁶.
    let next = 1.0 + f32::EPSILON;
    floats(
        F::Fma,
        &[
            (&[2.0, 3.0, 4.0], 10.0),
            (
                &[next, next, -(1.0 + 2.0 * f32::EPSILON)],
                2.0_f32.powi(-46),
            ),
            (&[3e38, 2.0, -3e38], 3e38),
            (&[0.0, INFINITY, 1.0], NAN),
        ],
    );
    floats(
        F::Mix,
        &[
            (&[2.0, 4.0, 0.25], 2.5),
            (&[2.0, 4.0, 0.0], 2.0),
            (&[2.0, 4.0, 1.0], 4.0),
            (&[2.0, 4.0, 2.0], 6.0),
            (&[1e30, 1.0, 1.0], 1.0),
            (&[INFINITY, 1.0, 1.0], NAN),
        ],
    );
    floats(
        F::SmoothStep,
        &[
            (&[0.0, 2.0, 1.0], 0.5),
            (&[0.0, 4.0, 1.0], 0.15625),
            (&[0.0, 1.0, -3.0], 0.0),
            (&[0.0, 1.0, 3.0], 1.0),
            (&[2.0, 0.0, 0.5], 0.84375),
            (&[1.0, 1.0, 2.0], 1.0),
            (&[1.0, 1.0, 1.0], 0.0),
        ],
    );
    floats(
        F::Radians,
        &[
            (&[180.0], 3.1415927),
            (&[-90.0], -1.5707964),
            (&[1.0], 0.017453292),
            (&[TINY], 0.0),
        ],
    );
    floats(
        F::Degrees,
        &[
            (&[1.0], 57.29578),
            (&[-0.5], -28.64789),
            (&[3.1415927], 180.0),
            (&[6e36], INFINITY),
            (&[5e36], 2.864789e38),
        ],
    );
}

#[test]
fn scaling_by_powers_of_two() {
    let cases = [
        (0.75, 3, 6.0),
        (-0.5, -1, -0.25),
        (1.0, -149, TINY),
        // Half of the smallest number is half way between 0 and that number. It rounds to the even one, 0.
        (1.0, -150, 0.0),
        (1.5, -150, TINY),
        (TINY, 149, 1.0),
        (1.0, 128, INFINITY),
        (TINY, i32::MAX, INFINITY),
        (f32::MAX, -277, TINY),
        (f32::MAX, i32::MIN, 0.0),
        (-0.0, 5, -0.0),
        (INFINITY, -5, INFINITY),
    ];
    for (x, exponent, expected) in cases {
        let arguments = [f32::to_bits(x), i32::cast_unsigned(exponent), 0, 0];
        let found = component(F::Ldexp, Number::F32, arguments);
        assert_eq!(found, expected.to_bits(), "{x} · 2^{exponent}");
    }
    let arguments = [1.5_f32.to_bits(), (-24_i32).cast_unsigned(), 0, 0];
    let half = f32::from_bits(component(F::Ldexp, Number::F16, arguments));
    assert_eq!(half, 2.0_f32.powi(-23), "a tie goes to the even half");
}
