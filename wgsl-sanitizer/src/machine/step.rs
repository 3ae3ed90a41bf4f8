//! The loop that executes instructions.

use fastrand::Rng;
use naga::MathFunction;

use super::access::{self, Here};
use super::storage::Reach;
use super::{Machine, Stop, numbers, rounding};
use crate::math::{self, Number};
use crate::program::{Binary, Call, Instruction, Unary};
use crate::report::{Access, Problem};

/// The maximum number of slots of a built-in function's result.
const LONGEST_RESULT: usize = 16;

impl Machine<'_> {
    /// Runs an invocation until it waits at a barrier, ends, or exceeds its loop budget.
    pub(super) fn go(&mut self, invocation: u32) -> Stop {
        let size = self.program.frame as usize;
        let start = invocation as usize * size;
        // Takes the frames out of the machine, to borrow one of them while `self` is in use.
        let mut frames = std::mem::take(&mut self.frames);
        let stop = self.steps(invocation, &mut frames[start..start + size]);
        self.frames = frames;
        stop
    }

    fn steps(&mut self, invocation: u32, frame: &mut [u32]) -> Stop {
        let program = self.program;
        let code = &program.code[..];
        let mut place = self.states[invocation as usize].place;
        let mut operations = 0;
        let stop = loop {
            let here = (invocation, place);
            operations += 1;
            match code[place] {
                Instruction::Jump { to } => {
                    place = to as usize;
                    continue;
                }
                Instruction::JumpUnless { condition, to } => {
                    if frame[condition as usize] == 0 {
                        place = to as usize;
                        continue;
                    }
                }
                Instruction::JumpIf { condition, to } => {
                    if frame[condition as usize] != 0 {
                        place = to as usize;
                        continue;
                    }
                }
                Instruction::Switch { selector, table } => {
                    let (cases, default) = &program.switches[table as usize];
                    let value = frame[selector as usize];
                    let case = cases.iter().find(|&&(case, _)| case == value);
                    place = case.map_or(*default, |&(_, to)| to) as usize;
                    continue;
                }
                Instruction::ResetLoop { counter } => frame[counter as usize] = 0,
                Instruction::Repeat { counter, to } => {
                    frame[counter as usize] = frame[counter as usize].wrapping_add(1);
                    let state = &mut self.states[invocation as usize];
                    state.iterations += 1;
                    let budget = self.settings.loop_budget;
                    if state.iterations > budget {
                        self.findings.one(here, Problem::Endless { budget });
                        break Stop::Budget;
                    }
                    place = to as usize;
                    continue;
                }
                Instruction::Enter { block } => self.reached[block as usize] = true,
                Instruction::Barrier { .. } => break Stop::Barrier,
                Instruction::End => break Stop::End,
                Instruction::Copy { to, from, count } => {
                    let from = from as usize;
                    let count = count as usize;
                    frame.copy_within(from..from + count, to as usize);
                }
                Instruction::Fill { to, from, count } => {
                    let value = frame[from as usize];
                    frame[to as usize..][..count as usize].fill(value);
                }
                Instruction::Zero { to, count } => {
                    frame[to as usize..][..count as usize].fill(0);
                }
                Instruction::TakeIf {
                    count,
                    each,
                    to,
                    condition,
                    from,
                } => {
                    for at in 0..u32::from(count) {
                        let condition = condition + if each { at } else { 0 };
                        if frame[condition as usize] != 0 {
                            frame[(to + at) as usize] = frame[(from + at) as usize];
                        }
                    }
                }
                Instruction::Unary {
                    operation,
                    count,
                    to,
                    from,
                } => {
                    for at in 0..u32::from(count) {
                        let value = frame[(from + at) as usize];
                        let (mut result, problem) = numbers::unary(operation, value);
                        // WGSL defines `bool(x)` as `x != 0`, so the setting for comparisons with NaN applies.
                        if let (Unary::FloatToBool, Some(outcome), true) = (
                            operation,
                            self.settings.nan_comparisons.outcome(here.1),
                            numbers::is_nan(value),
                        ) {
                            result = outcome.into();
                        }
                        frame[(to + at) as usize] = result;
                        if let Some(problem) = problem {
                            self.findings.one(here, problem);
                        }
                    }
                }
                Instruction::Binary {
                    operation,
                    count,
                    is_half,
                    to,
                    left,
                    right,
                } => {
                    let operation = (operation, number(is_half));
                    self.binary(here, frame, operation, (to, left, right), count.into());
                }
                Instruction::Product {
                    rows,
                    inner,
                    columns,
                    to,
                    left,
                    right,
                } => {
                    let sizes = [rows, inner, columns];
                    self.product(frame, Number::F32, sizes, [to, left, right]);
                }
                Instruction::ProductHalves {
                    rows,
                    inner,
                    columns,
                    to,
                    left,
                    right,
                } => {
                    let sizes = [rows, inner, columns];
                    self.product(frame, Number::F16, sizes, [to, left, right]);
                }
                Instruction::All { count, to, from } => {
                    let values = &frame[from as usize..][..count.into()];
                    frame[to as usize] = values.iter().all(|&value| value != 0).into();
                }
                Instruction::Any { count, to, from } => {
                    let values = &frame[from as usize..][..count.into()];
                    frame[to as usize] = values.iter().any(|&value| value != 0).into();
                }
                Instruction::Call { call, to } => {
                    let function = &program.calls[call as usize];
                    self.call(here, frame, function, to);
                }
                Instruction::Pick { pick, to } => {
                    self.pick(here, frame, &program.picks[pick as usize], to);
                }
                Instruction::Index { index, to } => {
                    self.index(frame, index, to);
                }
                Instruction::Length { length, to } => {
                    let length = program.lengths[length as usize];
                    frame[to as usize] = access::length(&self.ranges, length);
                }
                Instruction::LoadLocal {
                    count,
                    to,
                    at,
                    dynamic,
                } => {
                    let to = to as usize;
                    let count = usize::from(count);
                    match self.local_offset(here, frame, (at, dynamic), Access::Read) {
                        Some(from) => frame.copy_within(from..from + count, to),
                        None => frame[to..to + count].fill(0),
                    }
                }
                Instruction::StoreLocal {
                    count,
                    from,
                    at,
                    dynamic,
                } => {
                    let (from, count) = (from as usize, usize::from(count));
                    if let Some(to) = self.local_offset(here, frame, (at, dynamic), Access::Write) {
                        frame.copy_within(from..from + count, to);
                    }
                }
                Instruction::LoadWorkgroup {
                    count,
                    to,
                    at,
                    dynamic,
                } => self.load_workgroup(here, frame, (at, dynamic), to, count.into()),
                Instruction::StoreWorkgroup {
                    count,
                    from,
                    at,
                    dynamic,
                } => self.store_workgroup(here, frame, (at, dynamic), from, count.into()),
                Instruction::TouchWorkgroup { count, at, dynamic } => {
                    self.touch_workgroup(here, frame, (at, dynamic), count.into());
                }
                Instruction::LoadBuffer {
                    count,
                    variable,
                    to,
                    at,
                    dynamic,
                } => self.load_buffer(here, frame, &reach(variable, at, dynamic, count, 4), to),
                Instruction::StoreBuffer {
                    count,
                    variable,
                    from,
                    at,
                    dynamic,
                } => self.store_buffer(here, frame, &reach(variable, at, dynamic, count, 4), from),
                Instruction::LoadHalves {
                    count,
                    variable,
                    to,
                    at,
                    dynamic,
                } => self.load_buffer(here, frame, &reach(variable, at, dynamic, count, 2), to),
                Instruction::StoreHalves {
                    count,
                    variable,
                    from,
                    at,
                    dynamic,
                } => self.store_buffer(here, frame, &reach(variable, at, dynamic, count, 2), from),
                Instruction::TouchBuffer {
                    count,
                    variable,
                    at,
                    dynamic,
                } => self.touch_buffer(here, frame, &reach(variable, at, dynamic, count, 1)),
                Instruction::Atomic { atomic, to } => {
                    self.atomic(here, frame, &program.atomics[atomic as usize], to);
                }
            }
            place += 1;
        };
        self.states[invocation as usize].place = place;
        self.operations += operations;
        stop
    }

    #[inline]
    fn call(&mut self, here: Here, frame: &mut [u32], function: &Call, to: u32) {
        let of_nan = self.settings.nan_comparisons.outcome(here.1);
        match (function.by_component, &mut self.random, of_nan) {
            (true, None, None) => by_component(frame, function, to, |_, result| result),
            (true, random, of_nan) => {
                by_component(frame, function, to, |operands, result| {
                    let Call {
                        function: name,
                        number,
                        ..
                    } = *function;
                    let of_nan = of_nan.and_then(|outcome| {
                        math::component_of_nan(name, number, operands, outcome)
                    });
                    let result = of_nan.unwrap_or(result);
                    match random {
                        Some(random) => rounding::component(random, function, operands, result),
                        None => result,
                    }
                });
            }
            (false, random, of_nan) => composite(frame, function, to, random.as_mut(), of_nan),
        }
    }

    #[inline]
    fn binary(
        &mut self,
        here: Here,
        frame: &mut [u32],
        (operation, number): (Binary, Number),
        (to, left, right): (u32, u32, u32),
        count: u32,
    ) {
        for at in 0..count {
            let a = frame[(left + at) as usize];
            let b = frame[(right + at) as usize];
            let (mut result, problem) = numbers::binary(operation, a, b);
            if operation.compares_floats()
                && [a, b].into_iter().any(numbers::is_nan)
                && let Some(outcome) = self.settings.nan_comparisons.outcome(here.1)
            {
                result = outcome.into();
            }
            if let Some(random) = &mut self.random {
                result = rounding::binary(random, number, operation, [a, b], result);
            }
            frame[(to + at) as usize] = result;
            if let Some(problem) = problem {
                self.findings.one(here, problem);
            }
        }
    }

    fn product(&mut self, frame: &mut [u32], number: Number, sizes: [u8; 3], slots: [u32; 3]) {
        match &mut self.random {
            None => product(frame, sizes, slots, |operation, operands| {
                numbers::binary(operation, operands[0], operands[1]).0
            }),
            Some(random) => product(frame, sizes, slots, |operation, operands| {
                rounding::arithmetic(random, number, operation, operands)
            }),
        }
    }
}

