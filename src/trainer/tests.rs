use std::sync::Arc;
use std::time::{Duration, Instant};

use ndarray::array;

use super::{HISTORY, Soundness, Trainer};
use crate::cpu;
use crate::data::{Dataset, Examples, Labels, Sampling, Table};
use crate::error::Error;
use crate::ops::{
    Adam, AdamW, Linear, MeanSquaredError, Optimizer, Schedule, Sgd, SoftmaxCrossEntropy,
    TargetKind,
};
use crate::soundness::LARGEST_LOSS;
use crate::steps::Fusion;
use crate::{Sequential, TwoLayerNet};

#[test]
fn the_first_loss_out_of_bounds_is_the_divergence() -> Result<(), Error> {
    // 1 more is lost in rounding, 1 less is not.
    let [above, below] = [1.0, -1.0].map(|one| LARGEST_LOSS + one);
    assert_eq!(
        (above.to_bits(), below < LARGEST_LOSS),
        (LARGEST_LOSS.to_bits(), true)
    );
    let of = |examples| soundness(Sgd::new(0.1), examples);
    // Of values a loss is as large as they are.
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

/// Two examples whose features reach `reach`.
fn classes(reach: f32) -> Result<Examples, Error> {
    let labels = Labels::from_classes(vec![0, 1], 2);
    let x = array![[0.1, -reach], [0.2, 0.3]];
    let table = labels.and_then(|labels| Table::classification("classes", x.view(), labels));
    Ok(Examples::from(&table?))
}

/// The same with a value each, which reach `targets`.
fn values(reach: f32, targets: f32) -> Result<Examples, Error> {
    let (x, y) = (array![[0.1, -reach], [0.2, 0.3]], array![[0.0], [-targets]]);
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
            "Lower the weight decay (it is 4) or the learning rate (it is 0.5): their product is 2, and from \
             2 on the decay alone makes parameters grow",
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
            "Lower the weight decay (it is 8) or the learning rate (it is 0.5): their product is 4, and from \
             2 on the decay alone makes parameters grow",
        ),
        // Its decay is scaled with the gradient.
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
            "The schedule has raised the learning rate from 0.5 to 50: take a factor below 1",
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

/// Before the first update of the parameters there is none: it is that of the step itself.
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

/// A file is refused from the parameters on that gave the loss.
#[test]
fn a_divergence_is_remembered_until_the_parameters_are_others() -> Result<(), Error> {
    let mut soundness = soundness(Sgd::new(0.1), classes(1.0)?);
    assert!(soundness.check().is_ok());
    assert!(soundness.judge(20, &[1.0, f32::NAN]).is_err());
    // What a future finds of earlier steps counts, and of later ones no more.
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
    // A future from before says nothing of the new parameters.
    assert!(late.judge(48, &[f32::NAN]).is_err());
    assert!(soundness.check().is_ok());
    let first = soundness
        .judge(50, &[f32::NAN])
        .map_err(|error| error.to_string());
    assert!(first.is_err_and(|message| message.contains("No update was made before")));
    Ok(())
}

/// However many steps were asked for.
#[test]
fn a_training_stops_when_a_loss_is_not_sound() -> Result<(), Error> {
    let examples = values(1e10, 1e10)?;
    let (spec, optimizer) = (Sequential::input(2).layer(Linear::new(1)), Sgd::new(0.5));
    let sampling = Sampling::Shuffled { seed: 1 };
    let mut cpu = cpu::Trainer::new(
        spec.on_cpu()?,
        MeanSquaredError,
        optimizer,
        examples.clone(),
        1,
        sampling.clone(),
    )?;
    let model = spec.build(crate::testing::gpu())?;
    let mut gpu = Trainer::new(model, MeanSquaredError, optimizer, examples, 1, sampling)?;
    for refused in [cpu.steps(usize::MAX), gpu.steps(usize::MAX)] {
        assert!(matches!(refused, Err(Error::Diverged { step: 2..10, .. })));
    }
    assert!(cpu.steps_taken() < 10);
    assert_eq!(gpu.steps_taken(), HISTORY as u64);
    Ok(())
}

/// Steps that ran although their losses could not be read are not taken for the next ones.
#[test]
fn steps_whose_losses_were_not_read_are_counted() -> Result<(), Error> {
    let digits = crate::data::synthetic::digits_of(1, 200, 10)?;
    let trainer = || {
        let model = TwoLayerNet::spec(784, 10, 10).build(crate::testing::gpu())?;
        let (loss, optimizer) = (SoftmaxCrossEntropy, Sgd::new(0.1));
        let sampling = Sampling::WithReplacement { seed: 1 };
        Trainer::new(model, loss, optimizer, &digits.train, 20, sampling)
    };
    let expected = trainer()?.steps(9)?;
    let mut trainer = trainer()?;
    trainer.advance(5)?;
    assert_eq!(trainer.steps(4)?, expected[5..]);
    Ok(())
}

/// What a step makes ahead for the next one is taken up by whichever call makes that, and not after
/// the parameters were changed.
#[test]
fn calls_of_any_size_are_one_training() -> Result<(), Error> {
    let digits = crate::data::synthetic::digits_of(1, 400, 10)?;
    let trainer = |plan| {
        let model = TwoLayerNet::spec(784, 10, 10)
            .seed(3)
            .build(crate::testing::gpu())?;
        let (loss, optimizer) = (SoftmaxCrossEntropy, Sgd::new(0.1));
        let sampling = Sampling::WithReplacement { seed: 1 };
        Trainer::with_fusion(model, loss, optimizer, &digits.train, 20, sampling, plan)
    };
    for plan in [Fusion::Layers, Fusion::Fused] {
        let mut one = trainer(plan)?;
        let expected = one.steps(600)?;
        let mut many = trainer(plan)?;
        let mut losses = Vec::new();
        for steps in [1, 2, 252, 1, 300, 44] {
            losses.extend(many.steps(steps)?);
        }
        assert_eq!(losses, expected, "{plan:?}");
        assert_eq!(many.model().parameters()?, one.model().parameters()?);

        let initial = trainer(plan)?;
        many.set_parameters(&initial.model().parameters()?)?;
        let file = initial.model().to_safetensors()?;
        one.set_weights(&file)?;
        let again = many.steps(1)?;
        assert_eq!(again, one.steps(1)?, "{plan:?}");
        // At first all classes are about equally likely.
        assert!((again[0] - 10.0_f32.ln()).abs() < 0.05, "{again:?}");
    }
    Ok(())
}

/// Submits are as long as steps were measured to take: the training is the same.
#[test]
fn a_training_does_not_depend_on_how_fast_its_steps_were() -> Result<(), Error> {
    let digits = crate::data::synthetic::digits_of(1, 400, 10)?;
    for plan in [Fusion::Layers, Fusion::Fused] {
        let trainer = || {
            let model = TwoLayerNet::spec(784, 10, 10).build(crate::testing::gpu())?;
            let (loss, optimizer) = (SoftmaxCrossEntropy, Sgd::new(0.1));
            let sampling = Sampling::WithReplacement { seed: 1 };
            Trainer::with_fusion(model, loss, optimizer, &digits.train, 20, sampling, plan)
        };
        let mut trained = trainer()?;
        // Before the first measurement what is submitted at once goes by counting.
        trained.announce(100)?;
        let at_once = trained.submit(100)?.1;
        assert!(at_once > 1, "{plan:?}");
        let mut slow = trainer()?;
        slow.source
            .expect_steps()?
            .learn(1, Duration::from_secs(10));
        slow.announce(100)?;
        assert_eq!(slow.submit(100)?.1, 1, "{plan:?}");
        slow.advance(at_once - 1)?;
        assert_eq!(slow.steps(50)?, trained.steps(50)?, "{plan:?}");
        let parameters = trained.model().parameters()?;
        assert_eq!(slow.model().parameters()?, parameters, "{plan:?}");
    }
    Ok(())
}

/// Once some submits were waited for, it is known how fast steps are.
#[test]
fn a_training_measures_its_steps() -> Result<(), Error> {
    let digits = crate::data::synthetic::digits_of(1, 400, 10)?;
    let model = TwoLayerNet::spec(784, 10, 10).build(crate::testing::gpu())?;
    let (loss, optimizer) = (SoftmaxCrossEntropy, Sgd::new(0.1));
    let sampling = Sampling::WithReplacement { seed: 1 };
    let mut trainer = Trainer::new(model, loss, optimizer, &digits.train, 20, sampling)?;
    let second = Duration::from_secs(1);
    trainer.steps(1)?;
    assert_eq!(
        trainer.source.expect_steps()?.pace().steps_within(second),
        None
    );
    let (start, steps) = (Instant::now(), 3000);
    trainer.steps(steps)?;
    let seconds = start.elapsed().as_secs_f64();
    let found = trainer.source.expect_steps()?.pace().steps_within(second);
    let found = found.unwrap_or_default() as f64;
    let expected = steps as f64 / seconds;
    assert!(
        found > expected / 5.0 && found < expected * 5.0,
        "{found} {expected}"
    );
    Ok(())
}

/// Futures are of the time of the call.
#[test]
fn training_goes_on_while_answers_are_awaited() -> Result<(), Error> {
    let digits = crate::data::synthetic::digits_of(1, 200, 50)?;
    let model = TwoLayerNet::spec(784, 10, 10).build(crate::testing::gpu())?;
    let (loss, optimizer) = (SoftmaxCrossEntropy, Sgd::new(0.5));
    let sampling = Sampling::WithReplacement { seed: 1 };
    let mut trainer = Trainer::new(model, loss, optimizer, &digits.train, 20, sampling)?;
    let expected = trainer.steps(5)?;
    let before = (
        trainer.evaluate(&digits.test)?,
        trainer.model().parameters()?,
    );
    let losses = trainer.losses_async(5);
    let evaluation = trainer.evaluate_async(&digits.test);
    let parameters = trainer.model().parameters_async();
    let file = trainer.to_safetensors_async();
    trainer.advance(20)?;
    assert_eq!(pollster::block_on(losses)?, expected);
    let found = (
        pollster::block_on(evaluation)?,
        pollster::block_on(parameters)?,
    );
    assert_eq!(found, before);
    assert_ne!(trainer.model().parameters()?, before.1);
    trainer.set_safetensors(&pollster::block_on(file)?)?;
    assert_eq!(
        (trainer.steps_taken(), trainer.model().parameters()?),
        (5, before.1)
    );
    Ok(())
}

/// Examples without a feature leave nothing to learn but the last biases, as dead rectifiers
/// do; the classes are unevenly frequent, so those swing.
#[test]
fn biases_that_swing_without_overflow_are_a_divergence() -> Result<(), Error> {
    let labels = Labels::from_classes(vec![0, 0, 0, 1], 2)?;
    let blank = Dataset::new("blank", 3, vec![0; 12], labels)?;
    let spec = TwoLayerNet::spec(3, 4, 2);
    let steps = |learning_rate| {
        let sampling = Sampling::Listed(vec![0, 1, 2, 3]);
        cpu::Trainer::new(
            spec.on_cpu()?,
            SoftmaxCrossEntropy,
            Sgd::new(learning_rate),
            &blank,
            4,
            sampling,
        )?
        .steps(100)
    };
    assert!(steps(1.0).is_ok());
    let result = steps(1e9);
    let is_expected = |loss: f32| loss.is_finite() && loss >= LARGEST_LOSS;
    assert!(
        matches!(result, Err(Error::Diverged { loss, .. }) if is_expected(loss)),
        "{result:?}"
    );
    Ok(())
}

/// As long as the program keeps a data set, it is uploaded once; then it is gone from the GPU, too.
#[test]
fn a_data_set_that_the_program_has_dropped_takes_no_memory() -> Result<(), Error> {
    let digits = |seed| crate::data::synthetic::digits_of(seed, 20, 500);
    // A device of its own, whose memory no other test takes.
    let gpu = crate::Gpu::new()?;
    let train = digits(0)?.train;
    let model = TwoLayerNet::spec(784, 10, 10).build(&gpu)?;
    let sampling = Sampling::WithReplacement { seed: 1 };
    let (loss, optimizer) = (SoftmaxCrossEntropy, Sgd::new(0.1));
    let mut trainer = Trainer::new(model, loss, optimizer, &train, 20, sampling)?;
    // The trainer keeps what it trains on.
    drop(train);
    let allocated = || {
        let report = gpu.device().generate_allocator_report();
        report.map_or(0, |report| report.total_allocated_bytes)
    };
    let kept = digits(1)?.test;
    trainer.evaluate(&kept)?;
    let mut first = None;
    for seed in 2..50 {
        let test = digits(seed)?.test;
        trainer.evaluate(&test)?;
        trainer.predictions(&test)?;
        trainer.evaluate(&kept)?;
        assert_eq!(trainer.data_sets.len(), 3, "training, kept, this one");
        // A device frees what it has when it comes to it: not at once, but not never.
        let (now, first) = (allocated(), *first.get_or_insert_with(allocated));
        assert!(now <= 2 * first, "{now} bytes, at first {first}");
    }
    trainer.evaluate(&kept)?;
    assert_eq!(trainer.data_sets.len(), 2);
    Ok(())
}

/// A rate that was lowered when it was too late did not do it.
#[test]
fn a_divergence_has_the_rate_of_the_optimizer_that_led_to_it() -> Result<(), Error> {
    let mut soundness = soundness(Sgd::new(50.0), classes(1.0)?);
    soundness.set_optimizer(10, Arc::new(Sgd::new(5.0)));
    soundness.set_optimizer(10, Arc::new(Sgd::new(0.5)));
    // The last update before the loss of step 11 was that of step 10.
    for (step, expected) in [(11, 50.0), (12, 0.5)] {
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
