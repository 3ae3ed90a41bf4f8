use wgrad::data::Sampling;
use wgrad::ndarray::array;
use wgrad::ops::{Linear, Sgd, SoftmaxCrossEntropy};
use wgrad::{Error, Sequential, Trainer};

use super::{digits, relu_net, tiny, trainer};
use crate::gpu::{assert_close, gpu, sum_error};

/// The number of losses in the ring buffer on the GPU.
const HISTORY: usize = 16_384;

#[test]
fn no_steps_are_no_losses_and_change_nothing() {
    let sampling = Sampling::WithReplacement { seed: 1 };
    let mut trainer = trainer(gpu(), &relu_net(), &digits().train, 10, sampling);
    let before = trainer.model().parameters().unwrap();
    assert_eq!(trainer.steps(0).unwrap(), Vec::<f32>::new());
    assert_eq!(trainer.model().parameters().unwrap(), before);
    assert_eq!(trainer.steps(3).unwrap().len(), 3);
    assert_eq!(trainer.steps(0).unwrap(), Vec::<f32>::new());
}

/// The learning rate is too small to change a bit, so a step's loss depends only on its example. The list of
/// examples then shows which step a loss belongs to.
#[test]
fn more_steps_than_the_history_holds_give_all_losses_in_order() {
    let spec = Sequential::input(2).layer(Linear::new(2)).seed(1);
    let mut model = spec.build(gpu()).unwrap();
    // With these weights, each of the four examples has another loss.
    let weight = array![[1.0, -2.0], [3.0, 5.0]].into_dyn();
    model
        .set_parameter("layers.0.weight", weight.view())
        .unwrap();
    let examples: Vec<u32> = (0..u32::try_from(HISTORY).unwrap() + 1_001)
        .map(|i| (i * i + i / 7) % 4)
        .collect();
    let sampling = Sampling::Listed(examples.clone());
    let optimizer = Sgd::new(1e-30);
    let mut trainer =
        Trainer::new(model, SoftmaxCrossEntropy, optimizer, &tiny(), 1, sampling).unwrap();
    let mut losses = trainer.steps(5).unwrap();
    losses.extend(trainer.steps(HISTORY + 990).unwrap());
    losses.extend(trainer.steps(6).unwrap());
    assert_eq!(losses.len(), examples.len());
    // The end of the ring buffer was reached 1,001 steps ago.
    for count in [0, 1, 7, 1_000, 1_001, 1_002, HISTORY - 1, HISTORY] {
        let read = pollster::block_on(trainer.losses_async(count)).unwrap();
        assert!(read == losses[losses.len() - count..], "{count}");
    }

    let mut of_example = [None; 4];
    for (step, (&loss, &example)) in losses.iter().zip(&examples).enumerate() {
        let first = *of_example[example as usize].get_or_insert(loss);
        assert_eq!(loss, first, "step {step}, example {example}");
    }
    let mut distinct = of_example.map(|loss| loss.unwrap().to_bits());
    distinct.sort_unstable();
    assert!(
        distinct.windows(2).all(|pair| pair[0] != pair[1]),
        "{of_example:?}"
    );
}

