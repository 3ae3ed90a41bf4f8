//! Reads and writes buffers, and checks each access.

use half::f16;

use super::Machine;
use super::access::{Here, StrayAccess, entry, plain};
use super::findings::RacingAccess;
use crate::report::Access;
use crate::shadow::Entry;

/// The part of a buffer that an instruction accesses. The constant offset `at` and the computed offset are in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    pub(super) variable: u16,
    pub(super) at: u32,
    /// The slot of the computed offset, or [`NONE`](crate::program::NONE) if no offset is computed.
    pub(super) dynamic: u32,
    /// The number of scalars.
    pub(super) count: u32,
    /// The size of a scalar, in bytes.
    pub(super) width: u32,
}

/// A range of bytes that is within the bounds of its variable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes {
    pub(super) buffer: usize,
    /// The first byte: `start` is its offset in the buffer, `offset` its offset in the variable.
    pub(super) start: usize,
    pub(super) offset: usize,
    pub(super) count: usize,
}

impl Bytes {
    pub(super) fn first_word(self) -> usize {
        self.start / 4
    }

    pub(super) fn halves(self) -> std::ops::Range<usize> {
        self.start / 2..(self.start + self.count) / 2
    }
}

impl Machine<'_> {
    /// Returns the bytes of an access. If the access is out of bounds, reports it and returns `None`.
    #[inline]
    pub(super) fn reach(
        &mut self,
        here: Here,
        frame: &[u32],
        reach: &Reach,
        access: Access,
    ) -> Option<Bytes> {
        let offset = match Self::offset(frame, reach.dynamic) {
            Ok(offset) => reach.at as usize + offset as usize,
            Err(missed) => {
                self.findings.out_of_bounds(here, access, missed);
                return None;
            }
        };
        let range = self.ranges[usize::from(reach.variable)];
        let count = (reach.count * reach.width) as usize;
        let bound = 4 * range.words;
        if offset + count > bound {
            let index = i64::try_from(offset).unwrap_or(i64::MAX);
            self.findings.out_of_bounds(
                here,
                access,
                StrayAccess {
                    index,
                    length: bound as u64,
                    in_bytes: true,
                },
            );
            return None;
        }
        Some(Bytes {
            buffer: range.buffer,
            start: 4 * range.start + offset,
            offset,
            count,
        })
    }

    pub(super) fn load_buffer(&mut self, here: Here, frame: &mut [u32], reach: &Reach, to: u32) {
        let to = to as usize;
        let count = reach.count as usize;
        let Some(bytes) = self.reach(here, frame, reach, Access::Read) else {
            frame[to..to + count].fill(0);
            return;
        };
        let first = bytes.first_word();
        let buffer = &self.buffers[bytes.buffer];
        if reach.width == 4 {
            frame[to..to + count].copy_from_slice(&buffer.words[first..first + count]);
        } else {
            for (index, slot) in (0..).zip(&mut frame[to..to + count]) {
                let byte = bytes.start + 2 * index;
                let word = buffer.words[byte / 4];
                let half = if byte % 4 == 0 { word } else { word >> 16 };
                // The `f16` is in the low 16 bits.
                #[allow(clippy::cast_possible_truncation)]
                let half = f16::from_bits(half as u16);
                *slot = f32::from(half).to_bits();
            }
        }
        if let Some(written) = &buffer.written
            && !written[bytes.halves()].iter().all(|&written| written)
        {
            self.findings.unwritten(here, bytes.offset as u64);
        }
        self.note_read(here, bytes);
    }

    pub(super) fn store_buffer(&mut self, here: Here, frame: &[u32], reach: &Reach, from: u32) {
        let from = from as usize;
        let count = reach.count as usize;
        let Some(bytes) = self.reach(here, frame, reach, Access::Write) else {
            return;
        };
        let first = bytes.first_word();
        let buffer = &mut self.buffers[bytes.buffer];
        if reach.width == 4 {
            buffer.words[first..first + count].copy_from_slice(&frame[from..from + count]);
        } else {
            for (index, &slot) in (0..).zip(&frame[from..from + count]) {
                let byte = bytes.start + 2 * index;
                let half = u32::from(f16::from_f32(f32::from_bits(slot)).to_bits());
                let word = &mut buffer.words[byte / 4];
                *word = match byte % 4 {
                    0 => *word & 0xffff_0000 | half,
                    _ => *word & 0xffff | half << 16,
                };
            }
        }
        if let Some(written) = &mut buffer.written {
            written[bytes.halves()].fill(true);
        }
        self.note_write(here, bytes);
    }

    /// Records a write to all bytes of a vector, without changing them. See
    /// [`Instruction::TouchWorkgroup`](crate::program::Instruction::TouchWorkgroup).
    pub(super) fn touch_buffer(&mut self, here: Here, frame: &[u32], reach: &Reach) {
        // The store instruction that follows reports an index out of bounds.
        let Ok(offset) = Self::offset(frame, reach.dynamic) else {
            return;
        };
        let range = self.ranges[usize::from(reach.variable)];
        let offset = reach.at as usize + offset as usize;
        if offset + reach.count as usize <= 4 * range.words {
            self.note_write(
                here,
                Bytes {
                    buffer: range.buffer,
                    start: 4 * range.start + offset,
                    offset,
                    count: reach.count as usize,
                },
            );
        }
    }

    /// Returns the base-2 logarithm of the size of a location in bytes: 1 for half words, 2 for words.
    fn grain(&self) -> u32 {
        if self.program.has_halves { 1 } else { 2 }
    }

    /// Returns the indices of the words that contain these bytes; of the half words if any buffer contains `f16`.
    pub(super) fn cells(&self, bytes: Bytes) -> std::ops::Range<usize> {
        let grain = self.grain();
        bytes.start >> grain..(bytes.start + bytes.count) >> grain
    }

    pub(super) fn met(&self, bytes: Bytes, cell: usize, entry: Entry) -> RacingAccess {
        let byte = cell << self.grain();
        RacingAccess {
            entry,
            offset: (bytes.offset + byte - bytes.start) as u64,
        }
    }

    #[inline]
    fn note_read(&mut self, here: Here, bytes: Bytes) {
        let now = self.storage;
        let cells = self.cells(bytes);
        let entry = entry(now, here);
        let shadow = &mut self.shadows[bytes.buffer];
        if shadow.cells.is_empty() {
            return;
        }
        let mut met = None;
        for (index, cell) in cells.clone().zip(&mut shadow.cells[cells.clone()]) {
            if let Some(writer) = cell.read(now, entry) {
                met = Some((index, writer, Access::Write));
            }
        }
        if !shadow.atomics.is_empty() {
            for (index, cell) in cells.clone().zip(&shadow.atomics[cells]) {
                if let Some(writer) = cell.conflict_of_read(now, here.0) {
                    met = Some((index, writer, Access::AtomicWrite));
                }
            }
        }
        if let Some((index, entry, other)) = met {
            self.findings
                .race(here, self.met(bytes, index, entry), [Access::Read, other]);
        }
    }

    #[inline]
    fn note_write(&mut self, here: Here, bytes: Bytes) {
        let now = self.storage;
        let cells = self.cells(bytes);
        let entry = entry(now, here);
        let shadow = &mut self.shadows[bytes.buffer];
        if shadow.cells.is_empty() {
            return;
        }
        let mut met = None;
        for (index, cell) in cells.clone().zip(&mut shadow.cells[cells.clone()]) {
            if let Some((other, was_write)) = cell.write(now, entry) {
                met = Some((index, other, plain(was_write)));
            }
        }
        if !shadow.atomics.is_empty() {
            for (index, cell) in cells.clone().zip(&shadow.atomics[cells]) {
                if let Some((other, was_write)) = cell.conflict_of_write(now, here.0) {
                    met = Some((index, other, atomic(was_write)));
                }
            }
        }
        if let Some((index, entry, other)) = met {
            self.findings
                .race(here, self.met(bytes, index, entry), [Access::Write, other]);
        }
    }
}

fn atomic(is_write: bool) -> Access {
    if is_write {
        Access::AtomicWrite
    } else {
        Access::AtomicRead
    }
}
