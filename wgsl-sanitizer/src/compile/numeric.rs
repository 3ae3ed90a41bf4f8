//! Compiles operators, conversions and built-in functions.

use naga::{
    BinaryOperator, Expression, Handle, MathFunction, RelationalFunction, ScalarKind, TypeInner,
    UnaryOperator,
};

use super::types::Kind;
use super::{Compiler, Frame};
use crate::error::Error;
use crate::math::{self, Number};
use crate::program::{Binary, Call, Instruction, Unary};

impl<'a> Compiler<'a> {
    fn emit_unary(&mut self, operation: Unary, from: u32, count: u32) -> Result<u32, Error> {
        let to = self.allocate(count)?;
        self.emit(Instruction::Unary {
            operation,
            count: short(count),
            to,
            from,
        })?;
        Ok(to)
    }

    fn emit_binary(
        &mut self,
        (operation, number): (Binary, Number),
        [left, right]: [u32; 2],
        count: u32,
    ) -> Result<u32, Error> {
        let to = self.allocate(count)?;
        self.emit(Instruction::Binary {
            operation,
            count: short(count),
            is_half: number == Number::F16,
            to,
            left,
            right,
        })?;
        Ok(to)
    }

    /// If the result's type is `f16`, emits an instruction that rounds it from single precision to `f16`.
    fn round(&mut self, number: Number, at: u32, count: u32) -> Result<(), Error> {
        if number != Number::F16 {
            return Ok(());
        }
        self.emit(Instruction::Unary {
            operation: Unary::Half,
            count: short(count),
            to: at,
            from: at,
        })
    }

    pub(super) fn unary(
        &mut self,
        frame: &mut Frame<'a>,
        operator: UnaryOperator,
        operand: Handle<Expression>,
    ) -> Result<u32, Error> {
        let kind = self.kind(self.inner(frame, operand))?;
        let operation = match (operator, kind) {
            (UnaryOperator::Negate, Kind::Number(Number::F32 | Number::F16)) => Unary::NegateFloat,
            (UnaryOperator::Negate, _) => Unary::NegateInteger,
            (UnaryOperator::LogicalNot, _) => Unary::Not,
            (UnaryOperator::BitwiseNot, _) => Unary::Complement,
        };
        let from = self.slots(frame, operand)?;
        self.emit_unary(operation, from, self.count(frame, operand))
    }

    pub(super) fn binary(
        &mut self,
        frame: &mut Frame<'a>,
        operator: BinaryOperator,
        left: Handle<Expression>,
        right: Handle<Expression>,
        count: u32,
    ) -> Result<u32, Error> {
        let left_type = self.inner(frame, left);
        let right_type = self.inner(frame, right);
        let number = self.number(left_type)?;
        let mut slots = [self.slots(frame, left)?, self.slots(frame, right)?];
        if operator == BinaryOperator::Multiply
            && let Some([rows, inner, columns]) = product(left_type, right_type)
        {
            let to = self.allocate(count)?;
            let [rows, inner, columns] = [rows, inner, columns].map(short);
            let [left, right] = slots;
            self.emit(match number {
                Number::F16 => Instruction::ProductHalves {
                    rows,
                    inner,
                    columns,
                    to,
                    left,
                    right,
                },
                _ => Instruction::Product {
                    rows,
                    inner,
                    columns,
                    to,
                    left,
                    right,
                },
            })?;
            // The elements of an `f16` product are summed in single precision and rounded once, as a GPU may do.
            self.round(number, to, count)?;
            return Ok(to);
        }
        let counts = [left_type, right_type].map(|inner| self.types.slots(inner));
        let wide = counts[0].max(counts[1]);
        for (slot, &count) in slots.iter_mut().zip(&counts) {
            if count < wide {
                *slot = self.splat(*slot, wide)?;
            }
        }
        let to = self.emit_binary((operation(operator, number), number), slots, wide)?;
        if is_arithmetic(operator) {
            self.round(number, to, wide)?;
        }
        Ok(to)
    }

