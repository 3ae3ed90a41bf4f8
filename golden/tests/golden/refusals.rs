//! Tests of the runner (this test program) itself: it must refuse certain files, and must detect a single wrong
//! element.

use crate::file::{Array, Data, File, Refusal};
use crate::report::{Row, Table};
use crate::{check, check_all, common, gpu, own};

fn open(name: &str) -> File {
    File::open(&own().join(name)).unwrap()
}

/// Asserts that a file is refused, and that the message contains the file's name and all of `named`.
fn assert_refused(file: &File, named: &[&str]) {
    let refusal = check(file, gpu(), None, &mut Table::default());
    let Err(Refusal::Failed(why)) = refusal else {
        panic!("{named:?} of {}: {refusal:?}", file.name);
    };
    for name in named.iter().copied().chain([file.name.as_str()]) {
        assert!(why.contains(name), "\"{why}\" does not name {name}");
    }
}

/// Returns a golden file in which one metadata key is set, or removed if `value` is `None`.
fn with_key(name: &str, key: &str, value: Option<&str>) -> File {
    let mut file = open(name);
    match value {
        Some(value) => file.metadata.insert(key.to_owned(), value.to_owned()),
        None => file.metadata.remove(key),
    };
    file
}

const OP: &str = "affine.safetensors";
const IMAGES: &str = "conv2d.safetensors";
const TRAINING: &str = "three_layer_sigmoid_sgd.safetensors";
const WITH_MOMENTUM: &str = "two_layer_momentum.safetensors";
const WITH_ADAM: &str = "two_layer_adam.safetensors";
const NETWORK: &str = "residual_mlp_momentum.safetensors";
const OF_VALUES: &str = "residual_values_adam.safetensors";
const HUBER: &str = "huber.safetensors";
const BINARY: &str = "binary_cross_entropy_with_logits.safetensors";
const ADJUSTED: &str = "softmax_cross_entropy_options.safetensors";
const SCHEDULED: [&str; 2] = ["scheduled_sgd.safetensors", "scheduled_adam.safetensors"];

#[test]
fn golden_values_of_metadata_that_are_unknown_are_refused() {
    for (name, key, value) in [
        (OP, "kind", "layer"),
        (OP, "op", "convolution"),
        (OP, "op", "l1"),
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
        (NETWORK, "loss", "mean_squared_error"),
        (NETWORK, "loss", "huber"),
        (NETWORK, "optimizer", "lion"),
        (NETWORK, "data", "cifar"),
        (NETWORK, "input", "[784, 0]"),
        (NETWORK, "input", "[1, 1, 1, 28, 28]"),
        (NETWORK, "input", "784"),
        (NETWORK, "network", "[]"),
        (NETWORK, "network", "linear"),
        (NETWORK, "steps", "61"),
        (OF_VALUES, "loss", "softmax_cross_entropy"),
        (OF_VALUES, "loss", "binary_cross_entropy_with_logits"),
        (OF_VALUES, "label_smoothing", "0.1"),
        (TRAINING, "delta", "0.5"),
        (NETWORK, "label_smoothing", "little"),
        (NETWORK, "class_weights", "[1.0, 2.0"),
        (SCHEDULED[0], "scheduler", "exponential_lr"),
        (SCHEDULED[0], "T_max", "40"),
        (SCHEDULED[0], "gamma", "half"),
        (SCHEDULED[0], "step_size", "0"),
        (SCHEDULED[1], "gamma", "0.5"),
        (SCHEDULED[1], "eta_min", "0.1"),
    ] {
        let named: &[&str] = if key == "op" { &[key, value] } else { &[key] };
        assert_refused(&with_key(name, key, Some(value)), named);
    }
}

/// Returns a golden file whose list of layers has one entry replaced.
fn with_layer(index: usize, layer: &str) -> File {
    let file = open(NETWORK);
    let mut layers: Vec<serde_json::Value> =
        serde_json::from_str(&file.metadata["network"]).unwrap();
    layers[index] = serde_json::from_str(layer).unwrap();
    let text = serde_json::to_string(&layers).unwrap();
    with_key(NETWORK, "network", Some(&text))
}

/// Returns a golden file in whose list of layers all layers with 16 outputs get another number of outputs.
fn with_network_of(outputs: usize) -> File {
    let text = open(NETWORK).metadata["network"].replace("16", &outputs.to_string());
    with_key(NETWORK, "network", Some(&text))
}

