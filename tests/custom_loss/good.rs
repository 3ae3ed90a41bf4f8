//! Correct losses pass the check, and the report lists what was checked.

use wgrad::loss_check::{Check, Pass};
use wgrad::ops::{
    BinaryCrossEntropy, Huber, Loss, MeanSquaredError, RelativeL2, SoftmaxCrossEntropy,
};
use wgrad::{LossCheck, TensorShape, check_loss};

use crate::gpu::gpu;
use crate::hinge::SquaredHinge;
use crate::log_cosh::LogCosh;

/// The default shapes except the last one, which folds dispatches and takes a second per loss. The parity tests already
/// cover folded dispatches of the crate's losses.
const SMALL: [[usize; 2]; 10] = [
    [1, 1],
    [1, 2],
    [3, 7],
    [1, 63],
    [64, 1],
    [1, 65],
    [5, 127],
    [2, 64],
    [100, 50],
    [101, 53],
];

#[test]
fn losses_of_the_crate_and_of_others() {
    let small = LossCheck::default().shapes(SMALL);
    let all = LossCheck::default();
    // The number of outputs must equal the number of class weights, so only small shapes are possible.
    let weighted = SoftmaxCrossEntropy.class_weights([1.0, 0.0, 2.5]);
    let smoothed = SoftmaxCrossEntropy.class_weights([0.5, 3.0]);
    // The gradient of this loss differs from its derivative on purpose.
    let relative = small.clone().without_derivative();
    let losses: [(&LossCheck, &dyn Loss); 11] = [
        (&small, &SoftmaxCrossEntropy),
        (&small, &SoftmaxCrossEntropy.label_smoothing(0.1)),
        (&all, &weighted),
        (&all, &smoothed.label_smoothing(0.3)),
        (&small, &MeanSquaredError),
        (&small, &Huber::new(0.5)),
        (&relative, &RelativeL2::default()),
        (&relative, &RelativeL2::new(2.0)),
        (&small, &BinaryCrossEntropy),
        (&small, &LogCosh::good()),
        (&all, &SquaredHinge),
    ];
    for (check, loss) in losses {
        let report = check.run(gpu(), loss);
        let report = report.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(report.loss, loss.describe());
        assert!(!report.kernels.is_empty(), "{report}");
        for row in &report.rows {
            assert!(row.difference <= row.bound, "{report}");
        }
    }
}

#[test]
fn a_gradient_that_is_no_derivative_is_told_unless_it_is_left_out() {
    let check = LossCheck::default().shapes([[3, 7]]);
    let loss = RelativeL2::default();
    let error = check.run(gpu(), &loss).unwrap_err().to_string();
    assert!(error.contains("derivative"), "{error}");
    let report = check.without_derivative().run(gpu(), &loss);
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    let rows = report.rows.iter().map(|row| row.check);
    assert_eq!(rows.collect::<Vec<_>>(), [Check::Parity(Pass::Loss); 2]);
}

#[test]
fn the_report_has_a_row_for_both_tensors_of_every_minibatch() {
    let report = check_loss(gpu(), &LogCosh::good()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.kernels, ["log_cosh::log_cosh"]);
    let rows = |check, minibatch: [usize; 2]| {
        let minibatch = TensorShape::from(minibatch);
        let rows = report.rows.iter();
        let rows = rows.filter(move |row| (row.check, row.minibatch) == (check, minibatch));
        rows.map(|row| row.tensor.as_str()).collect::<Vec<_>>()
    };
    for shape in [[1, 1], [3, 7], [101, 53], [2053, 2053]] {
        assert_eq!(
            rows(Check::Parity(Pass::Loss), shape),
            ["losses", "doutputs"]
        );
    }
    assert_eq!(rows(Check::Gradient, [3, 7]), ["doutputs"]);
    assert_eq!(rows(Check::Gradient, [101, 53]), [""; 0]);
    let text = report.to_string();
    assert_eq!(text.lines().count(), 4 + report.rows.len());
    let sanitized = "\nsanitizer log_cosh::log_cosh: clean in ";
    assert!(text.contains(sanitized), "{text}");
    assert!(
        text.starts_with("LogCosh\ncontract  log_cosh::log_cosh matches"),
        "{text}"
    );
}

/// The check uses the shapes and the ranges of numbers that the user gives.
#[test]
fn shapes_and_ranges_are_those_asked_for() {
    let check = LossCheck::default().shapes([(4, [2, 3, 5]), (70, [1, 1, 3])]);
    let check = check.outputs(-2.0..=2.0).targets(0.0..=1.0).tolerance(1e-6);
    let report = check.run(gpu(), &LogCosh::good());
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    let minibatch = TensorShape::from((4, [2, 3, 5]));
    // The gradient for the smallest minibatch is compared with central differences, although it has more than 64
    // values.
    let of_smallest = report.rows.iter().filter(|row| row.minibatch == minibatch);
    assert_eq!(of_smallest.count(), 3, "{report}");
}
