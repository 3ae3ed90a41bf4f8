use std::time::{Duration, Instant};

use ndarray::array;

use super::{HISTORY, Trainer};
use crate::cpu;
use crate::data::{Dataset, Labels, Sampling, Table};
use crate::error::Error;
use crate::ops::{Linear, MeanSquaredError, Sgd, SoftmaxCrossEntropy};
use crate::soundness::LARGEST_LOSS;
use crate::steps::Fusion;
use crate::{Sequential, TwoLayerNet};

/// The training stops at the first unsound loss, even if `usize::MAX` steps are requested.
#[test]
fn a_training_stops_when_a_loss_is_not_sound() -> Result<(), Error> {
    let x = array![[0.1, -1e10], [0.2, 0.3]];
    let y = array![[0.0], [-1e10]];
    let examples = Table::regression("large", x.view(), y.view())?;
    let spec = Sequential::input(2).layer(Linear::new(1));
    let optimizer = Sgd::new(0.5);
    let sampling = Sampling::Shuffled { seed: 1 };
    let mut cpu = cpu::Trainer::new(
        spec.on_cpu()?,
        MeanSquaredError,
        optimizer,
        &examples,
        1,
        sampling.clone(),
    )?;
    let model = spec.build(crate::testing::gpu())?;
    let mut gpu = Trainer::new(model, MeanSquaredError, optimizer, &examples, 1, sampling)?;
    for refused in [cpu.steps(usize::MAX), gpu.steps(usize::MAX)] {
        assert!(matches!(refused, Err(Error::Diverged { step: 2..10, .. })));
    }
    assert!(cpu.steps_taken() < 10);
    assert_eq!(gpu.steps_taken(), HISTORY as u64);
    Ok(())
}

/// Steps whose losses were never read count as taken: the next call takes the following ones.
#[test]
fn steps_whose_losses_were_not_read_are_counted() -> Result<(), Error> {
    let digits = crate::data::synthetic::digits_of(1, 200, 10)?;
    let trainer = || {
        let model = TwoLayerNet::spec(784, 10, 10).build(crate::testing::gpu())?;
        let loss = SoftmaxCrossEntropy;
        let optimizer = Sgd::new(0.1);
        let sampling = Sampling::WithReplacement { seed: 1 };
        Trainer::new(model, loss, optimizer, &digits.train, 20, sampling)
    };
    let expected = trainer()?.steps(9)?;
    let mut trainer = trainer()?;
    trainer.advance(5)?;
    assert_eq!(trainer.steps(4)?, expected[5..]);
    Ok(())
}

/// A step may prepare the next one. Any call that takes the next step uses this preparation, unless the parameters were
/// replaced after the preparation.
#[test]
fn calls_of_any_size_are_one_training() -> Result<(), Error> {
    let digits = crate::data::synthetic::digits_of(1, 400, 10)?;
    let trainer = |plan| {
        let model = TwoLayerNet::spec(784, 10, 10)
            .seed(3)
            .build(crate::testing::gpu())?;
        let loss = SoftmaxCrossEntropy;
        let optimizer = Sgd::new(0.1);
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
        // The initial network predicts all classes with about the same probability.
        assert!((again[0] - 10.0_f32.ln()).abs() < 0.05, "{again:?}");
    }
    Ok(())
}

/// The measured duration of steps decides the length of submits, but not the result of the training.
#[test]
fn a_training_does_not_depend_on_how_fast_its_steps_were() -> Result<(), Error> {
    let digits = crate::data::synthetic::digits_of(1, 400, 10)?;
    for plan in [Fusion::Layers, Fusion::Fused] {
        let trainer = || {
            let model = TwoLayerNet::spec(784, 10, 10).build(crate::testing::gpu())?;
            let loss = SoftmaxCrossEntropy;
            let optimizer = Sgd::new(0.1);
            let sampling = Sampling::WithReplacement { seed: 1 };
            Trainer::with_fusion(model, loss, optimizer, &digits.train, 20, sampling, plan)
        };
        let mut trained = trainer()?;
        // Before the first measurement, the counted FLOPs decide how many steps a submit has.
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

/// The duration of steps is known after the trainer has waited for a few submits.
#[test]
fn a_training_measures_its_steps() -> Result<(), Error> {
    let digits = crate::data::synthetic::digits_of(1, 400, 10)?;
    let model = TwoLayerNet::spec(784, 10, 10).build(crate::testing::gpu())?;
    let loss = SoftmaxCrossEntropy;
    let optimizer = Sgd::new(0.1);
    let sampling = Sampling::WithReplacement { seed: 1 };
    let mut trainer = Trainer::new(model, loss, optimizer, &digits.train, 20, sampling)?;
    let day = Duration::from_secs(24 * 60 * 60);
    let fit = |trainer: &mut Trainer| -> Result<Option<usize>, Error> {
        Ok(trainer.source.expect_steps()?.pace().steps_within(day))
    };
    trainer.steps(1)?;
    assert_eq!(fit(&mut trainer)?, None);
    let start = Instant::now();
    let steps = 3000;
    trainer.steps(steps)?;
    let took = start.elapsed();
    // A single step took at most as long as all steps together.
    let least = day.as_secs_f64() / took.as_secs_f64();
    let found = fit(&mut trainer)?;
    assert!(
        found.is_some_and(|fit| fit as f64 >= least),
        "{found:?} {least}"
    );
    Ok(())
}

/// A future returns the values at the time of the call that made it.
#[test]
fn training_goes_on_while_answers_are_awaited() -> Result<(), Error> {
    let digits = crate::data::synthetic::digits_of(1, 200, 50)?;
    let model = TwoLayerNet::spec(784, 10, 10).build(crate::testing::gpu())?;
    let loss = SoftmaxCrossEntropy;
    let optimizer = Sgd::new(0.5);
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

/// All features are 0, so only the last biases can learn, as in a network whose `Relu` units are all dead. The classes
/// are not equally frequent, so these biases oscillate.
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

/// A data set is uploaded once while the program holds it. When the program drops it, the GPU frees it, too.
#[test]
fn a_data_set_that_the_program_has_dropped_takes_no_memory() -> Result<(), Error> {
    let digits = |seed| crate::data::synthetic::digits_of(seed, 20, 500);
    // This test creates a device of its own, so that no other test allocates memory on it.
    let gpu = crate::Gpu::new()?;
    let train = digits(0)?.train;
    let model = TwoLayerNet::spec(784, 10, 10).build(&gpu)?;
    let sampling = Sampling::WithReplacement { seed: 1 };
    let loss = SoftmaxCrossEntropy;
    let optimizer = Sgd::new(0.1);
    let mut trainer = Trainer::new(model, loss, optimizer, &train, 20, sampling)?;
    // The trainer still holds its training data.
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
        // The device frees memory with some delay, so only an upper bound can be checked.
        let now = allocated();
        let first = *first.get_or_insert_with(allocated);
        assert!(now <= 2 * first, "{now} bytes, at first {first}");
    }
    trainer.evaluate(&kept)?;
    assert_eq!(trainer.data_sets.len(), 2);
    Ok(())
}
