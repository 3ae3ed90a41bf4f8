//! Trains a classifier on a CSV file and saves the model, which `examples/serve.rs` loads. The file has categories and
//! missing values, and only about one row in fifty is a failure.
//!
//! ```text
//! cargo run --release --example table                          # draws machines.csv first
//! cargo run --release --example table -- my.csv my.safetensors # with the columns of machines.csv
//! ```

#![allow(clippy::cast_possible_truncation)] // only small drawn numbers are cast

#[path = "common/output.rs"]
mod output;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use output::line;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal, StandardUniform};
use wgrad::data::{Category, Columns, Number, Records, Sampling};
use wgrad::ops::{Adam, Dropout, Linear, Relu, SoftmaxCrossEntropy};
use wgrad::{Confusion, Device, EarlyStopping, Metric, Sequential};

fn main() -> ExitCode {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let csv = paths.next();
    let model = paths
        .next()
        .unwrap_or_else(|| "machines.safetensors".into());
    output::run(|| {
        let csv = match csv {
            Some(csv) => csv,
            None => draw("machines.csv".into())?,
        };
        learn(&csv, &model)
    })
}

fn learn(csv: &Path, model: &Path) -> Result<(), Box<dyn Error>> {
    let records = Records::from_csv(csv)?;
    // Split so that training, validation and test data have the same fraction of failures.
    let [rest, test] = records.split_by("failed", 0.8, 1)?;
    let [train, valid] = rest.split_by("failed", 0.85, 1)?;
    let columns = Columns::new()
        .number("temperature")
        .number(Number::new("vibration").missing_as_mean())
        .number("hours")
        .one_hot(Category::new("site").missing_as_category())
        .index(Category::new("model").at_least(5).width(4))
        .class("failed")
        .fit(&train)?;
    let train = columns.table(&train)?;
    let valid = columns.table(&valid)?;
    let test = columns.table(&test)?;

    // Weight the classes so that both have the same total weight, although failures are rare.
    let Some(labels) = train.labels() else {
        return Err("the table has no classes".into());
    };
    let mut weights = vec![0.0; labels.classes()];
    for &label in labels.indices() {
        weights[label as usize] += 1.0;
    }
    for weight in &mut weights {
        *weight = train.len() as f32 / (labels.classes() as f32 * *weight);
    }
    let loss = SoftmaxCrossEntropy.class_weights(weights);
    let network = Sequential::of(&columns)
        .layer(Linear::new(32))
        .layer(Relu)
        .layer(Dropout::new(0.2))
        .layer(Linear::new(columns.outputs()))
        .seed(1);
    let adam = Adam::new(2e-3);
    let sampling = Sampling::Shuffled { seed: 1 };
    let mut trainer = Device::auto().trainer(&network, loss, adam, &train, 128, sampling)?;
    let mut stopping = EarlyStopping::new(Metric::RocAuc, 15).evaluations(200);
    while stopping.goes_on(&mut *trainer, &valid)? {
        trainer.steps(50)?;
    }
    trainer.restore_best()?;

    let predictions = trainer.predictions(&test)?;
    if let Some(labels) = test.labels() {
        line(Confusion::new(labels, &predictions)?)?;
    }
    trainer.save(model)?;
    line(format!("features: {}", columns.feature_names().join(", ")))?;
    line(format!(
        "rows={} features={} roc_auc={:.4} f1={:.4} model={}",
        train.len(),
        columns.features(),
        trainer.metric(Metric::RocAuc, &test)?,
        trainer.metric(Metric::F1, &test)?,
        model.display()
    ))?;
    Ok(())
}

/// Writes a CSV file of synthetic machines at three sites and of many models. A machine fails if the sum of its heat,
/// its vibration, its age and some noise exceeds a threshold. Machines of certain models fail at a lower sum.
fn draw(csv: PathBuf) -> Result<PathBuf, Box<dyn Error>> {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut text = "temperature,vibration,hours,site,model,failed\n".to_owned();
    for _ in 0..10_000 {
        let [heat, shake, age, noise]: [f64; 4] =
            std::array::from_fn(|_| StandardNormal.sample(&mut random));
        let [site, model, blank]: [f64; 3] =
            std::array::from_fn(|_| StandardUniform.sample(&mut random));
        let model = (model.powi(2) * 40.0) as usize;
        let of_model = if model % 17 == 3 { 2.0 } else { 0.0 };
        let failed = heat + shake.abs() + age.abs() + of_model + 0.6 * noise > 5.1;
        let temperature = 60.0 + 8.0 * heat;
        let hours = 4_000.0 * age.abs();
        let vibration = if blank < 0.1 {
            String::new()
        } else {
            format!("{:.3}", 2.0 + 0.6 * shake.abs())
        };
        let site = ["Bremen", "Graz", "Turin", ""][(site * 3.2) as usize];
        let failed = if failed { "yes" } else { "no" };
        text += &format!("{temperature:.1},{vibration},{hours:.0},{site},M{model:02},{failed}\n");
    }
    fs::write(&csv, text)?;
    Ok(csv)
}
