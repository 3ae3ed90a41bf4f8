//! The interpreter's program: an entry point as a list of instructions on slots.
//!
//! A *slot* is 32 bits of an invocation's frame. A scalar takes one slot. Vectors, matrices, arrays and structs
//! store their scalars in consecutive slots, without padding. An `f16` is stored as the `f32` with the same value.
//! Functions are inlined, which works because WGSL has no recursion. So an instruction also identifies the calls
//! that lead to it.
//!
//! A pointer is known at compile time, except for indices that are not constant. Their contribution is computed into
//! three slots: the offset, or [`BAD`] if an index was out of bounds, followed by that index and the length it
//! exceeded.

mod atomic;

use std::borrow::Cow;

use naga::{MathFunction, Span};

use crate::layout::Layout;
use crate::math::Number;
use crate::report::{Block, Space};
use crate::shader::Binding;
use crate::source::Source;
pub(crate) use atomic::{Atomic, AtomicOperation, AtomicUpdate};

/// The offset of a pointer with an index out of bounds.
pub(crate) const BAD: u32 = u32::MAX;
/// The same as [`BAD`], for an index of a signed type.
pub(crate) const BAD_SIGNED: u32 = u32::MAX - 1;
/// No slot.
pub(crate) const NONE: u32 = u32::MAX;

/// Slots of the built-in values, at the start of the frame.
pub(crate) mod builtin {
    pub(crate) const LOCAL_ID: u32 = 0;
    pub(crate) const LOCAL_INDEX: u32 = 3;
    pub(crate) const GLOBAL_ID: u32 = 4;
    pub(crate) const WORKGROUP_ID: u32 = 7;
    pub(crate) const NUM_WORKGROUPS: u32 = 10;
    pub(crate) const COUNT: u32 = 13;
}

/// A unary operation, on each component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unary {
    NegateFloat,
    NegateInteger,
    Not,
    Complement,
    /// Rounds to `f16`.
    Half,
    FloatToSigned,
    FloatToUnsigned,
    HalfToSigned,
    HalfToUnsigned,
    FloatToBool,
    /// Reports a value that is out of the range of `f16`.
    FloatToHalf,
    SignedToFloat,
    UnsignedToFloat,
    BoolToFloat,
    ToBool,
    IsNan,
    IsInf,
}

/// A binary operation, on each component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    AddFloat,
    SubtractFloat,
    MultiplyFloat,
    DivideFloat,
    RemainderFloat,
    EqualFloat,
    UnequalFloat,
    LessFloat,
    LessEqualFloat,
    GreaterFloat,
    GreaterEqualFloat,
    Add,
    Subtract,
    Multiply,
    DivideSigned,
    DivideUnsigned,
    RemainderSigned,
    RemainderUnsigned,
    Equal,
    Unequal,
    LessSigned,
    LessEqualSigned,
    GreaterSigned,
    GreaterEqualSigned,
    LessUnsigned,
    LessEqualUnsigned,
    GreaterUnsigned,
    GreaterEqualUnsigned,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRightSigned,
    ShiftRightUnsigned,
}

impl Binary {
    pub(crate) const fn compares_floats(self) -> bool {
        matches!(
            self,
            Self::EqualFloat
                | Self::UnequalFloat
                | Self::LessFloat
                | Self::LessEqualFloat
                | Self::GreaterFloat
                | Self::GreaterEqualFloat
        )
    }
}

