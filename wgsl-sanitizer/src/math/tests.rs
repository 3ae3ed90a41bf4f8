//! Tests of each built-in function. The expected results come from the specification: calculated by hand, or with
//! numbers of 300 bits.

mod all;
mod floats;
mod halves;
mod integers;
mod packing;
mod transcendental;
mod vectors;

use naga::MathFunction as F;

use super::{Number, component, composite};

/// The content of the result's slots before the call, so that a test notices a slot that is not written.
const UNWRITTEN: u32 = 0xdead_beef;

/// Pairs of the arguments and the expected result.
type Cases<'a, T> = &'a [(&'a [T], T)];

fn by_component<T: Copy>(
    function: F,
    number: Number,
    cases: Cases<'_, T>,
    bits: impl Fn(T) -> u32,
    is_same: impl Fn(u32, u32) -> bool,
) {
    for &(arguments, expected) in cases {
        let mut slots = [0; 4];
        for (slot, &argument) in slots.iter_mut().zip(arguments) {
            *slot = bits(argument);
        }
        let found = component(function, number, slots);
        let expected = bits(expected);
        assert!(
            is_same(found, expected),
            "{function:?} of {number:?} {slots:x?}: {found:x} instead of {expected:x}"
        );
    }
}

fn is_same_float(x: u32, y: u32) -> bool {
    x == y || f32::from_bits(x).is_nan() && f32::from_bits(y).is_nan()
}

/// Checks a function of `f32`. Results are compared bit by bit; any NaN equals any other NaN.
fn floats(function: F, cases: Cases<'_, f32>) {
    by_component(function, Number::F32, cases, f32::to_bits, is_same_float);
}

/// Checks a function of `f16`, whose numbers are stored as `f32`. Results are compared bit by bit; any NaN equals any
/// other NaN.
fn halves(function: F, cases: Cases<'_, f32>) {
    by_component(function, Number::F16, cases, f32::to_bits, is_same_float);
}

fn signed(function: F, cases: Cases<'_, i32>) {
    let bits = i32::cast_unsigned;
    by_component(function, Number::I32, cases, bits, |x, y| x == y);
}

fn unsigned(function: F, cases: Cases<'_, u32>) {
    by_component(function, Number::U32, cases, |bits| bits, |x, y| x == y);
}

/// Returns the result of a function of whole vectors.
fn whole<const N: usize>(function: F, number: Number, arguments: &[&[u32]]) -> [u32; N] {
    let mut result = [UNWRITTEN; N];
    composite(function, number, 1, None, arguments, &mut result);
    result
}

/// Returns the result of a function of whole vectors of floats.
fn whole_floats<const N: usize>(function: F, number: Number, arguments: &[&[f32]]) -> [f32; N] {
    let bits: Vec<Vec<u32>> = arguments.iter().map(|values| to_bits(values)).collect();
    let slots: Vec<&[u32]> = bits.iter().map(Vec::as_slice).collect();
    whole(function, number, &slots).map(f32::from_bits)
}

fn to_bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
