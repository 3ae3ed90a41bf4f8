//! Searches randomly for the best learning rate and weight decay on 500 images. A fifth of the images is held out for
//! validation.

use std::error::Error;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardUniform};
use wgrad::MultiLayerNet;
use wgrad::data::{Dataset, Labels};
use wgrad::ops::Sgd;

use crate::chart::{self, Panel, thinned};
use crate::common::{DataArgs, line};
use crate::history::{self, History, epoch};
use crate::lab::{Lab, LabArgs, count, part};

const IMAGES: usize = 500;
/// Fraction of the images that is held out for validation.
const VALIDATION: f64 = 0.2;
/// Number of trials in the figure: the best ones.
const SHOWN: usize = 20;
/// Ranges of the base-10 logarithms of the weight decay λ and of the learning rate.
const DECAYS: [f64; 2] = [-8.0, -4.0];
const RATES: [f64; 2] = [-6.0, -2.0];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Number of networks to train
    #[arg(long, default_value_t = 100, value_parser = count)]
    trials: usize,
    /// Training passes of each network over its images
    #[arg(long, default_value_t = 50, value_parser = count)]
    epochs: usize,
    /// Images per minibatch
    #[arg(long, default_value_t = 100, value_parser = count)]
    batch: usize,
}

struct Trial {
    rate: f32,
    decay: f32,
    history: History,
}

impl Trial {
    fn accuracy(&self) -> f64 {
        self.history.last(1)
    }
}

pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let (lab, data) = Lab::with_data(&args.lab, &args.data, "hyperparameter-optimization")?;
    let mut rng = ChaCha8Rng::seed_from_u64(lab.seed);
    let images = shuffled(&part(&data.train, 0, IMAGES)?, &mut rng)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "up to IMAGES"
    )]
    let held_out = (VALIDATION * images.len() as f64) as usize;
    let validation = part(&images, 0, held_out)?;
    let train = part(&images, held_out, IMAGES)?;
    let mut trials = Vec::new();
    for index in 0..args.trials {
        let [decay, rate] = [DECAYS, RATES].map(|powers| power_of_10(powers, &mut rng));
        let network = MultiLayerNet::new(train.width(), [100; 6], train.labels().classes());
        let seed = lab.seed.wrapping_add(index as u64);
        let network = network.spec().seed(seed);
        let optimizer = Sgd::new(rate).weight_decay(decay);
        let mut trainer =
            history::trainer(&lab.device, &network, optimizer, &train, args.batch, seed)?;
        let both = [&train, &validation];
        let history = history::train(&mut *trainer, args.epochs, epoch(&train, args.batch), &both)?;
        trials.push(Trial {
            rate,
            decay,
            history,
        });
    }
    trials.sort_by(|a, b| b.accuracy().total_cmp(&a.accuracy()));
    report(args, &lab, &trials)
}

fn report(args: &Args, lab: &Lab, trials: &[Trial]) -> Result<(), Box<dyn Error>> {
    let mut panels = Vec::new();
    for (place, trial) in trials.iter().take(SHOWN).enumerate() {
        let Trial {
            rate,
            decay,
            history,
        } = trial;
        if place < 5 {
            line(format!(
                "best {}: validation {:.2}, learning rate {rate:.2e}, weight decay {decay:.2e}",
                place + 1,
                trial.accuracy()
            ))?;
        }
        let title = format!("best {}: {:.2}", place + 1, trial.accuracy());
        let panel = Panel::new(title, 0.0..args.epochs as f64, 0.0..1.0);
        let panel = panel.line("train", thinned(&history.curve(0), 26));
        panels.push(panel.line("validation", thinned(&history.curve(1), 26)));
    }
    lab.save(&chart::draw(&panels, 5, (200, 150))?)?;
    let [first, last] = [trials.first(), trials.last()];
    if let (Some(best), Some(worst)) = (first, last) {
        line(format!(
            "trials={} best={:.4} worst={:.4} best_rate={:e} best_decay={:e}",
            trials.len(),
            best.accuracy(),
            worst.accuracy(),
            best.rate,
            best.decay
        ))?;
    }
    Ok(())
}

/// Returns 10 to a power that is drawn uniformly from `from` to `to`.
fn power_of_10([from, to]: [f64; 2], rng: &mut ChaCha8Rng) -> f32 {
    let share: f64 = StandardUniform.sample(rng);
    #[expect(clippy::cast_possible_truncation, reason = "rounded")]
    let value = 10f64.powf(from + (to - from) * share) as f32;
    value
}

/// Returns the examples in random order (shuffled by the method of Fisher and Yates).
fn shuffled(all: &Dataset, rng: &mut ChaCha8Rng) -> Result<Dataset, Box<dyn Error>> {
    let mut order: Vec<usize> = (0..all.len()).collect();
    for last in (1..order.len()).rev() {
        let share: f64 = StandardUniform.sample(rng);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to last"
        )]
        let other = (share * (last + 1) as f64) as usize;
        order.swap(last, other);
    }
    let features = order.iter().flat_map(|&example| all.row(example)).copied();
    let classes = order.iter().map(|&example| all.labels().indices()[example]);
    let labels = Labels::from_classes(classes.collect(), all.labels().classes())?;
    Ok(Dataset::new(
        all.name(),
        all.width(),
        features.collect(),
        labels,
    )?)
}
