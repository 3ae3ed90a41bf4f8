//! Collects the findings. A problem that occurs several times at the same places in the source is one finding, with a
//! count.

use std::borrow::Cow;
use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};

use super::access::StrayAccess;
use super::position;
use crate::program::{Compiled, Name};
use crate::report::{Access, Finding, Place, Problem, Side, Space};
use crate::shadow::Entry;

/// The kind of a problem. It is compared before the details of the problem are made: the same problem may occur
/// millions of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Race,
    Divergence,
    OutOfBounds,
    Unwritten,
    Other(Discriminant<Problem>),
}

/// Identifies a finding: the kind of its problem, and two source positions (indices into the program's sites). They are
/// those of the two invocations that race or diverge, or twice the same for a problem of one invocation.
type Key = (Kind, u32, u32);

/// The name in messages for a value that is in no variable.
static VALUE: Name = Name {
    text: Cow::Borrowed("a value"),
    space: Space::Function,
    layout: None,
};

/// An earlier access that races with the current one.
#[derive(Debug, Clone, Copy)]
pub(super) struct RacingAccess {
    pub(super) entry: Entry,
    /// Offset of the location from the start of its variable: in bytes for a buffer, in scalars for workgroup memory.
    pub(super) offset: u64,
}

pub(super) struct Findings<'a> {
    compiled: &'a Compiled,
    workgroups: [u32; 3],
    list: Vec<Finding>,
    /// For each finding: its index in `list`, and the number of the run that found it first.
    known: HashMap<Key, (usize, u32)>,
    run: u32,
    /// For each workgroup of this run so far: the number of its first interval (see [`shadow`](crate::shadow)), and the
    /// index of the workgroup.
    starts: Vec<(u32, u32)>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(compiled: &'a Compiled, workgroups: [u32; 3]) -> Self {
        Self {
            compiled,
            workgroups,
            list: Vec::new(),
            known: HashMap::new(),
            run: 0,
            starts: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self) {
        self.run += 1;
        self.starts.clear();
    }

    pub(super) fn start_workgroup(&mut self, interval: u32, workgroup: u32) {
        self.starts.push((interval, workgroup));
    }

    pub(super) fn into_list(self) -> Vec<Finding> {
        self.list
    }

    fn site(&self, place: usize) -> u32 {
        self.compiled.program.site_of[place]
    }

    fn place(&self, site: u32) -> Place {
        let site = self.compiled.program.sites[site as usize];
        self.compiled.source.place(site.span)
    }

    fn side(&self, workgroup: u32, (invocation, place): (u32, usize)) -> Side {
        let program = &self.compiled.program;
        let call_site = |at: u32| program.call_sites.get(at as usize);
        let calls = std::iter::successors(call_site(program.call_of[place]), |call| {
            call_site(call.outer)
        });
        Side {
            place: self.place(self.site(place)),
            workgroup: position(workgroup, self.workgroups),
            invocation: position(invocation, program.workgroup_size),
            calls: calls
                .map(|call| self.compiled.source.place(call.span))
                .collect(),
        }
    }

    /// Returns the name of the variable that the instruction at `place` accesses.
    fn name(&self, place: usize) -> &'a Name {
        let program = &self.compiled.program;
        let name = program.sites[self.site(place) as usize].name;
        program.names.get(name as usize).unwrap_or(&VALUE)
    }

    fn workgroup(&self) -> u32 {
        self.starts.last().map_or(0, |&(_, workgroup)| workgroup)
    }

    /// Returns the index of the workgroup that ran in an interval (see [`shadow`](crate::shadow)).
    fn workgroup_of(&self, interval: u32) -> u32 {
        let after = self.starts.partition_point(|&(start, _)| start <= interval);
        after.checked_sub(1).map_or(0, |at| self.starts[at].1)
    }

    /// Returns the finding with this key. If the current run is the one that found it first, adds 1 to its count.
    /// Returns `None` for a new key; the caller must then push the finding.
    fn known(&mut self, key: Key) -> Option<&mut Finding> {
        if let Some(&(at, run)) = self.known.get(&key) {
            let finding = &mut self.list[at];
            finding.times += u64::from(run == self.run);
            return Some(finding);
        }
        self.known.insert(key, (self.list.len(), self.run));
        None
    }

    fn push(&mut self, problem: Problem, [side, other]: [Option<Side>; 2]) {
        self.list.push(Finding {
            problem,
            side,
            other,
            times: 1,
            within_and_between: false,
        });
    }

    /// Adds a problem that concerns only one invocation.
    pub(super) fn one(&mut self, here: (u32, usize), problem: Problem) {
        self.at(here, Kind::Other(discriminant(&problem)), |_| problem);
    }

    /// Adds a problem that concerns only one invocation. The closure `problem` gets the variable that the invocation
    /// accesses.
    fn at(&mut self, here: (u32, usize), kind: Kind, problem: impl FnOnce(&Name) -> Problem) {
        let site = self.site(here.1);
        if self.known((kind, site, site)).is_none() {
            let problem = problem(self.name(here.1));
            let side = Some(self.side(self.workgroup(), here));
            self.push(problem, [side, None]);
        }
    }

    /// Adds an access outside a variable.
    pub(super) fn out_of_bounds(
        &mut self,
        here: (u32, usize),
        access: Access,
        missed: StrayAccess,
    ) {
        let StrayAccess {
            index,
            length,
            in_bytes,
        } = missed;
        self.at(here, Kind::OutOfBounds, |name| Problem::OutOfBounds {
            space: name.space,
            variable: name.text.to_string(),
            access,
            index,
            length,
            in_bytes,
        });
    }

    /// Adds a read of unwritten memory.
    pub(super) fn unwritten(&mut self, here: (u32, usize), offset: u64) {
        self.at(here, Kind::Unwritten, |name| Problem::Unwritten {
            space: name.space,
            variable: name.text.to_string(),
            location: name.location(offset),
            offset,
        });
    }

    /// Adds a problem without a position in the source.
    pub(super) fn whole(&mut self, problem: Problem) {
        let is_known = |finding: &Finding| match (&finding.problem, &problem) {
            (
                Problem::OrderDependent { variable: one, .. },
                Problem::OrderDependent { variable: two, .. },
            ) => one == two,
            _ => false,
        };
        if let Some(known) = self.list.iter_mut().find(|finding| is_known(finding)) {
            known.times += 1;
            return;
        }
        self.push(problem, [None, None]);
    }

    pub(super) fn race(
        &mut self,
        here: (u32, usize),
        RacingAccess { entry, offset }: RacingAccess,
        [access, other]: [Access; 2],
    ) {
        let before = (entry.invocation(), entry.place() as usize);
        let sites = [self.site(here.1), self.site(before.1)];
        let low = sites[0].min(sites[1]);
        let high = sites[0].max(sites[1]);
        let groups = [self.workgroup(), self.workgroup_of(entry.interval())];
        let is_within = groups[0] == groups[1];
        if let Some(known) = self.known((Kind::Race, low, high)) {
            known.within_and_between |= is_within != known.is_within();
            return;
        }
        let name = self.name(here.1);
        let problem = Problem::Race {
            space: name.space,
            variable: name.text.to_string(),
            location: name.location(offset),
            access,
            other,
            offset,
        };
        let sides = [(groups[0], here), (groups[1], before)];
        let sides = sides.map(|(group, who)| Some(self.side(group, who)));
        self.push(problem, sides);
    }

    /// Adds a divergence. `here` is an invocation that waits at a barrier. `there` is one that waits at another
    /// barrier, waits in another iteration, or has ended.
    pub(super) fn divergence(&mut self, here: (u32, usize), there: (u32, usize)) {
        let sites = [self.site(here.1), self.site(there.1)];
        if self.known((Kind::Divergence, sites[0], sites[1])).is_none() {
            let workgroup = self.workgroup();
            let sides = [here, there].map(|who| Some(self.side(workgroup, who)));
            self.push(Problem::Divergence, sides);
        }
    }
}
