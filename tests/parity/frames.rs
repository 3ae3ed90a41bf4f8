//! A program that draws frames: on every adapter and in a browser, as many steps as fit the time of one.

use std::time::Duration;

use wgrad::data::{Sampling, synthetic};
use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
use wgrad::{Trainer, TwoLayerNet};

use crate::gpu::{block_on, gpu};

#[test]
fn steps_of_a_frame_grow_to_its_time() {
    let digits = synthetic::digits_of(1, 200, 10).unwrap();
    let model = TwoLayerNet::spec(784, 20, 10).build(gpu()).unwrap();
    let (loss, optimizer) = (SoftmaxCrossEntropy, Sgd::new(0.1));
    let sampling = Sampling::WithReplacement { seed: 1 };
    let mut trainer = Trainer::new(model, loss, optimizer, &digits.train, 10, sampling).unwrap();
    let frame = Duration::from_millis(50);
    assert_eq!(
        trainer.advance_within(frame).unwrap(),
        1,
        "nothing is known"
    );
    let (mut most, mut taken) = (1, 1);
    for _frame in 0..1000 {
        // In a browser this is where the next frame would be waited for.
        block_on(gpu().wait_async()).unwrap();
        let steps = trainer.advance_within(frame).unwrap();
        assert!(steps <= 2 * most, "{steps} behind {most}");
        (most, taken) = (most.max(steps), taken + steps);
        if most >= 8 {
            break;
        }
    }
    assert!(most >= 8, "{most} steps are not {frame:?}");
    assert_eq!(trainer.steps_taken(), taken as u64);
}
