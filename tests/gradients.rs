//! Gradients. Those of the reference are compared with central differences, and those of the GPU with the reference.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/bounds.rs"]
mod bounds;
#[path = "common/gpu.rs"]
mod gpu;
#[path = "gradients/graphs.rs"]
mod graphs;
#[path = "common/layers.rs"]
mod layers;

use proptest::prelude::*;
use wgrad::data::Labels;
use wgrad::ndarray::Array2;
use wgrad::ops::{
    AvgPool2d, Conv2d, Flatten, Layer, LayerSpec, Linear, MaxPool2d, Relu, Response, Sigmoid,
    SoftmaxCrossEntropy, Tanh,
};
use wgrad::reference::{self, Backward, Draw, Float, Forward, Mode, softmax_cross_entropy};
use wgrad::{Init, Model, Sequential, Shape, Targets, TensorShape};

use bounds::{Activation, Bounded};
use gpu::{Numbers, assert_close, gpu};
use layers::Case;

type Matrix = Array2<f64>;

/// The step h of the central differences. Their error is h²/6 times a third derivative, plus the rounding error of a
/// loss divided by h.
const H: f64 = 1.0 / (1 << 17) as f64;
/// A bound on the sum of both errors, for losses and third derivatives up to a few thousand.
const DIFFERENCES: f64 = 1e-7;

/// Returns values for the state of a layer. They are between ½ and 1½, so that variances are positive.
fn near_one(numbers: &mut Numbers, shape: [usize; 2]) -> Matrix {
    random(numbers, shape) / 2.0 + 1.0
}

/// A chain of layers. Its loss is a sum of all elements of the last output, each with a random weight.
struct Chain {
    layers: Vec<Link>,
    x: Matrix,
    weights: Matrix,
    mode: Mode,
}

/// A layer of the chain.
struct Link {
    twin: reference::Twin,
    input: Shape,
    spec: LayerSpec,
    parameters: Vec<Matrix>,
    state: Vec<Matrix>,
}

/// The results of a forward pass: the values of the chain, the values that each layer keeps for its backward pass, and
/// the state after the pass.
struct Values {
    of: Vec<Matrix>,
    kept: Vec<Vec<Matrix>>,
    state: Vec<Vec<Matrix>>,
}

fn random(numbers: &mut Numbers, shape: [usize; 2]) -> Matrix {
    Matrix::from_shape_simple_fn(shape, || f64::from(numbers.uniform()))
}

impl Chain {
    fn new(layers: &[&dyn Layer], (rows, input): (usize, Shape), mode: Mode, seed: u64) -> Self {
        let mut numbers = Numbers::new(seed);
        let (mut input, inputs) = (input, input.len());
        let mut links = Vec::new();
        for layer in layers {
            let spec = layer.spec(&input).unwrap();
            let parameters = spec.parameters.iter();
            let parameters =
                parameters.map(|spec| random(&mut numbers, spec.tensor_shape().dims()));
            let parameters = parameters.collect();
            let state = spec.state.iter();
            let state = state.map(|spec| near_one(&mut numbers, spec.tensor_shape().dims()));
            let output = spec.output;
            links.push(Link {
                twin: layer.reference(),
                input,
                parameters,
                state: state.collect(),
                spec,
            });
            input = output;
        }
        Self {
            layers: links,
            x: random(&mut numbers, [rows, inputs]),
            weights: random(&mut numbers, [rows, input.len()]),
            mode,
        }
    }

    /// Runs the forward pass: computes the input of every layer, and the output.
    fn values(&self) -> Values {
        let mut values = Values {
            of: vec![self.x.clone()],
            kept: Vec::new(),
            state: Vec::new(),
        };
        for (index, link) in self.layers.iter().enumerate() {
            let x = &values.of[index];
            let mut y = Matrix::from_elem((x.nrows(), link.spec.output.len()), f64::NAN);
            let kept = link.spec.kept.iter();
            let kept = kept.map(|kept| kept.tensor_shape(x.nrows()).dims());
            let mut kept: Vec<_> = kept.map(|dims| Matrix::from_elem(dims, f64::NAN)).collect();
            let mut state = link.state.clone();
            let input = (x.view(), link.input);
            let pass = Forward::new(input, &link.parameters, y.view_mut(), self.mode);
            let pass = pass.with_state(&mut state).with_kept(&mut kept);
            f64::of(&link.twin).forward(pass);
            values.of.push(y);
            values.kept.push(kept);
            values.state.push(state);
        }
        values
    }

