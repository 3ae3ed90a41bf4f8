//! Files that are damaged, foreign or malicious. Each gives a typed error, and the trainer stays unchanged.

use safetensors::tensor::Dtype;
use wgrad::ops::{Adam, Linear, Sgd};
use wgrad::{CheckpointError, Error, Fusion, Sequential, Trainer};

use super::{assert_says, spec, trainer};
use crate::gpu::{Numbers, gpu};
use crate::parts::{Metadata, Tensors, parts, whole};

fn adam() -> Trainer {
    trainer(gpu(), Box::new(Adam::new(1e-2)), Fusion::Auto)
}

fn saved(trainer: &Trainer) -> Vec<u8> {
    trainer.to_safetensors().unwrap()
}

/// Asserts that a trainer refuses a file with a message that contains all of `named`, and stays unchanged.
fn assert_refused(case: &str, trainer: &mut Trainer, bytes: &[u8], named: &[&str]) {
    let before = (trainer.model().parameters().unwrap(), trainer.steps_taken());
    let refused = trainer.set_safetensors(bytes);
    let Err(Error::Checkpoint(error)) = refused else {
        panic!("{case}: {refused:?}");
    };
    assert_says(&format!("{case}: {error}"), named);
    let after = (trainer.model().parameters().unwrap(), trainer.steps_taken());
    assert!(before == after, "{case}: something was changed");
}

#[test]
fn what_is_not_of_this_training_is_named() {
    let mut trainer = adam();
    trainer.steps(5).unwrap();
    let good = saved(&trainer);
    trainer.steps(5).unwrap();
    let mut change = |case: &str, named: &[&str], edit: &dyn Fn(&mut Tensors, &mut Metadata)| {
        let (mut tensors, mut metadata) = parts(&good);
        edit(&mut tensors, &mut metadata);
        assert_refused(case, &mut trainer, &whole((tensors, metadata)), named);
    };
    let at = |tensors: &Tensors, name: &str| tensors.iter().position(|t| t.0 == name).unwrap();
    change(
        "missing",
        &[
            "layers.2.bias",
            "missing",
            "[4]",
            "the file has layers.0.bias",
        ],
        &|tensors, _| {
            tensors.remove(at(tensors, "layers.2.bias"));
        },
    );
    change(
        "missing state",
        &["optimizer.square.layers.0.weight", "[7, 48]"],
        &|tensors, _| {
            tensors.remove(at(tensors, "optimizer.square.layers.0.weight"));
        },
    );
    change("unknown", &["layers.9.weight", "[2]"], &|tensors, _| {
        tensors.push((
            "layers.9.weight".to_owned(),
            Dtype::F32,
            vec![2],
            vec![0; 8],
        ));
    });
    change(
        "transposed",
        &["layers.0.weight", "[7, 48]", "[48, 7]", "transposed"],
        &|tensors, _| {
            let at = at(tensors, "layers.0.weight");
            tensors[at].2.reverse();
        },
    );
    change(
        "another type",
        &["layers.0.bias", "float32", "integers of 32 bits"],
        &|tensors, _| {
            let at = at(tensors, "layers.0.bias");
            tensors[at].1 = Dtype::I32;
        },
    );
    for (key, value, named) in [
        (
            "network",
            "48 → Linear(4)",
            ["network", "48 → Linear(7) → Relu → Linear(4)"],
        ),
        ("batch", "9", ["batch", "expected 8, found 9"]),
        (
            "examples_sha256",
            "0",
            ["other data", "expected \"pieces\" (90 examples)"],
        ),
        ("optimizer", "Sgd", ["optimizer", "learning_rate: 0.01"]),
        ("loss", "MeanSquaredError", ["loss", "SoftmaxCrossEntropy"]),
        ("sampling", "shuffled, seed 9", ["sampling", "seed 8"]),
        ("seed", "4", ["seed", "expected 3"]),
        ("step", "-1", ["step", "-1"]),
        (
            "step",
            "18446744073709551615",
            ["step", "a whole number below"],
        ),
        (
            "format",
            "wgrad 3",
            ["format", "expected format \"wgrad 2\""],
        ),
    ] {
        change(key, &named, &|_, metadata| {
            metadata.insert(key.to_owned(), value.to_owned());
        });
    }
    // The unchanged file is accepted.
    trainer.set_safetensors(&good).unwrap();
    assert_eq!(trainer.steps_taken(), 5);
}

