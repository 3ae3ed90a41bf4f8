//! Functions of whole vectors and matrices.

use super::super::composite;
use super::{F, Number, UNWRITTEN, to_bits, whole, whole_floats};

const F32: Number = Number::F32;
const F16: Number = Number::F16;
const INFINITY: f32 = f32::INFINITY;

#[test]
fn products() {
    assert_eq!(
        whole_floats(F::Dot, F32, &[&[1.0, 2.0, 3.0], &[4.0, -5.0, 6.0]]),
        [12.0]
    );
    // The sum begins with the first component, so the ones are lost. In the reverse order they would not be lost.
    assert_eq!(
        whole_floats(F::Dot, F32, &[&[1e8, 1.0, 1.0, -1e8], &[1.0; 4]]),
        [0.0]
    );
    assert_eq!(
        whole_floats(F::Dot, F32, &[&[1e8, -1e8, 1.0, 1.0], &[1.0; 4]]),
        [2.0]
    );
    // Products are rounded before they are added: (1 + 2⁻²³)² is 1 + 2⁻²².
    let next = 1.0 + f32::EPSILON;
    let exact = 1.0 + 2.0 * f32::EPSILON;
    assert_eq!(
        whole_floats(F::Dot, F32, &[&[exact, next], &[-1.0, next]]),
        [0.0]
    );
    // A sum that starts from 0 would lose the sign of −0.
    let [zero] = whole_floats(F::Dot, F32, &[&[-0.0, -0.0], &[1.0, 1.0]]);
    assert!(zero == 0.0 && zero.is_sign_negative());
    assert_eq!(
        whole_floats(F::Dot, F16, &[&[1.0, 1.0], &[1.0, 0.000_488_281_25]]),
        [1.0]
    );
    assert_eq!(
        whole_floats(F::Dot, F16, &[&[300.0, 300.0], &[300.0, 300.0]]),
        [INFINITY]
    );

    let minus_two = (-2_i32).cast_unsigned();
    let least = i32::MIN.cast_unsigned();
    assert_eq!(whole(F::Dot, Number::I32, &[&[3, minus_two], &[5, 7]]), [1]);
    assert_eq!(whole(F::Dot, Number::I32, &[&[least, least], &[1, 1]]), [0]);
    assert_eq!(
        whole(F::Dot, Number::U32, &[&[u32::MAX, 2], &[u32::MAX, 3]]),
        [7]
    );

    assert_eq!(
        whole_floats(F::Cross, F32, &[&[1.0, 0.0, 0.0], &[0.0, 1.0, 0.0]]),
        [0.0, 0.0, 1.0]
    );
    assert_eq!(
        whole_floats(F::Cross, F32, &[&[1.0, 2.0, 3.0], &[4.0, 5.0, 7.0]]),
        [-1.0, 5.0, -3.0]
    );
}

#[test]
fn lengths() {
    assert_eq!(whole_floats(F::Length, F32, &[&[-2.5]]), [2.5]);
    assert_eq!(whole_floats(F::Length, F32, &[&[-1e30]]), [1e30]);
    assert_eq!(whole_floats(F::Length, F32, &[&[3.0, -4.0]]), [5.0]);
    assert_eq!(
        whole_floats(F::Length, F32, &[&[1.0, 2.0, 4.0, 2.0]]),
        [5.0]
    );
    // The square of the component overflows, although the length itself would be finite.
    assert_eq!(whole_floats(F::Length, F32, &[&[1e30, 0.0]]), [INFINITY]);
    assert_eq!(whole_floats(F::Length, F16, &[&[1.0, 2.0]]), [2.236_328_1]);
    assert_eq!(whole_floats(F::Distance, F32, &[&[1.0], &[3.5]]), [2.5]);
    assert_eq!(
        whole_floats(F::Distance, F32, &[&[1.0, 2.0, 3.0], &[3.0, 4.0, 4.0]]),
        [3.0]
    );
    assert_eq!(
        whole_floats(F::Normalize, F32, &[&[3.0, -4.0]]),
        [0.6, -0.8]
    );
    assert_eq!(
        whole_floats(F::Normalize, F16, &[&[3.0, -4.0]]),
        [0.600_097_66, -0.799_804_7]
    );
    let zero: [f32; 2] = whole_floats(F::Normalize, F32, &[&[0.0, 0.0]]);
    assert!(zero[0].is_nan() && zero[1].is_nan());
}