    fn loss(&self) -> f64 {
        (&self.values().of[self.layers.len()] * &self.weights).sum()
    }

    /// Returns the gradients with respect to `x` and to the parameters of every layer.
    fn backward(&self) -> (Matrix, Vec<Vec<Matrix>>) {
        let Values { of, kept, state } = self.values();
        let mut dy = self.weights.clone();
        let mut all = Vec::new();
        for (index, link) in self.layers.iter().enumerate().rev() {
            let poison = |like: &Matrix| Matrix::from_elem(like.raw_dim(), f64::NAN);
            let mut gradients: Vec<_> = link.parameters.iter().map(poison).collect();
            let mut dx = poison(&of[index]);
            let input = (of[index].view(), link.input);
            let y_and_dy = [of[index + 1].view(), dy.view()];
            let pass = Backward::new(input, y_and_dy, Some(dx.view_mut()), self.mode);
            let pass = pass.with_parameters(&link.parameters, &mut gradients);
            let pass = pass.with_state(&state[index]).with_kept(&kept[index]);
            f64::of(&link.twin).backward(pass);
            all.push(gradients);
            dy = dx;
        }
        all.reverse();
        (dy, all)
    }

    /// Returns the central difference of the loss for one number, which the closure `number` selects.
    fn difference(&mut self, mut number: impl FnMut(&mut Self) -> &mut f64) -> f64 {
        let value = *number(self);
        *number(self) = value + H;
        let above = self.loss();
        *number(self) = value - H;
        let below = self.loss();
        *number(self) = value;
        (above - below) / (2.0 * H)
    }

    fn check(&mut self, case: &str) {
        let (dx, gradients) = self.backward();
        let close = |what: &str, found: f64, expected: f64| {
            let tolerance = DIFFERENCES * (1.0 + expected.abs());
            assert!(
                (found - expected).abs() <= tolerance,
                "{case}, {what}: {found} {expected}"
            );
        };
        for (at, &found) in dx.indexed_iter() {
            let expected = self.difference(|chain| &mut chain.x[at]);
            close(&format!("dx {at:?}"), found, expected);
        }
        for (layer, gradients) in gradients.iter().enumerate() {
            for (index, gradient) in gradients.iter().enumerate() {
                for (at, &found) in gradient.indexed_iter() {
                    let expected =
                        self.difference(|chain| &mut chain.layers[layer].parameters[index][at]);
                    close(
                        &format!("layer {layer} parameter {index} {at:?}"),
                        found,
                        expected,
                    );
                }
            }
        }
    }

    /// Returns whether no step of the differences can move an input of a rectifying layer across 0. (An input that is
    /// exactly 0 because of an earlier `Relu` stays 0.)
    fn is_clear_of_kinks(&self) -> bool {
        let clear = |value: &f64| *value == 0.0 || value.abs() > 100.0 * H;
        let Values { of, .. } = self.values();
        let mut inputs = self.layers.iter().zip(&of);
        inputs.all(|(link, x)| {
            let rectifies = matches!(link.spec.response, Response::Rectifies);
            !rectifies || x.iter().all(clear)
        })
    }
}

/// Checks a layer on its own, after another layer, before another layer, and between two layers, each in training and
/// in evaluation.
fn check_places(case: &Case, minibatch: TensorShape) {
    let after = Linear::new(3);
    let (layer, before) = (&*case.layer, &*case.before);
    let chains: [&[&dyn Layer]; 4] = [
        &[layer],
        &[before, layer],
        &[layer, &after],
        &[before, layer, &after],
    ];
    let training = Mode::Training(Draw::new([1, 2], 3));
    let TensorShape { rows, row } = minibatch;
    for (index, layers) in chains.into_iter().enumerate() {
        for mode in [Mode::Evaluation, training] {
            let chains = (0..100).map(|seed| Chain::new(layers, (rows, row), mode, seed));
            let mut chain = chains.into_iter().find(Chain::is_clear_of_kinks).unwrap();
            let name = layer.name();
            chain.check(&format!("{name} in chain {index}, {rows} rows, {mode:?}"));
        }
    }
}

