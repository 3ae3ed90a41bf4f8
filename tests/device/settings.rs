//! What a user may set wrongly: each is an error that names it, before anything runs.

use wgrad::data::{Dataset, Labels, Sampling};
use wgrad::ndarray::Array2;
use wgrad::ops::{Linear, Relu, Sgd, SoftmaxCrossEntropy};
use wgrad::{Error, Gpu, Sequential, Trainer, cpu};

use crate::{SAMPLING, assert_error, digits, gpu, spec};

/// The error of training so, which must be the same on the GPU and on the CPU.
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
    let on_cpu = cpu::Trainer::<f32>::new(&spec(), Sgd::new(rate), data, batch, sampling.clone());
    let (on_gpu, on_cpu) = (on_gpu.unwrap_err(), on_cpu.unwrap_err());
    assert_eq!(on_gpu.to_string(), on_cpu.to_string());
    on_gpu
}

#[test]
fn widths_out_of_range() {
    let gpu = gpu();
    for (spec, named, found) in [
        (
            Sequential::input(0).layer(Linear::new(10)),
            "number of inputs",
            "0",
        ),
        (
            Sequential::input(100_000).layer(Linear::new(10)),
            "number of inputs",
            "100000",
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
                .layer(Linear::new(100_000)),
            "layers.2, Linear(100000)",
            "100000",
        ),
    ] {
        let on_cpu = cpu::Network::<f64>::new(&spec).unwrap_err();
        let error = spec.build(&gpu).unwrap_err();
        assert_eq!(on_cpu.to_string(), error.to_string());
        assert_error!(error, [named, "1 to 65535"], Error::Setting { found: it, .. } if it == found);
    }
    let error = Sequential::input(4).layer(Relu).build(&gpu).unwrap_err();
    assert_error!(
        error,
        ["trainable parameters", "add a Linear layer"],
        Error::Setting { .. }
    );
}

#[test]
fn batches_out_of_range() {
    let (gpu, digits) = (gpu(), digits());
    for batch in [0, 201, usize::MAX] {
        let error = error_of(&gpu, 0.1, &digits.train, batch, &SAMPLING);
        let found = batch.to_string();
        assert_error!(error, ["batch", "1 to 200", &found], Error::Setting { name, .. } if name == "batch");
    }
}

#[test]
fn learning_rates_out_of_range() {
    let (gpu, digits) = (gpu(), digits());
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
    let (gpu, digits) = (gpu(), digits());
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
        assert_error!(error, ["mine", "features, outputs", "[784, 10]"],
            Error::Shape { found, .. } if found == [width, classes]);
    }
}

#[test]
fn inputs_and_labels_of_another_shape() {
    let model = spec().build(&gpu()).unwrap();
    for (rows, columns) in [(3, 783), (3, 785), (0, 783)] {
        let x = Array2::zeros((rows, columns));
        let error = model.predict(x.view()).unwrap_err();
        let named = ["input of the network", "784"];
        assert_error!(error, [named[0], named[1]],
            Error::Shape { found, .. } if found == [rows, columns]);
        let network = model.to_reference().unwrap();
        let x = x.mapv(f64::from);
        let labels = vec![0; rows];
        for error in [
            network.predict(x.view()).map(drop),
            network.loss(x.view(), &labels).map(drop),
            network.accuracy(x.view(), &labels).map(drop),
            network.gradient(x.view(), &labels).map(drop),
        ] {
            assert_error!(error.unwrap_err(), [named[0], named[1]],
                Error::Shape { found, .. } if found == [rows, columns]);
        }
    }
    let x = Array2::zeros((3, 784));
    for labels in [(2, 10), (4, 10), (3, 9), (3, 11)] {
        let (count, classes) = labels;
        let labels = Labels::from_classes(vec![0; count], classes).unwrap();
        for error in [
            model.loss(x.view(), &labels).map(|_| ()),
            model.accuracy(x.view(), &labels).map(|_| ()),
            model.gradient(x.view(), &labels).map(|_| ()),
            model.numerical_gradient(x.view(), &labels).map(|_| ()),
        ] {
            assert_error!(error.unwrap_err(), ["labels", "[3, 10]"],
                Error::Shape { found, .. } if found == [count, classes]);
        }
    }
}

#[test]
fn parameters_of_another_shape_replace_nothing() {
    let mut model = spec().build(&gpu()).unwrap();
    let before = model.parameters().unwrap();
    let mut wrong = before.clone();
    wrong[0][0].fill(1.0);
    wrong[2][1] = Array2::zeros((1, 11));
    assert_error!(
        model.set_parameters(&wrong).unwrap_err(),
        ["layers.2.bias", "[1, 10]", "[1, 11]"],
        Error::Shape { .. }
    );
    let mut network = cpu::Network::<f32>::new(&spec()).unwrap();
    network.set_parameters(&before).unwrap();
    let refused = network.set_parameters(&wrong).unwrap_err();
    let expected = model.set_parameters(&wrong).unwrap_err();
    assert_eq!(refused.to_string(), expected.to_string());
    wrong.pop();
    for refused in [model.set_parameters(&wrong), network.set_parameters(&wrong)] {
        assert_error!(
            refused.unwrap_err(),
            ["parameters of the network", "expected 4, found 2"],
            Error::Count { .. }
        );
    }
    assert_eq!(model.parameters().unwrap(), before);
    assert_eq!(network.parameters(), before);
}

/// A layer without parameters has an empty group, which may be left out; which group a parameter is in counts
/// nowhere.
#[test]
fn groups_of_parameters_without_any_may_be_left_out() {
    let mut model = spec().build(&gpu()).unwrap();
    let mut network = cpu::Network::<f32>::new(&spec()).unwrap();
    let all = model.parameters().unwrap();
    assert!(all[1].is_empty(), "that of the Relu");
    let fewer = [all[0].clone(), all[2].clone()];
    let flat: Vec<_> = all
        .concat()
        .into_iter()
        .map(|parameter| vec![parameter])
        .collect();
    for values in [&fewer[..], &flat, &[all.concat()], &all] {
        let mut changed = values.to_vec();
        changed
            .iter_mut()
            .flatten()
            .for_each(|parameter| *parameter += 1.0);
        model.set_parameters(&changed).unwrap();
        network.set_parameters(&changed).unwrap();
        assert_eq!(model.parameters().unwrap().concat(), changed.concat());
        assert_eq!(network.parameters(), model.parameters().unwrap());
    }
}

/// What a user gives to a network on the CPU is checked as on a GPU.
#[test]
fn labels_that_do_not_fit_a_network_on_the_cpu() {
    let network = cpu::Network::<f64>::new(&spec()).unwrap();
    let x = Array2::zeros((3, 784));
    for (labels, named) in [
        (&[0, 1][..], "expected 3, found 2"),
        (&[0, 1, 2, 3], "expected 3, found 4"),
        (&[0, 1, 10], "label of row 2 must be below 10"),
        (&[u32::MAX, 1, 2], "label of row 0"),
    ] {
        let mut other = cpu::Network::<f64>::new(&spec()).unwrap();
        for error in [
            network.loss(x.view(), labels).map(drop),
            network.accuracy(x.view(), labels).map(drop),
            network.gradient(x.view(), labels).map(drop),
            other.numerical_gradient(x.view(), labels).map(drop),
        ] {
            let message = error.unwrap_err().to_string();
            assert!(message.contains(named), "{message}");
        }
    }
}
