use wgrad::data::{Dataset, Labels, mnist};
use wgrad::{Device, Error, Fusion, Sequential, Train, Trainer};

use crate::args::{Args, DeviceChoice};

/// Opens what was asked for. A plan of dispatches asks for shaders, whatever runs them.
fn choose(args: &Args, (place, processes): (usize, usize)) -> Result<Device, Error> {
    let asks_for_shaders = Fusion::from(args.plan) != Fusion::Auto;
    match args.device {
        DeviceChoice::Cpu => Ok(Device::cpu("asked for with --device cpu")),
        DeviceChoice::Auto if !asks_for_shaders => Ok(Device::auto_among(place, processes)),
        DeviceChoice::Auto | DeviceChoice::Gpu => Device::shaders_among(place, processes),
    }
}

/// Rows of the largest minibatch that is compiled for ahead: memory for it is taken twice, one time after the other.
const MOST_ROWS: usize = 1 << 12;

/// Opens what was asked for, and compiles there what the steps run on data of MNIST's form: a driver may take longer for
/// that than the files take to be read, which is done meanwhile.
/// `of_host`: which of the processes of this machine this is, and how many there are.
pub(crate) fn open(args: &Args, of_host: (usize, usize)) -> Result<Device, Error> {
    let device = choose(args, of_host)?;
    if device.gpu().is_some() {
        // An error comes again when the training is built, and what the data need else is compiled then.
        let _ = compile_ahead(&device, args);
    }
    Ok(device)
}

/// Builds the training on one minibatch of nothing but 0. What is compiled stays with the device.
fn compile_ahead(device: &Device, args: &Args) -> Result<(), Error> {
    let rows = args.rows().min(MOST_ROWS);
    let labels = Labels::from_classes(vec![0; rows], args.data.expected_classes())?;
    let zeros = vec![0; rows * mnist::PIXELS];
    let examples = Dataset::new("zeros", mnist::PIXELS, zeros, labels)?;
    let spec = args.network.spec(&examples, args.seed);
    build(device, &spec, (args, rows), &examples).map(drop)
}

/// The training that `args` describe, with minibatches of so many rows, on that device.
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
