//! The runner itself: what it must refuse, and that it sees a single wrong element.

use std::path::Path;

use crate::file::{Data, File, Refusal};
use crate::report::{Row, Table};
use crate::{OWN, check, check_all, common, gpu};

fn open(name: &str) -> File {
    File::open(&Path::new(OWN).join(name)).unwrap()
}

/// Asserts that a file is refused, with the file and all of `named` in the message.
fn assert_refused(file: &File, named: &[&str]) {
    let refusal = check(file, gpu(), None, &mut Table::default());
    let Err(Refusal::Failed(why)) = refusal else {
        panic!("{named:?} of {}: {refusal:?}", file.name);
    };
    for name in named.iter().copied().chain([file.name.as_str()]) {
        assert!(why.contains(name), "\"{why}\" does not name {name}");
    }
}

/// The file with one metadata key set, or removed.
fn with_key(name: &str, key: &str, value: Option<&str>) -> File {
    let mut file = open(name);
    match value {
        Some(value) => file.metadata.insert(key.to_owned(), value.to_owned()),
        None => file.metadata.remove(key),
    };
    file
}

const OP: &str = "affine.safetensors";
const TRAINING: &str = "three_layer_sigmoid_sgd.safetensors";
const WITH_MOMENTUM: &str = "two_layer_momentum.safetensors";
const WITH_ADAM: &str = "two_layer_adam.safetensors";

#[test]
fn golden_values_of_metadata_that_are_unknown_are_refused() {
    for (name, key, value) in [
        (OP, "kind", "layer"),
        (OP, "op", "convolution"),
        (TRAINING, "activation", "gelu"),
        (TRAINING, "loss", "mean_squared_error"),
        (TRAINING, "optimizer", "lion"),
        (TRAINING, "weight_decay", "little"),
        (TRAINING, "nesterov", "perhaps"),
        (TRAINING, "dampening", "0.1"),
        (TRAINING, "maximize", "True"),
        (WITH_ADAM, "betas", "0.9"),
        (WITH_ADAM, "amsgrad", "True"),
        (WITH_ADAM, "momentum", "0.9"),
        (TRAINING, "learning_rate", "large"),
        (TRAINING, "widths", "784,32,10"),
        (TRAINING, "widths", "784,33,16,10"),
        (TRAINING, "steps", "61"),
        (TRAINING, "batch", "63"),
    ] {
        assert_refused(&with_key(name, key, Some(value)), &[key]);
    }
}

#[test]
fn golden_keys_of_metadata_that_are_unknown_are_refused() {
    for name in [OP, TRAINING, WITH_MOMENTUM, WITH_ADAM] {
        let file = with_key(name, "dtype", Some("float16"));
        assert_refused(&file, &["dtype", "float16"]);
    }
}

#[test]
fn golden_keys_of_metadata_that_are_missing_are_refused() {
    for (name, keys) in [
        (OP, ["kind", "op"].as_slice()),
        (
            TRAINING,
            &[
                "kind",
                "widths",
                "activation",
                "loss",
                "optimizer",
                "learning_rate",
            ],
        ),
    ] {
        for key in keys {
            assert_refused(&with_key(name, key, None), &[key]);
        }
    }
}

#[test]
fn golden_hyperparameters_that_change_nothing_are_accepted() {
    for (key, value) in [
        ("momentum", "0.0"),
        ("weight_decay", "0"),
        ("nesterov", "False"),
    ] {
        let file = with_key(TRAINING, key, Some(value));
        assert_eq!(check(&file, gpu(), None, &mut Table::default()), Ok(()));
    }
}

