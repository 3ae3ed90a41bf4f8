//! Files from earlier versions of the crate.

use wgrad::checkpoint::Changes;
use wgrad::ops::{Adam, AdamW, Group, Optimizer, Schedule, SoftmaxCrossEntropy};
use wgrad::{Fusion, cpu};

use super::{BATCH, dataset, sampling, spec, trainer};
use crate::gpu::gpu;
use crate::parts::{Metadata, Tensors, parts, whole};

/// A checkpoint file of a training before its first step.
const START: &[u8] = include_bytes!("files/start.safetensors");
/// A checkpoint file of the same training after five steps.
const STEP_5: &[u8] = include_bytes!("files/step_5.safetensors");

fn optimizer() -> impl Optimizer {
    Adam::new(1e-2).scheduled(Schedule::cosine(50).warm_up(9))
}

fn on_cpu() -> cpu::Trainer<f32> {
    cpu::Trainer::new(
        cpu::Network::<f32>::new(&spec()).unwrap(),
        SoftmaxCrossEntropy,
        optimizer(),
        &dataset(),
        BATCH,
        sampling(),
    )
    .unwrap()
}

/// Returns a file's tensors and metadata, without the two metadata keys that earlier versions did not write: the digest
/// and the network's structure.
fn as_before(bytes: &[u8]) -> (Tensors, Metadata) {
    let (tensors, mut metadata) = parts(bytes);
    metadata.remove("structure");
    metadata.remove("sha256");
    (tensors, metadata)
}

#[test]
fn the_same_training_has_the_bytes_of_an_earlier_file() {
    assert!(as_before(&on_cpu().to_safetensors().unwrap()) == as_before(START));
    let on_gpu = trainer(gpu(), Box::new(optimizer()), Fusion::Auto);
    assert!(as_before(&on_gpu.to_safetensors().unwrap()) == as_before(START));
}

#[test]
fn a_training_goes_on_from_an_earlier_file() {
    let mut here = on_cpu();
    here.set_safetensors(STEP_5).unwrap();
    assert_eq!(here.steps_taken(), 5);
    assert!(as_before(&here.to_safetensors().unwrap()) == as_before(STEP_5));
    for fusion in [Fusion::Layers, Fusion::Auto] {
        let mut on_gpu = trainer(gpu(), Box::new(optimizer()), fusion);
        on_gpu.set_safetensors(STEP_5).unwrap();
        assert!(as_before(&on_gpu.to_safetensors().unwrap()) == as_before(STEP_5));
    }
}

#[test]
fn weights_of_an_earlier_file_are_taken() {
    let mut expected = on_cpu();
    expected.set_safetensors(STEP_5).unwrap();
    let expected = expected.network().parameters();
    let mut model = spec().build(gpu()).unwrap();
    model.set_safetensors(STEP_5).unwrap();
    assert_eq!(model.parameters().unwrap(), expected);
}

/// Earlier versions also applied weight decay to biases. The error for such a file says so. If the program chooses one
/// of the two behaviors (with or without biases), the training resumes with it.
#[test]
fn a_training_in_which_all_parameters_decayed_says_why_it_does_not_go_on() {
    let trainer = || {
        let network = cpu::Network::<f32>::new(&spec()).unwrap();
        let loss = SoftmaxCrossEntropy;
        let adam_w = AdamW::new(1e-2);
        cpu::Trainer::new(network, loss, adam_w, &dataset(), BATCH, sampling()).unwrap()
    };
    let mut before = trainer();
    before
        .set_group("*", Group::new().weight_decay(0.01))
        .unwrap();
    before.steps(3).unwrap();
    let (tensors, mut metadata) = parts(&before.to_safetensors().unwrap());
    for key in ["decay", "groups"] {
        assert!(metadata.remove(key).is_some(), "{key}");
    }
    let file = whole((tensors, metadata));
    let refused = trainer().set_safetensors(&file).unwrap_err().to_string();
    let expected = "a different default of weight decay: expected weights, found all parameters";
    assert!(refused.contains(expected), "{refused}");

    let mut after = trainer();
    after
        .set_group("*", Group::new().weight_decay(0.01))
        .unwrap();
    after
        .set_safetensors_with(&file, Changes::new().optimizer())
        .unwrap();
    assert_eq!(after.steps(5).unwrap(), before.steps(5).unwrap());
}
