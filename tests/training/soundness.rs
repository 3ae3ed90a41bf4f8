//! A training that has diverged cannot be saved or continued until its parameters are replaced.

use std::fs;
use std::path::Path;

use wgrad::data::Sampling;
use wgrad::ops::{Adam, Optimizer, Sgd, SoftmaxCrossEntropy};
use wgrad::{Error, Fusion, Parameters, Train, Trainer, cpu};

use super::{digits, relu_net};
use crate::gpu::gpu;

const SAMPLING: Sampling = Sampling::WithReplacement { seed: 1 };

fn on_gpu(optimizer: Box<dyn Optimizer>, plan: Fusion) -> Trainer {
    let model = relu_net().build(gpu()).unwrap();
    let data = digits().train;
    let loss = SoftmaxCrossEntropy;
    Trainer::with_fusion(model, loss, optimizer, &data, 20, SAMPLING, plan).unwrap()
}

fn on_cpu(optimizer: Box<dyn Optimizer>) -> cpu::Trainer<f32> {
    let data = digits().train;
    cpu::Trainer::new(
        cpu::Network::<f32>::new(&relu_net()).unwrap(),
        SoftmaxCrossEntropy,
        optimizer,
        &data,
        20,
        SAMPLING,
    )
    .unwrap()
}

/// Returns trainers that diverge: with SGD, for every plan, and with Adam, which has running means.
fn trainers() -> Vec<(&'static str, Box<dyn Train>)> {
    let sgd = || Box::new(Sgd::new(1e12));
    vec![
        ("layers", Box::new(on_gpu(sgd(), Fusion::Layers))),
        ("fused", Box::new(on_gpu(sgd(), Fusion::Fused))),
        ("cpu", Box::new(on_cpu(sgd()))),
        ("Adam", Box::new(on_gpu(adam(), Fusion::Layers))),
        ("Adam, cpu", Box::new(on_cpu(adam()))),
    ]
}

/// Returns Adam with a learning rate that makes the parameters diverge. The running means then contain the invalid
/// gradients.
fn adam() -> Box<dyn Optimizer> {
    Box::new(Adam::new(1e30))
}

/// Trains until the training diverges. Returns the step of the divergence.
#[track_caller]
fn diverge(case: &str, trainer: &mut dyn Train) -> u64 {
    match trainer.steps(60) {
        Err(Error::Diverged { step, .. }) => step,
        other => panic!("{case}: {other:?}"),
    }
}

#[track_caller]
fn assert_not_saved(case: &str, trainer: &dyn Train, path: &Path, diverged: u64) {
    let before = fs::read(path).unwrap();
    let refused = trainer.save(path);
    assert!(
        matches!(refused, Err(Error::NotSaved { step }) if step == diverged),
        "{case}: {refused:?}"
    );
    assert!(fs::read(path).unwrap() == before, "{case}");
}

#[test]
fn the_good_file_stays_and_no_step_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("good.safetensors");
    for (case, mut trainer) in trainers() {
        trainer.save(&path).unwrap();
        let step = diverge(case, &mut *trainer);
        assert_not_saved(case, &*trainer, &path, step);
        let taken = trainer.steps_taken();
        let parameters = trainer.parameters().unwrap();
        let again = trainer.steps(5);
        assert!(
            matches!(&again, Err(Error::Diverged { step: at, losses, .. }) if *at == step && losses.is_empty()),
            "{case}: {again:?}"
        );
        assert_eq!(trainer.steps_taken(), taken, "{case}");
        let bits = |parameters: &Parameters| -> Vec<u32> {
            let all = parameters.iter().flat_map(|(_, values)| values);
            all.map(|value| value.to_bits()).collect()
        };
        assert!(
            bits(&trainer.parameters().unwrap()) == bits(&parameters),
            "{case}"
        );
        // After a divergence, an evaluation still gives a number, and no error.
        trainer.evaluate(&digits().test).unwrap();
        assert_not_saved(case, &*trainer, &path, step);
    }
}

