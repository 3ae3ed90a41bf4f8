//! Networks of any structure: values that several layers read, shared layers, several inputs, parameters by name,
//! copies.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/gpu.rs"]
mod gpu;

#[path = "network/builder.rs"]
mod builder;
#[path = "network/copies.rs"]
mod copies;
#[path = "network/initialisation.rs"]
mod initialisation;
#[path = "network/names.rs"]
mod names;
#[path = "network/refusals.rs"]
mod refusals;
#[path = "network/strangers.rs"]
mod strangers;
#[path = "network/values.rs"]
mod values;

use wgrad::data::{Sampling, Table};
use wgrad::ndarray::Array2;

use gpu::Numbers;

/// Returns rows of numbers between −1 and 1.
fn rows(count: usize, columns: usize) -> Array2<f32> {
    let mut numbers = Numbers::new((count * 1009 + columns) as u64);
    Array2::from_shape_simple_fn((count, columns), || numbers.uniform())
}

/// Returns rows of features. The target is a smooth function of the first three features.
fn surface(count: usize, columns: usize) -> Table {
    let x = rows(count, columns);
    let y = Array2::from_shape_fn((count, 1), |(row, _)| {
        (2.0 * x[[row, 0]]).sin() * x[[row, 1]] + x[[row, 2]].powi(2) - 0.3
    });
    Table::regression("surface", x.view(), y.view()).unwrap()
}

const SAMPLING: Sampling = Sampling::WithReplacement { seed: 5 };
