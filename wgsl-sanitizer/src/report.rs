//! Findings: the problems that the interpreter found in a dispatch.

mod display;
#[cfg(test)]
mod tests;

use crate::layout::Scalar;
use crate::settings::Order;

/// A place in the source. Lines and columns are counted from 1. A column is a number of characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Place {
    /// Name of the file, as the caller gave it.
    pub file: String,
    /// Line number in the file, from 1.
    pub line: u32,
    /// Column in the line, in characters, from 1.
    pub column: u32,
    /// The source text at the place. If it has several lines, only the first.
    pub text: String,
}

/// How an invocation accesses memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// A read.
    Read,
    /// A write.
    Write,
    /// An atomic read.
    AtomicRead,
    /// An atomic write, or an atomic read-modify-write.
    AtomicWrite,
}

/// The address space of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Space {
    /// A storage buffer, `var<storage>`.
    Storage,
    /// A uniform buffer, `var<uniform>`.
    Uniform,
    /// Workgroup memory, `var<workgroup>`.
    Workgroup,
    /// Memory of one invocation, `var<private>`.
    Private,
    /// A variable in a function, or a value that is in no variable.
    Function,
}

/// An invocation, and the place in the source that it executes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Side {
    /// The place in the source.
    pub place: Place,
    /// The invocation's `workgroup_id`.
    pub workgroup: [u32; 3],
    /// The invocation's `local_invocation_id`.
    pub invocation: [u32; 3],
    /// The places of the function calls that lead to `place`, the innermost call first. Empty if `place` is in the
    /// entry point itself.
    pub calls: Vec<Place>,
}

/// A kind of problem, with its details.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// A data race: two invocations access the same location, and no barrier orders the two accesses. At least one
    /// access is a write, and at least one is not atomic.
    Race {
        /// Address space of the variable.
        space: Space,
        /// Name of the variable at [`Finding::side`]. The other side may use another variable, because two bindings may
        /// share a buffer.
        variable: String,
        /// The location, as a WGSL expression: `particles[3].position.x`.
        location: String,
        /// The later access, by [`Finding::side`].
        access: Access,
        /// The earlier access, by [`Finding::other`].
        other: Access,
        /// Offset of the location in the variable: in bytes for a buffer, in scalars for workgroup memory.
        offset: u64,
    },
    /// Not all invocations of a workgroup reach this barrier. The invocation [`Finding::other`] waits at another
    /// barrier, is in another iteration of a loop, or has ended.
    Divergence,
    /// An access outside a variable, or outside the range of the buffer that is bound to it.
    OutOfBounds {
        /// Address space of the variable.
        space: Space,
        /// Name of the variable.
        variable: String,
        /// The kind of access.
        access: Access,
        /// The index that was out of bounds. If the bound range is too small for a constant offset, the byte offset of
        /// the access.
        index: i64,
        /// The number of elements of the indexed value, or of bytes in the bound range.
        length: u64,
        /// Whether `index` and `length` are in bytes.
        in_bytes: bool,
    },
    /// A read of memory that was not written before.
    Unwritten {
        /// Address space of the variable.
        space: Space,
        /// Name of the variable.
        variable: String,
        /// The location, as a WGSL expression: `particles[3].position.x`.
        location: String,
        /// Offset of the location in the variable: in bytes for a buffer, in scalars for workgroup memory.
        offset: u64,
    },
    /// An integer division or remainder by zero, or an integer division or remainder whose quotient overflows.
    Division,
    /// A shift by 32 bits or more, the width of the operand.
    Shift {
        /// The shift amount, in bits.
        by: u32,
    },
    /// A conversion of a number that is outside the range of the target type.
    Conversion {
        /// The number to convert.
        value: f64,
        /// The target type.
        to: &'static str,
    },
    /// An invocation exceeded [`Settings::loop_budget`](crate::Settings::loop_budget).
    Endless {
        /// The loop budget, in iterations.
        budget: u64,
    },
    /// The contents of a buffer depend on the order of the invocations.
    OrderDependent {
        /// Index of the buffer, in the buffers that [`sanitize`](crate::sanitize) takes.
        buffer: usize,
        /// Name of a variable that is bound to the buffer.
        variable: String,
        /// The first location that differs, as a WGSL expression: `particles[3].position.x`.
        location: String,
        /// Offset of the location in the variable, in bytes.
        offset: u64,
        /// Type of the value.
        scalar: Scalar,
        /// The first order of the settings, and the first order that gave another value.
        orders: [Order; 2],
        /// The bits of the location's value after each of the two `orders`.
        values: [u32; 2],
    },
}

/// A problem, with the place where it first occurred.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// The problem.
    pub problem: Problem,
    /// The invocation that caused the problem. `None` for a problem without a place in the source.
    pub side: Option<Side>,
    /// The other invocation, for a race or a divergence.
    pub other: Option<Side>,
    /// How often the problem occurred at the same places in the source, counted only in the order that found it first.
    /// For [`Problem::OrderDependent`]: the number of orders whose result differs from the first order's result.
    pub times: u64,
    /// Whether a race occurs both between invocations of one workgroup and between invocations of different workgroups.
    /// `side` and `other` show the race that was found first. False for other problems.
    pub within_and_between: bool,
}

/// A basic block of an entry point or of a function that it calls.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Block {
    /// Where the block starts.
    pub place: Place,
    /// The kind of block: `body of a loop`, `case of a switch`, …
    pub what: &'static str,
}

/// The findings of a dispatch.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// All problems, in the order in which they were found.
    pub findings: Vec<Finding>,
    /// Number of instructions that the interpreter executed, summed over all orders.
    pub operations: u64,
    /// For each of the kernel's [blocks](crate::Kernel::blocks): whether at least one invocation entered it.
    pub reached: Vec<bool>,
}

impl Report {
    /// Returns whether there are no findings.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Iterates over the blocks that no invocation entered. `blocks` are the [blocks](crate::Kernel::blocks) of the
    /// kernel that was run.
    pub fn unreached<'a>(&'a self, blocks: &'a [Block]) -> impl Iterator<Item = &'a Block> {
        let pairs = blocks.iter().zip(&self.reached);
        pairs
            .filter(|(_, reached)| !**reached)
            .map(|(block, _)| block)
    }
}