/// There is no derivative with respect to an index. For layers of indices, `check_layer` checks the gradient of the
/// parameters instead.
#[test]
fn backward_of_every_layer_is_its_derivative_wherever_it_stands() {
    for case in layers::all() {
        if case.indices_below().is_none() {
            for &minibatch in &case.small {
                check_places(&case, minibatch);
            }
        }
    }
}

#[test]
fn backward_of_convolutions_is_their_derivative_wherever_they_stand() {
    let strided = Conv2d::new(2, [2, 3]).stride([2, 1]).padding([1, 0]);
    let dilated = Conv2d::new(3, 2).padding(2).dilation([1, 2]).without_bias();
    let padded = Conv2d::new(2, [1, 2]).padding([2, 1]);
    let linear = Linear::new(3);
    let chains: [&[&dyn Layer]; 5] = [
        &[&strided],
        &[&dilated],
        &[&padded, &strided],
        &[&strided, &Tanh, &dilated, &linear],
        &[&dilated, &Relu, &padded, &Relu, &strided, &linear],
    ];
    for (index, layers) in chains.into_iter().enumerate() {
        for rows in [1, 3] {
            let input = Shape::from([2, 4, 5]);
            let mut chains =
                (0..100).map(|seed| Chain::new(layers, (rows, input), Mode::Evaluation, seed));
            let mut chain = chains.find(Chain::is_clear_of_kinks).unwrap();
            chain.check(&format!("convolutions, chain {index}, {rows} rows"));
        }
    }
}

/// Like [the test of activations](gradients_of_networks_with_any_activation_are_wired_as_the_reference_has_them), for
/// pools with and without overlapping windows, with and without a `Relu` in the same kernel, and with a `Relu` whose
/// output two layers read.
#[test]
fn gradients_of_networks_with_pools_are_those_of_the_reference() {
    let input = || Sequential::input([2, 9, 8]).seed(5);
    let convolution = |outputs| Conv2d::new(outputs, 3).padding(1);
    let overlapping = MaxPool2d::new(3).stride(2).padding(1);
    let rectified = input().layer(convolution(3)).layer(Relu);
    let networks = [
        rectified.clone().layer(MaxPool2d::new(2)),
        rectified.clone().layer(overlapping),
        rectified.clone().layer(MaxPool2d::new([5, 4])),
        rectified
            .layer(overlapping)
            .layer(Tanh)
            .layer(AvgPool2d::new(2)),
        input()
            .layer(convolution(3))
            .layer(MaxPool2d::new(2))
            .layer(Relu),
        input().layer(convolution(3)).layer(AvgPool2d::global()),
        input()
            .layer(convolution(2))
            .layer(Relu)
            .named("read twice")
            .layer(overlapping.stride(1))
            .add("read twice")
            .layer(Flatten),
    ];
    for (index, network) in networks.into_iter().enumerate() {
        let model = network.layer(Linear::new(3)).build(gpu()).unwrap();
        check_wiring(&format!("pools {index}"), &model, 144);
    }
}

/// Like [the test of activations](gradients_of_networks_with_any_activation_are_wired_as_the_reference_has_them), for a
/// convolution after a layer with parameters, two convolutions in a row, and a `Relu` in the kernel of a convolution.
#[test]
fn gradients_of_networks_with_convolutions_are_those_of_the_reference() {
    let input = || Sequential::input([2, 7, 6]).seed(5);
    let strided = Conv2d::new(5, [3, 2]).stride([2, 1]).padding(1);
    let networks = [
        input().layer(Conv2d::new(3, 3)).layer(Relu),
        input().layer(Conv2d::new(3, 2)).layer(strided.clone()),
        input()
            .layer(Conv2d::new(17, [2, 3]))
            .layer(Relu)
            .layer(strided)
            .layer(Relu),
    ];
    for (index, network) in networks.into_iter().enumerate() {
        let model = network.layer(Linear::new(3)).build(gpu()).unwrap();
        check_wiring(&format!("convolutions {index}"), &model, 84);
    }
}