/// Operands of type `u32` are slots, unless their comment says otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Instruction {
    /// `to` is the index of an instruction, in all jumps.
    Jump {
        to: u32,
    },
    JumpUnless {
        condition: u32,
        to: u32,
    },
    JumpIf {
        condition: u32,
        to: u32,
    },
    /// `table` is an index into [`Program::switches`].
    Switch {
        selector: u32,
        table: u32,
    },
    /// Sets a loop's counter to zero, where the loop begins or ends.
    ResetLoop {
        counter: u32,
    },
    /// Starts the next iteration of a loop.
    Repeat {
        counter: u32,
        to: u32,
    },
    /// Enters a block of the source.
    Enter {
        block: u32,
    },
    /// `loops` is an index into [`Program::loops`]: the counters of all loops around the barrier.
    Barrier {
        storage: bool,
        workgroup: bool,
        loops: u32,
    },
    End,

    Copy {
        to: u32,
        from: u32,
        count: u32,
    },
    Fill {
        to: u32,
        from: u32,
        count: u32,
    },
    Zero {
        to: u32,
        count: u32,
    },
    /// Copies the components whose condition is true.
    TakeIf {
        count: u8,
        each: bool,
        to: u32,
        condition: u32,
        from: u32,
    },
    Unary {
        operation: Unary,
        count: u8,
        to: u32,
        from: u32,
    },
    Binary {
        operation: Binary,
        count: u8,
        /// Whether the numbers are `f16`. Another instruction rounds the result.
        is_half: bool,
        to: u32,
        left: u32,
        right: u32,
    },
    /// A product of matrices: the rows of `left` and the columns of `right` have `inner` scalars.
    Product {
        rows: u8,
        inner: u8,
        columns: u8,
        to: u32,
        left: u32,
        right: u32,
    },
    /// [`Product`](Self::Product) for `f16`. An extra field there would make every instruction longer.
    ProductHalves {
        rows: u8,
        inner: u8,
        columns: u8,
        to: u32,
        left: u32,
        right: u32,
    },
    All {
        count: u8,
        to: u32,
        from: u32,
    },
    Any {
        count: u8,
        to: u32,
        from: u32,
    },
    /// `call` is an index into [`Program::calls`].
    Call {
        call: u32,
        to: u32,
    },
    /// `pick` is an index into [`Program::picks`].
    Pick {
        pick: u32,
        to: u32,
    },

    /// `index` is an index into [`Program::indices`].
    Index {
        index: u32,
        to: u32,
    },
    LoadLocal {
        count: u16,
        to: u32,
        at: u32,
        dynamic: u32,
    },
    StoreLocal {
        count: u16,
        from: u32,
        at: u32,
        dynamic: u32,
    },
    LoadWorkgroup {
        count: u16,
        to: u32,
        at: u32,
        dynamic: u32,
    },
    StoreWorkgroup {
        count: u16,
        from: u32,
        at: u32,
        dynamic: u32,
    },
    /// `at` and the dynamic offset are in bytes, `count` in words; `variable` is an index into
    /// [`Program::variables`].
    LoadBuffer {
        count: u8,
        variable: u16,
        to: u32,
        at: u32,
        dynamic: u32,
    },
    StoreBuffer {
        count: u8,
        variable: u16,
        from: u32,
        at: u32,
        dynamic: u32,
    },
    /// [`LoadBuffer`](Self::LoadBuffer) for `count` numbers of 16 bits.
    LoadHalves {
        count: u8,
        variable: u16,
        to: u32,
        at: u32,
        dynamic: u32,
    },
    StoreHalves {
        count: u8,
        variable: u16,
        from: u32,
        at: u32,
        dynamic: u32,
    },
    /// Counts as a write of a whole vector of `count` slots: a write of one component may write the others too.
    TouchWorkgroup {
        count: u16,
        at: u32,
        dynamic: u32,
    },
    /// [`TouchWorkgroup`](Self::TouchWorkgroup) for a buffer, with `count` in bytes.
    TouchBuffer {
        count: u8,
        variable: u16,
        at: u32,
        dynamic: u32,
    },
    /// `atomic` is an index into [`Program::atomics`].
    Atomic {
        atomic: u32,
        to: u32,
    },
    /// The length of an array; `length` is an index into [`Program::lengths`].
    Length {
        length: u32,
        to: u32,
    },
}

/// A call of a built-in function.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) function: MathFunction,
    pub(crate) number: Number,
    /// Slots of the result.
    pub(crate) count: u32,
    /// Whether component i of the result depends only on the components i of the arguments.
    pub(crate) by_component: bool,
    pub(crate) columns: usize,
    /// Slot and count of each argument.
    pub(crate) arguments: Vec<(u32, u32)>,
}

