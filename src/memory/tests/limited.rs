//! Runs processes under a memory limit: an operation that needs too much memory returns an error and does not end the
//! process.

use std::hint::black_box;
use std::process::Command;
use std::{env, fs};

use ndarray::Array2;

use crate::data::{Sampling, Table, synthetic};
use crate::error::Error;
use crate::ops::{Adam, Linear, MeanSquaredError, Relu, Sgd, SoftmaxCrossEntropy, Tanh};
use crate::{Sequential, Targets, cpu};

/// Environment variable for a process that trains under a limit: the number of hidden units.
const HIDDEN: &str = "WGRAD_TEST_HIDDEN";
/// Environment variable for a process that changes a training under a limit.
const STEERED: &str = "WGRAD_TEST_STEERED";

fn spec(hidden: usize) -> Sequential {
    let spec = Sequential::input(784)
        .layer(Linear::new(hidden))
        .layer(Relu);
    spec.layer(Linear::new(hidden)).layer(Linear::new(10))
}

/// Trains, evaluates, predicts and saves. Returns an error if there is not enough memory.
fn train(hidden: usize) -> Result<(), Error> {
    let digits = synthetic::digits_of(1, 40, 40)?;
    let sampling = Sampling::Shuffled { seed: 1 };
    let spec = spec(hidden);
    let adam = Adam::new(1e-3);
    let trainer = cpu::Trainer::new(
        spec.on_cpu()?,
        SoftmaxCrossEntropy,
        adam,
        &digits.train,
        20,
        sampling,
    );
    let mut trainer = trainer?;
    println!("made, with {} KiB of addresses", addresses());
    trainer.steps(2)?;
    trainer.evaluate(&digits.test)?;
    trainer.predictions(&digits.test)?;
    println!("trained");
    trainer.to_safetensors()?;
    println!("saved");
    Ok(())
}

/// Size of this process's address space in KiB.
fn addresses() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let taken = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let taken = taken.and_then(|taken| taken.trim().strip_suffix(" kB"));
    taken.unwrap().parse().unwrap()
}

/// This test does nothing unless another test has started this process.
#[test]
fn trains_under_a_limit() {
    let Some(hidden) = env::var_os(HIDDEN) else {
        return;
    };
    let hidden = hidden.to_str().and_then(|text| text.parse().ok()).unwrap();
    match train(hidden) {
        Ok(()) => (),
        Err(error @ Error::Memory { .. }) => println!("refused: {error}"),
        Err(error) => panic!("{error}"),
    }
}

/// Returns the output of a training process whose address space is limited to `limit` KiB.
fn under(limit: u64, hidden: usize) -> String {
    told(limit, "trains_under_a_limit", (HIDDEN, hidden as u64))
}

/// Returns the output of a process that runs one test, with one environment variable set and its address space limited
/// to `limit` KiB.
fn told(limit: u64, test: &str, (variable, value): (&str, u64)) -> String {
    let output = Command::new("bash")
        .args([
            "-c",
            r#"ulimit -v "$1"; exec "$0" --exact "$2" --nocapture --test-threads 1"#,
        ])
        .arg(env::current_exe().unwrap())
        .arg(limit.to_string())
        .arg(format!("memory::tests::limited::{test}"))
        .env(variable, value.to_string())
        // A backtrace might need more memory than is left.
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(
        output.status.success(),
        "{limit} KiB, {value}: {:?}: {text}",
        output.status
    );
    text
}

#[test]
fn a_training_that_its_limit_cannot_hold_is_refused_at_once() {
    for (hidden, limit, what) in [
        (70_000, 6_000_000, "a network of "),
        (9_000, 900_000, "a training of "),
    ] {
        let told = under(limit, hidden);
        assert!(told.contains(&format!("refused: {what}")), "{told}");
        assert!(told.contains("the limit of ulimit -v"), "{told}");
        assert!(!told.contains("trained"), "{told}");
    }
}

/// The limits range from far too little to enough. A training with Adam stores four numbers for each of 4.67 million
/// parameters, 75 MB in all. A checkpoint needs this amount twice.
#[test]
fn no_limit_ends_a_process() {
    let limits = (60_000..720_000).step_by(33_000).chain([16_000_000]);
    let told: Vec<String> = limits.map(|limit| under(limit, 1_800)).collect();
    let count = |part: &str| told.iter().filter(|told| told.contains(part)).count();
    assert!(count("refused: a training of 4672810") >= 2, "{told:?}");
    assert!(count("refused: a checkpoint of 4672810") >= 2, "{told:?}");
    assert!(count("saved") >= 1, "{told:?}");
}

/// If a training leaves memory for little more than one heap, the heap of the first worker thread might leave too
/// little for the next thread.
#[test]
fn threads_start_where_each_has_room() {
    let told = under(16_000_000, 1_800);
    let made = told.split_once("made, with ").unwrap().1;
    let made: u64 = made.split_once(' ').unwrap().0.parse().unwrap();
    let limits = (64..80).flat_map(|mib| [0, 512].map(|half| made + mib * 1024 + half));
    let told: Vec<String> = limits.map(|limit| under(limit, 1_800)).collect();
    let trained = told.iter().filter(|told| told.contains("trained"));
    assert!(trained.count() >= 8, "{told:?}");
}

