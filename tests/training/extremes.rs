//! Numbers at the limits of `f32`, and the smallest and largest minibatches. Both engines must agree.

use std::sync::OnceLock;

use wgrad::data::{Dataset, Labels, Sampling, Table};
use wgrad::gpu::AdapterKind;
use wgrad::ndarray::{Array, Array2, ArrayD, array};
use wgrad::ops::{Adam, Linear, MeanSquaredError, Optimizer, Sgd, SoftmaxCrossEntropy};
use wgrad::{
    Error, Evaluation, Fusion, Gpu, Init, Parameters, Prediction, Sequential, Targets, Trainer,
    TwoLayerNet, cpu,
};

use super::{relu_net, tiny};
use crate::gpu::gpu;

const SAMPLING: Sampling = Sampling::Shuffled { seed: 1 };
const MAX: f32 = 3e38;

/// Returns a device with the kernels for real GPUs, even on a software driver.
fn with_kernels_of_hardware() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        let builder = Gpu::builder().kernels_for(AdapterKind::Hardware);
        builder.build().unwrap()
    })
}

/// Returns a network with two inputs, three hidden values and two logits. For every example of [`tiny`], the hidden
/// values are 0, so the logits equal their biases.
fn spec() -> Sequential {
    TwoLayerNet::spec(2, 3, 2)
}

fn with_logits(logits: [f32; 2]) -> Parameters {
    named([
        ("layers.0.weight", Array::zeros((2, 3)).into_dyn()),
        ("layers.0.bias", Array::zeros(3).into_dyn()),
        ("layers.2.weight", Array::zeros((3, 2)).into_dyn()),
        ("layers.2.bias", array![logits[0], logits[1]].into_dyn()),
    ])
}

