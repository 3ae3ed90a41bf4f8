//! Compiles constants. Their slots lie after the built-in values at the start of each frame.

use half::f16;
use naga::{Arena, Expression, Handle, Literal};

use super::{Compiler, Frame};
use crate::error::Error;
use crate::program::{Instruction, builtin};

/// The maximum number of slots of an all-zero value that is stored as a constant. For a longer value, each use emits an
/// instruction that writes the zeros.
const LONGEST_ZERO: u32 = 64;

/// The maximum number of slots of all constants in a program: 64 MiB in each frame.
const MOST_CONSTANTS: usize = 1 << 24;

impl<'a> Compiler<'a> {
    /// Returns the first slot of a constant. Adds the constant to the program if it is new.
    pub(super) fn constant(&mut self, words: Vec<u32>) -> Result<u32, Error> {
        if let Some(&slot) = self.constants.get(&words) {
            return Ok(slot);
        }
        let before = self.program.constants.len();
        if before + words.len() > MOST_CONSTANTS {
            return Err(self.too_long(words.len()));
        }
        let slot = builtin::COUNT + u32::try_from(before).unwrap_or(u32::MAX);
        self.program.constants.extend_from_slice(&words);
        self.constants.insert(words, slot);
        Ok(slot)
    }

    fn too_long(&self, slots: usize) -> Error {
        self.unsupported(format!(
            "a constant of {} bytes, beside {} others of `{}`, more than {} in all,",
            4 * slots,
            4 * self.program.constants.len(),
            self.program.entry,
            4 * MOST_CONSTANTS
        ))
    }

    /// Returns the words of a constant expression with `count` slots. Returns `None` if the expression is not constant,
    /// or too long to be stored as a constant.
    pub(super) fn fold(
        &self,
        frame: &Frame<'a>,
        handle: Handle<Expression>,
        count: u32,
    ) -> Option<Vec<u32>> {
        let expressions = &frame.function.expressions;
        let most = if self.is_zero(expressions, handle) {
            LONGEST_ZERO as usize
        } else {
            MOST_CONSTANTS
        };
        let is_short = count as usize <= most;
        is_short
            .then(|| self.fold_in(expressions, handle))
            .flatten()
    }

    /// Emits instructions that write the initial value of a global variable into the slots from `at` on.
    pub(super) fn set_global(
        &mut self,
        at: u32,
        init: Handle<Expression>,
        count: u32,
    ) -> Result<(), Error> {
        let expressions = &self.module.global_expressions;
        if self.is_zero(expressions, init) {
            return self.emit(Instruction::Zero { to: at, count });
        }
        if count as usize > MOST_CONSTANTS {
            return Err(self.too_long(count as usize));
        }
        let words = self.fold_in(expressions, init);
        let words = words.ok_or_else(|| self.unsupported("this initial value"))?;
        let from = self.constant(words)?;
        self.copy(at, from, count)
    }

    /// Compiles a constant expression for which [`fold`](Self::fold) returns `None`. Returns its first slot.
    pub(super) fn long_constant(
        &mut self,
        frame: &Frame<'a>,
        handle: Handle<Expression>,
        count: u32,
    ) -> Result<u32, Error> {
        if self.is_zero(&frame.function.expressions, handle) {
            let to = self.allocate(count)?;
            self.emit(Instruction::Zero { to, count })?;
            return Ok(to);
        }
        Err(if count as usize > MOST_CONSTANTS {
            self.too_long(count as usize)
        } else {
            self.unsupported("a constant of this type")
        })
    }

    fn is_zero(&self, expressions: &Arena<Expression>, handle: Handle<Expression>) -> bool {
        match expressions[handle] {
            Expression::ZeroValue(_) => true,
            Expression::Constant(constant) => {
                let init = self.module.constants[constant].init;
                self.is_zero(&self.module.global_expressions, init)
            }
            _ => false,
        }
    }

    /// Returns the words of a constant expression. The caller has checked its length.
    fn fold_in(
        &self,
        expressions: &Arena<Expression>,
        handle: Handle<Expression>,
    ) -> Option<Vec<u32>> {
        match expressions[handle] {
            Expression::Literal(literal) => Some(vec![word(literal)?]),
            Expression::Constant(constant) => {
                let init = self.module.constants[constant].init;
                self.fold_in(&self.module.global_expressions, init)
            }
            Expression::ZeroValue(ty) => {
                let slots = self.types.slots(self.types.inner(ty));
                Some(vec![0; slots as usize])
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

/// Returns the word that represents a literal in a slot. Returns `None` for a type that the interpreter does not
/// support.
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
