//! Each invalid setting gives an error that names it, before anything runs.

use wgrad::data::{Dataset, Labels, Sampling};
use wgrad::gpu::AdapterKind;
use wgrad::ndarray::{Array2, ArrayD, array};
use wgrad::ops::{Linear, Relu, Sgd, SoftmaxCrossEntropy};
use wgrad::{Error, Gpu, Parameters, Sequential, Targets, Trainer, TwoLayerNet, cpu};

use crate::{SAMPLING, assert_error, digits, gpu, spec};

/// Returns the error of a training with these settings. Asserts that it is the same on the GPU and on the CPU.
fn error_of(gpu: &Gpu, rate: f32, data: &Dataset, batch: usize, sampling: &Sampling) -> Error {
    let model = spec().build(gpu).unwrap();
    let optimizer = Sgd::new(rate);
    let on_gpu = Trainer::new(
        model,
        SoftmaxCrossEntropy,
        optimizer,
        data,
        batch,
        sampling.clone(),
    );
    let on_cpu = cpu::Trainer::new(
        cpu::Network::<f32>::new(&spec()).unwrap(),
        SoftmaxCrossEntropy,
        Sgd::new(rate),
        data,
        batch,
        sampling.clone(),
    );
    let on_gpu = on_gpu.unwrap_err();
    let on_cpu = on_cpu.unwrap_err();
    assert_eq!(on_gpu.to_string(), on_cpu.to_string());
    on_gpu
}

#[test]
fn widths_out_of_range() {
    let gpu = gpu();
    for (spec, named, found) in [
        (
            Sequential::input(0).layer(Linear::new(10)),
            "shape of the network's input",
            "0",
        ),
        (
            Sequential::input([3, 0]).layer(Linear::new(10)),
            "shape of the network's input",
            "3×0",
        ),
        (
            Sequential::input(4).layer(Linear::new(0)),
            "layers.0, Linear(0)",
            "0",
        ),
        (
            Sequential::input(4)
                .layer(Linear::new(3))
                .layer(Relu)
                .layer(Linear::new(0)),
            "layers.2, Linear(0)",
            "0",
        ),
    ] {
        let on_cpu = cpu::Network::<f64>::new(&spec).unwrap_err();
        let error = spec.build(&gpu).unwrap_err();
        assert_eq!(on_cpu.to_string(), error.to_string());
        assert_error!(error, [named, "at least 1"], Error::Setting { found: it, .. } if it == found);
    }
    let error = Sequential::input(4).layer(Relu).build(&gpu).unwrap_err();
    assert_error!(
        error,
        ["trainable parameters", "add a Linear layer"],
        Error::Setting { .. }
    );
}

/// A width of 70,000 exceeds the maximum number of workgroups in one dimension of a dispatch, which is no problem. It
/// also exceeds the maximum number of loop iterations on a software driver: this is refused when the plan is made, not
/// earlier.
#[test]
fn a_width_of_seventy_thousand() {
    const WIDE: usize = 70_000;
    let gpu = gpu();
    let outputs = Sequential::input(3).layer(Linear::new(WIDE));
    let x = array![[1.0f32, -2.0, 0.5], [0.25, 0.0, 3.0]];
    let network = cpu::Network::<f64>::new(&outputs).unwrap();
    let found = outputs.build(&gpu).unwrap().predict(x.view()).unwrap();
    let expected = network.predict(x.mapv(f64::from).view()).unwrap();
    assert_eq!(found.dim(), (2, WIDE));
    let apart = found.mapv(f64::from) - expected;
    assert!(apart.iter().all(|apart| apart.abs() < 1e-5), "{apart}");

    let inputs = Sequential::input(WIDE).layer(Linear::new(3));
    let x = Array2::from_shape_fn((2, WIDE), |(row, column)| {
        ((row + column) % 7) as f32 / 7.0 - 0.5
    });
    let network = cpu::Network::<f64>::new(&inputs).unwrap();
    let expected = network.predict(x.mapv(f64::from).view()).unwrap();
    let predicted = inputs.build(&gpu).unwrap().predict(x.view());
    if let Some(predicted) = unless_too_long(&gpu, predicted) {
        let apart = predicted.mapv(f64::from) - expected;
        assert!(apart.iter().all(|apart| apart.abs() < 1e-3), "{apart}");
    }

    let hidden = Sequential::input(2).layer(Linear::new(WIDE)).layer(Relu);
    let hidden = hidden.layer(Linear::new(2));
    let labels = Labels::from_classes(vec![0, 1, 1, 0], 2).unwrap();
    let data = Dataset::new("tiny", 2, vec![0, 0, 0, 255, 255, 0, 255, 255], labels).unwrap();
    let loss = SoftmaxCrossEntropy;
    let optimizer = Sgd::new(0.1);
    let on_cpu = cpu::Trainer::new(
        cpu::Network::<f32>::new(&hidden).unwrap(),
        SoftmaxCrossEntropy,
        optimizer,
        &data,
        4,
        SAMPLING,
    );
    let expected = on_cpu.unwrap().steps(2).unwrap();
    let model = hidden.build(&gpu).unwrap();
    let on_gpu = Trainer::new(model, loss, optimizer, &data, 4, SAMPLING);
    if let Some(mut on_gpu) = unless_too_long(&gpu, on_gpu) {
        for (found, expected) in on_gpu.steps(2).unwrap().iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-3, "{found} {expected}");
        }
    }
}

