//! The experiments of "Deep Learning from Scratch" (Saitoh), chapters 3 to 8: each trains what the book trains, draws the
//! book's figure as an SVG file, and prints the numbers that go with it.
//!
//! ```text
//! cargo run --release --example book -- --help
//! cargo run --release --example book -- optimizer-compare-mnist --out optimizers.svg
//! ```
//!
//! An experiment is called as the book's program is. The defaults are the book's settings; `--steps`, `--epochs` and the
//! like make it smaller. The last line is for programs: `key=value` pairs between spaces. `docs/book.md` shows all
//! figures, and says what in wgrad each class and function of the book is.

mod chart;
mod history;
mod lab;
mod picture;
mod smooth;

// Chapter 3.
mod neuralnet_mnist;
// Chapter 4.
mod train_neuralnet;
// Chapter 6.
mod batch_norm_test;
mod gradient_check;
mod hyperparameter_optimization;
mod loss_curves;
mod optimizer_compare_mnist;
mod optimizer_compare_naive;
mod overfit;
mod weight_init_activation_histogram;
mod weight_init_compare;

// Chapter 7.
mod conv;
mod filters;
mod train_convnet;
// Chapter 8.
mod half_float_network;
mod misclassified_mnist;
mod train_deepnet;

#[path = "../common/mod.rs"]
mod common;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An experiment of "Deep Learning from Scratch": trains, draws the book's figure, prints its numbers.
#[derive(Debug, Parser)]
#[command(name = "book", version)]
struct Args {
    #[command(subcommand)]
    experiment: Experiment,
}

#[derive(Debug, Subcommand)]
enum Experiment {
    /// Chapter 3: reads the test digits with a network of two hidden layers of sigmoids
    NeuralnetMnist(neuralnet_mnist::Args),
    /// Chapter 4: loss and accuracy of a two-layer network as it learns
    TrainNeuralnet(train_neuralnet::Args),
    /// Chapter 6: the ways of four optimizers down f(x, y) = x²/20 + y²
    OptimizerCompareNaive(optimizer_compare_naive::Args),
    /// Chapter 6: the losses of four optimizers on MNIST
    OptimizerCompareMnist(optimizer_compare_mnist::Args),
    /// Chapter 6: what five layers make of random inputs, by how their weights start
    WeightInitActivationHistogram(weight_init_activation_histogram::Args),
    /// Chapter 6: losses by how the weights start
    WeightInitCompare(weight_init_compare::Args),
    /// Chapter 6: accuracy with and without batch normalisation, by how the weights start
    BatchNormTest(batch_norm_test::Args),
    /// Chapters 6 and 7: gradients by backpropagation beside central differences
    GradientCheck(gradient_check::Args),
    /// Chapter 6: 300 images by heart, with and without weight decay
    OverfitWeightDecay(overfit::WeightDecayArgs),
    /// Chapter 6: 300 images by heart, with and without dropout
    OverfitDropout(overfit::DropoutArgs),
    /// Chapter 6: a random search for learning rate and weight decay
    HyperparameterOptimization(hyperparameter_optimization::Args),
    /// Chapter 7: trains a network of a convolution and two fully connected layers
    TrainConvnet(train_convnet::Args),
    /// Chapter 7: the filters of its convolution before and after training
    VisualizeFilter(filters::VisualizeArgs),
    /// Chapter 7: what these filters make of a digit
    ApplyFilter(filters::ApplyArgs),
    /// Chapter 8: trains a network of six convolutions and two fully connected layers
    TrainDeepnet(train_deepnet::Args),
    /// Chapter 8: the digits that this network reads wrongly
    MisclassifiedMnist(misclassified_mnist::Args),
    /// Chapter 8: the same network with numbers of 16 bits
    HalfFloatNetwork(half_float_network::Args),
}

fn main() -> ExitCode {
    let args = Args::parse();
    common::run(|| run(&args.experiment))
}

fn run(experiment: &Experiment) -> Result<(), Box<dyn Error>> {
    match experiment {
        Experiment::NeuralnetMnist(args) => neuralnet_mnist::run(args),
        Experiment::TrainNeuralnet(args) => train_neuralnet::run(args),
        Experiment::OptimizerCompareNaive(args) => optimizer_compare_naive::run(args),
        Experiment::OptimizerCompareMnist(args) => optimizer_compare_mnist::run(args),
        Experiment::WeightInitActivationHistogram(args) => {
            weight_init_activation_histogram::run(args)
        }
        Experiment::WeightInitCompare(args) => weight_init_compare::run(args),
        Experiment::BatchNormTest(args) => batch_norm_test::run(args),
        Experiment::GradientCheck(args) => gradient_check::run(args),
        Experiment::OverfitWeightDecay(args) => overfit::weight_decay(args),
        Experiment::OverfitDropout(args) => overfit::dropout(args),
        Experiment::HyperparameterOptimization(args) => hyperparameter_optimization::run(args),
        Experiment::TrainConvnet(args) => train_convnet::run(args),
        Experiment::VisualizeFilter(args) => filters::visualize(args),
        Experiment::ApplyFilter(args) => filters::apply(args),
        Experiment::TrainDeepnet(args) => train_deepnet::run(args),
        Experiment::MisclassifiedMnist(args) => misclassified_mnist::run(args),
        Experiment::HalfFloatNetwork(args) => half_float_network::run(args),
    }
}
