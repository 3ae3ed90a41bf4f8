use wgrad::ndarray::{Array2, Axis};
use wgrad::ops::{self, AdjustedCrossEntropy, Loss as _, SoftmaxCrossEntropy};
use wgrad::reference::{self, Float, Loss as _, LossPass, Targets, softmax_cross_entropy};

use crate::extremes::{EXTREMES, assert_agrees};
use crate::gpu::{Bench, FLUSHED, Fill, Numbers, ROUNDING, ULP, assert_close, folding_gpu, gpu};
use crate::softmax_cross_entropy::{SECOND_ORDER, Softmax};

/// A shape with seven workgroups of 64 rows, for the device that folds dispatches into two dimensions.
const FOLDED: [usize; 2] = [6 * 64 + 1, 2];

const SHAPES: [[usize; 2]; 13] = [
    [1, 1],
    [1, 2],
    [2, 1],
    [3, 5],
    [63, 10],
    [64, 10],
    [65, 10],
    [127, 3],
    [128, 2],
    [129, 7],
    [7, 997],
    [1_037, 3],
    FOLDED,
];

const SMOOTHING: [f32; 4] = [0.0, 0.1, 0.75, 1.0];

/// The optional class weights, and the label smoothing.
#[derive(Debug, Clone)]
struct Settings {
    weights: Option<Vec<f32>>,
    smoothing: f32,
}

impl Settings {
    fn loss(&self) -> AdjustedCrossEntropy {
        let loss = SoftmaxCrossEntropy.label_smoothing(self.smoothing);
        match &self.weights {
            Some(weights) => loss.class_weights(weights.as_slice()),
            None => loss,
        }
    }

    fn weight(&self, class: usize) -> f64 {
        let weights = self.weights.as_ref();
        weights.map_or(1.0, |weights| weights[class].into())
    }

    /// Computes the mean loss and its gradient by the definition.
    fn formula<F: Float>(&self, logits: &Array2<F>, labels: &[u32]) -> (F, Array2<F>) {
        let weights = self.weights.iter().flatten();
        let twin = reference::AdjustedCrossEntropy {
            class_weights: self
                .weights
                .as_ref()
                .map(|_| weights.map(|&weight| f64::from(weight)).collect()),
            label_smoothing: self.smoothing.into(),
        };
        let mut dlogits = Array2::zeros(logits.raw_dim());
        let targets = Targets::Classes(labels);
        let pass = LossPass::new(logits.view(), targets, dlogits.view_mut());
        (twin.forward_backward(pass), dlogits)
    }
}

/// Computes the losses of the rows, and the gradient, on the GPU.
fn run(settings: &Settings, shape: [usize; 2], logits: &[f32], labels: &[u32]) -> [Vec<f32>; 2] {
    let bench = Bench::new(if shape == FOLDED {
        folding_gpu()
    } else {
        gpu()
    });
    let input = bench.input("logits", shape, logits);
    let targets = bench.input_u32("labels", [1, shape[0]], labels);
    let losses = bench.output("losses", [1, shape[0]]);
    let dlogits = bench.output("dlogits", shape);
    bench.run(&format!("{settings:?} {shape:?}"), 1, |recorder| {
        let pass = ops::LossPass::new([&input, &targets], [&losses, &dlogits]);
        settings.loss().forward_backward(recorder, pass).unwrap();
    });
    [bench.read(&losses), bench.read(&dlogits)]
}

