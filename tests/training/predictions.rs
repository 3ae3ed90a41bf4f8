use wgrad::data::{Dataset, Sampling, Split};
use wgrad::ndarray::Array2;
use wgrad::ops::Sgd;
use wgrad::ops::SoftmaxCrossEntropy;
use wgrad::{Confusion, Prediction, Sequential, Trainer, cpu};

use super::trajectory::{PIXELS, parameters};
use super::{digits, relu_net, sigmoid_net, tiny, trainer};
use crate::bounds::{self, Activation, Bounded};
use crate::common::mnist;
use crate::gpu::gpu;

const SAMPLING: Sampling = Sampling::WithReplacement { seed: 1 };

/// Returns a trainer on the CPU with the parameters of the GPU's trainer.
fn on_cpu(on_gpu: &Trainer, spec: &Sequential, data: &Dataset) -> cpu::Trainer<f32> {
    let mut trainer = cpu::Trainer::new(
        cpu::Network::<f32>::new(spec).unwrap(),
        SoftmaxCrossEntropy,
        Sgd::new(0.1),
        data,
        100,
        SAMPLING,
    )
    .unwrap();
    let parameters = on_gpu.model().parameters().unwrap();
    trainer.set_parameters(&parameters).unwrap();
    trainer
}

/// Computes the logits in `f64`, with bounds of their error in single precision.
fn logits(trainer: &Trainer, activation: Activation, data: &Dataset) -> Bounded {
    let pixel = |(row, column)| f64::from(f32::from(data.row(row)[column]) / 255.0);
    let x = Array2::from_shape_fn((data.len(), data.width()), pixel);
    let parameters = parameters(trainer);
    let hidden = parameters.len() - 1;
    let activations = (0..=hidden).map(|layer| (layer < hidden).then_some(activation));
    let layers: Vec<_> = parameters
        .iter()
        .map(Vec::as_slice)
        .zip(activations)
        .collect();
    bounds::logits(&layers, &x)
}

/// Asserts that each predicted class has the largest logit, up to the error bounds, and that the predicted probability
/// is the softmax of this logit.
fn check(case: &str, found: &[Prediction], logits: &Bounded) {
    assert_eq!(found.len(), logits.value.nrows(), "{case}");
    let rows = logits.value.outer_iter().zip(logits.error.outer_iter());
    for (example, (found, (z, error))) in found.iter().zip(rows).enumerate() {
        let off = PIXELS * error.fold(0.0, |a: f64, &b| a.max(b));
        let largest = z.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let of_class = z[found.class as usize];
        assert!(
            of_class >= largest - 2.0 * off,
            "{case}: example {example}: {found:?} of {z}"
        );
        let sum: f64 = z.iter().map(|z| (z - largest).exp()).sum();
        let expected = (of_class - largest).exp() / sum;
        // The numerator and the denominator may each be off by a factor of e^off. The softmax itself is computed in
        // `f64`.
        let tolerance = expected * (2.0 * off).exp_m1() + 1e-12;
        assert!(
            (found.probability - expected).abs() <= tolerance,
            "{case}: example {example}: {found:?}, expected {expected} ± {tolerance}"
        );
        assert!(tolerance < 1e-2, "{case}: {tolerance} says nothing");
    }
}

/// Returns the accuracy by its definition. Also checks the counts per class.
fn accuracy(data: &Dataset, predictions: &[Prediction]) -> Option<f64> {
    let confusion = Confusion::new(data.labels(), predictions).unwrap();
    let per_class = confusion.per_class();
    let of_class = |class: usize| {
        let labels = data.labels().indices().iter();
        labels.filter(|&&label| label as usize == class).count()
    };
    assert!((0..10).all(|class| per_class[class].examples == of_class(class)));
    Some(confusion.accuracy())
}