    pub(super) fn select(
        &mut self,
        frame: &mut Frame<'a>,
        condition: Handle<Expression>,
        accept: Handle<Expression>,
        reject: Handle<Expression>,
    ) -> Result<u32, Error> {
        let count = self.count(frame, accept);
        let each = self.count(frame, condition) > 1;
        let condition = self.slots(frame, condition)?;
        let accept = self.slots(frame, accept)?;
        let reject = self.slots(frame, reject)?;
        let to = self.allocate(count)?;
        self.copy(to, reject, count)?;
        self.emit(Instruction::TakeIf {
            count: short(count),
            each,
            to,
            condition,
            from: accept,
        })?;
        Ok(to)
    }

    pub(super) fn relational(
        &mut self,
        frame: &mut Frame<'a>,
        function: RelationalFunction,
        argument: Handle<Expression>,
    ) -> Result<u32, Error> {
        let count = self.count(frame, argument);
        let from = self.slots(frame, argument)?;
        let operation = match function {
            RelationalFunction::IsNan => Unary::IsNan,
            RelationalFunction::IsInf => Unary::IsInf,
            RelationalFunction::All | RelationalFunction::Any => {
                let to = self.allocate(1)?;
                let count = short(count);
                self.emit(match function {
                    RelationalFunction::All => Instruction::All { count, to, from },
                    _ => Instruction::Any { count, to, from },
                })?;
                return Ok(to);
            }
        };
        self.emit_unary(operation, from, count)
    }

    pub(super) fn convert(
        &mut self,
        frame: &mut Frame<'a>,
        operand: Handle<Expression>,
        to: ScalarKind,
        width: Option<u8>,
    ) -> Result<u32, Error> {
        use Number::{F16, F32, I32, U32};
        let inner = self.inner(frame, operand);
        let from = self.kind(inner)?;
        let count = self.types.slots(inner);
        let slot = self.slots(frame, operand)?;
        let Some(width) = width else {
            return match from {
                Kind::Number(F16) => Err(self.unsupported("a bitcast of f16")),
                _ => Ok(slot),
            };
        };
        let to = super::types::kind(naga::Scalar { kind: to, width });
        let to = to.map_err(|name| self.unsupported(name))?;
        let operation = match (from, to) {
            (Kind::Bool, Kind::Bool) => return Ok(slot),
            (Kind::Number(F32 | F16), Kind::Bool) => Unary::FloatToBool,
            (Kind::Number(_), Kind::Bool) => Unary::ToBool,
            (Kind::Bool, Kind::Number(F32 | F16)) => Unary::BoolToFloat,
            (Kind::Bool | Kind::Number(I32 | U32), Kind::Number(I32 | U32)) => return Ok(slot),
            (Kind::Number(F32), Kind::Number(I32)) => Unary::FloatToSigned,
            (Kind::Number(F32), Kind::Number(U32)) => Unary::FloatToUnsigned,
            (Kind::Number(F16), Kind::Number(I32)) => Unary::HalfToSigned,
            (Kind::Number(F16), Kind::Number(U32)) => Unary::HalfToUnsigned,
            (Kind::Number(F32), Kind::Number(F16)) => Unary::FloatToHalf,
            (Kind::Number(F32 | F16), Kind::Number(F32 | F16)) => return Ok(slot),
            (Kind::Number(I32), Kind::Number(F32 | F16)) => Unary::SignedToFloat,
            (Kind::Number(U32), Kind::Number(F32 | F16)) => Unary::UnsignedToFloat,
        };
        let result = self.emit_unary(operation, slot, count)?;
        if to == Kind::Number(F16) && operation != Unary::FloatToHalf {
            return self.emit_unary(Unary::FloatToHalf, result, count);
        }
        Ok(result)
    }