/// Returns a row's term of the loss, computed class by class as in PyTorch's definition, its error bound, and the error
/// bounds of its terms of the gradient. All are before the division by the sum of weights. Weights are not negative, so
/// the relative error of a sum of weights is at most the relative error of its terms.
fn of_row(settings: &Settings, row: &[f64], label: usize) -> (f64, f64, Vec<f64>) {
    let classes = row.len();
    let smoothing = f64::from(settings.smoothing);
    let softmax = Softmax::of(row);
    // The relative error of a division, a subtraction, an addition and a product.
    let of_q = 2.5 * ULP + 3.0 * ROUNDING;
    let q = |class: usize| {
        let own = if class == label { 1.0 - smoothing } else { 0.0 };
        settings.weight(class) * (own + smoothing / classes as f64)
    };
    let summed = classes as f64 * ROUNDING;
    let mut uniform = 0.0;
    let mut of_loss = 0.0;
    for class in 0..classes {
        let [loss, error] = softmax.loss(class);
        uniform += settings.weight(class) * loss;
        of_loss += q(class) * (error + (of_q + ROUNDING + summed) * loss) + 2.0 * FLUSHED;
    }
    let own = settings.weight(label) * softmax.loss(label)[0];
    let term = (1.0 - smoothing) * own + smoothing / classes as f64 * uniform;
    let all: f64 = (0..classes).map(q).sum();
    let of_gradient = |class: usize| {
        let [p, of_p] = softmax.probability(class);
        let of_product = all * of_p + all * p * (of_q + summed + ROUNDING);
        of_product + of_q * q(class) + ROUNDING * (all * p - q(class)).abs() + 2.0 * FLUSHED
    };
    (term, of_loss, (0..classes).map(of_gradient).collect())
}

fn check(settings: &Settings, shape: [usize; 2], logits: &[f32], labels: &[u32]) {
    let case = format!("{settings:?} {shape:?}");
    let [losses, dlogits] = run(settings, shape, logits, labels);
    let values = logits.iter().map(|&logit| f64::from(logit)).collect();
    let z = Array2::from_shape_vec(shape, values).unwrap();
    let rows = shape[0] as f64;
    let weights = labels.iter().map(|&label| settings.weight(label as usize));
    let sum: f64 = weights.sum();
    let divisor = if sum > 0.0 { sum } else { rows };
    // One addition for each row that an invocation takes, a tree of 6 additions, a division, and the product with the
    // number of rows.
    let of_sum = (rows / 64.0 + 7.0) * ROUNDING + 2.5 * ULP + ROUNDING;
    let (mean, gradient) = settings.formula(&z, labels);
    let mut expected = Vec::new();
    let mut tolerance = Vec::new();
    let mut of_gradients = Vec::new();
    for (row, &label) in z.axis_chunks_iter(Axis(0), 1).zip(labels) {
        let (term, of_term, of_gradient) =
            of_row(settings, row.as_slice().unwrap(), label as usize);
        let loss = term * rows / divisor;
        expected.push(loss);
        let error = of_term * rows / divisor + (of_sum + ROUNDING) * loss;
        tolerance.push(SECOND_ORDER * error + FLUSHED);
        of_gradients.extend(of_gradient.into_iter().map(|error| error / divisor));
    }
    // The definition must agree with PyTorch's documented formula.
    let by_terms = expected.iter().sum::<f64>() / rows;
    assert!((mean - by_terms).abs() <= 1e-12 * by_terms, "{case}");
    assert_close(&case, &losses, expected, tolerance);
    let of_gradients = of_gradients.iter().zip(&gradient);
    let of_gradients = of_gradients.map(|(error, gradient)| {
        SECOND_ORDER * (error + (of_sum + ROUNDING) * gradient.abs()) + FLUSHED
    });
    assert_close(&case, &dlogits, gradient.iter().copied(), of_gradients);
}

fn labels(numbers: &mut Numbers, [rows, classes]: [usize; 2]) -> Vec<u32> {
    (0..rows)
        .map(|_| u32::try_from(numbers.below(classes)).unwrap())
        .collect()
}

/// Returns class weights. One of them is 0 if there are at least two classes.
fn weights(numbers: &mut Numbers, classes: usize) -> Vec<f32> {
    let mut weights: Vec<f32> = (0..classes).map(|_| 1.5 + numbers.uniform()).collect();
    if classes > 1 {
        weights[numbers.below(classes)] = 0.0;
    }
    weights
}

