use wgrad::ndarray::{Array2, ArrayView2, Axis};
use wgrad::ops::{Loss as _, LossPass, SoftmaxCrossEntropy};
use wgrad::reference::softmax_cross_entropy;

use crate::extremes::{EXTREMES, assert_agrees};
use crate::gpu::{Bench, FLUSHED, Fill, Numbers, ROUNDING, ULP, assert_close, folding_gpu, gpu};

struct Outcome {
    losses: Vec<f32>,
    dlogits: Vec<f32>,
}

fn run(shape: [usize; 2], logits: &[f32], labels: &[u32]) -> Outcome {
    let [rows, _] = shape;
    let bench = Bench::new(if shape == FOLDED {
        folding_gpu()
    } else {
        gpu()
    });
    let input = bench.input("logits", shape, logits);
    let targets = bench.input_u32("labels", [1, rows], labels);
    let losses = bench.output("losses", [1, rows]);
    let dlogits = bench.output("dlogits", shape);
    bench.run(&format!("softmax {shape:?}"), 1, |recorder| {
        let pass = LossPass::new([&input, &targets], [&losses, &dlogits]);
        SoftmaxCrossEntropy
            .forward_backward(recorder, pass)
            .unwrap();
    });
    Outcome {
        losses: bench.read(&losses),
        dlogits: bench.read(&dlogits),
    }
}

/// Error bounds of a row's loss and gradient, from WGSL's accuracies.
struct Bound {
    loss: f64,
    dlogits: Vec<f64>,
}

/// Softmax of a row with error bounds. `z = logit − max` is rounded, `exp(z)` has an error of 3 + 2|z| ULP, each
/// addition is rounded, and `log` has an error of 3 ULP, or 2⁻²¹ for arguments up to 2.
pub(crate) struct Softmax {
    pub(crate) z: Vec<f64>,
    e: Vec<f64>,
    /// The relative error of each element of `e`.
    of_exp: Vec<f64>,
    sum: f64,
    /// The relative error of `sum`.
    of_sum: f64,
    of_log: f64,
}

impl Softmax {
    pub(crate) fn of(row: &[f64]) -> Self {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let z: Vec<f64> = row.iter().map(|logit| logit - largest).collect();
        let e: Vec<f64> = z.iter().map(|z| z.exp()).collect();
        let of_exp = z.iter().zip(&e).map(|(z, e)| match *e {
            0.0 => 0.0,
            _ => (3.0 + 2.0 * z.abs()) * ULP + z.abs() * ROUNDING,
        });
        let of_exp: Vec<f64> = of_exp.collect();
        let sum: f64 = e.iter().sum();
        let weighted: f64 = e.iter().zip(&of_exp).map(|(e, error)| e * error).sum();
        let of_log = if sum <= 2.001 {
            1.0 / f64::from(1 << 21)
        } else {
            3.0 * ULP * sum.ln()
        };
        Self {
            of_sum: weighted / sum + row.len() as f64 * (ROUNDING + FLUSHED),
            z,
            e,
            of_exp,
            sum,
            of_log,
        }
    }

    /// Returns minus the logarithm of a class's probability, and its error.
    pub(crate) fn loss(&self, class: usize) -> [f64; 2] {
        let log = self.sum.ln();
        let z = self.z[class];
        let of_loss = self.of_sum + self.of_log + ROUNDING * z.abs() + ROUNDING * (log - z);
        [log - z, of_loss]
    }

    /// Returns the probability of a class, and its error. A division has an error of 2.5 ULP.
    pub(crate) fn probability(&self, class: usize) -> [f64; 2] {
        let p = self.e[class] / self.sum;
        [p, p * (self.of_exp[class] + self.of_sum + 2.5 * ULP)]
    }
}

pub(crate) const SECOND_ORDER: f64 = 1.001;

fn bound(row: &[f64], label: usize, batch: usize) -> Bound {
    let softmax = Softmax::of(row);
    let of_gradient = |class: usize| {
        let [p, of_p] = softmax.probability(class);
        let target = if class == label { 1.0 } else { 0.0 };
        (of_p + 3.0 * ROUNDING * (p - target).abs()) / batch as f64
    };
    Bound {
        loss: SECOND_ORDER * softmax.loss(label)[1],
        dlogits: (0..row.len())
            .map(|class| SECOND_ORDER * of_gradient(class) + 3.0 * FLUSHED)
            .collect(),
    }
}

fn loss_of_row(row: ArrayView2<'_, f64>, label: u32) -> f64 {
    let mut unread = Array2::zeros(row.raw_dim());
    softmax_cross_entropy(row, &[label], unread.view_mut())
}

fn check(shape: [usize; 2], logits: &[f32], labels: &[u32]) {
    let case = format!("softmax cross-entropy {shape:?}");
    let found = run(shape, logits, labels);
    let values = logits.iter().map(|&logit| f64::from(logit)).collect();
    let z = Array2::from_shape_vec(shape, values).unwrap();
    let mut dlogits = Array2::zeros(shape);
    let _mean = softmax_cross_entropy(z.view(), labels, dlogits.view_mut());
    let rows = || z.axis_chunks_iter(Axis(0), 1).zip(labels);
    let bounds: Vec<Bound> = rows()
        .map(|(row, &label)| bound(row.as_slice().unwrap(), label as usize, shape[0]))
        .collect();
    let losses = rows().map(|(row, &label)| loss_of_row(row, label));
    assert_close(
        &case,
        &found.losses,
        losses,
        bounds.iter().map(|bound| bound.loss),
    );
    let tolerance = bounds
        .iter()
        .flat_map(|bound| bound.dlogits.iter().copied());
    assert_close(&case, &found.dlogits, dlogits.iter().copied(), tolerance);
}

