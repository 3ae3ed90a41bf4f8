//! The values between the layers of a network, and their memory.

use std::sync::Arc;

use wgrad::data::Table;
use wgrad::kernel::Element;
use wgrad::ndarray::{Array2, Axis, concatenate, s};
use wgrad::ops::{Layer, Linear, MeanSquaredError, Relu, Sgd, Tanh};
use wgrad::tensor::Tensor;
use wgrad::{Sequential, Shape, Trainer, cpu};

use super::{SAMPLING, rows, surface};
use crate::gpu::gpu;

/// Returns a network whose values are added, concatenated, read three times, and used twice by one layer.
fn branched() -> Sequential {
    let shared: Arc<dyn Layer> = Arc::new(Linear::new(6));
    let network = Sequential::input(4)
        .layer(Linear::new(6))
        .layer(Relu)
        .named("trunk");
    let network = network
        .layer(shared.clone())
        .layer(Tanh)
        .add("trunk")
        .named("block");
    let network = network
        .layer(shared)
        .layer(Relu)
        .concat("trunk")
        .concat("block");
    network.layer(Linear::new(2)).seed(4)
}

#[test]
fn activations_are_the_formulas_of_each_value() {
    let spec = branched();
    let model = spec.build(gpu()).unwrap();
    let x = rows(5, 4);
    let found = model.activations(x.view()).unwrap();
    let names: Vec<_> = found.iter().map(|of| of.name.as_str()).collect();
    assert_eq!(names[..4], ["input", "layers.0", "trunk", "layers.2"]);
    assert_eq!(found.len(), spec.layers().len() + 4);
    assert_eq!(found[0].values, x);

    let parameters = model.parameters().unwrap();
    let linear = |x: &Array2<f32>, layer: usize| {
        let weight = parameters[&*format!("layers.{layer}.weight")].view();
        let weight = weight.into_dimensionality().unwrap();
        let bias = parameters[&*format!("layers.{layer}.bias")].view();
        let bias = bias.into_dimensionality::<wgrad::ndarray::Ix1>().unwrap();
        x.dot::<wgrad::ndarray::ArrayView2<'_, f32>>(&weight) + bias
    };
    let relu = |x: Array2<f32>| x.mapv(|x| x.max(0.0));
    let trunk = relu(linear(&x, 0));
    let block = linear(&trunk, 2).mapv(f32::tanh) + &trunk;
    let again = relu(linear(&block, 2));
    let joined = concatenate![Axis(1), again.view(), trunk.view(), block.view()];
    let last = linear(&joined, 6);
    let of = |name: &str| found.iter().find(|of| of.name == name).unwrap();
    for (name, expected) in [("trunk", &trunk), ("block", &block), ("layers.5", &again)] {
        assert_near(&of(name).values, expected);
    }
    // The input of a `Relu` is available, although a training does not store it.
    assert!(of("layers.4").values.iter().any(|&value| value < 0.0));
    let output = &found[found.len() - 1];
    assert_eq!(
        (output.shape, output.values.dim()),
        (Shape::from(2), (5, 2))
    );
    assert_near(&output.values, &last);
    assert_near(&model.predict(x.view()).unwrap(), &last);

    let network = cpu::Network::<f32>::new(&spec).unwrap();
    let on_cpu = network.activations(x.view()).unwrap();
    assert_eq!(on_cpu.len(), found.len());
    for (on_cpu, found) in on_cpu.iter().zip(&found) {
        assert_eq!((&on_cpu.name, on_cpu.shape), (&found.name, found.shape));
        assert_near(&on_cpu.values, &found.values);
    }
}

