//! Trains several networks or optimizers, and compares their losses in one chart.

use std::error::Error;

use wgrad::data::Dataset;
use wgrad::ops::Optimizer;
use wgrad::{MultiLayerNet, Sequential};

use crate::chart::{self, Panel, thinned};
use crate::common::{DataArgs, line};
use crate::history;
use crate::lab::{Lab, LabArgs, count};
use crate::smooth::smooth_curve;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) lab: LabArgs,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Minibatches per training
    #[arg(long, default_value_t = 2_000, value_parser = count)]
    steps: usize,
    /// Images per minibatch
    #[arg(long, default_value_t = 128, value_parser = count)]
    batch: usize,
}

/// A training to compare: its name, network and optimizer.
pub(crate) type Entry = (&'static str, Sequential, Box<dyn Optimizer>);

/// The network of both experiments, the comparison of optimizers and the comparison of initial weights: four hidden
/// layers of 100 units with `ReLU`.
pub(crate) fn network(train: &Dataset) -> MultiLayerNet {
    MultiLayerNet::new(train.width(), [100; 4], train.labels().classes())
}

/// Runs the trainings one after another, draws their smoothed losses, and prints the last smoothed loss of each
/// training.
pub(crate) fn compare(
    args: &Args,
    lab: &Lab,
    train: &Dataset,
    entries: Vec<Entry>,
) -> Result<(), Box<dyn Error>> {
    let mut panel = Panel::new("", 0.0..args.steps as f64, 0.0..2.5).axes("step", "loss");
    let mut results = Vec::new();
    for (name, network, optimizer) in entries {
        let network = network.seed(lab.seed);
        let mut trainer = history::trainer(
            &lab.device,
            &network,
            optimizer,
            train,
            args.batch,
            lab.seed,
        )?;
        let smooth = smooth_curve(&trainer.steps(args.steps)?);
        let last = smooth.last().copied().unwrap_or(f64::NAN);
        line(format!("{name}: loss {last:.4} after {} steps", args.steps))?;
        results.push(format!("{}={last:.4}", key(name)));
        let points: Vec<_> = (0..).map(f64::from).zip(smooth).collect();
        panel = panel.line(name, thinned(&points, 400));
    }
    lab.save(&chart::draw(&[panel], 1, (800, 450))?)?;
    line(results.join(" "))?;
    Ok(())
}

/// Converts a name to a key for the last line of the output: in lowercase, with `_` instead of blanks and `=`.
fn key(name: &str) -> String {
    name.to_ascii_lowercase().replace([' ', '='], "_")
}