#[test]
fn adjusted_loss_and_gradient_are_the_formula() {
    for shape in SHAPES {
        for spread in [1.0, 30.0, 1e4] {
            let mut numbers = Numbers::new((shape[0] + 1000 * shape[1]) as u64);
            let mut logits = numbers.fill(shape[0] * shape[1], Fill::Moderate);
            logits.iter_mut().for_each(|logit| *logit *= spread);
            let labels = labels(&mut numbers, shape);
            let weights = weights(&mut numbers, shape[1]);
            for smoothing in SMOOTHING {
                for weights in [None, Some(weights.clone())] {
                    let settings = Settings { weights, smoothing };
                    check(&settings, shape, &logits, &labels);
                }
            }
        }
    }
}

/// Class weights may have very different magnitudes.
#[test]
fn weights_of_any_size_are_a_weighted_mean() {
    let mut numbers = Numbers::new(8);
    let shape = [130, 4];
    let logits = numbers.fill(130 * 4, Fill::Moderate);
    let labels = labels(&mut numbers, shape);
    for weights in [[1e-20; 4], [1e20; 4], [1e-20, 1e20, 0.0, 1.0]] {
        let weights = Some(weights.to_vec());
        for smoothing in [0.0, 0.1] {
            let settings = Settings {
                weights: weights.clone(),
                smoothing,
            };
            check(&settings, shape, &logits, &labels);
        }
    }
}

/// With equal class weights and no label smoothing, the loss is softmax cross-entropy.
#[test]
fn adjusted_by_nothing_it_is_softmax_cross_entropy() {
    let shape = [65, 10];
    let mut numbers = Numbers::new(7);
    let logits = numbers.fill(650, Fill::Moderate);
    let labels = labels(&mut numbers, shape);
    let z = Array2::from_shape_fn(shape, |(r, c)| f64::from(logits[10 * r + c]));
    let mut expected = Array2::zeros(shape);
    let mean = softmax_cross_entropy(z.view(), &labels, expected.view_mut());
    for weights in [None, Some(vec![1.0; 10]), Some(vec![0.25; 10])] {
        let settings = Settings {
            weights,
            smoothing: 0.0,
        };
        let (loss, gradient) = settings.formula(&z, &labels);
        assert!((loss - mean).abs() < 1e-14);
        assert!(
            (gradient - &expected)
                .iter()
                .all(|apart| apart.abs() < 1e-16)
        );
        check(&settings, shape, &logits, &labels);
    }
}

/// If the sum of weights is 0 and there is no label smoothing, the loss and the gradient are 0.
#[test]
fn labels_that_all_weigh_nothing_have_a_loss_of_zero() {
    let mut numbers = Numbers::new(9);
    let logits = numbers.fill(70 * 3, Fill::Moderate);
    let weights = Some(vec![2.0, 0.0, 1.0]);
    let settings = |smoothing| Settings {
        weights: weights.clone(),
        smoothing,
    };
    let [losses, dlogits] = run(&settings(0.0), [70, 3], &logits, &[1; 70]);
    assert!(losses.iter().all(|&loss| loss == 0.0), "{losses:?}");
    assert!(
        dlogits.iter().all(|&gradient| gradient == 0.0),
        "{dlogits:?}"
    );
    // With label smoothing, the loss is the mean over the rows.
    check(&settings(0.3), [70, 3], &logits, &[1; 70]);
    let [losses, _] = run(&settings(0.3), [70, 3], &logits, &[1; 70]);
    assert!(losses.iter().all(|&loss| loss > 0.0), "{losses:?}");
}

