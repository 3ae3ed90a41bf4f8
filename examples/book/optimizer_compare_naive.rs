//! Draws the paths on which SGD, Momentum, `AdaGrad` and Adam minimize f(x, y) = x²/20 + y², starting from (−7, 2).
//!
//! To compute the steps with the library, f is written as the mean squared error of a linear layer without bias. The
//! layer's weights are (x, y). There are two examples with the inputs (√⅒, 0) and (0, √2) and the targets 0, so the
//! mean of their squared errors is ½(x²/10 + 2y²) = f(x, y).

use std::error::Error;

use wgrad::ndarray::{Array2, array};
use wgrad::ops::{AdaGrad, Adam, Linear, MeanSquaredError, Optimizer, Sgd};
use wgrad::{Device, Init, Sequential, Targets};

use crate::chart::{self, Panel};
use crate::common::line;
use crate::lab::{Lab, LabArgs, count};

/// The starting point of all paths.
const START: [f32; 2] = [-7.0, 2.0];
/// Epsilon of the book's `AdaGrad`, which is added to the square root.
const EPSILON: f32 = 1e-7;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    lab: LabArgs,
    /// Updates per optimizer
    #[arg(long, default_value_t = 30, value_parser = count)]
    steps: usize,
}

pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let lab = Lab::open(&args.lab, "optimizer-compare-naive")?;
    let optimizers: [(&str, Box<dyn Optimizer>); 4] = [
        ("SGD", Box::new(Sgd::new(0.95))),
        ("Momentum", Box::new(Sgd::new(0.1).momentum(0.9))),
        ("AdaGrad", Box::new(AdaGrad::new(1.5).epsilon(EPSILON))),
        ("Adam", Box::new(Adam::new(0.3))),
    ];
    let mut panels = Vec::new();
    let mut results = Vec::new();
    for (name, optimizer) in optimizers {
        let way = descend(&lab.device, optimizer, args.steps)?;
        let end = way.last().copied().unwrap_or_default();
        line(format!(
            "{name}: ends at ({:.4}, {:.4}), f = {:.2e}",
            end.0,
            end.1,
            f(end)
        ))?;
        results.push(format!("{}={:.6}", name.to_ascii_lowercase(), f(end)));
        let panel = Panel::new(name, -10.0..10.0, -4.0..4.0).axes("x", "y");
        let panel = (1..=5).fold(panel, |panel, level| {
            panel.background(contour(level.into()))
        });
        panels.push(panel.dots("", way));
    }
    lab.save(&chart::draw(&panels, 2, (420, 350))?)?;
    line(results.join(" "))?;
    Ok(())
}

fn f((x, y): (f64, f64)) -> f64 {
    x * x / 20.0 + y * y
}

/// Minimizes f with an optimizer. Returns the points of the path, including the starting point.
fn descend(
    device: &Device,
    optimizer: Box<dyn Optimizer>,
    steps: usize,
) -> Result<Vec<(f64, f64)>, wgrad::Error> {
    let start = Init::function(|index| START[index[0]]);
    let point = Linear::new(1).without_bias().weight_init(start);
    let network = Sequential::input(2).layer(point);
    let inputs = array![[0.1f32.sqrt(), 0.0], [0.0, 2.0f32.sqrt()]];
    let targets = Array2::zeros((2, 1));
    let mut trainer = device.online(&network, MeanSquaredError, optimizer)?;
    let mut way = Vec::new();
    for step in 0..=steps {
        if step > 0 {
            trainer.step_on(inputs.view(), Targets::Values(targets.view()))?;
        }
        let point = trainer.parameter("layers.0.weight")?;
        let mut point = point.iter().map(|&value| f64::from(value));
        way.extend(point.next().zip(point.next()));
    }
    Ok(way)
}

/// Returns points of the ellipse on which f(x, y) is `level`.
fn contour(level: f64) -> Vec<(f64, f64)> {
    let at = |index: u32| {
        let angle = std::f64::consts::TAU * f64::from(index) / 48.0;
        (
            (20.0 * level).sqrt() * angle.cos(),
            level.sqrt() * angle.sin(),
        )
    };
    (0..=48).map(at).collect()
}
