//! The interpreter's program: an entry point as a list of instructions on slots.
//!
//! A *slot* is 32 bits of an invocation's frame. A scalar takes one slot. Vectors, matrices, arrays and structs store
//! their scalars in consecutive slots, without padding. An `f16` is stored as the `f32` with the same value. Functions
//! are inlined, which is possible because WGSL has no recursion. Each instruction therefore belongs to one chain of
//! calls.
//!
//! The compiler knows a pointer except for its non-constant indices. The program computes the offset that these indices
//! add, and stores it in the first of three slots. If an index was out of bounds, the first slot has [`BAD`] or
//! [`BAD_SIGNED`] instead, the second slot has that index, and the third slot has the length of the indexed value.

mod atomic;

use std::borrow::Cow;

use naga::{MathFunction, Span};

use crate::layout::Layout;
use crate::math::Number;
use crate::report::{Block, Space};
use crate::shader::Binding;
use crate::source::Source;
pub(crate) use atomic::{Atomic, AtomicOperation, AtomicUpdate};

/// Stored in place of an offset if an index of the pointer was out of bounds.
pub(crate) const BAD: u32 = u32::MAX;
/// [`BAD`] for an index of a signed type.
pub(crate) const BAD_SIGNED: u32 = u32::MAX - 1;
/// Stored in place of a slot or an index if there is none.
pub(crate) const NONE: u32 = u32::MAX;

/// The slots of the built-in values. They are the first slots of the frame.
pub(crate) mod builtin {
    pub(crate) const LOCAL_ID: u32 = 0;
    pub(crate) const LOCAL_INDEX: u32 = 3;
    pub(crate) const GLOBAL_ID: u32 = 4;
    pub(crate) const WORKGROUP_ID: u32 = 7;
    pub(crate) const NUM_WORKGROUPS: u32 = 10;
    pub(crate) const COUNT: u32 = 13;
}

/// A unary operation, which is applied to each component.
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
    /// Converts to `f16`, and reports a value that is outside the range of `f16`.
    FloatToHalf,
    SignedToFloat,
    UnsignedToFloat,
    BoolToFloat,
    ToBool,
    IsNan,
    IsInf,
}

/// A binary operation, which is applied to each component.
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

/// An instruction. Operands of type `u32` are indices of slots, unless a comment says otherwise. `count` is a number of
/// slots. Memory is accessed at the constant offset `at` plus the offset in slot `dynamic`, if that is not [`NONE`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Instruction {
    /// In a jump, `to` is the index of the target instruction.
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
    /// Jumps to the case of a `switch`. `table` is an index into [`Program::switches`].
    Switch {
        selector: u32,
        table: u32,
    },
    /// Sets a loop's iteration counter to zero. Emitted where the loop begins and where it ends.
    ResetLoop {
        counter: u32,
    },
    /// Adds 1 to a loop's iteration counter, and jumps to the start of the loop's body.
    Repeat {
        counter: u32,
        to: u32,
    },
    /// Records that a block of the source was reached: `block` is an index into [`Program::blocks`].
    Enter {
        block: u32,
    },
    /// Waits for the workgroup's other invocations. `loops` is an index into [`Program::loops`]: the counters of all
    /// loops around the barrier.
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
    /// Copies each component whose condition is true. If `each` is false, one condition applies to all components.
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
        /// Whether the operands are `f16`. The result is in single precision; the next instruction rounds it to `f16`.
        is_half: bool,
        to: u32,
        left: u32,
        right: u32,
    },
    /// Multiplies matrices. Each row of `left` and each column of `right` has `inner` scalars.
    Product {
        rows: u8,
        inner: u8,
        columns: u8,
        to: u32,
        left: u32,
        right: u32,
    },
    /// [`Product`](Self::Product) for `f16`. One more field in `Product` would make every instruction larger.
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
    /// Calls a built-in function. `call` is an index into [`Program::calls`].
    Call {
        call: u32,
        to: u32,
    },
    /// Copies an element of a value. `pick` is an index into [`Program::picks`].
    Pick {
        pick: u32,
        to: u32,
    },

    /// Adds a non-constant index to a pointer's offset. `index` is an index into [`Program::indices`].
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
    /// `count` is a number of 32-bit words. For buffers, `variable` is an index into [`Program::variables`], and
    /// offsets are in bytes.
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
    /// [`LoadBuffer`](Self::LoadBuffer) for `count` numbers of 16 bits each.
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
    /// Records a write to `count` slots: a vector. Emitted before a write to one component, because a GPU may then
    /// write the whole vector.
    TouchWorkgroup {
        count: u16,
        at: u32,
        dynamic: u32,
    },
    /// [`TouchWorkgroup`](Self::TouchWorkgroup) for a buffer. Here, `count` is in bytes.
    TouchBuffer {
        count: u8,
        variable: u16,
        at: u32,
        dynamic: u32,
    },
    /// Runs an atomic operation. `atomic` is an index into [`Program::atomics`].
    Atomic {
        atomic: u32,
        to: u32,
    },
    /// Computes the length of an array. `length` is an index into [`Program::lengths`].
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
    /// The number of slots of the result.
    pub(crate) count: u32,
    /// Whether component i of the result depends only on component i of each argument.
    pub(crate) by_component: bool,
    pub(crate) columns: usize,
    /// For each argument: its first slot, and its number of slots.
    pub(crate) arguments: Vec<(u32, u32)>,
}

