//! The history of each location of shared memory: its last writer and two readers.
//!
//! Time is counted in *intervals*. A clock advances by one whenever a workgroup starts and whenever one passes a
//! barrier. Within a workgroup, each `workgroupBarrier` ends an interval for workgroup memory, and each
//! `storageBarrier` ends one for storage. Two accesses are ordered if the same invocation makes both, or if they lie
//! in different intervals of one workgroup. Nothing orders the workgroups of a dispatch.
//!
//! A location therefore needs a constant number of words, however many accesses it sees. This is the idea of
//! `HiRace` (Jacobson, Burtscher and Gopalakrishnan, arXiv 2401.04701). One writer is enough: a second writer that
//! is not ordered with it is already a race. Two readers are enough: any writer differs from at least one of them. A
//! reader of another workgroup is kept once it is seen, because nothing orders a later writer with it.

/// The bits of [`Entry::who`] for the instruction's place. The other bits are the invocation's index in its
/// workgroup.
const PLACE_BITS: u32 = 22;

/// The most instructions of a program, and the most invocations of a workgroup, that fit in [`Entry::who`].
pub(crate) const MOST_INSTRUCTIONS: usize = 1 << PLACE_BITS;
pub(crate) const MOST_INVOCATIONS: u32 = 1 << (u32::BITS - PLACE_BITS);

/// An access: the invocation, the instruction and the interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    /// 0 means no access.
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

/// The current interval, with the bounds that decide which past accesses count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// The current interval.
    pub(crate) interval: u32,
    /// The first interval of this workgroup.
    pub(crate) workgroup: u32,
    /// The first interval that counts: the first of this dispatch for storage, of this workgroup for workgroup
    /// memory.
    pub(crate) floor: u32,
}

impl Now {
    /// Whether nothing orders `past` with a current access by `invocation`.
    #[inline]
    fn conflicts(self, past: Entry, invocation: u32) -> bool {
        past.interval >= self.floor
            && (past.interval < self.workgroup
                || (past.interval == self.interval && past.invocation() != invocation))
    }
}

/// Two accesses of one kind, by different workgroups or invocations if there were any.
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

/// The plain accesses of a location.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cell {
    writer: Entry,
    readers: Pair,
}

impl Cell {
    /// Records a read. Returns an earlier write that is not ordered with it.
    #[inline]
    pub(crate) fn read(&mut self, now: Now, entry: Entry) -> Option<Entry> {
        self.readers.note(now, entry);
        let writer = self.writer;
        now.conflicts(writer, entry.invocation()).then_some(writer)
    }

    /// Records a write. Returns an earlier access that is not ordered with it, and whether that access is a write.
    #[inline]
    pub(crate) fn write(&mut self, now: Now, entry: Entry) -> Option<(Entry, bool)> {
        let found = self.conflict_of_write(now, entry.invocation());
        self.writer = entry;
        found
    }

    /// The access that races with a write, without recording the write. Atomic writes use it.
    #[inline]
    pub(crate) fn conflict_of_write(&self, now: Now, invocation: u32) -> Option<(Entry, bool)> {
        if now.conflicts(self.writer, invocation) {
            return Some((self.writer, true));
        }
        let reader = self.readers.conflict(now, invocation);
        reader.map(|reader| (reader, false))
    }

    /// The write that races with a read, without recording the read. Atomic reads use it.
    #[inline]
    pub(crate) fn conflict_of_read(&self, now: Now, invocation: u32) -> Option<Entry> {
        let writer = self.writer;
        now.conflicts(writer, invocation).then_some(writer)
    }

    /// Whether the location was written since the floor.
    #[inline]
    pub(crate) fn is_written(&self, now: Now) -> bool {
        self.writer.interval >= now.floor
    }

    /// Records a write without looking for a race.
    #[inline]
    pub(crate) fn mark(&mut self, entry: Entry) {
        self.writer = entry;
    }
}

/// Atomic accesses of a location that also has plain accesses.
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

    /// The atomic write that races with a plain read.
    pub(crate) fn conflict_of_read(&self, now: Now, invocation: u32) -> Option<Entry> {
        self.writes.conflict(now, invocation)
    }

    /// The atomic access that races with a plain write, and whether that access is a write.
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

    /// An access, with all that the definition of a race needs.
    #[derive(Clone, Copy)]
    struct Past {
        interval: u32,
        workgroup: u32,
        invocation: u32,
        is_write: bool,
    }

    /// Whether an access races with any access before it, by the definition.
    fn by_definition(past: &[Past], one: Past) -> bool {
        past.iter().any(|other| {
            (other.is_write || one.is_write)
                && (other.workgroup != one.workgroup
                    || (other.interval == one.interval && other.invocation != one.invocation))
        })
    }

    /// On random histories of a location, a cell reports the first race.
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
