//! The device on which a session trains.

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wgrad::Gpu;

use crate::session::promise;

/// The visitor's GPU, or the CPU.
#[wasm_bindgen]
#[derive(Debug, Clone)]
pub struct Device {
    pub(crate) gpu: Option<Gpu>,
}

#[wasm_bindgen]
impl Device {
    /// Requests the browser's GPU. Call it only if `navigator.gpu` exists.
    ///
    /// The promise rejects with an `Error` named `NoAdapter` or `NoDevice`.
    #[wasm_bindgen(js_name = gpu, unchecked_return_type = "Promise<Device>")]
    pub fn request_gpu() -> Promise {
        promise(Box::pin(Gpu::request()), |gpu| {
            Self { gpu: Some(gpu) }.into()
        })
    }

    /// Returns the CPU device, which trains the same networks in WebAssembly.
    #[must_use]
    pub fn cpu() -> Self {
        Self { gpu: None }
    }

    /// Destroys the GPU device, with the same effect as a driver reset: its sessions fail with `DeviceLost`.
    pub fn destroy(&self) {
        if let Some(gpu) = &self.gpu {
            gpu.device().destroy();
        }
    }
}