/// Returns the result on a GPU. On a software driver, asserts that a sum of 70,000 products is refused, and returns
/// `None`.
fn unless_too_long<T: std::fmt::Debug>(gpu: &Gpu, given: Result<T, Error>) -> Option<T> {
    if gpu.kind() == AdapterKind::Hardware {
        return Some(given.unwrap());
    }
    assert_error!(
        given.unwrap_err(),
        ["linear", "iterations", "Make it smaller"],
        Error::Limit {
            limit: "iterations of a software driver",
            needed: 70_000..,
            available: 65_000,
            ..
        }
    );
    None
}

#[test]
fn batches_out_of_range() {
    let gpu = gpu();
    let digits = digits();
    for batch in [0, 201, usize::MAX] {
        let error = error_of(&gpu, 0.1, &digits.train, batch, &SAMPLING);
        let found = batch.to_string();
        assert_error!(error, ["batch", "1 to 200", &found], Error::Setting { name, .. } if name == "batch");
    }
}

#[test]
fn learning_rates_out_of_range() {
    let gpu = gpu();
    let digits = digits();
    for rate in [0.0, -0.1, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = error_of(&gpu, rate, &digits.train, 20, &SAMPLING);
        let found = rate.to_string();
        assert_error!(
            error,
            ["learning rate", "finite number above 0", &found],
            Error::Setting { .. }
        );
    }
}

#[test]
fn lists_of_minibatches_that_make_no_sense() {
    let gpu = gpu();
    let digits = digits();
    for (list, named) in [
        (vec![], "0 indices long"),
        (vec![0; 19], "19 indices long"),
        (vec![0; 21], "21 indices long"),
        ([vec![0; 19], vec![200]].concat(), "it is 200"),
        ([vec![0; 39], vec![u32::MAX]].concat(), "it is 4294967295"),
    ] {
        let error = error_of(&gpu, 0.1, &digits.train, 20, &Sampling::Listed(list));
        assert_error!(
            error,
            [named, "list of minibatches", "must be"],
            Error::Setting { .. }
        );
    }
}

#[test]
fn data_that_does_not_fit_the_network() {
    let gpu = gpu();
    let labels = |classes| Labels::from_classes(vec![0; 30], classes).unwrap();
    for (width, classes) in [(783, 10), (784, 9), (784, 11)] {
        let data = Dataset::new("mine", width, vec![0; 30 * width], labels(classes)).unwrap();
        let error = error_of(&gpu, 0.1, &data, 20, &SAMPLING);
        assert_error!(error, ["mine", "features, outputs", "784 × 10"],
            Error::Shape { found, .. } if found.dims() == [width, classes]);
    }
}

#[test]
fn inputs_and_labels_of_another_shape() {
    let net = TwoLayerNet::new(&gpu(), 784, 10, 10, 3).unwrap();
    let model = net.model();
    for (rows, columns) in [(3, 783), (3, 785), (0, 783)] {
        let x = Array2::zeros((rows, columns));
        let error = model.predict(x.view()).unwrap_err();
        let named = ["input of the network", "784"];
        assert_error!(error, [named[0], named[1]],
            Error::Shape { found, .. } if found.dims() == [rows, columns]);
        let network = model.to_reference().unwrap();
        let x = x.mapv(f64::from);
        let labels = vec![0; rows];
        let loss = &SoftmaxCrossEntropy;
        let targets = Targets::Classes(&labels);
        for error in [
            network.predict(x.view()).map(drop),
            network.loss(loss, x.view(), targets).map(drop),
            network.accuracy(x.view(), &labels).map(drop),
            network.gradient(loss, x.view(), targets).map(drop),
        ] {
            assert_error!(error.unwrap_err(), [named[0], named[1]],
                Error::Shape { found, .. } if found.dims() == [rows, columns]);
        }
    }
    let x = Array2::zeros((3, 784));
    for labels in [(2, 10), (4, 10), (3, 9), (3, 11)] {
        let (count, classes) = labels;
        let labels = Labels::from_classes(vec![0; count], classes).unwrap();
        for error in [
            net.loss(x.view(), &labels).map(|_| ()),
            net.accuracy(x.view(), &labels).map(|_| ()),
            net.gradient(x.view(), &labels).map(|_| ()),
            net.numerical_gradient(x.view(), &labels).map(|_| ()),
        ] {
            assert_error!(error.unwrap_err(), ["labels", "3 × 10"],
                Error::Shape { found, .. } if found.dims() == [count, classes]);
        }
    }
}

