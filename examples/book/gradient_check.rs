//! Compares gradients by backpropagation in f64 with central differences in f64, and with the engine's gradients in
//! f32. Does so for a small network of chapter 7's kind on a random image, and for chapter 6's network with batch
//! normalization on a digit.

use std::error::Error;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardUniform};
use wgrad::ndarray::Array2;
use wgrad::ops::SoftmaxCrossEntropy;
use wgrad::{Device, MultiLayerNet, Parameters, Sequential, SimpleConvNet, Targets, cpu};

use crate::chart::{self, Panel};
use crate::common::{DataArgs, Failure, line};
use crate::lab::{Lab, LabArgs, count};

/// Maximum allowed mean differences: between backpropagation and central differences, and between backpropagation and
/// the engine.
const NUMERICAL: f64 = 1e-7;
const ENGINE: f64 = 1e-6;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Units per hidden layer of the network for the digit
    #[arg(long, default_value_t = 100, value_parser = count)]
    hidden: usize,
}

/// The result for one parameter. Its gradient by backpropagation in f64 is compared with the gradients by central
/// differences (`numerical`) and by the engine (`engine`); these fields have the mean absolute differences.
struct Row {
    name: String,
    numerical: f64,
    engine: f64,
}

pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let (lab, data) = Lab::with_data(&args.lab, &args.data, "gradient-check")?;
    let convolutional = SimpleConvNet::default()
        .input([1, 10, 10])
        .filters(10, 3)
        .hidden(10);
    let mut rng = ChaCha8Rng::seed_from_u64(lab.seed);
    let noise = Array2::from_shape_fn((1, 100), |_| StandardUniform.sample(&mut rng));
    let digit = data.train.row(0);
    let label = data.train.labels().indices()[0];
    let digit = Array2::from_shape_fn((1, digit.len()), |(_, at)| f32::from(digit[at]) / 255.0);
    let dense = MultiLayerNet::new(
        data.train.width(),
        [args.hidden; 2],
        data.train.labels().classes(),
    );
    let checks = [
        ("chapter 7: convolution", convolutional.spec(), noise, 1),
        (
            "chapter 6: batch normalization",
            dense.batch_norm().spec(),
            digit,
            label,
        ),
    ];
    let mut panels = Vec::new();
    let mut results = Vec::new();
    for (name, network, x, label) in checks {
        let rows = check(&lab.device, &network.seed(lab.seed), &x, label)?;
        line(format!(
            "{name}{:>30} {:>12}",
            "central differences", "engine"
        ))?;
        for row in &rows {
            line(format!(
                "  {:<20} {:>12.3e} {:>12.3e}",
                row.name, row.numerical, row.engine
            ))?;
        }
        results.extend(rows.iter().map(|row| (row.numerical, row.engine)));
        panels.push(panel(name, &rows));
    }
    lab.save(&chart::draw(&panels, 2, (450, 330))?)?;
    let largest = |of: fn(&(f64, f64)) -> f64| results.iter().map(of).fold(0.0, f64::max);
    let numerical = largest(|row| row.0);
    let engine = largest(|row| row.1);
    line(format!("numerical={numerical:.3e} engine={engine:.3e}"))?;
    // A NaN difference must fail, so test for `<=` and not for its opposite.
    if numerical <= NUMERICAL && engine <= ENGINE {
        return Ok(());
    }
    let message = format!(
        "gradients differ from backpropagation: central differences by {numerical:.3e} on average, expected at most \
         {NUMERICAL:e}, the engine by {engine:.3e}, expected at most {ENGINE:e}; where a rectifier's input is near 0, \
         central differences straddle its kink: check whether the gradients still differ with another --seed"
    );
    Err(Failure::Message(message).into())
}

fn check(
    device: &Device,
    network: &Sequential,
    x: &Array2<f32>,
    label: u32,
) -> Result<Vec<Row>, wgrad::Error> {
    let loss = SoftmaxCrossEntropy;
    let labels = [label];
    let engine = match device.gpu() {
        Some(gpu) => network
            .build(gpu)?
            .gradient(&loss, x.view(), Targets::Classes(&labels))?,
        None => network
            .on_cpu()?
            .gradient(&loss, x.view(), Targets::Classes(&labels))?,
    };
    let mut exact = cpu::Network::<f64>::new(network)?;
    let x = x.mapv(f64::from);
    let backprop = exact.gradient(&loss, x.view(), Targets::Classes(&labels))?;
    let numerical = exact.numerical_gradient(&loss, x.view(), Targets::Classes(&labels))?;
    let engine = engine.mapv(f64::from);
    let rows = backprop.names().map(|name| Row {
        name: name.to_owned(),
        numerical: difference(&backprop, &numerical, name),
        engine: difference(&backprop, &engine, name),
    });
    Ok(rows.collect())
}

/// Returns the mean absolute difference between two gradients of the parameter `name`.
fn difference(a: &Parameters<f64>, b: &Parameters<f64>, name: &str) -> f64 {
    let differences = a[name].iter().zip(&b[name]).map(|(a, b)| (a - b).abs());
    differences.sum::<f64>() / a[name].len() as f64
}

/// Draws the base-10 logarithms of the mean differences of all parameters.
fn panel(name: &str, rows: &[Row]) -> Panel {
    let curve = |of: fn(&Row) -> f64| {
        let values = rows.iter().enumerate();
        values
            .map(|(index, row)| (index as f64, of(row).max(1e-16).log10()))
            .collect()
    };
    let panel = Panel::new(name, -0.5..rows.len() as f64 - 0.5, -16.0..0.0);
    let panel = panel.axes(
        "parameter",
        "log10 of the mean difference to backprop in f64",
    );
    let panel = panel.dots("central differences, f64", curve(|row| row.numerical));
    panel.dots("engine, f32", curve(|row| row.engine))
}
