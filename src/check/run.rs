use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Kernels;
use crate::error::{Call, CheckError, Error, Pass, Place};
use crate::gpu::{Gpu, block_on, message_of};
use crate::guard::{Guarded, Touch};
use crate::plan::Recorder;

/// A pass of a layer, loss or optimizer on the GPU.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) gpu: &'a Gpu,
    /// Name of the layer, loss or optimizer.
    pub(crate) name: &'a str,
    pub(crate) pass: Pass,
}

impl Run<'_> {
    /// Records the pass and runs it. First checks the contracts of kernels that are not in `kernels` yet. `what` names
    /// the recording function in messages. `results` are the tensors that the pass must write.
    pub(crate) fn submit(
        &self,
        kernels: &mut Kernels<'_>,
        what: &str,
        results: &[&Guarded],
        record: impl FnOnce(&mut Recorder<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut recorder = Recorder::new(self.gpu);
        caught(self.name, what, || record(&mut recorder))??;
        for contract in recorder.contracts() {
            if kernels.contracts.contains(contract) {
                continue;
            }
            let faults = contract.faults();
            if !faults.is_empty() {
                return Err(CheckError::Contract {
                    name: self.name.to_owned(),
                    kernel: contract.name(),
                    faults,
                }
                .into());
            }
            kernels.contracts.push(contract.clone());
        }
        if recorder.is_empty() && !results.is_empty() {
            let labels: Vec<_> = results
                .iter()
                .map(|result| result.tensor().label())
                .collect();
            return Err(CheckError::NothingRecorded {
                name: self.name.to_owned(),
                pass: self.pass,
                missing: labels.join(" and "),
            }
            .into());
        }
        kernels.run(self.gpu, (self.name, self.pass), &recorder.finish()?)
    }

    /// Returns the bits of a tensor after the pass. Returns an error if the pass wrote outside of the tensor, changed
    /// an input, or did not write an element of a result. `place` describes that element for the error.
    pub(crate) fn read(
        &self,
        guarded: &Guarded,
        place: impl FnOnce(usize) -> Place,
    ) -> Result<Vec<u32>, Error> {
        let tensor = guarded.tensor();
        block_on(guarded.read(self.gpu))?.map_err(|touch| {
            let error = match touch {
                Touch::Unwritten { element } => CheckError::Unwritten {
                    at: Box::new(place(element)),
                },
                touch => CheckError::Stray {
                    name: self.name.to_owned(),
                    pass: self.pass,
                    tensor: tensor.label().to_owned(),
                    shape: tensor.shape().to_string(),
                    found: touch.to_string(),
                },
            };
            error.into()
        })
    }

    /// Checks that this pass has not changed the state of a layer.
    pub(crate) fn check_state(&self, guarded: &Guarded, call: Call) -> Result<(), Error> {
        let tensor = guarded.tensor();
        let place = |at| Place::new(self.name, self.pass, tensor.label(), tensor.shape(), at);
        match block_on(guarded.read(self.gpu))? {
            Err(Touch::Input { .. }) => Err(CheckError::StateChanged {
                name: self.name.to_owned(),
                state: tensor.label().to_owned(),
                pass: self.pass,
                call,
                by: "the WGSL",
            }
            .into()),
            _ => self.read(guarded, place).map(drop),
        }
    }
}

/// Runs a function of the layer, loss or optimizer, and turns a panic into an error.
pub(crate) fn caught<T>(name: &str, what: &str, run: impl FnOnce() -> T) -> Result<T, CheckError> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| CheckError::Panic {
        name: name.to_owned(),
        what: what.to_owned(),
        message: message_of(panic),
    })
}
