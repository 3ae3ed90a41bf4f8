use wgrad::ops::SoftmaxCrossEntropy;
use wgrad::ops::{Adam, Optimizer};
use wgrad::{Error, Fusion, Sequential, Trainer, cpu};

use super::{BATCH, dataset, dropping, optimizers, sampling, spec, trainer, trainer_of};
use crate::gpu::{Numbers, gpu};

const STEPS: usize = 60;

/// What a test needs of either trainer.
trait Run {
    fn losses(&mut self, count: usize) -> Vec<u32>;
    /// The whole file.
    fn bytes(&self) -> Vec<u8>;
    fn take(&mut self, bytes: &[u8]) -> Result<(), Error>;
}

impl Run for Trainer {
    fn losses(&mut self, count: usize) -> Vec<u32> {
        self.steps(count)
            .unwrap()
            .into_iter()
            .map(f32::to_bits)
            .collect()
    }

    fn bytes(&self) -> Vec<u8> {
        pollster::block_on(self.to_safetensors()).unwrap()
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.set_safetensors(bytes)
    }
}

impl Run for cpu::Trainer<f32> {
    fn losses(&mut self, count: usize) -> Vec<u32> {
        self.steps(count)
            .unwrap()
            .into_iter()
            .map(f32::to_bits)
            .collect()
    }

    fn bytes(&self) -> Vec<u8> {
        self.to_safetensors().unwrap()
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.set_safetensors(bytes)
    }
}

fn check(case: &str, start: impl Fn() -> Box<dyn Run>) {
    let mut whole = start();
    let expected = whole.losses(STEPS);
    let last = whole.bytes();
    let mut numbers = Numbers::new(case.len() as u64);
    for _ in 0..5 {
        let stop = 1 + numbers.below(STEPS - 1);
        let mut first = start();
        let mut losses = first.losses(stop);
        let saved = first.bytes();
        let mut second = start();
        // What it has done before must not show.
        second.losses(3);
        second.take(&saved).unwrap();
        assert!(second.bytes() == saved, "{case}: saved at {stop}");
        losses.extend(second.losses(STEPS - stop));
        assert!(losses == expected, "{case}: losses after a stop at {stop}");
        assert!(
            second.bytes() == last,
            "{case}: state after a stop at {stop}"
        );
    }
}

fn on_cpu(spec: &Sequential, optimizer: Box<dyn Optimizer>) -> Box<dyn Run> {
    let data = dataset();
    Box::new(
        cpu::Trainer::new(
            cpu::Network::<f32>::new(spec).unwrap(),
            SoftmaxCrossEntropy,
            optimizer,
            &data,
            BATCH,
            sampling(),
        )
        .unwrap(),
    )
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

/// The minibatches that a fused training has chosen ahead are not those of the step it resumes.
#[test]
fn a_fused_training_under_way_resumes_as_a_fresh_one() {
    let fused = || trainer(gpu(), optimizers()[0](), Fusion::Fused);
    let mut elsewhere = fused();
    elsewhere.losses(1_000);
    let saved = elsewhere.bytes();
    let expected = elsewhere.losses(30);
    for before in [0, 10, 300] {
        let mut resumed = fused();
        resumed.losses(before);
        resumed.take(&saved).unwrap();
        assert!(resumed.losses(30) == expected, "after {before} steps");
        let saved_again = resumed.bytes() == elsewhere.bytes();
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

/// Both trainers write the same file, and go on from one another's as from their own.
#[test]
fn a_run_goes_on_elsewhere() {
    for optimizer in optimizers() {
        let case = format!("{:?}", optimizer());
        let mut on_gpu = trainer(gpu(), optimizer(), Fusion::Layers);
        let mut on_cpu = on_cpu(&spec(), optimizer());
        on_cpu.losses(20);
        on_gpu.take(&on_cpu.bytes()).unwrap();
        assert_eq!(on_gpu.steps_taken(), 20, "{case}");
        assert!(on_gpu.bytes() == on_cpu.bytes(), "{case}");
        let [found, expected] =
            [on_gpu.losses(1), on_cpu.losses(1)].map(|bits| f32::from_bits(bits[0]));
        // One forward pass of 48 and 7 products, and a logarithm.
        assert!(
            (found - expected).abs() < 1e-5,
            "{case}: {found} {expected}"
        );
    }
}
