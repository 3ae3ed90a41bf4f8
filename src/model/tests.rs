#![allow(clippy::unwrap_used)]

use ndarray::{Array2, ArrayView2};

use super::{Model, TrainingPass};
use crate::data::Table;
use crate::gpu::Gpu;
use crate::kernel::Element;
use crate::network::Wanted;
use crate::ops::head::Head;
use crate::ops::{Linear, MeanSquaredError, Tanh};
use crate::tensor::Tensor;
use crate::{Sequential, cpu};

/// A chain of layers with 32, 32, 8, 8 and 3 outputs.
fn chain() -> Sequential {
    let start = Sequential::input(6).layer(Linear::new(32)).layer(Tanh);
    start
        .layer(Linear::new(8))
        .layer(Tanh)
        .layer(Linear::new(3))
}

fn plan(gpu: &Gpu, model: &Model, rows: usize) {
    let tensor = |label, columns| Tensor::zeros(gpu, label, [rows, columns], Element::F32);
    let x = tensor("x", 6).unwrap();
    let y = tensor("y", 3).unwrap();
    model.forward_plan(&x, &y).unwrap();
}

fn table(rows: usize) -> Table {
    let x = Array2::zeros((rows, 6));
    let y = Array2::zeros((rows, 3));
    Table::regression("zeros", x.view(), y.view()).unwrap()
}

/// Returns the number of elements of each memory block that the forward passes of a model share.
fn scratch(model: &Model) -> Vec<usize> {
    let scratch = crate::gpu::lock(&model.scratch);
    scratch.iter().map(Tensor::len).collect()
}

/// A chain of layers uses two blocks alternately. Each block is as large as the largest value stored in it.
#[test]
fn all_forward_passes_of_a_model_share_two_blocks() {
    let gpu = crate::testing::gpu();
    let model = chain().build(gpu).unwrap();
    assert_eq!(scratch(&model), [0; 0]);
    plan(gpu, &model, 7);
    assert_eq!(scratch(&model), [7 * 32; 2]);
    for rows in [100, 33, 1] {
        plan(gpu, &model, rows);
        assert_eq!(scratch(&model), [100 * 32; 2]);
    }
    model.evaluate(&MeanSquaredError, &table(60)).unwrap();
    model.predict(Array2::zeros((20, 6)).view()).unwrap();
    assert_eq!(scratch(&model), [100 * 32; 2]);
    model.evaluate(&MeanSquaredError, &table(150)).unwrap();
    model.predict(Array2::zeros((200, 6)).view()).unwrap();
    assert_eq!(scratch(&model), [200 * 32; 2]);
}

#[test]
fn a_model_that_is_not_trained_has_its_parameters_alone() {
    // This test needs its own device, on which no other test allocates memory.
    let gpu = Gpu::new().unwrap();
    let model = chain().build(&gpu).unwrap();
    assert_eq!(allocated(&gpu), ["parameters.0"]);
    drop(model);
}

/// Returns the names of all allocations of a device.
fn allocated(gpu: &Gpu) -> Vec<String> {
    let device = gpu.device();
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let report = device.generate_allocator_report().unwrap();
    let names = report.allocations.into_iter().map(|it| it.name);
    let mut own: Vec<_> = names
        .filter(|name| !name.starts_with("(wgpu internal)"))
        .collect();
    own.sort_unstable();
    own
}

/// The first layer has more inputs than a layer of a head may have, so the head begins after it.
#[test]
fn what_lies_in_a_fused_head_has_no_memory() {
    let gpu = Gpu::new().unwrap();
    let spec = Sequential::input(200).layer(Linear::new(64));
    let spec = spec.layer(Linear::new(64)).layer(Tanh);
    let model = spec.layer(Linear::new(3)).build(&gpu).unwrap();
    let head = model.head(Head::form_for(&gpu)).unwrap();
    let features = model.features_tensor(10, Element::F32).unwrap();
    let wanted = Wanted::parameters(&model.graph);
    let allocated_for = |head| {
        let pass = TrainingPass::new(&model, &features, &wanted, head).unwrap();
        let mut names = allocated(&gpu);
        drop(pass);
        let of_pass = ["values.", "gradients by values"];
        names.retain(|name| of_pass.iter().any(|start| name.starts_with(start)));
        names
    };
    let [block, other] = [0, 1].map(|slot| format!("gradients by values, block {slot}"));
    let mut values: Vec<_> = (1..5).map(|index| format!("values.{index}")).collect();
    assert_eq!(
        allocated_for(None),
        [&[block.clone(), other], &values[..]].concat()
    );
    values.truncate(1);
    assert_eq!(allocated_for(Some(&head)), [&[block], &values[..]].concat());
}

#[test]
fn activations_of_no_rows_are_empty_on_both_engines() {
    let none = Array2::zeros((0, 6));
    let model = chain().build(crate::testing::gpu()).unwrap();
    let network = cpu::Network::<f32>::new(&chain()).unwrap();
    let found = model.activations(none.view()).unwrap();
    let expected = network.activations(none.view()).unwrap();
    assert_eq!((found.len(), expected.len()), (6, 6));
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!((&found.name, found.shape), (&expected.name, expected.shape));
        assert_eq!(found.values.dim(), (0, found.shape.len()));
        assert_eq!(found.values, expected.values);
    }
    let wide: ArrayView2<'_, f32> = ArrayView2::from_shape((0, 5), &[]).unwrap();
    assert!(model.activations(wide).is_err());
}

/// The CPU engine and the GPU engine read each other's files.
#[test]
fn networks_and_models_have_the_same_files() {
    let mut model = chain().seed(1).build(crate::testing::gpu()).unwrap();
    let mut network = cpu::Network::<f32>::new(&chain().seed(2)).unwrap();
    let own = network.to_safetensors().unwrap();
    let file = model.to_safetensors().unwrap();
    network.set_safetensors(&file).unwrap();
    assert_eq!(network.parameters(), model.parameters().unwrap());
    assert_eq!(network.to_safetensors().unwrap(), file);
    model.set_safetensors(&own).unwrap();
    assert_eq!(model.to_safetensors().unwrap(), own);
    assert!(network.set_safetensors(&own[1..]).is_err());
    assert_eq!(network.to_safetensors().unwrap(), file);
}
