#![allow(clippy::unwrap_used)]

use ndarray::Array2;

use super::TwoLayerNet;
use crate::cpu;
use crate::data::Labels;
use crate::error::Error;
use crate::init::Init;
use crate::ops::SoftmaxCrossEntropy;
use crate::reference::Targets;
use crate::shape::Shape;
use crate::testing::gpu;

#[test]
fn initial_weights_are_those_of_the_book() {
    let net = TwoLayerNet::new(gpu(), 6, 4, 3, 42).unwrap();
    let parameters = net.model().parameters().unwrap();
    let book = Init::Normal { std: 0.01 };
    for (name, [inputs, outputs], stream) in [
        ("layers.0.weight", [6, 4], 0),
        ("layers.2.weight", [4, 3], 2),
    ] {
        let shape = Shape::from([inputs, outputs]);
        let expected = book.values(&shape, [inputs, outputs], 42, stream);
        assert!(parameters[name].iter().eq(&expected), "{name}");
    }
    assert!(parameters["layers.0.bias"].iter().all(|&bias| bias == 0.0));
}

#[test]
fn the_five_functions_are_those_of_the_reference() {
    let net = TwoLayerNet::new(gpu(), 6, 4, 3, 1).unwrap();
    let x = Array2::from_shape_fn((5, 6), |(row, column)| {
        (row as f32 - 2.0) * 0.25 + column as f32 * 0.125
    });
    let labels = Labels::from_classes(vec![0, 2, 1, 1, 0], 3).unwrap();
    let reference: cpu::Network<f64> = net.model().to_reference().unwrap();
    let x64 = x.mapv(f64::from);
    let indices = labels.indices();
    // The outputs are sums of six products of values near 1 and weights near 0.01.
    let near = |found: f32, expected: f64| (f64::from(found) - expected).abs() < 1e-5;

    let found = net.predict(x.view());
    let expected = reference.predict(x64.view());
    let found = found.unwrap();
    let expected = expected.unwrap();
    assert!(found.iter().zip(&expected).all(|(&a, &b)| near(a, b)));
    let expected = reference
        .loss(&SoftmaxCrossEntropy, x64.view(), Targets::Classes(indices))
        .unwrap();
    assert!(near(net.loss(x.view(), &labels).unwrap(), expected));
    let expected = reference.accuracy(x64.view(), indices).unwrap();
    assert!((net.accuracy(x.view(), &labels).unwrap() - expected).abs() < 1e-12);
    let found = net.gradient(x.view(), &labels).unwrap();
    let numerical = net.numerical_gradient(x.view(), &labels).unwrap();
    let expected = reference
        .gradient(&SoftmaxCrossEntropy, x64.view(), Targets::Classes(indices))
        .unwrap();
    assert!(found.names().eq(expected.names()) && numerical.names().eq(expected.names()));
    for (name, expected) in expected.iter() {
        let pairs = found[name].iter().zip(&numerical[name]).zip(expected);
        for ((&found, &numerical), &expected) in pairs {
            assert!(near(found, expected), "{name}: {found} {expected}");
            assert!((numerical - expected).abs() < 1e-6, "{name}: {numerical}");
        }
    }
}

#[test]
fn rows_and_labels_that_do_not_fit_are_told() {
    let net = TwoLayerNet::new(gpu(), 6, 4, 3, 1).unwrap();
    let rows = |rows, columns| Array2::zeros((rows, columns));
    let labels = |count, classes| Labels::from_classes(vec![0; count], classes).unwrap();
    let told = |x: Array2<f32>, labels: Labels| {
        let x = x.view();
        let errors = [
            net.loss(x, &labels).unwrap_err(),
            net.accuracy(x, &labels).unwrap_err(),
            net.gradient(x, &labels).unwrap_err(),
            net.numerical_gradient(x, &labels).unwrap_err(),
        ];
        let texts = errors.map(|error: Error| error.to_string());
        assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
        texts[0].clone()
    };
    let text = told(rows(2, 7), labels(2, 3));
    assert!(text.contains("expected shape 2 × 6, found 2 × 7"), "{text}");
    let text = told(rows(2, 6), labels(3, 3));
    assert!(text.contains("labels (examples, classes): expected shape 2 × 3, found 3 × 3"));
    let text = told(rows(2, 6), labels(2, 4));
    assert!(text.contains("found 2 × 4"), "{text}");
    let text = told(rows(0, 6), labels(0, 3));
    assert!(text.contains("number of rows must be at least 1"), "{text}");
}
