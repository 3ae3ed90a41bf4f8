//! Classifies the test digits with a network of two hidden sigmoid layers, 784 → 50 → 100 → 10. The book loads trained
//! weights from a file. This program trains them first, by Adam.

use std::error::Error;
use std::time::Instant;

use wgrad::MultiLayerNet;
use wgrad::data::mnist;
use wgrad::ops::{Adam, Sigmoid};

use crate::common::{DataArgs, line};
use crate::history::{self, epoch};
use crate::lab::{Lab, LabArgs, count, part};
use crate::picture::{Picture, Section, page};

/// Number of digits in the figure.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Training passes over the training data; the book loads trained weights from a file instead
    #[arg(long, default_value_t = 5, value_parser = count)]
    epochs: usize,
    /// Images per minibatch
    #[arg(long, default_value_t = 100, value_parser = count)]
    batch: usize,
}

pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let (lab, data) = Lab::with_data(&args.lab, &args.data, "neuralnet-mnist")?;
    let network = MultiLayerNet::new(data.train.width(), [50, 100], data.train.labels().classes());
    let network = network.activation(Sigmoid).spec().seed(lab.seed);
    let optimizer = Adam::new(0.001);
    let mut trainer = history::trainer(
        &lab.device,
        &network,
        optimizer,
        &data.train,
        args.batch,
        lab.seed,
    )?;
    trainer.steps(args.epochs * epoch(&data.train, args.batch))?;

    let started = Instant::now();
    let predictions = trainer.predictions(&data.test)?;
    let seconds = started.elapsed().as_secs_f64();
    let labels = data.test.labels().indices();
    let right = predictions.iter().zip(labels);
    let right = right
        .filter(|(prediction, label)| prediction.class == **label)
        .count();

    let shown = part(&data.test, 0, SHOWN)?;
    let pictures = predictions.iter().take(shown.len()).enumerate();
    let pictures: Vec<_> = pictures
        .map(|(index, prediction)| {
            let percent = 100.0 * prediction.probability;
            let caption = vec![format!("{}: {percent:.1} %", prediction.class)];
            Picture::of_bytes(mnist::COLUMNS, shown.row(index), caption)
        })
        .collect();
    lab.save(&page(&[Section::new("", pictures)], 10, 3))?;
    line(format!(
        "{right} of {} test images are classified correctly",
        labels.len()
    ))?;
    line(format!(
        "accuracy={:.4} images={} seconds={seconds:.3}",
        right as f64 / labels.len() as f64,
        labels.len()
    ))?;
    Ok(())
}
