//! The access history of each location in shared memory: the last writer and two readers. Races are found with it.
//!
//! Time is counted in *intervals*. A clock advances by one whenever a workgroup starts and whenever a workgroup passes
//! a barrier. Workgroup memory and storage have separate current intervals: a `workgroupBarrier` starts a new interval
//! for workgroup memory, and a `storageBarrier` starts one for storage. Two accesses are ordered if the same invocation
//! makes both, or if they lie in different intervals of one workgroup. Nothing orders the workgroups of a dispatch.
//!
//! The history of a location therefore has constant size, however many accesses there are. This is the idea of `HiRace`
//! (Jacobson, Burtscher and Gopalakrishnan, arXiv 2401.04701). One writer is enough, because a second writer that is
//! not ordered with the first is already a race. Two readers by different invocations are enough, because a later
//! writer differs from at least one of them. The history keeps a reader from an earlier workgroup, because nothing
//! orders it with a later writer.

/// Number of bits of [`Entry::who`] for the index of the instruction. The other bits are for the index of the
/// invocation in its workgroup.
const PLACE_BITS: u32 = 22;

/// The maximum number of instructions of a program, and of invocations of a workgroup, that fit in [`Entry::who`].
pub(crate) const MOST_INSTRUCTIONS: usize = 1 << PLACE_BITS;
pub(crate) const MOST_INVOCATIONS: u32 = 1 << (u32::BITS - PLACE_BITS);

/// An access: its invocation, its instruction, and its interval, as the documentation of this module defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    /// The interval of the access. 0 means that there was no access.
    interval: u32,
    who: u32,
}

impl Entry {
    pub(crate) const fn new(interval: u32, invocation: u32, place: u32) -> Self {
        Self {
            interval,
            who: invocation << PLACE_BITS | place,
        }
    }

    pub(crate) const fn interval(self) -> u32 {
        self.interval
    }

    pub(crate) const fn place(self) -> u32 {
        self.who & ((1 << PLACE_BITS) - 1)
    }

    pub(crate) const fn invocation(self) -> u32 {
        self.who >> PLACE_BITS
    }
}

/// The current interval, with the bounds that decide which past accesses can race with a current one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// The current interval.
    pub(crate) interval: u32,
    /// The first interval of this workgroup.
    pub(crate) workgroup: u32,
    /// The first interval whose accesses count. For storage, it is the first interval of this run; for workgroup
    /// memory, the first interval of this workgroup.
    pub(crate) floor: u32,
}

impl Now {
    /// Returns whether `past` and a current access by `invocation` are unordered.
    #[inline]
    fn conflicts(self, past: Entry, invocation: u32) -> bool {
        past.interval >= self.floor
            && (past.interval < self.workgroup
                || (past.interval == self.interval && past.invocation() != invocation))
    }
}

/// Two past accesses of one kind (read or write). They are by different workgroups or invocations, if such accesses
/// have occurred.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pair {
    last: Entry,
    other: Entry,
}

impl Pair {
    #[inline]
    fn conflict(&self, now: Now, invocation: u32) -> Option<Entry> {
        [self.last, self.other]
            .into_iter()
            .find(|&past| now.conflicts(past, invocation))
    }

    #[inline]
    fn note(&mut self, now: Now, entry: Entry) {
        let Self { last, other } = *self;
        let is_of_another =
            |past: Entry| past.interval >= now.floor && past.interval < now.workgroup;
        let is_beside = last.interval == now.interval && last.invocation() != entry.invocation();
        if last.interval < now.floor {
            self.other = Entry::default();
        } else if is_of_another(last) || (is_beside && !is_of_another(other)) {
            self.other = last;
        }
        self.last = entry;
    }
}

/// The history of the plain (not atomic) accesses to a location.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cell {
    writer: Entry,
    readers: Pair,
}

impl Cell {
    /// Records a read. If an earlier write races with it, returns that write.
    #[inline]
    pub(crate) fn read(&mut self, now: Now, entry: Entry) -> Option<Entry> {
        self.readers.note(now, entry);
        let writer = self.writer;
        now.conflicts(writer, entry.invocation()).then_some(writer)
    }

    /// Records a write. If an earlier access races with it, returns that access, and whether it is a write.
    #[inline]
    pub(crate) fn write(&mut self, now: Now, entry: Entry) -> Option<(Entry, bool)> {
        let found = self.conflict_of_write(now, entry.invocation());
        self.writer = entry;
        found
    }

