//! Runs a [`Program`], one workgroup after the other. Each invocation runs up to the next barrier, then the next
//! invocation does.

mod access;
mod atomic;
mod findings;
mod numbers;
mod rounding;
mod step;
mod storage;
mod workgroup;

use fastrand::Rng;

use crate::buffer::Buffer;
use crate::error::Error;
use crate::layout::{Layout, Scalar};
use crate::program::{Compiled, Instruction, Program, builtin, product};
use crate::report::{Problem, Report};
use crate::settings::{Order, Rounding, Settings};
use crate::shadow::{AtomicCell, Cell, Now};
use findings::Findings;

/// The content of workgroup memory that is not set to zero: a NaN.
const POISON: u32 = u32::MAX;

/// The same for a variable that contains a `bool`, where only 0 and 1 are valid.
const POISONED_BOOL: u32 = 1;

/// The range of a buffer that a variable is bound to, in words.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Range {
    pub(crate) buffer: usize,
    pub(crate) start: usize,
    pub(crate) words: usize,
}

/// The recorded accesses of a buffer.
#[derive(Debug, Default)]
struct Shadow {
    /// One for each word, or for each half word where the program has `f16` in buffers. Empty where nothing is
    /// written.
    cells: Vec<Cell>,
    /// As many as `cells` where both atomic and plain accesses are possible, else empty.
    atomics: Vec<AtomicCell>,
}

/// The state of an invocation.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// The next instruction, or the barrier at which it waits.
    place: usize,
    iterations: u64,
    has_ended: bool,
}

/// Why an invocation stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Barrier,
    End,
    /// It used up its loop budget.
    Budget,
}