/// A row that is not finite has a loss of NaN. Drivers may assume that there is no NaN, so the kernel must test the
/// bits.
#[test]
fn an_adjusted_row_that_is_not_finite_has_a_nan_loss_and_no_other() {
    let shape = [66, 4];
    let settings = Settings {
        weights: Some(vec![1.0, 0.0, 2.0, 0.5]),
        smoothing: 0.1,
    };
    for spoil in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN] {
        for class in 0..4 {
            let mut numbers = Numbers::new(5);
            let mut logits = numbers.fill(66 * 4, Fill::Moderate);
            let labels = labels(&mut numbers, shape);
            let [sound, _] = run(&settings, shape, &logits, &labels);
            for row in [0, 33, 65] {
                logits[row * 4 + class] = spoil;
            }
            let [spoilt, _] = run(&settings, shape, &logits, &labels);
            for (row, (spoilt, sound)) in spoilt.iter().zip(&sound).enumerate() {
                if [0, 33, 65].contains(&row) {
                    assert!(spoilt.is_nan(), "row {row}, {spoil}: {spoilt}");
                } else {
                    assert_eq!(spoilt.to_bits(), sound.to_bits(), "row {row}, {spoil}");
                }
            }
        }
    }
}

/// Tests every pair of extreme numbers as the logits of two classes. The loss is NaN if a logit is not finite, and
/// infinite if a term with a nonzero weight overflows.
#[test]
fn adjusted_losses_of_extremes_are_those_of_the_cpu() {
    let pairs = EXTREMES.iter().flat_map(|&a| EXTREMES.map(|b| [a, b]));
    let logits: Vec<[f32; 2]> = pairs.flat_map(|pair| [pair; 2]).collect();
    let labels: Vec<u32> = (0..2).cycle().take(logits.len()).collect();
    for smoothing in [0.0, 0.5] {
        // With these weights, two rows, one of each label, have a sum of weights of 2, like two rows of weight 1.
        let settings = Settings {
            weights: Some(if smoothing == 0.0 {
                vec![2.0, 0.0]
            } else {
                vec![1.0, 1.0]
            }),
            smoothing,
        };
        let [losses, _] = run(&settings, [logits.len(), 2], logits.as_flattened(), &labels);
        let mut infinite = 0;
        for ((pair, &label), &found) in logits.iter().zip(&labels).zip(&losses) {
            let row = Array2::from_shape_fn((1, 2), |(_, column)| pair[column]);
            let (alone, _) = settings.formula(&row, &[label]);
            let weight = settings.weights.as_ref().unwrap()[label as usize];
            let expected = if weight > 0.0 { alone * weight } else { alone };
            let is_finite = pair.iter().all(|logit| logit.is_finite());
            assert_eq!(expected.is_nan(), !is_finite, "{pair:?}");
            infinite += u32::from(expected.is_infinite());
            assert_agrees(
                &format!("{pair:?}, label {label}, {settings:?}"),
                found,
                expected,
            );
        }
        assert!(infinite > 0, "{settings:?}");
    }
}

/// A label that is no class has weight 0, and a loss of NaN. It must not cause a write out of bounds, which the guard
/// bands check.
#[test]
fn an_adjusted_label_that_is_no_class_has_a_nan_loss() {
    for classes in [1, 2, 10] {
        let mut numbers = Numbers::new(6);
        let logits = numbers.fill(70 * classes, Fill::Moderate);
        let mut labels = labels(&mut numbers, [70, classes]);
        let classes_u32 = u32::try_from(classes).unwrap();
        let settings = Settings {
            weights: Some(vec![1.0; classes]),
            smoothing: 0.0,
        };
        let [sound, _] = run(&settings, [70, classes], &logits, &labels);
        for (row, label) in [(0, classes_u32), (33, u32::MAX), (69, classes_u32 + 1)] {
            labels[row] = label;
        }
        let [found, _] = run(&settings, [70, classes], &logits, &labels);
        for (row, (loss, sound)) in found.iter().zip(&sound).enumerate() {
            assert_eq!(
                loss.is_nan(),
                labels[row] >= classes_u32,
                "row {row}: {loss}"
            );
            // The mean is taken over the other 67 rows.
            let expected = f64::from(*sound) * 70.0 / 67.0;
            let apart = (f64::from(*loss) - expected).abs();
            assert!(loss.is_nan() || apart <= 1e-6 * expected, "row {row}");
        }
    }
}