fn named<const COUNT: usize>(values: [(&str, ArrayD<f32>); COUNT]) -> Parameters {
    let values = values.into_iter();
    values
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn on_gpu(gpu: &Gpu, plan: Fusion, logits: [f32; 2]) -> Trainer {
    let model = spec().build(gpu).unwrap();
    let loss = SoftmaxCrossEntropy;
    let optimizer = Sgd::new(0.1);
    let trainer = Trainer::with_fusion(model, loss, optimizer, &tiny(), 4, SAMPLING, plan);
    let mut trainer = trainer.unwrap();
    trainer.set_parameters(&with_logits(logits)).unwrap();
    trainer
}

fn on_cpu(logits: [f32; 2]) -> cpu::Trainer<f32> {
    let trainer = cpu::Trainer::new(
        cpu::Network::<f32>::new(&spec()).unwrap(),
        SoftmaxCrossEntropy,
        Sgd::new(0.1),
        &tiny(),
        4,
        SAMPLING,
    );
    let mut trainer = trainer.unwrap();
    trainer.set_parameters(&with_logits(logits)).unwrap();
    trainer
}

/// The results of a training's first step and of an evaluation.
#[derive(Debug)]
struct Told {
    /// The loss of the step that diverged, or of the first step if none diverged.
    loss: f32,
    diverged_at: Option<u64>,
    evaluation: Evaluation,
    predictions: Vec<Prediction>,
}

impl Told {
    fn of(
        evaluation: Evaluation,
        predictions: Vec<Prediction>,
        losses: Result<Vec<f32>, Error>,
    ) -> Self {
        let (loss, diverged_at) = match losses {
            Ok(losses) => (losses[0], None),
            Err(Error::Diverged { step, loss, .. }) => (loss, Some(step)),
            Err(error) => panic!("{error}"),
        };
        Self {
            loss,
            diverged_at,
            evaluation,
            predictions,
        }
    }

    fn assert_is(&self, expected: &Self, case: &str) {
        let is_same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() < 1e-6;
        let case = format!("{case}: {self:?} {expected:?}");
        assert!(is_same(self.loss.into(), expected.loss.into()), "{case}");
        assert_eq!(self.diverged_at, expected.diverged_at, "{case}");
        let [found, of_expected] = [self.evaluation, expected.evaluation];
        assert!(is_same(found.loss, of_expected.loss), "{case}");
        assert_eq!(found.accuracy, of_expected.accuracy, "{case}");
        for (found, expected) in self.predictions.iter().zip(&expected.predictions) {
            assert_eq!(found.class, expected.class, "{case}");
            assert!(is_same(found.probability, expected.probability), "{case}");
        }
    }
}

/// Tests every pair of extreme numbers as logits. All engines and plans must agree on classes, losses, and on whether
/// the training has diverged.
#[test]
fn logits_of_extremes_are_the_same_on_every_path() {
    let logits = [
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        MAX,
        -MAX,
        1.0,
        0.0,
        -0.0,
    ];
    for pair in logits.into_iter().flat_map(|a| logits.map(|b| [a, b])) {
        let mut cpu = on_cpu(pair);
        let of_cpu = Told::of(
            cpu.evaluate(&tiny()).unwrap(),
            cpu.predictions(&tiny()).unwrap(),
            cpu.steps(1),
        );
        let is_finite = pair.iter().all(|logit| logit.is_finite());
        // For two of the four rows, the loss is the difference of the logits. The sum of these losses may overflow
        // before it is divided.
        let overflows = is_finite && (2.0 * (pair[0] - pair[1])).is_infinite();
        assert_eq!(of_cpu.loss.is_nan(), !is_finite, "{pair:?}");
        assert_eq!(of_cpu.loss.is_infinite(), overflows, "{pair:?}");
        let diverged_at = (!is_finite || overflows).then_some(1);
        assert_eq!(of_cpu.diverged_at, diverged_at, "{pair:?}");
        let class = u32::from(pair[1] > pair[0] || (pair[0].is_nan() && !pair[1].is_nan()));
        let first = of_cpu.predictions[0];
        assert_eq!(first.class, class, "{pair:?}");
        assert_eq!(first.probability.is_nan(), !is_finite, "{pair:?}");
        assert_eq!(of_cpu.evaluation.accuracy, Some(0.5), "{pair:?}");

        for (gpu, plan) in [
            (gpu(), Fusion::Layers),
            (gpu(), Fusion::Fused),
            (with_kernels_of_hardware(), Fusion::Layers),
            (with_kernels_of_hardware(), Fusion::Fused),
        ] {
            let mut trainer = on_gpu(gpu, plan, pair);
            let told = Told::of(
                trainer.evaluate(&tiny()).unwrap(),
                trainer.predictions(&tiny()).unwrap(),
                trainer.steps(1),
            );
            told.assert_is(&of_cpu, &format!("{pair:?}, {plan:?} on {:?}", gpu.kind()));
        }
        of_the_functions(pair, &of_cpu);
    }
}

/// Checks that the methods of a model and of a network on the CPU, without a trainer, give the results of a trainer
/// (`expected`).
fn of_the_functions(pair: [f32; 2], expected: &Told) {
    let x = array![[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]];
    let labels = tiny().labels().clone();
    let mut model = spec().build(gpu()).unwrap();
    model.set_parameters(&with_logits(pair)).unwrap();
    let mut single = cpu::Network::<f32>::new(&spec()).unwrap();
    single.set_parameters(&with_logits(pair)).unwrap();
    let double = model.to_reference().unwrap();
    let x_double = x.mapv(f64::from);
    let targets = Targets::Classes(labels.indices());
    let losses = [
        f64::from(model.loss(&SoftmaxCrossEntropy, x.view(), targets).unwrap()),
        single
            .loss(&SoftmaxCrossEntropy, x.view(), targets)
            .unwrap()
            .into(),
    ];
    for loss in losses {
        assert_eq!(loss.is_nan(), expected.loss.is_nan(), "{pair:?}");
        if (pair[0] - pair[1]).is_infinite() {
            assert_eq!(loss.is_infinite(), expected.loss.is_infinite(), "{pair:?}");
        }
    }
    let loss = double
        .loss(
            &SoftmaxCrossEntropy,
            x_double.view(),
            Targets::Classes(labels.indices()),
        )
        .unwrap();
    assert_eq!(loss.is_nan(), expected.loss.is_nan(), "{pair:?}");
    let accuracies = [
        model
            .evaluate(&SoftmaxCrossEntropy, &tiny())
            .unwrap()
            .accuracy
            .unwrap(),
        single.accuracy(x.view(), labels.indices()).unwrap(),
        double.accuracy(x_double.view(), labels.indices()).unwrap(),
    ];
    assert_eq!(
        accuracies.map(Some),
        [expected.evaluation.accuracy; 3],
        "{pair:?}"
    );
}

/// A feature of an example is so large that the logits of the third step overflow.
#[test]
fn trainings_diverge_at_the_same_step() {
    let x = array![[0.5f32], [-0.5], [MAX]];
    let labels = Labels::from_classes(vec![0, 1, 0], 2).unwrap();
    let table = Table::classification("one", x.view(), labels).unwrap();
    let spec = Sequential::input(1).layer(Linear::new(2));
    let sampling = || Sampling::Listed(vec![0, 1, 2, 0, 1]);
    let weights = named([
        ("layers.0.weight", array![[0.0, -3.0]].into_dyn()),
        ("layers.0.bias", array![0.0, 0.0].into_dyn()),
    ]);
    let loss = SoftmaxCrossEntropy;
    let optimizer = Sgd::new(0.1);
    let model = spec.build(gpu()).unwrap();
    let mut on_gpu = Trainer::new(model, loss, optimizer, &table, 1, sampling()).unwrap();
    on_gpu.set_parameters(&weights).unwrap();
    let on_cpu = cpu::Trainer::new(
        cpu::Network::<f32>::new(&spec).unwrap(),
        SoftmaxCrossEntropy,
        optimizer,
        &table,
        1,
        sampling(),
    );
    let mut on_cpu: cpu::Trainer<f32> = on_cpu.unwrap();
    on_cpu.set_parameters(&weights).unwrap();
    let evaluations = [on_gpu.evaluate(&table), on_cpu.evaluate(&table)];
    assert!(
        evaluations
            .map(Result::unwrap)
            .iter()
            .all(|evaluation| evaluation.loss.is_nan())
    );
    for steps in [on_gpu.steps(5), on_cpu.steps(5)] {
        let error = steps.unwrap_err();
        assert!(
            matches!(error, Error::Diverged { step: 3, loss, .. } if loss.is_nan()),
            "{error}"
        );
    }
}

/// (y − t)² overflows if |y − t| is 1.8e19 or more.
#[test]
fn squares_that_overflow_diverge_on_both_paths() {
    let table = Table::regression("far", array![[1.0f32]].view(), array![[2e19f32]].view());
    let table = table.unwrap();
    let spec = Sequential::input(1).layer(Linear::new(1));
    let loss = MeanSquaredError;
    let optimizer = Sgd::new(0.1).clip_norm(1.0);
    let model = spec.build(gpu()).unwrap();
    let mut on_gpu = Trainer::new(model, loss, optimizer, &table, 1, SAMPLING).unwrap();
    let on_cpu = cpu::Trainer::new(
        cpu::Network::<f32>::new(&spec).unwrap(),
        loss,
        optimizer,
        &table,
        1,
        SAMPLING,
    );
    for steps in [on_gpu.steps(1), on_cpu.unwrap().steps(1)] {
        let error = steps.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Diverged {
                    step: 1,
                    loss: f32::INFINITY,
                    ..
                }
            ),
            "{error}"
        );
    }
}

