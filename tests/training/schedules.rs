use serde_json::Value;
use wgrad::data::Sampling;
use wgrad::ops::{Linear, Optimizer, Plateau, Schedule, Sgd, SoftmaxCrossEntropy};
use wgrad::{Error, Fusion, Sequential, Train, Trainer, cpu};

use super::tiny;
use crate::gpu::gpu;

/// The number of steps in the ring buffer of coefficients on the GPU.
const RING: usize = 16_384;

/// At the step at which the ring buffer of coefficients starts again, the learning rate becomes too small to change any
/// bit. All steps use the same example, so its loss then stays the same. If a step used the old coefficients in the
/// ring buffer, the loss would fall.
#[test]
fn the_rate_of_a_step_is_that_of_its_schedule_when_the_ring_of_them_begins_again() {
    const BEFORE: usize = 4;
    const STEPS: usize = BEFORE + 20;
    let schedule = Schedule::step(RING as u64, 1e-30);
    let optimizer = Sgd::new(1e-4).scheduled(schedule);
    let spec = Sequential::input(2).layer(Linear::new(2)).seed(1);
    let sampling = || Sampling::Listed(vec![3; RING - BEFORE + STEPS]);
    let data = tiny();
    let loss = SoftmaxCrossEntropy;
    let check = |case: &str, losses: &[f32]| {
        let changes: Vec<bool> = losses.windows(2).map(|pair| pair[0] != pair[1]).collect();
        let expected: Vec<bool> = (1..STEPS).map(|step| step <= BEFORE).collect();
        assert_eq!(changes, expected, "{case}: {losses:?}");
    };
    let mut on_cpu = cpu::Trainer::new(
        cpu::Network::<f32>::new(&spec).unwrap(),
        SoftmaxCrossEntropy,
        optimizer.clone(),
        &data,
        1,
        sampling(),
    )
    .unwrap();
    // The CPU takes these steps, because a GPU would need seconds for them.
    on_cpu.steps(RING - BEFORE).unwrap();
    let saved = on_cpu.to_safetensors().unwrap();
    check("on the CPU", &on_cpu.steps(STEPS).unwrap());

    let model = spec.build(gpu()).unwrap();
    let mut trainer = Trainer::new(model, loss, optimizer, &data, 1, sampling()).unwrap();
    // The ring buffer now contains the learning rates of these steps.
    trainer.steps(STEPS).unwrap();
    trainer.set_safetensors(&saved).unwrap();
    check("on the GPU", &trainer.steps(STEPS).unwrap());
}

/// Reads the learning rates of a PyTorch scheduler, which `tests/training/learning_rates.py` has written.
fn pytorch(scheduler: &str) -> Vec<Value> {
    let table: Value = serde_json::from_str(include_str!("learning_rates.json")).unwrap();
    let cases = table[scheduler].as_array().unwrap().clone();
    assert!(cases.len() > 5, "{scheduler}");
    cases
}

fn numbers(case: &Value, name: &str) -> Vec<f64> {
    let numbers = case[name].as_array().unwrap().iter();
    numbers.map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn one_cycle_is_that_of_pytorch() {
    for case in pytorch("one_cycle") {
        let steps = case["total_steps"].as_u64().unwrap();
        let mut cycle = Schedule::one_cycle(steps);
        for (name, value) in case.as_object().unwrap() {
            let value = value.as_f64().unwrap_or(f64::NAN);
            cycle = match &**name {
                "total_steps" | "factors" => cycle,
                "pct_start" => cycle.pct_start(value),
                "div_factor" => cycle.div_factor(value),
                "final_div_factor" => cycle.final_div_factor(value),
                _ => panic!("{name}"),
            };
        }
        let schedule = Schedule::from(cycle);
        let factors = numbers(&case, "factors");
        assert_eq!(factors.len() as u64, steps);
        for (step, expected) in (0..).zip(&factors) {
            let found = schedule.factor(step);
            // The tolerance is for five rounded operations on numbers up to 1. A cosine has a slightly larger error.
            let apart = (found - expected).abs();
            assert!(apart < 1e-15, "{cycle:?}, {step}: {found} {expected}");
        }
        let last = schedule.factor(steps - 1);
        assert!([steps, u64::MAX].map(|step| schedule.factor(step)) == [last; 2]);
    }
}

#[test]
fn a_plateau_is_that_of_pytorch() {
    for case in pytorch("plateau") {
        let mut plateau = match case["mode"].as_str().unwrap() {
            "min" => Plateau::lowest(),
            _ => Plateau::highest(),
        };
        for (name, value) in case.as_object().unwrap() {
            let count = value.as_u64().unwrap_or(u64::MAX);
            let value = value.as_f64().unwrap_or(f64::NAN);
            plateau = match &**name {
                "mode" | "metrics" | "factors" => plateau,
                "factor" => plateau.factor(value),
                "patience" => plateau.patience(count),
                "threshold" => plateau.threshold(value),
                "cooldown" => plateau.cooldown(count),
                "min_lr" => plateau.min_factor(value),
                _ => panic!("{name}"),
            };
        }
        let metrics = numbers(&case, "metrics").into_iter();
        let found: Vec<_> = metrics
            .map(|metric| plateau.observe(metric).unwrap())
            .collect();
        let expected = numbers(&case, "factors");
        assert_eq!(found.len(), expected.len());
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            // Both multiply their factor by the same operations. Only parsing the file may change the last digit of a
            // number.
            let apart = (found - expected).abs();
            assert!(
                apart <= 1e-15 * expected,
                "{plateau:?}, {at}: {found} {expected}"
            );
        }
    }
}

