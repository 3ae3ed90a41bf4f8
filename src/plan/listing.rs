//! A printable description of a plan.

use std::fmt;

use crate::memory::total;

/// A printable description of the dispatches of a [`Plan`](super::Plan).
///
/// `Display` prints one line per dispatch, with shapes, FLOPs and bytes moved.
#[derive(Default, Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub(super) dispatches: Vec<Listed>,
}

/// One dispatch of a [`Listing`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Name of the shader and its entry point, for example `linear::forward`.
    pub name: String,
    /// Number of workgroups.
    pub workgroups: u64,
    /// Names and shapes of the bound tensors.
    pub shapes: String,
    /// Number of floating-point operations.
    pub flops: u64,
    /// Number of bytes moved between memory and the GPU's processors, if each element is moved once.
    pub bytes: u64,
}

impl Listing {
    /// Makes one listing of the dispatches of several listings.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn of_all<'a>(listings: impl Iterator<Item = &'a Self>) -> Self {
        let dispatches = listings.flat_map(|of| of.dispatches.iter().cloned());
        Self {
            dispatches: dispatches.collect(),
        }
    }

    /// The dispatches in order.
    #[must_use]
    pub fn dispatches(&self) -> &[Listed] {
        &self.dispatches
    }

    /// Number of dispatches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dispatches.len()
    }

    /// Whether there are no dispatches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dispatches.is_empty()
    }

    /// Number of floating-point operations of one run, at most `u64::MAX`.
    #[must_use]
    pub fn flops(&self) -> u64 {
        total(self.dispatches.iter().map(|dispatch| dispatch.flops))
    }

    /// Number of bytes moved in one run, if each dispatch moves each of its elements once; at most `u64::MAX`.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        total(self.dispatches.iter().map(|dispatch| dispatch.bytes))
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for dispatch in &self.dispatches {
            writeln!(
                f,
                "{:<42} {:>9} workgroups {:>12} FLOP {:>12} B  {}",
                dispatch.name, dispatch.workgroups, dispatch.flops, dispatch.bytes, dispatch.shapes
            )?;
        }
        write!(
            f,
            "{} dispatches, {} FLOP, {} B",
            self.len(),
            self.flops(),
            self.bytes()
        )
    }
}
