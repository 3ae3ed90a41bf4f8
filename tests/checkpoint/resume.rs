use wgrad::ops::SoftmaxCrossEntropy;
use wgrad::ops::{Adam, Optimizer};
use wgrad::{Device, Fusion, Sequential, Train};

use super::{
    BATCH, dataset, dropping, normalizing, optimizers, sampling, spec, trainer, trainer_of,
};
use crate::gpu::{Numbers, gpu};

const STEPS: usize = 60;

fn losses(trainer: &mut dyn Train, count: usize) -> Vec<u32> {
    let losses = trainer.steps(count).unwrap().into_iter();
    losses.map(f32::to_bits).collect()
}

/// Returns the bytes of the checkpoint file.
fn bytes(trainer: &dyn Train) -> Vec<u8> {
    trainer.to_safetensors().unwrap()
}

fn check(case: &str, start: impl Fn() -> Box<dyn Train>) {
    let mut whole = start();
    let expected = losses(&mut *whole, STEPS);
    let last = bytes(&*whole);
    let mut numbers = Numbers::new(case.len() as u64);
    for _ in 0..5 {
        let stop = 1 + numbers.below(STEPS - 1);
        let mut first = start();
        let mut found = losses(&mut *first, stop);
        let saved = bytes(&*first);
        let mut second = start();
        // The trainer's own earlier steps must have no effect.
        losses(&mut *second, 3);
        second.set_safetensors(&saved).unwrap();
        assert!(bytes(&*second) == saved, "{case}: saved at {stop}");
        found.extend(losses(&mut *second, STEPS - stop));
        assert!(found == expected, "{case}: losses after a stop at {stop}");
        assert!(
            bytes(&*second) == last,
            "{case}: state after a stop at {stop}"
        );
    }
}

fn on_cpu(spec: &Sequential, optimizer: Box<dyn Optimizer>) -> Box<dyn Train> {
    let loss = SoftmaxCrossEntropy;
    let data = dataset();
    let trainer = Device::cpu("a test").trainer(spec, loss, optimizer, &data, BATCH, sampling());
    trainer.unwrap()
}

#[test]
fn a_run_that_stopped_has_the_bits_of_one_that_did_not() {
    for optimizer in optimizers() {
        let name = format!("{:?}", optimizer());
        check(&format!("{name} on the CPU"), || {
            on_cpu(&spec(), optimizer())
        });
        for fusion in [Fusion::Layers, Fusion::Auto] {
            check(&format!("{name} on the GPU, {fusion:?}"), || {
                Box::new(trainer(gpu(), optimizer(), fusion))
            });
        }
    }
    let fused = trainer(gpu(), optimizers()[0](), Fusion::Auto);
    assert_eq!(fused.fusion(), Fusion::Fused, "{:?}", fused.unfused());
}

/// A fused training draws minibatches ahead of its steps. After it resumes from another step, it must not use them.
#[test]
fn a_fused_training_under_way_resumes_as_a_fresh_one() {
    let fused = || trainer(gpu(), optimizers()[0](), Fusion::Fused);
    let mut elsewhere = fused();
    losses(&mut elsewhere, 1_000);
    let saved = bytes(&elsewhere);
    let expected = losses(&mut elsewhere, 30);
    for before in [0, 10, 300] {
        let mut resumed = fused();
        losses(&mut resumed, before);
        resumed.set_safetensors(&saved).unwrap();
        assert!(losses(&mut resumed, 30) == expected, "after {before} steps");
        let saved_again = bytes(&resumed) == bytes(&elsewhere);
        assert!(saved_again, "after {before} steps");
    }
}

#[test]
fn a_network_that_drops_goes_on_dropping_where_it_stopped() {
    let adam = || Box::new(Adam::new(1e-2));
    check("dropout on the CPU", || on_cpu(&dropping(), adam()));
    check("dropout on the GPU", || {
        Box::new(trainer_of(&dropping(), gpu(), adam(), Fusion::Auto))
    });
}

/// The file also contains the running values.
#[test]
fn a_network_that_normalizes_goes_on_where_it_stopped() {
    let adam = || Box::new(Adam::new(1e-2));
    check("batch norm on the CPU", || on_cpu(&normalizing(), adam()));
    check("batch norm on the GPU", || {
        Box::new(trainer_of(&normalizing(), gpu(), adam(), Fusion::Auto))
    });
}

/// The trainers of both engines write the same file, and each resumes from the other's file as from its own.
#[test]
fn a_run_goes_on_elsewhere() {
    for optimizer in optimizers() {
        let case = format!("{:?}", optimizer());
        let mut on_gpu = trainer(gpu(), optimizer(), Fusion::Layers);
        let mut on_cpu = on_cpu(&spec(), optimizer());
        losses(&mut *on_cpu, 20);
        on_gpu.set_safetensors(&bytes(&*on_cpu)).unwrap();
        assert_eq!(on_gpu.steps_taken(), 20, "{case}");
        assert!(bytes(&on_gpu) == bytes(&*on_cpu), "{case}");
        let [found, expected] =
            [losses(&mut on_gpu, 1), losses(&mut *on_cpu, 1)].map(|bits| f32::from_bits(bits[0]));
        // The rounding error of a forward pass whose layers sum 48 and 7 products, and of a logarithm.
        assert!(
            (found - expected).abs() < 1e-5,
            "{case}: {found} {expected}"
        );
    }
}
