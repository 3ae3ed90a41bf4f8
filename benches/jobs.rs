//! Jobs 1 and 2 of the comparison with other libraries (`benches/peers/README.md`), as its peers run them:
//! `cargo bench --bench jobs -- --job 2 --device cpu --steps 60`.
//!
//! A network and a data set are prepared once. A measurement is a warm-up, as clocks and caches forget
//! while others are measured, and then a training from the initial weights on. It is timed to the end of
//! the readback of all losses. With `--serve` there is one for each line of standard input. Each ends with
//! a line of `key=value` pairs:
//!
//! ```text
//! peer=… device=… job=… steps=… train_s=… warmup_s=… steps_per_s=… test_accuracy=…
//! ```
#![allow(clippy::expect_used, missing_docs)]

mod common;
#[allow(dead_code, reason = "an example says more of its data")]
#[path = "../examples/common/mod.rs"]
mod program;

use std::io;
use std::process::ExitCode;
use std::time::Instant;
use wgrad::ops::SoftmaxCrossEntropy;

use clap::{Parser, ValueEnum};
use wgrad::data::{Dataset, Split};
use wgrad::ops::Sgd;
use wgrad::{Error, Evaluation, Fusion, Gpu, Parameters, Trainer, cpu};

use common::{Job, SAMPLING, jobs, trainer};
use program::{DataArgs, Failure, line};

/// Trains a job of the comparison and says how fast.
#[derive(Debug, Parser)]
#[command(name = "jobs")]
struct Args {
    #[command(flatten)]
    data: DataArgs,

    /// Which training
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=2))]
    job: u16,

    /// Minibatches of a training
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,

    /// What computes
    #[arg(long, value_enum, default_value_t = Device::Gpu)]
    device: Device,

    /// Measure once for each line of standard input
    #[arg(long)]
    serve: bool,

    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Device {
    Gpu,
    Cpu,
}

impl Args {
    /// A GPU takes all of its steps to reach its clock; CPU peers warm up with as few.
    fn warm_up_steps(&self) -> usize {
        let most = match (self.device, self.job) {
            (Device::Gpu, _) => u32::MAX,
            (Device::Cpu, 1) => 100,
            (Device::Cpu, _) => 5,
        };
        self.steps.min(most) as usize
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    program::run(|| answer(&args))
}

/// Measures once, or whenever it is asked.
fn answer(args: &Args) -> Result<(), Failure> {
    let ((), data) = program::load(&args.data, true, || Ok(()))?;
    line(data.description())?;
    let split = data.split;
    let mut prepared = Prepared::new(args, &split)?;
    if !args.serve {
        return line(prepared.measure(args, &split.test)?);
    }
    line("ready")?;
    for asked in io::stdin().lines() {
        asked?;
        prepared.warm_up(args)?;
        line(prepared.measure(args, &split.test)?)?;
        line("done")?;
    }
    Ok(())
}

/// A training that has warmed up, and can begin anew.
struct Prepared {
    engine: Box<dyn Engine>,
    /// For the line of a measurement.
    device: String,
    initial: Parameters,
    warmup_s: f64,
}

impl Prepared {
    fn new(args: &Args, split: &Split) -> Result<Self, Failure> {
        let started = Instant::now();
        let [book, wide] = jobs();
        let job = if args.job == 1 { book } else { wide };
        let (engine, device) = match args.device {
            Device::Gpu => on_gpu(&job, split)?,
            Device::Cpu => on_cpu(&job, split)?,
        };
        let mut prepared = Self {
            initial: engine.parameters()?,
            engine,
            device,
            warmup_s: 0.0,
        };
        prepared.warm_up(args)?;
        prepared.warmup_s = started.elapsed().as_secs_f64();
        Ok(prepared)
    }

    fn warm_up(&mut self, args: &Args) -> Result<(), Error> {
        self.engine.begin(&self.initial)?;
        self.engine.steps(args.warm_up_steps())?;
        Ok(())
    }

    /// A training from the initial weights on, in a line.
    fn measure(&mut self, args: &Args, test: &Dataset) -> Result<String, Failure> {
        self.engine.begin(&self.initial)?;
        let started = Instant::now();
        let losses = self.engine.steps(args.steps as usize)?;
        let train_s = started.elapsed().as_secs_f64();
        check_losses(&losses)?;
        let accuracy = self.engine.evaluate(test)?.accuracy.unwrap_or(f64::NAN);
        let Args { job, steps, .. } = args;
        Ok(format!(
            "peer=wgrad-{} device={} job={job} steps={steps} train_s={train_s:.4} warmup_s={:.2} \
             steps_per_s={:.1} test_accuracy={accuracy:.4}",
            if args.device == Device::Gpu {
                "gpu"
            } else {
                "cpu"
            },
            self.device,
            self.warmup_s,
            f64::from(*steps) / train_s,
        ))
    }
}

/// A training that diverged is no measurement.
fn check_losses(losses: &[f32]) -> Result<(), Failure> {
    let last = &losses[losses.len().saturating_sub(20)..];
    let mean = last.iter().sum::<f32>() / last.len() as f32;
    match mean < 10.0 {
        true => Ok(()),
        false => Err(Failure::Message(format!("the loss is {mean}"))),
    }
}

/// What a training needs of a device.
trait Engine {
    fn parameters(&self) -> Result<Parameters, Error>;

    /// Takes these parameters, and has nothing else to do.
    fn begin(&mut self, initial: &Parameters) -> Result<(), Error>;

    fn steps(&mut self, count: usize) -> Result<Vec<f32>, Error>;

    fn evaluate(&mut self, test: &Dataset) -> Result<Evaluation, Error>;
}

fn on_gpu(job: &Job, split: &Split) -> Result<(Box<dyn Engine>, String), Error> {
    let gpu = Gpu::new()?;
    let words: Vec<_> = gpu.info().name.split_whitespace().collect();
    let device = words.join("_");
    let trainer = trainer(&gpu, job, split, Fusion::Auto)?;
    Ok((Box::new(trainer), device))
}

impl Engine for Trainer {
    fn parameters(&self) -> Result<Parameters, Error> {
        self.model().parameters()
    }

    fn begin(&mut self, initial: &Parameters) -> Result<(), Error> {
        self.set_parameters(initial)?;
        self.model().gpu().wait(None)
    }

    fn steps(&mut self, count: usize) -> Result<Vec<f32>, Error> {
        self.steps(count)
    }

    fn evaluate(&mut self, test: &Dataset) -> Result<Evaluation, Error> {
        self.evaluate(test)
    }
}

fn on_cpu(job: &Job, split: &Split) -> Result<(Box<dyn Engine>, String), Error> {
    let (train, optimizer) = (&split.train, Sgd::new(0.1));
    let trainer = cpu::Trainer::new(
        cpu::Network::<f32>::new(&job.spec)?,
        SoftmaxCrossEntropy,
        optimizer,
        train,
        job.batch,
        SAMPLING,
    )?;
    Ok((Box::new(trainer), "cpu".to_owned()))
}

impl Engine for cpu::Trainer<f32> {
    fn parameters(&self) -> Result<Parameters, Error> {
        Ok(self.network().parameters())
    }

    fn begin(&mut self, initial: &Parameters) -> Result<(), Error> {
        self.set_parameters(initial)
    }

    fn steps(&mut self, count: usize) -> Result<Vec<f32>, Error> {
        self.steps(count)
    }

    fn evaluate(&mut self, test: &Dataset) -> Result<Evaluation, Error> {
        (*self).evaluate(test)
    }
}
