//! The built-in synthetic digits are the same on every machine, have balanced classes, and are about as hard to
//! classify as documented.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis, Zip};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use sha2::{Digest, Sha256};
use wgrad::data::synthetic::{digits, digits_of};
use wgrad::data::{DataError, Dataset};

const SIDE: usize = 28;
const PIXELS: usize = SIDE * SIDE;

fn checksum(data: &Dataset) -> String {
    let labels = data.labels().indices().iter().flat_map(|l| l.to_le_bytes());
    let mut hash = Sha256::new();
    hash.update(data.features());
    hash.update(labels.collect::<Vec<_>>());
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The bytes of the digits must not change, because results on them are comparable only while they are the same. After
/// an intended change of the drawing, change these values too.
#[test]
fn the_bytes_are_pinned() {
    let split = digits_of(42, 100, 100).unwrap();
    let found = [&split.train, &split.test].map(checksum);
    let pinned = [
        "4e1c1804c81f152422cf5403f571701937252f8e1a55c5f7a2b299a0e2d53938",
        "c688d0683b4ef9e6d07323ef6cebf16e917b09259b131104a714110220fcb928",
    ];
    assert_eq!(found, pinned);
}

#[test]
fn the_same_seed_gives_the_same_digits_and_another_seed_others() {
    let [one, again, other] = [7, 7, 8].map(|seed| digits_of(seed, 1_200, 700).unwrap());
    assert_eq!(one.train.features(), again.train.features());
    assert_eq!(one.train.labels(), again.train.labels());
    assert_eq!(one.test.features(), again.test.features());
    assert_eq!(one.test.labels(), again.test.labels());
    assert_ne!(one.train.features(), other.train.features());
    assert_ne!(one.train.labels(), other.train.labels());
}

#[test]
fn an_example_does_not_depend_on_how_many_there_are() {
    let many = digits_of(3, 1_501, 1_100).unwrap();
    let few = digits_of(3, 333, 1).unwrap();
    for (many, few) in [(&many.train, &few.train), (&many.test, &few.test)] {
        assert_eq!(few.features(), &many.features()[..few.features().len()]);
        assert_eq!(
            few.labels().indices(),
            &many.labels().indices()[..few.len()]
        );
    }
}

/// No image occurs twice, so no test image is in the training set.
#[test]
fn no_two_images_are_equal() {
    let split = digits_of(11, 3_000, 3_000).unwrap();
    let rows = [&split.train, &split.test].map(|data| data.features().chunks_exact(PIXELS));
    let different: HashSet<&[u8]> = rows.into_iter().flatten().collect();
    assert_eq!(different.len(), 6_000);
}

#[test]
fn names_and_sizes_are_as_asked() {
    let split = digits_of(0, 12, 5).unwrap();
    assert_eq!(split.train.name(), "synthetic digits train");
    assert_eq!(split.test.name(), "synthetic digits test");
    assert_eq!((split.train.len(), split.test.len()), (12, 5));
    assert_eq!(split.train.width(), PIXELS);
    assert_eq!(split.train.labels().classes(), 10);
}

#[test]
fn impossible_sizes_are_refused() {
    for (train, test, part) in [(0, 5, "train"), (5, 0, "test")] {
        let refused = digits_of(0, train, test).unwrap_err();
        let message = refused.to_string();
        assert!(matches!(refused, DataError::Empty { .. }), "{message}");
        assert!(message.contains(part), "{message}");
    }
    for train in [usize::MAX, usize::MAX / PIXELS] {
        let refused = digits_of(0, train, 1).unwrap_err();
        assert!(matches!(refused, DataError::TooLarge { examples, .. } if examples == train));
    }
}

#[test]
fn every_digit_is_about_as_frequent() {
    let split = digits_of(5, 5_000, 5_000).unwrap();
    for data in [&split.train, &split.test] {
        let mut counts = [0; 10];
        for &label in data.labels().indices() {
            counts[label as usize] += 1;
        }
        // 500 images per class are expected, with a standard deviation of 21.
        assert!(
            counts.iter().all(|count| (400..600).contains(count)),
            "{counts:?}"
        );
    }
}

#[test]
fn images_are_white_strokes_amid_black() {
    let train = digits_of(9, 2_000, 1).unwrap().train;
    let mean = |bytes: &mut dyn Iterator<Item = u8>| {
        let (sum, count) = bytes.fold((0.0, 0.0), |(s, c), byte| (s + f64::from(byte), c + 1.0));
        sum / count
    };
    let overall = mean(&mut train.features().iter().copied());
    // The mean pixel of MNIST is 33.
    assert!((20.0..40.0).contains(&overall), "mean {overall}");
    let border = |pixel: &usize| {
        [0, SIDE - 1]
            .iter()
            .any(|&end| pixel / SIDE == end || pixel % SIDE == end)
    };
    let ring: Vec<usize> = (0..PIXELS).filter(border).collect();
    let rows = || (0..train.len()).map(|example| train.row(example));
    let edge = mean(&mut rows().flat_map(|row| ring.iter().map(|&pixel| row[pixel])));
    assert!(edge < 1.0, "mean at the border {edge}");
    for (example, row) in rows().enumerate() {
        let ink = row.iter().filter(|&&byte| byte > 100).count();
        assert!(
            (15..350).contains(&ink),
            "example {example} has {ink} bright pixels"
        );
        let dark = row.iter().filter(|&&byte| byte == 0).count();
        assert!(
            dark > PIXELS / 3,
            "example {example} has {dark} black pixels"
        );
    }
}

/// The digits are so hard that depth helps: a linear classifier is worse than a small network of two layers. That
/// network classifies them well.
#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "minutes without optimisation: run with --release"
)]
fn a_linear_classifier_stays_behind_a_small_network() {
    let split = digits(1);
    let mut chance = ChaCha8Rng::seed_from_u64(1);
    let mut linear = Net::new(&[PIXELS, 10], &mut chance);
    linear.train(&split.train, 6_000, 0.2, &mut chance);
    linear.train(&split.train, 2_000, 0.05, &mut chance);
    let mut two_layer = Net::new(&[PIXELS, 50, 10], &mut chance);
    two_layer.train(&split.train, 10_000, 0.1, &mut chance);
    let accuracies = [&linear, &two_layer].map(|net| net.accuracy(&split.test));
    println!(
        "linear {:.4}, two layers {:.4}",
        accuracies[0], accuracies[1]
    );
    assert!(
        (0.85..0.95).contains(&accuracies[0]),
        "linear {accuracies:?}"
    );
    assert!(
        (0.97..0.99).contains(&accuracies[1]),
        "two layers {accuracies:?}"
    );
}

