//! Reserves memory for variables, within limits.

use naga::{ScalarKind, TypeInner};

use super::{Compiler, MOST_SLOTS, MOST_WORKGROUP_SLOTS};
use crate::error::Error;

/// The size of a slot, in bytes.
const SLOT: u64 = 4;

impl Compiler<'_> {
    /// Reserves `count` slots of the frame, and returns the first. If there are too many slots, the error names `name`.
    pub(super) fn reserve(&mut self, count: u32, name: &str) -> Result<u32, Error> {
        let at = self.top;
        let invocations = self.program.invocations();
        let top = u64::from(at) + u64::from(count);
        self.top = u32::try_from(top)
            .ok()
            .filter(|_| top.saturating_mul(invocations) <= MOST_SLOTS)
            .ok_or_else(|| {
                self.unsupported(format!(
                    "{name} of {} bytes, beside {} others, in each of {invocations} invocations, more than {} in all,",
                    SLOT * u64::from(count),
                    SLOT * u64::from(at),
                    SLOT * MOST_SLOTS
                ))
            })?;
        self.program.frame = self.program.frame.max(self.top);
        Ok(at)
    }

    /// Reserves workgroup memory for a variable.
    pub(super) fn reserve_shared(&mut self, name: &str, inner: &TypeInner) -> Result<(), Error> {
        let start = self.program.workgroup_slots;
        let count = self.types.slots(inner);
        let end = start.checked_add(count);
        let end = end
            .filter(|&end| end <= MOST_WORKGROUP_SLOTS)
            .ok_or_else(|| {
                self.unsupported(format!(
                "`{name}` of {} bytes, beside {} others of workgroup memory, more than {} in all,",
                SLOT * u64::from(count),
                SLOT * u64::from(start),
                SLOT * u64::from(MOST_WORKGROUP_SLOTS)
            ))
            })?;
        if self.has_bool(inner) {
            self.program.bools.push(start..end);
        }
        self.program.workgroup_slots = end;
        Ok(())
    }

    fn has_bool(&self, inner: &TypeInner) -> bool {
        match *inner {
            TypeInner::Array { base, .. } => self.has_bool(self.types.inner(base)),
            TypeInner::Struct { ref members, .. } => members
                .iter()
                .any(|member| self.has_bool(self.types.inner(member.ty))),
            _ => inner.scalar_kind() == Some(ScalarKind::Bool),
        }
    }
}
