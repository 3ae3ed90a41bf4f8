//! Trains a model on a table, serves it in another process, and trains an autoencoder.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use super::{assert_refused, example, lines, text};

/// Returns the number after `key=` in the last line.
#[track_caller]
fn number(lines: &[String], key: &str) -> f64 {
    let last = lines.last().unwrap();
    let mut pairs = last.split(' ').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(of, _)| *of == key);
    found
        .unwrap_or_else(|| panic!("no {key} in {last}"))
        .1
        .parse()
        .unwrap()
}

/// Runs `serve` on rows that it gets on standard input, and returns its output.
fn serve(model: &Path, rows: &str) -> Output {
    let mut command = example("serve");
    command.arg(model).stdin(Stdio::piped());
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let rows = rows.to_owned();
    // Writes the rows in a thread, because the answers may fill the pipe of standard output meanwhile. The process may
    // end before it has read all rows, so a write error is ignored.
    let writer = std::thread::spawn(move || stdin.write_all(rows.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    output
}

#[test]
fn a_table_becomes_a_model_that_another_process_serves() {
    let directory = tempfile::tempdir().unwrap();
    let output = example("table").current_dir(&directory).output().unwrap();
    let lines = lines(&output);
    let features = "features: temperature, vibration, vibration is missing, hours, site = Bremen, site = Graz, \
                    site = Turin, site is missing, model";
    assert_eq!(lines[lines.len() - 2], features);
    assert!(number(&lines, "rows") == 6800.0 && number(&lines, "features") == 9.0);
    assert!(
        number(&lines, "roc_auc") > 0.95 && number(&lines, "f1") > 0.3,
        "{lines:?}"
    );

    // The answers do not change if the columns have another order and the target column is missing.
    let model = directory.path().join("machines.safetensors");
    let csv = fs::read_to_string(directory.path().join("machines.csv")).unwrap();
    let served = serve(&model, &csv);
    let answers = text(&served.stdout);
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), 10_000);
    let failed = csv.lines().skip(1).map(|line| line.ends_with(",yes"));
    let both: Vec<_> = failed
        .zip(&answers)
        .map(|(failed, answer)| (failed, answer.starts_with("failed=yes")))
        .collect();
    let count = |of: (bool, bool)| both.iter().filter(|&&pair| pair == of).count();
    let found = count((true, true));
    let missed = count((true, false));
    let false_alarms = count((false, true));
    assert!(
        found > 4 * missed && false_alarms < 1_000,
        "{found}, {missed}, {false_alarms}"
    );
    let mut turned = "model,site,hours,vibration,temperature\n".to_owned();
    for line in csv.lines().skip(1).take(20) {
        let mut fields: Vec<&str> = line.split(',').take(5).collect();
        fields.reverse();
        turned += &format!("{}\n", fields.join(","));
    }
    let served = serve(&model, &turned);
    assert_eq!(
        text(&served.stdout).lines().collect::<Vec<_>>(),
        answers[..20]
    );

    // A row that cannot be read is reported, and the next row gets its answer.
    let rows =
        "temperature,vibration,hours,site,model\nhot,2,3,Graz,M01\n60,2,3,Graz\n60,,3,Graz,M99\n";
    let served = serve(&model, rows);
    assert_eq!(text(&served.stdout).lines().count(), 1);
    let told = text(&served.stderr);
    for part in [
        "row 0, column \"temperature\"",
        "\"hot\"",
        "row 1: expected 5 fields",
    ] {
        assert!(told.contains(part), "no {part} in: {told}");
    }
}

#[test]
fn what_cannot_be_served_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none.safetensors");
    assert_refused(&serve(&missing, "a\n1\n"), &["none.safetensors"]);
    let network = wgrad::TwoLayerNet::spec(2, 3, 2).on_cpu().unwrap();
    let path = directory.path().join("plain.safetensors");
    network.save(&path).unwrap();
    assert_refused(&serve(&path, "a\n1\n"), &["has no columns"]);
    let csv = directory.path().join("short.csv");
    fs::write(
        &csv,
        "temperature,failed\n1,yes\n2,no\n3,yes\n4,no\n5,yes\n6,no\n",
    )
    .unwrap();
    let output = example("table").arg(&csv).output().unwrap();
    assert_refused(&output, &["short.csv", "vibration"]);
}

#[test]
fn an_autoencoder_finds_more_anomalies_than_false_alarms() {
    let output = example("anomalies").output().unwrap();
    let lines = lines(&output);
    assert!(number(&lines, "roc_auc") > 0.75, "{lines:?}");
    assert!(
        number(&lines, "found") > 2.0 * number(&lines, "false_alarms"),
        "{lines:?}"
    );
}
