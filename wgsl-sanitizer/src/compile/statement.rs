//! Compiles statements, and inlines functions.

use naga::{
    Barrier, Block, Expression, Handle, Span, Statement, SwitchCase, SwitchValue, TypeInner,
};

use super::{Breakable, Compiler, Frame, Value};
use crate::error::Error;
use crate::program::{CallSite, Instruction, NONE};
use crate::report::Space;

impl<'a> Compiler<'a> {
    /// Compiles the body of a function. Every `return` becomes a jump to the body's end.
    pub(super) fn function(&mut self, frame: &mut Frame<'a>) -> Result<(), Error> {
        let function = frame.function;
        for (handle, variable) in function.local_variables.iter() {
            self.span = function.local_variables.get_span(handle);
            let inner = self.types.inner(variable.ty);
            if let Some(name) = self.types.unknown(inner) {
                return Err(self.unsupported(name));
            }
            let count = self.types.slots(inner);
            let label = variable.name.clone().unwrap_or_default();
            let name = self.name(&label, Space::Function, None);
            let at = self.reserve(count, &format!("`{label}`"))?;
            frame.locals.push((at, name));
            match variable.init {
                Some(init) => {
                    let from = self.slots(frame, init)?;
                    self.copy(at, from, count)?;
                }
                None => self.emit(Instruction::Zero { to: at, count })?,
            }
        }
        self.block(frame, &function.body, "body of a function", Span::UNDEFINED)?;
        let end = self.here();
        for jump in std::mem::take(&mut frame.returns) {
            self.land(jump, end);
        }
        Ok(())
    }

    /// Sets the target of a jump that was emitted before its target was known.
    fn land(&mut self, jump: usize, target: u32) {
        match &mut self.program.code[jump] {
            Instruction::Jump { to }
            | Instruction::JumpIf { to, .. }
            | Instruction::JumpUnless { to, .. } => *to = target,
            other => unreachable!("{other:?} is no jump"),
        }
    }

    fn jump(&mut self) -> Result<usize, Error> {
        self.emit(Instruction::Jump { to: 0 })?;
        Ok(self.program.code.len() - 1)
    }

    /// Compiles a block. When the program enters it at run time, the block is recorded as reached. After the block, the
    /// slots of its values are free again.
    fn block(
        &mut self,
        frame: &mut Frame<'a>,
        block: &'a Block,
        what: &'static str,
        span: Span,
    ) -> Result<(), Error> {
        let top = self.top;
        self.enter(block, what, span)?;
        self.statements(frame, block)?;
        self.top = top;
        Ok(())
    }

    fn enter(&mut self, block: &Block, what: &'static str, span: Span) -> Result<(), Error> {
        // The block's position is that of its first statement that is not an `Emit`. naga puts an `Emit` in front of a
        // statement to compute the statement's operands.
        let is_whole = |statement: &Statement| !matches!(statement, Statement::Emit(_));
        let spans = || block.span_iter().filter(|(_, span)| span.is_defined());
        let first = spans().find(|(statement, _)| is_whole(statement));
        let span = first.or(spans().next()).map_or(span, |(_, &span)| span);
        let block = self.block_index(block, span, what);
        self.emit(Instruction::Enter { block })
    }

    fn statements(&mut self, frame: &mut Frame<'a>, block: &'a Block) -> Result<(), Error> {
        for (statement, &span) in block.span_iter() {
            // A statement without a span, such as the `return` that naga adds at the end of a function, gets the span
            // before it.
            if span.is_defined() {
                self.span = span;
            }
            self.statement(frame, statement, self.span)?;
        }
        Ok(())
    }

