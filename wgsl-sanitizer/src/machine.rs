//! Runs a [`Program`], one workgroup after the other. In a workgroup, the invocations take turns: each runs up to its
//! next barrier or its end.

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

/// The value of a word of workgroup memory at the start of a workgroup, if this memory is not set to zero. As an `f32`,
/// this value is a NaN.
const POISON: u32 = u32::MAX;

/// [`POISON`] for a variable that contains a `bool`, where only 0 and 1 are valid.
const POISONED_BOOL: u32 = 1;

/// The range of a buffer that is bound to a variable, in 32-bit words.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Range {
    pub(crate) buffer: usize,
    pub(crate) start: usize,
    pub(crate) words: usize,
}

/// The recorded accesses to a buffer.
#[derive(Debug, Default)]
struct Shadow {
    /// The plain accesses to each word, or to each half word if any buffer contains `f16`. Empty if the shader cannot
    /// write the buffer.
    cells: Vec<Cell>,
    /// The atomic accesses to each location of `cells`. Empty unless the shader can access the buffer by atomic
    /// operations and also by plain operations.
    atomics: Vec<AtomicCell>,
}

/// The state of an invocation.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// The index of the next instruction, or of the barrier at which the invocation waits.
    place: usize,
    iterations: u64,
    has_ended: bool,
}

/// Why an invocation stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Barrier,
    End,
    /// The invocation exceeded its loop budget.
    Budget,
}

pub(crate) struct Machine<'a> {
    program: &'a Program,
    findings: Findings<'a>,
    settings: &'a Settings,
    /// The random number generator for [`Rounding::WithinAccuracy`].
    random: Option<Rng>,
    workgroups: [u32; 3],
    /// The bound range of each variable of the program.
    ranges: Vec<Range>,
    /// For each non-constant index into an array in the program: the number of elements of the indexed array.
    lengths: Vec<u32>,
    shadows: Vec<Shadow>,
    buffers: Vec<Buffer>,
    workgroup: Vec<u32>,
    workgroup_cells: Vec<Cell>,
    /// The frames of all invocations, one after the other.
    frames: Vec<u32>,
    states: Vec<State>,
    /// The number of the current interval (see [`shadow`](crate::shadow)).
    clock: u32,
    storage: Now,
    shared: Now,
    reached: Vec<bool>,
    operations: u64,
    /// Whether every invocation of this run has ended without an exceeded budget or a divergence.
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
        // This always fits: the compiler limits the number of invocations.
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

    /// Runs the dispatch in one order, starting from the contents of `buffers`. Returns the contents afterwards, and
    /// whether every invocation has ended without an exceeded loop budget or a divergence.
    pub(crate) fn run(
        &mut self,
        order: Order,
        buffers: &[Buffer],
    ) -> Result<(Vec<Buffer>, bool), Error> {
        self.buffers = buffers.to_vec();
        self.findings.begin();
        self.random = match self.settings.rounding {
            Rounding::Nearest => None,
            Rounding::WithinAccuracy(seed) => Some(Rng::with_seed(seed)),
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
        // Visits every workgroup once without storing a list: from visit to visit, the workgroup's index grows by a
        // constant step, modulo the number of workgroups. The step is coprime to that number.
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
            // After an exceeded budget, end the run: other workgroups would probably take as long.
            if !self.workgroup(workgroup, &mut invocations, random.as_mut())? {
                break;
            }
        }
        Ok((std::mem::take(&mut self.buffers), self.is_whole))
    }

    /// Begins a new interval (see [`shadow`](crate::shadow)). If the number of intervals exceeds 32 bits, this is an
    /// error: a repeated number would hide races, or report races that do not exist.
    fn tick(&mut self) -> Result<(), Error> {
        let next = self.clock.checked_add(1).ok_or_else(|| {
            let [x, y, z] = self.workgroups;
            Error::Setting(format!(
                "`{}` in {x}×{y}×{z} workgroups and {} orders has more than {} workgroups and barriers, one after the \
                 other: use fewer workgroups or orders",
                self.program.entry,
                self.settings.orders.len(),
                u32::MAX
            ))
        })?;
        self.clock = next;
        Ok(())
    }

    /// Reports each variable whose contents differ between the first order and another order.
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

    /// Runs all invocations of a workgroup, from barrier to barrier. Returns false if an invocation exceeded its loop
    /// budget.
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

    /// If all invocations wait at the same barrier, lets them continue and returns true. Otherwise reports a divergence
    /// and returns false.
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

/// Returns the first number that differs between two values of a word: its position, its type, and the bits of both.
fn differing(layout: &Layout, at: u64, values: [u32; 2]) -> (u64, Scalar, [u32; 2]) {
    match layout.number(at) {
        Some((first, Scalar::F16)) if first == at && values[0] << 16 == values[1] << 16 => {
            (at + 2, Scalar::F16, values.map(|word| word >> 16))
        }
        Some((first, Scalar::F16)) if first == at + 2 => {
            (first, Scalar::F16, values.map(|word| word >> 16))
        }
        Some((first, scalar)) if first == at => (at, scalar, values),
        // The word is padding between numbers. Another binding of the same buffer wrote it.
        _ => (at, Scalar::U32, values),
    }
}

/// Returns the greatest common divisor.
fn divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// Returns the coordinates of item `index` in a grid with `counts` items in x, y and z.
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

    /// Dispatches two workgroups with one barrier each, in two orders. The first interval (see `crate::shadow`) has the
    /// number `clock` + 1.
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
        // Each of the two orders needs five intervals: one for the order, two for the workgroups and two for the
        // barriers.
        let needed = 10;
        assert_eq!(run_from(u32::MAX - needed), Ok(()));
        let told = run_from(u32::MAX - needed + 1)
            .map_or_else(|error| error.to_string(), |()| String::new());
        assert_eq!(
            told,
            "`main` in 2×1×1 workgroups and 2 orders has more than 4294967295 workgroups and barriers, one after the \
             other: use fewer workgroups or orders"
        );
    }
}