/// A shape with seven workgroups of 64 rows, for the device that folds dispatches into two dimensions.
const FOLDED: [usize; 2] = [6 * 64 + 1, 2];

const SHAPES: [[usize; 2]; 15] = [
    [1, 1],
    [1, 2],
    [2, 1],
    [3, 5],
    [63, 10],
    [64, 10],
    [65, 10],
    [100, 10],
    [127, 3],
    [128, 2],
    [129, 7],
    [5, 64],
    [7, 997],
    [1, 4096],
    FOLDED,
];

fn labels(numbers: &mut Numbers, [rows, classes]: [usize; 2]) -> Vec<u32> {
    (0..rows)
        .map(|_| u32::try_from(numbers.below(classes)).unwrap())
        .collect()
}

#[test]
fn loss_and_gradient_are_the_formula() {
    for shape in SHAPES {
        for spread in [1.0, 30.0, 1e4] {
            let mut numbers = Numbers::new((shape[0] + 1000 * shape[1]) as u64);
            let mut logits = numbers.fill(shape[0] * shape[1], Fill::Moderate);
            logits.iter_mut().for_each(|logit| *logit *= spread);
            check(shape, &logits, &labels(&mut numbers, shape));
        }
    }
}

#[test]
fn logits_of_any_finite_size_are_stable() {
    let extremes = [
        0.0, -0.0, 1e30, -1e30, 1e-30, 88.8, -104.0, 1e38, -1e38, 7.0, 7.0,
    ];
    let mut numbers = Numbers::new(4);
    let logits: Vec<f32> = (0..50 * 5).map(|_| extremes[numbers.below(11)]).collect();
    check([50, 5], &logits, &labels(&mut numbers, [50, 5]));
}

#[test]
fn equal_logits_share_the_gradient() {
    for value in [0.0, 3.5, -1e20] {
        check([3, 10], &[value; 30], &[0, 4, 9]);
    }
}

/// A row that is not finite has a loss of NaN. Drivers may assume that there is no NaN, so the kernel must test the
/// bits.
#[test]
fn a_row_that_is_not_finite_has_a_nan_loss_and_no_other() {
    let shape = [66, 4];
    for spoil in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN] {
        for class in 0..4 {
            let mut numbers = Numbers::new(5);
            let mut logits = numbers.fill(shape[0] * shape[1], Fill::Moderate);
            let labels = labels(&mut numbers, shape);
            let sound = run(shape, &logits, &labels);
            for row in [0, 33, 65] {
                logits[row * 4 + class] = spoil;
            }
            let spoilt = run(shape, &logits, &labels);
            for (row, (spoilt, sound)) in spoilt.losses.iter().zip(&sound.losses).enumerate() {
                if [0, 33, 65].contains(&row) {
                    let bits = spoilt.to_bits() & 0x7fff_ffff;
                    assert!(
                        bits > 0x7f80_0000,
                        "row {row}, {spoil}: {bits:#x} is no NaN"
                    );
                } else {
                    assert_eq!(spoilt.to_bits(), sound.to_bits(), "row {row}, {spoil}");
                }
            }
        }
    }
}

/// Tests every pair of extreme numbers as the logits of two classes, with either label. The loss is NaN if a logit is
/// not finite, and infinite if the difference of the logits overflows.
#[test]
fn losses_of_extremes_are_those_of_the_cpu() {
    let pairs = EXTREMES.iter().flat_map(|&a| EXTREMES.map(|b| [a, b]));
    let logits: Vec<[f32; 2]> = pairs.flat_map(|pair| [pair; 2]).collect();
    let labels: Vec<u32> = (0..2).cycle().take(logits.len()).collect();
    let found = run([logits.len(), 2], logits.as_flattened(), &labels);
    let mut infinite = 0;
    for ((pair, &label), &found) in logits.iter().zip(&labels).zip(&found.losses) {
        let row = ArrayView2::from_shape((1, 2), pair).unwrap();
        let mut unread = Array2::zeros((1, 2));
        let expected = softmax_cross_entropy(row, &[label], unread.view_mut());
        let is_finite = pair.iter().all(|logit| logit.is_finite());
        assert_eq!(expected.is_nan(), !is_finite, "{pair:?}");
        infinite += u32::from(expected.is_infinite());
        assert_agrees(&format!("{pair:?}, label {label}"), found, expected);
        // In `f64`, nothing overflows.
        let double = loss_of_row(row.mapv(f64::from).view(), label);
        assert_eq!(double.is_nan(), !is_finite, "{pair:?}");
    }
    assert_eq!(infinite, 2);
}

/// A label that is no class gives a loss of NaN. It must not cause a write out of bounds, which the guard bands check.
#[test]
fn a_label_that_is_no_class_has_a_nan_loss() {
    for classes in [1, 2, 10] {
        let mut numbers = Numbers::new(6);
        let logits = numbers.fill(70 * classes, Fill::Moderate);
        let mut labels = labels(&mut numbers, [70, classes]);
        let classes_u32 = u32::try_from(classes).unwrap();
        for (row, label) in [(0, classes_u32), (33, u32::MAX), (69, classes_u32 + 1)] {
            labels[row] = label;
        }
        let found = run([70, classes], &logits, &labels);
        for (row, loss) in found.losses.iter().enumerate() {
            assert_eq!(
                loss.is_nan(),
                labels[row] >= classes_u32,
                "row {row}: {loss}"
            );
        }
    }
}