/// Selects an element of a value by an index that is not constant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pick {
    pub(crate) from: u32,
    pub(crate) index: u32,
    pub(crate) is_signed: bool,
    /// `length` is the number of elements, `size` the number of slots per element.
    pub(crate) length: u32,
    pub(crate) size: u32,
}

/// An index that is not constant. It adds `index · stride` to an offset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Index {
    /// The slot of the offset that earlier indices gave, or [`NONE`] for the first index.
    pub(crate) from: u32,
    pub(crate) index: u32,
    pub(crate) is_signed: bool,
    /// The distance between elements: in bytes for buffers, otherwise in slots.
    pub(crate) stride: u32,
    pub(crate) length: Length,
}

/// The number of elements of an array.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Length {
    Fixed(u32),
    /// As many elements as fit in the bound range of `variable`, from byte `at` on.
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
    /// For a buffer: an index into [`Program::bindings`]. `None` for workgroup memory.
    pub(crate) binding: Option<usize>,
    /// For workgroup memory: its first slot.
    pub(crate) slot: u32,
    /// Whether the shader can write the variable.
    pub(crate) is_writable: bool,
}

/// A variable's name in messages, with its address space and layout.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) text: Cow<'static, str>,
    pub(crate) space: Space,
    /// The layout; `None` for a variable that only one invocation can access.
    pub(crate) layout: Option<Layout>,
}

impl Name {
    /// Returns the WGSL expression for the location at offset `at` (bytes for a buffer, slots for workgroup memory).
    pub(crate) fn location(&self, at: u64) -> String {
        let path = self.layout.as_ref().map(|layout| layout.path(at));
        format!("{}{}", self.text, path.unwrap_or_default())
    }
}

/// The place in the source of a call that was inlined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallSite {
    pub(crate) span: Span,
    /// The call of the function that contains this call: an index into [`Program::call_sites`], or [`NONE`].
    pub(crate) outer: u32,
}

/// The place in the source of an instruction.
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
    /// For each instruction: an index into [`sites`](Self::sites).
    pub(crate) site_of: Vec<u32>,
    pub(crate) sites: Vec<Site>,
    pub(crate) names: Vec<Name>,
    /// For each instruction: an index into [`call_sites`](Self::call_sites), or [`NONE`] in the entry point itself.
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
    /// The words of the constants. They are in the frame from slot [`builtin::COUNT`] on.
    pub(crate) constants: Vec<u32>,
    /// Numbers of slots: of an invocation's frame (`frame`), and of workgroup memory (`workgroup_slots`).
    pub(crate) frame: u32,
    pub(crate) workgroup_slots: u32,
    /// The ranges of slots of the workgroup variables that contain a `bool`.
    pub(crate) bools: Vec<std::ops::Range<u32>>,
    pub(crate) workgroup_size: [u32; 3],
    /// Whether any buffer contains `f16`.
    pub(crate) has_halves: bool,
    pub(crate) entry: String,
}

impl Program {
    /// Returns the number of invocations per workgroup.
    pub(crate) fn invocations(&self) -> u64 {
        product(self.workgroup_size)
    }
}

/// Returns the product of three counts in x, y and z.
pub(crate) fn product(counts: [u32; 3]) -> u64 {
    counts
        .into_iter()
        .map(u64::from)
        .fold(1, u64::saturating_mul)
}

/// A compiled entry point with its source text.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) program: Program,
    pub(crate) source: Source,
}
