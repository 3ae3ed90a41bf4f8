//! For each mistake in an optimizer, the check gives an error that names the mistake.

use std::sync::atomic::{AtomicU32, Ordering};

use wgrad::kernel::Binding;
use wgrad::ops::{Adam, Sgd};
use wgrad::optimizer_check::{CheckError, OptimizerFault, Pass, Place, UpdateSetting};
use wgrad::{Error, OptimizerCheck, Sanitizer, check_optimizer};

use super::heavy::{COEFFICIENTS, GRADIENTS, Heavy};
use crate::gpu::gpu;

/// Returns a check without the largest parameter, which is needed to find only one of the mistakes.
fn small() -> OptimizerCheck {
    OptimizerCheck::default().shapes([[3, 7], [1, 65], [100, 50]])
}

fn check_error(optimizer: &Heavy) -> CheckError {
    match small().run(gpu(), optimizer) {
        Err(Error::Check(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn fault(optimizer: &Heavy) -> (OptimizerFault, String) {
    let error = check_error(optimizer);
    let message = error.to_string();
    match error {
        CheckError::Optimizer(fault) => (*fault, message),
        _ => panic!("{message}"),
    }
}

#[test]
fn bindings_in_another_order_than_in_the_wgsl() {
    let mut optimizer = Heavy::good();
    optimizer.bindings.swap(0, 1);
    let message = check_error(&optimizer).to_string();
    let expected = "Heavy { learning_rate: 0.1 }: kernel heavy::heavy does not match its WGSL: binding 1 is gradients, \
                    declared coefficients";
    assert!(message.starts_with(expected), "{message}");
    assert_eq!(optimizer.bindings[..2], [COEFFICIENTS, GRADIENTS]);
}

#[test]
fn nothing_is_recorded() {
    let mut optimizer = Heavy::good();
    optimizer.invocations = None;
    let message = check_error(&optimizer).to_string();
    let expected = "update: no kernel was recorded, so nothing writes parameters. ";
    assert!(message.contains(expected), "{message}");
}

fn parity(optimizer: &Heavy) -> (Box<Place>, String) {
    let error = check_error(optimizer);
    let message = error.to_string();
    match error {
        CheckError::Parity { at, .. } => (at, message),
        _ => panic!("{message}"),
    }
}

#[test]
fn a_wrong_formula_in_the_wgsl() {
    for (from, to, tensor) in [
        (
            "settings.momentum * velocities",
            "0.9001 * velocities",
            "velocity",
        ),
        ("- rate * (gradients", "+ rate * (gradients", "velocity"),
        (
            "settings.weight_decay * p",
            "1.001 * settings.weight_decay * p",
            "velocity",
        ),
        ("= p + v", "= p + 1.0001 * v", "parameter"),
        // This is the momentum of `Sgd`, which multiplies the velocity by the learning rate at each step.
        ("= p + v", "= p + rate * v", "parameter"),
    ] {
        let (at, message) = parity(&Heavy::with(from, to));
        assert_eq!(
            (at.pass, at.tensor.as_str()),
            (Pass::Update, tensor),
            "{to}"
        );
        assert!(at.step.is_some() && at.x.is_some(), "{message}");
        assert!(message.contains(", where the gradient = "), "{message}");
        assert!(
            message.contains("One of the two formulas is wrong"),
            "{message}"
        );
    }
}

#[test]
fn a_wrong_formula_in_the_reference() {
    let (at, _) = parity(&Heavy::twin(|twin| twin.gradient = [1.0001; 2]));
    assert_eq!(at.tensor, "velocity");
    let (fault, message) = fault(&Heavy::twin(|twin| twin.gradient = [1.0001, 1.0]));
    assert!(
        matches!(fault, OptimizerFault::Precision { .. }),
        "{message}"
    );
    assert!(
        message.contains("in the reference in f32 and "),
        "{message}"
    );
}

#[test]
fn an_element_too_many() {
    let optimizer = Heavy::with("if (i >= settings.elements)", "if (i > settings.elements)");
    let found = check_error(&optimizer).to_string();
    assert!(
        found.contains("out of bounds: `parameters` is read at index 21"),
        "{found}"
    );
    // Without the sanitizer, the guard bands detect the mistake.
    let without = small().sanitized(0, Sanitizer::default());
    let Err(Error::Check(error)) = without.run(gpu(), &optimizer) else {
        panic!("an element too many was written");
    };
    let message = error.to_string();
    let CheckError::Stray { tensor, found, .. } = error else {
        panic!("{message}");
    };
    let expected = ("parameters", "1 elements after the end");
    assert_eq!((tensor.as_str(), found.as_str()), expected);
    assert!(message.contains("if (i < settings.elements)"), "{message}");
}

fn not_updated(optimizer: &Heavy) -> Box<Place> {
    match fault(optimizer) {
        (OptimizerFault::NotUpdated { at, .. }, _) => at,
        (_, message) => panic!("{message}"),
    }
}

#[test]
fn an_element_too_few() {
    let mut optimizer = Heavy::good();
    optimizer.invocations = Some(|elements| elements.min(64));
    let at = not_updated(&optimizer);
    assert_eq!((at.tensor.as_str(), at.element), ("velocity", [0, 64]));
}

#[test]
fn a_value_of_the_state_that_is_left_as_it_was() {
    let at = not_updated(&Heavy::with(
        "velocities[i] = v;",
        "if (v > 1e30) { velocities[i] = v; }",
    ));
    assert_eq!(at.tensor, "velocity");
    let at = not_updated(&Heavy::with(
        "parameters[i] = p + v;",
        "if (v > 1e30) { parameters[i] = p; }",
    ));
    assert_eq!(at.tensor, "parameter");
}

/// A parameter needs more invocations than fit in one dimension of a dispatch.
#[test]
fn a_kernel_that_knows_one_dispatch_dimension() {
    let optimizer = Heavy::with("id.x + id.y * count.x * 64u", "id.x + 0u * count.x");
    match check_optimizer(gpu(), &optimizer) {
        Err(Error::Check(CheckError::Optimizer(fault))) => {
            let OptimizerFault::NotUpdated { at, .. } = *fault else {
                panic!("{fault}");
            };
            assert_eq!(at.shape, [2053, 2053].into());
        }
        other => panic!("{other:?}"),
    }
}

fn ignored(optimizer: &Heavy) -> (UpdateSetting, String, String) {
    match fault(optimizer) {
        (OptimizerFault::Ignored { at, ignored, .. }, message) => (ignored, at.tensor, message),
        (_, message) => panic!("{message}"),
    }
}

#[test]
fn what_a_kernel_is_told_of_a_group_is_ignored() {
    let mut optimizer = Heavy::good();
    optimizer.part = |part| part.rate = 1.0;
    let (what, tensor, message) = ignored(&optimizer);
    assert_eq!(
        (what, tensor.as_str()),
        (UpdateSetting::Rate, "velocity (rate 0.5)")
    );
    let expected = "as if the kernel ignored the multiple of the learning rate";
    assert!(message.contains(expected), "{message}");
    assert!(
        message.ends_with("Give the kernel UpdatePart::rate of each of Update::parts"),
        "{message}"
    );
    optimizer.part = |part| part.weight_decay = 0.25;
    let (what, tensor, message) = ignored(&optimizer);
    assert_eq!(
        (what, tensor.as_str()),
        (UpdateSetting::WeightDecay, "velocity (no decay)")
    );
    assert!(message.contains("UpdatePart::weight_decay"), "{message}");
    // The mistake affects only the part with its own learning rate.
    optimizer.part = |part| {
        if part.rate == 0.25 {
            (part.rate, part.weight_decay) = (1.0, 0.25);
        }
    };
    let (what, tensor, _) = ignored(&optimizer);
    let expected = (
        UpdateSetting::RateAndWeightDecay,
        "velocity (rate 0.25, decay 0.125)",
    );
    assert_eq!((what, tensor.as_str()), expected);
}

#[test]
fn a_learning_rate_that_is_part_of_the_recording() {
    let from = "let rate = settings.rate * coefficients";
    let (what, _, message) = ignored(&Heavy::with(
        from,
        "let rate = 0.1 * settings.rate + 1e-30 * coefficients",
    ));
    assert_eq!(what, UpdateSetting::Coefficients);
    assert!(message.contains("update of step 1: "), "{message}");
    assert!(message.contains("step_count[0] % slots"), "{message}");
}

/// The check fills all rows of the coefficients with NaN, except the row of the current step.
#[test]
fn a_kernel_that_does_not_look_for_the_row_of_its_step() {
    let optimizer = Heavy::with(
        "4u * (step_count[0] % settings.slots)",
        "step_count[0] - step_count[0]",
    );
    let error = check_error(&optimizer);
    let message = error.to_string();
    let CheckError::Nan { at, by } = error else {
        panic!("{message}");
    };
    assert_eq!((at.step, by), (Some(1), "the WGSL"));
    assert!(
        message.contains("is NaN except the row of the step"),
        "{message}"
    );
}

#[test]
fn a_frozen_parameter_that_moves() {
    let mut optimizer = Heavy::good();
    optimizer.over_blocks = true;
    let (fault, message) = fault(&optimizer);
    let OptimizerFault::FrozenMoved { at, .. } = fault else {
        panic!("{message}");
    };
    assert_eq!(at.tensor, "velocity (frozen)");
    assert!(message.contains("the parameter is frozen"), "{message}");
}

#[test]
fn an_update_that_changes_what_it_reads() {
    let change = |name: &str, index: usize| {
        let binding = format!("read> {name}: array<f32>");
        let written = format!("read_write> {name}: array<f32>");
        let mut optimizer = Heavy::with("parameters[i] = p + v;", "parameters[i] = p + v; @@");
        let statement = format!("{name}[i] = 0.5;");
        optimizer.source = optimizer
            .source
            .replace("@@", &statement)
            .replace(&binding, &written);
        optimizer.bindings[index] = Binding::write(["gradients", "coefficients"][index]);
        optimizer
    };
    let (fault, message) = fault(&change("gradients", 0));
    let OptimizerFault::GradientsChanged { step, count, .. } = fault else {
        panic!("{message}");
    };
    assert_eq!((step, count), (0, 21));
    assert!(
        message.contains("reference::Optimizer::prepare"),
        "{message}"
    );
    let mut optimizer = change("coefficients", 1);
    optimizer.source = optimizer
        .source
        .replace("coefficients[i] = ", "if (i == 0u) { coefficients[7] = ");
    optimizer.source = optimizer.source.replace("0.5;", "0.5; }");
    let message = check_error(&optimizer).to_string();
    assert!(
        message.contains("a kernel wrote 1 elements of the input itself of coefficients"),
        "{message}"
    );
}

#[test]
fn the_same_step_gives_something_else() {
    static CALLS: AtomicU32 = AtomicU32::new(1);
    let mut optimizer = Heavy::good();
    optimizer.part = |part| part.rate = CALLS.fetch_add(1, Ordering::Relaxed) as f32;
    let (fault_, message) = fault(&optimizer);
    assert!(
        matches!(fault_, OptimizerFault::NotRepeatable { by: "the WGSL", .. }),
        "{message}"
    );
    let twin = Heavy::twin(|twin| {
        twin.update = |p| *p += f64::from(CALLS.fetch_add(1, Ordering::Relaxed));
    });
    let (fault_, message) = fault(&twin);
    assert!(
        matches!(
            fault_,
            OptimizerFault::NotRepeatable {
                by: "the reference",
                ..
            }
        ),
        "{message}"
    );
}

#[test]
fn a_wrong_sign_in_the_wgsl_and_in_the_reference() {
    let mut optimizer = Heavy::with("- rate * (gradients", "+ rate * (gradients");
    optimizer.twin.at = |mut at| {
        at.learning_rate = -at.learning_rate;
        at
    };
    let (fault, message) = fault(&optimizer);
    let OptimizerFault::Uphill {
        steps,
        before,
        after,
        ..
    } = fault
    else {
        panic!("{message}");
    };
    assert!(steps == 100 && after > before, "{message}");
    assert!(
        message.contains("The sign of the update is wrong"),
        "{message}"
    );
    // The kernel and the reference have the same mistake, so only the descent test detects it.
    small().descent(0, 0.1).run(gpu(), &optimizer).unwrap();
}

#[test]
fn a_reference_that_moves_parameters_at_a_learning_rate_of_zero() {
    let (fault, message) = fault(&Heavy::twin(|twin| twin.update = |p| *p *= 0.999));
    assert!(
        matches!(fault, OptimizerFault::RateZero { .. }),
        "{message}"
    );
    assert!(message.contains("with learning rate 0"), "{message}");
}

#[test]
fn a_reference_that_panics() {
    let message = check_error(&Heavy::twin(|twin| twin.panics = true)).to_string();
    let expected = "Heavy { learning_rate: 0.1 }: the reference's update (3 × 7 parameters) \
                    panicked: an array of another shape";
    assert_eq!(message, expected);
}

fn stated(optimizer: &Heavy) -> String {
    match fault(optimizer) {
        (OptimizerFault::Stated { what, .. }, message) => {
            assert!(message.contains(&what), "{message}");
            what
        }
        (_, message) => panic!("{message}"),
    }
}

#[test]
fn an_optimizer_that_says_something_else() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let mut optimizer = Heavy::good();
    optimizer.describe = |_| "Heavy".to_owned();
    assert_eq!(stated(&optimizer), "describe() of with_learning_rate(0.05)");
    optimizer.describe = |_| format!("Heavy {}", CALLS.fetch_add(1, Ordering::Relaxed));
    assert_eq!(stated(&optimizer), "describe()");
    let mut optimizer = Heavy::good();
    optimizer.state = &["velocity", "velocity"];
    assert_eq!(stated(&optimizer), "name 1 of state()");
    let mut optimizer = Heavy::good();
    optimizer.keeps_rate = true;
    assert_eq!(
        stated(&optimizer),
        "learning_rate() of with_learning_rate(0.05)"
    );
    let mut optimizer = Heavy::good();
    optimizer.weight_decay = 0.0;
    assert_eq!(
        stated(&optimizer),
        "has_weight_decay(), or decay() above 0,"
    );
    let twin = Heavy::twin(|twin| {
        twin.at = |mut at| {
            at.weight_decay = None;
            at
        };
    });
    let expected = "a step of the reference with another UpdateStep::weight_decay";
    assert_eq!(stated(&twin), expected);
    let twin = Heavy::twin(|twin| twin.update = |p| *p /= p.nrows() as f64);
    let expected = "a step of the reference on one row of a parameter at a time";
    assert_eq!(stated(&twin), expected);
}

#[test]
fn a_parameter_that_no_machine_holds() {
    for shape in [[1 << 40, 1 << 40], [usize::MAX, 2]] {
        let check = OptimizerCheck::default().shapes([shape]);
        match check.run(gpu(), &Heavy::good()) {
            Err(Error::Memory { what, .. }) => {
                assert!(
                    what.starts_with("a check of Heavy { learning_rate"),
                    "{what}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn settings_that_make_no_sense() {
    let refused = |check: OptimizerCheck| match check.run(gpu(), &Adam::new(0.1)) {
        Err(Error::Setting { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    let check = OptimizerCheck::default;
    assert_eq!(refused(check().shapes([[3, 0]])), "shape of a parameter");
    assert_eq!(refused(check().shapes([[1; 2]; 0])), "shapes");
    assert_eq!(
        refused(check().parameters(1.0..=f32::INFINITY)),
        "parameters"
    );
    assert_eq!(refused(check().gradients(1.0..=0.0)), "gradients");
    assert_eq!(refused(check().tolerance(-1.0)), "tolerance");
    assert_eq!(refused(check().steps(4)), "steps");
    assert_eq!(
        refused(check().descent(10, 0.0)),
        "learning rate of the descent"
    );
    // The check also returns the optimizer's own errors.
    match check_optimizer(gpu(), &Sgd::new(0.0)) {
        Err(Error::Setting { name, .. }) => assert_eq!(name, "learning rate"),
        other => panic!("{other:?}"),
    }
}