    pub(super) fn math(
        &mut self,
        frame: &mut Frame<'a>,
        function: MathFunction,
        arguments: &[Option<Handle<Expression>>],
        count: u32,
    ) -> Result<u32, Error> {
        if math::unsupported(function) {
            return Err(self.unsupported(format!("the built-in function {function:?}")));
        }
        let mut operands = Vec::new();
        for &argument in arguments.iter().flatten() {
            operands.push((self.slots(frame, argument)?, self.count(frame, argument)));
        }
        let first = arguments.iter().flatten().next();
        let inner = first.map(|&first| self.inner(frame, first));
        let columns = match inner {
            Some(&TypeInner::Matrix { columns, .. }) => columns as usize,
            _ => 1,
        };
        let number = inner.map_or(Ok(Number::F32), |inner| self.number(inner))?;
        let to = self.allocate(count)?;
        let call = u32::try_from(self.program.calls.len()).unwrap_or(u32::MAX);
        self.program.calls.push(Call {
            function,
            number,
            count,
            by_component: math::is_by_component(function),
            columns,
            arguments: operands,
        });
        self.emit(Instruction::Call { call, to })?;
        Ok(to)
    }
}

/// Returns the number of rows, the inner dimension and the number of columns of a product of two matrices, or of a
/// matrix and a vector. Returns `None` for other operands.
fn product(left: &TypeInner, right: &TypeInner) -> Option<[u32; 3]> {
    match (left, right) {
        (
            &TypeInner::Matrix { columns, rows, .. },
            &TypeInner::Matrix {
                columns: others, ..
            },
        ) => Some([rows as u32, columns as u32, others as u32]),
        (&TypeInner::Matrix { columns, rows, .. }, &TypeInner::Vector { .. }) => {
            Some([rows as u32, columns as u32, 1])
        }
        (&TypeInner::Vector { .. }, &TypeInner::Matrix { columns, rows, .. }) => {
            Some([1, rows as u32, columns as u32])
        }
        _ => None,
    }
}

fn is_arithmetic(operator: BinaryOperator) -> bool {
    matches!(
        operator,
        BinaryOperator::Add
            | BinaryOperator::Subtract
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
    )
}

fn operation(operator: BinaryOperator, number: Number) -> Binary {
    use BinaryOperator as Op;
    let is_signed = number == Number::I32;
    let pick = |float, signed, unsigned| match number {
        Number::F32 | Number::F16 => float,
        Number::I32 => signed,
        Number::U32 => unsigned,
    };
    match operator {
        Op::Add => pick(Binary::AddFloat, Binary::Add, Binary::Add),
        Op::Subtract => pick(Binary::SubtractFloat, Binary::Subtract, Binary::Subtract),
        Op::Multiply => pick(Binary::MultiplyFloat, Binary::Multiply, Binary::Multiply),
        Op::Divide => pick(
            Binary::DivideFloat,
            Binary::DivideSigned,
            Binary::DivideUnsigned,
        ),
        Op::Modulo => pick(
            Binary::RemainderFloat,
            Binary::RemainderSigned,
            Binary::RemainderUnsigned,
        ),
        Op::Equal => pick(Binary::EqualFloat, Binary::Equal, Binary::Equal),
        Op::NotEqual => pick(Binary::UnequalFloat, Binary::Unequal, Binary::Unequal),
        Op::Less => pick(Binary::LessFloat, Binary::LessSigned, Binary::LessUnsigned),
        Op::LessEqual => pick(
            Binary::LessEqualFloat,
            Binary::LessEqualSigned,
            Binary::LessEqualUnsigned,
        ),
        Op::Greater => pick(
            Binary::GreaterFloat,
            Binary::GreaterSigned,
            Binary::GreaterUnsigned,
        ),
        Op::GreaterEqual => pick(
            Binary::GreaterEqualFloat,
            Binary::GreaterEqualSigned,
            Binary::GreaterEqualUnsigned,
        ),
        Op::And | Op::LogicalAnd => Binary::And,
        Op::ExclusiveOr => Binary::Xor,
        Op::InclusiveOr | Op::LogicalOr => Binary::Or,
        Op::ShiftLeft => Binary::ShiftLeft,
        Op::ShiftRight if is_signed => Binary::ShiftRightSigned,
        Op::ShiftRight => Binary::ShiftRightUnsigned,
    }
}

/// Converts the number of scalars in a vector or matrix to `u8`.
fn short(count: u32) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}
