//! Checks on what layers, losses and optimizers record: users may write their own.

use super::Recorder;
use crate::error::Error;

impl Recorder<'_> {
    /// Whether nothing was recorded.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Calls `record` for `who` (for example `the forward pass of layers.1, Relu`), which must record at least one
    /// dispatch. Otherwise its output would keep old values, and later dispatches would read them.
    pub(crate) fn watched(
        &mut self,
        who: impl Fn() -> String,
        record: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let before = self.pending.len();
        record(self).map_err(|error| error.of(&who()))?;
        if self.pending.len() > before {
            return Ok(());
        }
        let name = format!("number of kernels that {} records", who());
        let expected =
            "at least 1, because there is something to write: record one with Recorder::dispatch";
        Err(Error::setting(name, expected, 0))
    }
}