pub(crate) struct Machine<'a> {
    program: &'a Program,
    findings: Findings<'a>,
    settings: &'a Settings,
    /// The source of random rounding errors, for [`Rounding::Granted`].
    random: Option<Rng>,
    workgroups: [u32; 3],
    /// The bound range of each variable of the program.
    ranges: Vec<Range>,
    /// The number of elements for each of the program's indices.
    lengths: Vec<u32>,
    shadows: Vec<Shadow>,
    buffers: Vec<Buffer>,
    workgroup: Vec<u32>,
    workgroup_cells: Vec<Cell>,
    /// The frames of all invocations, one after the other.
    frames: Vec<u32>,
    states: Vec<State>,
    /// The last interval that began.
    clock: u32,
    storage: Now,
    shared: Now,
    reached: Vec<bool>,
    operations: u64,
    /// Whether all invocations of this run have ended normally.
    is_whole: bool,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(
        compiled: &'a Compiled,
        settings: &'a Settings,
        workgroups: [u32; 3],
        ranges: Vec<Range>,
        buffers: &[Buffer],
    ) -> Self {
        let program = &compiled.program;
        // The compiler limits this number.
        let invocations = usize::try_from(program.invocations()).unwrap_or(usize::MAX);
        let start = Now {
            interval: 0,
            workgroup: 0,
            floor: 0,
        };
        let mut frame = vec![0; program.frame as usize];
        frame[builtin::COUNT as usize..][..program.constants.len()]
            .copy_from_slice(&program.constants);
        Self {
            program,
            findings: Findings::new(compiled, workgroups),
            settings,
            random: None,
            workgroups,
            shadows: shadows(program, &ranges, buffers),
            lengths: program
                .indices
                .iter()
                .map(|index| access::length(&ranges, index.length))
                .collect(),
            ranges,
            buffers: Vec::new(),
            workgroup: vec![0; program.workgroup_slots as usize],
            workgroup_cells: vec![Cell::default(); program.workgroup_slots as usize],
            frames: frame.repeat(invocations),
            states: vec![State::default(); invocations],
            clock: 0,
            storage: start,
            shared: start,
            reached: vec![false; program.blocks.len()],
            operations: 0,
            is_whole: true,
        }
    }

    /// Runs the dispatch in one order, from these contents of the buffers. Returns the contents afterwards, and
    /// whether all invocations ended normally.
    pub(crate) fn run(
        &mut self,
        order: Order,
        buffers: &[Buffer],
    ) -> Result<(Vec<Buffer>, bool), Error> {
        self.buffers = buffers.to_vec();
        self.findings.begin();
        self.random = match self.settings.rounding {
            Rounding::Nearest => None,
            Rounding::Granted(seed) => Some(Rng::with_seed(seed)),
        };
        // A new interval separates this run from the one before.
        self.tick()?;
        self.storage.floor = self.clock;
        let total = u32::try_from(product(self.workgroups)).unwrap_or(u32::MAX);
        let mut random = match order {
            Order::Random(seed) => Some(Rng::with_seed(seed)),
            Order::Forward | Order::Backward => None,
        };
        let mut invocations: Vec<u32> = (0..).take(self.states.len()).collect();
        if order == Order::Backward {
            invocations.reverse();
        }
        // Visits every workgroup once without storing a list: a constant step, coprime to the number of workgroups,
        // modulo that number.
        let (first, step) = match (order, &mut random) {
            (Order::Backward, _) => (total.saturating_sub(1), total.saturating_sub(1)),
            (_, Some(random)) if total > 1 => {
                let steps = std::iter::repeat_with(|| random.u32(1..total));
                let step = steps.into_iter().find(|&step| divisor(step, total) == 1);
                (random.u32(0..total), step.unwrap_or(1))
            }
            _ => (0, 1),
        };
        self.is_whole = true;
        for count in 0..u64::from(total) {
            let at = (u64::from(first) + count * u64::from(step)) % u64::from(total);
            let workgroup = u32::try_from(at).unwrap_or(u32::MAX);
            // If one invocation exceeds its budget, the other workgroups would probably take as long.
            if !self.workgroup(workgroup, &mut invocations, random.as_mut())? {
                break;
            }
        }
        Ok((std::mem::take(&mut self.buffers), self.is_whole))
    }

    /// Begins a new interval. A number that is used twice would hide races, or report wrong ones.
    fn tick(&mut self) -> Result<(), Error> {
        let next = self.clock.checked_add(1).ok_or_else(|| {
            let [x, y, z] = self.workgroups;
            Error::Setting(format!(
                "`{}` in {x}×{y}×{z} workgroups and {} orders has more than {} workgroups and barriers, one after the \
                 other: give fewer of either",
                self.program.entry,
                self.settings.orders.len(),
                u32::MAX
            ))
        })?;
        self.clock = next;
        Ok(())
    }

    /// Reports where a result differs from the first order's result.
    pub(crate) fn compare(&mut self, orders: [Order; 2], first: &[Buffer], other: &[Buffer]) {
        for (index, variable) in self.program.variables.iter().enumerate() {
            let Range {
                buffer,
                start,
                words,
            } = self.ranges[index];
            let binding = variable.binding.filter(|_| variable.is_writable);
            let Some(binding) = binding.map(|at| &self.program.bindings[at]) else {
                continue;
            };
            let one = &first[buffer].words[start..start + words];
            let two = &other[buffer].words[start..start + words];
            let Some(word) = one.iter().zip(two).position(|(one, two)| one != two) else {
                continue;
            };
            let values = [one[word], two[word]];
            let (offset, scalar, values) = differing(&binding.layout, 4 * word as u64, values);
            self.findings.whole(Problem::OrderDependent {
                buffer,
                location: format!("{}{}", variable.name, binding.layout.path(offset)),
                variable: variable.name.clone(),
                offset,
                scalar,
                orders,
                values,
            });
        }
    }

    pub(crate) fn report(self) -> Report {
        Report {
            findings: self.findings.into_list(),
            operations: self.operations,
            reached: self.reached,
        }
    }

    /// Runs all invocations of a workgroup, from barrier to barrier. Returns false if one exceeded its loop budget.
    fn workgroup(
        &mut self,
        workgroup: u32,
        order: &mut [u32],
        mut random: Option<&mut Rng>,
    ) -> Result<bool, Error> {
        self.tick()?;
        self.storage.interval = self.clock;
        self.storage.workgroup = self.clock;
        self.shared = Now {
            interval: self.clock,
            workgroup: self.clock,
            floor: self.clock,
        };
        self.findings.start_workgroup(self.clock, workgroup);
        let fill = if self.settings.zero_workgroup_memory {
            0
        } else {
            POISON
        };
        self.workgroup.fill(fill);
        if fill == POISON {
            for bools in &self.program.bools {
                self.workgroup[bools.start as usize..bools.end as usize].fill(POISONED_BOOL);
            }
        }
        self.start_invocations(workgroup);
        loop {
            if let Some(random) = random.as_deref_mut() {
                random.shuffle(order);
            }
            let mut waiting = 0;
            for &invocation in &*order {
                match self.go(invocation) {
                    Stop::Barrier => waiting += 1,
                    Stop::End => self.states[invocation as usize].has_ended = true,
                    Stop::Budget => {
                        self.is_whole = false;
                        return Ok(false);
                    }
                }
            }
            if waiting == 0 || !self.meet(waiting)? {
                return Ok(true);
            }
        }
    }

    fn start_invocations(&mut self, workgroup: u32) {
        let [x, y, _] = self.program.workgroup_size;
        let size = self.program.workgroup_size;
        let group = position(workgroup, self.workgroups);
        let frames = self.frames.chunks_exact_mut(self.program.frame as usize);
        for (index, (frame, state)) in (0..).zip(frames.zip(&mut self.states)) {
            let local = [index % x, index / x % y, index / x / y];
            let global = [0, 1, 2].map(|axis| group[axis] * size[axis] + local[axis]);
            let mut set = |at: u32, values: &[u32]| {
                frame[at as usize..][..values.len()].copy_from_slice(values);
            };
            set(builtin::LOCAL_ID, &local);
            set(builtin::LOCAL_INDEX, &[index]);
            set(builtin::GLOBAL_ID, &global);
            set(builtin::WORKGROUP_ID, &group);
            set(builtin::NUM_WORKGROUPS, &self.workgroups);
            *state = State::default();
        }
    }

    /// Lets all invocations continue if they wait at the same barrier; reports a divergence and returns false if
    /// not.
    fn meet(&mut self, waiting: usize) -> Result<bool, Error> {
        let Some(first) = self.states.iter().position(|state| !state.has_ended) else {
            return Ok(false);
        };
        let place = self.states[first].place;
        let Instruction::Barrier {
            storage,
            workgroup,
            loops,
        } = self.program.code[place]
        else {
            unreachable!("who has not ended waits at a barrier");
        };
        let counters = &self.program.loops[loops as usize];
        let size = self.program.frame as usize;
        let count =
            |invocation: usize, counter: u32| self.frames[invocation * size + counter as usize];
        let is_elsewhere = |&invocation: &usize| {
            let state = &self.states[invocation];
            state.has_ended
                || state.place != place
                || counters
                    .iter()
                    .any(|&counter| count(invocation, counter) != count(first, counter))
        };
        let elsewhere = (0..self.states.len()).find(is_elsewhere);
        if waiting < self.states.len() || elsewhere.is_some() {
            let other = elsewhere.unwrap_or_default();
            let [one, two] = [first, other].map(|invocation| {
                let index = u32::try_from(invocation).unwrap_or(u32::MAX);
                (index, self.states[invocation].place)
            });
            self.findings.divergence(one, two);
            self.is_whole = false;
            return Ok(false);
        }
        self.states.iter_mut().for_each(|state| state.place += 1);
        self.tick()?;
        if storage {
            self.storage.interval = self.clock;
        }
        if workgroup {
            self.shared.interval = self.clock;
        }
        Ok(true)
    }
}

