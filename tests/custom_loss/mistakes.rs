//! Each mistake gives an error that names it.

use wgrad::loss_check::{CheckError, Pass, Place};
use wgrad::ops::{
    AdjustedCrossEntropy, BinaryCrossEntropy, Huber, Loss, LossPass, RelativeL2,
    SoftmaxCrossEntropy,
};
use wgrad::plan::Recorder;
use wgrad::reference::Criterion;
use wgrad::{Error, LossCheck, Sanitizer, check_loss};

use crate::gpu::gpu;
use crate::log_cosh::{LogCosh, OUTPUTS, TARGETS};

fn check_error(loss: &LogCosh) -> CheckError {
    match check_loss(gpu(), loss) {
        Err(Error::Check(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn bindings_in_another_order_than_in_the_wgsl() {
    let mut loss = LogCosh::good();
    loss.read = [TARGETS, OUTPUTS];
    let message = check_error(&loss).to_string();
    let expected = "LogCosh: kernel log_cosh::log_cosh does not match its WGSL: binding 1 is outputs, declared targets";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn targets_of_another_kind() {
    let mut loss = LogCosh::good();
    loss.read = [OUTPUTS, TARGETS.of_u32()];
    loss.source = loss
        .source
        .replace("targets: array<f32>", "targets: array<u32>");
    loss.source = loss.source.replace("- targets[i]", "- f32(targets[i])");
    match check_loss(gpu(), &loss) {
        Err(Error::Binding { kernel, .. }) => assert_eq!(kernel, "log_cosh::log_cosh"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_recorded() {
    let mut loss = LogCosh::good();
    loss.invocations = None;
    let message = check_error(&loss).to_string();
    let expected = "LogCosh, loss: no kernel was recorded, so nothing writes losses and doutputs. ";
    assert!(message.starts_with(expected), "{message}");
}

fn unwritten(loss: &LogCosh) -> Box<Place> {
    match check_error(loss) {
        CheckError::Unwritten { at } => at,
        error => panic!("{error}"),
    }
}

#[test]
fn a_row_too_few() {
    let mut loss = LogCosh::good();
    loss.invocations = Some(|rows| if rows > 64 { 64 } else { rows });
    let at = unwritten(&loss);
    assert_eq!((at.pass, at.tensor.as_str()), (Pass::Loss, "losses"));
    assert_eq!((at.shape, at.element), ([1, 100].into(), [0, 64]));
    let at = unwritten(&LogCosh::with(
        "doutputs[i] = ",
        "if (c > 0u) { doutputs[i] = 0.0; } else if (size.rows > 4000u) { doutputs[i] = 1.0; }\n            let unused = ",
    ));
    assert_eq!((at.tensor.as_str(), at.element), ("doutputs", [0, 0]));
}

#[test]
fn a_row_too_many() {
    let loss = LogCosh::with("if (row >= size.rows)", "if (row > size.rows)");
    let found = check_error(&loss).to_string();
    let expected = "out of bounds: `outputs` is read at index 1, but 1 element is bound there";
    assert!(found.contains(expected), "{found}");
    // Without the sanitizer, the guard bands detect the mistake.
    let without = LossCheck::default().sanitized(0, Sanitizer::default());
    let Err(Error::Check(error)) = without.run(gpu(), &loss) else {
        panic!("a row too many was written");
    };
    let message = error.to_string();
    let CheckError::Stray { tensor, found, .. } = error else {
        panic!("{message}");
    };
    assert_eq!(
        (tensor.as_str(), found.as_str()),
        ("losses", "1 elements after the end")
    );
    assert!(message.contains("if (row < shape.rows)"), "{message}");
}

fn parity(loss: &LogCosh) -> (Box<Place>, String) {
    let error = check_error(loss);
    let message = error.to_string();
    match error {
        CheckError::Parity { at, .. } => (at, message),
        _ => panic!("{message}"),
    }
}

#[test]
fn a_wrong_formula_in_the_wgsl() {
    let (at, message) = parity(&LogCosh::with("- 0.6931472", "- 0.69"));
    assert_eq!(at.tensor, "losses");
    assert!(
        message.contains("One of the two formulas is wrong"),
        "{message}"
    );
    // The kernel computes the sum over a row instead of the mean.
    let (at, _) = parity(&LogCosh::with("sum / f32(size.columns)", "sum"));
    assert_eq!(at.tensor, "losses");
}

#[test]
fn a_wrong_gradient_in_the_wgsl() {
    for (from, to) in [
        ("sign(d) * (1.0 - e)", "-sign(d) * (1.0 - e)"),
        ("(1.0 - e) / (1.0 + e)", "(1.0 - e)"),
        (
            "/ f32(size.rows * size.columns)",
            "/ f32(size.columns * size.columns)",
        ),
    ] {
        let (at, message) = parity(&LogCosh::with(from, to));
        assert_eq!(
            (at.pass, at.tensor.as_str()),
            (Pass::Loss, "doutputs"),
            "{to}"
        );
        assert!(
            at.x.is_some() && message.contains(", where the output = "),
            "{message}"
        );
        assert!(
            message.contains("the derivative in the WGSL is wrong"),
            "{message}"
        );
    }
}

fn summed(loss: &LogCosh) -> &'static str {
    match check_error(loss) {
        CheckError::Summed { by, .. } => by,
        error => panic!("{error}"),
    }
}

#[test]
fn the_gradient_of_the_sum_over_the_rows() {
    let loss = LogCosh::with("/ f32(size.rows * size.columns)", "/ f32(size.columns)");
    assert_eq!(summed(&loss), "the WGSL");
    let message = check_error(&loss).to_string();
    assert!(
        message.contains("divide it by the number of rows"),
        "{message}"
    );
    let mut loss = LogCosh::good();
    loss.twin.gradient = |rows| rows;
    assert_eq!(summed(&loss), "the reference");
}

#[test]
fn a_reference_that_returns_the_sum_over_the_rows() {
    let mut loss = LogCosh::good();
    loss.twin.loss = |rows| rows;
    let error = check_error(&loss);
    let message = error.to_string();
    assert!(
        matches!(
            error,
            CheckError::NoMean {
                is_sum: true,
                rows: 3,
                ..
            }
        ),
        "{message}"
    );
    assert!(
        message.contains("It must return the mean over the rows; it returns their sum"),
        "{message}"
    );
    loss.twin.loss = |rows| 1.0 / rows;
    let error = check_error(&loss);
    assert!(
        matches!(error, CheckError::NoMean { is_sum: false, .. }),
        "{error}"
    );
}

#[test]
fn a_wrong_gradient_in_the_reference() {
    let mut loss = LogCosh::good();
    for factor in [(|_| -1.0) as fn(f64) -> f64, |_| 1.0001] {
        loss.twin.gradient = factor;
        let error = check_error(&loss);
        let CheckError::Derivative { at, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((at.pass, at.tensor.as_str()), (Pass::Loss, "doutputs"));
    }
}

/// In the reference, the loss and the gradient are wrong by the same factor, so the gradient is still the derivative of
/// the loss.
#[test]
fn a_wrong_loss_in_the_reference() {
    let mut loss = LogCosh::good();
    (loss.twin.loss, loss.twin.gradient) = (|_| 1.01, |_| 1.01);
    let (at, _) = parity(&loss);
    assert_eq!(at.tensor, "losses");
}

#[test]
fn a_reference_that_panics() {
    let mut loss = LogCosh::good();
    loss.twin.panics = true;
    let message = check_error(&loss).to_string();
    let expected = "LogCosh: the reference (1 × 1 outputs) panicked: an array of another shape";
    assert_eq!(message, expected);
}

#[test]
fn not_a_number_for_large_outputs() {
    let loss = LogCosh::with(
        "let e = exp(-2.0 * abs(d));",
        // Creates the NaN from its bits, because a compiler may simplify an arithmetic expression that overflows.
        "var bits = 0x7fc00000u; let e = select(exp(-2.0 * abs(d)), bitcast<f32>(bits), abs(d) > 44.0);",
    );
    let error = check_error(&loss);
    let message = error.to_string();
    let CheckError::Nan { at, by } = error else {
        panic!("{message}");
    };
    assert_eq!((by, at.pass), ("the WGSL", Pass::Loss));
    assert!(
        message.contains("LossCheck::outputs and LossCheck::targets"),
        "{message}"
    );
    let check = LossCheck::default()
        .outputs(-10.0..=10.0)
        .targets(-10.0..=10.0);
    check.run(gpu(), &loss).unwrap();
}

#[test]
fn a_minibatch_that_no_machine_holds() {
    for shape in [[1 << 40, 1 << 40], [1 << 45, 1], [usize::MAX, 2]] {
        let check = LossCheck::default().shapes([shape]);
        match check.run(gpu(), &LogCosh::good()) {
            Err(Error::Memory { what, .. }) => {
                let of = format!(" ({} × {}),", shape[0], shape[1]);
                assert!(
                    what.starts_with("a check of LogCosh, whose largest tensor is "),
                    "{what}"
                );
                assert!(what.ends_with(&of), "{what}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A loss whose kernels and reference use other class weights than the loss states.
#[derive(Debug)]
struct Weighed(AdjustedCrossEntropy, [f32; 3]);

impl Loss for Weighed {
    fn describe(&self) -> String {
        "Weighed".to_owned()
    }

    fn class_weights(&self) -> Option<&[f32]> {
        Some(&self.1)
    }

    fn forward_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: LossPass<'_>,
    ) -> Result<(), Error> {
        self.0.forward_backward(recorder, pass)
    }

    fn reference(&self) -> Criterion {
        self.0.reference()
    }
}

#[test]
fn class_weights_that_are_not_those_of_the_formula() {
    let weights = [1.0, 2.0, 0.5];
    let loss = |said| Weighed(SoftmaxCrossEntropy.class_weights(weights), said);
    check_loss(gpu(), &loss(weights)).unwrap();
    for said in [[1.0; 3], [1.0, 2.0, 0.4]] {
        match check_loss(gpu(), &loss(said)) {
            Err(Error::Check(CheckError::NoMean { is_sum: false, .. })) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn settings_of_a_loss_that_make_no_sense() {
    let refused = |check: LossCheck, loss: &dyn Loss| match check.run(gpu(), loss) {
        Err(Error::Setting { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    let check = LossCheck::default;
    let weights = SoftmaxCrossEntropy.class_weights([0.0, 0.0]);
    let of_weights = "largest class weight";
    assert_eq!(refused(check(), &weights), of_weights);
    let weights = SoftmaxCrossEntropy.class_weights([1.0, 1.0]);
    let wide = check().shapes([[2, 3]]);
    assert_eq!(refused(wide, &weights), "number of class weights");
    assert_eq!(refused(check(), &Huber::new(0.0)), "delta of Huber");
    assert_eq!(
        refused(check(), &RelativeL2::new(0.0)),
        "epsilon of RelativeL2"
    );
    let outside = check().targets(-1.0..=1.0);
    assert_eq!(refused(outside, &BinaryCrossEntropy), "targets");
    let inside = check().shapes([[3, 2]]).targets(0.25..=0.5);
    inside.run(gpu(), &BinaryCrossEntropy).unwrap();
}

#[test]
fn settings_that_make_no_sense() {
    let refused = |check: LossCheck| match check.run(gpu(), &LogCosh::good()) {
        Err(Error::Setting { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    let check = LossCheck::default;
    assert_eq!(refused(check().shapes([[3, 0]])), "shape of a minibatch");
    assert_eq!(refused(check().shapes([[1; 2]; 0])), "shapes");
    assert_eq!(refused(check().outputs(1.0..=f32::INFINITY)), "outputs");
    assert_eq!(refused(check().targets(1.0..=0.0)), "targets");
    assert_eq!(refused(check().tolerance(-1.0)), "tolerance");
}
