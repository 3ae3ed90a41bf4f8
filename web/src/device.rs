//! What computes.

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wgrad::Gpu;

use crate::session::promise;

/// The visitor's GPU, or the processor.
#[wasm_bindgen]
#[derive(Debug, Clone)]
pub struct Device {
    pub(crate) gpu: Option<Gpu>,
}

#[wasm_bindgen]
impl Device {
    /// Asks the browser for its GPU. To be called only where there is a `navigator.gpu`.
    ///
    /// Rejects with `NoAdapter` or `NoDevice`.
    #[wasm_bindgen(js_name = gpu, unchecked_return_type = "Promise<Device>")]
    pub fn request_gpu() -> Promise {
        promise(Box::pin(Gpu::request()), |gpu| {
            Self { gpu: Some(gpu) }.into()
        })
    }

    /// The processor: the same training in WebAssembly.
    #[must_use]
    pub fn cpu() -> Self {
        Self { gpu: None }
    }

    /// Destroys the GPU device, as a driver that is reset does: sessions on it fail with `DeviceLost`.
    pub fn destroy(&self) {
        if let Some(gpu) = &self.gpu {
            gpu.device().destroy();
        }
    }
}
