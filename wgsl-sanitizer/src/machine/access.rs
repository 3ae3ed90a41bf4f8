//! Offsets, indices, and helpers to record an access.

use super::{Machine, Range};
use crate::program::{BAD, BAD_SIGNED, Index, Length, NONE, Pick};
use crate::report::Access;
use crate::shadow::{Entry, Now};

/// An invocation and the index of its current instruction.
pub(super) type Here = (u32, usize);

/// An access out of bounds: the index, and the length of the indexed value.
#[derive(Debug, Clone, Copy)]
pub(super) struct StrayAccess {
    pub(super) index: i64,
    pub(super) length: u64,
    pub(super) in_bytes: bool,
}

impl StrayAccess {
    fn new(index: i64, length: u32) -> Self {
        Self {
            index,
            length: length.into(),
            in_bytes: false,
        }
    }
}

pub(super) fn entry(now: Now, (invocation, place): Here) -> Entry {
    // The index of an instruction always fits in 32 bits: the compiler limits the length of a program.
    Entry::new(
        now.interval,
        invocation,
        u32::try_from(place).unwrap_or(u32::MAX),
    )
}

impl Machine<'_> {
    /// Returns the offset that was computed into the slot `dynamic`, 0 if `dynamic` is [`NONE`], or the index that was
    /// out of bounds.
    #[inline]
    pub(super) fn offset(frame: &[u32], dynamic: u32) -> Result<u32, StrayAccess> {
        if dynamic == NONE {
            return Ok(0);
        }
        let at = dynamic as usize;
        match frame[at] {
            BAD => Err(StrayAccess::new(frame[at + 1].into(), frame[at + 2])),
            BAD_SIGNED => Err(StrayAccess::new(
                frame[at + 1].cast_signed().into(),
                frame[at + 2],
            )),
            offset => Ok(offset),
        }
    }

    pub(super) fn index(&self, frame: &mut [u32], at: u32, to: u32) {
        let index: &Index = &self.program.indices[at as usize];
        let to = to as usize;
        if index.from != NONE && frame[index.from as usize] >= BAD_SIGNED {
            frame.copy_within(index.from as usize..index.from as usize + 3, to);
            return;
        }
        let before = match index.from {
            NONE => 0,
            slot => frame[slot as usize],
        };
        let length = self.lengths[at as usize];
        let value = frame[index.index as usize];
        if value < length {
            frame[to] = before + value * index.stride;
            return;
        }
        frame[to] = if index.is_signed { BAD_SIGNED } else { BAD };
        frame[to + 1] = value;
        frame[to + 2] = length;
    }

    /// Copies an element of a value to the slots from `to` on. If the index is out of bounds, reports it and writes
    /// zeros.
    pub(super) fn pick(&mut self, here: Here, frame: &mut [u32], pick: &Pick, to: u32) {
        let value = frame[pick.index as usize];
        let to = to as usize;
        let size = pick.size as usize;
        if value < pick.length {
            let from = pick.from as usize + value as usize * size;
            frame.copy_within(from..from + size, to);
            return;
        }
        frame[to..to + size].fill(0);
        let index = if pick.is_signed {
            value.cast_signed().into()
        } else {
            value.into()
        };
        let missed = StrayAccess::new(index, pick.length);
        self.findings.out_of_bounds(here, Access::Read, missed);
    }

    pub(super) fn local_offset(
        &mut self,
        here: Here,
        frame: &[u32],
        (at, dynamic): (u32, u32),
        access: Access,
    ) -> Option<usize> {
        match Self::offset(frame, dynamic) {
            Ok(offset) => Some((at + offset) as usize),
            Err(missed) => {
                self.findings.out_of_bounds(here, access, missed);
                None
            }
        }
    }
}

/// Returns the number of elements of an array.
pub(super) fn length(ranges: &[Range], length: Length) -> u32 {
    match length {
        Length::Fixed(count) => count,
        Length::Bound {
            variable,
            at,
            stride,
        } => {
            let bytes = 4 * ranges[usize::from(variable)].words as u64;
            let length = bytes.saturating_sub(at.into()) / u64::from(stride.max(1));
            u32::try_from(length).unwrap_or(u32::MAX)
        }
    }
}

/// Returns the kind of a plain (not atomic) access.
pub(super) fn plain(is_write: bool) -> Access {
    if is_write {
        Access::Write
    } else {
        Access::Read
    }
}