#[test]
fn golden_tensors_that_are_missing_or_unknown_or_misshapen_are_refused() {
    let of_training = [
        "init.w2",
        "init.b1",
        "indices",
        "losses",
        "first_gradient.b3",
        "final.w1",
        "test_accuracy",
    ];
    let cases = [(
        OP,
        ["3x5x7.x", "3x5x7.b", "1x1x1.dw", "64x64x64.y"].as_slice(),
    )];
    for (name, tensors) in cases
        .into_iter()
        .chain([(TRAINING, of_training.as_slice())])
    {
        for &tensor in tensors {
            let mut file = open(name);
            let array = file.tensors.remove(tensor).unwrap();
            assert_refused(&file, &[tensor]);

            let mut file = open(name);
            file.tensors.insert(format!("{tensor}_extra"), array);
            assert_refused(&file, &[&format!("{tensor}_extra")]);

            let mut file = open(name);
            file.tensors.get_mut(tensor).unwrap().shape.insert(0, 3);
            assert_refused(&file, &[]);
        }
    }
}

#[test]
fn golden_directories_without_files_are_refused() {
    let empty = tempfile::tempdir().unwrap();
    let (_, failures) = check_all(empty.path(), gpu(), None);
    assert!(failures[0].contains("nothing was checked"), "{failures:?}");
    assert!(failures[0].contains("WGRAD_GOLDEN"), "{failures:?}");
    let (_, failures) = check_all(&empty.path().join("absent"), gpu(), None);
    assert!(failures[0].contains("absent"), "{failures:?}");

    let strange = empty.path().join("vectors.npz");
    std::fs::write(strange, "not ours").unwrap();
    let (_, failures) = check_all(empty.path(), gpu(), None);
    assert!(failures[0].contains("vectors.npz"), "{failures:?}");
}

#[test]
fn golden_files_that_are_cut_off_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(Path::new(OWN).join(OP)).unwrap();
    std::fs::write(
        directory.path().join("cut.safetensors"),
        &bytes[..bytes.len() / 2],
    )
    .unwrap();
    let (_, failures) = check_all(directory.path(), gpu(), None);
    assert!(failures[0].contains("cut.safetensors"), "{failures:?}");
}

/// Adds 1e-3 to one element of each tensor; every one of `engines` must fail on each.
fn assert_caught(name: &str, spoiled: &[&str], engines: usize) {
    let mut file = open(name);
    for &tensor in spoiled {
        let Data::F64(values) = &mut file.tensors.get_mut(tensor).unwrap().data else {
            panic!("{tensor} is not expected, but given");
        };
        let middle = values.len() / 2;
        values[middle] += 1e-3;
    }
    let (mut table, mnist) = (Table::default(), common::mnist());
    check(&file, gpu(), mnist.as_ref(), &mut table).unwrap();
    for tensor in spoiled {
        let what = tensor.trim_end_matches(".w1").trim_end_matches(".b2");
        let what = what.rsplit('.').next().unwrap();
        let of_tensor = |row: &&Row| row.what.starts_with(what) && row.share() > 1.0;
        let failed = table.rows.iter().filter(of_tensor).count();
        assert_eq!(
            failed,
            engines,
            "{tensor} of {name}: {:?}",
            table.failures()
        );
    }
}

#[test]
fn golden_values_of_ops_that_are_off_by_a_thousandth_are_caught() {
    assert_caught(
        OP,
        &["3x5x7.y", "65x129x33.dx", "100x50x10.dw", "1x1x1.db"],
        7,
    );
    assert_caught("relu.safetensors", &["y", "dx"], 3);
    assert_caught("sigmoid.safetensors", &["y", "dx"], 3);
    assert_caught("tanh.safetensors", &["y", "dx"], 3);
    let of_loss = ["mnist.loss", "wide.probabilities", "small.dlogits"];
    assert_caught("softmax_cross_entropy.safetensors", &of_loss, 3);
    let of_loss = ["batch.loss", "wide.dy"];
    assert_caught("mean_squared_error.safetensors", &of_loss, 3);
}

#[test]
fn golden_values_of_trainings_that_are_off_by_a_thousandth_are_caught() {
    if common::mnist().is_some() {
        let of_run = ["losses", "first_gradient.w1", "final.b2", "test_accuracy"];
        assert_caught(TRAINING, &of_run, 6);
    }
}
