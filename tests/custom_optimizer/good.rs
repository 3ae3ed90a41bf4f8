//! Correct optimizers pass the check, and the report lists what was checked.

use std::sync::Arc;

use wgrad::ops::{AdaGrad, Adam, AdamW, Optimizer, RmsProp, Schedule, Sgd};
use wgrad::optimizer_check::{Check, Pass};
use wgrad::{OptimizerCheck, TensorShape, check_optimizer};

use super::heavy::Heavy;
use crate::gpu::gpu;

/// Returns all optimizers of the crate with all their options, except clipping.
fn optimizers() -> Vec<Arc<dyn Optimizer>> {
    let sgd = Sgd::new(0.1);
    vec![
        Arc::new(sgd),
        Arc::new(sgd.weight_decay(0.25)),
        Arc::new(sgd.momentum(0.9)),
        Arc::new(sgd.momentum(0.9).nesterov().weight_decay(0.01)),
        Arc::new(Adam::new(1e-3)),
        Arc::new(Adam::new(0.05).betas(0.5, 0.9).weight_decay(0.1)),
        Arc::new(AdamW::new(1e-3)),
        Arc::new(Adam::new(1e-3).weight_decay(0.1).lazy()),
        Arc::new(AdamW::new(1e-3).lazy()),
        Arc::new(AdaGrad::new(0.01).weight_decay(0.1)),
        Arc::new(RmsProp::new(0.01)),
        Arc::new(RmsProp::new(0.01).alpha(0.9).weight_decay(0.1)),
        Arc::new(sgd.momentum(0.9).scheduled(Schedule::step(2, 0.5))),
        Arc::new(Adam::new(1e-3).scheduled(Schedule::one_cycle(100))),
    ]
}

fn assert_good(optimizer: &dyn Optimizer) {
    let report = check_optimizer(gpu(), optimizer).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.optimizer, optimizer.describe());
    assert!(!report.kernels.is_empty() && report.takes_decay, "{report}");
    for row in &report.rows {
        assert!(row.difference <= row.bound, "{report}");
    }
}

#[test]
fn optimizers_of_the_crate_and_of_others() {
    let plain = optimizers().into_iter();
    plain.for_each(|optimizer| assert_good(&*optimizer));
    assert_good(&Heavy::good());
}

/// With clipping by the norm of all gradients, each element depends on all others.
#[test]
fn clipped_ones_of_the_crate() {
    let schedule = Schedule::cosine(2_000_000).warm_up(3);
    assert_good(&Sgd::new(0.1).clip_norm(1.0));
    assert_good(&AdamW::new(1e-3).clip_norm(2.0).scheduled(schedule));
}

#[test]
fn the_report_has_a_row_for_each_parameter_and_what_is_kept_of_it() {
    let report = check_optimizer(gpu(), &Heavy::good()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.kernels, ["heavy::heavy"]);
    assert!(report.not_sanitized.is_empty(), "{report}");
    let rows = |shape: [usize; 2]| {
        let rows = report.rows.iter();
        let rows = rows.filter(move |row| row.minibatch == TensorShape::from(shape));
        rows.map(|row| row.tensor.as_str()).collect::<Vec<_>>()
    };
    let plain = ["velocity", "parameter"];
    assert_eq!(rows([101, 53]), plain);
    assert_eq!(rows([2053, 2053]), plain);
    // The parameter is compared on its own and in a group. The frozen parameter gives no comparison.
    let half = ["velocity (rate 0.5)", "parameter (rate 0.5)"];
    assert_eq!(rows([3, 7]), [plain, half].concat());
    assert_eq!(rows([1, 2]), plain);
    let all = report.rows.iter();
    assert!(
        all.clone()
            .all(|row| row.check == Check::Parity(Pass::Update))
    );
    assert!(all.clone().any(|row| row.difference > 0.0), "{report}");
    let text = report.to_string();
    assert_eq!(text.lines().count(), 5 + report.rows.len(), "{text}");
    assert!(
        text.contains("\nsanitizer heavy::heavy: clean in "),
        "{text}"
    );
    let descent = "\ndescent   the sum of p²/2 falls from 38.3125 to ";
    assert!(text.contains(descent), "{text}");
}

/// The check uses the shapes and the ranges of numbers that the user gives.
#[test]
fn shapes_and_ranges_are_those_asked_for() {
    let check = OptimizerCheck::default().shapes([(4, [2, 3, 5]), (70, [1, 1, 3])]);
    let check = check.parameters(-2.0..=2.0).gradients(0.0..=1.0);
    let check = check.tolerance(1e-6).steps(5).descent(0, 0.1);
    let report = check.run(gpu(), &Heavy::good());
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    // Two parameters are compared on their own, and six of seven in groups: the seventh is frozen. Each has two rows.
    assert_eq!(report.rows.len(), 2 * (2 + 6), "{report}");
    assert_eq!(report.descent, None);
}
