//! Moving averages of the parameters, when the program replaces the parameters.

use pollster::block_on;
use wgrad::data::Sampling;
use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
use wgrad::{Parameters, Train, Trainer, cpu};

use crate::gpu::gpu;
use crate::{digits, relu_net};

const SAMPLING: Sampling = Sampling::Shuffled { seed: 3 };
const DECAY: f32 = 0.75;

fn on_gpu() -> Trainer {
    let model = relu_net().build(gpu()).unwrap();
    let loss = SoftmaxCrossEntropy;
    let mut trainer =
        Trainer::new(model, loss, Sgd::new(0.1), &digits().train, 20, SAMPLING).unwrap();
    trainer.average(DECAY).unwrap();
    trainer
}

fn on_cpu() -> cpu::Trainer<f32> {
    let network = relu_net().on_cpu().unwrap();
    let loss = SoftmaxCrossEntropy;
    let data = digits().train;
    let sgd = Sgd::new(0.1);
    let mut trainer = cpu::Trainer::new(network, loss, sgd, &data, 20, SAMPLING).unwrap();
    trainer.average(DECAY).unwrap();
    trainer
}

fn averaged(trainer: &dyn Train) -> Parameters {
    block_on(trainer.averaged_async()).unwrap().unwrap()
}

fn present(trainer: &dyn Train, names: &Parameters) -> Parameters {
    let named = names.iter().map(|(name, _)| {
        let value = block_on(trainer.parameter_async(name)).unwrap();
        (name.to_owned(), value)
    });
    named.collect()
}

/// A function that sets the parameters to the values that they had at the start. It can take these values from its
/// arguments (the parameters and a file) or from the trainer's best parameters.
type Set = fn(&mut dyn Train, &Parameters, &[u8]);

/// When all parameters are replaced, the average starts again from the new parameters. The next step moves the average
/// by the fraction 1 − [`DECAY`] of the parameters' change.
#[test]
fn an_average_begins_anew_with_all_parameters_from_outside() {
    let trainers: [Box<dyn Train>; 2] = [Box::new(on_gpu()), Box::new(on_cpu())];
    for mut trainer in trainers {
        let first = averaged(&*trainer);
        trainer.keep_if_best(1.0).unwrap();
        let file = block_on(trainer.to_safetensors_async()).unwrap();
        let outside: [Set; 3] = [
            |trainer, first, _| trainer.set_parameters(first).unwrap(),
            |trainer, _, _| trainer.restore_best().unwrap(),
            |trainer, _, file| trainer.set_weights(file).unwrap(),
        ];
        for set in outside {
            trainer.steps(5).unwrap();
            let old = averaged(&*trainer);
            assert!(old != first && old != present(&*trainer, &first));
            set(&mut *trainer, &first, &file);
            assert_eq!(averaged(&*trainer), first);
            trainer.steps(1).unwrap();
            let found = averaged(&*trainer);
            let stepped = present(&*trainer, &first);
            let all = found.iter().zip(stepped.iter()).zip(first.iter());
            for (((name, found), (_, stepped)), (_, first)) in all {
                let expected = first + &((stepped - first) * (1.0 - DECAY));
                // The tolerance is three roundings of numbers below 1.
                let error = (found - &expected).mapv(f32::abs);
                assert!(error.iter().all(|&error| error < 2e-7), "{name}");
            }
        }
        // A resumed training has the average of the file.
        trainer.steps(5).unwrap();
        let average = averaged(&*trainer);
        let file = block_on(trainer.to_safetensors_async()).unwrap();
        trainer.steps(5).unwrap();
        trainer
            .set_safetensors_with(&file, Default::default())
            .unwrap();
        assert_eq!(averaged(&*trainer), average);
    }
}

#[test]
fn an_average_of_one_parameter_begins_anew_with_it_and_the_others_go_on() {
    const NAME: &str = "layers.2.weight";
    let mut on_gpu = on_gpu();
    let mut on_cpu = on_cpu();
    on_gpu.steps(5).unwrap();
    on_cpu.steps(5).unwrap();
    let before = [averaged(&on_gpu), averaged(&on_cpu)];
    let value = before[0].get(NAME).unwrap().mapv(|value| value + 0.5);
    on_gpu.set_parameter(NAME, value.view()).unwrap();
    on_cpu.set_parameter(NAME, value.view()).unwrap();
    let after = [averaged(&on_gpu), averaged(&on_cpu)];
    for (before, after) in before.iter().zip(&after) {
        for ((name, before), (_, after)) in before.iter().zip(after.iter()) {
            let expected = if name == NAME { &value } else { before };
            assert_eq!(after, expected, "{name}");
        }
    }
}
