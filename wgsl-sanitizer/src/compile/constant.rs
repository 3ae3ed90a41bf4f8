//! Constants, which lie at the start of each frame.

use half::f16;
use naga::{Arena, Expression, Handle, Literal};

use super::{Compiler, Frame};
use crate::program::builtin;

/// Slots of a value of zeros that is kept as a constant; longer ones are made where they are used.
pub(super) const LONGEST_ZERO: u32 = 64;

impl<'a> Compiler<'a> {
    /// The slots of a constant.
    pub(super) fn constant(&mut self, words: Vec<u32>) -> u32 {
        if let Some(&slot) = self.constants.get(&words) {
            return slot;
        }
        let at = u32::try_from(self.program.constants.len()).unwrap_or(u32::MAX);
        let slot = builtin::COUNT + at;
        self.program.constants.extend_from_slice(&words);
        self.constants.insert(words, slot);
        slot
    }

    /// The words of a constant expression of a function; `None` where it is none.
    pub(super) fn fold(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> Option<Vec<u32>> {
        self.fold_in(&frame.function.expressions, handle)
    }

    /// The same of a module.
    pub(super) fn fold_global(&self, handle: Handle<Expression>) -> Option<Vec<u32>> {
        self.fold_in(&self.module.global_expressions, handle)
    }

    fn fold_in(
        &self,
        expressions: &Arena<Expression>,
        handle: Handle<Expression>,
    ) -> Option<Vec<u32>> {
        match expressions[handle] {
            Expression::Literal(literal) => Some(vec![word(literal)?]),
            Expression::Constant(constant) => {
                self.fold_global(self.module.constants[constant].init)
            }
            Expression::ZeroValue(ty) => {
                let slots = self.types.slots(self.types.inner(ty));
                (slots <= LONGEST_ZERO).then(|| vec![0; slots as usize])
            }
            Expression::Compose { ref components, .. } => {
                let mut words = Vec::new();
                for &component in components {
                    words.extend(self.fold_in(expressions, component)?);
                }
                Some(words)
            }
            Expression::Splat { size, value } => {
                let value = self.fold_in(expressions, value)?;
                Some(value.repeat(size as usize))
            }
            _ => None,
        }
    }
}

/// A literal as a slot has it; `None` for a type that the interpreter does not know.
fn word(literal: Literal) -> Option<u32> {
    Some(match literal {
        Literal::F32(value) => value.to_bits(),
        Literal::F16(value) => f32::from(f16::from_bits(value.to_bits())).to_bits(),
        Literal::U32(value) => value,
        Literal::I32(value) => value.cast_unsigned(),
        Literal::Bool(value) => value.into(),
        _ => return None,
    })
}
