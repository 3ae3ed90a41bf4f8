use std::path::Path;

use wgrad::data::Dataset;
use wgrad::gpu::AdapterKind;
use wgrad::ops::SoftmaxCrossEntropy;
use wgrad::{Error, Evaluation, Fusion, Gpu, Prediction, Sequential, Trainer, cpu};

use crate::args::{Args, DeviceChoice, Plan};

/// What a training run needs of a device.
pub(crate) trait Engine {
    /// Takes steps; returns the loss of each.
    fn steps(&mut self, count: usize) -> Result<Vec<f32>, Error>;

    /// Mean loss and accuracy over a data set.
    fn evaluate(&mut self, dataset: &Dataset) -> Result<Evaluation, Error>;

    /// What every example is taken for.
    fn predictions(&mut self, dataset: &Dataset) -> Result<Vec<Prediction>, Error>;

    /// What one step is made of, where that was planned.
    fn plan(&self) -> Option<String>;

    /// Writes the training to a file.
    fn save(&self, path: &Path) -> Result<(), Error>;

    /// Goes on from such a file; returns how many steps were taken before.
    fn resume(&mut self, path: &Path) -> Result<u64, Error>;
}

impl Engine for Trainer {
    fn steps(&mut self, count: usize) -> Result<Vec<f32>, Error> {
        self.steps(count)
    }

    fn evaluate(&mut self, dataset: &Dataset) -> Result<Evaluation, Error> {
        self.evaluate(dataset)
    }

    fn predictions(&mut self, dataset: &Dataset) -> Result<Vec<Prediction>, Error> {
        self.predictions(dataset)
    }

    fn plan(&self) -> Option<String> {
        let kind = match (self.fusion(), self.unfused()) {
            (Fusion::Fused, _) => "fused".to_owned(),
            (_, Some(unfused)) => format!("layers, as {unfused}"),
            (_, None) => "layers".to_owned(),
        };
        let plan = self.plan();
        Some(format!(
            "plan: {kind}; a step is {} dispatches, {:.1} MFLOP, {:.1} MB",
            plan.len(),
            plan.flops() as f64 / 1e6,
            plan.bytes() as f64 / 1e6
        ))
    }

    fn save(&self, path: &Path) -> Result<(), Error> {
        self.save(path)
    }

    fn resume(&mut self, path: &Path) -> Result<u64, Error> {
        self.resume(path)?;
        Ok(self.steps_taken())
    }
}

impl Engine for cpu::Trainer<f32> {
    fn steps(&mut self, count: usize) -> Result<Vec<f32>, Error> {
        self.steps(count)
    }

    fn evaluate(&mut self, dataset: &Dataset) -> Result<Evaluation, Error> {
        (*self).evaluate(dataset)
    }

    fn predictions(&mut self, dataset: &Dataset) -> Result<Vec<Prediction>, Error> {
        (*self).predictions(dataset)
    }

    fn plan(&self) -> Option<String> {
        None
    }

    fn save(&self, path: &Path) -> Result<(), Error> {
        (*self).save(path)
    }

    fn resume(&mut self, path: &Path) -> Result<u64, Error> {
        self.resume(path)?;
        Ok(self.steps_taken())
    }
}

/// What computes, and why it was chosen.
#[derive(Debug)]
pub(crate) enum Device {
    Gpu { gpu: Gpu, because: &'static str },
    Cpu { because: String },
}

impl Device {
    /// For the last line.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Gpu { gpu, .. } => gpu.info().name.clone(),
            Self::Cpu { .. } => "cpu".to_owned(),
        }
    }

    /// Adapter and driver, and the reason for the choice.
    pub(crate) fn description(&self) -> String {
        match self {
            Self::Gpu { gpu, because } => format!("{}: {because}", gpu.description()),
            Self::Cpu { because } => format!("cpu (ndarray, f32): {because}"),
        }
    }
}

const HARDWARE: &str = "the best GPU of this machine";
const SOFTWARE: &str = "no hardware GPU found; a software driver runs the shaders on the CPU; \
    --device cpu would be faster";

/// Opens what was asked for.
pub(crate) fn choose(choice: DeviceChoice) -> Result<Device, Error> {
    let opened = match choice {
        DeviceChoice::Cpu => {
            let because = "asked for with --device cpu".to_owned();
            return Ok(Device::Cpu { because });
        }
        DeviceChoice::Gpu | DeviceChoice::Auto => Gpu::new(),
    };
    match (opened, choice) {
        (Ok(gpu), _) => {
            let because = match gpu.kind() {
                AdapterKind::Hardware => HARDWARE,
                AdapterKind::Software => SOFTWARE,
            };
            Ok(Device::Gpu { gpu, because })
        }
        (Err(error), DeviceChoice::Auto) => {
            let because = error.to_string();
            Ok(Device::Cpu { because })
        }
        (Err(error), _) => Err(error),
    }
}

/// The training that `args` describe, on that device.
pub(crate) fn build(
    device: Device,
    spec: &Sequential,
    args: &Args,
    train: &Dataset,
) -> Result<Box<dyn Engine>, Error> {
    let (batch, sampling) = (args.batch, args.sampling());
    let optimizer = args.optimizer.build(args.steps);
    Ok(match device {
        Device::Gpu { gpu, .. } => {
            let loss = SoftmaxCrossEntropy;
            let model = spec.build(&gpu)?;
            let fusion = args.plan.into();
            Box::new(Trainer::with_fusion(
                model, loss, optimizer, train, batch, sampling, fusion,
            )?)
        }
        Device::Cpu { .. } if !matches!(args.plan, Plan::Auto) => {
            return Err(Error::Setting {
                name: "--plan".to_owned(),
                expected: "left out on the CPU, where a step is no dispatches".to_owned(),
                found: format!("{:?}", args.plan).to_ascii_lowercase(),
            });
        }
        Device::Cpu { .. } => Box::new(cpu::Trainer::new(
            cpu::Network::<f32>::new(spec)?,
            SoftmaxCrossEntropy,
            optimizer,
            train,
            batch,
            sampling,
        )?),
    })
}
