//! Random accesses to shared memory. The findings must be the races that a comparison of all pairs of accesses gives.

use std::collections::BTreeSet;

use fastrand::Rng;
use wgsl_sanitizer::{Buffer, Dispatch, Kernel, Order, Problem, Settings, Shader, sanitize};

/// Each invocation follows its list in `todo`. A step is at most one access, and then a workgroup barrier, a storage
/// barrier, both, or none. `plain` and `atomics` are bound to the same buffer.
const SHADER: &str = "
@group(0) @binding(0) var<storage, read> todo: array<u32>;
@group(0) @binding(1) var<storage, read_write> plain: array<u32>;
@group(0) @binding(2) var<storage, read_write> atomics: array<atomic<u32>>;
override steps: u32;
var<workgroup> tile: array<u32, 4>;
var<private> sum: u32;

@compute @workgroup_size(4)
fn main(@builtin(global_invocation_id) global: vec3u, @builtin(num_workgroups) groups: vec3u) {
    for (var step = 0u; step < steps; step++) {
        let what = todo[global.x * steps + step];
        let at = what >> 8;
        switch what & 0xff {
            case 0u: { sum += tile[at]; }
            case 1u: { tile[at] = step; }
            case 2u: { sum += plain[at]; }
            case 3u: { plain[at] = step; }
            case 4u: { sum += atomicLoad(&atomics[at]); }
            case 5u: { atomicAdd(&atomics[at], 1u); }
            default: {}
        }
        switch todo[groups.x * 4 * steps + step] {
            case 1u: { workgroupBarrier(); }
            case 2u: { storageBarrier(); }
            case 3u: { workgroupBarrier(); storageBarrier(); }
            default: {}
        }
    }
}
";

/// The line of the first `case` of the `switch`. The other cases follow, one per line.
const FIRST_LINE: u32 = 15;
const KINDS: u32 = 6;
const SIZE: usize = 4;

/// An access: the invocation, the case of [`SHADER`], the location, and how many barriers of each kind the invocation
/// had passed before.
#[derive(Clone, Copy)]
struct Access {
    workgroup: usize,
    invocation: usize,
    kind: u32,
    at: u32,
    /// The number of barriers passed: for workgroup memory, and for storage.
    barriers: [usize; 2],
}

impl Access {
    fn is_of_workgroup_memory(self) -> bool {
        self.kind < 2
    }

    fn is_write(self) -> bool {
        self.kind % 2 == 1
    }

    fn is_atomic(self) -> bool {
        self.kind > 3
    }

    fn races(self, other: Self) -> bool {
        let of_workgroup = self.is_of_workgroup_memory();
        if of_workgroup != other.is_of_workgroup_memory() || self.at != other.at {
            return false;
        }
        let is_harmless =
            !(self.is_write() || other.is_write()) || self.is_atomic() && other.is_atomic();
        if is_harmless || self.invocation == other.invocation {
            return false;
        }
        match (self.workgroup == other.workgroup, of_workgroup) {
            (false, is_of_workgroup) => !is_of_workgroup,
            (true, true) => self.barriers[0] == other.barriers[0],
            (true, false) => self.barriers[1] == other.barriers[1],
        }
    }
}

/// Draws a random dispatch. Returns the contents of `todo`, and all accesses of the dispatch.
fn draw(rng: &mut Rng, workgroups: usize, steps: usize) -> (Vec<u32>, Vec<Access>) {
    // In tenths: the fraction of steps with an access. With few accesses, races are rare.
    let share = rng.u32(1..10);
    let barriers: Vec<u32> = (0..steps).map(|_| rng.u32(0..4)).collect();
    let mut todo = Vec::new();
    let mut accesses = Vec::new();
    for invocation in 0..workgroups * SIZE {
        for step in 0..steps {
            let kind = rng.u32(0..KINDS);
            let at = rng.u32(0..4);
            if rng.u32(0..10) >= share {
                todo.push(KINDS);
                continue;
            }
            todo.push(kind | at << 8);
            let passed = |bit: u32| {
                barriers[..step]
                    .iter()
                    .filter(|&&kind| kind & bit != 0)
                    .count()
            };
            accesses.push(Access {
                workgroup: invocation / SIZE,
                invocation,
                kind,
                at,
                barriers: [passed(1), passed(2)],
            });
        }
    }
    todo.extend(barriers);
    (todo, accesses)
}

/// Returns the pairs of cases of [`SHADER`] whose accesses race, the smaller case first in each pair.
fn pairs(accesses: &[Access]) -> BTreeSet<[u32; 2]> {
    let others = accesses.iter().enumerate().flat_map(|(at, one)| {
        let rest = accesses[at + 1..].iter().filter(|other| one.races(**other));
        rest.map(|other| [one.kind.min(other.kind), one.kind.max(other.kind)])
    });
    others.collect()
}

fn found(kernel: &Kernel, workgroups: usize, todo: &[u32], order: Order) -> BTreeSet<[u32; 2]> {
    let groups = u32::try_from(workgroups).unwrap_or(0);
    let dispatch = Dispatch::new([groups, 1, 1])
        .bind(0, 0, 0)
        .bind(0, 1, 1)
        .bind(0, 2, 1);
    let mut buffers = [Buffer::from_u32s(todo), Buffer::zeros(4)];
    let settings = Settings::default().orders([order]);
    let report = sanitize(kernel, &dispatch, &mut buffers, &settings);
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    let lines = report.findings.iter().map(|finding| {
        assert!(matches!(finding.problem, Problem::Race { .. }), "{finding}");
        let kind = |side: &Option<wgsl_sanitizer::Side>| {
            side.as_ref()
                .map_or(KINDS, |side| side.place.line - FIRST_LINE)
        };
        let [one, other] = [kind(&finding.side), kind(&finding.other)];
        [one.min(other), one.max(other)]
    });
    lines.collect()
}

#[test]
fn races_are_those_of_all_pairs_of_accesses() -> Result<(), wgsl_sanitizer::Error> {
    let shader = Shader::parse("random.wgsl", SHADER)?;
    let mut rng = Rng::with_seed(0);
    let mut racy = 0;
    let mut clean = 0;
    for round in 0..4000 {
        let workgroups = rng.usize(1..4);
        let steps = rng.usize(1..8);
        let count = u32::try_from(steps).unwrap_or(0);
        let kernel = shader.kernel("main", &[("steps", count.into())])?;
        let (todo, accesses) = draw(&mut rng, workgroups, steps);
        let expected = pairs(&accesses);
        for order in [Order::Forward, Order::Backward, Order::Random(round)] {
            let found = found(&kernel, workgroups, &todo, order);
            let wrong: Vec<_> = found.difference(&expected).collect();
            assert!(
                wrong.is_empty(),
                "round {round}, {order:?}: {wrong:?} are no race"
            );
            // For each kind of memory, it is enough to find one of the expected races, because one race may hide
            // another.
            for is_of_memory in [
                |pair: &&[u32; 2]| pair[0] < 2,
                |pair: &&[u32; 2]| pair[0] >= 2,
            ] {
                let missed = expected.iter().find(is_of_memory);
                let is_found = found.iter().any(|pair| is_of_memory(&pair));
                assert_eq!(
                    is_found,
                    missed.is_some(),
                    "round {round}, {order:?}: {missed:?}"
                );
            }
        }
        if expected.is_empty() {
            clean += 1;
        } else {
            racy += 1;
        }
    }
    assert!(racy > 500 && clean > 500, "{racy} racy, {clean} clean");
    Ok(())
}
