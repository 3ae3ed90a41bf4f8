//! A process that is killed while it saves leaves the last good file, and nothing beside it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use wgrad::ops::SoftmaxCrossEntropy;

use wgrad::ops::Adam;
use wgrad::{Sequential, cpu, files};

use super::{BATCH, dataset, sampling};
use crate::gpu::Numbers;

const FILE: &str = "WGRAD_TEST_SAVES_TO";
const KILLS: usize = 50;

/// Large enough that writing it takes a while: 3 MB.
fn trainer() -> cpu::Trainer<f32> {
    let spec = Sequential::input(48)
        .layer(wgrad::ops::Linear::new(5_000))
        .layer(wgrad::ops::Linear::new(4));
    let (data, optimizer) = (dataset(), Adam::new(1e-3));
    cpu::Trainer::new(
        cpu::Network::<f32>::new(&spec).unwrap(),
        SoftmaxCrossEntropy,
        optimizer,
        &data,
        BATCH,
        sampling(),
    )
    .unwrap()
}

/// Saves without end, when the test below runs it as a process of its own.
#[test]
fn saves_until_it_is_killed() {
    let Some(path) = std::env::var_os(FILE) else {
        return;
    };
    let mut trainer = trainer();
    trainer.save(&path).unwrap();
    println!("\nsaving");
    loop {
        trainer.steps(1).unwrap();
        trainer.save(&path).unwrap();
    }
}

fn kill_while_saving(path: &Path, after: Duration) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kills::saves_until_it_is_killed", "--exact", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let begun = lines.map_while(Result::ok).any(|line| line == "saving");
    assert!(begun, "the process that saves has ended");
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_process_killed_while_it_saves_leaves_a_whole_file() {
    if std::env::var_os(FILE).is_some() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("training.safetensors");
    let mut numbers = Numbers::new(5);
    let mut steps = BTreeSet::new();
    for kill in 0..KILLS {
        kill_while_saving(&path, Duration::from_micros(numbers.below(60_000) as u64));
        let mut trainer = trainer();
        let resumed = trainer.resume(&path);
        assert!(resumed.is_ok(), "kill {kill}: {resumed:?}");
        steps.insert(trainer.steps_taken());
        files::check(&path).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
    // Or all kills would have come before the second write.
    assert!(steps.len() > 2, "{steps:?}");
}
