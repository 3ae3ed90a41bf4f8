//! A program that draws frames can train as many steps per frame as fit into the frame's time, on every adapter and in
//! a browser.

use std::time::Duration;

use wgrad::data::{Sampling, synthetic};
use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
use wgrad::{Train, Trainer, TwoLayerNet, cpu};

use crate::gpu::{block_on, gpu};

const FRAME: Duration = Duration::from_millis(50);
const SAMPLING: Sampling = Sampling::WithReplacement { seed: 1 };

#[test]
fn steps_of_a_frame_grow_to_its_time() {
    let digits = synthetic::digits_of(1, 200, 10).unwrap();
    let model = TwoLayerNet::spec(784, 20, 10).build(gpu()).unwrap();
    let loss = SoftmaxCrossEntropy;
    let optimizer = Sgd::new(0.1);
    let mut trainer = Trainer::new(model, loss, optimizer, &digits.train, 10, SAMPLING).unwrap();
    let first = trainer.advance_within(FRAME).unwrap();
    assert_eq!(first, 1, "nothing is known");
    let mut most = 1;
    let mut taken = 1;
    for _frame in 0..1000 {
        // In a browser, the program would wait here for the next frame.
        block_on(gpu().wait_async()).unwrap();
        let steps = trainer.advance_within(FRAME).unwrap();
        assert!(steps <= 2 * most, "{steps} behind {most}");
        (most, taken) = (most.max(steps), taken + steps);
        if most >= 8 {
            break;
        }
    }
    assert!(most >= 8, "{most} steps are not {FRAME:?}");
    assert_eq!(trainer.steps_taken(), taken as u64);
}

#[test]
fn the_cpu_takes_steps_for_the_time_of_a_frame() {
    let digits = synthetic::digits_of(1, 200, 10).unwrap();
    let network = TwoLayerNet::spec(784, 20, 10).on_cpu().unwrap();
    let loss = SoftmaxCrossEntropy;
    let optimizer = Sgd::new(0.1);
    let trainer = cpu::Trainer::new(network, loss, optimizer, &digits.train, 10, SAMPLING);
    let mut trainer: Box<dyn Train> = Box::new(trainer.unwrap());
    let mut most = 0;
    let mut taken = 0;
    // Another program may take the processor during some frames.
    for _frame in 0..100 {
        let steps = trainer.advance_within(FRAME).unwrap();
        assert!(steps >= 1);
        (most, taken) = (most.max(steps), taken + steps);
        if most >= 8 {
            break;
        }
    }
    assert!(most >= 8, "{most} steps are not {FRAME:?}");
    assert_eq!(trainer.advance_within(Duration::ZERO).unwrap(), 1);
    assert_eq!(trainer.steps_taken(), taken as u64 + 1);
}
