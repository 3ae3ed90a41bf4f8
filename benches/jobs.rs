//! Measures `wgrad` in jobs 1, 2 and 4 of the comparison with other libraries, its peers (`benches/peers/README.md`):
//! `cargo bench --bench jobs -- --job 2 --device cpu --steps 60`.
//!
//! The network and the data set are prepared once. Each measurement starts with warm-up steps, because clock rates and
//! caches change while other programs are measured. Then it trains from the initial weights. The measured time includes
//! the readback of all losses. With `--serve`, each line of standard input starts one measurement. A measurement prints
//! a line of `key=value` pairs:
//!
//! ```text
//! peer=… device=… job=… steps=… train_s=… warmup_s=… steps_per_s=… test_accuracy=…
//! ```
//!
//! Job 4 appends ` forward_s=…`: the seconds that forward pass and loss take for all rows of the training. They are
//! estimated from the time to evaluate the test set.
#![allow(clippy::expect_used, missing_docs)]

mod common;
#[allow(dead_code, reason = "an example says more of its data")]
#[path = "../examples/common/mod.rs"]
mod program;

use std::io;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use wgrad::data::{Dataset, Split};
use wgrad::{Device, Error, Train};

use common::{jobs, training};
use program::{DataArgs, Failure, line};

/// Runs a job of the comparison with other libraries and prints its speed.
#[derive(Debug, Parser)]
#[command(name = "jobs")]
struct Args {
    #[command(flatten)]
    data: DataArgs,

    /// Number of the job
    #[arg(long, default_value_t = 1, value_parser = job_number)]
    job: u16,

    /// Number of steps of a training
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,

    /// Device that trains
    #[arg(long, value_enum, default_value_t = DeviceChoice::Gpu)]
    device: DeviceChoice,

    /// Measure once for each line of standard input
    #[arg(long)]
    serve: bool,

    /// Ignored; `cargo bench` passes it
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DeviceChoice {
    Gpu,
    Cpu,
}

impl DeviceChoice {
    fn open(self) -> Result<Device, Error> {
        match self {
            Self::Gpu => Device::shaders(),
            Self::Cpu => Ok(Device::cpu("asked for with --device cpu")),
        }
    }
}

impl Args {
    /// Number of warm-up steps. On a GPU, there are as many as in the training, so that the GPU reaches its full clock
    /// rate. On the CPU, there are as few as for the other libraries on the CPU.
    fn warm_up_steps(&self) -> usize {
        let most = match (self.device, self.job) {
            (DeviceChoice::Gpu, _) => u32::MAX,
            (DeviceChoice::Cpu, 1) => 100,
            (DeviceChoice::Cpu, _) => 5,
        };
        self.steps.min(most) as usize
    }
}

/// Parses the number of a job. Job 3 measures matrix products; the example `matmul` runs it.
fn job_number(word: &str) -> Result<u16, String> {
    match word {
        "1" => Ok(1),
        "2" => Ok(2),
        "4" => Ok(4),
        _ => Err("it is 1, 2 or 4".to_owned()),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    program::run(|| answer(&args))
}

/// Measures once, or with `--serve` once for each line of standard input.
fn answer(args: &Args) -> Result<(), Failure> {
    let ((), data) = program::load(&args.data, true, || Ok(()))?;
    line(data.description())?;
    let split = data.split;
    let mut prepared = Prepared::new(args, &split)?;
    // Evaluate before the measurement, because the first evaluation compiles its kernels.
    prepared.engine.evaluate(&split.test)?;
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

/// A training that has warmed up and can start again.
struct Prepared {
    engine: Box<dyn Train>,
    /// The device's name in the printed line, with `_` instead of blanks.
    device: String,
    /// Checkpoint of the training before its first step, as a safetensors file.
    initial: Vec<u8>,
    batch: usize,
    warmup_s: f64,
}

impl Prepared {
    fn new(args: &Args, split: &Split) -> Result<Self, Failure> {
        let started = Instant::now();
        let [book, wide, convolution] = jobs();
        let job = match args.job {
            1 => book,
            2 => wide,
            _ => convolution,
        };
        let device = args.device.open()?;
        let engine = training(&device, &job, split)?;
        let words: Vec<_> = device.name().split_whitespace().collect();
        let mut prepared = Self {
            initial: engine.to_safetensors()?,
            engine,
            device: words.join("_"),
            batch: job.batch,
            warmup_s: 0.0,
        };
        prepared.warm_up(args)?;
        prepared.warmup_s = started.elapsed().as_secs_f64();
        Ok(prepared)
    }

    /// Restores the initial training, and waits until the device is idle.
    fn begin(&mut self) -> Result<(), Error> {
        self.engine.set_safetensors(&self.initial)?;
        self.engine.wait()
    }

    fn warm_up(&mut self, args: &Args) -> Result<(), Error> {
        self.begin()?;
        self.engine.steps(args.warm_up_steps())?;
        Ok(())
    }

    /// Runs and measures a whole training. Returns the line to print.
    fn measure(&mut self, args: &Args, test: &Dataset) -> Result<String, Failure> {
        self.begin()?;
        let started = Instant::now();
        let losses = self.engine.steps(args.steps as usize)?;
        let train_s = started.elapsed().as_secs_f64();
        check_losses(&losses)?;
        let evaluating = Instant::now();
        let evaluation = self.engine.evaluate(test)?;
        let forward_s = evaluating.elapsed().as_secs_f64() / test.len() as f64;
        let accuracy = evaluation.accuracy.unwrap_or(f64::NAN);
        let Args { job, steps, .. } = args;
        let rows = f64::from(*steps) * self.batch as f64;
        let forward = match job {
            4 => format!(" forward_s={:.4}", forward_s * rows),
            _ => String::new(),
        };
        Ok(format!(
            "peer=wgrad-{} device={} job={job} steps={steps} train_s={train_s:.4} warmup_s={:.2} \
             steps_per_s={:.1} test_accuracy={accuracy:.4}{forward}",
            match args.device {
                DeviceChoice::Gpu => "gpu",
                DeviceChoice::Cpu => "cpu",
            },
            self.device,
            self.warmup_s,
            f64::from(*steps) / train_s,
        ))
    }
}

/// Fails if the mean of the last 20 losses shows that the training has diverged.
fn check_losses(losses: &[f32]) -> Result<(), Failure> {
    let last = &losses[losses.len().saturating_sub(20)..];
    let mean = last.iter().sum::<f32>() / last.len() as f32;
    if mean < 10.0 {
        Ok(())
    } else {
        Err(Failure::Message(format!("the loss is {mean}")))
    }
}