/// A metric of NaN does not count as an improvement.
#[test]
fn values_that_are_no_numbers_are_no_better() {
    for mut plateau in [Plateau::lowest(), Plateau::highest()].map(|it| it.patience(1)) {
        let values = [f64::NAN, 1.0, f64::NAN, f64::NAN, 1.0];
        let found = values.map(|value| plateau.observe(value).unwrap());
        assert_eq!(found, [1.0, 1.0, 1.0, 0.1, 0.1], "{plateau:?}");
    }
}

#[test]
fn settings_of_a_plateau_that_make_no_sense_are_named() {
    let plateau = Plateau::lowest;
    for (wrong, name, found) in [
        (plateau().factor(0.0), "factor", "0"),
        (plateau().factor(1.0), "factor", "1"),
        (plateau().factor(f64::NAN), "factor", "NaN"),
        (plateau().threshold(1.0), "threshold", "1"),
        (plateau().threshold(-0.5), "threshold", "-0.5"),
        (plateau().min_factor(1.5), "min_factor", "1.5"),
    ] {
        let mut observed = wrong.clone();
        let message = observed.observe(1.0).unwrap_err().to_string();
        let named = format!("{name} of a plateau must be ");
        assert!(message.starts_with(&named), "{message}");
        assert!(message.ends_with(&format!("; it is {found}")), "{message}");
        assert_eq!(format!("{observed:?}"), format!("{wrong:?}"));
    }
}

fn on_gpu(optimizer: impl Optimizer + 'static) -> Trainer {
    let spec = Sequential::input(2).layer(Linear::new(2)).seed(1);
    let model = spec.build(gpu()).unwrap();
    let loss = SoftmaxCrossEntropy;
    let sampling = Sampling::Listed(vec![3; 50]);
    Trainer::with_fusion(model, loss, optimizer, &tiny(), 1, sampling, Fusion::Layers).unwrap()
}

fn on_cpu(optimizer: impl Optimizer + 'static) -> cpu::Trainer<f32> {
    let spec = Sequential::input(2).layer(Linear::new(2)).seed(1);
    let sampling = Sampling::Listed(vec![3; 50]);
    let network = spec.on_cpu().unwrap();
    let loss = SoftmaxCrossEntropy;
    cpu::Trainer::new(network, loss, optimizer, &tiny(), 1, sampling).unwrap()
}

/// A function with the same rates as `Schedule::step` gives the same bits, on each engine.
#[test]
fn a_function_of_the_step_is_a_schedule() {
    let step = Sgd::new(0.5).scheduled(Schedule::step(3, 0.25));
    let function = |step: u64| 0.25f64.powi((step / 3) as i32);
    let function = Sgd::new(0.5).scheduled(Schedule::of("a quarter every 3 steps", function));
    let bits = |run: &mut dyn Train| -> Vec<u32> {
        let losses = run.steps(12).unwrap().into_iter();
        losses.map(f32::to_bits).collect()
    };
    let expected = bits(&mut on_gpu(step.clone()));
    assert_eq!(bits(&mut on_gpu(function.clone())), expected);
    let expected = bits(&mut on_cpu(step));
    assert_eq!(bits(&mut on_cpu(function)), expected);
    let constant = bits(&mut on_cpu(Sgd::new(0.5)));
    assert_ne!(constant, expected);
}

#[test]
fn a_rate_that_is_no_number_or_negative_is_told_before_its_step() {
    for (factor, found) in [(f64::NAN, "NaN"), (-0.5, "-0.25")] {
        let schedule = Schedule::of("wrong", move |step| match step {
            6 => factor,
            _ => 1.0,
        });
        let optimizer = Sgd::new(0.5).scheduled(schedule);
        let trainers: [Box<dyn Train>; 2] = [
            Box::new(on_gpu(optimizer.clone())),
            Box::new(on_cpu(optimizer)),
        ];
        for mut trainer in trainers {
            let submitted = trainer.advance(7).map_err(|error| error.to_string());
            let expected = format!(
                "learning rate by the schedule at step 6, counted from 0, must be a number, 0 or above; it is {found}"
            );
            assert_eq!(submitted, Err(expected.clone()));
            let refused = trainer.steps(7).map_err(|error| error.to_string());
            assert_eq!((refused, trainer.steps_taken()), (Err(expected.clone()), 0));
            assert_eq!(trainer.steps(6).unwrap().len(), 6);
            let refused = trainer.steps(1).map_err(|error| error.to_string());
            assert_eq!((refused, trainer.steps_taken()), (Err(expected), 6));
        }
    }
}

/// An infinite learning rate makes the parameters infinite. The divergence is detected in the next step's loss, but the
/// error names the rate of the update.
#[test]
fn a_divergence_has_the_rate_of_its_last_update() {
    let huge = Schedule::of("huge at last", |step| match step {
        2 => f64::INFINITY,
        _ => 1.0,
    });
    let optimizer = Sgd::new(0.5).scheduled(huge);
    let trainers: [Box<dyn Train>; 2] = [
        Box::new(on_gpu(optimizer.clone())),
        Box::new(on_cpu(optimizer)),
    ];
    for mut trainer in trainers {
        let found = trainer.steps(10);
        let Err(error) = &found else {
            panic!("{found:?}");
        };
        let Error::Diverged {
            step,
            learning_rate,
            ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!((*step, *learning_rate), (4, f32::INFINITY));
        let told = "The schedule has raised the learning rate from 0.5 to ";
        assert!(error.to_string().contains(told), "{error}");
    }
}
