//! Turns errors and panics of wgpu, and the loss of the device, into an [`Error`].

#[cfg(not(target_arch = "wasm32"))]
use std::any::Any;
#[cfg(not(target_arch = "wasm32"))]
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{BufferFault, Gpu, lock};
use crate::error::Error;

/// Errors that wgpu reported outside of all error scopes.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) lost: Option<String>,
    pub(super) uncaptured: Option<Fault>,
}

/// The kinds of wgpu errors that this crate distinguishes. In a browser, `wgpu::Error` itself cannot be stored.
#[derive(Debug)]
pub(super) enum Fault {
    OutOfMemory,
    Other(String),
}

impl Fault {
    pub(super) fn of(error: &wgpu::Error) -> Self {
        match error {
            wgpu::Error::OutOfMemory { .. } => Self::OutOfMemory,
            _ => Self::Other(error.to_string()),
        }
    }

    pub(super) fn into_error(self, doing: &str) -> Error {
        let doing = doing.to_owned();
        match self {
            Self::OutOfMemory => Error::OutOfMemory { doing },
            Self::Other(message) => Error::Gpu { doing, message },
        }
    }
}

impl Gpu {
    /// Runs wgpu calls, and turns their errors and panics into an [`Error`]. `doing` names the work in the error
    /// message.
    pub(crate) fn guarded<T>(&self, doing: &str, work: impl FnOnce() -> T) -> Result<T, Error> {
        #[cfg(not(target_arch = "wasm32"))]
        let (value, caught) = {
            let filters = [
                wgpu::ErrorFilter::OutOfMemory,
                wgpu::ErrorFilter::Internal,
                wgpu::ErrorFilter::Validation,
            ];
            let scopes = filters.map(|filter| self.device().push_error_scope(filter));
            // When a driver loses its device, wgpu 30 panics instead of reporting the loss. Callbacks that wgpu runs,
            // and wgpu itself, may panic for other reasons.
            let value = catch_unwind(AssertUnwindSafe(work));
            // Error scopes form a stack. Natively, their futures are ready at once.
            let mut caught = None;
            for scope in scopes.into_iter().rev() {
                let error = pollster::block_on(scope.pop());
                caught = caught.or(error.as_ref().map(Fault::of));
            }
            let fault = |panic| Fault::Other(message_of(panic)).into_error(doing);
            let value = value.map_err(|panic| self.explained(fault(panic)))?;
            (value, caught)
        };
        // A browser reports errors later, to the handler set in `Gpu::own`.
        #[cfg(target_arch = "wasm32")]
        let (value, caught) = (work(), None);

        let uncaptured = lock(&self.shared.faults).uncaptured.take();
        match caught.or(uncaptured) {
            Some(fault) => Err(self.explained(fault.into_error(doing))),
            None => match &lock(&self.shared.faults).lost {
                Some(reason) => Err(Error::DeviceLost {
                    doing: doing.to_owned(),
                    reason: reason.clone(),
                }),
                None => Ok(value),
            },
        }
    }

    /// Replaces an error by its cause, if the cause is the loss of the device or the fault of a buffer. wgpu reports a
    /// loss only to the device's lost-callback. On a borrowed device, that callback is the program's; the only sign of
    /// a loss is then that all new objects are invalid.
    pub(crate) fn explained(&self, error: Error) -> Error {
        match error {
            Error::Gpu { doing, message } if self.is_lost() => {
                let told = lock(&self.shared.faults).lost.clone();
                let seen = || message.trim().lines().last().unwrap_or_default().trim();
                let reason = told.unwrap_or_else(|| seen().to_owned());
                Error::DeviceLost { doing, reason }
            }
            Error::Gpu { doing, message } => match BufferFault::in_message(&message) {
                Some((fault, label)) => Error::Buffer {
                    label,
                    doing,
                    fault,
                },
                None => Error::Gpu { doing, message },
            },
            other => other,
        }
    }

    /// Whether the device is lost: wgpu has reported the loss, or the device no longer creates buffers.
    #[cfg(not(target_arch = "wasm32"))]
    fn is_lost(&self) -> bool {
        let is_told = lock(&self.shared.faults).lost.is_some();
        // If even this check panics, the device is unusable as well.
        is_told || catch_unwind(AssertUnwindSafe(|| self.makes_no_buffer())).unwrap_or(true)
    }

    /// Whether the device no longer creates buffers, for a reason other than lack of memory.
    #[cfg(not(target_arch = "wasm32"))]
    fn makes_no_buffer(&self) -> bool {
        let device = self.device();
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("probe"),
            size: 4,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        buffer.map_async(wgpu::MapMode::Read, .., |_| ());
        let invalid = pollster::block_on(validation.pop()).is_some();
        let out_of_memory = pollster::block_on(memory.pop()).is_some();
        invalid && !out_of_memory
    }

    /// Whether the device is lost. A browser reports every loss to the callback.
    #[cfg(target_arch = "wasm32")]
    fn is_lost(&self) -> bool {
        lock(&self.shared.faults).lost.is_some()
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn message_of(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::error::Error;
    use crate::gpu::Gpu;
    use crate::testing::gpu;

    #[test]
    fn a_panic_on_a_device_that_works_is_an_error_of_wgpu() {
        let gpu = gpu();
        let result = gpu.guarded("polling", || panic!("error {}", 4));
        let Err(Error::Gpu { doing, message }) = result else {
            panic!("{result:?}");
        };
        assert_eq!((doing.as_str(), message.as_str()), ("polling", "error 4"));
        gpu.guarded("polling again", || ()).unwrap();
    }

    /// A panic of wgpu on a lost device gives [`Error::DeviceLost`], whether the lost-callback belongs to this crate or
    /// to the program.
    #[test]
    fn a_panic_on_a_lost_device_is_its_loss() {
        let own = Gpu::new().unwrap();
        let other = Gpu::new().unwrap();
        let borrowed = Gpu::from_wgpu(other.device().clone(), other.queue().clone());
        for gpu in [own, borrowed] {
            gpu.device().destroy();
            let result = gpu.guarded("polling", || panic!("error {}", 4));
            let Err(Error::DeviceLost { doing, .. }) = result else {
                panic!("{result:?}");
            };
            assert_eq!(doing, "polling");
        }
    }
}
