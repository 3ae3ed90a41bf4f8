//! Code shared by the neural graphics examples: the choice of device and minibatch size, and taking training steps.

use clap::ValueEnum;
use wgrad::{Device, Error, Train};

use crate::output::line;

/// The kind of device that the user requests.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DeviceChoice {
    Gpu,
    Cpu,
}

/// Opens the requested device and prints its name. Without a request, opens a GPU if there is one, otherwise the CPU.
/// Returns the device and a suitable minibatch size.
pub(crate) fn open(
    choice: Option<DeviceChoice>,
) -> Result<(Device, usize), Box<dyn std::error::Error>> {
    let device = match choice {
        None => Device::auto(),
        Some(DeviceChoice::Gpu) => Device::shaders()?,
        Some(DeviceChoice::Cpu) => Device::cpu("asked for with --device cpu"),
    };
    line(format!("on {}: {}", device.name(), device.because()))?;
    let is_gpu = device
        .gpu()
        .is_some_and(|gpu| gpu.software_driver().is_none());
    Ok((device, if is_gpu { 1 << 18 } else { 1 << 14 }))
}

/// Takes `steps` training steps and waits for them. Returns their losses, at most the last 16,384 losses.
pub(crate) async fn take(trainer: &mut dyn Train, steps: usize) -> Result<Vec<f32>, Error> {
    trainer.advance(steps)?;
    trainer.done().await?;
    trainer.losses_async(steps.min(16_384)).await
}
