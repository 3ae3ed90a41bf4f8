//! What is right passes, and the report says what was looked at.

use wgrad::layer_check::{Call, Check, LayerCheck, Pass};
use wgrad::ops::{Conv2d, Dropout, Gelu, Layer, LeakyRelu, Linear, Relu, Sigmoid, Tanh};
use wgrad::{TensorShape, check_layer};

use crate::activation::Softsign;
use crate::gpu::gpu;
use crate::scale::Scale;

#[test]
fn every_layer_of_the_crate() {
    let layers: [&dyn Layer; 10] = [
        &Linear::new(1),
        &Linear::new(50),
        &Relu,
        &LeakyRelu::default(),
        &LeakyRelu::new(-0.5),
        &Gelu,
        &Sigmoid,
        &Tanh,
        &Dropout::new(0.3),
        &Softsign::good(),
    ];
    for layer in layers {
        let report = check_layer(gpu(), layer).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(report.layer, layer.name());
        assert!(report.kernels.len() >= 2, "{report}");
        for row in &report.rows {
            assert!(row.difference <= row.bound && row.bound < 1.0, "{report}");
        }
    }
}

/// (rows, channels × height × width).
const IMAGES: [(usize, [usize; 3]); 5] = [
    (1, [1, 1, 1]),
    (2, [3, 4, 5]),
    (3, [2, 9, 7]),
    (9, [17, 3, 3]),
    (4, [1, 20, 21]),
];

#[test]
fn every_convolution() {
    let layers = [
        Conv2d::new(1, 1),
        Conv2d::new(3, 3).padding(1),
        Conv2d::new(17, [1, 2]).padding([0, 1]).without_bias(),
        Conv2d::new(4, [3, 2])
            .stride([1, 2])
            .padding(2)
            .dilation([2, 1]),
    ];
    for layer in layers {
        let check = LayerCheck::default().shapes(IMAGES);
        let report = check.run(gpu(), &layer);
        let report = report.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(report.layer, layer.name());
        assert!(report.kernels.len() == 4, "{report}");
        for row in &report.rows {
            assert!(row.difference <= row.bound && row.bound < 1.0, "{report}");
        }
    }
}

#[test]
fn the_report_has_a_row_for_every_tensor_of_every_minibatch() {
    let report = check_layer(gpu(), &Scale::good()).unwrap_or_else(|error| panic!("{error}"));
    let kernels = [
        "scale::forward",
        "scale::backward",
        "scale::backward_parameters",
    ];
    assert_eq!(report.kernels, kernels);
    let rows = |check, minibatch: [usize; 2], call| {
        let minibatch = TensorShape::from(minibatch);
        let rows = report.rows.iter().filter(move |row| {
            (row.check, row.minibatch, row.call) == (check, minibatch, Some(call))
        });
        rows.map(|row| row.tensor.as_str()).collect::<Vec<_>>()
    };
    let (forward, backward) = (Check::Parity(Pass::Forward), Check::Parity(Pass::Backward));
    let all = ["dx", "dscale", "dshift"];
    for shape in [[1, 1], [3, 7], [1, 65], [101, 53], [2053, 2053]] {
        assert_eq!(rows(forward, shape, Call::Evaluation), ["y"]);
        assert_eq!(rows(backward, shape, Call::Evaluation), all);
    }
    for call in [Call::Evaluation, Call::Training] {
        assert_eq!(rows(Check::Gradient, [3, 7], call), all);
    }
    assert_eq!(rows(Check::Gradient, [101, 53], Call::Evaluation), [""; 0]);
    for shape in [[3, 7], [101, 53]] {
        assert_eq!(rows(backward, shape, Call::Training), all);
        assert_eq!(rows(backward, shape, Call::First), all[1..]);
    }
    let text = report.to_string();
    assert_eq!(
        text.lines().count(),
        2 + 2 * kernels.len() + report.rows.len()
    );
    assert!(
        text.contains("contract  scale::forward is what its WGSL says"),
        "{text}"
    );
    // In evaluation, in training and as a first layer, at the small shapes.
    let sanitized = "sanitizer scale::backward_parameters: clean in ";
    assert!(text.contains(sanitized), "{text}");
    let dispatches = report.sanitized.iter();
    assert!(dispatches.clone().all(|it| it.report.operations > 0));
    assert!(dispatches.count() > 30, "{text}");
}