/// Gradients are clipped correctly even if their squares overflow.
#[test]
fn a_clipped_step_of_huge_gradients_is_the_same_on_both_paths() {
    let x = array![[1.0f32, MAX], [0.0, 0.0]];
    let labels = Labels::from_classes(vec![0, 1], 2).unwrap();
    let table = Table::classification("huge", x.view(), labels).unwrap();
    let spec = Sequential::input(2).layer(Linear::new(2));
    let zeros = named([
        ("layers.0.weight", Array::zeros((2, 2)).into_dyn()),
        ("layers.0.bias", Array::zeros(2).into_dyn()),
    ]);
    let loss = SoftmaxCrossEntropy;
    let optimizer = Sgd::new(1.0).clip_norm(0.5);
    let model = spec.build(gpu()).unwrap();
    let mut on_gpu = Trainer::new(model, loss, optimizer, &table, 2, SAMPLING).unwrap();
    on_gpu.set_parameters(&zeros).unwrap();
    let on_cpu = cpu::Trainer::new(
        cpu::Network::<f32>::new(&spec).unwrap(),
        SoftmaxCrossEntropy,
        optimizer,
        &table,
        2,
        SAMPLING,
    );
    let mut on_cpu = on_cpu.unwrap();
    on_cpu.set_parameters(&zeros).unwrap();
    on_gpu.steps(1).unwrap();
    on_cpu.steps(1).unwrap();
    let parameters = on_gpu.model().parameters().unwrap();
    // The gradients with respect to the second input's weights are ∓7.5e37. They are almost the whole norm.
    let expected = array![[0.0f32, 0.0], [0.353_553_4, -0.353_553_4]];
    for parameters in [parameters, on_cpu.network().parameters()] {
        let found = &parameters["layers.0.weight"];
        let apart = (found - &expected).mapv(f32::abs);
        assert!(apart.iter().all(|&apart| apart < 1e-5), "{found}");
    }
}

