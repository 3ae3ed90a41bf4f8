//! Compiles expressions.

use naga::{Expression, GlobalVariable, Handle, TypeInner};

use super::pointer::Pointer;
use super::{Compiler, Frame, Value};
use crate::error::Error;
use crate::program::{Instruction, Length, NONE, Pick};

impl<'a> Compiler<'a> {
    /// Returns the value of an expression. Compiles the expression unless an earlier use has compiled it.
    pub(super) fn value(
        &mut self,
        frame: &mut Frame<'a>,
        handle: Handle<Expression>,
    ) -> Result<Value, Error> {
        if let Some(value) = frame.values[handle.index()] {
            return Ok(value);
        }
        let count = self.count(frame, handle);
        if let Some(words) = self.fold(frame, handle, count) {
            self.check_type(frame, handle)?;
            let value = Value::Slots(self.constant(words)?);
            frame.values[handle.index()] = Some(value);
            return Ok(value);
        }
        let outer = self.span;
        self.span = frame.function.expressions.get_span(handle);
        self.check_type(frame, handle)?;
        let value = self.compute(frame, handle)?;
        self.span = outer;
        // A long all-zero value is written again at each use: its slots may be free once the block of its first use has
        // ended.
        if !matches!(
            frame.function.expressions[handle],
            Expression::ZeroValue(_) | Expression::Constant(_)
        ) {
            frame.values[handle.index()] = Some(value);
        }
        Ok(value)
    }

