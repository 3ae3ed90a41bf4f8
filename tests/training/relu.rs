//! A `Relu` that is part of a product gives the same bits as a `Relu` with its own kernels.

use wgrad::kernel::Element;
use wgrad::ndarray::Array2;
use wgrad::ops::{Conv2d, Layer, Linear, Relu};
use wgrad::tensor::Tensor;
use wgrad::{Fusion, Gpu, Init, Model, Sequential};

use super::plans::{GPUS, Mine, dataset, trainer};

/// A case: the number of rows, the number of inputs, the layers (the number of outputs of a linear layer, or `None` for
/// a `Relu`), and the number of dispatches that a step saves.
type Case = (usize, usize, &'static [Option<usize>], usize);

const CASES: [Case; 9] = [
    (
        100,
        784,
        &[Some(300), None, Some(70), None, Some(10)],
        2 + 2,
    ),
    // On a GPU, these products use the two largest tiles.
    (512, 16, &[Some(512), None, Some(10)], 1 + 1),
    (640, 8, &[Some(6656), None, Some(2)], 1 + 1),
    // Before the first linear layer, no gradient with respect to the input is needed.
    (30, 61, &[None, Some(9), None, Some(4)], 1 + 1),
    (30, 61, &[None, Some(9)], 0),
    // At the end of a network, no linear layer follows the `Relu`.
    (30, 61, &[Some(17), None, Some(4), None], 2 + 1),
    (30, 61, &[Some(4), None], 1),
    // Of two consecutive `Relu`s, the first is part of the product before them, and the second is part of the product
    // after them.
    (30, 61, &[Some(17), None, None, Some(33), Some(4)], 1 + 1),
    // The widths grow and shrink, and the gradients alternate between the same two pieces of memory.
    (
        13,
        5,
        &[
            Some(90),
            None,
            Some(3),
            None,
            Some(80),
            Some(70),
            None,
            Some(2),
        ],
        3 + 3,
    ),
];

fn spec(inputs: usize, layers: &[Option<usize>], relu: &(impl Layer + Clone)) -> Sequential {
    let spec = Sequential::input(inputs).seed(4);
    layers.iter().fold(spec, |spec, &layer| match layer {
        Some(outputs) => spec.layer(Linear::new(outputs).weight_init(Init::Normal { std: 0.3 })),
        None => spec.layer(relu.clone()),
    })
}

/// Predicts by a forward plan whose input and output tensors belong to the caller.
fn planned(gpu: &Gpu, model: &Model, x: &Array2<f32>, outputs: usize) -> Vec<f32> {
    let zeros = |label, shape| Tensor::zeros(gpu, label, shape, Element::F32).unwrap();
    let given = zeros("x", x.dim().into());
    let y = zeros("y", [x.nrows(), outputs]);
    let values: Vec<f32> = x.iter().copied().collect();
    gpu.write(&given, &values).unwrap();
    gpu.submit(&model.forward_plan(&given, &y).unwrap(), 1)
        .unwrap();
    gpu.read(&y).unwrap()
}

#[test]
fn a_relu_in_products_gives_the_bits_of_one_alone() {
    for (kind, gpu) in &*GPUS {
        for case @ (rows, inputs, layers, saved) in CASES {
            let outputs = *layers.iter().flatten().last().unwrap();
            let data = dataset(inputs, outputs);
            let x = Array2::from_shape_fn((7, inputs), |(row, column)| {
                ((row * 31 + column * 17) % 23) as f32 / 11.0 - 1.0
            });
            let run = |spec: &Sequential| {
                let mut trainer = trainer(gpu, spec, &data, rows, Fusion::Layers);
                let losses = trainer.steps(3).unwrap();
                let model = trainer.model();
                let parameters = model.parameters().unwrap();
                let predicted = model.predict(x.view()).unwrap();
                let predicted: Vec<f32> = predicted.iter().copied().collect();
                assert_eq!(planned(gpu, model, &x, outputs), predicted);
                ((losses, parameters), predicted, trainer.plan().len())
            };
            let (merged, predicted, dispatches) = run(&spec(inputs, layers, &Relu));
            let (alone, expected, before) = run(&spec(inputs, layers, &Mine(Relu)));
            assert!(merged == alone, "{kind:?}, {case:?}");
            // The predictions with the crate's `Relu` may use a fused head, whose sums have another order. Each of two
            // layers sums at most 64 terms. Each term has an error of half a unit in the last place of a number that is
            // no larger than the outputs.
            let largest = expected
                .iter()
                .fold(1.0, |all: f32, value| all.max(value.abs()));
            let bound = 2.0 * 64.0 * largest / (1 << 24) as f32;
            for (predicted, expected) in predicted.iter().zip(&expected) {
                let distance = (predicted - expected).abs();
                assert!(
                    distance <= bound,
                    "{kind:?}, {case:?}: {predicted}, {expected}"
                );
            }
            assert_eq!(dispatches + saved, before, "{kind:?}, {case:?}");
        }
    }
}

/// In a forward pass, a `Relu` after a convolution is part of the convolution's kernel. In a backward pass, a `Relu`
/// before a `Linear` is part of that layer's kernel; here, this is so for the second `Relu` only.
#[test]
fn a_relu_in_convolutions_gives_the_bits_of_one_alone() {
    fn spec(relu: &(impl Layer + Clone)) -> Sequential {
        let conv = |outputs| Conv2d::new(outputs, 3).padding(1);
        let network = Sequential::input([1, 8, 9]).seed(4).layer(conv(5));
        let network = network
            .layer(relu.clone())
            .layer(conv(18))
            .layer(relu.clone());
        network.layer(Linear::new(4))
    }
    for (kind, gpu) in &*GPUS {
        let data = dataset(72, 4);
        let run = |spec: &Sequential| {
            let mut trainer = trainer(gpu, spec, &data, 30, Fusion::Layers);
            let losses = trainer.steps(3).unwrap();
            let parameters = trainer.model().parameters().unwrap();
            let x = Array2::from_shape_fn((7, 72), |(row, column)| {
                ((row * 31 + column * 17) % 23) as f32 / 11.0 - 1.0
            });
            let predicted = trainer.model().predict(x.view()).unwrap();
            ((losses, parameters, predicted), trainer.plan().len())
        };
        let (merged, dispatches) = run(&spec(&Relu));
        let (alone, before) = run(&spec(&Mine(Relu)));
        assert!(merged == alone, "{kind:?}");
        assert_eq!(dispatches + 2 + 1, before, "{kind:?}");
    }
}
