use wgrad::data::{Dataset, Labels, mnist};
use wgrad::{Device, Error, Fusion, Sequential, Train, Trainer};

use crate::args::{Args, DeviceChoice};

/// Chooses the requested device. An explicit plan of dispatches requires shaders, even on a software driver.
fn choose(args: &Args, (place, processes): (usize, usize)) -> Result<Device, Error> {
    let asks_for_shaders = Fusion::from(args.plan) != Fusion::Auto;
    match args.device {
        DeviceChoice::Cpu => Ok(Device::cpu("asked for with --device cpu")),
        DeviceChoice::Auto if !asks_for_shaders => Ok(Device::auto_among(place, processes)),
        DeviceChoice::Auto | DeviceChoice::Gpu => Device::shaders_among(place, processes),
    }
}

/// The most rows of a minibatch for compiling in advance. Its memory is allocated twice, the second time for training.
const MOST_ROWS: usize = 1 << 12;

/// Opens the requested device, and compiles the kernels of a step for data like MNIST. This may take a driver longer
/// than reading the files takes, so both happen at the same time. `of_host` is this process's index among the processes
/// on this machine, and their number.
pub(crate) fn open(args: &Args, of_host: (usize, usize)) -> Result<Device, Error> {
    let device = choose(args, of_host)?;
    if device.gpu().is_some() {
        // Errors occur again when the training is built. Kernels that the data needs besides are compiled then.
        let _ = compile_ahead(&device, args);
    }
    Ok(device)
}

/// Builds the training for one minibatch of zeros. The device keeps the compiled kernels.
fn compile_ahead(device: &Device, args: &Args) -> Result<(), Error> {
    let rows = args.rows().min(MOST_ROWS);
    let labels = Labels::from_classes(vec![0; rows], args.data.expected_classes())?;
    let zeros = vec![0; rows * mnist::PIXELS];
    let examples = Dataset::new("zeros", mnist::PIXELS, zeros, labels)?;
    let spec = args.network.spec(&examples, args.seed);
    build(device, &spec, (args, rows), &examples).map(drop)
}

/// Builds the training that `args` describe on this device, with minibatches of `batch` rows.
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
