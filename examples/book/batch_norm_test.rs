//! Trains on 1000 images with and without batch normalization, for 16 standard deviations of the initial weights. Draws
//! the accuracy on these images after each epoch.

use std::error::Error;

use wgrad::data::Dataset;
use wgrad::ops::Sgd;
use wgrad::{Init, MultiLayerNet};

use crate::chart::{self, Panel};
use crate::common::{DataArgs, line};
use crate::history::{self, History, epoch};
use crate::lab::{Lab, LabArgs, count, part};

const IMAGES: usize = 1_000;
/// Base-10 logarithms of the largest and the smallest standard deviation of the initial weights.
const POWERS: [f64; 2] = [0.0, -4.0];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Number of standard deviations of the initial weights, from 1 to 0.0001
    #[arg(long, default_value_t = 16, value_parser = count)]
    scales: usize,
    /// Training passes over the 1000 images
    #[arg(long, default_value_t = 20, value_parser = count)]
    epochs: usize,
    /// Images per minibatch
    #[arg(long, default_value_t = 100, value_parser = count)]
    batch: usize,
}

pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let (lab, data) = Lab::with_data(&args.lab, &args.data, "batch-norm-test")?;
    let train = part(&data.train, 0, IMAGES)?;
    let mut panels = Vec::new();
    let mut ahead = 0;
    for index in 0..args.scales {
        let share = index as f64 / (args.scales - 1).max(1) as f64;
        #[expect(clippy::cast_possible_truncation, reason = "rounded")]
        let std = 10f64.powf(POWERS[0] + (POWERS[1] - POWERS[0]) * share) as f32;
        let plain = MultiLayerNet::new(train.width(), [100; 5], train.labels().classes());
        let plain = plain.weight_init(Init::Normal { std });
        let without = learn(args, &lab, &train, &plain)?;
        let with = learn(args, &lab, &train, &plain.clone().batch_norm())?;
        let end = if without.has_diverged {
            ", where the loss overflows"
        } else {
            ""
        };
        line(format!(
            "weights of std {std:.4}: accuracy {:.3} with batch normalization, {:.3} without{end}",
            with.last(0),
            without.last(0)
        ))?;
        ahead += usize::from(with.last(0) > without.last(0));
        let panel = Panel::new(format!("std {std:.4}"), 0.0..args.epochs as f64, 0.0..1.0);
        let panel = panel.line("with", with.curve(0));
        panels.push(panel.line("without", without.curve(0)));
    }
    lab.save(&chart::draw(&panels, 4, (220, 170))?)?;
    line(format!("scales={} ahead={ahead}", args.scales))?;
    Ok(())
}

fn learn(
    args: &Args,
    lab: &Lab,
    train: &Dataset,
    network: &MultiLayerNet,
) -> Result<History, wgrad::Error> {
    let network = network.spec().seed(lab.seed);
    let optimizer = Sgd::new(0.01);
    let mut trainer = history::trainer(
        &lab.device,
        &network,
        optimizer,
        train,
        args.batch,
        lab.seed,
    )?;
    history::train(
        &mut *trainer,
        args.epochs,
        epoch(train, args.batch),
        &[train],
    )
}
