//! What a training runs on.

use std::fmt;

use crate::cpu;
#[cfg(not(target_arch = "wasm32"))]
use crate::data::Stream;
use crate::data::{Examples, Sampling};
use crate::error::Error;
use crate::gpu::Gpu;
use crate::network::Sequential;
use crate::ops::{Loss, Optimizer};
use crate::train::Train;
use crate::trainer::Trainer;

/// A GPU or the processor, and why it was chosen: `Display` says both.
///
/// ```
/// use wgrad::Device;
///
/// let device = Device::auto();
/// println!("{device}"); // NVIDIA H200 (Vulkan, …): the best GPU of this machine
/// # let _ = device.gpu();
/// ```
#[derive(Debug, Clone)]
pub struct Device {
    gpu: Option<Gpu>,
    because: String,
}

#[cfg(not(target_arch = "wasm32"))]
const HARDWARE: &str = "the best GPU of this machine";
#[cfg(not(target_arch = "wasm32"))]
const SOFTWARE: &str = "a software driver, which runs the shaders on the processor: slower than the CPU engine, and for \
    tests";

impl Device {
    /// The best GPU of this machine, else the processor: the CPU engine is faster than a software driver that runs the
    /// shaders there.
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub fn auto() -> Self {
        let because = match Gpu::builder().hardware_only().build() {
            Ok(gpu) => return Self::with_gpu(gpu, HARDWARE),
            Err(error @ Error::NoAdapter { .. }) => {
                let found = Gpu::adapters();
                match found.first() {
                    Some(adapter) => format!(
                        "no hardware GPU found; {} would run the shaders on the processor, slower than this",
                        adapter.name
                    ),
                    None => error.to_string(),
                }
            }
            Err(error) => error.to_string(),
        };
        Self { gpu: None, because }
    }

    /// Whatever runs the shaders: the best GPU of this machine, else a software driver.
    ///
    /// # Errors
    /// As [`Gpu::new`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn shaders() -> Result<Self, Error> {
        let gpu = Gpu::new()?;
        let because = match gpu.is_software() {
            false => HARDWARE,
            true => SOFTWARE,
        };
        Ok(Self::with_gpu(gpu, because))
    }

    /// This GPU, with a reason to be shown.
    #[must_use]
    pub fn with_gpu(gpu: Gpu, because: impl Into<String>) -> Self {
        Self {
            gpu: Some(gpu),
            because: because.into(),
        }
    }

    /// The processor, with a reason to be shown.
    #[must_use]
    pub fn cpu(because: impl Into<String>) -> Self {
        Self {
            gpu: None,
            because: because.into(),
        }
    }

    /// The GPU, unless it is the processor.
    #[must_use]
    pub fn gpu(&self) -> Option<&Gpu> {
        self.gpu.as_ref()
    }

    /// Why it was chosen.
    #[must_use]
    pub fn because(&self) -> &str {
        &self.because
    }

    /// Name of the adapter, or `cpu`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.gpu.as_ref().map_or("cpu", |gpu| &gpu.info().name)
    }

    /// A training there, with whatever plan is the fastest: see [`Trainer::new`] and [`cpu::Trainer::new`].
    ///
    /// # Errors
    /// As there, and as [`Sequential::build`] or [`Sequential::on_cpu`].
    pub fn trainer(
        &self,
        network: &Sequential,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
        examples: impl Into<Examples>,
        batch: usize,
        sampling: Sampling,
    ) -> Result<Box<dyn Train>, Error> {
        Ok(match &self.gpu {
            Some(gpu) => {
                let model = network.build(gpu)?;
                Box::new(Trainer::new(
                    model, loss, optimizer, examples, batch, sampling,
                )?)
            }
            None => {
                let network = network.on_cpu()?;
                Box::new(cpu::Trainer::new(
                    network, loss, optimizer, examples, batch, sampling,
                )?)
            }
        })
    }

    /// A training there on rows that are given to each step: see [`Trainer::online`] and [`cpu::Trainer::online`].
    ///
    /// # Errors
    /// As there, and as [`Sequential::build`] or [`Sequential::on_cpu`].
    pub fn online(
        &self,
        network: &Sequential,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
    ) -> Result<Box<dyn Train>, Error> {
        Ok(match &self.gpu {
            Some(gpu) => Box::new(Trainer::online(network.build(gpu)?, loss, optimizer)?),
            None => Box::new(cpu::Trainer::online(network.on_cpu()?, loss, optimizer)?),
        })
    }

    /// A training there on a stream of rows: see [`Trainer::streamed`] and [`cpu::Trainer::streamed`].
    ///
    /// # Errors
    /// As there, and as [`Sequential::build`] or [`Sequential::on_cpu`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn streamed(
        &self,
        network: &Sequential,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
        stream: Stream,
        batch: usize,
    ) -> Result<Box<dyn Train>, Error> {
        Ok(match &self.gpu {
            Some(gpu) => {
                let model = network.build(gpu)?;
                Box::new(Trainer::streamed(model, loss, optimizer, stream, batch)?)
            }
            None => {
                let network = network.on_cpu()?;
                Box::new(cpu::Trainer::streamed(
                    network, loss, optimizer, stream, batch,
                )?)
            }
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.gpu {
            Some(gpu) => write!(f, "{}: {}", gpu.description(), self.because),
            None => write!(f, "cpu (ndarray, f32): {}", self.because),
        }
    }
}
