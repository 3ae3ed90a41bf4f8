//! Draws loss and accuracy of a two-layer network during training: 784 → 50 → 10 with a sigmoid, trained by SGD.

use std::error::Error;

use wgrad::ops::{Sgd, Sigmoid};
use wgrad::{Init, MultiLayerNet};

use crate::chart::{self, Panel, thinned};
use crate::common::{DataArgs, line};
use crate::history::{self, epoch};
use crate::lab::{Lab, LabArgs, count};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Training passes over the training data; the book takes 10,000 steps, which are almost 17 passes
    #[arg(long, default_value_t = 17, value_parser = count)]
    epochs: usize,
    /// Images per minibatch
    #[arg(long, default_value_t = 100, value_parser = count)]
    batch: usize,
}

pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let (lab, data) = Lab::with_data(&args.lab, &args.data, "train-neuralnet")?;
    let network = MultiLayerNet::new(data.train.width(), [50], data.train.labels().classes());
    let network = network
        .activation(Sigmoid)
        .weight_init(Init::Normal { std: 0.01 });
    let network = network.spec().seed(lab.seed);
    let mut trainer = history::trainer(
        &lab.device,
        &network,
        Sgd::new(0.1),
        &data.train,
        args.batch,
        lab.seed,
    )?;
    let steps = epoch(&data.train, args.batch);
    let both = [&data.train, &data.test];
    let history = history::train(&mut *trainer, args.epochs, steps, &both)?;

    let losses = history.losses.iter().enumerate();
    let losses: Vec<_> = losses
        .map(|(step, &loss)| (step as f64, f64::from(loss)))
        .collect();
    let highest = losses.iter().map(|(_, loss)| *loss).fold(0.0, f64::max);
    let loss = Panel::new("training loss", 0.0..losses.len() as f64, 0.0..highest);
    let loss = loss.axes("step", "").line("", thinned(&losses, 500));
    let accuracy = Panel::new("accuracy", 0.0..args.epochs as f64, 0.0..1.0);
    let accuracy = accuracy.axes("epoch", "").legend_below();
    let accuracy = accuracy
        .dots("train", history.curve(0))
        .dots("test", history.curve(1));
    lab.save(&chart::draw(&[accuracy, loss], 2, (450, 330))?)?;
    line(format!(
        "steps={} train_accuracy={:.4} test_accuracy={:.4}",
        history.losses.len(),
        history.last(0),
        history.last(1)
    ))?;
    Ok(())
}
