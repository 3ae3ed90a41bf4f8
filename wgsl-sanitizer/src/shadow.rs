//! What is remembered of each location of shared memory: who wrote it last, and two who read it.
//!
//! Time is counted in *intervals*: a number grows by one whenever a workgroup starts and whenever one passes a
//! barrier. Within a workgroup an interval ends for workgroup memory at each `workgroupBarrier`, for storage at each
//! `storageBarrier`. Two accesses are ordered when one invocation makes both, or when they lie in different intervals of one
//! workgroup. Nothing orders the workgroups of a dispatch.
//!
//! So a location needs the same few words however many accesses it sees, which is the idea of `HiRace` (Jacobson,
//! Burtscher and Gopalakrishnan, arXiv 2401.04701). One writer is enough: a second that nothing orders
//! with it is a race already. Two readers are enough: if there are two of them, any writer is another than one of the
//! two; and a reader of another workgroup, once seen, is kept, as nothing orders a later writer with it.

/// Bits of [`Entry::who`] that are an instruction's place; the rest is the invocation in its workgroup.
const PLACE_BITS: u32 = 22;

/// Instructions that a program may have, and invocations that a workgroup may have, so that an entry tells them apart.
pub(crate) const MOST_INSTRUCTIONS: usize = 1 << PLACE_BITS;
pub(crate) const MOST_INVOCATIONS: u32 = 1 << (u32::BITS - PLACE_BITS);

/// An invocation at an instruction, in an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    /// 0 is nobody.
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

/// The present, as an access sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// The present interval.
    pub(crate) interval: u32,
    /// The first interval of this workgroup.
    pub(crate) workgroup: u32,
    /// The first interval that counts: of this dispatch, or for workgroup memory of this workgroup.
    pub(crate) floor: u32,
}

impl Now {
    /// Whether nothing orders `past` with an access by an invocation at present.
    #[inline]
    fn conflicts(self, past: Entry, invocation: u32) -> bool {
        past.interval >= self.floor
            && (past.interval < self.workgroup
                || (past.interval == self.interval && past.invocation() != invocation))
    }
}

/// Two who did the same: as far apart as there were any.
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

/// A location.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cell {
    writer: Entry,
    readers: Pair,
}

impl Cell {
    /// Notes a read; the write that nothing orders with it, if there is one.
    #[inline]
    pub(crate) fn read(&mut self, now: Now, entry: Entry) -> Option<Entry> {
        self.readers.note(now, entry);
        let writer = self.writer;
        now.conflicts(writer, entry.invocation()).then_some(writer)
    }

    /// Notes a write; the access that nothing orders with it, if there is one, and whether that is a write.
    #[inline]
    pub(crate) fn write(&mut self, now: Now, entry: Entry) -> Option<(Entry, bool)> {
        let found = self.conflict_of_write(now, entry.invocation());
        self.writer = entry;
        found
    }

    /// The same without noting it: what an atomic write meets.
    #[inline]
    pub(crate) fn conflict_of_write(&self, now: Now, invocation: u32) -> Option<(Entry, bool)> {
        if now.conflicts(self.writer, invocation) {
            return Some((self.writer, true));
        }
        let reader = self.readers.conflict(now, invocation);
        reader.map(|reader| (reader, false))
    }

    /// What an atomic read meets.
    #[inline]
    pub(crate) fn conflict_of_read(&self, now: Now, invocation: u32) -> Option<Entry> {
        let writer = self.writer;
        now.conflicts(writer, invocation).then_some(writer)
    }

    /// Whether it was written since the floor.
    #[inline]
    pub(crate) fn is_written(&self, now: Now) -> bool {
        self.writer.interval >= now.floor
    }

    /// Counts it as written, without asking who else accessed it.
    #[inline]
    pub(crate) fn mark(&mut self, entry: Entry) {
        self.writer = entry;
    }
}

/// Atomic accesses of a location that is accessed otherwise, too.
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

    /// What a plain read meets.
    pub(crate) fn conflict_of_read(&self, now: Now, invocation: u32) -> Option<Entry> {
        self.writes.conflict(now, invocation)
    }

    /// What a plain write meets, and whether that is a write.
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

    /// An access as the definition sees it.
    #[derive(Clone, Copy)]
    struct Past {
        interval: u32,
        workgroup: u32,
        invocation: u32,
        is_write: bool,
    }

    /// All accesses of a location are kept, and each is compared with all before it.
    fn by_definition(past: &[Past], one: Past) -> bool {
        past.iter().any(|other| {
            (other.is_write || one.is_write)
                && (other.workgroup != one.workgroup
                    || (other.interval == one.interval && other.invocation != one.invocation))
        })
    }

    /// Random histories of a location: a cell reports a race at the first access that is one.
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
