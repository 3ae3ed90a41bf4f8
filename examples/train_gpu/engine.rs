use wgrad::data::{Dataset, Labels, mnist};
use wgrad::{Device, Error, Fusion, Sequential, Train, Trainer};

use crate::args::{Args, DeviceChoice};

/// Opens the requested device. With `--device auto` and `--plan layers` or `--plan fused`, this is a device that runs
/// shaders, even if only a software driver can run them.
fn choose(args: &Args, (place, processes): (usize, usize)) -> Result<Device, Error> {
    let asks_for_shaders = Fusion::from(args.plan) != Fusion::Auto;
    match args.device {
        DeviceChoice::Cpu => Ok(Device::cpu("asked for with --device cpu")),
        DeviceChoice::Auto if !asks_for_shaders => Ok(Device::auto_among(place, processes)),
        DeviceChoice::Auto | DeviceChoice::Gpu => Device::shaders_among(place, processes),
    }
}

/// Maximum number of rows of the minibatch for which kernels are compiled in advance. The limit saves memory, because
/// the buffers of a minibatch are allocated for this purpose and again for training.
const MOST_ROWS: usize = 1 << 12;

/// Opens the requested device, and compiles the kernels of a step in advance, for data with the shape of MNIST. With
/// some drivers, this takes longer than reading the data set, so the caller does both at the same time. `of_host` is
/// the index of this process among the processes on this machine, and the number of these processes.
pub(crate) fn open(args: &Args, of_host: (usize, usize)) -> Result<Device, Error> {
    let device = choose(args, of_host)?;
    if device.gpu().is_some() {
        // Ignore errors: they occur again, and are reported, when the training is built. Further kernels, for data of
        // another shape, are compiled then.
        let _ = compile_ahead(&device, args);
    }
    Ok(device)
}

/// Builds the training for one minibatch of zeros, and drops it. The device keeps the compiled kernels.
fn compile_ahead(device: &Device, args: &Args) -> Result<(), Error> {
    let rows = args.rows().min(MOST_ROWS);
    let labels = Labels::from_classes(vec![0; rows], args.data.expected_classes())?;
    let zeros = vec![0; rows * mnist::PIXELS];
    let examples = Dataset::new("zeros", mnist::PIXELS, zeros, labels)?;
    let spec = args.network.spec(&examples, args.seed);
    build(device, &spec, (args, rows), &examples).map(drop)
}

/// Builds on this device the training that `args` describe, with minibatches of `batch` rows.
pub(crate) fn build(
    device: &Device,
    spec: &Sequential,
    (args, batch): (&Args, usize),
    train: &Dataset,
) -> Result<Box<dyn Train>, Error> {
    let sampling = args.sampling();
    let loss = args.loss();
    let optimizer = args.optimizer.build(args.steps());
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
            expected: "left out on the CPU, where a step has no dispatches".to_owned(),
            found: format!("{:?}", args.plan).to_ascii_lowercase(),
        }),
    }
}