#[test]
fn files_of_another_optimizer_or_without_a_training_are_refused() {
    let sgd = trainer(gpu(), Box::new(Sgd::new(0.1)), Fusion::Auto);
    assert_refused(
        "sgd for adam",
        &mut adam(),
        &saved(&sgd),
        &["optimizer: expected Adam", "found Sgd", "set_weights"],
    );
    let mut plain = trainer(gpu(), Box::new(Sgd::new(0.1)), Fusion::Auto);
    let named = ["optimizer: expected Sgd", "found Adam"];
    assert_refused("adam for sgd", &mut plain, &saved(&adam()), &named);
    let weights = plain.model().to_safetensors().unwrap();
    assert_refused("weights alone", &mut plain, &weights, &["no training"]);
}

#[test]
fn damaged_files_are_refused_wherever_they_are_damaged() {
    let mut trainer = adam();
    let good = saved(&trainer);
    let mut numbers = Numbers::new(1);
    let mut cuts: Vec<usize> = (0..40).map(|_| numbers.below(good.len())).collect();
    cuts.extend([0, 1, 7, 8, 9, good.len() - 1]);
    for cut in cuts {
        assert_refused(
            &format!("cut at {cut}"),
            &mut trainer,
            &good[..cut],
            &["safetensors file"],
        );
    }
    for _ in 0..40 {
        let mut bytes = good.clone();
        // The position of a byte in the last tensors, which are at the end of the file.
        let at = good.len() - 1 - numbers.below(2_000);
        bytes[at] ^= 1 << numbers.below(8);
        assert_refused("a bit flipped", &mut trainer, &bytes, &["SHA-256"]);
    }
    let longer = [&good[..], &[0]].concat();
    assert_refused("a byte more", &mut trainer, &longer, &["safetensors file"]);
    for header in [u64::MAX, 1 << 40, good.len() as u64, 0] {
        let hostile = [&header.to_le_bytes()[..], &good[8..]].concat();
        assert_refused(
            "header length",
            &mut trainer,
            &hostile,
            &["safetensors file"],
        );
    }
    // A changed header is accepted if it still means the same, for example if it only has an additional blank.
    let header = usize::try_from(u64::from_le_bytes(good[..8].try_into().unwrap())).unwrap();
    let tensors = parts(&good).0;
    let step = trainer.steps_taken();
    for at in 8..8 + header {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << numbers.below(8);
        if trainer.set_safetensors(&bytes).is_ok() {
            let found = (parts(&saved(&trainer)).0, trainer.steps_taken());
            assert!(found == (tensors.clone(), step), "byte {at} of the header");
        }
    }
}

#[test]
fn weights_are_taken_from_a_training_and_from_elsewhere() {
    let mut trainer = adam();
    trainer.steps(3).unwrap();
    let mut model = spec().seed(99).build(gpu()).unwrap();
    model.set_safetensors(&saved(&trainer)).unwrap();
    let expected = trainer.model().parameters().unwrap();
    assert_eq!(model.parameters().unwrap(), expected);

    let (mut tensors, _) = parts(&saved(&trainer));
    tensors.retain(|tensor| !tensor.0.starts_with("optimizer."));
    let mut model = spec().seed(98).build(gpu()).unwrap();
    model
        .set_safetensors(&whole((tensors, Metadata::new())))
        .unwrap();
    assert_eq!(model.parameters().unwrap(), expected);

    let mut narrow = Sequential::input(48)
        .layer(Linear::new(4))
        .build(gpu())
        .unwrap();
    let refused = narrow.set_safetensors(&saved(&trainer));
    let is_expected =
        |error: &Error| matches!(error, Error::Checkpoint(CheckpointError::Network { .. }));
    assert!(refused.as_ref().is_err_and(is_expected), "{refused:?}");
}

#[test]
fn files_that_cannot_be_read_or_written_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut trainer = adam();
    let absent = directory.path().join("absent").join("file.safetensors");
    let failures = [
        (trainer.save(&absent), "Name a file"),
        (trainer.resume(&absent), "Give a file"),
    ];
    for (failed, remedy) in failures {
        let message = failed.unwrap_err().to_string();
        assert!(
            message.contains("absent") && message.contains(remedy),
            "{message}"
        );
    }
    let large = directory.path().join("large");
    for (bytes, expected) in [
        (saved(&trainer), "the file is larger than"),
        (b"PK\x03\x04".to_vec(), "a zip archive"),
    ] {
        std::fs::write(&large, bytes).unwrap();
        let file = std::fs::File::options().append(true).open(&large).unwrap();
        file.set_len(1 << 34).unwrap();
        let message = trainer.resume(&large).unwrap_err().to_string();
        let start = format!("{}: ", large.display());
        assert!(message.starts_with(&start), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}