#[test]
fn surfaces() {
    let facing = |incident: [f32; 2]| -> [f32; 2] {
        whole_floats(F::FaceForward, F32, &[&[1.0, -2.0], &incident, &[0.0, 1.0]])
    };
    assert_eq!(facing([5.0, -1.0]), [1.0, -2.0]);
    assert_eq!(facing([5.0, 1.0]), [-1.0, 2.0]);
    assert_eq!(
        facing([5.0, 0.0]),
        [-1.0, 2.0],
        "a right angle does not face"
    );

    assert_eq!(
        whole_floats(F::Reflect, F32, &[&[1.0, -1.0], &[0.0, 1.0]]),
        [1.0, 1.0]
    );
    assert_eq!(
        whole_floats(F::Reflect, F32, &[&[1.0, 2.0, 3.0], &[0.0, 0.0, -1.0]]),
        [1.0, 2.0, -3.0]
    );

    // `refract` with the normal (0, 1).
    let refract = |incident: [f32; 2], ratio: f32| -> [f32; 2] {
        whole_floats(F::Refract, F32, &[&incident, &[0.0, 1.0], &[ratio]])
    };
    assert_eq!(refract([0.0, -1.0], 0.5), [0.0, -1.0]);
    // cos = −0.8, k = 1 − 0.25 · 0.36 = 0.91.
    let [x, y] = refract([0.6, -0.8], 0.5);
    assert_eq!(x, 0.3);
    assert!((f64::from(y) + 0.91_f64.sqrt()).abs() < 1e-6, "{y}");
    // Total reflection: k = 1 − 4 · 0.64 < 0.
    assert_eq!(refract([0.8, -0.6], 2.0), [0.0, 0.0]);
}

#[test]
fn parts() {
    assert_eq!(whole_floats(F::Modf, F32, &[&[1.25]]), [0.25, 1.0]);
    assert_eq!(
        whole_floats(F::Modf, F32, &[&[-1.25, 3.0, 0.5]]),
        [-0.25, 0.0, 0.5, -1.0, 3.0, 0.0]
    );
    assert_eq!(
        whole_floats(F::Modf, F16, &[&[2.5, -0.75]]),
        [0.5, -0.75, 2.0, -0.0]
    );

    let least = f32::from_bits(1);
    let cases = [
        (1.0, 0.5, 1),
        (-6.0, -0.75, 3),
        (0.5, 0.5, 0),
        (0.375, 0.75, -1),
        (0.0, 0.0, 0),
        (-0.0, -0.0, 0),
        (least, 0.5, -148),
        (-3.0 * least, -0.75, -147),
        (f32::MAX, 1.0 - f32::EPSILON / 2.0, 128),
    ];
    for (x, fraction, exponent) in cases {
        let [found, power] = whole(F::Frexp, F32, &[&[f32::to_bits(x)]]);
        assert_eq!(found, fraction.to_bits(), "{x}");
        assert_eq!(power.cast_signed(), exponent, "{x}");
    }
    let halves = to_bits(&[65504.0, 2.0_f32.powi(-24)]);
    let expected = [
        to_bits(&[0.999_511_7, 0.5]),
        vec![16, (-23_i32).cast_unsigned()],
    ]
    .concat();
    assert_eq!(whole::<4>(F::Frexp, F16, &[&halves])[..], expected);
}

fn of_matrix<const N: usize>(
    function: F,
    number: Number,
    columns: usize,
    matrix: &[f32],
) -> [f32; N] {
    let mut result = [UNWRITTEN; N];
    composite(
        function,
        number,
        columns,
        None,
        &[&to_bits(matrix)],
        &mut result,
    );
    result.map(f32::from_bits)
}

#[test]
fn matrices() {
    let numbers = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    // A matrix of two columns with three rows becomes three columns with two rows.
    assert_eq!(
        of_matrix(F::Transpose, F32, 2, &numbers[..6]),
        [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
    );
    assert_eq!(
        of_matrix(F::Transpose, F32, 3, &numbers[..6]),
        [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]
    );
    assert_eq!(
        of_matrix(F::Transpose, F16, 4, &numbers),
        [1.0, 3.0, 5.0, 7.0, 2.0, 4.0, 6.0, 8.0]
    );

    assert_eq!(of_matrix(F::Determinant, F32, 2, &numbers[..4]), [-2.0]);
    assert_eq!(
        of_matrix(
            F::Determinant,
            F32,
            3,
            &[2.0, 0.0, 1.0, 3.0, 1.0, -1.0, 4.0, 2.0, 5.0]
        ),
        [16.0]
    );
    let four = [
        1.0, 2.0, 0.0, 3.0, -1.0, 4.0, 2.0, 0.0, 5.0, 1.0, 3.0, 2.0, 0.0, 2.0, 1.0, 1.0,
    ];
    assert_eq!(of_matrix(F::Determinant, F32, 4, &four), [17.0]);
    assert_eq!(
        of_matrix(F::Determinant, F16, 2, &[300.0, 0.0, 0.0, 300.0]),
        [INFINITY]
    );
}
