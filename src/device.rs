//! The device on which a training runs.

use std::fmt;

use crate::cpu;
#[cfg(not(target_arch = "wasm32"))]
use crate::data::Stream;
use crate::data::{Examples, Sampling};
use crate::error::Error;
use crate::gpu::Gpu;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::is_alike;
use crate::network::Sequential;
use crate::ops::{Loss, Optimizer};
use crate::train::Train;
use crate::trainer::Trainer;

/// A GPU or the CPU, with the reason for this choice. `Display` prints both.
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
const SOFTWARE: &str = "a software driver, which runs the shaders on the processor: slower than the CPU engine, meant \
    for tests";

impl Device {
    /// Chooses the best GPU of this machine. If there is none, chooses the CPU engine, which is faster than a software
    /// driver (a driver that runs the shaders on the CPU).
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub fn auto() -> Self {
        Self::auto_among(0, 1)
    }

    /// [`auto`](Self::auto) for one of several processes on this machine. `place` is the number of the process, from 0.
    /// Each process takes a GPU of its own while there are enough GPUs as good as the best one. If processes share a
    /// GPU, [`because`](Self::because) says so.
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub fn auto_among(place: usize, processes: usize) -> Self {
        let because = match Gpu::builder().hardware_only().number(place).build() {
            Ok(gpu) => return Self::among(gpu, HARDWARE, (place, processes)),
            Err(error @ Error::NoAdapter { .. }) => {
                let found = Gpu::adapters();
                match found.first() {
                    Some(adapter) => format!(
                        "no hardware GPU found; {} would run the shaders on the processor, slower than the CPU engine",
                        adapter.name
                    ),
                    None => error.to_string(),
                }
            }
            Err(error) => error.to_string(),
        };
        Self { gpu: None, because }
    }

    /// Chooses the best GPU of this machine. If there is none, chooses a software driver, so that the shaders run in
    /// any case.
    ///
    /// # Errors
    /// The errors of [`Gpu::new`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn shaders() -> Result<Self, Error> {
        Self::shaders_among(0, 1)
    }

    /// [`shaders`](Self::shaders) for one of several processes on this machine: see [`auto_among`](Self::auto_among).
    ///
    /// # Errors
    /// The errors of [`Gpu::new`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn shaders_among(place: usize, processes: usize) -> Result<Self, Error> {
        let gpu = Gpu::builder().number(place).build()?;
        let because = if gpu.is_software() {
            SOFTWARE
        } else {
            HARDWARE
        };
        Ok(Self::among(gpu, because, (place, processes)))
    }

    /// Makes a device from this GPU. If there are several processes, the reason for its choice also states which of
    /// several equal GPUs it is, and how many processes share it.
    #[cfg(not(target_arch = "wasm32"))]
    fn among(gpu: Gpu, because: &str, (place, processes): (usize, usize)) -> Self {
        // A single process starts faster if it does not list all adapters again.
        if processes == 1 {
            return Self::with_gpu(gpu, because);
        }
        let adapters = Gpu::adapters();
        let alike = adapters.iter().filter(|of| is_alike(of, gpu.info()));
        let because = among(because, place, processes, alike.count().max(1));
        Self::with_gpu(gpu, because)
    }

    /// Makes a device from this GPU; `because` is the reason to display.
    #[must_use]
    pub fn with_gpu(gpu: Gpu, because: impl Into<String>) -> Self {
        Self {
            gpu: Some(gpu),
            because: because.into(),
        }
    }

    /// Makes a device from the CPU; `because` is the reason to display.
    #[must_use]
    pub fn cpu(because: impl Into<String>) -> Self {
        Self {
            gpu: None,
            because: because.into(),
        }
    }

    /// The GPU, or `None` for the CPU.
    #[must_use]
    pub fn gpu(&self) -> Option<&Gpu> {
        self.gpu.as_ref()
    }

    /// The reason for the choice of this device.
    #[must_use]
    pub fn because(&self) -> &str {
        &self.because
    }

    /// The name of the adapter, or `cpu`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.gpu.as_ref().map_or("cpu", |gpu| &gpu.info().name)
    }

    /// Creates a training on this device: see [`Trainer::new`] and [`cpu::Trainer::new`]. Steps are fused where that is
    /// faster ([`Fusion::Auto`](crate::Fusion::Auto)).
    ///
    /// # Errors
    /// The errors of these functions and of [`Sequential::build`] or [`Sequential::on_cpu`].
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

    /// Creates a training on this device, on rows that the program passes to each step: see [`Trainer::online`] and
    /// [`cpu::Trainer::online`].
    ///
    /// # Errors
    /// The errors of these functions and of [`Sequential::build`] or [`Sequential::on_cpu`].
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

    /// Creates a training on this device, on a stream of rows: see [`Trainer::streamed`] and
    /// [`cpu::Trainer::streamed`].
    ///
    /// # Errors
    /// The errors of these functions and of [`Sequential::build`] or [`Sequential::on_cpu`].
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

/// The reason to display for the GPU of process `place`, if the machine has `gpus` equally good GPUs.
#[cfg(not(target_arch = "wasm32"))]
fn among(because: &str, place: usize, processes: usize, gpus: usize) -> String {
    let own = place % gpus;
    let sharing = (own..processes).step_by(gpus).count();
    let which = match gpus {
        1 => String::new(),
        _ => format!("; number {own} of {gpus}"),
    };
    match sharing {
        0 | 1 => format!("{because}{which}"),
        _ => format!("{because}{which}; {sharing} processes share this GPU"),
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

#[cfg(test)]
mod tests {
    use super::among;

    #[test]
    fn processes_are_told_what_they_share() {
        assert_eq!(among("best", 0, 1, 1), "best");
        assert_eq!(among("best", 1, 2, 1), "best; 2 processes share this GPU");
        assert_eq!(among("best", 3, 4, 4), "best; number 3 of 4");
        assert_eq!(
            among("best", 4, 6, 4),
            "best; number 0 of 4; 2 processes share this GPU"
        );
        assert_eq!(among("best", 3, 6, 4), "best; number 3 of 4");
    }
}
