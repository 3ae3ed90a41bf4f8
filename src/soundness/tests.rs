use std::sync::Arc;

use ndarray::array;

use super::{LARGEST_LOSS, Soundness};
use crate::data::{Dataset, Examples, Labels, Table};
use crate::error::Error;
use crate::ops::{Adam, AdamW, Optimizer, Schedule, Sgd, TargetKind};

#[test]
fn the_first_loss_out_of_bounds_is_the_divergence() -> Result<(), Error> {
    // In `f32`, adding 1 to this loss is lost in rounding; subtracting 1 is not.
    let [above, below] = [1.0, -1.0].map(|one| LARGEST_LOSS + one);
    assert_eq!(
        (above.to_bits(), below < LARGEST_LOSS),
        (LARGEST_LOSS.to_bits(), true)
    );
    let of = |examples| soundness(Sgd::new(0.1), examples);
    // A loss that compares values may be as large as the values.
    assert!(of(values(1.0, 1e15)?).judge(0, &[1e30]).is_ok());
    assert!(of(values(1.0, 1e15)?).judge(0, &[f32::INFINITY]).is_err());
    let sound = vec![0.0, 2.3, LARGEST_LOSS - 1.0];
    assert!(of(classes(1.0)?).judge(7, &sound).is_ok());
    for wrong in [
        LARGEST_LOSS,
        1e30,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ] {
        let all = [&sound[..], &[wrong, 0.1, f32::NAN]].concat();
        let Err(Error::Diverged {
            step, loss, losses, ..
        }) = of(classes(1.0)?).judge(7, &all)
        else {
            panic!("{wrong} is no divergence");
        };
        assert_eq!(
            (step, loss.to_bits(), &losses),
            (11, wrong.to_bits(), &sound)
        );
    }
    Ok(())
}

fn soundness(optimizer: impl Optimizer + 'static, examples: Examples) -> Soundness {
    let targets = match examples.labels() {
        Some(_) => TargetKind::Classes,
        None => TargetKind::Values,
    };
    Soundness::new(Arc::new(optimizer), targets, Some(examples))
}

/// Two examples whose features have magnitudes up to `reach`.
fn classes(reach: f32) -> Result<Examples, Error> {
    let labels = Labels::from_classes(vec![0, 1], 2);
    let x = array![[0.1, -reach], [0.2, 0.3]];
    let table = labels.and_then(|labels| Table::classification("classes", x.view(), labels));
    Ok(Examples::from(&table?))
}

/// Two examples with values as targets. Features have magnitudes up to `reach`, targets up to `targets`.
fn values(reach: f32, targets: f32) -> Result<Examples, Error> {
    let x = array![[0.1, -reach], [0.2, 0.3]];
    let y = array![[0.0], [-targets]];
    let table = Table::regression("values", x.view(), y.view());
    Ok(Examples::from(&table?))
}

