//! Reads and writes workgroup memory, and checks each access.

use super::Machine;
use super::access::{Here, entry, plain};
use super::findings::RacingAccess;
use crate::report::{Access, Space};

impl Machine<'_> {
    pub(super) fn load_workgroup(
        &mut self,
        here: Here,
        frame: &mut [u32],
        (at, dynamic): (u32, u32),
        to: u32,
        count: usize,
    ) {
        let to = to as usize;
        let Some(at) = self.local_offset(here, frame, (at, dynamic), Access::Read) else {
            frame[to..to + count].fill(0);
            return;
        };
        frame[to..to + count].copy_from_slice(&self.workgroup[at..at + count]);
        let now = self.shared;
        let checks = !self.settings.zero_workgroup_memory;
        let entry = entry(now, here);
        let mut met = None;
        let mut unwritten = None;
        for (slot, cell) in (at..).zip(&mut self.workgroup_cells[at..at + count]) {
            if checks && !cell.is_written(now) {
                unwritten = Some(slot);
            }
            if let Some(writer) = cell.read(now, entry) {
                met = Some((slot, writer));
            }
        }
        if let Some(slot) = unwritten {
            self.findings.unwritten(here, self.in_variable(slot));
        }
        if let Some((slot, entry)) = met {
            let offset = self.in_variable(slot);
            self.findings.race(
                here,
                RacingAccess { entry, offset },
                [Access::Read, Access::Write],
            );
        }
    }

    pub(super) fn store_workgroup(
        &mut self,
        here: Here,
        frame: &[u32],
        (at, dynamic): (u32, u32),
        from: u32,
        count: usize,
    ) {
        let Some(at) = self.local_offset(here, frame, (at, dynamic), Access::Write) else {
            return;
        };
        let from = from as usize;
        self.workgroup[at..at + count].copy_from_slice(&frame[from..from + count]);
        self.note_workgroup(here, at, count, true);
    }

    /// Records a write to all components of a vector, without changing them. See
    /// [`Instruction::TouchWorkgroup`](crate::program::Instruction::TouchWorkgroup).
    pub(super) fn touch_workgroup(
        &mut self,
        here: Here,
        frame: &[u32],
        (at, dynamic): (u32, u32),
        count: usize,
    ) {
        if let Ok(offset) = Self::offset(frame, dynamic) {
            let all_are_written = self.settings.zero_workgroup_memory;
            self.note_workgroup(here, (at + offset) as usize, count, all_are_written);
        }
    }

    fn note_workgroup(&mut self, here: Here, at: usize, count: usize, is_written: bool) {
        let now = self.shared;
        let entry = entry(now, here);
        let mut met = None;
        for (slot, cell) in (at..).zip(&mut self.workgroup_cells[at..at + count]) {
            let found = if is_written || cell.is_written(now) {
                cell.write(now, entry)
            } else {
                // This component has not been written: only look for a race, so that a later read of it is still
                // reported as unwritten.
                cell.conflict_of_write(now, here.0)
            };
            if let Some(found) = found {
                met = Some((slot, found));
            }
        }
        if let Some((slot, (entry, was_write))) = met {
            let offset = self.in_variable(slot);
            self.findings.race(
                here,
                RacingAccess { entry, offset },
                [Access::Write, plain(was_write)],
            );
        }
    }

    /// Returns the offset of a slot from the start of its variable, in slots.
    pub(super) fn in_variable(&self, slot: usize) -> u64 {
        let variables = self.program.variables.iter();
        let starts = variables
            .filter(|variable| variable.space == Space::Workgroup)
            .map(|variable| variable.slot as usize);
        let start = starts.filter(|&start| start <= slot).max().unwrap_or(0);
        (slot - start) as u64
    }
}
