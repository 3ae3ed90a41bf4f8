//! The contents of a checkpoint file, and which trainings may resume from it.

use wgrad::checkpoint::Changes;
use wgrad::data::{Dataset, Examples, Labels, Sampling, Table};
use wgrad::kernel::Element;
use wgrad::ndarray::{Array2, array};
use wgrad::ops::{
    Adam, Linear, Loss, LossPass, MeanSquaredError, Optimizer, Schedule, Sgd, SoftmaxCrossEntropy,
    TargetKind,
};
use wgrad::plan::Recorder;
use wgrad::tensor::Tensor;
use wgrad::{CheckpointError, Error, Fusion, Sequential, Trainer, cpu, reference};

use super::{BATCH, assert_says, dataset, sampling, spec, trainer};
use crate::gpu::gpu;
use crate::parts::{parts, whole};

fn on_cpu(optimizer: impl Optimizer + 'static, data: &Dataset) -> cpu::Trainer<f32> {
    cpu::Trainer::new(
        cpu::Network::<f32>::new(&spec()).unwrap(),
        SoftmaxCrossEntropy,
        optimizer,
        data,
        BATCH,
        sampling(),
    )
    .unwrap()
}

fn saved(trainer: &Trainer) -> Result<Vec<u8>, Error> {
    trainer.to_safetensors()
}

fn message(refused: Result<(), Error>) -> String {
    let Err(Error::Checkpoint(error)) = refused else {
        panic!("{refused:?}");
    };
    error.to_string()
}

#[test]
fn the_same_training_has_the_same_bytes() {
    let make = || {
        let mut trainer = on_cpu(Adam::new(1e-2), &dataset());
        trainer.steps(3).unwrap();
        trainer.to_safetensors().unwrap()
    };
    let expected = make();
    // A hash map has a random order. If the metadata were written in such an order, the files would differ.
    for _ in 0..50 {
        assert!(make() == expected);
    }
    let header = usize::try_from(u64::from_le_bytes(expected[..8].try_into().unwrap())).unwrap();
    assert_eq!(header % 8, 0, "tensors begin at a multiple of eight bytes");
    let header = std::str::from_utf8(&expected[8..8 + header]).unwrap();
    let keys = [
        "__metadata__",
        "batch",
        "examples",
        "examples_sha256",
        "format",
        "loss",
        "network",
    ];
    let places = keys.map(|key| header.find(&format!("\"{key}\"")).unwrap());
    assert!(places.is_sorted(), "{header}");
}

/// A resumed training may use a data set with another name. It is refused if a pixel, a label, the order or the number
/// of the examples has changed.
#[test]
fn a_training_goes_on_with_the_same_data_under_any_name() {
    let data = dataset();
    let mut first = on_cpu(Sgd::new(0.1), &data);
    first.steps(3).unwrap();
    let file = first.to_safetensors().unwrap();
    let made = |name: &str, features: Vec<u8>, labels: Vec<u32>| {
        let labels = Labels::from_classes(labels, 4).unwrap();
        Dataset::new(name, 48, features, labels).unwrap()
    };
    let features = data.features().to_vec();
    let labels = data.labels().indices().to_vec();
    let renamed = made("elsewhere", features.clone(), labels.clone());
    on_cpu(Sgd::new(0.1), &renamed)
        .set_safetensors(&file)
        .unwrap();

    let mut pixel = features.clone();
    *pixel.last_mut().unwrap() ^= 1;
    let mut label = labels.clone();
    label[7] ^= 1;
    let swapped = [&features[48..], &features[..48]].concat();
    let fewer = (features[..80 * 48].to_vec(), labels[..80].to_vec());
    for (case, other) in [
        ("a pixel", made("pieces", pixel, labels.clone())),
        ("a label", made("pieces", features.clone(), label)),
        ("the order", made("pieces", swapped, labels.clone())),
        ("the number", made("pieces", fewer.0, fewer.1)),
    ] {
        let mut second = on_cpu(Sgd::new(0.1), &other);
        let message = message(second.set_safetensors(&file));
        let named = [
            "other data",
            "found 90 examples with another SHA-256",
            "set_weights",
        ];
        assert_says(&format!("{case}: {message}"), &named);
        assert_eq!(second.steps_taken(), 0);
    }
}