    fn statement(
        &mut self,
        frame: &mut Frame<'a>,
        statement: &'a Statement,
        span: Span,
    ) -> Result<(), Error> {
        match *statement {
            Statement::Emit(ref range) => {
                for handle in range.clone() {
                    // In a loop, the value changes with each iteration, so it is computed again at each `Emit`.
                    frame.values[handle.index()] = None;
                    self.value(frame, handle)?;
                }
                Ok(())
            }
            Statement::Block(ref block) => {
                let top = self.top;
                self.statements(frame, block)?;
                self.top = top;
                Ok(())
            }
            Statement::If {
                condition,
                ref accept,
                ref reject,
            } => self.branch(frame, condition, [accept, reject], span),
            Statement::Switch {
                selector,
                ref cases,
            } => self.switch(frame, selector, cases, span),
            Statement::Loop {
                ref body,
                ref continuing,
                break_if,
            } => self.repeat(frame, [body, continuing], break_if, span),
            Statement::Break => {
                let jump = self.jump()?;
                let innermost = frame.breakables.last_mut();
                innermost
                    .ok_or_else(|| self.unsupported("this break"))?
                    .breaks
                    .push(jump);
                Ok(())
            }
            Statement::Continue => {
                let jump = self.jump()?;
                let innermost = frame.breakables.iter_mut().rfind(|around| around.is_loop);
                let innermost = innermost.ok_or_else(|| self.unsupported("this continue"))?;
                innermost.continues.push(jump);
                Ok(())
            }
            Statement::Return { value } => self.give_back(frame, value),
            Statement::ControlBarrier(barrier) => self.barrier(barrier),
            Statement::Store { pointer, value } => {
                let pointee = self.pointee(self.inner(frame, pointer));
                let pointer = self.pointer(frame, pointer)?;
                let value = self.slots(frame, value)?;
                self.span = span;
                match pointee {
                    TypeInner::Atomic(_) => self.atomic_store(pointer, value),
                    _ => self.store(pointer, &pointee, value),
                }
            }
            Statement::Atomic {
                pointer,
                fun,
                value,
                result,
            } => self.atomic_statement(frame, pointer, fun, value, result),
            Statement::WorkGroupUniformLoad { pointer, result } => {
                self.barrier(Barrier::WORK_GROUP)?;
                let pointee = self.pointee(self.inner(frame, pointer));
                let pointer = self.pointer(frame, pointer)?;
                let slot = match pointee {
                    TypeInner::Atomic(_) => self.atomic_load(pointer)?,
                    _ => self.load(pointer, &pointee)?,
                };
                frame.values[result.index()] = Some(Value::Slots(slot));
                self.barrier(Barrier::WORK_GROUP)
            }
            Statement::Call {
                function,
                ref arguments,
                result,
            } => self.call(frame, function, arguments, result),
            Statement::Kill => Err(self.unsupported("discard")),
            Statement::MemoryBarrier(_) => Err(self.unsupported("a barrier of memory alone")),
            Statement::ImageStore { .. } | Statement::ImageAtomic { .. } => {
                Err(self.unsupported("a texture"))
            }
            Statement::SubgroupBallot { .. }
            | Statement::SubgroupGather { .. }
            | Statement::SubgroupCollectiveOperation { .. } => {
                Err(self.unsupported("an operation of subgroups"))
            }
            Statement::RayQuery { .. } | Statement::RayPipelineFunction(_) => {
                Err(self.unsupported("a ray query"))
            }
            Statement::CooperativeStore { .. } => Err(self.unsupported("a cooperative matrix")),
        }
    }

    fn barrier(&mut self, barrier: Barrier) -> Result<(), Error> {
        if barrier.contains(Barrier::SUB_GROUP) {
            return Err(self.unsupported("a barrier of subgroups"));
        }
        let loops = u32::try_from(self.program.loops.len()).unwrap_or(u32::MAX);
        self.program.loops.push(self.loops.clone());
        self.emit(Instruction::Barrier {
            storage: barrier.contains(Barrier::STORAGE),
            workgroup: barrier.contains(Barrier::WORK_GROUP),
            loops,
        })
    }

    fn give_back(
        &mut self,
        frame: &mut Frame<'a>,
        value: Option<Handle<Expression>>,
    ) -> Result<(), Error> {
        if let (Some(value), Some(to)) = (value, frame.result) {
            let from = self.slots(frame, value)?;
            let count = self.count(frame, value);
            self.copy(to, from, count)?;
        }
        if frame.is_entry {
            return self.emit(Instruction::End);
        }
        for inner in frame.outer_loops..self.loops.len() {
            let counter = self.loops[inner];
            self.emit(Instruction::ResetLoop { counter })?;
        }
        let jump = self.jump()?;
        frame.returns.push(jump);
        Ok(())
    }

    fn call(
        &mut self,
        frame: &mut Frame<'a>,
        function: Handle<naga::Function>,
        arguments: &[Handle<Expression>],
        result: Option<Handle<Expression>>,
    ) -> Result<(), Error> {
        let span = self.span;
        let mut values = Vec::new();
        for &argument in arguments {
            values.push(self.value(frame, argument)?);
        }
        let to = match result {
            Some(result) => Some(self.allocate(self.count(frame, result))?),
            None => None,
        };
        let top = self.top;
        let outer = self.call;
        self.call = u32::try_from(self.program.call_sites.len()).unwrap_or(NONE);
        self.program.call_sites.push(CallSite { span, outer });
        let info = &self.info[function];
        let mut callee = self.frame(&self.module.functions[function], info, values, to);
        self.function(&mut callee)?;
        (self.top, self.call) = (top, outer);
        if let (Some(result), Some(to)) = (result, to) {
            frame.values[result.index()] = Some(Value::Slots(to));
        }
        Ok(())
    }

