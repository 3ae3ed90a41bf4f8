//! Feeds 1000 rows of 100 numbers from N(0, 1) through five layers of 100 units, for different initial weights. Draws a
//! histogram of each layer's activations.

use std::error::Error;
use std::ops::Range;

use clap::ValueEnum;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use wgrad::ndarray::Array2;
use wgrad::ops::{Layer, Linear, Relu, Sigmoid, Tanh};
use wgrad::{Device, Init, Sequential};

use crate::chart::{self, Panel};
use crate::common::line;
use crate::lab::{Lab, LabArgs, count};

const LAYERS: usize = 5;
const UNITS: usize = 100;
const BINS: usize = 30;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    lab: LabArgs,
    /// Activation after each layer
    #[arg(long, value_enum, default_value_t = Activation::Sigmoid)]
    activation: Activation,
    /// Rows of random inputs
    #[arg(long, default_value_t = 1_000, value_parser = count)]
    rows: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Activation {
    Sigmoid,
    Tanh,
    Relu,
}

impl Activation {
    fn layer(self) -> Box<dyn Layer> {
        match self {
            Self::Sigmoid => Box::new(Sigmoid),
            Self::Tanh => Box::new(Tanh),
            Self::Relu => Box::new(Relu),
        }
    }

    /// Returns the range of the histograms. For `ReLU`, it is 0 to 1 as in the book, although activations can be
    /// larger.
    fn range(self) -> Range<f64> {
        match self {
            Self::Sigmoid | Self::Relu => 0.0..1.0,
            Self::Tanh => -1.0..1.0,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let lab = Lab::open(&args.lab, "weight-init-activation-histogram")?;
    let mut rng = ChaCha8Rng::seed_from_u64(lab.seed);
    let normal = (0..args.rows * UNITS).map(|_| StandardNormal.sample(&mut rng));
    let x = Array2::from_shape_vec((args.rows, UNITS), normal.collect())?;
    let starts = [
        ("std 1", Init::Normal { std: 1.0 }),
        ("std 0.01", Init::Normal { std: 0.01 }),
        // The book calls this Xavier initialization: a standard deviation of √(1 / inputs).
        ("Xavier", Init::LecunNormal),
        ("He", Init::HeNormal),
    ];
    let mut panels = Vec::new();
    let mut results = Vec::new();
    for (name, init) in starts {
        let of_layers = activations(&lab.device, &x, args.activation, &init, lab.seed)?;
        let deviations: Vec<f64> = of_layers.iter().map(|values| deviation(values)).collect();
        let shown: Vec<_> = deviations.iter().map(|std| format!("{std:.4}")).collect();
        line(format!(
            "{name}: standard deviation by layer {}",
            shown.join(" ")
        ))?;
        let key = name.to_ascii_lowercase().replace(' ', "_");
        results.push(format!("{key}={:.4}", deviations[LAYERS - 1]));
        for (index, values) in of_layers.iter().enumerate() {
            panels.push(histogram(
                &format!("{name}, layer {}", index + 1),
                values,
                args.activation,
            ));
        }
    }
    lab.save(&chart::draw(&panels, LAYERS, (200, 150))?)?;
    line(results.join(" "))?;
    Ok(())
}

/// Returns the activations after each of the five layers.
fn activations(
    device: &Device,
    x: &Array2<f32>,
    activation: Activation,
    init: &Init,
    seed: u64,
) -> Result<Vec<Vec<f32>>, wgrad::Error> {
    let mut network = Sequential::input(UNITS).seed(seed);
    for _ in 0..LAYERS {
        let linear = Linear::new(UNITS).without_bias().weight_init(init.clone());
        network = network.layer(linear).layer(activation.layer());
    }
    let values = match device.gpu() {
        Some(gpu) => network.build(gpu)?.activations(x.view())?,
        None => network.on_cpu()?.activations(x.view())?,
    };
    // `values` has the input, then the output of each linear layer followed by the output of its activation.
    let of_layers = values.into_iter().skip(2).step_by(2);
    Ok(of_layers
        .map(|of| of.values.iter().copied().collect())
        .collect())
}

fn deviation(values: &[f32]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let squares = values
        .iter()
        .map(|&value| (f64::from(value) - mean).powi(2));
    (squares.sum::<f64>() / count).sqrt()
}

fn histogram(title: &str, values: &[f32], activation: Activation) -> Panel {
    let range = activation.range();
    let mut counts = [0; BINS];
    for &value in values {
        let at = (f64::from(value) - range.start) / (range.end - range.start);
        if (0.0..=1.0).contains(&at) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to BINS"
            )]
            let bin = (at * BINS as f64) as usize;
            counts[bin.min(BINS - 1)] += 1;
        }
    }
    if matches!(activation, Activation::Relu) {
        // With `ReLU`, half of the values are 0, and their bar would dwarf all others. So cut bars off at 7 % of the
        // values, as in the book.
        let most = values.len() * 7 / 100;
        counts = counts.map(|count| count.min(most));
    }
    let highest = counts.iter().copied().max().unwrap_or(0).max(1);
    Panel::new(title, range, 0.0..1.05 * highest as f64).histogram(&counts)
}