#[test]
fn a_training_on_a_table_is_bound_to_its_values() {
    let spec = Sequential::input(2).layer(Linear::new(1)).seed(1);
    let trainer = |table: &Table| {
        let loss = MeanSquaredError;
        let sampling = Sampling::Shuffled { seed: 1 };
        cpu::Trainer::new(
            cpu::Network::<f32>::new(&spec).unwrap(),
            loss,
            Sgd::new(0.1),
            table,
            2,
            sampling,
        )
        .unwrap()
    };
    let x = array![[0.0, 1.0], [0.5, -1.0]];
    let y = array![[0.5], [1.0]];
    let table = |name: &str, x: &Array2<f32>, y: &Array2<f32>| {
        Table::regression(name, x.view(), y.view()).unwrap()
    };
    let file = trainer(&table("a", &x, &y)).to_safetensors().unwrap();
    let mut other = trainer(&table("b", &x, &y));
    assert!(other.to_safetensors().unwrap() == file);
    other.set_safetensors(&file).unwrap();
    for (x, y) in [(x.clone(), &y + f32::EPSILON), (&x + 1e-6, y)] {
        let refused = trainer(&table("a", &x, &y)).set_safetensors(&file);
        assert_says(
            &message(refused),
            &["other data", "\"a\" (2 examples)", "found 2 examples"],
        );
    }
}

#[test]
fn what_is_not_finite_is_not_saved() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("training.safetensors");
    let mut trainer = trainer(gpu(), Box::new(Adam::new(1e-2)), Fusion::Auto);
    trainer.steps(2).unwrap();
    trainer.save(&path).unwrap();
    let before = std::fs::read(&path).unwrap();
    let good = trainer.model().parameters().unwrap();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut bad = good.clone();
        bad.get_mut("layers.2.weight").unwrap()[[3, 1]] = value;
        trainer.set_parameters(&bad).unwrap();
        let named = [
            "nothing was saved",
            "layers.2.weight",
            &value.to_string(),
            "is unchanged",
        ];
        assert_says(&message(trainer.save(&path)), &named);
        assert_says(&message(saved(&trainer).map(drop)), &named);
        assert_says(&message(trainer.model().save(&path)), &named);
        assert!(std::fs::read(&path).unwrap() == before);
    }
    trainer.resume(&path).unwrap();
}

#[test]
fn what_is_not_finite_is_not_taken() {
    let mut trainer = on_cpu(Adam::new(1e-2), &dataset());
    trainer.steps(2).unwrap();
    let good = trainer.to_safetensors().unwrap();
    for name in [
        "layers.0.weight",
        "layers.2.bias",
        "optimizer.square.layers.0.bias",
    ] {
        for value in [f32::NAN, f32::INFINITY] {
            let (mut tensors, metadata) = parts(&good);
            let tensor = tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap();
            tensor.3[8..12].copy_from_slice(&value.to_le_bytes());
            let bytes = whole((tensors, metadata));
            let named = [name, &value.to_string(), "had failed"];
            assert_says(&message(trainer.set_safetensors(&bytes)), &named);
            if name.starts_with("layers.") {
                assert_says(&message(trainer.set_weights(&bytes)), &named);
            }
            assert!(trainer.to_safetensors().unwrap() == good);
        }
    }
}

#[test]
fn settings_that_differ_are_told_by_what_differs() {
    let scheduled = |rate: f32, steps: u64| {
        let optimizer = Adam::new(rate).scheduled(Schedule::cosine(steps).warm_up(9));
        on_cpu(optimizer, &dataset())
    };
    let file = scheduled(1e-2, 50).to_safetensors().unwrap();
    let told = message(scheduled(1e-2, 80).set_safetensors(&file));
    assert_says(&told, &["optimizer: expected steps: 80, found steps: 50"]);
    assert!(told.len() < 330, "{told}");
    let told = message(scheduled(2e-2, 50).set_safetensors(&file));
    assert_says(
        &told,
        &["learning_rate: 0.02", "found", "learning_rate: 0.01"],
    );
    assert!(!told.contains("Cosine"), "{told}");

    // One error message names all differences, and for each of them the call that allows it.
    let mut averaged = scheduled(2e-2, 50);
    averaged.accumulate(3).unwrap();
    averaged.freeze("layers.0").unwrap();
    averaged.average(0.9).unwrap();
    let told = message(averaged.set_safetensors(&file));
    assert_says(
        &told,
        &[
            "a different batch: expected 3 of",
            "a different grouping of parameters: expected layers.0.weight: rate 1, frozen; layers.0.bias: rate 1, frozen, found none",
            "moving average: expected 0.9, found none",
            "Changes::new().batch().optimizer();",
        ],
    );
    let all = Changes::new().batch().optimizer();
    averaged.set_safetensors_with(&file, all).unwrap();

    let named = |name: &str| {
        let line = Schedule::of(name, |step| 1.0 / (step + 1) as f64);
        on_cpu(Adam::new(1e-2).scheduled(line), &dataset())
    };
    let of_line = named("line").to_safetensors().unwrap();
    named("line").set_safetensors(&of_line).unwrap();
    let told = message(named("wave").set_safetensors(&of_line));
    assert_says(&told, &["\"wave\"", "found", "\"line\""]);

    let mut other = Sequential::input(48)
        .layer(Linear::new(4))
        .build(gpu())
        .unwrap();
    let told = message(other.set_safetensors(&file));
    assert_says(
        &told,
        &["expected 48 → Linear(4), found 48 → Linear(7) → Relu → Linear(4)"],
    );
    // The message must not suggest the call that has just failed.
    assert!(
        !told.contains("load") && !told.contains("set_weights"),
        "{told}"
    );
}

