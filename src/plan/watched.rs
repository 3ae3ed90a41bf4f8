//! Checks of the dispatches that layers, losses and optimizers record, because users may write their own.

use super::Recorder;
use crate::error::Error;

impl Recorder<'_> {
    /// Whether no dispatch was recorded.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Calls `record`, and returns an error if it does not record any dispatch: its output would then keep old values,
    /// which later dispatches would read. `who` names the recording code in the error, for example
    /// `the forward pass of layers.1, Relu`.
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