/// Allocates all memory that the allocator grants, except for `left` MiB in one piece.
fn all_but(left: usize) -> Vec<Vec<u8>> {
    let room = |bytes| {
        let mut room: Vec<u8> = Vec::new();
        let is_granted = room.try_reserve_exact(bytes).is_ok();
        // Keeps the compiler from removing the allocation.
        black_box(room.as_ptr());
        is_granted.then_some(room)
    };
    let kept = room(left << 20).unwrap();
    let mut taken = Vec::with_capacity(4096);
    for size in (20..30).rev() {
        while let Some(block) = room(1 << size) {
            taken.push(block);
        }
    }
    drop(kept);
    taken
}

/// Repeats an attempt with more and more free memory until it succeeds. At least one earlier attempt must fail.
fn until_there_is_room(what: &str, mut attempt: impl FnMut() -> Result<(), Error>) {
    let mut refused = 0;
    for left in (12..300).step_by(6) {
        let taken = all_but(left);
        let attempted = attempt();
        drop(taken);
        match attempted {
            Ok(()) => {
                assert!(refused > 0, "{what}: done with {left} MiB");
                println!("{what}: refused {refused} times");
                return;
            }
            Err(Error::Memory { .. }) => refused += 1,
            Err(error) => panic!("{what}: {error}"),
        }
    }
    panic!("{what}: never done");
}

/// A trainer with one minibatch of `count` rows: its intermediate values are large, but its network is small.
fn with_rows(count: usize) -> Result<cpu::Trainer, Error> {
    let spec = Sequential::input(1)
        .layer(Linear::new(64))
        .layer(Tanh)
        .layer(Linear::new(64))
        .layer(Linear::new(1));
    let rows = Array2::from_shape_fn((count, 1), |(row, _)| (row % 7) as f32 / 7.0);
    let table = Table::regression("rows", rows.view(), rows.view())?;
    let sgd = Sgd::new(0.1);
    let sampling = Sampling::Shuffled { seed: 1 };
    cpu::Trainer::new(
        spec.on_cpu()?,
        MeanSquaredError,
        sgd,
        &table,
        count,
        sampling,
    )
}

/// This test does nothing unless another test has started this process.
#[test]
fn steers_under_a_limit() -> Result<(), Error> {
    if env::var_os(STEERED).is_none() {
        return Ok(());
    }
    let loss = SoftmaxCrossEntropy;
    let sampling = Sampling::Shuffled { seed: 1 };
    let digits = synthetic::digits_of(1, 40, 40)?.train;
    let network = spec(1_800).on_cpu()?;
    let mut trainer = cpu::Trainer::new(network, loss, Sgd::new(0.01), &digits, 20, sampling)?;
    trainer.steps(1)?;
    let mut other = None;
    until_there_is_room("a copy", || {
        other = Some(trainer.network().try_clone()?);
        Ok(())
    });
    let other = other.unwrap();
    until_there_is_room("an updater", || {
        cpu::Updater::new(&other, Adam::new(0.01)).map(drop)
    });
    until_there_is_room("an average", || trainer.average(0.9));
    until_there_is_room("a copy of the average", || trainer.averaged().map(drop));
    until_there_is_room("the best", || trainer.keep_if_best(1.0).map(drop));
    until_there_is_room("an optimizer", || {
        let refused = trainer.set_optimizer(Adam::new(0.01));
        if refused.is_err() {
            assert!(trainer.optimizer().describe().starts_with("Sgd"));
        }
        refused
    });
    {
        // Calls that replace values reuse the memory of the old values, so little free memory is enough.
        let _taken = all_but(10);
        trainer.average(0.8)?;
        assert!(trainer.keep_if_best(0.5)?);
        trainer.set_optimizer(Sgd::new(0.01).momentum(0.9))?;
        trainer.steps(1)?;
        trainer.restore_best()?;
        let online = cpu::Trainer::online(other, loss, Adam::new(0.01));
        assert!(matches!(online, Err(Error::Memory { .. })));
    }

    // 12.8 MB for each intermediate value of 64 numbers per row, and for each of the two gradients of such values.
    let mut trainer = with_rows(50_000)?;
    trainer.steps(1)?;
    {
        let _taken = all_but(8);
        trainer.freeze("layers.0")?;
        trainer.freeze("layers.2")?;
        trainer.steps(1)?;
    }
    let frozen = trainer.network().parameter("layers.2.weight")?;
    until_there_is_room("gradients", || {
        let refused = trainer.unfreeze("*");
        if refused.is_err() {
            trainer.steps(1)?;
            assert_eq!(trainer.network().parameter("layers.2.weight")?, frozen);
        }
        refused
    });
    trainer.steps(1)?;
    assert_ne!(trainer.network().parameter("layers.2.weight")?, frozen);

    let network = trainer.into_network();
    let mut online = cpu::Trainer::online(network, MeanSquaredError, Sgd::new(0.1))?;
    let rows = Array2::ones((50_000, 1));
    until_there_is_room("a step on rows", || {
        let before = online.steps_taken();
        let taken = online.step_on(rows.view(), Targets::Values(rows.view()));
        assert_eq!(online.steps_taken(), before + u64::from(taken.is_ok()));
        taken.map(drop)
    });
    println!("steered");
    Ok(())
}

/// Each operation is tried with too little free memory first, and then with enough.
#[test]
fn steering_without_room_changes_nothing_and_ends_no_process() {
    let told = told(1_500_000, "steers_under_a_limit", (STEERED, 1));
    assert!(told.contains("steered"), "{told}");
}