fn check_both(split: &Split) {
    for (spec, activation) in [
        (relu_net(), Activation::Relu),
        (sigmoid_net(), Activation::Sigmoid),
    ] {
        let mut on_gpu = trainer(gpu(), &spec, &split.train, 100, SAMPLING);
        on_gpu.steps(150).unwrap();
        let on_cpu = on_cpu(&on_gpu, &spec, &split.train);
        let logits = logits(&on_gpu, activation, &split.test);
        let [of_gpu, of_cpu] = [
            on_gpu.predictions(&split.test).unwrap(),
            on_cpu.predictions(&split.test).unwrap(),
        ];
        check("gpu", &of_gpu, &logits);
        check("cpu", &of_cpu, &logits);
        let model = on_gpu.model();
        assert_eq!(model.predictions(&split.test).unwrap(), of_gpu);
        // The logits are the same on the same device, so the accuracy must be exactly the same.
        let evaluated = on_gpu.evaluate(&split.test).unwrap().accuracy;
        assert_eq!(accuracy(&split.test, &of_gpu), evaluated);
        let evaluated = on_cpu.evaluate(&split.test).unwrap().accuracy;
        assert_eq!(accuracy(&split.test, &of_cpu), evaluated);
    }
}

/// There are more rows than are predicted at a time, and the last part is short.
#[test]
fn predictions_are_those_of_the_formulas() {
    let Split { train, test } = digits();
    check_both(&Split {
        train: test,
        test: train,
    });
}

#[test]
fn predictions_of_mnist_are_those_of_the_formulas() {
    if let Some(mnist) = mnist() {
        check_both(&mnist);
    }
}

/// If all logits are 0, every example gets the first class, in all metrics.
#[test]
fn of_equal_logits_the_first_is_predicted() {
    let spec = relu_net();
    let test = digits().test;
    let mut on_gpu = trainer(gpu(), &spec, &test, 100, SAMPLING);
    let zeros = on_gpu.model().parameters().unwrap().mapv(|_| 0.0);
    on_gpu.set_parameters(&zeros).unwrap();
    let on_cpu = on_cpu(&on_gpu, &spec, &test);
    let of_gpu = on_gpu.predictions(&test).unwrap();
    assert_eq!(of_gpu, on_cpu.predictions(&test).unwrap());
    for Prediction { class, probability } in &of_gpu {
        assert_eq!((*class, *probability), (0, 0.1));
    }
    let labels = test.labels().indices();
    let zeros = labels.iter().filter(|&&label| label == 0).count();
    let expected = Some(zeros as f64 / labels.len() as f64);
    assert_eq!(accuracy(&test, &of_gpu), expected);
    assert_eq!(on_gpu.evaluate(&test).unwrap().accuracy, expected);
    assert_eq!(on_cpu.evaluate(&test).unwrap().accuracy, expected);
}

#[test]
fn predictions_change_nothing() {
    let digits = digits();
    let [mut one, mut other] =
        [(); 2].map(|()| trainer(gpu(), &relu_net(), &digits.train, 50, SAMPLING));
    one.steps(5).unwrap();
    other.steps(5).unwrap();
    let first = one.predictions(&digits.test).unwrap();
    assert_eq!(first, one.predictions(&digits.test).unwrap());
    assert_eq!(one.steps(5).unwrap(), other.steps(5).unwrap());
    let after = one.predictions(&digits.test).unwrap();
    assert!(first != after, "of the network before the steps");
}

#[test]
fn examples_that_do_not_fit_the_network_are_refused() {
    let digits = digits();
    let expected = ": expected shape 784 × 10, found 2 × 2. Build the network with as many";
    let mut on_gpu = trainer(gpu(), &relu_net(), &digits.train, 50, SAMPLING);
    let on_cpu = on_cpu(&on_gpu, &relu_net(), &digits.train);
    let of_model = on_gpu.model().predictions(&tiny());
    let on_gpu = on_gpu.predictions(&tiny());
    for refused in [of_model, on_gpu, on_cpu.predictions(&tiny())] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
