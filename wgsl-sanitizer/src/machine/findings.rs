//! Collects what is wrong: each thing once, with how often it happened.

use std::collections::HashMap;

use super::position;
use crate::program::Compiled;
use crate::report::{Access, Finding, Place, Problem, Side};
use crate::shadow::Entry;

/// What tells one finding from another: the kind of the problem, and the sites of both sides.
type Key = (std::mem::Discriminant<Problem>, u32, u32);

/// An earlier access that an access meets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Met {
    pub(super) entry: Entry,
    /// The location: bytes of the variable, or slots of workgroup memory.
    pub(super) offset: u64,
}

pub(super) struct Findings<'a> {
    compiled: &'a Compiled,
    workgroups: [u32; 3],
    list: Vec<Finding>,
    /// Which of the list, and in which run it was found.
    known: HashMap<Key, (usize, u32)>,
    run: u32,
    /// The first interval of each workgroup of this run.
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
        Side {
            place: self.place(self.site(place)),
            workgroup: position(workgroup, self.workgroups),
            invocation: position(invocation, self.compiled.program.workgroup_size),
        }
    }

    fn workgroup(&self) -> u32 {
        self.starts.last().map_or(0, |&(_, workgroup)| workgroup)
    }

    /// The workgroup that an interval belongs to.
    fn workgroup_of(&self, interval: u32) -> u32 {
        let after = self.starts.partition_point(|&(start, _)| start <= interval);
        after.checked_sub(1).map_or(0, |at| self.starts[at].1)
    }

    /// Whether a thing is new; if not, it counts once more, within the run in which it was found first.
    fn is_new(&mut self, key: Key) -> bool {
        match self.known.get(&key) {
            Some(&(at, run)) => {
                self.list[at].times += u64::from(run == self.run);
                false
            }
            None => {
                self.known.insert(key, (self.list.len(), self.run));
                true
            }
        }
    }

    /// A problem of one invocation.
    pub(super) fn one(&mut self, here: (u32, usize), problem: Problem) {
        let site = self.site(here.1);
        if self.is_new((std::mem::discriminant(&problem), site, site)) {
            let side = Some(self.side(self.workgroup(), here));
            self.list.push(Finding {
                problem,
                side,
                other: None,
                times: 1,
            });
        }
    }

    /// A problem without a place.
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
        self.list.push(Finding {
            problem,
            side: None,
            other: None,
            times: 1,
        });
    }

    pub(super) fn race(
        &mut self,
        here: (u32, usize),
        Met { entry, offset }: Met,
        [access, other]: [Access; 2],
    ) {
        let before = (entry.invocation(), entry.place() as usize);
        let sites = [self.site(here.1), self.site(before.1)];
        let name = self.compiled.program.sites[sites[0] as usize].name;
        let (variable, space) = self.compiled.program.names[name as usize].clone();
        let problem = Problem::Race {
            space,
            variable,
            access,
            other,
            offset,
        };
        let (low, high) = (sites[0].min(sites[1]), sites[0].max(sites[1]));
        if self.is_new((std::mem::discriminant(&problem), low, high)) {
            let side = Some(self.side(self.workgroup(), here));
            let other = Some(self.side(self.workgroup_of(entry.interval()), before));
            self.list.push(Finding {
                problem,
                side,
                other,
                times: 1,
            });
        }
    }

    /// One invocation waits at a barrier, the other is not there.
    pub(super) fn divergence(&mut self, here: (u32, usize), there: (u32, usize)) {
        let problem = Problem::Divergence;
        let sites = [self.site(here.1), self.site(there.1)];
        if self.is_new((std::mem::discriminant(&problem), sites[0], sites[1])) {
            let workgroup = self.workgroup();
            let side = Some(self.side(workgroup, here));
            let other = Some(self.side(workgroup, there));
            self.list.push(Finding {
                problem,
                side,
                other,
                times: 1,
            });
        }
    }
}