/// Zero rows give zero rows of outputs. They have no mean loss, which is an error.
#[test]
fn no_rows_are_the_same_on_both_paths() {
    let none = Array2::<f32>::zeros((0, 2));
    let labels = Labels::from_classes(vec![], 2).unwrap();
    let model = spec().build(gpu()).unwrap();
    let network = cpu::Network::<f32>::new(&spec()).unwrap();
    assert_eq!(model.predict(none.view()).unwrap().dim(), (0, 2));
    assert_eq!(network.predict(none.view()).unwrap().dim(), (0, 2));
    let book = TwoLayerNet::new(gpu(), 2, 3, 2, 0).unwrap();
    let loss = &SoftmaxCrossEntropy;
    let targets = Targets::Classes(labels.indices());
    for refused in [
        network.loss(loss, none.view(), targets).map(|_| ()),
        network.accuracy(none.view(), &[]).map(|_| ()),
        network.gradient(loss, none.view(), targets).map(|_| ()),
        network
            .clone()
            .numerical_gradient(loss, none.view(), targets)
            .map(|_| ()),
        model.loss(loss, none.view(), targets).map(|_| ()),
        model.gradient(loss, none.view(), targets).map(|_| ()),
        book.loss(none.view(), &labels).map(|_| ()),
        book.accuracy(none.view(), &labels).map(|_| ()),
        book.gradient(none.view(), &labels).map(|_| ()),
        book.numerical_gradient(none.view(), &labels).map(|_| ()),
    ] {
        let error = refused.unwrap_err();
        assert!(
            matches!(&error, Error::Setting { name, .. } if name == "number of rows"),
            "{error}"
        );
    }
    // A wrong number of columns is an error even with zero rows.
    let narrow = Array2::<f32>::zeros((0, 1));
    for error in [model.predict(narrow.view()), network.predict(narrow.view())] {
        let error = error.unwrap_err();
        assert!(
            matches!(error, Error::Shape { ref found, .. } if found.dims() == [0, 1]),
            "{error}"
        );
    }
}

/// The bias-corrected mean of squares would overflow `f32`, but its square root does not.
#[test]
fn adam_takes_large_gradients() {
    let x = array![[1e10f32]];
    let table = Table::regression("large", x.view(), x.view()).unwrap();
    let spec = Sequential::input(1).layer(Linear::new(1).weight_init(Init::Zeros));
    let loss = MeanSquaredError;
    let adam = Adam::new(0.5);
    let cpu = cpu::Trainer::new(
        cpu::Network::<f32>::new(&spec).unwrap(),
        loss,
        adam,
        &table,
        1,
        SAMPLING,
    );
    let mut cpu = cpu.unwrap();
    let model = spec.build(gpu()).unwrap();
    let mut gpu = Trainer::new(model, loss, adam, &table, 1, SAMPLING).unwrap();
    assert_eq!(cpu.steps(1).unwrap(), [1e20]);
    assert_eq!(gpu.steps(1).unwrap(), [1e20]);
    for parameters in [
        cpu.network().parameters(),
        gpu.model().parameters().unwrap(),
    ] {
        // Adam's first step has the length of the learning rate, up to about ten roundings.
        for (name, parameter) in parameters.iter() {
            assert_eq!(parameter.len(), 1, "{name}");
            assert!((parameter.sum() - 0.5).abs() < 1e-5, "{parameters:?}");
        }
    }
}

#[test]
fn no_steps_change_nothing() {
    for plan in [Fusion::Layers, Fusion::Fused] {
        let mut cpu = on_cpu([1.0, 0.0]);
        assert!(cpu.steps(0).unwrap().is_empty());
        assert_eq!(cpu.steps_taken(), 0);
        let mut gpu = on_gpu(gpu(), plan, [1.0, 0.0]);
        assert!(gpu.steps(0).unwrap().is_empty());
        gpu.advance(0).unwrap();
        assert_eq!(gpu.steps_taken(), 0);
        let parameters = gpu.model().parameters().unwrap();
        assert_eq!(parameters, cpu.network().parameters());
        let [found, expected] = [gpu.steps(3), cpu.steps(3)].map(Result::unwrap);
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}

/// On the CPU, the first layer skips zero pixels. Rows of only zero pixels have no terms in its sums.
#[test]
fn a_minibatch_of_nothing_but_zeros_is_the_same_on_both_paths() {
    for batch in [1, 3] {
        let labels = Labels::from_classes(vec![3, 1, 4], 10).unwrap();
        let black = Dataset::new("black", 784, vec![0; 3 * 784], labels).unwrap();
        let spec = relu_net();
        let on_cpu = cpu::Trainer::new(
            cpu::Network::<f32>::new(&spec).unwrap(),
            SoftmaxCrossEntropy,
            Sgd::new(0.5),
            &black,
            batch,
            SAMPLING,
        );
        let mut on_cpu = on_cpu.unwrap();
        let expected = on_cpu.steps(20).unwrap();
        for plan in [Fusion::Layers, Fusion::Fused] {
            let model = spec.build(gpu()).unwrap();
            let loss = SoftmaxCrossEntropy;
            let optimizer = Sgd::new(0.5);
            let trainer =
                Trainer::with_fusion(model, loss, optimizer, &black, batch, SAMPLING, plan);
            let mut trainer = trainer.unwrap();
            let found = trainer.steps(20).unwrap();
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() < 1e-5,
                    "{plan:?}: {found} {expected}"
                );
            }
            let weights = trainer.model().parameter("layers.0.weight").unwrap();
            let expected = on_cpu.network().parameter("layers.0.weight").unwrap();
            assert_eq!(weights, expected, "{plan:?}");
        }
    }
}
