//! An autoencoder that finds anomalies. It learns to reproduce the sensor readings of a working pump through a layer of
//! only three units. It reproduces readings badly if they do not fit together, and these count as anomalies.
//!
//! ```text
//! cargo run --release --example anomalies
//! ```
//!
//! Sakurada, Yairi, "Anomaly detection using autoencoders with nonlinear dimensionality reduction", 2014.

#[path = "common/output.rs"]
mod output;

use std::error::Error;
use std::process::ExitCode;

use output::line;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal, Uniform};
use wgrad::data::{Sampling, Table};
use wgrad::ndarray::{Array1, Array2, Axis};
use wgrad::ops::{Adam, Linear, MeanSquaredError, Tanh};
use wgrad::{Device, EarlyStopping, Metric, Sequential, Targets};

const SENSORS: usize = 12;
/// Number of hidden variables on which all readings depend, for example speed, load and temperature.
const CAUSES: usize = 3;

fn main() -> ExitCode {
    output::run(find)
}

/// Draws `rows` rows of readings of a working pump. Each reading is a function of the hidden variables, plus noise.
fn readings(rows: usize, random: &mut ChaCha8Rng) -> Array2<f32> {
    let causes = Uniform::new(-1.0f32, 1.0)
        .map(|uniform| Array2::from_shape_simple_fn((rows, CAUSES), || uniform.sample(random)));
    let causes = causes.unwrap_or_else(|_| Array2::zeros((rows, CAUSES)));
    Array2::from_shape_fn((rows, SENSORS), |(row, sensor)| {
        let angle = |cause: usize| ((sensor * (cause + 2)) as f32).sin() * 1.5;
        let sum: f32 = (0..CAUSES)
            .map(|cause| angle(cause) * causes[(row, cause)])
            .sum();
        let noise: f32 = StandardNormal.sample(random);
        (sum + 0.3 * sensor as f32).sin() + 0.05 * noise
    })
}

fn find() -> Result<(), Box<dyn Error>> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let [train, valid, mut test] = [4_000, 500, 1_000].map(|rows| readings(rows, &mut random));
    // In every tenth row, replace one sensor's reading by that of another row. The reading alone looks normal.
    let is_anomaly = |row: usize| row.is_multiple_of(10);
    for row in (0..test.nrows()).filter(|&row| is_anomaly(row)) {
        let other = (row + 5) % test.nrows();
        test[(row, row / 10 % SENSORS)] = test[(other, row / 10 % SENSORS)];
    }

    let device = Device::auto();
    line(&device)?;
    let network = Sequential::input(SENSORS)
        .layer(Linear::new(32))
        .layer(Tanh)
        .layer(Linear::new(CAUSES))
        .layer(Linear::new(32))
        .layer(Tanh)
        .layer(Linear::new(SENSORS));
    let table = |name, rows: &Array2<f32>| Table::regression(name, rows.view(), rows.view());
    let usual = table("usual", &train)?;
    let valid = table("valid", &valid)?;
    let loss = MeanSquaredError;
    let optimizer = Adam::new(3e-3);
    let sampling = Sampling::Shuffled { seed: 1 };
    let mut trainer = device.trainer(&network, loss, optimizer, &usual, 100, sampling)?;
    let mut stopping = EarlyStopping::new(Metric::Loss, 10).evaluations(200);
    while stopping.goes_on(&mut *trainer, &valid)? {
        trainer.steps(100)?;
    }
    trainer.restore_best()?;

    // For each row, the largest absolute difference between a reading and the network's output for it.
    let mut distances = |rows: &Array2<f32>| -> Result<Array1<f32>, wgrad::Error> {
        let distances = (trainer.predict(rows.view())? - rows).mapv(f32::abs);
        Ok(distances.map_axis(Axis(1), |row| {
            row.fold(0.0, |most: f32, &one| most.max(one))
        }))
    };
    let mut usual: Vec<f32> = distances(&train)?.to_vec();
    usual.sort_unstable_by(f32::total_cmp);
    let limit = usual[usual.len() * 99 / 100];
    let scores = distances(&test)?;
    let mut found = 0;
    let mut false_alarms = 0;
    for (row, _) in scores
        .iter()
        .enumerate()
        .filter(|(_, score)| **score > limit)
    {
        if is_anomaly(row) {
            found += 1;
        } else {
            false_alarms += 1;
        }
    }
    let is_anomaly = Array2::from_shape_fn((test.nrows(), 1), |(row, _)| {
        f32::from(u8::from(is_anomaly(row)))
    });
    let scores = scores.insert_axis(Axis(1));
    let area = Metric::RocAuc.of(scores.view(), &Targets::Values(is_anomaly.view()))?;
    let anomalies = is_anomaly.sum();
    line(format!(
        "loss={:.4} limit={limit:.4} found={found} of={anomalies} false_alarms={false_alarms} roc_auc={area:.4}",
        stopping.best().unwrap_or(f64::NAN)
    ))?;
    Ok(())
}
