//! Rows that are predicted one after another on the CPU: the outputs of the network, and no allocation after the first.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/allocation.rs"]
mod allocation;

use allocation::Counting;
use wgrad::cpu::{Network, Predictor};
use wgrad::ndarray::{Array2, s};
use wgrad::ops::{
    BatchNorm, Conv2d, Dropout, Embedding, Flatten, LayerNorm, Linear, MaxPool2d, Relu, Tanh,
};
use wgrad::{Error, Sequential, TwoLayerNet};

#[global_allocator]
static COUNTING: Counting = Counting;

/// Bytes into which a product of matrices packs parts of them, at the most.
const PACKED: usize = 256 << 10;

/// A row of which most is 0, as the sum of such a one is another.
const SPARSE: usize = 9;

fn rows(count: usize, columns: usize) -> Array2<f32> {
    Array2::from_shape_fn((count, columns), |(row, column)| match (row, column % 3) {
        (SPARSE, 1) => 0.0,
        (SPARSE, 2) => -0.0,
        _ => ((row * 31 + column * 17) % 29) as f32 / 29.0 - 0.4,
    })
}

/// Networks, and the bytes that a row of each may take for its time: layers that are computed as they are defined have
/// some.
fn networks() -> Vec<(Sequential, usize)> {
    let start = Sequential::input(12).layer(Linear::new(40)).layer(Relu);
    let convolution = Sequential::input([2, 6, 6]).layer(Conv2d::new(3, 3));
    let convolution = convolution.layer(Relu).layer(MaxPool2d::new(2));
    let normalized = start.clone().named("skip").layer(LayerNorm::new());
    let dropping = start
        .clone()
        .layer(BatchNorm::new())
        .layer(Dropout::new(0.5));
    vec![
        (TwoLayerNet::spec(784, 50, 10), 0),
        (start.layer(Linear::new(1)), 0),
        (convolution.layer(Flatten).layer(Linear::new(5)), 4096),
        (
            normalized.layer(Tanh).add("skip").layer(Linear::new(7)),
            1024,
        ),
        (dropping.layer(Linear::new(33).without_bias()), 1024),
    ]
}

/// One test, as nothing else may run while allocations are counted.
#[test]
fn rows_are_predicted_without_allocation_after_the_first() {
    for (spec, most) in networks() {
        let network = spec.on_cpu().unwrap();
        let x = rows(33, network.features());
        let expected = network.predict(x.view()).unwrap();
        let mut predictor = Predictor::new(network);
        for count in [0, 5, 0] {
            let none = x.slice(s![..count, ..]);
            assert_eq!(
                predictor.predict(none).unwrap().dim(),
                (count, expected.ncols())
            );
        }
        assert_eq!(predictor.predict(x.view()).unwrap(), expected);
        for at in [7, SPARSE] {
            let alone = predictor.predict_row(&x.row(at).to_vec()).unwrap().to_vec();
            let of_network = predictor.network().predict(x.slice(s![at..=at, ..]));
            assert_eq!(of_network.unwrap().as_slice().unwrap(), alone);
            // Within rounding those beside others: of each sum in another order.
            for (alone, beside) in alone.iter().zip(expected.row(at)) {
                assert!(
                    (alone - beside).abs() <= 1e-5 * (1.0 + beside.abs()),
                    "{alone}, {beside}"
                );
            }
        }
        let row = x.row(7).to_vec();
        let alone = predictor.predict_row(&row).unwrap().to_vec();

        // What libraries keep for a thread is there from here on.
        let (same, bytes) =
            Counting::peak_of(|| (0..3).all(|_| predictor.predict_row(&row).unwrap() == alone));
        let network = predictor.network().to_safetensors().unwrap().len();
        assert!(
            same && bytes <= most,
            "{bytes} bytes by a network of {network}"
        );
        // Products of several rows pack their matrices into memory that they free.
        let (same, bytes) = Counting::peak_of(|| {
            let fewer = predictor.predict(x.slice(s![..5, ..])).unwrap().nrows();
            fewer == 5 && predictor.predict(x.view()).unwrap() == expected
        });
        assert!(
            same && bytes <= PACKED,
            "{bytes} bytes by a network of {network}"
        );
    }
    indices_are_checked_at_each_call();
}

fn indices_are_checked_at_each_call() {
    let spec = Sequential::input(1).another_input(2);
    let spec = spec.layer(Embedding::new(4, 3)).layer(Flatten);
    let network = spec.layer(Linear::new(2)).on_cpu();
    // The first input is read by nobody: no network.
    assert!(network.is_err());
    let spec = Sequential::input(2)
        .layer(Embedding::new(4, 3))
        .layer(Flatten);
    let network: Network = spec.layer(Linear::new(2)).on_cpu().unwrap();
    let mut predictor = Predictor::new(network);
    predictor.predict_row(&[0.0, 3.0]).unwrap();
    let (error, _) = Counting::peak_of(|| predictor.predict_row(&[0.0, 4.0]).map(<[f32]>::len));
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Setting { .. }), "{error}");
    assert!(error.to_string().contains("below 4"), "{error}");
    let row = [1.0, 2.0];
    predictor.predict_row(&row).unwrap();
    let (_, bytes) = Counting::peak_of(|| predictor.predict_row(&row).map(<[f32]>::len));
    assert_eq!(bytes, 0);
}