/// An element of a value, by an index that is not constant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pick {
    pub(crate) from: u32,
    pub(crate) index: u32,
    pub(crate) is_signed: bool,
    /// The number of elements, and the slots of each.
    pub(crate) length: u32,
    pub(crate) size: u32,
}

/// An index that is not constant, and what it adds to an offset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Index {
    /// The offset so far, or [`NONE`].
    pub(crate) from: u32,
    pub(crate) index: u32,
    pub(crate) is_signed: bool,
    /// In bytes for buffers, in slots elsewhere.
    pub(crate) stride: u32,
    pub(crate) length: Length,
}

/// How many elements an array has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Length {
    Fixed(u32),
    /// As many elements as fit in the bound range, from byte `at` on.
    Bound {
        variable: u16,
        at: u32,
        stride: u32,
    },
}

/// A global variable.
#[derive(Debug, Clone)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) space: Space,
    /// For a buffer: an index into [`Program::bindings`].
    pub(crate) binding: Option<usize>,
    /// For workgroup memory: its first slot.
    pub(crate) slot: u32,
    /// Whether the shader may write it.
    pub(crate) is_writable: bool,
}

/// A variable, as messages name it.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) text: Cow<'static, str>,
    pub(crate) space: Space,
    /// For variables that invocations share.
    pub(crate) layout: Option<Layout>,
}

impl Name {
    /// The location at `at`, as a WGSL expression. `at` is in bytes for a buffer, in slots for workgroup memory.
    pub(crate) fn location(&self, at: u64) -> String {
        let path = self.layout.as_ref().map(|layout| layout.path(at));
        format!("{}{}", self.text, path.unwrap_or_default())
    }
}

/// A call of a function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallSite {
    pub(crate) span: Span,
    /// The call that contains this one: an index into [`Program::call_sites`], or [`NONE`].
    pub(crate) outer: u32,
}

/// The source of an instruction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Site {
    pub(crate) span: Span,
    /// The variable that the instruction accesses: an index into [`Program::names`].
    pub(crate) name: u32,
}

/// A compiled entry point.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    pub(crate) code: Vec<Instruction>,
    /// For each instruction, an index into [`sites`](Self::sites).
    pub(crate) site_of: Vec<u32>,
    pub(crate) sites: Vec<Site>,
    pub(crate) names: Vec<Name>,
    /// For each instruction, an index into [`call_sites`](Self::call_sites), or [`NONE`] in the entry point itself.
    pub(crate) call_of: Vec<u32>,
    pub(crate) call_sites: Vec<CallSite>,
    pub(crate) switches: Vec<(Vec<(u32, u32)>, u32)>,
    pub(crate) loops: Vec<Vec<u32>>,
    pub(crate) calls: Vec<Call>,
    pub(crate) picks: Vec<Pick>,
    pub(crate) indices: Vec<Index>,
    pub(crate) lengths: Vec<Length>,
    pub(crate) atomics: Vec<Atomic>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) blocks: Vec<Block>,
    /// Values of the constants, which start at slot [`builtin::COUNT`].
    pub(crate) constants: Vec<u32>,
    /// Slots of an invocation's frame, and of workgroup memory.
    pub(crate) frame: u32,
    pub(crate) workgroup_slots: u32,
    /// Slots of the variables in workgroup memory that contain a `bool`.
    pub(crate) bools: Vec<std::ops::Range<u32>>,
    pub(crate) workgroup_size: [u32; 3],
    /// Whether buffers contain 16-bit numbers.
    pub(crate) has_halves: bool,
    pub(crate) entry: String,
}

impl Program {
    /// Invocations of a workgroup.
    pub(crate) fn invocations(&self) -> u64 {
        product(self.workgroup_size)
    }
}

/// The product of three counts in x, y and z.
pub(crate) fn product(counts: [u32; 3]) -> u64 {
    counts
        .into_iter()
        .map(u64::from)
        .fold(1, u64::saturating_mul)
}

/// A compiled entry point with its source.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) program: Program,
    pub(crate) source: Source,
}