    /// Returns an earlier access that races with a write, and whether that access is a write. Does not record the write
    /// itself. Atomic writes use this function, because [`AtomicCell`] records them.
    #[inline]
    pub(crate) fn conflict_of_write(&self, now: Now, invocation: u32) -> Option<(Entry, bool)> {
        if now.conflicts(self.writer, invocation) {
            return Some((self.writer, true));
        }
        let reader = self.readers.conflict(now, invocation);
        reader.map(|reader| (reader, false))
    }

    /// Returns the write that races with a read. Does not record the read itself. Atomic reads use this function,
    /// because [`AtomicCell`] records them.
    #[inline]
    pub(crate) fn conflict_of_read(&self, now: Now, invocation: u32) -> Option<Entry> {
        let writer = self.writer;
        now.conflicts(writer, invocation).then_some(writer)
    }

    /// Returns whether the location was written in or after the interval [`Now::floor`].
    #[inline]
    pub(crate) fn is_written(&self, now: Now) -> bool {
        self.writer.interval >= now.floor
    }

    /// Records a write without checking for a race.
    #[inline]
    pub(crate) fn mark(&mut self, entry: Entry) {
        self.writer = entry;
    }
}

/// The history of the atomic accesses to a location that can also have plain accesses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AtomicCell {
    reads: Pair,
    writes: Pair,
}

impl AtomicCell {
    pub(crate) fn note(&mut self, now: Now, entry: Entry, is_write: bool) {
        if is_write {
            self.writes.note(now, entry);
        } else {
            self.reads.note(now, entry);
        }
    }

    /// Returns the atomic write that races with a plain read.
    pub(crate) fn conflict_of_read(&self, now: Now, invocation: u32) -> Option<Entry> {
        self.writes.conflict(now, invocation)
    }

    /// Returns the atomic access that races with a plain write, and whether that access is a write.
    pub(crate) fn conflict_of_write(&self, now: Now, invocation: u32) -> Option<(Entry, bool)> {
        let write = self.writes.conflict(now, invocation);
        let read = || self.reads.conflict(now, invocation);
        write
            .map(|write| (write, true))
            .or_else(|| read().map(|read| (read, false)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKGROUPS: u32 = 3;
    const INVOCATIONS: u32 = 3;
    const INTERVALS: u32 = 3;

    /// An access, with everything that the definition of a race refers to.
    #[derive(Clone, Copy)]
    struct Past {
        interval: u32,
        workgroup: u32,
        invocation: u32,
        is_write: bool,
    }

    /// Returns whether an access races with any earlier access, by the definition of a race.
    fn by_definition(past: &[Past], one: Past) -> bool {
        past.iter().any(|other| {
            (other.is_write || one.is_write)
                && (other.workgroup != one.workgroup
                    || (other.interval == one.interval && other.invocation != one.invocation))
        })
    }

    /// For random histories of a location, [`Cell`] reports the first race.
    #[test]
    fn constant_state_finds_the_first_race_of_every_history() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut races = 0;
        let mut clean = 0;
        for _ in 0..200_000 {
            let mut cell = Cell::default();
            let mut past = Vec::new();
            let writes = random.u32(0..=4);
            'history: for workgroup in 0..WORKGROUPS {
                for interval in 0..INTERVALS {
                    let first = 1 + workgroup * INTERVALS;
                    let now = Now {
                        interval: first + interval,
                        workgroup: first,
                        floor: 1,
                    };
                    for _ in 0..random.u32(0..4) {
                        let one = Past {
                            interval: now.interval,
                            workgroup,
                            invocation: random.u32(0..INVOCATIONS),
                            is_write: random.u32(0..8) < writes,
                        };
                        let entry = Entry::new(now.interval, one.invocation, 7);
                        let found = if one.is_write {
                            cell.write(now, entry).map(|(found, _)| found)
                        } else {
                            cell.read(now, entry)
                        };
                        let is_race = by_definition(&past, one);
                        assert_eq!(found.is_some(), is_race);
                        if is_race {
                            races += 1;
                            break 'history;
                        }
                        past.push(one);
                    }
                }
            }
            clean += u32::from(past.len() > 2);
        }
        assert!(races > 10_000 && clean > 10_000, "{races} {clean}");
    }

    #[test]
    fn an_entry_keeps_invocation_and_place() {
        let entry = Entry::new(5, MOST_INVOCATIONS - 1, (1 << PLACE_BITS) - 1);
        assert_eq!(entry.interval(), 5);
        assert_eq!(entry.invocation(), MOST_INVOCATIONS - 1);
        assert_eq!(entry.place(), (1 << PLACE_BITS) - 1);
    }
}
