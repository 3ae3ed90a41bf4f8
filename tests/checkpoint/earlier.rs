//! Files that earlier versions of the crate have written.

use wgrad::ops::SoftmaxCrossEntropy;
use wgrad::ops::{Adam, Optimizer, Schedule};
use wgrad::{Fusion, cpu};

use super::{BATCH, dataset, sampling, spec, trainer};
use crate::gpu::gpu;

/// Of a training that has not begun.
const START: &[u8] = include_bytes!("files/start.safetensors");
/// Of the same after five steps.
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

#[test]
fn the_same_training_has_the_bytes_of_an_earlier_file() {
    assert!(on_cpu().to_safetensors().unwrap() == START);
    let on_gpu = trainer(gpu(), Box::new(optimizer()), Fusion::Auto);
    assert!(pollster::block_on(on_gpu.to_safetensors()).unwrap() == START);
}

#[test]
fn a_training_goes_on_from_an_earlier_file() {
    let mut here = on_cpu();
    here.set_safetensors(STEP_5).unwrap();
    assert_eq!(here.steps_taken(), 5);
    assert!(here.to_safetensors().unwrap() == STEP_5);
    for fusion in [Fusion::Layers, Fusion::Auto] {
        let mut on_gpu = trainer(gpu(), Box::new(optimizer()), fusion);
        on_gpu.set_safetensors(STEP_5).unwrap();
        assert!(pollster::block_on(on_gpu.to_safetensors()).unwrap() == STEP_5);
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
