use wgrad::data::Dataset;
use wgrad::ops::SoftmaxCrossEntropy;
use wgrad::{Device, Error, Fusion, Sequential, Train, Trainer};

use crate::args::{Args, DeviceChoice};

/// Opens what was asked for. A plan of dispatches asks for shaders, whatever runs them.
pub(crate) fn choose(args: &Args) -> Result<Device, Error> {
    let asks_for_shaders = Fusion::from(args.plan) != Fusion::Auto;
    match args.device {
        DeviceChoice::Cpu => Ok(Device::cpu("asked for with --device cpu")),
        DeviceChoice::Auto if !asks_for_shaders => Ok(Device::auto()),
        DeviceChoice::Auto | DeviceChoice::Gpu => Device::shaders(),
    }
}

/// The training that `args` describe, on that device.
pub(crate) fn build(
    device: &Device,
    spec: &Sequential,
    args: &Args,
    train: &Dataset,
) -> Result<Box<dyn Train>, Error> {
    let (batch, sampling) = (args.batch, args.sampling());
    let (loss, optimizer) = (SoftmaxCrossEntropy, args.optimizer.build(args.steps()));
    let fusion = Fusion::from(args.plan);
    match device.gpu() {
        _ if fusion == Fusion::Auto => {
            device.trainer(spec, loss, optimizer, train, batch, sampling)
        }
        Some(gpu) => {
            let model = spec.build(gpu)?;
            Ok(Box::new(Trainer::with_fusion(
                model, loss, optimizer, train, batch, sampling, fusion,
            )?))
        }
        None => Err(Error::Setting {
            name: "--plan".to_owned(),
            expected: "left out on the CPU, where a step is no dispatches".to_owned(),
            found: format!("{:?}", args.plan).to_ascii_lowercase(),
        }),
    }
}
