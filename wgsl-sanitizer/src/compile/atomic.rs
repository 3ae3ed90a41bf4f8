//! Compiles atomic operations.

use naga::{AtomicFunction, Expression, Handle, TypeInner};

use super::pointer::{Pointer, Root};
use super::{Compiler, Frame, Value};
use crate::error::Error;
use crate::program::{Atomic, AtomicOperation, AtomicUpdate, Instruction, NONE};

impl<'a> Compiler<'a> {
    fn atomic(
        &mut self,
        operation: AtomicOperation,
        pointer: Pointer,
        value: u32,
        to: u32,
    ) -> Result<(), Error> {
        let (Root::Workgroup(variable) | Root::Buffer(variable)) = pointer.root else {
            return Err(self.unsupported("an atomic that is not shared"));
        };
        let atomic = u32::try_from(self.program.atomics.len()).unwrap_or(u32::MAX);
        self.program.atomics.push(Atomic {
            operation,
            variable,
            at: pointer.at,
            dynamic: pointer.dynamic,
            value,
        });
        self.emit_on(Instruction::Atomic { atomic, to }, pointer.name)
    }

    pub(super) fn atomic_load(&mut self, pointer: Pointer) -> Result<u32, Error> {
        let to = self.allocate(1)?;
        self.atomic(AtomicOperation::Load, pointer, NONE, to)?;
        Ok(to)
    }

    pub(super) fn atomic_store(&mut self, pointer: Pointer, value: u32) -> Result<(), Error> {
        let to = self.allocate(1)?;
        self.atomic(AtomicOperation::Store, pointer, value, to)
    }

    pub(super) fn atomic_statement(
        &mut self,
        frame: &mut Frame<'a>,
        pointer: Handle<Expression>,
        function: AtomicFunction,
        value: Handle<Expression>,
        result: Option<Handle<Expression>>,
    ) -> Result<(), Error> {
        let pointee = self.pointee(self.inner(frame, pointer));
        let pointer = self.pointer(frame, pointer)?;
        let value = self.slots(frame, value)?;
        let operation = match function {
            AtomicFunction::Exchange {
                compare: Some(compare),
            } => AtomicOperation::CompareExchange(self.slots(frame, compare)?),
            _ => {
                let TypeInner::Atomic(scalar) = pointee else {
                    return Err(self.unsupported("an atomic operation on this"));
                };
                let update = AtomicUpdate::new(function, scalar.kind);
                let update = update.ok_or_else(|| self.unsupported("this atomic operation"))?;
                AtomicOperation::Update(update)
            }
        };
        // The first slot gets the old value. The second slot is for a compare-exchange: 1 if it stored the new value,
        // else 0.
        let to = self.allocate(2)?;
        self.atomic(operation, pointer, value, to)?;
        if let Some(result) = result {
            frame.values[result.index()] = Some(Value::Slots(to));
        }
        Ok(())
    }
}
