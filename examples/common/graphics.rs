//! What the examples of neural graphics share: the device that computes, the rows of a minibatch, and steps.

use clap::ValueEnum;
use wgrad::{Device, Error, Train};

use crate::output::line;

/// A device that is asked for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DeviceChoice {
    Gpu,
    Cpu,
}

/// The device that is asked for, or else a GPU where there is one; and rows of a minibatch that suit it. Says which it is.
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

/// Takes steps, and waits for them; their losses, of which the last 16,384 are kept.
pub(crate) async fn take(trainer: &mut dyn Train, steps: usize) -> Result<Vec<f32>, Error> {
    trainer.advance(steps)?;
    trainer.done().await?;
    trainer.losses_async(steps.min(16_384)).await
}