/// After a divergence, each way of replacing the parameters restores the training: the optimizer's state is zero, and
/// the next step has the loss of the initial network.
#[test]
fn other_parameters_make_it_sound_again() {
    let directory = tempfile::tempdir().unwrap();
    let [good, next] = ["good", "next"].map(|name| directory.path().join(name));
    for (case, mut trainer) in trainers() {
        let sound = trainer.parameters().unwrap();
        trainer.save(&good).unwrap();
        let bytes = fs::read(&good).unwrap();
        type Mend<'a> = Box<dyn Fn(&mut dyn Train) -> Result<(), Error> + 'a>;
        let ways: [(&str, Mend<'_>); 3] = [
            (
                "set_parameters",
                Box::new(|trainer| trainer.set_parameters(&sound)),
            ),
            (
                "set_weights",
                Box::new(|trainer| trainer.set_weights(&bytes)),
            ),
            ("resume", Box::new(|trainer| trainer.resume(&good))),
        ];
        for (way, mend) in ways {
            let case = format!("{case}, {way}");
            diverge(&case, &mut *trainer);
            mend(&mut *trainer).unwrap();
            assert!(trainer.parameters().unwrap() == sound, "{case}");
            trainer.save(&next).unwrap();
            let file = fs::read(&next).unwrap();
            let file = safetensors::SafeTensors::deserialize(&file).unwrap();
            for (name, tensor) in file.tensors() {
                let values = tensor
                    .data()
                    .chunks_exact(4)
                    .map(|four| f32::from_le_bytes(four.try_into().unwrap()));
                let is_state = name.starts_with("optimizer.");
                let is_sound = |value: f32| {
                    if is_state {
                        value == 0.0
                    } else {
                        value.is_finite()
                    }
                };
                assert!(values.into_iter().all(is_sound), "{case}: {name}");
            }
            let losses = trainer.steps(1).unwrap();
            // In the initial network, all ten classes are about equally likely.
            assert!((losses[0] - 10f32.ln()).abs() < 0.05, "{case}: {losses:?}");
        }
        // If the new parameters are refused, the training stays diverged.
        diverge(case, &mut *trainer);
        assert!(
            trainer.set_parameters(&Parameters::from_iter([])).is_err(),
            "{case}"
        );
        assert!(trainer.save(&next).is_err(), "{case}");
    }
}

/// If a program reads the losses later by a future, a divergence counts from the moment when the losses are read.
#[test]
fn a_divergence_that_a_future_finds_counts() {
    for plan in [Fusion::Layers, Fusion::Fused] {
        let mut trainer = on_gpu(Box::new(Sgd::new(1e12)), plan);
        let initial = trainer.to_safetensors().unwrap();
        let sound = trainer.to_safetensors_async();
        trainer.advance(60).unwrap();
        let losses = trainer.losses_async(60);
        let file = trainer.to_safetensors_async();
        let Err(Error::Diverged { step, .. }) = pollster::block_on(losses) else {
            panic!("{plan:?}: no divergence");
        };
        // The file that was requested before the divergence has valid parameters. The file that was requested later has
        // not, so it is an error.
        assert!(pollster::block_on(sound).is_ok(), "{plan:?}");
        for file in [pollster::block_on(file), trainer.to_safetensors()] {
            assert!(
                matches!(file, Err(Error::NotSaved { step: at }) if at == step),
                "{plan:?}"
            );
        }
        let refused = trainer.advance(1);
        assert!(matches!(refused, Err(Error::Diverged { step: at, .. }) if at == step));
        assert_eq!(trainer.steps_taken(), 60);

        // Losses of the old training that are read late must not affect the resumed training.
        let late = trainer.losses_async(60);
        trainer.set_safetensors(&initial).unwrap();
        assert!(pollster::block_on(late).is_err());
        assert!(trainer.to_safetensors().is_ok());
        trainer.advance(1).unwrap();
        assert_eq!(
            pollster::block_on(trainer.losses_async(1)).unwrap().len(),
            1
        );
    }
}

/// The losses of replaced parameters can still be read, but a divergence in them no longer counts.
#[test]
fn a_training_that_was_restored_goes_on_whatever_losses_are_read() {
    for (case, mut trainer) in trainers() {
        trainer.keep_if_best(1.0).unwrap();
        let step = diverge(case, &mut *trainer);
        trainer.restore_best().unwrap();
        let taken = trainer.steps_taken();
        trainer.set_learning_rate(1e-3).unwrap();
        trainer.steps(3).unwrap();
        let old = (taken - step) as usize;
        let losses = trainer.losses(old + 3).unwrap();
        assert_eq!(losses.len(), old + 3, "{case}");
        assert!(losses[old..].iter().all(|loss| loss.is_finite()), "{case}");
        trainer.steps(1).unwrap();
        assert!(trainer.to_safetensors().is_ok(), "{case}");
    }
}

/// A diverged training is not saved, even if the program has not read the losses that show the divergence.
#[test]
fn a_divergence_that_nobody_has_seen_is_not_saved() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.safetensors");
    // With this learning rate, the parameters stay finite, so only the loss shows the divergence.
    let sgd = || Box::new(Sgd::new(1e6));
    let all: [Box<dyn Train>; 2] = [
        Box::new(on_gpu(sgd(), Fusion::Layers)),
        Box::new(on_gpu(sgd(), Fusion::Fused)),
    ];
    for mut trainer in all {
        trainer.save(&path).unwrap();
        let good = fs::read(&path).unwrap();
        trainer.advance(20).unwrap();
        let finite = trainer.parameters().unwrap();
        assert!(
            finite
                .iter()
                .all(|(_, values)| values.iter().all(|value| value.is_finite()))
        );
        let refused = trainer.save(&path);
        assert!(
            matches!(refused, Err(Error::NotSaved { .. })),
            "{refused:?}"
        );
        assert_eq!(fs::read(&path).unwrap(), good);
        assert!(matches!(trainer.steps(1), Err(Error::Diverged { .. })));
    }
}

/// The learning rate changes several times before the losses are read. The error names the rate of the step that
/// diverged.
#[test]
fn a_divergence_has_the_rate_of_its_step_whatever_came_later() {
    let mut trainer = on_gpu(Box::new(Sgd::new(1e12)), Fusion::Layers);
    trainer.advance(4).unwrap();
    for rate in [0.1, 0.01, 0.001] {
        trainer.set_learning_rate(rate).unwrap();
        trainer.advance(2).unwrap();
    }
    let Err(Error::Diverged {
        learning_rate,
        step,
        ..
    }) = trainer.losses(10)
    else {
        panic!("no divergence");
    };
    assert!(step <= 5);
    assert!((learning_rate - 1e12).abs() < 1e6, "{learning_rate}");
}