/// A network of affine layers with `ReLU` between them and softmax cross-entropy at the end, written for this test.
struct Net {
    layers: Vec<Affine>,
}

struct Affine {
    weight: Array2<f32>,
    bias: Array1<f32>,
    gradient: Array2<f32>,
}

impl Net {
    fn new(sizes: &[usize], chance: &mut ChaCha8Rng) -> Self {
        let layers = sizes.windows(2).map(|size| {
            let shape = (size[0], size[1]);
            let mut normal = || -> f32 { StandardNormal.sample(chance) };
            Affine {
                weight: Array2::from_shape_simple_fn(shape, || 0.01 * normal()),
                bias: Array1::zeros(size[1]),
                gradient: Array2::zeros(shape),
            }
        });
        Self {
            layers: layers.collect(),
        }
    }

    /// Returns the input of every layer, followed by the logits.
    fn forward(&self, input: Array2<f32>) -> Vec<Array2<f32>> {
        let mut values = vec![input];
        for (index, layer) in self.layers.iter().enumerate() {
            let mut value = values[index].dot(&layer.weight) + &layer.bias;
            if index + 1 < self.layers.len() {
                value.mapv_inplace(|v| v.max(0.0));
            }
            values.push(value);
        }
        values
    }

    fn train(&mut self, data: &Dataset, steps: usize, rate: f32, chance: &mut ChaCha8Rng) {
        for _ in 0..steps {
            let (input, labels) = batch(data, 100, chance);
            let mut values = self.forward(input);
            let mut error = values.pop().unwrap();
            softmax_gradient(&mut error, &labels);
            for (index, input) in values.iter().enumerate().rev() {
                let layer = &mut self.layers[index];
                general_mat_mul(1.0, &input.t(), &error, 0.0, &mut layer.gradient);
                let bias = error.sum_axis(Axis(0));
                if index > 0 {
                    error = error.dot(&layer.weight.t());
                    Zip::from(&mut error).and(input).for_each(relu_gradient);
                }
                layer.weight.scaled_add(-rate, &layer.gradient);
                layer.bias.scaled_add(-rate, &bias);
            }
        }
    }

    fn accuracy(&self, data: &Dataset) -> f64 {
        let input = ArrayView2::from_shape((data.len(), PIXELS), data.features()).unwrap();
        let logits = self
            .forward(input.mapv(|byte| f32::from(byte) / 255.0))
            .pop()
            .unwrap();
        let hits = logits
            .outer_iter()
            .zip(data.labels().indices())
            .filter(|(row, label)| {
                let best = (0..10).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
                best == **label as usize
            });
        hits.count() as f64 / data.len() as f64
    }
}

fn batch(data: &Dataset, size: usize, chance: &mut ChaCha8Rng) -> (Array2<f32>, Vec<usize>) {
    let mut input = Array2::zeros((size, PIXELS));
    let labels = input.outer_iter_mut().map(|mut row| {
        let example = chance.next_u32() as usize % data.len();
        for (value, &byte) in row.iter_mut().zip(data.row(example)) {
            *value = f32::from(byte) / 255.0;
        }
        data.labels().indices()[example] as usize
    });
    let labels = labels.collect();
    (input, labels)
}

fn relu_gradient(error: &mut f32, &output: &f32) {
    if output <= 0.0 {
        *error = 0.0;
    }
}

/// Turns logits into the gradient of the mean cross-entropy: `(softmax − one-hot) / rows`.
fn softmax_gradient(logits: &mut Array2<f32>, labels: &[usize]) {
    let rows = labels.len() as f32;
    for (mut row, &label) in logits.outer_iter_mut().zip(labels) {
        let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.mapv_inplace(|value| (value - greatest).exp());
        let sum = row.sum() * rows;
        row /= sum;
        row[label] -= 1.0 / rows;
    }
}
