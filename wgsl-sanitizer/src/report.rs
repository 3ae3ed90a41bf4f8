//! What the interpreter found.

mod display;
#[cfg(test)]
mod tests;

use crate::layout::Scalar;
use crate::settings::Order;

/// A place in the source. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Place {
    /// Name of the file, as the caller gave it.
    pub file: String,
    /// Line in the file.
    pub line: u32,
    /// Column in the line.
    pub column: u32,
    /// The source text at the place: its first line at most.
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
    /// `var<storage>`.
    Storage,
    /// `var<uniform>`.
    Uniform,
    /// `var<workgroup>`.
    Workgroup,
    /// `var<private>`.
    Private,
    /// A variable in a function, or a value.
    Function,
}

/// One invocation at one place in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Side {
    /// The place in the source.
    pub place: Place,
    /// `workgroup_id`.
    pub workgroup: [u32; 3],
    /// `local_invocation_id`.
    pub invocation: [u32; 3],
    /// The places of the calls that lead there, the innermost first. Empty in the entry point itself.
    pub calls: Vec<Place>,
}

/// A kind of problem, with its details.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// Two invocations access one location, at least one writes, at least one access is not atomic, and nothing
    /// orders them.
    Race {
        /// Address space of the variable.
        space: Space,
        /// Name of the variable, as this side calls it: two bindings may share a buffer.
        variable: String,
        /// The location, as a WGSL expression: `particles[3].position.x`.
        location: String,
        /// The later access, of [`Finding::side`].
        access: Access,
        /// The earlier access, of [`Finding::other`].
        other: Access,
        /// Offset of the location in the variable: in bytes in a buffer, in scalars in workgroup memory.
        offset: u64,
    },
    /// Not all invocations of a workgroup reach this barrier. The other side waits at another barrier, is in another
    /// iteration of a loop, or has ended.
    Divergence,
    /// An access outside a variable, or outside the range that is bound to it.
    OutOfBounds {
        /// Address space of the variable.
        space: Space,
        /// Name of the variable.
        variable: String,
        /// How it was accessed.
        access: Access,
        /// The index, or the byte offset if no index caused the access.
        index: i64,
        /// The length of what is indexed: elements, or bytes.
        length: u64,
        /// Whether `index` and `length` are in bytes.
        in_bytes: bool,
    },
    /// A read of memory that nobody wrote.
    Unwritten {
        /// Address space of the variable.
        space: Space,
        /// Name of the variable.
        variable: String,
        /// The location, as a WGSL expression: `particles[3].position.x`.
        location: String,
        /// Offset of the location in the variable: in bytes in a buffer, in scalars in workgroup memory.
        offset: u64,
    },
    /// An integer division or remainder by zero, or one whose quotient overflows.
    Division,
    /// A shift by at least the width of the operand.
    Shift {
        /// The shift amount, in bits.
        by: u32,
    },
    /// A conversion of a number that the target type cannot represent.
    Conversion {
        /// The number before the conversion.
        value: f64,
        /// The target type.
        to: &'static str,
    },
    /// An invocation needs more loop iterations than the budget allows.
    Endless {
        /// The budget, in iterations.
        budget: u64,
    },
    /// A location whose value depends on the order of the invocations.
    OrderDependent {
        /// Index of the buffer.
        buffer: usize,
        /// Name of a variable that is bound to the buffer.
        variable: String,
        /// The first location that differs, as a WGSL expression: `particles[3].position.x`.
        location: String,
        /// Offset of the location in the variable, in bytes.
        offset: u64,
        /// Type of the value.
        scalar: Scalar,
        /// The first order, and the first order with another value.
        orders: [Order; 2],
        /// The values after these two orders, as bits.
        values: [u32; 2],
    },
}

/// One problem, with its first occurrence.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// The problem.
    pub problem: Problem,
    /// The invocation that caused it; `None` for a problem without a place in the source.
    pub side: Option<Side>,
    /// The other invocation of a race or of a divergence.
    pub other: Option<Side>,
    /// How often the problem occurred at the same places, in the order that found it first. For an order-dependent
    /// result: the number of orders whose result differs from the first order's.
    pub times: u64,
    /// For a race: whether it occurs both between invocations of one workgroup and between workgroups. The two sides
    /// show whichever was found first.
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
    /// Instructions that the interpreter executed, over all orders.
    pub operations: u64,
    /// For each of the kernel's [blocks](crate::Kernel::blocks), whether an invocation entered it.
    pub reached: Vec<bool>,
}

impl Report {
    /// Whether there are no findings.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// The blocks that no invocation entered. `blocks` are those of the [kernel](crate::Kernel::blocks) that was
    /// run.
    pub fn unreached<'a>(&'a self, blocks: &'a [Block]) -> impl Iterator<Item = &'a Block> {
        let pairs = blocks.iter().zip(&self.reached);
        pairs
            .filter(|(_, reached)| !**reached)
            .map(|(block, _)| block)
    }
}
