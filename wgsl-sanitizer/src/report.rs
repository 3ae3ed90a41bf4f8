//! What was found.

mod display;
#[cfg(test)]
mod tests;

use crate::layout::Scalar;
use crate::settings::Order;

/// A place in the source, as people count: lines and columns from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Place {
    /// Name of the file, as it was given.
    pub file: String,
    /// Line in that file.
    pub line: u32,
    /// Column.
    pub column: u32,
    /// The text there, at most a line.
    pub text: String,
}

/// What an invocation did to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// A read.
    Read,
    /// A write.
    Write,
    /// An atomic read.
    AtomicRead,
    /// An atomic write, or an atomic read and write in one.
    AtomicWrite,
}

/// Where a variable lies.
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
    /// A variable of a function, or a value.
    Function,
}

/// One invocation at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Side {
    /// Where in the source.
    pub place: Place,
    /// `workgroup_id`.
    pub workgroup: [u32; 3],
    /// `local_invocation_id`.
    pub invocation: [u32; 3],
    /// The calls by which it came there, the innermost first; none in the entry point itself.
    pub calls: Vec<Place>,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// Two invocations access one location, one of them writes, not both are atomic, and nothing orders them.
    Race {
        /// Where the variable lies.
        space: Space,
        /// Name of the variable that this side goes by.
        variable: String,
        /// The location in it, as WGSL has it: `particles[3].position.x`.
        location: String,
        /// What this side does.
        access: Access,
        /// What the other side did before.
        other: Access,
        /// Byte of the variable in a buffer; in workgroup memory which of its scalars, in order.
        offset: u64,
    },
    /// Not all invocations of a workgroup reach this barrier; the other side is at another one, in another
    /// iteration of a loop, or has ended.
    Divergence,
    /// An access outside of a variable or of what is bound to it.
    OutOfBounds {
        /// Where the variable lies.
        space: Space,
        /// Name of the variable.
        variable: String,
        /// What was done.
        access: Access,
        /// The index, or the byte where no index is the cause.
        index: i64,
        /// How many there are.
        length: u64,
        /// Whether both are bytes.
        in_bytes: bool,
    },
    /// A read of memory that nobody wrote.
    Unwritten {
        /// Where the variable lies.
        space: Space,
        /// Name of the variable.
        variable: String,
        /// The location in it, as WGSL has it: `particles[3].position.x`.
        location: String,
        /// Byte of the variable in a buffer; in workgroup memory which of its scalars, in order.
        offset: u64,
    },
    /// An integer division by zero, or one whose quotient overflows.
    Division,
    /// A shift by the width of its operand or more.
    Shift {
        /// By how much.
        by: u32,
    },
    /// A number that the type it is converted to does not have.
    Conversion {
        /// The number.
        value: f64,
        /// The type.
        to: &'static str,
    },
    /// More loop iterations than the budget has.
    Endless {
        /// The budget.
        budget: u64,
    },
    /// A location that has another value after another order of the invocations.
    OrderDependent {
        /// Which of the buffers.
        buffer: usize,
        /// Name of a variable bound there.
        variable: String,
        /// The first location that differs, as WGSL has it: `particles[3].position.x`.
        location: String,
        /// Its byte of the variable.
        offset: u64,
        /// Its type.
        scalar: Scalar,
        /// The first order, and the first after which it has another value.
        orders: [Order; 2],
        /// Its values after them, as bits.
        values: [u32; 2],
    },
}

/// One thing that is wrong, at its first occurrence.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// Who did it; `None` for what has no place in the source.
    pub side: Option<Side>,
    /// With whom, of a race or of barriers that are not the same.
    pub other: Option<Side>,
    /// How often the same happened between the same places in the order in which it was found; of an order-dependent
    /// result, after how many orders it is another than after the first.
    pub times: u64,
    /// Of a race: whether there is one between invocations of a workgroup, and one between workgroups. The sides are those
    /// of whichever came first.
    pub within_and_between: bool,
}

/// A basic block of an entry point or of a function that it calls.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Block {
    /// Where it starts.
    pub place: Place,
    /// What it is: `body of a loop`, `case of a switch`, …
    pub what: &'static str,
}

/// What a dispatch was found to do.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Everything that is wrong, in the order in which it was met.
    pub findings: Vec<Finding>,
    /// Instructions of the interpreter that were run, in all orders together.
    pub operations: u64,
    /// Of each of the kernel's [blocks](crate::Kernel::blocks), whether an invocation entered it.
    pub reached: Vec<bool>,
}

impl Report {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// The blocks that no invocation entered, of those of the [kernel](crate::Kernel::blocks) that was run.
    pub fn unreached<'a>(&'a self, blocks: &'a [Block]) -> impl Iterator<Item = &'a Block> {
        let pairs = blocks.iter().zip(&self.reached);
        pairs
            .filter(|(_, reached)| !**reached)
            .map(|(block, _)| block)
    }
}
