//! Losses with settings, and losses of probabilities. They are tested on both engines and with all sources of rows.

use wgrad::data::{DataError, Examples, Labels, Sampling, Stream, Table};
use wgrad::kernel::Element;
use wgrad::ndarray::{Array2, s};
use wgrad::ops::{
    AdjustedCrossEntropy, BinaryCrossEntropy, Huber, Linear, Loss, RelativeL2, Sgd,
    SoftmaxCrossEntropy, Tanh,
};
use wgrad::reference::{self, Float, LossPass};
use wgrad::tensor::Tensor;
use wgrad::{
    Batch, Device, Error, Evaluation, Fusion, Init, Sequential, Targets, Trainer, Unfused, cpu,
};

use super::many_rows::with_bindings_of;
use super::mistakes::{devices, same, text};
use crate::gpu::{Numbers, gpu};

const SAMPLING: Sampling = Sampling::Shuffled { seed: 4 };

fn network(outputs: usize) -> Sequential {
    let linear = |outputs| Linear::new(outputs).weight_init(Init::Normal { std: 0.7 });
    let network = Sequential::input(2).layer(linear(7)).layer(Tanh);
    network.layer(linear(outputs)).seed(3)
}

fn points(count: usize) -> Array2<f32> {
    let mut numbers = Numbers::new(count as u64);
    Array2::from_shape_simple_fn((count, 2), || numbers.uniform())
}

/// Returns two tables for the points. The targets of the first are probabilities that a coordinate of the point is
/// above 0: 0.5 for a coordinate near 0, otherwise 0 or 1. (Accuracy does not count 0.5 as above 0.5.) The second has
/// four classes: on which side of x = 0 and of y = 0.3 the point lies.
fn labels_of(x: &Array2<f32>) -> [Table; 2] {
    let of = |value: f32| match value.abs() {
        0.0..0.1 => 0.5,
        _ => f32::from(value > 0.0),
    };
    let soft = x.mapv(of);
    let classes = x
        .outer_iter()
        .map(|p| u32::from(p[0] > 0.0) + 2 * u32::from(p[1] > 0.3));
    let classes = Labels::from_classes(classes.collect(), 4).unwrap();
    [
        Table::regression("soft", x.view(), soft.view()).unwrap(),
        Table::classification("quarters", x.view(), classes).unwrap(),
    ]
}

fn adjusted() -> AdjustedCrossEntropy {
    SoftmaxCrossEntropy
        .class_weights([0.5, 3.0, 0.0, 1.25])
        .label_smoothing(0.1)
}

