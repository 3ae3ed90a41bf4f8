//! Code shared by all experiments: opening the device, loading the data, and writing the figure.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use wgrad::data::{Dataset, Labels, Split};
use wgrad::{Device, files};

use crate::common::output::escaped;
use crate::common::{self, DataArgs, Failure, line};

/// The options of every experiment.
#[derive(Debug, clap::Args)]
pub(crate) struct LabArgs {
    /// Where to compute: `gpu` is any Vulkan, Metal or DX12 adapter, `cpu` the CPU engine; `auto` takes a hardware GPU
    /// if there is one, otherwise the CPU engine
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,

    /// File for the figure. Default: the name of the experiment, in the current directory
    #[arg(long, value_name = "FILE.svg")]
    out: Option<PathBuf>,

    /// Seed of initial weights and minibatches
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DeviceChoice {
    Auto,
    Gpu,
    Cpu,
}

impl LabArgs {
    /// Returns the path of the figure. Fails if that file cannot be written.
    fn figure(&self, experiment: &str) -> Result<PathBuf, Failure> {
        let out = self.out.clone();
        let out = out.unwrap_or_else(|| format!("{experiment}.svg").into());
        files::check(&out).map_err(|error| unwritable(&out, &error.source))?;
        Ok(out)
    }

    fn device(&self) -> Result<Device, wgrad::Error> {
        match self.device {
            DeviceChoice::Auto => Ok(Device::auto()),
            DeviceChoice::Gpu => Device::shaders(),
            DeviceChoice::Cpu => Ok(Device::cpu("asked for with --device cpu")),
        }
    }
}

/// The device, seed and output file of an experiment.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) device: Device,
    pub(crate) seed: u64,
    out: PathBuf,
}

impl Lab {
    /// Opens the device and prints its name. Fails early if the file for the figure cannot be written.
    pub(crate) fn open(args: &LabArgs, experiment: &str) -> Result<Self, Failure> {
        let out = args.figure(experiment)?;
        let seed = args.seed;
        let device = args.device()?;
        line(format!("device: {device}"))?;
        Ok(Self { device, seed, out })
    }

    /// Opens the device and the requested data set, and prints their names. Fails early if the file for the figure
    /// cannot be written.
    pub(crate) fn with_data(
        args: &LabArgs,
        data: &DataArgs,
        experiment: &str,
    ) -> Result<(Self, Split), Failure> {
        let out = args.figure(experiment)?;
        let seed = args.seed;
        let (device, data) = common::load(data, false, || args.device())?;
        line(escaped(&data.description()))?;
        line(format!("device: {device}"))?;
        Ok((Self { device, seed, out }, data.split))
    }

    /// Writes the figure to its file.
    pub(crate) fn save(&self, svg: &str) -> Result<(), Failure> {
        let out = &self.out;
        files::write(out, svg.as_bytes()).map_err(|error| unwritable(out, &error.source))?;
        line(escaped(&format!("figure: {}", out.display())))
    }
}

fn unwritable(out: &Path, error: &std::io::Error) -> Failure {
    Failure::Output(format!(
        "cannot write the figure to {}: {error}; name another file with --out",
        out.display()
    ))
}

/// Parses the value of an option that takes a whole number of at least 1.
pub(crate) fn count(text: &str) -> Result<usize, &'static str> {
    let count = text.parse().ok().filter(|&count| count > 0);
    count.ok_or("expected a whole number of at least 1")
}

/// Returns `count` examples of a data set, starting with index `first`. Returns fewer examples if the data set ends
/// before.
pub(crate) fn part(all: &Dataset, first: usize, count: usize) -> Result<Dataset, Box<dyn Error>> {
    let rows = first.min(all.len())..first.saturating_add(count).min(all.len());
    let features = &all.features()[rows.start * all.width()..rows.end * all.width()];
    let classes = all.labels().classes();
    let labels = Labels::from_classes(all.labels().indices()[rows].to_vec(), classes)?;
    Ok(Dataset::new(
        all.name(),
        all.width(),
        features.to_vec(),
        labels,
    )?)
}