#[test]
fn golden_options_of_images_that_are_unknown_or_missing_are_refused() {
    let cases = open(IMAGES).metadata["cases"].clone();
    for (old, new, named) in [
        ("\"stride\"", "\"groups\"", "groups"),
        ("\"kernel\": [5, 5]", "\"kernel\": [5, 4]", "kernel"),
        (
            "\"padding\": [2, 2]",
            "\"padding\": [2, 1]",
            "wide_padding.dy",
        ),
        ("\"padding\": [2, 2]", "\"padding\": \"same\"", "cases"),
        ("\"pointwise\"", "\"other\"", "pointwise"),
    ] {
        let changed = cases.replace(old, new);
        assert_ne!(changed, cases, "{old}");
        assert_refused(&with_key(IMAGES, "cases", Some(&changed)), &[named]);
    }
}

#[test]
fn golden_options_of_losses_that_are_unknown_or_wrong_are_refused() {
    for (name, old, new, named) in [
        (HUBER, "\"delta\": 0.5", "\"beta\": 0.5", "beta"),
        (HUBER, "\"delta\": 0.5", "\"delta\": \"half\"", "delta"),
        (HUBER, "\"delta\": 0.5", "\"delta\": 0.0", "delta"),
        (HUBER, "\"half\"", "\"other\"", "half"),
        (
            BINARY,
            "\"soft\": {}",
            "\"soft\": {\"pos_weight\": 2}",
            "pos_weight",
        ),
        (
            ADJUSTED,
            "_smoothing\": 0.1",
            "_smoothing\": 1.1",
            "smoothing",
        ),
        (
            ADJUSTED,
            "\"label_smoothing\"",
            "\"ignore_index\"",
            "ignore_index",
        ),
        (
            ADJUSTED,
            "\"smoothed\": {",
            "\"smoothed\": 3, \"x\": {",
            "smoothed",
        ),
    ] {
        let cases = open(name).metadata["cases"].clone();
        let changed = cases.replace(old, new);
        assert_ne!(changed, cases, "{old}");
        assert_refused(&with_key(name, "cases", Some(&changed)), &[named]);
    }
    let mut file = open(ADJUSTED);
    let weights = file.tensors.get_mut("weighted.class_weights").unwrap();
    *weights = Array {
        shape: vec![3],
        data: Data::F32(vec![1.0; 3]),
    };
    assert_refused(&file, &["class weights", "4"]);
    for (key, value) in [
        ("class_weights", "[1.0, 2.0]"),
        ("class_weights", "[1.0, 2.0, -1.0]"),
        ("class_weights", "1.0"),
        ("label_smoothing", "1.5"),
    ] {
        let file = with_key("weighted_sgd.safetensors", key, Some(value));
        assert_refused(&file, &["metadata key \""]);
    }
    let file = with_key("outliers_sgd.safetensors", "delta", Some("-1"));
    assert_refused(&file, &["delta", "above 0"]);
    // The targets are outside 0…1.
    let file = with_key(
        "outliers_sgd.safetensors",
        "loss",
        Some("binary_cross_entropy_with_logits"),
    );
    assert_refused(&file, &["loss", "0 to 1"]);
}

