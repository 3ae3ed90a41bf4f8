//! Correct layers pass the check, and the report lists what was checked.

use wgrad::layer_check::{Call, Check, LayerReport, Pass};
use wgrad::ops::{
    AvgPool2d, BatchNorm, Conv2d, Dropout, Embedding, Flatten, Frequency, Gelu, HashGrid, Layer,
    LayerNorm, LeakyRelu, Linear, MaxPool2d, OneBlob, Relu, Sigmoid, SphericalHarmonics, Tanh,
};
use wgrad::{LayerCheck, TensorShape, check_layer};

use crate::activation::Softsign;
use crate::gpu::gpu;
use crate::scale::Scale;

fn assert_good(layers: &[&dyn Layer]) {
    for &layer in layers {
        let report = check_layer(gpu(), layer).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(report.layer, layer.name());
        assert!(report.kernels.len() >= 2, "{report}");
        assert_narrow(&report);
    }
}

// All layers of the crate that take features, and one from outside.

#[test]
fn products_and_layers_with_indices_are_good() {
    assert_good(&[
        &Linear::new(1),
        &Linear::new(50),
        &Embedding::new(27, 10),
        &Embedding::new(3, 1),
    ]);
}

#[test]
fn activations_are_good() {
    assert_good(&[
        &Relu,
        &LeakyRelu::default(),
        &LeakyRelu::new(-0.5),
        &Gelu,
        &Sigmoid,
        &Tanh,
        &Dropout::new(0.3),
        &Softsign::good(),
    ]);
}

#[test]
fn encodings_are_good() {
    assert_good(&[&Frequency::new(1), &Frequency::new(4)]);
    // In the range of the bins: far away from it, the outputs are 0.
    let check = LayerCheck::default().inputs(-0.5..=1.5);
    for bins in [1, 7] {
        let report = check.run(gpu(), &OneBlob::new(bins));
        assert_narrow(&report.unwrap_or_else(|error| panic!("{error}")));
    }
    // Directions have a length of about 1, and so have their powers.
    let check = LayerCheck::default().inputs(-1.0..=1.0);
    let check = check.shapes([[1, 3], [2, 3], [65, 3], [300, 3]]);
    for degrees in 1..=8 {
        let report = check.run(gpu(), &SphericalHarmonics::new(degrees));
        let report = report.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(report.kernels.len(), 2, "{report}");
        assert_narrow(&report);
    }
}

#[test]
fn normalizations_are_good() {
    assert_good(&[
        &BatchNorm::new(),
        &BatchNorm::new().eps(0.1).momentum(0.75),
        &LayerNorm::new(),
    ]);
}

fn assert_narrow(report: &LayerReport) {
    for row in &report.rows {
        assert!(row.difference <= row.bound && row.bound < 1.0, "{report}");
    }
}

#[test]
fn every_layer_of_images() {
    let layers: [(&dyn Layer, usize); 6] = [
        (&MaxPool2d::new(2), 2),
        (&MaxPool2d::new(3).stride(2).padding(1), 2),
        (&AvgPool2d::new([2, 3]), 2),
        (&AvgPool2d::new(3).stride([1, 2]).padding(1), 2),
        (&AvgPool2d::global(), 2),
        // One kernel copies in both directions.
        (&Flatten, 1),
    ];
    let check = LayerCheck::default().shapes([(1, [1, 3, 3]), (3, [2, 6, 7]), (2, [3, 9, 4])]);
    for (layer, kernels) in layers {
        let report = check.run(gpu(), layer);
        let report = report.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(report.layer, layer.name());
        assert_eq!(report.kernels.len(), kernels, "{report}");
        assert_narrow(&report);
    }
}

/// Layers of images, whose channels have several positions: as many as a workgroup and more, and full and partial
/// pieces.
#[test]
fn layers_of_images() {
    let shapes = [
        (2, [2, 2, 2]),
        (4, [3, 5, 5]),
        (1, [5, 3, 1]),
        (7, [65, 2, 3]),
        (3, [1, 9, 9]),
        (9, [2, 31, 33]),
    ];
    let layers: [&dyn Layer; 2] = [&BatchNorm::new(), &LayerNorm::new()];
    for layer in layers {
        let check = LayerCheck::default().shapes(shapes);
        let report = check
            .run(gpu(), layer)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(report.layer, layer.name());
    }
}

/// Positions in the plane and in space, with fewer and more rows than a workgroup has, and enough for sums in its
/// memory.
#[test]
fn every_grid() {
    let grid = HashGrid::new().levels(4).table_size(64).base_resolution(3);
    let layers = [
        grid.clone(),
        grid.clone().features_per_level(1).growth(2.5),
        grid.features_per_level(8).growth(1.0),
    ];
    for layer in layers {
        for dimensions in [2, 3] {
            let shapes = [1, 3, 77, 300, 1030].map(|rows| [rows, dimensions]);
            let check = LayerCheck::default().shapes(shapes).inputs(-0.25..=1.25);
            let report = check.run(gpu(), &layer);
            let report = report.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(report.layer, layer.name());
            // With and without sums in workgroup memory.
            assert!(report.kernels.len() >= 5, "{report}");
            assert!(report.sanitized.len() >= 5, "{report}");
            // At a border between cells, any slope between the two sides is right.
            let others = report.rows.iter().filter(|row| row.tensor != "dx");
            assert!(others.clone().count() > 20, "{report}");
            for row in others {
                assert!(row.difference <= row.bound && row.bound < 0.1, "{report}");
            }
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
    let forward = Check::Parity(Pass::Forward);
    let backward = Check::Parity(Pass::Backward);
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
    // In an evaluation, in training and as a first layer, for the small shapes.
    let sanitized = "sanitizer scale::backward_parameters: clean in ";
    assert!(text.contains(sanitized), "{text}");
    let dispatches = report.sanitized.iter();
    assert!(dispatches.clone().all(|it| it.report.operations > 0));
    assert!(dispatches.count() > 30, "{text}");
}
