use wgrad::data::Sampling;
use wgrad::ops::{Linear, Optimizer as _, Schedule, Sgd, SoftmaxCrossEntropy};
use wgrad::{Sequential, Trainer, cpu};

use super::tiny;
use crate::gpu::gpu;

/// Steps whose coefficients are on the GPU at a time.
const RING: usize = 16_384;

/// With the first step whose coefficients lie where those of another have lain, the learning rate becomes too small to
/// change a bit: the loss of an example that is taken in every step then stays. The rates of the first steps would
/// lower it.
#[test]
fn the_rate_of_a_step_is_that_of_its_schedule_when_the_ring_of_them_begins_again() {
    const BEFORE: usize = 4;
    const STEPS: usize = BEFORE + 20;
    let schedule = Schedule::step(RING as u64, 1e-30);
    let optimizer = Sgd::new(1e-4).scheduled(schedule);
    let spec = Sequential::input(2).layer(Linear::new(2)).seed(1);
    let sampling = || Sampling::Listed(vec![3; RING - BEFORE + STEPS]);
    let (data, loss) = (tiny(), SoftmaxCrossEntropy);
    let check = |case: &str, losses: &[f32]| {
        let changes: Vec<bool> = losses.windows(2).map(|pair| pair[0] != pair[1]).collect();
        let expected: Vec<bool> = (1..STEPS).map(|step| step <= BEFORE).collect();
        assert_eq!(changes, expected, "{case}: {losses:?}");
    };
    let mut on_cpu = cpu::Trainer::new(
        cpu::Network::<f32>::new(&spec).unwrap(),
        SoftmaxCrossEntropy,
        optimizer,
        &data,
        1,
        sampling(),
    )
    .unwrap();
    // A GPU would take seconds for them.
    on_cpu.steps(RING - BEFORE).unwrap();
    let saved = on_cpu.to_safetensors().unwrap();
    check("on the CPU", &on_cpu.steps(STEPS).unwrap());

    let model = spec.build(gpu()).unwrap();
    let mut trainer = Trainer::new(model, loss, optimizer, &data, 1, sampling()).unwrap();
    // Their rates are in the ring.
    trainer.steps(STEPS).unwrap();
    trainer.set_safetensors(&saved).unwrap();
    check("on the GPU", &trainer.steps(STEPS).unwrap());
}
