//! Atomic operations.

use naga::AtomicFunction;

use crate::report::Access;

/// The kind of an atomic operation.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AtomicOperation {
    Load,
    Store,
    Update(AtomicUpdate),
    /// Stores the new value if the old value equals the value in this slot.
    CompareExchange(u32),
}

/// An atomic read-modify-write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtomicUpdate {
    Add,
    Subtract,
    And,
    Or,
    Xor,
    MinSigned,
    MaxSigned,
    MinUnsigned,
    MaxUnsigned,
    AddFloat,
    SubtractFloat,
    Exchange,
}

impl AtomicUpdate {
    pub(crate) fn new(function: AtomicFunction, kind: naga::ScalarKind) -> Option<Self> {
        use naga::ScalarKind::{Float, Sint, Uint};
        Some(match (function, kind) {
            (AtomicFunction::Add, Float) => Self::AddFloat,
            (AtomicFunction::Subtract, Float) => Self::SubtractFloat,
            (AtomicFunction::Add, _) => Self::Add,
            (AtomicFunction::Subtract, _) => Self::Subtract,
            (AtomicFunction::And, _) => Self::And,
            (AtomicFunction::InclusiveOr, _) => Self::Or,
            (AtomicFunction::ExclusiveOr, _) => Self::Xor,
            (AtomicFunction::Min, Sint) => Self::MinSigned,
            (AtomicFunction::Max, Sint) => Self::MaxSigned,
            (AtomicFunction::Min, Uint) => Self::MinUnsigned,
            (AtomicFunction::Max, Uint) => Self::MaxUnsigned,
            (AtomicFunction::Exchange { compare: None }, _) => Self::Exchange,
            _ => return None,
        })
    }

    pub(crate) fn apply(self, old: u32, value: u32) -> u32 {
        let signed = u32::cast_signed;
        let float = |result: fn(f32, f32) -> f32| {
            result(f32::from_bits(old), f32::from_bits(value)).to_bits()
        };
        match self {
            Self::Add => old.wrapping_add(value),
            Self::Subtract => old.wrapping_sub(value),
            Self::And => old & value,
            Self::Or => old | value,
            Self::Xor => old ^ value,
            Self::MinSigned => signed(old).min(signed(value)).cast_unsigned(),
            Self::MaxSigned => signed(old).max(signed(value)).cast_unsigned(),
            Self::MinUnsigned => old.min(value),
            Self::MaxUnsigned => old.max(value),
            Self::AddFloat => float(|a, b| a + b),
            Self::SubtractFloat => float(|a, b| a - b),
            Self::Exchange => value,
        }
    }
}

/// An atomic operation on a word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Atomic {
    pub(crate) operation: AtomicOperation,
    /// An index into `Program::variables`. The variable is in a buffer or in workgroup memory.
    pub(crate) variable: u16,
    pub(crate) at: u32,
    pub(crate) dynamic: u32,
    /// The slot of the operand, or `NONE` if the operation has none.
    pub(crate) value: u32,
}

impl Atomic {
    pub(crate) fn access(&self) -> Access {
        match self.operation {
            AtomicOperation::Load => Access::AtomicRead,
            _ => Access::AtomicWrite,
        }
    }
}
