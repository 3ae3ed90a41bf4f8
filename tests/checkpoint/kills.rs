//! If a process is killed while it saves, the last complete file stays, and there is no other file.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wgrad::ops::SoftmaxCrossEntropy;

use wgrad::ops::Adam;
use wgrad::{Sequential, cpu, files};

use super::{BATCH, dataset, sampling};
use crate::gpu::Numbers;

const FILE: &str = "WGRAD_TEST_SAVES_TO";
/// After each save, the process prints this text and the duration of the save in microseconds.
const SAVED: &str = "saved in us: ";
const KILLS: usize = 50;
/// The maximum number of saves before a process is killed.
const MOST_SAVES: usize = 4;

/// Returns a trainer with a network of 3 MB, so that writing it takes some time.
fn trainer() -> cpu::Trainer<f32> {
    let spec = Sequential::input(48)
        .layer(wgrad::ops::Linear::new(5_000))
        .layer(wgrad::ops::Linear::new(4));
    let data = dataset();
    let optimizer = Adam::new(1e-3);
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

/// The child process of the test below: saves again and again until it is killed. As an ordinary test, does nothing.
#[test]
fn saves_until_it_is_killed() {
    let Some(path) = std::env::var_os(FILE) else {
        return;
    };
    let mut trainer = trainer();
    loop {
        let start = Instant::now();
        trainer.save(&path).unwrap();
        println!("\n{SAVED}{}", start.elapsed().as_micros());
        trainer.steps(1).unwrap();
    }
}

/// Starts a child process, waits until it has saved `saves` times, waits for the fraction `part` of a save's duration,
/// and kills it. The child is then probably in its next save.
fn kill_while_saving(path: &Path, saves: usize, part: f64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kills::saves_until_it_is_killed", "--exact", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut times = lines.map_while(Result::ok).filter_map(|line| {
        let micros = line.strip_prefix(SAVED)?.parse().ok();
        micros.map(Duration::from_micros)
    });
    let time = times.nth(saves - 1);
    let time = time.expect("the process that saves has ended");
    std::thread::sleep(time.mul_f64(part));
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
    for kill in 0..KILLS {
        // A random fraction of the duration of a save, so that the kill hits the next save at any point.
        let part = numbers.below(1_000) as f64 / 1_000.0;
        let saves = 1 + kill % MOST_SAVES;
        kill_while_saving(&path, saves, part);
        let mut trainer = trainer();
        let resumed = trainer.resume(&path);
        assert!(resumed.is_ok(), "kill {kill}: {resumed:?}");
        // The process takes one step between two saves.
        let steps = trainer.steps_taken();
        assert!(steps + 1 >= saves as u64, "kill {kill}: {steps} of {saves}");
        files::check(&path).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