#[test]
fn gradient_of_softmax_cross_entropy_is_its_derivative() {
    for shape in [[1, 1], [1, 2], [3, 5], [4, 10]] {
        let mut numbers = Numbers::new(7);
        let mut logits = random(&mut numbers, shape) * 3.0;
        let labels: Vec<u32> = (0..shape[0])
            .map(|_| u32::try_from(numbers.below(shape[1])).unwrap())
            .collect();
        let loss = |logits: &Matrix| {
            let mut dlogits = Matrix::from_elem(shape, f64::NAN);
            let loss = softmax_cross_entropy(logits.view(), &labels, dlogits.view_mut());
            (loss, dlogits)
        };
        let (_, dlogits) = loss(&logits);
        for (at, &found) in dlogits.indexed_iter() {
            let value = logits[at];
            logits[at] = value + H;
            let above = loss(&logits).0;
            logits[at] = value - H;
            let below = loss(&logits).0;
            logits[at] = value;
            let expected = (above - below) / (2.0 * H);
            assert!(
                (found - expected).abs() <= DIFFERENCES,
                "{at:?}: {found} {expected}"
            );
        }
    }
}

/// Returns a network of linear layers, with an activation after each of them except the last.
fn network(widths: &[usize], activation: Activation, seed: u64) -> Model {
    let mut spec = Sequential::input(widths[0]).seed(seed);
    for (index, &width) in widths[1..].iter().enumerate() {
        spec = match activation {
            _ if index == 0 => spec,
            Activation::Relu => spec.layer(Relu),
            Activation::Sigmoid => spec.layer(Sigmoid),
        };
        let std = 1.0 / (widths[index] as f32).sqrt();
        spec = spec.layer(Linear::new(width).weight_init(Init::Normal { std }));
    }
    spec.build(gpu()).unwrap()
}

/// Asserts that a model's loss and gradients on the GPU are within their error bounds, and that the values computed
/// with the bounds equal those of the reference. Returns the largest error bound of a parameter's gradient, relative to
/// the parameter's largest gradient.
fn check_gradients(widths: &[usize], activation: Activation, rows: usize, seed: u64) -> f64 {
    let case = format!("{widths:?}, {activation:?}, {rows} rows");
    let model = network(widths, activation, seed);
    let mut numbers = Numbers::new(seed);
    let x = Array2::from_shape_simple_fn((rows, widths[0]), || numbers.uniform());
    let classes = widths[widths.len() - 1];
    let labels: Vec<u32> = (0..rows)
        .map(|_| u32::try_from(numbers.below(classes)).unwrap())
        .collect();
    let labels = Labels::from_classes(labels, classes).unwrap();

    let targets = Targets::Classes(labels.indices());
    let found = model.gradient(&SoftmaxCrossEntropy, x.view(), targets);
    let found = found.unwrap();
    let reference = model.to_reference().unwrap();
    let x64 = x.mapv(f64::from);
    let expected = reference
        .gradient(
            &SoftmaxCrossEntropy,
            x64.view(),
            Targets::Classes(labels.indices()),
        )
        .unwrap();
    let parameters = bounds::linear_layers(&reference.parameters());
    let last = parameters.len() - 1;
    let layers: Vec<_> = parameters
        .iter()
        .enumerate()
        .map(|(index, p)| (p.as_slice(), (index < last).then_some(activation)))
        .collect();
    let bounded = bounds::gradient(&layers, &x64, labels.indices());

    let [loss, error] = bounded.mean_loss;
    let mean = model.loss(&SoftmaxCrossEntropy, x.view(), targets);
    assert_close(&case, &[mean.unwrap()], [loss], [error]);
    let bounded = bounded.gradients.iter().flatten();
    let pairs = found.iter().zip(expected.iter());
    let mut count = 0;
    let mut looseness = 0.0f64;
    for (((name, found), (of, expected)), Bounded { value, error }) in pairs.zip(bounded) {
        assert_eq!(name, of, "{case}");
        let same = value
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() <= 1e-12 * (1.0 + b.abs()));
        assert!(same, "{case}: the bounds are those of another gradient");
        let found: Vec<f32> = found.iter().copied().collect();
        assert_close(
            &case,
            &found,
            expected.iter().copied(),
            error.iter().copied(),
        );
        let largest = expected.iter().fold(0.0, |a: f64, &b| a.max(b.abs()));
        let loosest = error.iter().fold(0.0, |a: f64, &b| a.max(b));
        looseness = looseness.max(loosest / largest);
        count += 1;
    }
    assert_eq!(count, 2 * layers.len(), "{case}");
    looseness
}

