//! Component-wise functions of `f16`, stored as `f32`.

use super::{F, Number, floats, halves};

const NAN: f32 = f32::NAN;
const INFINITY: f32 = f32::INFINITY;

#[test]
fn halves_are_rounded() {
    let least = 2.0_f32.powi(-24);
    halves(
        F::Abs,
        &[(&[-1.5], 1.5), (&[-INFINITY], INFINITY), (&[NAN], NAN)],
    );
    halves(
        F::Exp,
        &[
            (&[1.0], 2.71875),
            (&[11.0], 59872.0),
            (&[12.0], INFINITY),
            (&[-17.0], least),
            (&[-18.0], 0.0),
        ],
    );
    halves(
        F::Sqrt,
        &[(&[2.0], 1.4140625), (&[least], 2.0_f32.powi(-12))],
    );
    halves(F::InverseSqrt, &[(&[3.0], 0.57714844), (&[least], 4096.0)]);
    halves(
        F::Fma,
        &[
            (&[2.0, 3.0, 4.0], 10.0),
            (&[65504.0, 2.0, -65504.0], 65504.0),
            (&[65504.0, 1.0, 16.0], INFINITY),
            (&[INFINITY, 0.0, 1.0], NAN),
        ],
    );
    halves(F::Mix, &[(&[1.0, 2.0, 0.33325195], 1.3330078)]);
    halves(F::Degrees, &[(&[1.0], 57.28125), (&[1200.0], INFINITY)]);
    floats(
        F::QuantizeToF16,
        &[
            (&[1.0], 1.0),
            (&[0.1], 0.099975586),
            (&[65519.0], 65504.0),
            (&[1.0 / 2048.0 + 1.0], 1.0),
            (&[3.0 / 2048.0 + 1.0], 1.0019531),
            (&[least / 2.0], 0.0),
            (&[0.75 * least], least),
            (&[-0.0], -0.0),
            (&[NAN], NAN),
        ],
    );
}

/// Results are rounded directly to `f16`. With these arguments, rounding to `f32` first would give the wrong `f16`.
#[test]
fn halves_are_rounded_once() {
    let cases = [
        // 1090 · 1924 = 2²¹ + 8, so the exact sum lies just above the middle between 1 and the next `f16`.
        (
            [1090.0 / 1024.0, 1924.0 / 4_194_304.0, 1.0],
            1.0 + 1.0 / 1024.0,
        ),
        (
            [-1090.0 / 1024.0, 1924.0 / 4_194_304.0, -1.0],
            -1.0 - 1.0 / 1024.0,
        ),
        // The exact middle rounds to the even `f16`.
        ([1.0, 1.0 / 2048.0, 1.0], 1.0),
    ];
    for (arguments, expected) in cases {
        halves(F::Fma, &[(&arguments, expected)]);
    }

    let round = |value: f64| f32::from_bits(Number::F16.round_wide(value));
    let eleventh = 2.0_f64.powi(-11);
    let bit = 2.0_f64.powi(-40);
    let above = f32::from(half::f16::from_bits(0x3c01));
    for sign in [1.0, -1.0] {
        let wide = f64::from(sign);
        let single = sign;
        assert_eq!(round(wide * (1.0 + eleventh)), single);
        assert_eq!(round(wide * (1.0 + eleventh + bit)), single * above);
        assert_eq!(round(wide * (1.0 + 3.0 * eleventh - bit)), single * above);
        assert_eq!(round(wide * 65_519.999_999_999), single * 65_504.0);
        assert_eq!(round(wide * 65_520.0), single * INFINITY);
        assert_eq!(round(wide * 1e300), single * INFINITY);
        assert_eq!(round(wide * 2.0_f64.powi(-25)), 0.0);
        let least = 2.0_f32.powi(-24);
        assert_eq!(
            round(wide * 2.0_f64.powi(-25) * (1.0 + bit)),
            single * least
        );
        assert_eq!(round(wide * 1e-300), 0.0);
        assert_eq!(round(wide * f64::INFINITY), single * INFINITY);
    }
    assert!(round(f64::NAN).is_nan());
}
