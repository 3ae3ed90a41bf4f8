//! Training with an evaluation after every epoch.

use wgrad::data::{Dataset, Sampling};
use wgrad::ops::{Optimizer, SoftmaxCrossEntropy};
use wgrad::{Device, Error, Sequential, Train};

/// The losses and accuracies of a training.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// The loss of each step.
    pub(crate) losses: Vec<f32>,
    /// For each data set, the accuracy before the first step and after each epoch.
    pub(crate) accuracies: Vec<Vec<f64>>,
    /// Whether the training ended early because the loss diverged.
    pub(crate) has_diverged: bool,
}

impl History {
    /// Returns the points (epoch, accuracy) of the data set with the index `data_set`.
    pub(crate) fn curve(&self, data_set: usize) -> Vec<(f64, f64)> {
        let accuracies = self.accuracies[data_set].iter().enumerate();
        accuracies
            .map(|(epoch, &accuracy)| (epoch as f64, accuracy))
            .collect()
    }

    /// Returns the last accuracy on the data set with the index `data_set`, or NaN if there is none.
    pub(crate) fn last(&self, data_set: usize) -> f64 {
        self.accuracies[data_set]
            .last()
            .copied()
            .unwrap_or(f64::NAN)
    }
}

/// Returns a trainer for softmax cross-entropy. As in the book, each image of a minibatch is drawn uniformly from all
/// images.
pub(crate) fn trainer(
    device: &Device,
    spec: &Sequential,
    optimizer: impl Optimizer + 'static,
    train: &Dataset,
    batch: usize,
    seed: u64,
) -> Result<Box<dyn Train>, Error> {
    let sampling = Sampling::WithReplacement { seed };
    device.trainer(spec, SoftmaxCrossEntropy, optimizer, train, batch, sampling)
}

/// Returns the number of steps per epoch as the book counts them: without the incomplete last minibatch, at least 1.
pub(crate) fn epoch(train: &Dataset, batch: usize) -> usize {
    (train.len() / batch).max(1)
}

/// Trains for `epochs` epochs of `steps` steps. Evaluates on each data set before the first epoch and after each epoch.
/// Ends early if the training diverges.
pub(crate) fn train(
    trainer: &mut dyn Train,
    epochs: usize,
    steps: usize,
    data_sets: &[&Dataset],
) -> Result<History, Error> {
    let mut history = History {
        accuracies: vec![Vec::new(); data_sets.len()],
        ..History::default()
    };
    evaluate(trainer, data_sets, &mut history)?;
    for _ in 0..epochs {
        match trainer.steps(steps) {
            Ok(losses) => history.losses.extend(losses),
            Err(Error::Diverged { losses, .. }) => {
                history.losses.extend(losses);
                history.has_diverged = true;
                break;
            }
            Err(error) => return Err(error),
        }
        evaluate(trainer, data_sets, &mut history)?;
    }
    Ok(history)
}

fn evaluate(
    trainer: &mut dyn Train,
    data_sets: &[&Dataset],
    history: &mut History,
) -> Result<(), Error> {
    for (&data_set, accuracies) in data_sets.iter().zip(&mut history.accuracies) {
        let evaluation = trainer.evaluate(data_set)?;
        accuracies.extend(evaluation.accuracy);
    }
    Ok(())
}