#[test]
fn a_divergence_is_blamed_on_what_can_have_led_to_it() -> Result<(), Error> {
    let bytes = Labels::from_classes(vec![0, 1], 2)
        .and_then(|labels| Dataset::new("bytes", 1, vec![255, 0], labels))?;
    let bytes = || Examples::from(&bytes);
    let sgd = |rate, decay| Box::new(Sgd::new(rate).weight_decay(decay)) as Box<dyn Optimizer>;
    let rising = Schedule::step(1, 10.0);
    let cases: [(Box<dyn Optimizer>, Examples, u64, &str); 14] = [
        (
            sgd(0.5, 0.0),
            bytes(),
            9,
            "Lower the learning rate (it is 0.5)",
        ),
        (
            sgd(0.5, 1e-4),
            bytes(),
            2,
            "Lower the learning rate (it is 0.5)",
        ),
        (
            sgd(0.5, 2.0),
            bytes(),
            9,
            "Lower the learning rate (it is 0.5) or the weight decay (it is 2)",
        ),
        (
            sgd(0.5, 4.0),
            bytes(),
            9,
            "Lower the weight decay (it is 4) or the learning rate (it is 0.5): their product is 2, and at 2 or above \
             the weight decay alone makes parameters grow",
        ),
        (
            Box::new(
                AdamW::new(0.5)
                    .weight_decay(8.0)
                    .clip_norm(1.0)
                    .scheduled(Schedule::constant()),
            ),
            values(1e6, 1e6)?,
            9,
            "Lower the weight decay (it is 8) or the learning rate (it is 0.5): their product is 4, and at 2 or above \
             the weight decay alone makes parameters grow",
        ),
        // Adam adds the decay to the gradient and then scales the sum, so the decay cannot be the cause.
        (
            Box::new(Adam::new(0.5).weight_decay(1000.0)),
            bytes(),
            9,
            "Lower the learning rate (it is 0.5)",
        ),
        (
            Box::new(Sgd::new(0.5).scheduled(rising)),
            bytes(),
            4,
            "The schedule has raised the learning rate from 0.5 to 50: use a factor below 1",
        ),
        (
            Box::new(Sgd::new(0.5).scheduled(Schedule::constant().warm_up(100))),
            bytes(),
            4,
            "Lower the learning rate (it is 0.5, and 0.015 by its schedule)",
        ),
        (
            sgd(0.5, 0.0),
            classes(1.0)?,
            9,
            "Lower the learning rate (it is 0.5)",
        ),
        (
            sgd(0.5, 0.0),
            classes(300.0)?,
            9,
            "Lower the learning rate (it is 0.5), or scale features to about −1…1 (features reach 300)",
        ),
        (
            sgd(0.5, 0.0),
            values(300.0, 2e6)?,
            9,
            "Lower the learning rate (it is 0.5), or scale features and targets to about −1…1 (features \
             reach 300, targets reach 2000000)",
        ),
        (
            sgd(0.5, 0.0),
            values(1.0, 2e6)?,
            9,
            "Lower the learning rate (it is 0.5), or scale targets to about −1…1 (targets reach 2000000)",
        ),
        (
            sgd(0.5, 4.0),
            bytes(),
            1,
            "No update was made before this loss: start from smaller parameters",
        ),
        (
            sgd(0.5, 4.0),
            classes(300.0)?,
            1,
            "No update was made before this loss: start from smaller parameters, or scale features to about \
             −1…1 (features reach 300)",
        ),
    ];
    for (optimizer, examples, step, expected) in cases {
        let case = format!("{optimizer:?}, {examples:?}, step {step}");
        let soundness = soundness(optimizer, examples);
        let Err(error) = soundness.judge(step - 1, &[f32::NAN]) else {
            panic!("{case}");
        };
        let expected = format!("training diverged: the loss of step {step} is NaN. {expected}");
        assert_eq!(error.to_string(), expected, "{case}");
    }
    Ok(())
}

/// Before the first update, the error reports the learning rate of the step itself.
#[test]
fn a_divergence_has_the_rate_of_the_last_update_before_it() -> Result<(), Error> {
    let rising = Sgd::new(0.5).scheduled(Schedule::step(1, 10.0));
    let mut soundness = soundness(rising, classes(1.0)?);
    let rate = |soundness: &Soundness, step: u64| match soundness.judge(step - 1, &[f32::NAN]) {
        Err(Error::Diverged { learning_rate, .. }) => learning_rate,
        other => panic!("{other:?}"),
    };
    let rates = [1, 2, 3, 4].map(|step| rate(&soundness, step));
    assert_eq!(rates, [0.5, 0.5, 5.0, 50.0]);
    soundness.begin_anew(2);
    assert_eq!([3, 4].map(|step| rate(&soundness, step)), [50.0, 50.0]);
    Ok(())
}

/// Lowering the rate after the parameters have diverged does not change the reported rate.
#[test]
fn a_divergence_has_the_rate_of_the_optimizer_that_led_to_it() -> Result<(), Error> {
    let mut soundness = soundness(Sgd::new(50.0), classes(1.0)?);
    soundness.set_rule(10, Arc::new(Sgd::new(5.0)), Vec::new());
    soundness.set_rule(10, Arc::new(Sgd::new(0.5)), Vec::new());
    soundness.set_rule(20, Arc::new(Sgd::new(0.1)), Vec::new());
    soundness.set_rule(30, Arc::new(Sgd::new(7.0)), Vec::new());
    // The update of step 10 is the last one before the loss of step 11.
    for (step, expected) in [
        (11, 50.0),
        (12, 0.5),
        (21, 0.5),
        (22, 0.1),
        (31, 0.1),
        (32, 7.0),
    ] {
        let Err(Error::Diverged { learning_rate, .. }) = soundness.judge(step - 1, &[f32::NAN])
        else {
            panic!("step {step}");
        };
        assert_eq!(
            learning_rate.to_bits(),
            f32::to_bits(expected),
            "step {step}"
        );
    }
    Ok(())
}

