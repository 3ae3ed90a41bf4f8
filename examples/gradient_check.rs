//! The gradient check of "Deep Learning from Scratch", chapter 5, on the first three training images. It computes the
//! gradients of the book's network by backpropagation, and compares them with central differences and with the
//! gradients of the GPU.
//!
//! ```text
//! cargo run --release --example gradient_check
//! ```
//!
//! Prints the mean and the largest absolute difference for every parameter. The exit code is 1 if a mean difference is
//! above 1e-7 (central differences against backpropagation, both in f64) or above 1e-6 (GPU in f32 against
//! backpropagation in f64).

#[path = "common/mod.rs"]
mod common;

use std::process::ExitCode;

use clap::Parser;
use wgrad::data::{Dataset, Labels};
use wgrad::gradient_check::GradientReport;
use wgrad::ndarray::Array2;
use wgrad::ops::SoftmaxCrossEntropy;
use wgrad::{Error, Gpu, Targets, TwoLayerNet, gradient_check};

use common::{DataArgs, Failure, line};

const IMAGES: usize = 3;
const HIDDEN: usize = 50;
/// Maximum allowed mean difference between central differences and backpropagation.
const NUMERICAL: f64 = 1e-7;
/// Maximum allowed mean difference between the GPU's gradients and backpropagation in f64.
const ON_GPU: f64 = 1e-6;

/// Compares backpropagation with central differences, and the GPU with the f64 reference: for the two-layer network of
/// "Deep Learning from Scratch", chapter 5, on the first three images.
#[derive(Debug, Parser)]
#[command(name = "gradient_check", version)]
struct Args {
    #[command(flatten)]
    data: DataArgs,

    /// Seed of the weights
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    common::run(|| check(&args))
}

fn check(args: &Args) -> Result<(), Failure> {
    let (gpu, data) = common::load(&args.data, false, Gpu::new)?;
    line(data.description())?;
    line(format!("device: {}", gpu.description()))?;

    let (x, labels) = first_images(&data.split.train)?;
    let classes = labels.classes();
    let net = TwoLayerNet::new(&gpu, x.ncols(), HIDDEN, classes, args.seed)?;
    line(format!(
        "network: {} → {HIDDEN} → {classes}, weights from seed {}, {} images of {}",
        x.ncols(),
        args.seed,
        labels.len(),
        data.name
    ))?;
    let targets = Targets::Classes(labels.indices());
    let report = gradient_check(net.model(), &SoftmaxCrossEntropy, x.view(), targets)?;
    line(&report)?;
    judge(&report)
}

/// Returns the first images of a data set, with pixels from 0 to 1, and their labels.
fn first_images(dataset: &Dataset) -> Result<(Array2<f32>, Labels), Error> {
    let rows = IMAGES.min(dataset.len());
    let pixel = |(row, column)| f32::from(dataset.row(row)[column]) / 255.0;
    let x = Array2::from_shape_fn((rows, dataset.width()), pixel);
    let labels = dataset.labels();
    let first = labels.indices()[..rows].to_vec();
    Ok((x, Labels::from_classes(first, labels.classes())?))
}

fn judge(report: &GradientReport) -> Result<(), Failure> {
    // A NaN difference must fail, so test for `<=` and not for its opposite.
    let is_within = |difference: f64, most: f64| difference <= most;
    for row in &report.rows {
        if !is_within(row.gpu.mean, ON_GPU) {
            return Err(Failure::Message(format!(
                "the GPU's gradient by {} differs from the reference by {:.3e} on average, more \
                 than {ON_GPU:e}: a kernel or the driver is wrong; update the driver",
                row.name, row.gpu.mean
            )));
        }
        if !is_within(row.numerical.mean, NUMERICAL) {
            return Err(Failure::Message(format!(
                "central differences and backpropagation differ for {} by {:.3e} on average, more than {NUMERICAL:e}: \
                 where the input of a rectifier is within 1e-4 of 0, central differences straddle its kink; check \
                 whether they still differ with another --seed",
                row.name, row.numerical.mean
            )));
        }
    }
    line(format!(
        "all means within {NUMERICAL:e} (numerical vs backprop) and {ON_GPU:e} (GPU vs reference)"
    ))
}
