//! Predicts with a saved model on the CPU. Reads CSV rows from standard input, and writes the prediction for each row
//! to standard output. Reports an invalid row on standard error and skips it.
//!
//! ```text
//! cargo run --release --example table
//! cargo run --release --example serve -- machines.safetensors < machines.csv
//! ```

#[path = "common/output.rs"]
mod output;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use output::{complain, line};
use wgrad::cpu::Predictor;
use wgrad::data::{RowNumber, Target};
use wgrad::ndarray::ArrayView2;
use wgrad::{Prediction, sigmoid};

fn main() -> ExitCode {
    output::run(serve)
}

fn serve() -> Result<(), Box<dyn Error>> {
    let model = std::env::args_os()
        .nth(1)
        .ok_or("expected the file of a model")?;
    let mut predictor = Predictor::load(&model)?;
    let columns = predictor.network().columns().cloned();
    let columns = columns.ok_or("the model has no columns: train it on a table with columns")?;

    // Accept rows of any length here. The encoder below reports rows of a wrong length like other errors.
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.flexible(true).from_reader(io::stdin().lock());
    let header: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let encoder = columns.row("standard input", &header)?;
    let mut features = vec![0.0; columns.features()];
    let mut record = csv::StringRecord::new();
    for row in 0.. {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                complain(&format!(
                    "error: row {row} of standard input: expected UTF-8: {error}"
                ));
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        if let Err(error) = encoder.encode(&record, RowNumber::Row(row), &mut features) {
            complain(&format!("error: {error}"));
            continue;
        }
        let outputs = predictor.predict_row(&features)?;
        let outputs = ArrayView2::from_shape((1, outputs.len()), outputs)?;
        match columns.target() {
            Target::Classes { name, classes } => {
                let Prediction { class, probability } = Prediction::of(outputs.row(0));
                let class = &classes[class as usize];
                line(format!("{name}={class} probability={probability:.4}"))?;
            }
            Target::Labels { names } => {
                let pairs = names.iter().zip(sigmoid(outputs));
                let pairs: Vec<_> = pairs.map(|(name, p)| format!("{name}={p:.4}")).collect();
                line(pairs.join(" "))?;
            }
            Target::Values { names, .. } => {
                let pairs = names.iter().zip(columns.values(outputs)?);
                let pairs: Vec<_> = pairs
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                line(pairs.join(" "))?;
            }
            _ => {
                return Err(
                    "the model predicts a kind of target that this program does not know".into(),
                );
            }
        }
    }
    Ok(())
}
