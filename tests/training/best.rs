//! The trainer keeps the best parameters so far, and can restore them.

use wgrad::data::Sampling;
use wgrad::ops::{Adam, Group, Sgd, SoftmaxCrossEntropy};
use wgrad::{Error, Fusion, Train, Trainer, cpu};

use crate::gpu::gpu;
use crate::{digits, relu_net};

const SAMPLING: Sampling = Sampling::Shuffled { seed: 3 };

fn trainers(rate: f32) -> Vec<Box<dyn Train>> {
    let data = digits().train;
    let sgd = Sgd::new(rate);
    let on_gpu = |fusion| {
        let model = relu_net().build(gpu()).unwrap();
        let loss = SoftmaxCrossEntropy;
        Trainer::with_fusion(model, loss, sgd, &data, 20, SAMPLING, fusion).unwrap()
    };
    let network = relu_net().on_cpu().unwrap();
    let on_cpu = cpu::Trainer::new(network, SoftmaxCrossEntropy, sgd, &data, 20, SAMPLING);
    vec![
        Box::new(on_gpu(Fusion::Fused)),
        Box::new(on_gpu(Fusion::Layers)),
        Box::new(on_cpu.unwrap()),
    ]
}

fn weights(trainer: &dyn Train) -> Vec<f32> {
    let weight = pollster::block_on(trainer.parameter_async("layers.0.weight")).unwrap();
    weight.into_iter().collect()
}

/// A fused trainer computes parts of the next step ahead. After a restore, it must continue from the restored
/// parameters, as if they had been set.
#[test]
fn steps_go_on_from_the_parameters_that_are_restored() {
    for mut trainer in trainers(0.1) {
        assert!(trainer.restore_best().is_err(), "none are kept");
        trainer.steps(5).unwrap();
        assert!(trainer.keep_if_best(0.5).unwrap());
        let kept = weights(&*trainer);
        trainer.steps(5).unwrap();
        for worse in [0.5, 0.6, f64::NAN] {
            assert!(!trainer.keep_if_best(worse).unwrap(), "{worse}");
        }
        assert_eq!(trainer.best(), Some((0.5, 5)));
        assert_ne!(weights(&*trainer), kept);
        trainer.restore_best().unwrap();
        assert_eq!(weights(&*trainer), kept);
        // The next steps equal the steps of a training that resumes with these parameters.
        let file = trainer.to_safetensors().unwrap();
        let on = trainer.steps(2).unwrap();
        trainer
            .set_safetensors_with(&file, Default::default())
            .unwrap();
        assert_eq!(trainer.steps(2).unwrap(), on);
        assert_eq!(trainer.best(), None, "a resume forgets them");
    }
}

#[test]
fn what_diverged_goes_on_from_the_parameters_that_are_restored() {
    for mut trainer in trainers(0.1) {
        trainer.steps(3).unwrap();
        trainer.keep_if_best(1.0).unwrap();
        trainer.set_learning_rate(1e30).unwrap();
        let diverged = trainer.steps(20).unwrap_err();
        assert!(
            matches!(diverged, Error::Diverged { learning_rate, .. } if learning_rate == 1e30),
            "{diverged}"
        );
        assert!(trainer.keep_if_best(0.0).is_err());
        trainer.set_learning_rate(0.1).unwrap();
        trainer.restore_best().unwrap();
        let losses = trainer.steps(20).unwrap();
        assert!(losses.iter().all(|&loss| loss < 3.0), "{losses:?}");
    }
}

/// Adam's running means start from zero. Their correction depends on the number of updates of the parameter, not on the
/// training's step. So Adam's first step has the length of the learning rate, even if it is taken late.
#[test]
fn what_begins_late_is_corrected_by_its_own_age() {
    for mut trainer in trainers(0.1).into_iter().skip(1) {
        trainer.steps(300).unwrap();
        let before = weights(&*trainer);
        trainer.set_optimizer(Box::new(Adam::new(1e-3))).unwrap();
        let file = trainer.to_safetensors().unwrap();
        trainer.steps(1).unwrap();
        let longest = |trainer: &dyn Train| {
            let moved = weights(trainer).into_iter().zip(&before);
            moved.fold(0.0f32, |most, (now, before)| most.max((now - before).abs()))
        };
        let moved = longest(&*trainer);
        assert!((0.9e-3..1.01e-3).contains(&moved), "{moved}");
        // After a resume, the correction is the same.
        trainer
            .set_safetensors_with(&file, Default::default())
            .unwrap();
        trainer.steps(1).unwrap();
        assert_eq!(longest(&*trainer), moved);
    }
}

/// If a training requires a fusion, it refuses changes that would end the fusion, and stays unchanged.
#[test]
fn what_cannot_be_fused_is_refused_and_changes_nothing() {
    let mut trainer = trainers(0.1).swap_remove(0);
    let mut other = trainers(0.1).swap_remove(0);
    let refused = [
        trainer.freeze("layers.0"),
        trainer.accumulate(2),
        trainer.average(0.9),
        trainer.set_optimizer(Box::new(Adam::new(0.1))),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(Error::Plan(_))), "{refused:?}");
    }
    // A group with the optimizer's own settings changes nothing, so it is accepted.
    trainer.set_group("*", Group::new()).unwrap();
    assert_eq!(trainer.steps(5).unwrap(), other.steps(5).unwrap());
}

/// The error for a divergence names the learning rates of groups, but only of groups that the last update trained.
#[test]
fn a_divergence_names_the_multiples_of_groups() {
    for mut trainer in trainers(0.1).into_iter().skip(1) {
        trainer.set_group("*.bias", Group::new().rate(0.5)).unwrap();
        trainer.freeze("*.bias").unwrap();
        let large = Group::new().rate(1e30);
        trainer.set_group("layers.0.weight", large).unwrap();
        let diverged = trainer.steps(20).unwrap_err().to_string();
        let expected = "(it is 0.1; parameter groups multiply it by 1e30)";
        assert!(diverged.contains(expected), "{diverged}");
    }
}