fn number(is_half: bool) -> Number {
    if is_half { Number::F16 } else { Number::F32 }
}

fn reach(variable: u16, at: u32, dynamic: u32, count: u8, width: u32) -> Reach {
    Reach {
        variable,
        at,
        dynamic,
        count: count.into(),
        width,
    }
}

/// Computes a product of matrices, column by column. Each sum starts from its first product, not from 0, because 0 +
/// (−0) would lose the sign.
#[inline]
fn product(
    frame: &mut [u32],
    sizes: [u8; 3],
    [to, left, right]: [u32; 3],
    mut arithmetic: impl FnMut(Binary, [u32; 2]) -> u32,
) {
    let [rows, inner, columns] = sizes.map(u32::from);
    for column in 0..columns {
        for row in 0..rows {
            let factors = |at: u32| {
                let slots = [left + at * rows + row, right + column * inner + at];
                slots.map(|slot| frame[slot as usize])
            };
            let mut sum = arithmetic(Binary::MultiplyFloat, factors(0));
            for at in 1..inner {
                let term = arithmetic(Binary::MultiplyFloat, factors(at));
                sum = arithmetic(Binary::AddFloat, [sum, term]);
            }
            frame[(to + column * rows + row) as usize] = sum;
        }
    }
}

#[inline]
fn by_component(
    frame: &mut [u32],
    call: &Call,
    to: u32,
    mut round: impl FnMut([u32; 4], u32) -> u32,
) {
    for at in 0..call.count {
        let mut operands = [0; 4];
        for (operand, &(slot, count)) in operands.iter_mut().zip(&call.arguments) {
            let at = if count > 1 { at } else { 0 };
            *operand = frame[(slot + at) as usize];
        }
        let result = math::component(call.function, call.number, operands);
        frame[(to + at) as usize] = round(operands, result);
    }
}