/// Asserts that two matrices are close. The tolerance is the error of sums of at most 18 products of numbers around 1.
fn assert_near(found: &Array2<f32>, expected: &Array2<f32>) {
    assert_eq!(found.dim(), expected.dim());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

/// Several inputs behave like one row of features that contains them side by side.
#[test]
fn inputs_are_parts_of_a_row_of_features() {
    let two = Sequential::input(3).named("first").another_input(2);
    let two = two
        .layer(Linear::new(32))
        .layer(Tanh)
        .concat("first")
        .layer(Linear::new(1))
        .seed(6);
    let model = two.build(gpu()).unwrap();
    assert_eq!(model.features(), 5);
    let x = rows(7, 5);
    let outputs = model.predict(x.view()).unwrap();
    assert_near(
        &cpu::Network::<f32>::new(&two)
            .unwrap()
            .predict(x.view())
            .unwrap(),
        &outputs,
    );
    let activations = model.activations(x.view()).unwrap();
    assert_eq!(activations[0].values, x.slice(s![.., ..3]));
    assert_eq!(activations[1].values, x.slice(s![.., 3..]));
    assert_eq!(activations[1].name, "inputs.1");
    // Only the second input goes through the first layer.
    let mut other = x.clone();
    other.slice_mut(s![.., ..3]).fill(0.0);
    let changed = model.activations(other.view()).unwrap();
    assert_eq!(changed[2].values, activations[2].values);
    assert_ne!(changed[changed.len() - 1].values, outputs);

    // The target is a linear function of the first input, but not of the second.
    let x = rows(200, 5);
    let y = Array2::from_shape_fn((200, 1), |(row, _)| {
        x[[row, 0]] - 0.5 * x[[row, 2]] + (3.0 * x[[row, 3]]).sin() * x[[row, 4]]
    });
    let table = Table::regression("parts", x.view(), y.view()).unwrap();
    let mut trainer =
        Trainer::new(model, MeanSquaredError, Sgd::new(0.1), &table, 20, SAMPLING).unwrap();
    let losses = trainer.steps(2_000).unwrap();
    let ends = [&losses[..20], &losses[1_980..]].map(|part| part.iter().sum::<f32>());
    assert!(ends[1] < 0.3 * ends[0], "{ends:?}");
}

/// Both engines train a network with branches in the same way.
#[test]
fn engines_train_branches_alike() {
    let table = surface(200, 4);
    let spec = {
        let network = branched();
        network.layer(Linear::new(1))
    };
    let loss = MeanSquaredError;
    let rate = 0.02;
    let model = spec.build(gpu()).unwrap();
    let mut on_gpu = Trainer::new(model, loss, Sgd::new(rate), &table, 20, SAMPLING).unwrap();
    let mut on_cpu = cpu::Trainer::new(
        cpu::Network::<f64>::new(&spec).unwrap(),
        loss,
        Sgd::new(rate),
        &table,
        20,
        SAMPLING,
    )
    .unwrap();
    let found = on_gpu.steps(50).unwrap();
    let expected = on_cpu.steps(50).unwrap();
    for (step, (&found, &expected)) in found.iter().zip(&expected).enumerate() {
        let apart = (f64::from(found) - expected).abs();
        assert!(
            apart < 1e-4 * (1.0 + expected),
            "step {step}: {found} {expected}"
        );
    }
    assert!(expected[49] < 0.7 * expected[0]);
    // With the same seed, two trainings have the same bits.
    let model = spec.build(gpu()).unwrap();
    let mut again = Trainer::new(model, loss, Sgd::new(rate), &table, 20, SAMPLING).unwrap();
    assert_eq!(again.steps(50).unwrap(), found);
}

/// A wide network is applied to all pixels of a screen. Its values do not fit into one binding, so it takes the rows in
/// parts.
#[test]
fn a_full_screen_goes_through_in_parts() {
    let gpu = gpu();
    let spec = Sequential::input(6).layer(Linear::new(64)).layer(Relu);
    let spec = spec
        .layer(Linear::new(64))
        .layer(Relu)
        .layer(Linear::new(3))
        .seed(1);
    let model = spec.build(gpu).unwrap();
    let pixels = 1920 * 1080;
    let x = rows(pixels, 6);
    let input = Tensor::zeros(gpu, "x", [pixels, 6], Element::F32).unwrap();
    let output = Tensor::zeros(gpu, "y", [pixels, 3], Element::F32).unwrap();
    gpu.write(&input, x.as_slice().unwrap()).unwrap();
    let plan = model.forward_plan(&input, &output).unwrap();
    gpu.submit(&plan, 1).unwrap();
    let found: Vec<f32> = gpu.read(&output).unwrap();
    let network = cpu::Network::<f32>::new(&spec).unwrap();
    for first in [0, 123_456, pixels - 10] {
        let expected = network.predict(x.slice(s![first..first + 10, ..])).unwrap();
        let found = &found[3 * first..3 * (first + 10)];
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}

/// The plans of a model run one after another, so they share the memory for the values between layers.
#[test]
fn plans_of_a_model_do_not_disturb_each_other() {
    let gpu = gpu();
    let model = branched().build(gpu).unwrap();
    let inputs = [rows(3, 4), rows(9, 4), rows(5, 4)];
    let tensors = inputs.each_ref().map(|x| {
        let tensor =
            |label, columns| Tensor::zeros(gpu, label, [x.nrows(), columns], Element::F32).unwrap();
        let input = tensor("x", 4);
        let output = tensor("y", 2);
        gpu.write(&input, x.as_slice().unwrap()).unwrap();
        (input, output)
    });
    let plans = tensors
        .each_ref()
        .map(|(x, y)| model.forward_plan(x, y).unwrap());
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        plans.iter().for_each(|plan| plan.encode(&mut pass));
    }
    gpu.queue().submit([encoder.finish()]);
    for ((_, output), x) in tensors.iter().zip(&inputs) {
        let found = Array2::from_shape_vec((x.nrows(), 2), gpu.read(output).unwrap()).unwrap();
        assert_near(&found, &model.predict(x.view()).unwrap());
    }
}
