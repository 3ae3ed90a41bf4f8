//! Room for variables, and what is refused as too large.

use naga::TypeInner;

use super::{Compiler, MOST_SLOTS, MOST_WORKGROUP_SLOTS};
use crate::error::Error;

/// Bytes of a slot.
const SLOT: u64 = 4;

impl Compiler<'_> {
    /// Reserves slots of the frame for what messages call by a name.
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

    /// Where workgroup memory ends with a variable of this type and name at its end.
    pub(super) fn workgroup_end(&self, name: &str, inner: &TypeInner) -> Result<u32, Error> {
        let (start, count) = (self.program.workgroup_slots, self.types.slots(inner));
        let end = start.checked_add(count);
        end.filter(|&end| end <= MOST_WORKGROUP_SLOTS)
            .ok_or_else(|| {
                self.unsupported(format!(
                "`{name}` of {} bytes, beside {} others of workgroup memory, more than {} in all,",
                SLOT * u64::from(count),
                SLOT * u64::from(start),
                SLOT * u64::from(MOST_WORKGROUP_SLOTS)
            ))
            })
    }
}
