use proptest::prelude::*;
use wgrad::cpu::Network;
use wgrad::data::{Dataset, Labels, Sampling};
use wgrad::ndarray::Array2;
use wgrad::ops::{MeanSquaredError, SoftmaxCrossEntropy};
use wgrad::{Error, Evaluation, Model, Targets, Trainer};

use super::{digits, relu_net, sigmoid_net, tiny, trainer};
use crate::gpu::{Numbers, gpu};

/// Computes loss and accuracy of the model in `f64`. Also returns the number of rows whose two largest logits are so
/// close that single precision could swap them.
fn reference(trainer: &Trainer, data: &Dataset) -> ([f64; 2], usize) {
    let network: Network<f64> = trainer.model().to_reference().unwrap();
    let pixel = |(row, column)| f64::from(data.row(row)[column]) / 255.0;
    let x = Array2::from_shape_fn((data.len(), data.width()), pixel);
    let labels = data.labels().indices();
    let logits = network.predict(x.view()).unwrap();
    let close = logits.outer_iter().filter(|row| {
        let mut sorted = row.to_vec();
        sorted.sort_by(f64::total_cmp);
        let [second, first] = [sorted[row.len() - 2], sorted[row.len() - 1]];
        first - second < 1e-5 * (1.0 + first.abs())
    });
    let loss = network.loss(&SoftmaxCrossEntropy, x.view(), Targets::Classes(labels));
    let accuracy = network.accuracy(x.view(), labels);
    ([loss, accuracy].map(Result::unwrap), close.count())
}

fn check(trainer: &mut Trainer, data: &Dataset) {
    let found = trainer.evaluate(data).unwrap();
    let of_model = trainer.model().evaluate(&SoftmaxCrossEntropy, data);
    assert_eq!(of_model.unwrap(), found);
    let ([loss, accuracy], close) = reference(trainer, data);
    let off = (found.accuracy.unwrap() - accuracy).abs() * data.len() as f64;
    assert!(
        off <= close as f64 + 1e-6,
        "{found:?} {accuracy}, {close} undecided"
    );
    // The tolerance is far above the rounding error of a sum of 1,000 losses, and far below the effect of one example
    // too many or too few.
    let error = (found.loss - loss).abs();
    assert!(error <= 1e-5 * (1.0 + loss), "{found:?} {loss}");
}

/// Evaluation takes 1,000 rows at a time. With 1,037 rows, the last part is short.
#[test]
fn evaluation_is_that_of_the_reference() {
    let digits = digits();
    for spec in [relu_net(), sigmoid_net()] {
        let sampling = Sampling::WithReplacement { seed: 1 };
        let mut trainer = trainer(gpu(), &spec, &digits.train, 100, sampling);
        for steps in [0, 100] {
            trainer.steps(steps).unwrap();
            check(&mut trainer, &digits.train);
            check(&mut trainer, &digits.test);
        }
    }
}

#[test]
fn evaluation_changes_nothing_and_is_the_same_again() {
    let digits = digits();
    let sampling = || Sampling::WithReplacement { seed: 1 };
    let [mut one, mut other] =
        [(); 2].map(|()| trainer(gpu(), &relu_net(), &digits.train, 50, sampling()));
    one.steps(5).unwrap();
    other.steps(5).unwrap();
    let first = one.evaluate(&digits.test).unwrap();
    assert_eq!(first, one.evaluate(&digits.test).unwrap());
    assert_eq!(one.steps(5).unwrap(), other.steps(5).unwrap());
    assert!(
        first != one.evaluate(&digits.test).unwrap(),
        "of the network before the steps"
    );
}

/// A program that has only the weights can evaluate them without a trainer.
#[test]
fn a_model_with_loaded_weights_is_evaluated_without_a_training() {
    let digits = digits();
    let sampling = Sampling::WithReplacement { seed: 1 };
    let mut trainer = trainer(gpu(), &relu_net(), &digits.train, 100, sampling);
    trainer.steps(50).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    trainer.save(file.path()).unwrap();
    let mut model = relu_net().seed(9).build(gpu()).unwrap();
    let evaluate = |model: &Model| model.evaluate(&SoftmaxCrossEntropy, &digits.test).unwrap();
    let before = evaluate(&model);
    model.load_weights(file.path()).unwrap();
    let expected = trainer.evaluate(&digits.test).unwrap();
    assert!(before != expected);
    assert_eq!(evaluate(&model), expected);
    let predictions = model.predictions(&digits.test).unwrap();
    assert_eq!(predictions, trainer.predictions(&digits.test).unwrap());
}

#[test]
fn examples_that_do_not_fit_a_model_or_its_loss_are_refused() {
    let model = relu_net().build(gpu()).unwrap();
    let digits = digits();
    let message = |refused: Result<Evaluation, Error>| refused.unwrap_err().to_string();
    let tiny = message(model.evaluate(&SoftmaxCrossEntropy, &tiny()));
    assert!(
        tiny.contains(": expected shape 784 × 10, found 2 × 2. Build the network with as many"),
        "{tiny}"
    );
    let classes = message(model.evaluate(&MeanSquaredError, &digits.test));
    assert!(
        classes.contains(
            "has classes, but the loss MeanSquaredError compares values. Use a loss of classes"
        ),
        "{classes}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn evaluation_of_any_number_of_examples_is_that_of_the_reference(
        examples in prop_oneof![1usize..70, 990usize..1010, 1990usize..2010],
        seed: u64,
    ) {
        let mut numbers = Numbers::new(seed);
        let features = (0..2 * examples).map(|_| u8::try_from(numbers.below(256)).unwrap());
        let features = features.collect();
        let labels = (0..examples).map(|_| u32::try_from(numbers.below(2)).unwrap());
        let labels = Labels::from_classes(labels.collect(), 2).unwrap();
        let data = Dataset::new("random", 2, features, labels).unwrap();
        let spec = wgrad::TwoLayerNet::spec(2, 5, 2).seed(seed);
        let sampling = Sampling::WithReplacement { seed };
        let mut trainer = trainer(gpu(), &spec, &tiny(), 4, sampling);
        trainer.steps(20).unwrap();
        check(&mut trainer, &data);
    }
}
