//! What a plan does, in words and numbers.

use std::fmt;

use crate::memory::total;

/// The dispatches of a plan, to be printed: nothing that could run. `Display` prints a line for each, with shapes,
/// FLOPs and bytes.
#[derive(Default, Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub(super) dispatches: Vec<Listed>,
}

/// One dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Shader and entry point, for example `linear::forward`.
    pub name: String,
    /// Number of workgroups.
    pub workgroups: u64,
    /// What is bound, with its shapes.
    pub shapes: String,
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes moved, if each element is touched once.
    pub bytes: u64,
}

impl Listing {
    /// All dispatches of several, one behind another.
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

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dispatches.is_empty()
    }

    /// Floating-point operations of one execution, or `u64::MAX` where there are more.
    #[must_use]
    pub fn flops(&self) -> u64 {
        total(self.dispatches.iter().map(|dispatch| dispatch.flops))
    }

    /// Bytes that one execution moves, if each dispatch touches each of its elements once, or `u64::MAX` where there are more.
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