/// The first number that differs in a word of a variable: its position, type and bits.
fn differing(layout: &Layout, at: u64, values: [u32; 2]) -> (u64, Scalar, [u32; 2]) {
    match layout.number(at) {
        Some((first, Scalar::F16)) if first == at && values[0] << 16 == values[1] << 16 => {
            (at + 2, Scalar::F16, values.map(|word| word >> 16))
        }
        Some((first, Scalar::F16)) if first == at + 2 => {
            (first, Scalar::F16, values.map(|word| word >> 16))
        }
        Some((first, scalar)) if first == at => (at, scalar, values),
        // The padding between numbers can only be written through another binding.
        _ => (at, Scalar::U32, values),
    }
}

/// The greatest common divisor.
fn divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// The coordinates of item `index` in a grid with these counts in x, y and z.
pub(crate) fn position(index: u32, counts: [u32; 3]) -> [u32; 3] {
    let [x, y, _] = counts.map(|count| count.max(1));
    [index % x, index / x % y, index / x / y]
}

fn shadows(program: &Program, ranges: &[Range], buffers: &[Buffer]) -> Vec<Shadow> {
    let bound = || {
        let variables = program.variables.iter().zip(ranges);
        variables.filter(|(variable, _)| variable.binding.is_some())
    };
    let is_atomic = |buffer: usize| {
        program.atomics.iter().any(|atomic| {
            let variable = usize::from(atomic.variable);
            program.variables[variable].binding.is_some() && ranges[variable].buffer == buffer
        })
    };
    let shadow = |(index, buffer): (usize, &Buffer)| {
        let here = || bound().filter(|(_, range)| range.buffer == index);
        if !here().any(|(variable, _)| variable.is_writable) {
            return Shadow::default();
        }
        let cells = buffer.words.len() << u32::from(program.has_halves);
        let is_mixed = here().count() > 1 && is_atomic(index);
        Shadow {
            cells: vec![Cell::default(); cells],
            atomics: vec![AtomicCell::default(); if is_mixed { cells } else { 0 }],
        }
    };
    buffers.iter().enumerate().map(shadow).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shader::Shader;

    /// Dispatches two workgroups with a barrier each, in two orders, starting from this interval.
    fn run_from(clock: u32) -> Result<(), Error> {
        let text = "@compute @workgroup_size(2) fn main() { workgroupBarrier(); }";
        let kernel = Shader::parse("a.wgsl", text)?.kernel("main", &[])?;
        let settings = Settings::default().orders([Order::Forward, Order::Backward]);
        let mut machine = Machine::new(&kernel.0, &settings, [2, 1, 1], Vec::new(), &[]);
        machine.clock = clock;
        for order in [Order::Forward, Order::Backward] {
            machine.run(order, &[])?;
        }
        assert!(machine.report().is_clean());
        Ok(())
    }

    #[test]
    fn intervals_do_not_begin_anew() {
        // Twice: one order, two workgroups and two barriers.
        let needed = 10;
        assert_eq!(run_from(u32::MAX - needed), Ok(()));
        let told = run_from(u32::MAX - needed + 1)
            .map_or_else(|error| error.to_string(), |()| String::new());
        assert_eq!(
            told,
            "`main` in 2×1×1 workgroups and 2 orders has more than 4294967295 workgroups and barriers, one after the \
             other: give fewer of either"
        );
    }
}
