//! What computes.

use wasm_bindgen::prelude::*;
use wgrad::Gpu;
use wgrad::gpu::AdapterKind;

use crate::error::thrown;

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
    /// # Errors
    /// `NoAdapter` or `NoDevice`.
    #[wasm_bindgen(js_name = gpu)]
    pub async fn request_gpu() -> Result<Device, JsValue> {
        let gpu = Gpu::request().await.map_err(thrown)?;
        Ok(Self { gpu: Some(gpu) })
    }

    /// The processor: the same training in WebAssembly.
    #[must_use]
    pub fn cpu() -> Self {
        Self { gpu: None }
    }

    /// Whether it is a GPU.
    #[wasm_bindgen(getter, js_name = isGpu)]
    #[must_use]
    pub fn is_gpu(&self) -> bool {
        self.gpu.is_some()
    }

    /// Whether it is a driver that runs shaders on the processor, slower than [`Device::cpu`].
    #[wasm_bindgen(getter, js_name = isSoftware)]
    #[must_use]
    pub fn is_software(&self) -> bool {
        let kind = self.gpu.as_ref().map(Gpu::kind);
        kind == Some(AdapterKind::Software)
    }

    /// Destroys the GPU device, as a driver that is reset does: sessions on it fail with `DeviceLost`.
    pub fn destroy(&self) {
        if let Some(gpu) = &self.gpu {
            gpu.device().destroy();
        }
    }
}