    fn branch(
        &mut self,
        frame: &mut Frame<'a>,
        condition: Handle<Expression>,
        [accept, reject]: [&'a Block; 2],
        span: Span,
    ) -> Result<(), Error> {
        let condition = self.slots(frame, condition)?;
        self.span = span;
        self.emit(Instruction::JumpUnless { condition, to: 0 })?;
        let to_reject = self.program.code.len() - 1;
        if accept.is_empty() {
            // naga translates a loop's condition into an `if` without `accept` statements. This empty branch is no
            // block of the source, so it is not recorded.
            self.statements(frame, accept)?;
        } else {
            self.block(frame, accept, "where a condition holds", span)?;
        }
        let to_end = self.jump()?;
        let start = self.here();
        self.land(to_reject, start);
        // naga adds a `return` without a span at the end of a function's last branches. A branch that has only this
        // `return` is not in the source.
        let is_written = reject.span_iter().any(|(_, span)| span.is_defined());
        let what = if is_written {
            "where a condition does not hold"
        } else {
            "where a condition does not hold, without a block of its own"
        };
        self.span = span;
        self.block(frame, reject, what, span)?;
        let end = self.here();
        self.land(to_end, end);
        Ok(())
    }

    fn switch(
        &mut self,
        frame: &mut Frame<'a>,
        selector: Handle<Expression>,
        cases: &'a [SwitchCase],
        span: Span,
    ) -> Result<(), Error> {
        let selector = self.slots(frame, selector)?;
        let table = self.program.switches.len();
        self.program.switches.push((Vec::new(), 0));
        self.span = span;
        self.emit(Instruction::Switch {
            selector,
            table: u32::try_from(table).unwrap_or(u32::MAX),
        })?;
        frame.breakables.push(Breakable {
            is_loop: false,
            breaks: Vec::new(),
            continues: Vec::new(),
        });
        for case in cases {
            let start = self.here();
            let (values, default) = &mut self.program.switches[table];
            match case.value {
                SwitchValue::I32(value) => values.push((value.cast_unsigned(), start)),
                SwitchValue::U32(value) => values.push((value, start)),
                SwitchValue::Default => *default = start,
            }
            // Of several cases with a common body, only the last has the body. The others are empty and fall through.
            if case.fall_through && case.body.is_empty() {
                continue;
            }
            self.block(frame, &case.body, "case of a switch", span)?;
            if !case.fall_through {
                let jump = self.jump()?;
                if let Some(around) = frame.breakables.last_mut() {
                    around.breaks.push(jump);
                }
            }
        }
        self.close(frame, None);
        Ok(())
    }

    /// Sets the targets of the jumps out of a loop or a switch.
    fn close(&mut self, frame: &mut Frame<'a>, continuing: Option<u32>) {
        let end = self.here();
        let Some(closed) = frame.breakables.pop() else {
            return;
        };
        for jump in closed.breaks {
            self.land(jump, end);
        }
        for jump in closed.continues {
            self.land(jump, continuing.unwrap_or(end));
        }
    }

    fn repeat(
        &mut self,
        frame: &mut Frame<'a>,
        [body, continuing]: [&'a Block; 2],
        break_if: Option<Handle<Expression>>,
        span: Span,
    ) -> Result<(), Error> {
        let outer = self.top;
        let counter = self.allocate(1)?;
        self.emit(Instruction::ResetLoop { counter })?;
        self.loops.push(counter);
        frame.breakables.push(Breakable {
            is_loop: true,
            breaks: Vec::new(),
            continues: Vec::new(),
        });
        let start = self.here();
        self.enter(body, "body of a loop", span)?;
        self.statements(frame, body)?;
        let next = self.here();
        if !continuing.is_empty() {
            self.enter(
                continuing,
                "what a loop does before it goes round again",
                span,
            )?;
            self.statements(frame, continuing)?;
        }
        self.span = span;
        let mut leave = None;
        if let Some(condition) = break_if {
            let condition = self.slots(frame, condition)?;
            self.emit(Instruction::JumpIf { condition, to: 0 })?;
            leave = Some(self.program.code.len() - 1);
        }
        self.emit(Instruction::Repeat { counter, to: start })?;
        let end = self.here();
        if let Some(leave) = leave {
            self.land(leave, end);
        }
        self.close(frame, Some(next));
        self.loops.pop();
        self.emit(Instruction::ResetLoop { counter })?;
        self.top = outer;
        Ok(())
    }
}