/// The file contains a digest of the list of minibatches, so a training with another list is refused.
#[test]
fn another_list_of_minibatches_is_another_training() {
    let trainer = |list: Vec<u32>| {
        let optimizer = Sgd::new(0.1);
        let sampling = Sampling::Listed(list);
        cpu::Trainer::new(
            cpu::Network::<f32>::new(&spec()).unwrap(),
            SoftmaxCrossEntropy,
            optimizer,
            &dataset(),
            2,
            sampling,
        )
        .unwrap()
    };
    let file = trainer(vec![0, 1, 2, 3]).to_safetensors().unwrap();
    trainer(vec![0, 1, 2, 3]).set_safetensors(&file).unwrap();
    let refused = trainer(vec![0, 1, 3, 2]).set_safetensors(&file);
    assert_says(&message(refused), &["a different sampling", "4 indices"]);
    // The digest of the indices as little-endian words. It is the same on every machine.
    let digest = "baed642339816affb3fe8719792d0e4ce82f12db72b7373d244eaa65445800fe";
    assert_eq!(
        parts(&file).1["sampling"],
        format!("listed, 4 indices, SHA-256 {digest}")
    );
}

/// A loss from outside the crate, with a tensor on the GPU.
#[derive(Debug)]
struct Weighted {
    weights: Tensor,
    gpu: wgrad::Gpu,
}

impl Loss for Weighted {
    fn describe(&self) -> String {
        format!("Weighted {{ classes: {} }}", self.weights.len())
    }

    fn targets(&self) -> TargetKind {
        TargetKind::Classes
    }

    fn forward_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: LossPass<'_>,
    ) -> Result<(), Error> {
        assert!(self.weights.len() > 0 && self.gpu.limits().max_bind_groups > 0);
        SoftmaxCrossEntropy.forward_backward(recorder, pass)
    }

    fn reference(&self) -> reference::Criterion {
        SoftmaxCrossEntropy.reference()
    }
}

#[test]
fn a_loss_that_holds_a_tensor_goes_on() {
    let trainer = |classes| {
        let weights = Tensor::zeros(gpu(), "class weights", [1, classes], Element::F32).unwrap();
        let loss = Weighted {
            weights,
            gpu: gpu().clone(),
        };
        let model = spec().build(gpu()).unwrap();
        let data = Examples::from(&dataset());
        Trainer::new(model, loss, Sgd::new(0.1), data, BATCH, sampling()).unwrap()
    };
    let mut first = trainer(4);
    first.steps(3).unwrap();
    let file = saved(&first).unwrap();
    let mut second = trainer(4);
    second.set_safetensors(&file).unwrap();
    assert_eq!(saved(&second).unwrap(), file);
    let refused = trainer(5).set_safetensors(&file);
    assert_says(
        &message(refused),
        &["expected Weighted { classes: 5 }, found Weighted { classes: 4 }"],
    );
}

#[test]
fn weights_alone_are_no_training() {
    let trainer = on_cpu(Sgd::new(0.1), &dataset());
    let model = spec().build(gpu()).unwrap();
    let weights = model.to_safetensors().unwrap();
    let mut other = trainer;
    let refused = other.set_safetensors(&weights);
    assert!(matches!(
        refused,
        Err(Error::Checkpoint(CheckpointError::NoTraining {
            is_ours: true
        }))
    ));
    assert_says(
        &message(refused),
        &["no training", "set_weights", "Trainer::save"],
    );
    other.set_weights(&weights).unwrap();
}