    fn check_type(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> Result<(), Error> {
        let unknown = self.types.unknown(self.inner(frame, handle));
        unknown.map_or(Ok(()), |name| Err(self.unsupported(name)))
    }

    /// Returns the first slot of an expression's value, which must not be a pointer.
    pub(super) fn slots(
        &mut self,
        frame: &mut Frame<'a>,
        handle: Handle<Expression>,
    ) -> Result<u32, Error> {
        match self.value(frame, handle)? {
            Value::Slots(slot) => Ok(slot),
            Value::Pointer(_) => Err(self.unsupported("a pointer as a value")),
        }
    }

    /// Returns the number of slots of an expression's value.
    pub(super) fn count(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> u32 {
        self.types.slots(self.inner(frame, handle))
    }

    fn compute(
        &mut self,
        frame: &mut Frame<'a>,
        handle: Handle<Expression>,
    ) -> Result<Value, Error> {
        let count = self.count(frame, handle);
        let slot = match frame.function.expressions[handle] {
            Expression::FunctionArgument(index) => return Ok(frame.arguments[index as usize]),
            Expression::GlobalVariable(variable) => {
                return Ok(Value::Pointer(self.variable(variable)?));
            }
            Expression::LocalVariable(variable) => {
                let (at, name) = frame.locals[variable.index()];
                let root = super::Root::Local;
                return Ok(Value::Pointer(Pointer::new(root, at, name)));
            }
            Expression::Access { base, index } => return self.access(frame, base, index),
            Expression::AccessIndex { base, index } => {
                let inner = self.inner(frame, base);
                match self.value(frame, base)? {
                    Value::Pointer(pointer) => {
                        let pointee = self.pointee(inner);
                        return Ok(Value::Pointer(self.part(pointer, &pointee, index)?));
                    }
                    Value::Slots(slot) => slot + self.slots_before(inner, index),
                }
            }
            Expression::Load { pointer } => {
                let pointee = self.pointee(self.inner(frame, pointer));
                let pointer = self.pointer(frame, pointer)?;
                match pointee {
                    TypeInner::Atomic(_) => self.atomic_load(pointer)?,
                    _ => self.load(pointer, &pointee)?,
                }
            }
            Expression::Compose { ref components, .. } => {
                let to = self.allocate(count)?;
                let mut at = to;
                for &component in components {
                    let from = self.slots(frame, component)?;
                    let count = self.count(frame, component);
                    self.copy(at, from, count)?;
                    at += count;
                }
                to
            }
            Expression::Splat { value, .. } => {
                let from = self.slots(frame, value)?;
                self.splat(from, count)?
            }
            Expression::Swizzle {
                size,
                vector,
                pattern,
            } => {
                let from = self.slots(frame, vector)?;
                let to = self.allocate(count)?;
                for (at, &component) in (0..).zip(&pattern[..size as usize]) {
                    self.copy(to + at, from + component as u32, 1)?;
                }
                to
            }
            Expression::Unary { op, expr } => self.unary(frame, op, expr)?,
            Expression::Binary { op, left, right } => self.binary(frame, op, left, right, count)?,
            Expression::Select {
                condition,
                accept,
                reject,
            } => self.select(frame, condition, accept, reject)?,
            Expression::Relational { fun, argument } => self.relational(frame, fun, argument)?,
            Expression::Math {
                fun,
                arg,
                arg1,
                arg2,
                arg3,
            } => {
                let arguments = [Some(arg), arg1, arg2, arg3];
                self.math(frame, fun, &arguments, count)?
            }
            Expression::As {
                expr,
                kind,
                convert,
            } => self.convert(frame, expr, kind, convert)?,
            Expression::ArrayLength(array) => self.length(frame, array)?,
            Expression::CallResult(_)
            | Expression::AtomicResult { .. }
            | Expression::WorkGroupUniformLoadResult { .. } => {
                return Err(self.unsupported("a result that is used before it is computed"));
            }
            Expression::ZeroValue(_) | Expression::Literal(_) | Expression::Constant(_) => {
                self.long_constant(frame, handle, count)?
            }
            Expression::Override(_) => return Err(self.unsupported("an override without a value")),
            Expression::ImageSample { .. }
            | Expression::ImageLoad { .. }
            | Expression::ImageQuery { .. } => return Err(self.unsupported("a texture")),
            Expression::Derivative { .. } => return Err(self.unsupported("a derivative")),
            Expression::SubgroupBallotResult | Expression::SubgroupOperationResult { .. } => {
                return Err(self.unsupported("an operation of subgroups"));
            }
            Expression::RayQueryVertexPositions { .. }
            | Expression::RayQueryProceedResult
            | Expression::RayQueryGetIntersection { .. } => {
                return Err(self.unsupported("a ray query"));
            }
            Expression::CooperativeLoad { .. } | Expression::CooperativeMultiplyAdd { .. } => {
                return Err(self.unsupported("a cooperative matrix"));
            }
        };
        Ok(Value::Slots(slot))
    }

    /// Emits an instruction that copies a scalar into `count` new slots. Returns the first of them.
    pub(super) fn splat(&mut self, from: u32, count: u32) -> Result<u32, Error> {
        let to = self.allocate(count)?;
        self.emit(Instruction::Fill { to, from, count })?;
        Ok(to)
    }

    fn variable(&self, variable: Handle<GlobalVariable>) -> Result<Pointer, Error> {
        let Some(&global) = self.globals.get(&variable) else {
            let name = self.module.global_variables[variable].name.clone();
            let name = name.unwrap_or_default();
            return Err(self.unsupported(format!("`{name}`, of which naga knows no use,")));
        };
        Ok(Pointer::new(global.root, global.at, global.name))
    }

    fn access(
        &mut self,
        frame: &mut Frame<'a>,
        base: Handle<Expression>,
        index: Handle<Expression>,
    ) -> Result<Value, Error> {
        let inner = self.inner(frame, base);
        let (index, is_signed) = self.index(frame, index)?;
        let from = match self.value(frame, base)? {
            Value::Pointer(pointer) => {
                let pointee = self.pointee(inner);
                let element = self.element(pointer, &pointee, (index, is_signed))?;
                return Ok(Value::Pointer(element));
            }
            Value::Slots(from) => from,
        };
        let size = self.slots_before(inner, 1);
        let length = self.types.slots(inner) / size.max(1);
        let to = self.allocate(size)?;
        let pick = u32::try_from(self.program.picks.len()).unwrap_or(u32::MAX);
        self.program.picks.push(Pick {
            from,
            index,
            is_signed,
            length,
            size,
        });
        self.emit(Instruction::Pick { pick, to })?;
        Ok(Value::Slots(to))
    }

    fn length(&mut self, frame: &mut Frame<'a>, array: Handle<Expression>) -> Result<u32, Error> {
        let pointee = self.pointee(self.inner(frame, array));
        let pointer = self.pointer(frame, array)?;
        let (TypeInner::Array { stride, .. }, super::Root::Buffer(variable), NONE) =
            (&pointee, pointer.root, pointer.dynamic)
        else {
            return Err(self.unsupported("the length of this"));
        };
        let length = u32::try_from(self.program.lengths.len()).unwrap_or(u32::MAX);
        self.program.lengths.push(Length::Bound {
            variable,
            at: pointer.at,
            stride: *stride,
        });
        let to = self.allocate(1)?;
        self.emit(Instruction::Length { length, to })?;
        Ok(to)
    }
}
