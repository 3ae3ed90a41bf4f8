//! Draws the first test digits that chapter 8's trained network misclassifies.

use std::error::Error;

use wgrad::DeepConvNet;
use wgrad::data::mnist;

use crate::common::{DataArgs, line};
use crate::conv::{self, WeightsArgs};
use crate::lab::{Lab, LabArgs};
use crate::picture::{Picture, Section, page};
use crate::train_deepnet;

/// Maximum number of digits in the figure.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    weights: WeightsArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let weights = args.weights.path(train_deepnet::NAME)?;
    let (lab, data) = Lab::with_data(&args.lab, &args.data, "misclassified-mnist")?;
    let labels = data.test.labels();
    let network = DeepConvNet::default().classes(labels.classes()).spec();
    let mut trainer = conv::trained(&lab.device, &network, &weights)?;
    let predictions = trainer.predictions(&data.test)?;
    let all = predictions.iter().zip(labels.indices()).enumerate();
    let wrong: Vec<_> = all
        .filter(|(_, (prediction, label))| prediction.class != **label)
        .collect();
    let pictures = wrong
        .iter()
        .take(SHOWN)
        .map(|(image, (prediction, label))| {
            let caption = vec![format!("{label} read as {}", prediction.class)];
            Picture::of_bytes(mnist::COLUMNS, data.test.row(*image), caption)
        });
    let section = Section::new("", pictures.collect());
    lab.save(&page(&[section], 5, 4))?;
    for (image, (prediction, label)) in wrong.iter().take(SHOWN) {
        line(format!(
            "image {image}: label {label}, predicted {}",
            prediction.class
        ))?;
    }
    line(format!(
        "accuracy={:.4} images={} wrong={}",
        1.0 - wrong.len() as f64 / labels.len() as f64,
        labels.len(),
        wrong.len()
    ))?;
    Ok(())
}
