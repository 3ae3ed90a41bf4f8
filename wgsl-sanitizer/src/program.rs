//! What the interpreter runs: the entry point as a list of instructions on slots.
//!
//! A *slot* is 32 bits of an invocation's frame. A scalar has one; vectors, matrices, arrays and structs have their
//! scalars one after another, without padding. An `f16` is held as the `f32` of the same value. Functions are
//! inlined, which WGSL makes possible, as it has no recursion; so a place in the list is a place in the calls, too.
//!
//! A pointer is known when compiling, but for indices that are not constant. What those add is computed into three
//! slots: the offset, or [`BAD`] where an index was out of bounds, and then that index and the length that it missed.

mod atomic;

use std::borrow::Cow;

use naga::{MathFunction, Span};

use crate::layout::Layout;
use crate::math::Number;
use crate::report::{Block, Space};
use crate::shader::Binding;
use crate::source::Source;
pub(crate) use atomic::{Atomic, AtomicOperation, AtomicUpdate};

/// The offset of a pointer that was made with an index out of bounds.
pub(crate) const BAD: u32 = u32::MAX;
/// The same where the index is signed.
pub(crate) const BAD_SIGNED: u32 = u32::MAX - 1;
/// No slot.
pub(crate) const NONE: u32 = u32::MAX;

/// Slots of the values that the language itself gives, after the frame's start.
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
    /// Reports what `f16` has not.
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

/// Operands that are called `u32` are slots, unless said otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Instruction {
    /// `to` is an instruction, as in all jumps.
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
    /// `table` of [`Program::switches`].
    Switch {
        selector: u32,
        table: u32,
    },
    /// A loop begins, or ends: it has gone round no more.
    ResetLoop {
        counter: u32,
    },
    /// Goes round a loop.
    Repeat {
        counter: u32,
        to: u32,
    },
    /// A block of the source is entered.
    Enter {
        block: u32,
    },
    /// `loops` of [`Program::loops`]: the counters of all loops around it.
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
    /// Takes over the components whose condition holds.
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
        /// Whether the numbers are `f16`; their result is rounded by an instruction of its own.
        is_half: bool,
        to: u32,
        left: u32,
        right: u32,
    },
    /// Columns of `inner` scalars on the right, rows of `inner` on the left.
    Product {
        rows: u8,
        inner: u8,
        columns: u8,
        to: u32,
        left: u32,
        right: u32,
    },
    /// The same of `f16`: a field that says so would make every instruction longer.
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
    /// `call` of [`Program::calls`].
    Call {
        call: u32,
        to: u32,
    },
    /// `pick` of [`Program::picks`].
    Pick {
        pick: u32,
        to: u32,
    },

    /// `index` of [`Program::indices`].
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
    /// `at` and the dynamic offset are bytes, `count` words, `variable` one of [`Program::variables`].
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
    /// The same with `count` numbers of 16 bits.
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
    /// Counts as a write of all of a vector, as a write of one of its components may be one. `count` words.
    TouchWorkgroup {
        count: u16,
        at: u32,
        dynamic: u32,
    },
    /// `count` bytes.
    TouchBuffer {
        count: u8,
        variable: u16,
        at: u32,
        dynamic: u32,
    },
    /// `atomic` of [`Program::atomics`].
    Atomic {
        atomic: u32,
        to: u32,
    },
    /// Length of an array: of [`Program::lengths`].
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
    /// Whether component i of the result is one of components i of the arguments.
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
    /// Elements, and slots of each.
    pub(crate) length: u32,
    pub(crate) size: u32,
}

/// An index, by which an offset grows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Index {
    /// The offset so far, or [`NONE`].
    pub(crate) from: u32,
    pub(crate) index: u32,
    pub(crate) is_signed: bool,
    /// Bytes in buffers, slots elsewhere.
    pub(crate) stride: u32,
    pub(crate) length: Length,
}

/// How many elements an array has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Length {
    Fixed(u32),
    /// What is bound has room for, from this byte on.
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
    /// Of a buffer: which of [`Program::bindings`].
    pub(crate) binding: Option<usize>,
    /// Of workgroup memory: its first slot.
    pub(crate) slot: u32,
    /// Whether it may be written.
    pub(crate) is_writable: bool,
}

/// A variable, as messages name it.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) text: Cow<'static, str>,
    pub(crate) space: Space,
    /// Of what invocations share.
    pub(crate) layout: Option<Layout>,
}

impl Name {
    /// A location in it: a byte, or a slot of workgroup memory.
    pub(crate) fn location(&self, at: u64) -> String {
        let path = self.layout.as_ref().map(|layout| layout.path(at));
        format!("{}{}", self.text, path.unwrap_or_default())
    }
}

/// Where a function is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallSite {
    pub(crate) span: Span,
    /// The call around this one, of [`Program::call_sites`], or [`NONE`].
    pub(crate) outer: u32,
}

/// A place in the source that an instruction is of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Site {
    pub(crate) span: Span,
    /// The variable that it accesses, as messages name it: of [`Program::names`].
    pub(crate) name: u32,
}

/// An entry point that is ready to be run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    pub(crate) code: Vec<Instruction>,
    /// Of each instruction, which of [`sites`](Self::sites).
    pub(crate) site_of: Vec<u32>,
    pub(crate) sites: Vec<Site>,
    pub(crate) names: Vec<Name>,
    /// Of each instruction, in which of [`call_sites`](Self::call_sites), or [`NONE`] in the entry point itself.
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
    /// Values of the constants, from slot [`builtin::COUNT`] on.
    pub(crate) constants: Vec<u32>,
    /// Slots of an invocation, and of workgroup memory.
    pub(crate) frame: u32,
    pub(crate) workgroup_slots: u32,
    /// Slots of the variables of workgroup memory that have a `bool` in them.
    pub(crate) bools: Vec<std::ops::Range<u32>>,
    pub(crate) workgroup_size: [u32; 3],
    /// Whether numbers of 16 bits lie in buffers.
    pub(crate) has_halves: bool,
    pub(crate) entry: String,
}

impl Program {
    /// Invocations of a workgroup.
    pub(crate) fn invocations(&self) -> u64 {
        product(self.workgroup_size)
    }
}

/// How many there are of so many in x, y and z.
pub(crate) fn product(counts: [u32; 3]) -> u64 {
    counts
        .into_iter()
        .map(u64::from)
        .fold(1, u64::saturating_mul)
}

/// A compiled entry point with its text.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) program: Program,
    pub(crate) source: Source,
}
