//! Runs atomic operations. Two atomic operations never race with each other.

use super::Machine;
use super::access::{Here, entry, plain};
use super::storage::{Bytes, Reach};
use crate::program::{Atomic, AtomicOperation};
use crate::report::{Access, Space};

impl Machine<'_> {
    pub(super) fn atomic(&mut self, here: Here, frame: &mut [u32], atomic: &Atomic, to: u32) {
        let to = to as usize;
        let variable = usize::from(atomic.variable);
        let place = match self.program.variables[variable].space {
            Space::Workgroup => {
                let at = (atomic.at, atomic.dynamic);
                self.local_offset(here, frame, at, atomic.access())
                    .map(|at| (at, None))
            }
            _ => {
                let reach = Reach {
                    variable: atomic.variable,
                    at: atomic.at,
                    dynamic: atomic.dynamic,
                    count: 1,
                    width: 4,
                };
                self.reach(here, frame, &reach, atomic.access())
                    .map(|bytes| (bytes.first_word(), Some(bytes)))
            }
        };
        let Some((word, bytes)) = place else {
            frame[to] = 0;
            if let AtomicOperation::CompareExchange(_) = atomic.operation {
                frame[to + 1] = 0;
            }
            return;
        };
        self.note_atomic(here, atomic, word, bytes);
        let memory = match bytes {
            Some(bytes) => &mut self.buffers[bytes.buffer].words,
            None => &mut self.workgroup,
        };
        let old = memory[word];
        let value = |slot: u32| frame[slot as usize];
        match atomic.operation {
            AtomicOperation::Load => {}
            AtomicOperation::Store => memory[word] = value(atomic.value),
            AtomicOperation::Update(update) => {
                memory[word] = update.apply(old, value(atomic.value));
            }
            AtomicOperation::CompareExchange(compare) => {
                let is_same = old == value(compare);
                if is_same {
                    memory[word] = value(atomic.value);
                }
                frame[to + 1] = is_same.into();
            }
        }
        frame[to] = old;
    }

    fn note_atomic(&mut self, here: Here, atomic: &Atomic, word: usize, bytes: Option<Bytes>) {
        let is_write = atomic.access() == Access::AtomicWrite;
        let reads_first = !matches!(atomic.operation, AtomicOperation::Store);
        let Some(bytes) = bytes else {
            let now = self.shared;
            let is_checked = reads_first && !self.settings.zero_workgroup_memory;
            let cell = &mut self.workgroup_cells[word];
            let is_unwritten = is_checked && !cell.is_written(now);
            if is_write {
                cell.mark(entry(now, here));
            }
            if is_unwritten {
                self.findings.unwritten(here, self.in_variable(word));
            }
            return;
        };
        if let Some(written) = &mut self.buffers[bytes.buffer].written {
            let halves = &mut written[bytes.halves()];
            let was_written = halves.iter().all(|&written| written);
            if is_write {
                halves.fill(true);
            }
            if reads_first && !was_written {
                self.findings.unwritten(here, bytes.offset as u64);
            }
        }
        let now = self.storage;
        let cells = self.cells(bytes);
        let entry = entry(now, here);
        let shadow = &mut self.shadows[bytes.buffer];
        if shadow.atomics.is_empty() {
            return;
        }
        let mut met = None;
        for index in cells {
            shadow.atomics[index].note(now, entry, is_write);
            let cell = &shadow.cells[index];
            let found = if is_write {
                cell.conflict_of_write(now, here.0)
            } else {
                cell.conflict_of_read(now, here.0)
                    .map(|found| (found, true))
            };
            met = found
                .map(|(found, was_write)| (index, found, plain(was_write)))
                .or(met);
        }
        if let Some((index, found, other)) = met {
            self.findings.race(
                here,
                self.met(bytes, index, found),
                [atomic.access(), other],
            );
        }
    }
}
