//! Evaluates chapter 8's trained network with 16-bit weights and images. The book also computes in 16 bits. This
//! program rounds weights and images to 16-bit floats and sums in 32-bit floats, as the matrix units of GPUs do.

use std::error::Error;

use half::f16;
use wgrad::data::{Dataset, Table};
use wgrad::ndarray::Array2;
use wgrad::{DeepConvNet, Prediction};

use crate::chart::{self, Panel};
use crate::common::{DataArgs, line};
use crate::conv::{self, WeightsArgs};
use crate::lab::{Lab, LabArgs};
use crate::train_deepnet;

/// Range of the histogram's x axis as base-10 logarithms, and number of bins per power of 10.
const POWERS: [i32; 2] = [-8, 0];
const BINS_OF_A_POWER: usize = 4;

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
    let (lab, data) = Lab::with_data(&args.lab, &args.data, "half-float-network")?;
    let labels = data.test.labels();
    let network = DeepConvNet::default().classes(labels.classes()).spec();
    let mut trainer = conv::trained(&lab.device, &network, &weights)?;
    let single = trainer.predictions(&data.test)?;
    let parameters = trainer.parameters()?.mapv(rounded);
    trainer.set_parameters(&parameters)?;
    let half = trainer.predictions(&halves(&data.test)?)?;

    lab.save(&chart::draw(&[changes(&single, &half)], 1, (700, 350))?)?;
    let other = single
        .iter()
        .zip(&half)
        .filter(|(a, b)| a.class != b.class)
        .count();
    let [in_32_bits, in_16_bits] = [&single, &half].map(|of| accuracy(of, labels.indices()));
    line(format!(
        "{other} of {} images get another class in 16 bits",
        labels.len()
    ))?;
    line(format!(
        "accuracy_f32={in_32_bits:.4} accuracy_f16={in_16_bits:.4} changed={other}"
    ))?;
    Ok(())
}

/// Rounds a number to the nearest 16-bit float.
fn rounded(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

/// Returns the images with pixels from 0 to 1 that are rounded to 16-bit floats.
fn halves(images: &Dataset) -> Result<Table, Box<dyn Error>> {
    let pixel = |(image, at): (usize, usize)| rounded(f32::from(images.row(image)[at]) / 255.0);
    let pixels = Array2::from_shape_fn((images.len(), images.width()), pixel);
    Ok(Table::classification(
        images.name(),
        pixels.view(),
        images.labels().clone(),
    )?)
}

fn accuracy(predictions: &[Prediction], labels: &[u32]) -> f64 {
    let pairs = predictions.iter().zip(labels);
    let right = pairs.filter(|(prediction, label)| prediction.class == **label);
    right.count() as f64 / labels.len() as f64
}

/// Draws a histogram of the changes from 32-bit to 16-bit floats: the differences of the predicted class's probability,
/// on a logarithmic scale.
fn changes(single: &[Prediction], half: &[Prediction]) -> Panel {
    let [least, most] = POWERS.map(f64::from);
    let mut counts = vec![0; (POWERS[1] - POWERS[0]).unsigned_abs() as usize * BINS_OF_A_POWER];
    let last = counts.len() - 1;
    for (a, b) in single.iter().zip(half) {
        let power = (a.probability - b.probability).abs().max(1e-300).log10();
        let share = (power.clamp(least, most) - least) / (most - least);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to the number of bins"
        )]
        let bin = (share * counts.len() as f64) as usize;
        counts[bin.min(last)] += 1;
    }
    let highest = counts.iter().copied().max().unwrap_or(1);
    let panel = Panel::new("", least..most, 0.0..1.05 * highest as f64).histogram(&counts);
    panel.axes(
        "log10 of the change of the probability, f32 to f16",
        "images",
    )
}