#[test]
fn golden_layers_that_are_not_known_are_refused_by_name() {
    for (layer, named) in [
        // The input of a layer for images is not an image.
        (
            r#"{"layer": "conv2d", "outputs": 6, "kernel": [5, 5], "stride": [1, 1], "padding": [0, 0]}"#,
            "an image",
        ),
        (
            r#"{"layer": "max_pool2d", "kernel": [2, 2], "stride": [2, 2]}"#,
            "an image",
        ),
        (r#"{"layer": "avg_pool2d", "kernel": [2, 2]}"#, "an image"),
        (r#"{"layer": "conv2d", "kernel": [5, 5]}"#, "outputs"),
        (r#"{"layer": "max_pool2d", "stride": [2, 2]}"#, "kernel"),
        (r#"{"layer": "max_pool2d", "kernel": [2, 2, 2]}"#, "kernel"),
        (
            r#"{"layer": "avg_pool2d", "kernel": 2, "stride": -1}"#,
            "stride",
        ),
        (
            r#"{"layer": "max_pool2d", "kernel": 2, "dilation": 2}"#,
            "dilation",
        ),
        (
            r#"{"layer": "conv2d", "outputs": 1, "kernel": 2, "groups": 2}"#,
            "groups",
        ),
        (
            r#"{"layer": "batch_norm", "momentum": "cumulative"}"#,
            "momentum",
        ),
        (r#"{"layer": "batch_norm", "affine": false}"#, "affine"),
        (r#"{"layer": "layer_norm", "eps": [1]}"#, "eps"),
        (r#"{"layer": "embedding", "count": 27}"#, "width"),
        (
            r#"{"layer": "embedding", "count": 27, "width": 6, "padding_idx": 0}"#,
            "padding_idx",
        ),
        (r#"{"layer": "relu", "inplace": true}"#, "inplace"),
        (
            r#"{"layer": "linear", "outputs": 16, "bias": false}"#,
            "bias",
        ),
        (r#"{"layer": "linear"}"#, "outputs"),
        (r#"{"layer": "linear", "outputs": 0}"#, "outputs"),
        (r#"{"layer": "linear", "outputs": 1.5}"#, "outputs"),
        (r#"{"layer": "leaky_relu"}"#, "slope"),
        (r#"{"layer": "add", "name": "b"}"#, "\"name\""),
        (r#"{"outputs": 3}"#, "\"layer\""),
    ] {
        assert_refused(&with_layer(3, layer), &["layer 3", named]);
    }
    // The network adds two values of different widths, or has a layer that does not fit the tensors.
    assert_refused(
        &with_layer(4, r#"{"layer": "linear", "outputs": 17}"#),
        &["16", "17"],
    );
    let named = ["evaluated", "[200, 11]", "[200, 10]"];
    assert_refused(
        &with_layer(7, r#"{"layer": "linear", "outputs": 11}"#),
        &named,
    );
    let named = ["layers.0.weight", "[17, 784]", "[16, 784]"];
    assert_refused(&with_network_of(17), &named);
}

#[test]
fn golden_keys_of_metadata_that_are_unknown_are_refused() {
    for name in [OP, TRAINING, WITH_MOMENTUM, WITH_ADAM, NETWORK] {
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
        (
            NETWORK,
            &[
                "input",
                "network",
                "data",
                "loss",
                "optimizer",
                "learning_rate",
            ],
        ),
        (SCHEDULED[0], &["step_size", "gamma"]),
        (SCHEDULED[1], &["T_max"]),
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
    let of_network = [
        "init.layers.0.weight",
        "init.layers.7.bias",
        "indices",
        "losses",
        "first_gradient.layers.4.weight",
        "final.layers.2.bias",
        "evaluated",
    ];
    for (name, tensors) in [
        (
            OP,
            ["3x5x7.x", "3x5x7.b", "1x1x1.dw", "64x64x64.y"].as_slice(),
        ),
        (TRAINING, &of_training),
        (NETWORK, &of_network),
        (OF_VALUES, &["x", "t", "init.layers.13.bias", "evaluated"]),
        (HUBER, &["one.x", "half.targets", "half.loss", "one.dx"]),
        (ADJUSTED, &["smoothed.x", "weighted.labels", "weighted.dx"]),
    ] {
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
    let bytes = std::fs::read(own().join(OP)).unwrap();
    std::fs::write(
        directory.path().join("cut.safetensors"),
        &bytes[..bytes.len() / 2],
    )
    .unwrap();
    let (_, failures) = check_all(directory.path(), gpu(), None);
    assert!(failures[0].contains("cut.safetensors"), "{failures:?}");
}

/// For each tensor in `spoiled`, adds 1e-3 to one element (for `evaluated`: 1e-3 of the largest element). Asserts that
/// at least `engines` engines are compared, and that each of them fails.
fn assert_caught(name: &str, spoiled: &[&str], engines: usize) {
    let mut file = open(name);
    for &tensor in spoiled {
        let Data::F64(values) = &mut file.tensors.get_mut(tensor).unwrap().data else {
            panic!("{tensor} is not expected, but given");
        };
        let largest = values
            .iter()
            .fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let middle = values.len() / 2;
        values[middle] += 1e-3 * if tensor == "evaluated" { largest } else { 1.0 };
    }
    let mut table = Table::default();
    let mnist = common::mnist();
    check(&file, gpu(), mnist.as_ref(), &mut table).unwrap();
    for tensor in spoiled {
        // The name of the compared quantity in the report: `final` for `final.w1`, `y` for `3x5x7.y`.
        let roles = ["first_gradient", "final"];
        let what = match tensor.split_once('.') {
            Some(("final", of)) if of.contains(".running_") => "final_state",
            Some((role, _)) if roles.contains(&role) => role,
            Some((_, what)) => what,
            None => tensor,
        };
        let is_other = |row: &Row| what == "final" && row.what == "final_state";
        let is_of_tensor = |row: &Row| row.what.starts_with(what) && !is_other(row);
        let of_tensor = table.rows.iter().filter(|row| is_of_tensor(row));
        let of_tensor: Vec<&Row> = of_tensor.collect();
        assert!(of_tensor.len() >= engines, "{tensor} of {name}");
        let passed = of_tensor.iter().find(|row| row.share() <= 1.0);
        assert!(passed.is_none(), "{tensor} of {name}: {passed:?}");
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
    let of_pools = ["book.y", "overlapping.dx", "odd.dx", "after_relu.y"];
    assert_caught("max_pool2d.safetensors", &of_pools, 3);
    assert_caught("avg_pool2d.safetensors", &of_pools, 3);
    let of_images = ["same.y", "strided.dx", "pointwise.dweight", "one.dbias"];
    assert_caught(IMAGES, &of_images, 4);
    let of_loss = ["batch.loss", "wide.dy"];
    assert_caught("mean_squared_error.safetensors", &of_loss, 3);
    assert_caught(HUBER, &["half.loss", "one.dx"], 3);
    assert_caught(BINARY, &["soft.loss", "labels.dx", "extreme.dx"], 3);
    let of_loss = ["smoothed.loss", "weighted.dx"];
    assert_caught(ADJUSTED, &of_loss, 3);
    let of_loss = ["both.loss", "one.dx", "wide.dx"];
    assert_caught("softmax_cross_entropy_combined.safetensors", &of_loss, 3);
    let of_step = ["rows.y", "images.dx", "images.dweight", "rows.dbias"];
    assert_caught("batch_norm.safetensors", &of_step, 3);
    let after = ["rows.running_mean_after", "images.running_var_after"];
    assert_caught("batch_norm.safetensors", &after, 3);
    assert_caught("batch_norm.safetensors", &["rows.evaluated"], 3);
    let of_step = ["rows.y", "wide.dx", "rows.dweight", "one.dbias"];
    assert_caught("layer_norm.safetensors", &of_step, 3);
    let of_step = ["characters.y", "repeats.dweight"];
    assert_caught("embedding.safetensors", &of_step, 3);
}

#[test]
fn golden_values_of_trainings_on_tensors_that_are_off_by_a_thousandth_are_caught() {
    let of_run = [
        "losses",
        "first_gradient.layers.1.weight",
        "final.layers.4.bias",
        "evaluated",
    ];
    assert_caught(OF_VALUES, &of_run, 5);
    let of_run = [
        "losses",
        "first_gradient.layers.0.weight",
        "final.layers.2.bias",
        "evaluated",
    ];
    let of_losses = ["labels_sgd", "outliers_sgd", "weighted_sgd"];
    let of_losses = of_losses.map(|name| format!("{name}.safetensors"));
    for name in SCHEDULED
        .into_iter()
        .chain(of_losses.iter().map(String::as_str))
    {
        assert_caught(name, &of_run, 5);
    }
    // The first gradient is left out. Three normalizations over a few rows may amplify `f32` roundings to a thousandth
    // of it, so a change of 1e-3 might not be detected.
    let of_run = [
        "losses",
        "final.layers.4.weight",
        "final.layers.5.running_mean",
        "evaluated",
    ];
    assert_caught("residual_images_momentum.safetensors", &of_run, 5);
    let of_run = [
        "losses",
        "first_gradient.layers.8.weight",
        "final.layers.1.bias",
        "evaluated",
    ];
    assert_caught("normalized_images_rms_prop.safetensors", &of_run, 5);
    let of_run = [
        "losses",
        "first_gradient.layers.0.weight",
        "final.layers.2.weight",
        "evaluated",
    ];
    assert_caught("characters_adamw.safetensors", &of_run, 5);
}

#[test]
fn golden_values_of_trainings_that_are_off_by_a_thousandth_are_caught() {
    if common::mnist().is_some() {
        let of_run = ["losses", "first_gradient.w1", "final.b2", "test_accuracy"];
        assert_caught(TRAINING, &of_run, 6);
        // This network cannot be fused, so one engine fewer is compared.
        let of_run = [
            "losses",
            "first_gradient.layers.0.weight",
            "final.layers.7.bias",
            "evaluated",
        ];
        assert_caught(NETWORK, &of_run, 5);
        let of_run = [
            "losses",
            "first_gradient.layers.6.weight",
            "final.layers.4.running_var",
            "evaluated",
        ];
        assert_caught("batch_norm_mlp_sgd.safetensors", &of_run, 5);
    }
}