#[test]
fn gradients_of_networks_on_the_gpu_are_those_of_the_reference() {
    let networks: [&[usize]; 8] = [
        &[3, 2],
        &[1, 1],
        &[17, 5, 3],
        &[784, 50, 10],
        &[33, 19, 13, 7],
        &[65, 33, 17, 11, 5],
        &[2, 1, 1, 1, 2],
        &[20, 64, 32, 16, 10],
    ];
    for widths in networks {
        for activation in [Activation::Relu, Activation::Sigmoid] {
            for rows in [1, 3, 37] {
                let looseness = check_gradients(widths, activation, rows, 11);
                // A bound that is too large would accept anything. Two cases are exempt: if the sign of a `Relu`'s
                // input is uncertain, the bound is as large as the gradient; and with one class, all gradients are 0.
                let case = format!("{widths:?}, {activation:?}, {rows} rows: {looseness}");
                let says_much = looseness < 0.01 || widths.last() == Some(&1);
                assert!(says_much || activation == Activation::Relu, "{case}");
            }
        }
    }
}

/// Compares a network's gradients for 3 classes with the gradients of the reference. Returns the number of compared
/// parameters.
fn check_wiring(case: &str, model: &Model, features: usize) -> usize {
    let mut numbers = Numbers::new(5);
    let x = Array2::from_shape_simple_fn((5, features), || numbers.uniform());
    let labels = Labels::from_classes(vec![0, 1, 2, 1, 0], 3).unwrap();
    let targets = Targets::Classes(labels.indices());
    let found = model.gradient(&SoftmaxCrossEntropy, x.view(), targets);
    let found = found.unwrap();
    let reference = model.to_reference().unwrap();
    let expected = reference
        .gradient(
            &SoftmaxCrossEntropy,
            x.mapv(f64::from).view(),
            Targets::Classes(labels.indices()),
        )
        .unwrap();
    let mut count = 0;
    for ((_, found), (_, expected)) in found.iter().zip(expected.iter()) {
        let largest = expected.iter().fold(0.0, |a: f64, &b| a.max(b.abs()));
        let found: Vec<f32> = found.iter().copied().collect();
        let tolerance = expected.iter().map(|_| 1e-4 * largest);
        assert!(largest > 1e-3, "{case}: {largest}");
        assert_close(case, &found, expected.iter().copied(), tolerance);
        count += 1;
    }
    count
}

/// The passes of a network give each layer the right tensors. Each network has layers with as many outputs as inputs at
/// three places. The tolerance, 1e-4 of the largest gradient, is far above the rounding error in these networks, and
/// far below the effect of a wrong tensor. The parity tests check the accuracy of the kernels.
#[test]
fn gradients_of_networks_with_any_activation_are_wired_as_the_reference_has_them() {
    let mut wired = 0;
    // Each place in the network has its own layer.
    let others = layers::all().into_iter().zip(layers::all());
    for (case, (second, third)) in layers::all().into_iter().zip(others) {
        let layer = &case.layer;
        let gives_as_many = |width: usize| {
            let spec = layer.spec(&width.into());
            spec.is_ok_and(|spec| spec.output == width.into())
        };
        if case.indices_below().is_some() || ![13, 11, 7].into_iter().all(gives_as_many) {
            continue;
        }
        let linear = |outputs| Linear::new(outputs).weight_init(Init::XavierNormal);
        let spec = Sequential::input(13).seed(5).layer(layer.clone());
        let spec = spec.layer(linear(11)).layer(second.layer);
        let spec = spec.layer(linear(7)).layer(third.layer);
        let model = spec.layer(linear(3)).build(gpu()).unwrap();
        let count = check_wiring(&layer.name(), &model, 13);
        let own_parameters = layer.spec(&1.into()).unwrap().parameters.len();
        assert_eq!(count, 6 + 3 * own_parameters, "{}", layer.name());
        wired += 1;
    }
    assert!(wired >= 18, "{wired} networks");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn gradients_of_any_network_are_those_of_the_reference(
        widths in proptest::collection::vec(1usize..70, 2..6),
        rows in 1usize..70,
        seed: u64,
        sigmoid: bool,
    ) {
        let activation = if sigmoid { Activation::Sigmoid } else { Activation::Relu };
        check_gradients(&widths, activation, rows, seed);
    }
}