fn composite(
    frame: &mut [u32],
    call: &Call,
    to: u32,
    mut random: Option<&mut Rng>,
    of_nan: Option<bool>,
) {
    let is_float = matches!(call.number, Number::F32 | Number::F16);
    if let (MathFunction::Dot, true, Some(random), &[(left, count), (right, _)]) =
        (call.function, is_float, &mut random, &call.arguments[..])
    {
        let inner = u8::try_from(count).unwrap_or(u8::MAX);
        product(
            frame,
            [1, inner, 1],
            [to, left, right],
            |operation, operands| rounding::arithmetic(random, call.number, operation, operands),
        );
        return;
    }
    let mut result = [0; LONGEST_RESULT];
    let result = &mut result[..call.count as usize];
    let mut arguments = [&[][..]; 4];
    for (argument, &(slot, count)) in arguments.iter_mut().zip(&call.arguments) {
        *argument = &frame[slot as usize..][..count as usize];
    }
    let arguments = &arguments[..call.arguments.len()];
    math::composite(
        call.function,
        call.number,
        call.columns,
        of_nan,
        arguments,
        result,
    );
    if let (Some(random), Some(granted)) = (random, rounding::of_call(call, [0; 4])) {
        for slot in &mut *result {
            *slot = rounding::moved(random, call.number, *slot, granted);
        }
    }
    frame[to as usize..][..result.len()].copy_from_slice(result);
}
