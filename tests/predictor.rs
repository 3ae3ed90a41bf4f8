//! Predicts single rows on the CPU. The outputs are those of the network, and after the first row nothing is allocated.
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

/// The maximum number of bytes that a matrix product allocates for packed parts of its matrices.
const PACKED: usize = 256 << 10;

/// The index of a row of which most elements are 0. The CPU engine computes the sums of such a row in another way.
const SPARSE: usize = 9;

fn rows(count: usize, columns: usize) -> Array2<f32> {
    Array2::from_shape_fn((count, columns), |(row, column)| match (row, column % 3) {
        (SPARSE, 1) => 0.0,
        (SPARSE, 2) => -0.0,
        _ => ((row * 31 + column * 17) % 29) as f32 / 29.0 - 0.4,
    })
}

/// Returns networks, and for each the number of bytes that a prediction may allocate temporarily. A layer allocates
/// memory if the CPU engine computes it by its definition in [`wgrad::reference`].
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

/// One test only, because nothing else may run while allocations are counted.
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
            // The results equal the results of the rows in a minibatch up to rounding, because the sums have another
            // order.
            for (alone, beside) in alone.iter().zip(expected.row(at)) {
                assert!(
                    (alone - beside).abs() <= 1e-5 * (1.0 + beside.abs()),
                    "{alone}, {beside}"
                );
            }
        }
        let row = x.row(7).to_vec();
        let alone = predictor.predict_row(&row).unwrap().to_vec();

        // Libraries have now allocated the memory that they keep for each thread.
        let (same, bytes) =
            Counting::peak_of(|| (0..3).all(|_| predictor.predict_row(&row).unwrap() == alone));
        let network = predictor.network().to_safetensors().unwrap().len();
        assert!(
            same && bytes <= most,
            "{bytes} bytes by a network of {network}"
        );
        // Products of several rows pack their matrices into temporary memory.
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
    // An input that no layer reads is an error.
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
    assert!(error.to_string().contains("from 0 to 3"), "{error}");
    let row = [1.0, 2.0];
    predictor.predict_row(&row).unwrap();
    let (_, bytes) = Counting::peak_of(|| predictor.predict_row(&row).map(<[f32]>::len));
    assert_eq!(bytes, 0);
}
