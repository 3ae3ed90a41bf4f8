//! Code shared by the experiments with convolutional networks: the training of chapters 7 and 8, and loading its
//! weights.

use std::error::Error;
use std::path::{Path, PathBuf};

use wgrad::ops::{Adam, Sgd, SoftmaxCrossEntropy};
use wgrad::{Device, Sequential, Train, files};

use crate::chart::{self, Panel};
use crate::common::output::escaped;
use crate::common::{DataArgs, Failure, line};
use crate::history::{self, epoch};
use crate::lab::{Lab, LabArgs, count, part};

#[derive(Debug, clap::Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Training passes over the training data
    #[arg(long, default_value_t = 20, value_parser = count)]
    epochs: usize,
    /// Images per minibatch
    #[arg(long, default_value_t = 100, value_parser = count)]
    batch: usize,
    /// Maximum number of training images to use
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true, value_parser = count)]
    images: usize,
    /// Number of images of each data set that are evaluated after each epoch
    #[arg(long, default_value_t = 1_000, value_parser = count)]
    evaluated: usize,
    /// Write the trained weights to this file. Default: the name of the experiment, in the current directory
    #[arg(long, value_name = "FILE.safetensors")]
    save: Option<PathBuf>,
}

/// The option that names the file with trained weights.
#[derive(Debug, clap::Args)]
pub(crate) struct WeightsArgs {
    /// Trained weights. Default: the default file of the training experiment
    #[arg(long, value_name = "FILE.safetensors")]
    weights: Option<PathBuf>,
}

impl WeightsArgs {
    /// Returns the path of the file with trained weights: by default, the file that the experiment `training` writes by
    /// default. Fails if the file does not exist.
    pub(crate) fn path(&self, training: &str) -> Result<PathBuf, Failure> {
        let path = self.weights.clone();
        let path = path.unwrap_or_else(|| file_of(training));
        if path.is_file() {
            return Ok(path);
        }
        Err(Failure::Message(format!(
            "no trained weights at {}: name a file of weights with --weights, or train the network: cargo run \
             --release --example book -- {training} --save {0}",
            path.display()
        )))
    }
}

fn file_of(training: &str) -> PathBuf {
    format!("{training}.safetensors").into()
}

/// Trains a network as in the book's chapters 7 and 8, by Adam with a learning rate of 0.001. After each epoch,
/// evaluates it on the first images of the training and of the test data. At the end, draws these accuracies, evaluates
/// the network on all test images, and saves the weights.
pub(crate) fn train(
    args: &TrainArgs,
    training: &str,
    network: impl FnOnce(usize) -> Sequential,
) -> Result<(), Box<dyn Error>> {
    let save = args.save.clone().unwrap_or_else(|| file_of(training));
    files::check(&save)
        .map_err(|error| Failure::Output(format!("{error}; name another file with --save")))?;
    let (lab, data) = Lab::with_data(&args.lab, &args.data, training)?;
    let images = part(&data.train, 0, args.images)?;
    let network = network(data.train.labels().classes()).seed(lab.seed);
    let optimizer = Adam::new(0.001);
    let mut trainer = history::trainer(
        &lab.device,
        &network,
        optimizer,
        &images,
        args.batch,
        lab.seed,
    )?;
    let evaluated = [&images, &data.test].map(|all| part(all, 0, args.evaluated));
    let [train, test] = evaluated;
    let train = train?;
    let test = test?;
    let steps = epoch(&images, args.batch);
    let history = history::train(&mut *trainer, args.epochs, steps, &[&train, &test])?;
    trainer.save(&save)?;
    line(escaped(&format!("weights: {}", save.display())))?;
    let all = trainer.evaluate(&data.test)?;

    let panel = Panel::new("", 0.0..args.epochs as f64, 0.0..1.0)
        .axes("epoch", "accuracy")
        .legend_below();
    let panel = panel
        .dots("train", history.curve(0))
        .dots("test", history.curve(1));
    lab.save(&chart::draw(&[panel], 1, (700, 400))?)?;
    line(format!("all {} test images: {all}", data.test.len()))?;
    let mean = history.losses.iter().rev().take(steps).sum::<f32>() / steps as f32;
    line(format!(
        "steps={} last_loss={mean:.4} train_accuracy={:.4} test_accuracy={:.4}",
        history.losses.len(),
        history.last(0),
        all.accuracy.unwrap_or(f64::NAN)
    ))?;
    Ok(())
}

/// Loads trained weights into a network. Returns a trainer that is used only to evaluate and predict.
pub(crate) fn trained(
    device: &Device,
    network: &Sequential,
    weights: &Path,
) -> Result<Box<dyn Train>, Box<dyn Error>> {
    // The trainer takes no step, so its optimizer does not matter.
    let mut trainer = device.online(network, SoftmaxCrossEntropy, Sgd::new(0.1))?;
    trainer.set_weights(&std::fs::read(weights)?)?;
    Ok(trainer)
}