/// Losses that are read later come only from this trainer. After a resume, the losses of earlier steps, which another
/// trainer computed, are not included.
#[test]
fn losses_that_are_read_later_are_the_last_ones_of_this_trainer() {
    let sampling = || Sampling::WithReplacement { seed: 1 };
    let start = || trainer(gpu(), &relu_net(), &digits().train, 10, sampling());
    let expected = start().steps(12).unwrap();
    let mut first = start();
    first.advance(7).unwrap();
    let read = |trainer: &Trainer, count| pollster::block_on(trainer.losses_async(count));
    assert_eq!(read(&first, 3).unwrap(), expected[4..7]);
    assert_eq!(read(&first, 7).unwrap(), expected[..7]);
    assert_eq!(read(&first, 0).unwrap(), [0.0; 0]);
    let file = first.to_safetensors().unwrap();

    let mut second = start();
    second.steps(2).unwrap();
    second.set_safetensors(&file).unwrap();
    for (taken, asked) in [(0, 1), (5, 6), (5, 12)] {
        second
            .advance(taken + 7 - second.steps_taken() as usize)
            .unwrap();
        let refused = read(&second, asked);
        let Err(Error::Setting {
            expected, found, ..
        }) = &refused
        else {
            panic!("{asked} losses after {taken} steps: {refused:?}");
        };
        assert!(
            expected.starts_with(&format!("at most {taken},")),
            "{expected}"
        );
        assert_eq!(*found, asked.to_string());
    }
    assert_eq!(read(&second, 5).unwrap(), expected[7..]);
}

/// The weights are so large that the example with both features has a loss above 2²⁴, which is a divergence. The
/// weights favor class 1. This is wrong for this example, and right for the examples with one feature.
#[test]
fn divergence_names_its_step_and_carries_the_losses_before_it() {
    let spec = Sequential::input(2).layer(Linear::new(2));
    let mut model = spec.build(gpu()).unwrap();
    let weight = array![[0.0, 1e7], [0.0, 1e7]].into_dyn();
    model
        .set_parameter("layers.0.weight", weight.view())
        .unwrap();
    // Example 3 has both features. It is used in the third step after the first ten.
    let sampling = Sampling::Listed(vec![0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 0, 3, 0]);
    let optimizer = Sgd::new(1e-30);
    let mut trainer =
        Trainer::new(model, SoftmaxCrossEntropy, optimizer, &tiny(), 1, sampling).unwrap();
    assert_eq!(trainer.steps(10).unwrap().len(), 10);
    let Err(Error::Diverged {
        step,
        loss,
        learning_rate,
        losses,
        ..
    }) = trainer.steps(4)
    else {
        panic!("should have diverged");
    };
    assert_eq!((step, learning_rate), (13, 1e-30));
    // The loss has two products with a pixel, and the pixel itself is rounded twice.
    assert_close("loss", &[loss], [2e7], [sum_error(4, 2e7)]);
    // `log` has an error of at most 2⁻²¹ between ½ and 2, otherwise 3 ULP.
    let expected = [0.0, 2f64.ln()];
    assert_close(
        "losses before",
        &losses,
        expected,
        [2.0 * 2f64.powi(-21); 2],
    );
}

/// The learning rate is so large that the weights overflow within a few steps.
#[test]
fn divergence_within_a_call_is_found_at_the_step_of_the_reference() {
    let sampling = || Sampling::WithReplacement { seed: 1 };
    let data = digits().train;
    let spec = relu_net();
    let rate = 1e12;
    let found = {
        let model = spec.build(gpu()).unwrap();
        let optimizer = Sgd::new(rate);
        let mut trainer =
            Trainer::new(model, SoftmaxCrossEntropy, optimizer, &data, 20, sampling()).unwrap();
        trainer.steps(100)
    };
    let mut reference = wgrad::cpu::Trainer::new(
        wgrad::cpu::Network::<f32>::new(&spec).unwrap(),
        SoftmaxCrossEntropy,
        Sgd::new(rate),
        &data,
        20,
        sampling(),
    )
    .unwrap();
    let expected = reference.steps(100).map(|_| ());
    let (
        Err(Error::Diverged {
            step,
            losses,
            learning_rate,
            ..
        }),
        Err(Error::Diverged { step: expected, .. }),
    ) = (&found, &expected)
    else {
        panic!("{found:?} {expected:?}");
    };
    assert_eq!((step, *learning_rate), (expected, rate));
    assert!(
        *step > 1,
        "the first loss is that of the network as it was built"
    );
    assert_eq!(losses.len() as u64, step - 1);
    assert!(losses.iter().all(|loss| loss.is_finite()));
}