fn on_cpu<F: Float>(loss: &(impl Loss + Clone + 'static), table: &Table) -> cpu::Trainer<F> {
    let network = cpu::Network::<F>::new(&network(table.outputs())).unwrap();
    cpu::Trainer::new(network, loss.clone(), Sgd::new(0.2), table, 50, SAMPLING).unwrap()
}

fn near(case: &str, found: Evaluation, expected: Evaluation) {
    let apart = (found.loss - expected.loss).abs();
    assert!(apart < 1e-4, "{case}: {found:?} {expected:?}");
    match (found.accuracy, expected.accuracy) {
        (Some(found), Some(expected)) => {
            assert!(
                (found - expected).abs() < 0.01,
                "{case}: {found} {expected}"
            );
        }
        (found, expected) => assert_eq!(found, expected, "{case}"),
    }
}

fn trained_alike(loss: impl Loss + Clone + 'static, table: &Table) {
    let case = loss.describe();
    let model = network(table.outputs()).build(gpu()).unwrap();
    let sgd = Sgd::new(0.2);
    let mut on_gpu = Trainer::new(model, loss.clone(), sgd, table, 50, SAMPLING).unwrap();
    let (mut double, mut single) = (on_cpu::<f64>(&loss, table), on_cpu::<f32>(&loss, table));
    let found = on_gpu.steps(60).unwrap();
    let expected = double.steps(60).unwrap();
    let single_losses = single.steps(60).unwrap();
    for (step, expected) in expected.iter().enumerate() {
        for found in [found[step], single_losses[step]] {
            let apart = (f64::from(found) - expected).abs();
            assert!(apart < 1e-4, "{case}, step {step}: {found} {expected}");
        }
    }
    let evaluated = on_gpu.evaluate(table).unwrap();
    near(&case, evaluated, double.evaluate(table).unwrap());
    near(&case, single.evaluate(table).unwrap(), evaluated);
    let of_model = on_gpu.model().evaluate(&loss, table).unwrap();
    assert_eq!(of_model, evaluated, "{case}");
    assert!(evaluated.loss < expected[0], "{case}: it learns");
}

#[test]
fn losses_with_settings_are_trained_as_by_the_formulas() {
    let [soft, quarters] = labels_of(&points(400));
    trained_alike(Huber::new(0.25), &soft);
    trained_alike(RelativeL2::new(0.5), &soft);
    trained_alike(BinaryCrossEntropy, &soft);
    trained_alike(adjusted(), &quarters);
    let smoothed = SoftmaxCrossEntropy.label_smoothing(0.3);
    trained_alike(smoothed, &quarters);
}

/// The loss of a data set is a weighted mean over all its examples. Its labels are sorted, so the chunks of 1,000
/// examples have different sums of weights, and the last chunk has weight 0.
#[test]
fn a_data_set_is_evaluated_by_the_weights_of_all_its_labels() {
    let x = points(3_100);
    let label = |row: usize| match row {
        0..1_200 => 0,
        1_200..1_950 => 1,
        1_950..2_000 => 3,
        _ => 2,
    };
    let labels = Labels::from_classes((0..3_100).map(label).collect(), 4).unwrap();
    let table = Table::classification("in order", x.view(), labels.clone()).unwrap();
    let model = network(4).build(gpu()).unwrap();
    let exact = model.to_reference().unwrap();
    let logits = exact.predict(x.mapv(f64::from).view()).unwrap();
    for loss in [adjusted(), adjusted().label_smoothing(0.0)] {
        let mut unread = Array2::zeros(logits.raw_dim());
        let targets = reference::Targets::Classes(labels.indices());
        let pass = LossPass::new(logits.view(), targets, unread.view_mut());
        let expected = f64::criterion(&loss.reference()).forward_backward(pass);
        let trainer = on_cpu::<f64>(&loss, &table);
        let by_cpu = trainer.evaluate(&table).unwrap().loss;
        assert!((by_cpu - expected).abs() < 1e-12, "{by_cpu} {expected}");
        let found = model.evaluate(&loss, &table).unwrap().loss;
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        // This device takes only a few of the rows at a time.
        let narrow = network(4).build(&with_bindings_of(16 << 10)).unwrap();
        let targets = || Targets::Classes(labels.indices());
        let given = narrow.loss(&loss, x.view(), targets()).unwrap();
        assert!(
            (f64::from(given) - expected).abs() < 1e-5,
            "{given} {expected}"
        );
        let on_cpu = cpu::Network::<f32>::new(&network(4)).unwrap();
        let given = on_cpu.loss(&loss, x.view(), targets()).unwrap();
        assert!(
            (f64::from(given) - expected).abs() < 1e-5,
            "{given} {expected}"
        );
    }
}

/// For a loss of probabilities, the accuracy counts single outputs. NaN is never right, and a logit of 0 does not count
/// as above 0.
#[test]
fn accuracy_of_probabilities_is_that_of_single_outputs() {
    let x = points(2_300);
    let [soft, _] = labels_of(&x);
    let model = network(2).build(gpu()).unwrap();
    let logits = model.predict(x.view()).unwrap();
    let wgrad::data::Targets::Values { values, .. } = soft.targets() else {
        panic!("values");
    };
    let pairs = logits.iter().zip(values);
    let hits = pairs.filter(|(z, t)| (**z > 0.0) == (**t > 0.5)).count();
    let expected = hits as f64 / 4_600.0;
    assert!(expected > 0.01 && expected < 0.99, "{expected}");
    let found = model.evaluate(&BinaryCrossEntropy, &soft).unwrap();
    assert_eq!(found.accuracy, Some(expected));
    let trainer = on_cpu::<f32>(&BinaryCrossEntropy, &soft);
    let found = trainer.evaluate(&soft).unwrap().accuracy.unwrap();
    assert!(
        (found - expected).abs() < 2.0 / 4_600.0,
        "{found} {expected}"
    );
}

/// Row weights multiply only the terms of the rows. Class weights are also in the divisor.
#[test]
fn weights_of_rows_and_of_classes_are_both_counted() {
    let x = points(6);
    let labels = [0, 1, 2, 3, 1, 2];
    let weights = [1.0, 0.5, 2.0, 0.0, 3.0, -1.0];
    let [on_gpu, on_cpu] = devices().map(|device| {
        let mut trainer = device
            .online(&network(4), adjusted(), Sgd::new(0.5))
            .unwrap();
        let targets = Targets::Classes(&labels);
        let loss = trainer
            .step_on_weighted(x.view(), targets, &weights)
            .unwrap();
        (loss, trainer.parameters().unwrap())
    });
    let by_hand = {
        let network = cpu::Network::<f64>::new(&network(4)).unwrap();
        let logits = network.predict(x.mapv(f64::from).view()).unwrap();
        let of_class = [0.5, 3.0, 0.0, 1.25];
        let term = |(row, &label): (usize, &u32)| {
            let z = logits.row(row);
            let log_sum = z.mapv(f64::exp).sum().ln();
            let losses = z.mapv(|z| log_sum - z);
            let uniform: f64 = losses.iter().zip(of_class).map(|(l, w)| l * w).sum();
            let label = label as usize;
            let smoothing = f64::from(0.1f32);
            let own = (1.0 - smoothing) * of_class[label] * losses[label];
            f64::from(weights[row]) * (own + smoothing / 4.0 * uniform)
        };
        let sum: f64 = labels.iter().enumerate().map(term).sum();
        sum / labels
            .iter()
            .map(|&label| of_class[label as usize])
            .sum::<f64>()
    };
    for (loss, _) in [&on_gpu, &on_cpu] {
        assert!(
            (f64::from(*loss) - by_hand).abs() < 1e-5,
            "{loss} {by_hand}"
        );
    }
    for (name, value) in on_gpu.1.iter() {
        let apart = value - &on_cpu.1[name];
        assert!(
            apart.iter().all(|apart| apart.abs() < 1e-5),
            "{name}: {apart}"
        );
    }
    // A step with all row weights 1 equals a step without row weights.
    for device in devices() {
        let [with, without] = [true, false].map(|is_weighted| {
            let mut trainer = device
                .online(&network(4), adjusted(), Sgd::new(0.5))
                .unwrap();
            let x = x.view();
            let targets = Targets::Classes(&labels);
            if is_weighted {
                trainer.step_on_weighted(x, targets, &[1.0; 6]).unwrap()
            } else {
                trainer.step_on(x, targets).unwrap()
            }
        });
        assert!((with - without).abs() < 1e-6, "{with} {without}");
    }
}

/// If all labels of a minibatch have weight 0, PyTorch's loss is NaN. Here, such a step changes nothing, and the next
/// step learns.
#[test]
fn labels_that_weigh_nothing_ruin_no_training() {
    for device in devices() {
        let loss = adjusted().label_smoothing(0.0);
        let mut trainer = device.online(&network(4), loss, Sgd::new(0.5)).unwrap();
        let before = trainer.parameters().unwrap();
        let x = points(9);
        let nothing = Targets::Classes(&[2; 9]);
        assert_eq!(trainer.step_on(x.view(), nothing).unwrap(), 0.0);
        assert_eq!(trainer.parameters().unwrap(), before);
        let something = Targets::Classes(&[2, 2, 2, 2, 2, 2, 2, 2, 1]);
        assert!(trainer.step_on(x.view(), something).unwrap() > 0.0);
        assert!(trainer.parameters().unwrap() != before);
    }
}

#[test]
fn a_loss_with_settings_is_not_fused_and_says_so() {
    let data = super::digits().train;
    let spec = Sequential::input(784).layer(Linear::new(10));
    let train = |loss: Box<dyn Loss>, fusion| {
        let model = spec.build(gpu()).unwrap();
        Trainer::with_fusion(model, loss, Sgd::new(0.1), &data, 10, SAMPLING, fusion)
    };
    let smoothed = || Box::new(SoftmaxCrossEntropy.label_smoothing(0.1));
    let trainer = train(smoothed(), Fusion::Auto).unwrap();
    assert_eq!(trainer.unfused(), Some(&Unfused::AdjustedLoss));
    match train(smoothed(), Fusion::Fused) {
        Err(Error::Plan(Unfused::AdjustedLoss)) => {}
        other => panic!("{other:?}"),
    }
    let message = Unfused::AdjustedLoss.to_string();
    assert!(
        message.contains("class weights or label smoothing"),
        "{message}"
    );
    assert!(train(Box::new(SoftmaxCrossEntropy), Fusion::Fused).is_ok());
}

fn losses_that_make_no_sense() -> Vec<(Box<dyn Loss>, &'static str)> {
    let weights =
        |weights: &[f32]| -> Box<dyn Loss> { Box::new(SoftmaxCrossEntropy.class_weights(weights)) };
    let smoothed =
        |smoothing| -> Box<dyn Loss> { Box::new(SoftmaxCrossEntropy.label_smoothing(smoothing)) };
    let huber = |delta| -> Box<dyn Loss> { Box::new(Huber::new(delta)) };
    let relative = |epsilon| -> Box<dyn Loss> { Box::new(RelativeL2::new(epsilon)) };
    vec![
        (weights(&[1.0; 3]), "number of class weights must be 4"),
        (weights(&[1.0; 5]), "number of class weights must be 4"),
        (weights(&[]), "number of class weights must be 4"),
        (weights(&[0.0; 4]), "largest class weight must be above 0"),
        (
            weights(&[1.0, -1.0, 1.0, 1.0]),
            "weight of class 1 must be 0, or",
        ),
        (
            weights(&[1.0, 1.0, f32::NAN, 1.0]),
            "weight of class 2 must be 0, or",
        ),
        (
            weights(&[f32::INFINITY, 1.0, 1.0, 1.0]),
            "weight of class 0 must be 0, or",
        ),
        (
            weights(&[1.0, 1.0, 1.0, 1e-40]),
            "weight of class 3 must be 0, or",
        ),
        (smoothed(-0.1), "label smoothing must be 0 to 1; it is -0.1"),
        (smoothed(1.1), "label smoothing must be 0 to 1"),
        (smoothed(f32::NAN), "label smoothing must be 0 to 1"),
        (huber(0.0), "delta of Huber must be a finite number above 0"),
        (
            huber(-1.0),
            "delta of Huber must be a finite number above 0",
        ),
        (huber(f32::NAN), "delta of Huber must be"),
        (huber(f32::INFINITY), "delta of Huber must be"),
        (huber(1e-40), "delta of Huber must be"),
        (
            relative(0.0),
            "epsilon of RelativeL2 must be a finite number above 0",
        ),
        (relative(f32::INFINITY), "epsilon of RelativeL2 must be"),
        (relative(1e-40), "epsilon of RelativeL2 must be"),
    ]
}

/// Every constructor of a training and every evaluation refuses a loss with invalid settings, on both engines.
#[test]
fn settings_of_losses_that_make_no_sense_are_refused() {
    let x = points(20);
    let [_, quarters] = labels_of(&x);
    let four = Table::regression("four", x.view(), Array2::zeros((20, 4)).view()).unwrap();
    for at in 0..losses_that_make_no_sense().len() {
        let loss = || losses_that_make_no_sense().swap_remove(at);
        let (of, expected) = loss();
        let is_of_values = of.targets() == wgrad::ops::TargetKind::Values;
        let table = if is_of_values { &four } else { &quarters };
        let zeros = Array2::zeros((20, 4));
        let targets = || {
            if is_of_values {
                Targets::Values(zeros.view())
            } else {
                Targets::Classes(&[0; 20])
            }
        };
        let told = same(|device| {
            let sgd = Sgd::new(0.1);
            let blocks = [Ok::<_, DataError>(table.clone())];
            let stream = Stream::new(blocks, 20, 1);
            [
                text(device.trainer(&network(4), loss().0, sgd, table, 5, SAMPLING)),
                text(device.online(&network(4), loss().0, sgd)),
                text(device.streamed(&network(4), loss().0, sgd, stream, 5)),
            ]
        });
        let cpu = cpu::Network::<f32>::new(&network(4)).unwrap();
        let model = network(4).build(gpu()).unwrap();
        let [x_tensor, t_tensor] = [2, 4]
            .map(|columns| Tensor::zeros(gpu(), "given", [20, columns], Element::F32).unwrap());
        let batch = Batch::new(&x_tensor, &t_tensor);
        let others = [
            text(cpu.loss(&*of, x.view(), targets())),
            text(cpu.gradient(&*of, x.view(), targets())),
            text(model.loss(&*of, x.view(), targets())),
            text(model.gradient(&*of, x.view(), targets())),
            text(model.evaluate(&*of, table)),
            text(Trainer::external(model, loss().0, Sgd::new(0.1), batch)),
        ];
        for told in told.iter().chain(&others) {
            assert!(told.starts_with(expected), "{told}, not {expected}");
        }
    }
}

/// Rows with an invalid target are refused in a data set, in the second block of a stream, and as arguments of a step.
#[test]
fn targets_that_are_no_probabilities_are_refused_where_they_come_in() {
    let x = points(20);
    for wrong in [-0.001, 1.0001, 100.0] {
        let mut y = Array2::from_elem((20, 3), 0.5);
        y[[17, 2]] = wrong;
        let table = |rows: std::ops::Range<usize>| {
            let [x, y] = [&x, &y].map(|of| of.slice(s![rows.clone(), ..]));
            Table::regression("sure", x, y).unwrap()
        };
        let told = same(|device| {
            let sgd = Sgd::new(0.1);
            let whole = table(0..20);
            let examples = Examples::from(&whole);
            let net = network(3);
            let of_data = text(device.trainer(&net, BinaryCrossEntropy, sgd, &whole, 5, SAMPLING));
            let good = table(0..10);
            let trainer = device.trainer(&net, BinaryCrossEntropy, sgd, &good, 5, SAMPLING);
            let evaluated = text(trainer.unwrap().evaluate(&examples));
            let blocks = [0..10, 10..20].map(|rows| Ok::<_, DataError>(table(rows)));
            let stream = Stream::new(blocks, 10, 1);
            let mut streamed = device
                .streamed(&net, BinaryCrossEntropy, sgd, stream, 5)
                .unwrap();
            let of_stream = text(streamed.steps(4));
            let mut online = device.online(&net, BinaryCrossEntropy, sgd).unwrap();
            let targets = || Targets::Values(y.view());
            let given = [
                text(online.step_on(x.view(), targets())),
                text(online.advance_on(x.view(), targets())),
                text(online.step_on_weighted(x.view(), targets(), &[1.0; 20])),
            ];
            assert_eq!(online.steps_taken(), 0);
            (of_data, evaluated, of_stream, given)
        });
        let (of_data, evaluated, of_stream, given) = told;
        let words = |row: usize, of: &str| {
            format!(
                "row {row}, column 2 of the targets{of} must be 0 to 1, the probability of the output's label, for the \
                 loss BinaryCrossEntropy: scale the targets, or use a loss of values, such as MeanSquaredError; it is \
                 {wrong}"
            )
        };
        assert_eq!(of_data, words(17, " of sure"));
        assert_eq!(evaluated, of_data);
        assert!(of_stream.contains("block 1"), "{of_stream}");
        assert!(of_stream.contains(&words(7, " of sure")), "{of_stream}");
        for told in given {
            assert_eq!(told, words(17, ""));
        }
        let targets = || Targets::Values(y.view());
        let cpu = cpu::Network::<f32>::new(&network(3)).unwrap();
        let model = network(3).build(gpu()).unwrap();
        for told in [
            text(cpu.loss(&BinaryCrossEntropy, x.view(), targets())),
            text(cpu.gradient(&BinaryCrossEntropy, x.view(), targets())),
            text(model.loss(&BinaryCrossEntropy, x.view(), targets())),
            text(model.gradient(&BinaryCrossEntropy, x.view(), targets())),
        ] {
            assert_eq!(told, words(17, ""));
        }
        assert_eq!(
            text(model.evaluate(&BinaryCrossEntropy, &table(0..20))),
            of_data
        );
    }
    // Only rows that are arguments of a step can contain NaN.
    let mut y = Array2::from_elem((20, 3), 1.0);
    y[[0, 0]] = f32::NAN;
    let told = same(|device: &Device| {
        let mut online = device
            .online(&network(3), BinaryCrossEntropy, Sgd::new(0.1))
            .unwrap();
        text(online.step_on(x.view(), Targets::Values(y.view())))
    });
    assert!(told.ends_with("it is NaN"), "{told}");
    // This data set has classes, which is the wrong kind for this loss.
    let [_, quarters] = labels_of(&x);
    let told = same(|device: &Device| {
        let sgd = Sgd::new(0.1);
        text(device.trainer(&network(4), BinaryCrossEntropy, sgd, &quarters, 5, SAMPLING))
    });
    let expected = "the loss BinaryCrossEntropy compares values 0 to 1";
    assert!(told.contains(expected), "{told}");
}

/// Training on a stream with probabilities equals training on a data set with the same rows.
#[test]
fn probabilities_come_in_a_stream() {
    let x = points(40);
    let [soft, _] = labels_of(&x);
    for device in devices() {
        let blocks = [Ok::<_, DataError>(soft.clone()), Ok(soft.clone())];
        let stream = Stream::new(blocks, 40, 1);
        let mut streamed = device
            .streamed(&network(2), BinaryCrossEntropy, Sgd::new(0.5), stream, 10)
            .unwrap();
        let losses = streamed.steps(100).unwrap();
        assert_eq!(losses.len(), 8);
        assert!(losses.iter().all(|&loss| loss > 0.0), "{losses:?}");
        assert!(
            streamed
                .evaluate(&Examples::from(&soft))
                .unwrap()
                .accuracy
                .is_some()
        );
    }
}

/// The crate does not check targets that a program's kernels write on the GPU. An invalid target gives a loss of NaN,
/// which is reported as a divergence.
#[test]
fn tensors_of_probabilities_are_trained_on() {
    let zeros = |columns| Tensor::zeros(gpu(), "given", [8, columns], Element::F32).unwrap();
    let x = zeros(2);
    let t = zeros(3);
    let model = network(3).build(gpu()).unwrap();
    let loss = BinaryCrossEntropy;
    let batch = Batch::new(&x, &t);
    let mut trainer = Trainer::external(model, loss, Sgd::new(0.5), batch).unwrap();
    let losses = trainer.steps(50).unwrap();
    assert!(losses[49] < losses[0], "{losses:?}");
    gpu().write(&t, &[2.0f32; 24]).unwrap();
    match trainer.steps(1) {
        Err(Error::Diverged { loss, .. }) => assert!(loss.is_nan(), "{loss}"),
        other => panic!("{other:?}"),
    }
}
