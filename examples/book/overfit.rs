//! Trains a network of six hidden layers on only 300 images, so that it overfits. Compares the accuracies on these
//! images and on the test images, with and without weight decay or dropout, which reduce overfitting.

use std::error::Error;

use wgrad::data::{Dataset, Split};
use wgrad::ops::Sgd;
use wgrad::{MultiLayerNet, Parameters};

use crate::chart::{self, Panel, thinned};
use crate::common::{DataArgs, line};
use crate::history::{self, History, epoch};
use crate::lab::{Lab, LabArgs, count, part};

/// Number of training images.
const IMAGES: usize = 300;

#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Images per minibatch
    #[arg(long, default_value_t = 100, value_parser = count)]
    batch: usize,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WeightDecayArgs {
    #[command(flatten)]
    common: Common,
    /// Training passes over the 300 images
    #[arg(long, default_value_t = 201, value_parser = count)]
    epochs: usize,
    /// λ of the penalty `½λΣW²`
    #[arg(long, default_value_t = 0.1)]
    lambda: f32,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DropoutArgs {
    #[command(flatten)]
    common: Common,
    /// Training passes over the 300 images
    #[arg(long, default_value_t = 301, value_parser = count)]
    epochs: usize,
    /// Probability that an activation is dropped
    #[arg(long, default_value_t = 0.2)]
    dropout: f32,
}

/// Runs the experiment with and without weight decay.
pub(crate) fn weight_decay(args: &WeightDecayArgs) -> Result<(), Box<dyn Error>> {
    let (lab, data) = args.common.open("overfit-weight-decay")?;
    let network = network(&data.train);
    let trainings = [0.0, args.lambda].map(|lambda| {
        let optimizer = Sgd::new(0.01).weight_decay(lambda);
        (format!("λ = {lambda}"), network.clone(), optimizer, lambda)
    });
    compare(&args.common, &lab, &data, args.epochs, &trainings)
}

/// Runs the experiment with and without dropout.
pub(crate) fn dropout(args: &DropoutArgs) -> Result<(), Box<dyn Error>> {
    let (lab, data) = args.common.open("overfit-dropout")?;
    let plain = network(&data.train);
    let dropped = plain.clone().dropout(args.dropout);
    let name = format!("dropout {}", args.dropout);
    let optimizer = Sgd::new(0.01);
    let trainings = [
        ("no dropout".to_owned(), plain, optimizer, 0.0),
        (name, dropped, optimizer, 0.0),
    ];
    compare(&args.common, &lab, &data, args.epochs, &trainings)
}

impl Common {
    fn open(&self, experiment: &str) -> Result<(Lab, Split), Box<dyn Error>> {
        let (lab, data) = Lab::with_data(&self.lab, &self.data, experiment)?;
        let train = part(&data.train, 0, IMAGES)?;
        Ok((
            lab,
            Split {
                train,
                test: data.test,
            },
        ))
    }
}

fn network(train: &Dataset) -> MultiLayerNet {
    MultiLayerNet::new(train.width(), [100; 6], train.labels().classes())
}

/// Name, network, optimizer and weight decay λ of a training.
type Training = (String, MultiLayerNet, Sgd, f32);

fn compare(
    args: &Common,
    lab: &Lab,
    data: &Split,
    epochs: usize,
    trainings: &[Training; 2],
) -> Result<(), Box<dyn Error>> {
    let mut panels = Vec::new();
    let mut results = Vec::new();
    for ((name, network, optimizer, lambda), key) in trainings.iter().zip(["without", "with"]) {
        let network = network.spec().seed(lab.seed);
        let mut trainer = history::trainer(
            &lab.device,
            &network,
            *optimizer,
            &data.train,
            args.batch,
            lab.seed,
        )?;
        let both = [&data.train, &data.test];
        let history = history::train(&mut *trainer, epochs, epoch(&data.train, args.batch), &both)?;
        line(format!(
            "{name}: train {:.4}, test {:.4}",
            history.last(0),
            history.last(1)
        ))?;
        if *lambda > 0.0 {
            let loss = f64::from(history.losses.last().copied().unwrap_or(f32::NAN));
            line(format!(
                "  loss of the last minibatch {loss:.4}, {:.4} with ½λΣW², as the book reports it",
                loss + penalty(&trainer.parameters()?, *lambda)
            ))?;
        }
        for (data_set, of) in ["train", "test"].into_iter().enumerate() {
            results.push(format!("{key}_{of}={:.4}", history.last(data_set)));
        }
        panels.push(panel(name, epochs, &history));
    }
    lab.save(&chart::draw(&panels, 2, (450, 330))?)?;
    line(results.join(" "))?;
    Ok(())
}

fn panel(name: &str, epochs: usize, history: &History) -> Panel {
    let panel = Panel::new(name, 0.0..epochs as f64, 0.0..1.0)
        .axes("epoch", "accuracy")
        .legend_below();
    let panel = panel.line("train", thinned(&history.curve(0), 200));
    panel.line("test", thinned(&history.curve(1), 200))
}

/// Returns the penalty `½λΣW²` over all weights. The book adds this penalty to the reported loss.
fn penalty(parameters: &Parameters, lambda: f32) -> f64 {
    let weights = parameters.iter().filter(|(_, value)| value.ndim() > 1);
    let squares = weights.flat_map(|(_, value)| value.iter().map(|&w| f64::from(w).powi(2)));
    0.5 * f64::from(lambda) * squares.sum::<f64>()
}