#[test]
fn parameters_of_another_shape_replace_nothing() {
    let mut model = spec().build(&gpu()).unwrap();
    let before = model.parameters().unwrap();
    let mut network = cpu::Network::<f32>::new(&spec()).unwrap();
    network.set_parameters(&before).unwrap();
    let changed = |name: &str, value: ArrayD<f32>| {
        let others = before.mapv(|value| value + 1.0).into_iter();
        let others = others.filter(|(other, _)| other != name);
        others
            .chain([(name.to_owned(), value)])
            .collect::<Parameters>()
    };
    let missing = before.clone().into_iter().take(3).collect();
    let unknown = changed("layers.1.bias", ArrayD::zeros(vec![10]));
    for (wrong, named) in [
        (
            changed("layers.2.bias", ArrayD::zeros(vec![11])),
            ["layers.2.bias", "10", "11"],
        ),
        (
            changed("layers.2.bias", ArrayD::zeros(vec![1, 10])),
            ["layers.2.bias", "10", "1×10"],
        ),
        (
            changed("layers.0.weight", ArrayD::zeros(vec![10, 784])),
            ["layers.0.weight", "784×10", "10×784. It is transposed"],
        ),
        (
            missing,
            [
                "list of the given names",
                "layers.2.bias",
                "layers.0.weight",
            ],
        ),
        (
            unknown,
            ["name of a parameter", "layers.2.bias", "layers.1.bias"],
        ),
    ] {
        let refused = model.set_parameters(&wrong).unwrap_err();
        let on_cpu = network.set_parameters(&wrong).unwrap_err();
        assert_eq!(refused.to_string(), on_cpu.to_string());
        let [what, expected, found] = named;
        assert_error!(refused, [what, expected, found], Error::Setting { .. });
        assert_eq!(model.parameters().unwrap(), before);
        assert_eq!(network.parameters(), before);
    }
}

/// Parameters are identified by name, so a network's parameters may come in any order.
#[test]
fn parameters_are_known_by_their_names() {
    let mut model = spec().build(&gpu()).unwrap();
    let mut network = cpu::Network::<f32>::new(&spec()).unwrap();
    let changed = model.parameters().unwrap().mapv(|value| value + 1.0);
    let mut reversed: Vec<_> = changed.clone().into_iter().collect();
    reversed.reverse();
    let reversed = Parameters::from_iter(reversed);
    model.set_parameters(&reversed).unwrap();
    network.set_parameters(&reversed).unwrap();
    assert_eq!(model.parameters().unwrap(), changed);
    assert_eq!(network.parameters(), changed);
}

/// A network on the CPU checks its arguments like a network on a GPU.
#[test]
fn labels_that_do_not_fit_a_network() {
    let model = spec().build(&gpu()).unwrap();
    let network = cpu::Network::<f64>::new(&spec()).unwrap();
    let x = Array2::zeros((3, 784));
    for (labels, named) in [
        (&[0, 1][..], "expected 3, found 2"),
        (&[0, 1, 2, 3], "expected 3, found 4"),
        (&[0, 1, 10], "label of row 2 must be below 10"),
        (&[u32::MAX, 1, 2], "label of row 0"),
    ] {
        let mut other = cpu::Network::<f64>::new(&spec()).unwrap();
        let loss = &SoftmaxCrossEntropy;
        let targets = Targets::Classes(labels);
        let x32 = Array2::zeros((3, 784));
        let on_gpu = Targets::Classes(labels);
        for error in [
            model.loss(loss, x32.view(), on_gpu).map(drop),
            model.gradient(loss, x32.view(), on_gpu).map(drop),
            network.loss(loss, x.view(), targets).map(drop),
            network.accuracy(x.view(), labels).map(drop),
            network.gradient(loss, x.view(), targets).map(drop),
            other.numerical_gradient(loss, x.view(), targets).map(drop),
        ] {
            let message = error.unwrap_err().to_string();
            assert!(message.contains(named), "{message}");
        }
    }
}
