//! Compares the device's results with the interpreter's.

use std::fmt;

use wgsl_sanitizer::Buffer;

use super::SPREAD;
use crate::kernel::{Access, Element, Item};
use crate::plan::Recorded;

/// One term of [`Difference::bound`] for floats, as a fraction of the largest magnitude in the tensor: 2⁻²⁰.
const FLOOR: f64 = 1.0 / 1_048_576.0;

/// One element of a tensor, on the device and in the interpreter.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// Name of the binding.
    pub tensor: String,
    /// Index of the element.
    pub element: usize,
    /// Value of the element on the device.
    pub device: f64,
    /// Value of the element in the interpreter.
    pub interpreted: f64,
    /// The allowed distance of the two values; 0 for integers.
    pub bound: f64,
}

impl Difference {
    /// The distance of the two values. It is 0 if one is NaN and the other is NaN or infinite: devices may assume that
    /// all values are finite, so they may return either for a value that is not finite.
    #[must_use]
    pub fn distance(&self) -> f64 {
        let device = self.device;
        let interpreted = self.interpreted;
        let is_finite = device.is_finite() || interpreted.is_finite();
        let is_nan = device.is_nan() || interpreted.is_nan();
        let is_same = device == interpreted || (is_nan && !is_finite);
        if is_same {
            0.0
        } else {
            (device - interpreted).abs()
        }
    }

    /// Whether the distance is within the bound.
    #[must_use]
    pub fn is_within(&self) -> bool {
        // A distance of NaN is not within the bound.
        self.distance() <= self.bound
    }

    /// The distance as a fraction of the bound; infinite if the distance is not within the bound.
    fn share(&self) -> f64 {
        let distance = self.distance();
        if distance == 0.0 {
            return 0.0;
        }
        if self.is_within() {
            distance / self.bound
        } else {
            f64::INFINITY
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tensor,
            element,
            device,
            interpreted,
            bound,
        } = self;
        let verdict = if self.is_within() {
            "within"
        } else {
            "NOT within"
        };
        write!(
            f,
            "{tensor}[{element}]: {device:e} on the device, {interpreted:e} by the interpreter, {verdict} {bound:.1e}"
        )
    }
}

/// For each tensor that the kernel may write, returns the element whose distance is the largest fraction of its bound.
pub(super) fn differences(
    recorded: &Recorded,
    device: &[Buffer],
    interpreted: &[Buffer],
    moved: &[Vec<Buffer>],
) -> Vec<Difference> {
    let bindings = recorded.contract.bindings.iter().enumerate();
    let written = bindings.filter(|(_, binding)| binding.access == Access::ReadWrite);
    let worst = written.filter_map(|(at, binding)| {
        let moved: Vec<&Buffer> = moved.iter().map(|buffers| &buffers[at]).collect();
        let is_float = binding.element == Element::F32 && binding.item != Item::Atomic;
        let device = device[at].u32s();
        let interpreted = interpreted[at].u32s();
        let worst = if is_float {
            first_largest(floats(device, interpreted, &moved))
        } else {
            first_largest(integers(device, interpreted))
        };
        worst.map(|worst| Difference {
            tensor: binding.name.clone(),
            ..worst
        })
    });
    worst.collect()
}

/// Returns the element whose distance is the largest fraction of its bound; of several, the first. Its field `tensor`
/// is still empty.
fn first_largest(differences: impl Iterator<Item = Difference>) -> Option<Difference> {
    differences.reduce(|worst, next| {
        if next.share() > worst.share() {
            next
        } else {
            worst
        }
    })
}

fn integers(device: &[u32], interpreted: &[u32]) -> impl Iterator<Item = Difference> {
    let pairs = device.iter().zip(interpreted).enumerate();
    pairs.map(|(element, (&device, &interpreted))| Difference {
        tensor: String::new(),
        element,
        device: device.into(),
        interpreted: interpreted.into(),
        bound: 0.0,
    })
}

fn floats(
    device: &[u32],
    interpreted: &[u32],
    moved: &[&Buffer],
) -> impl Iterator<Item = Difference> {
    let value = |bits: u32| f64::from(f32::from_bits(bits));
    let magnitudes = interpreted.iter().map(|&bits| value(bits).abs());
    let largest = magnitudes
        .filter(|value| value.is_finite())
        .fold(0.0, f64::max);
    let pairs = device.iter().zip(interpreted).enumerate();
    pairs.map(move |(element, (&device, &interpreted))| {
        let interpreted = value(interpreted);
        let spread = moved
            .iter()
            .map(|buffer| (value(buffer.u32s()[element]) - interpreted).abs())
            .fold(0.0, f64::max);
        Difference {
            tensor: String::new(),
            element,
            device: value(device),
            interpreted,
            bound: SPREAD * spread + FLOOR * largest + f64::from(f32::MIN_POSITIVE),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_integer_that_is_another_is_told() {
        let told = first_largest(integers(&[1, 2, 3, 4], &[1, 2, 4, 5]));
        let told = told.map(|told| (told.element, told.device, told.interpreted));
        assert_eq!(told, Some((2, 3.0, 4.0)));
        let same = first_largest(integers(&[1, 2], &[1, 2])).map(|told| told.element);
        assert_eq!(same, Some(0));
    }

    #[test]
    fn the_float_that_takes_most_of_its_bound_is_told() {
        let bits = |values: [f32; 3]| values.map(f32::to_bits);
        let device = bits([1.0, 2.5, f32::NAN]);
        let interpreted = bits([1.0, 2.0, f32::NAN]);
        let moved = Buffer::from_f32s(&[1.0, 2.25, 0.0]);
        let told = first_largest(floats(&device, &interpreted, &[&moved]));
        let told = told.map(|told| (told.element, told.is_within()));
        assert_eq!(told, Some((1, true)));
    }
}