/// Saving is refused for the first parameters that gave an unsound loss, and for all later ones.
#[test]
fn a_divergence_is_remembered_until_the_parameters_are_others() -> Result<(), Error> {
    let mut soundness = soundness(Sgd::new(0.1), classes(1.0)?);
    assert!(soundness.check().is_ok());
    assert!(soundness.judge(20, &[1.0, f32::NAN]).is_err());
    // A future may report a divergence at an earlier step, which then replaces the stored one. A later step does not.
    assert!(soundness.judge(10, &[1.0, 1.0, f32::INFINITY]).is_err());
    assert!(soundness.judge(30, &[f32::NAN]).is_err());
    let again = soundness.check();
    assert!(
        matches!(&again, Err(Error::Diverged { step: 13, losses, .. }) if losses.is_empty()),
        "{again:?}"
    );
    assert!(soundness.check_saving(11).is_ok());
    for steps in [12, 13, 50] {
        let refused = soundness.check_saving(steps);
        assert!(
            matches!(refused, Err(Error::NotSaved { step: 13 })),
            "{refused:?}"
        );
    }
    let late = soundness.clone();
    soundness.begin_anew(50);
    assert!(soundness.check().is_ok() && soundness.check_saving(50).is_ok());
    // Losses of the replaced parameters, read late, say nothing about the new ones.
    assert!(
        soundness
            .judge(45, &[1.0, f32::NAN, 1.0, 1.0, 1.0, 1.0])
            .is_ok()
    );
    // The same holds for a future made before the replacement: its error does not affect the new parameters.
    assert!(late.judge(48, &[f32::NAN]).is_err());
    assert!(soundness.check().is_ok());
    let first = soundness
        .judge(50, &[f32::NAN])
        .map_err(|error| error.to_string());
    assert!(first.is_err_and(|message| message.contains("No update was made before")));
    Ok(())
}

#[test]
fn a_divergence_names_the_multiples_of_groups() -> Result<(), Error> {
    let said = |soundness: &Soundness, step: u64| {
        let judged = soundness.judge(step - 1, &[f32::NAN]);
        judged.map_err(|error| error.to_string())
    };
    let rate = |of: &str| {
        let start = "training diverged: the loss of step";
        Err(format!("{start} {of}"))
    };
    let mut constant = soundness(Sgd::new(0.5), classes(1.0)?);
    let multiples = || vec![0.1, 20.0];
    constant.set_rule(3, Arc::new(Sgd::new(0.5)), multiples());
    let expected = "4 is NaN. Lower the learning rate (it is 0.5)";
    assert_eq!(said(&constant, 4), rate(expected));
    let expected =
        "5 is NaN. Lower the learning rate (it is 0.5; parameter groups multiply it by 0.1 and 20)";
    assert_eq!(said(&constant, 5), rate(expected));
    // Another optimizer keeps the groups.
    constant.set_rule(8, Arc::new(Sgd::new(2.0)), multiples());
    let expected =
        "10 is NaN. Lower the learning rate (it is 2; parameter groups multiply it by 0.1 and 20)";
    assert_eq!(said(&constant, 10), rate(expected));

    let rise = || Sgd::new(0.5).scheduled(Schedule::step(1, 10.0));
    let mut rising = soundness(rise(), classes(1.0)?);
    rising.set_rule(0, Arc::new(rise()), vec![3.0]);
    let expected = "4 is NaN. The schedule has raised the learning rate from 0.5 to 50; parameter groups multiply it by 3: use \
                    a factor below 1";
    assert_eq!(said(&rising, 4), rate(expected));
    Ok(())
}
