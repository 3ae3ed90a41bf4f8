//! Networks over images: the fast forms compared with the definitions.
#![allow(clippy::unwrap_used)]

use ndarray::{Array2, ArrayD};

use crate::cpu::Network;
use crate::cpu::cores::with_threads;
use crate::network::Sequential;
use crate::ops::{AvgPool2d, Conv2d, Layer, MaxPool2d, MeanSquaredError, Relu};
use crate::reference::{Float, Targets};

/// Returns numbers between −1 and 1, without a pattern that repeats with the size of a window.
fn numbers<F: Float>(dims: (usize, usize), seed: usize) -> Array2<F> {
    Array2::from_shape_fn(dims, |(row, column)| {
        let at = (row * 7919 + column * 104_729 + seed * 31) % 9973;
        F::from_f64(at as f64 / 5000.0 - 1.0)
    })
}

/// Returns the outputs of a network, and the gradients with respect to all parameters.
fn passes<F: Float>(network: &Network<F>, rows: usize) -> Vec<(String, ArrayD<F>)> {
    let x = numbers((rows, network.features()), 1);
    let targets = numbers((rows, network.output().len()), 2);
    let outputs = network.predict(x.view()).unwrap();
    let targets = Targets::Values(targets.view());
    let gradients = network
        .gradient(&MeanSquaredError, x.view(), targets)
        .unwrap();
    let gradients = gradients.into_iter();
    std::iter::once(("outputs".to_owned(), outputs.into_dyn()))
        .chain(gradients)
        .collect()
}

fn assert_near<F: Float>(
    what: &str,
    found: &[(String, ArrayD<F>)],
    expected: &[(String, ArrayD<f64>)],
    share: f64,
) {
    assert_eq!(found.len(), expected.len());
    for ((name, found), (_, expected)) in found.iter().zip(expected) {
        let largest = expected
            .iter()
            .fold(0.0, |most: f64, value| most.max(value.abs()));
        for (found, expected) in found.iter().zip(expected) {
            let off = (found.into_f64() - expected).abs();
            assert!(
                off <= share * largest,
                "{what}, {name}: {found} for {expected}"
            );
        }
    }
}

/// Compares the fast network with its definition, for a network of a 1×1 convolution, `conv` and `layer`. Because of
/// the first layer, `conv` must compute a gradient with respect to its input.
fn assert_is_its_definition(
    image: [usize; 3],
    rows: usize,
    conv: Conv2d,
    layer: impl Layer + 'static,
) {
    let spec = Sequential::input(image)
        .layer(Conv2d::new(image[0], 1))
        .layer(conv);
    let spec = spec.layer(layer).seed(3);
    let what = format!("{} over {rows} × {image:?}", spec.summary().unwrap());
    let expected = passes(&Network::<f64>::by_definition(&spec).unwrap(), rows);
    let double = passes(&Network::<f64>::new(&spec).unwrap(), rows);
    // The tolerances are rounding errors of sums of up to a few thousand products, none of which is larger than the
    // largest sum.
    assert_near(&what, &double, &expected, 1e-12);
    let single = passes(&Network::<f32>::new(&spec).unwrap(), rows);
    assert_near(&what, &single, &expected, 1e-4);
}

#[test]
fn convolutions_are_their_definitions() {
    let conv =
        |kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2], dilation: [usize; 2]| {
            let conv = Conv2d::new(5, kernel).stride(stride).padding(padding);
            conv.dilation(dilation)
        };
    for (image, rows, layer) in [
        ([1, 1, 1], 1, conv([1, 1], [1, 1], [0, 0], [1, 1])),
        ([1, 9, 7], 3, conv([3, 3], [1, 1], [0, 0], [1, 1])),
        ([3, 9, 7], 17, conv([3, 3], [1, 1], [1, 1], [1, 1])),
        ([2, 9, 7], 33, conv([3, 2], [2, 2], [1, 1], [1, 1])),
        ([2, 9, 8], 2, conv([2, 5], [3, 1], [0, 2], [2, 1])),
        ([2, 9, 8], 2, conv([3, 3], [1, 2], [4, 5], [1, 3])),
        ([2, 5, 5], 4, conv([5, 5], [7, 7], [0, 0], [1, 1])),
        ([2, 4, 4], 4, conv([1, 1], [1, 1], [2, 2], [1, 1])),
        ([1, 41, 47], 1, conv([5, 3], [2, 3], [2, 0], [1, 1])),
    ] {
        assert_is_its_definition(image, rows, layer.clone(), Relu);
        assert_is_its_definition(image, rows, layer.without_bias(), MaxPool2d::new(1));
    }
    // The columns of one image need several blocks.
    let several = Conv2d::new(3, 5).padding(2);
    assert_is_its_definition([16, 24, 24], 2, several, AvgPool2d::global());
}

#[test]
fn pooling_is_its_definition() {
    for ([height, width], kernel, stride, padding) in [
        ([1, 1], [1, 1], [1, 1], [0, 0]),
        ([24, 24], [2, 2], [2, 2], [0, 0]),
        ([7, 9], [2, 2], [2, 2], [0, 0]),
        ([9, 9], [3, 3], [2, 2], [1, 1]),
        ([9, 8], [2, 2], [2, 2], [1, 1]),
        ([9, 8], [2, 2], [1, 1], [0, 0]),
        ([9, 8], [2, 5], [3, 1], [1, 2]),
        ([9, 8], [2, 2], [5, 3], [0, 0]),
    ] {
        let image = [3, height, width];
        for rows in [1, 5, 33] {
            let conv = Conv2d::new(4, 1);
            let max = MaxPool2d::new(kernel).stride(stride).padding(padding);
            let mean = AvgPool2d::new(kernel).stride(stride).padding(padding);
            assert_is_its_definition(image, rows, conv.clone(), max);
            assert_is_its_definition(image, rows, conv.clone(), mean);
            assert_is_its_definition(image, rows, conv, AvgPool2d::global());
        }
    }
}

/// For ties, infinities and NaN, max pooling gives the bits of its definition.
#[test]
fn the_winner_is_that_of_the_definition() {
    let special = [
        0.0,
        -0.0,
        1.0,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::INFINITY,
        1.0,
    ];
    for (kernel, stride, padding) in [([2, 2], 2, 0), ([3, 3], 2, 1), ([2, 3], 1, 0)] {
        let pool = MaxPool2d::new(kernel).stride(stride).padding(padding);
        let spec = Sequential::input([2, 6, 7]).layer(pool);
        // A network needs parameters, and pooling has none.
        let spec = spec.layer(crate::ops::Linear::new(1));
        for period in [1, 2, 3, 5, 7] {
            let x =
                Array2::from_shape_fn((3, 84), |(row, column)| special[(row + column) % period]);
            let values = |network: Network<f32>| {
                let values = network.activations(x.view()).unwrap().swap_remove(1).values;
                values.mapv(f32::to_bits)
            };
            let expected = values(Network::by_definition(&spec).unwrap());
            assert_eq!(
                values(Network::new(&spec).unwrap()),
                expected,
                "{kernel:?}, {period}"
            );
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let spec = Sequential::input([1, 28, 28])
        .layer(Conv2d::new(30, 5))
        .layer(Relu)
        .layer(MaxPool2d::new(2))
        .layer(Conv2d::new(16, 3).padding(1))
        .seed(1);
    let run = |threads| {
        let network = Network::<f32>::new(&spec).unwrap();
        with_threads(threads, || passes(&network, 100))
    };
    let expected = run(1);
    for threads in [2, 3] {
        assert!(run(threads) == expected, "{threads} threads");
    }
}
