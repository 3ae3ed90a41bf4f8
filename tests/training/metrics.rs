//! Outputs, probabilities and metrics of whole data sets. Both engines agree with each other and with the results of
//! single rows.

use wgrad::data::{Examples, Labels, Sampling, Table};
use wgrad::ndarray::{Array2, Axis};
use wgrad::ops::{
    Adam, BinaryCrossEntropy, Linear, Loss, MeanSquaredError, SoftmaxCrossEntropy, Tanh,
};
use wgrad::{Device, EarlyStopping, Metric, Sequential, Targets, Train, sigmoid, softmax};

use crate::gpu::{Numbers, gpu};

const ROWS: usize = 2_310;

fn features() -> Array2<f32> {
    let mut numbers = Numbers::new(3);
    Array2::from_shape_simple_fn((ROWS, 5), || numbers.uniform())
}

/// Returns whether the sum of a row's features from index `first` on is above 0.
fn is_above(x: &Array2<f32>, row: usize, first: usize) -> bool {
    x.row(row).iter().skip(first).sum::<f32>() > 0.0
}

fn classes() -> Table {
    let x = features();
    let class = |row| u32::from(is_above(&x, row, 0)) + u32::from(is_above(&x, row, 2));
    let labels = Labels::from_classes((0..ROWS).map(class).collect(), 3).unwrap();
    Table::classification("classes", x.view(), labels).unwrap()
}

fn labels() -> Table {
    let x = features();
    let y = Array2::from_shape_fn((ROWS, 2), |(row, label)| {
        f32::from(u8::from(is_above(&x, row, 3 * label)))
    });
    Table::regression("labels", x.view(), y.view()).unwrap()
}

fn values() -> Table {
    let x = features();
    let y = x
        .map_axis(Axis(1), |row| row.sum().tanh())
        .insert_axis(Axis(1));
    Table::regression("values", x.view(), y.view()).unwrap()
}

fn spec(table: &Table) -> Sequential {
    let network = Sequential::input(5).layer(Linear::new(12)).layer(Tanh);
    network.layer(Linear::new(table.outputs())).seed(4)
}

fn on_both(table: &Table, loss: fn() -> Box<dyn Loss>) -> [Box<dyn Train>; 2] {
    let devices = [
        Device::cpu("one of both"),
        Device::with_gpu(gpu().clone(), "one of both"),
    ];
    devices.map(|device| {
        let sampling = Sampling::Shuffled { seed: 2 };
        let trainer = device.trainer(&spec(table), loss(), Adam::new(0.01), table, 30, sampling);
        let mut trainer = trainer.unwrap();
        trainer.steps(60).unwrap();
        trainer
    })
}

fn assert_near(a: &Array2<f32>, b: &Array2<f32>) {
    assert_eq!(a.dim(), b.dim());
    let far = a
        .iter()
        .zip(b)
        .find(|(a, b)| (**a - **b).abs() > 1e-4 * (1.0 + b.abs()));
    assert!(far.is_none(), "{far:?}");
}

/// Asserts that both engines' results for a data set agree with their results for its rows, and with each other.
#[track_caller]
fn assert_says(table: &Table, loss: fn() -> Box<dyn Loss>, metrics: &[(Metric, f64)]) {
    let examples = Examples::from(table);
    let x = Array2::from_shape_vec((ROWS, 5), table.features().to_vec()).unwrap();
    let mut both = on_both(table, loss);
    let outputs = both.each_mut().map(|trainer| {
        let outputs = trainer.outputs(&examples).unwrap();
        assert_near(&outputs, &trainer.predict(x.view()).unwrap());
        let evaluation = trainer.evaluate(&examples).unwrap();
        let found = trainer.metric(Metric::Loss, &examples).unwrap();
        assert_eq!(found, evaluation.loss);
        if let Some(accuracy) = evaluation.accuracy {
            assert_eq!(
                trainer.metric(Metric::Accuracy, &examples).unwrap(),
                accuracy
            );
        }
        for &(metric, least) in metrics {
            let found = trainer.metric(metric, &examples).unwrap();
            let good = if metric.is_higher_better() {
                found > least
            } else {
                found < least
            };
            assert!(good, "{metric}: {found}");
        }
        outputs
    });
    assert_near(&outputs[0], &outputs[1]);
}

#[test]
fn classes_are_scored_on_both_engines() {
    let table = classes();
    let loss = || Box::new(SoftmaxCrossEntropy) as Box<dyn Loss>;
    let metrics = [
        (Metric::Accuracy, 0.7),
        (Metric::F1, 0.5),
        (Metric::RocAuc, 0.85),
    ];
    assert_says(&table, loss, &metrics);
    for mut trainer in on_both(&table, loss) {
        let examples = Examples::from(&table);
        let probabilities = trainer.probabilities(&examples).unwrap();
        let outputs = trainer.outputs(&examples).unwrap();
        assert_eq!(probabilities, softmax(outputs.view()));
        let predictions = trainer.predictions(&examples).unwrap();
        for (prediction, row) in predictions.iter().zip(probabilities.rows()) {
            let found = f64::from(row[prediction.class as usize]);
            assert!((found - prediction.probability).abs() < 1e-6);
        }
        let error = trainer
            .metric(Metric::R2, &examples)
            .unwrap_err()
            .to_string();
        assert!(error.contains("r2") && error.contains("values"), "{error}");
    }
}

#[test]
fn labels_that_do_not_exclude_each_other_are_scored_on_both_engines() {
    let table = labels();
    let loss = || Box::new(BinaryCrossEntropy) as Box<dyn Loss>;
    let metrics = [
        (Metric::Accuracy, 0.8),
        (Metric::F1, 0.8),
        (Metric::RocAuc, 0.9),
    ];
    assert_says(&table, loss, &metrics);
    for mut trainer in on_both(&table, loss) {
        let examples = Examples::from(&table);
        let outputs = trainer.outputs(&examples).unwrap();
        let probabilities = trainer.probabilities(&examples).unwrap();
        assert_eq!(probabilities, sigmoid(outputs.view()));
    }
}

#[test]
fn values_are_scored_on_both_engines() {
    let table = values();
    let loss = || Box::new(MeanSquaredError) as Box<dyn Loss>;
    assert_says(
        &table,
        loss,
        &[(Metric::R2, 0.8), (Metric::MeanAbsoluteError, 0.2)],
    );
    for mut trainer in on_both(&table, loss) {
        let error = trainer.probabilities(&Examples::from(&table)).unwrap_err();
        assert!(error.to_string().contains("values"), "{error}");
    }
}

#[test]
fn a_training_that_stops_early_has_its_best_parameters() {
    let table = classes();
    let [part, valid] = table.split(0.1, 1).unwrap();
    let spec = spec(&table);
    let loss = SoftmaxCrossEntropy;
    let adam = Adam::new(0.05);
    let sampling = Sampling::Shuffled { seed: 2 };
    for device in [
        Device::cpu("one"),
        Device::with_gpu(gpu().clone(), "the other"),
    ] {
        let trainer = device.trainer(&spec, loss, adam, &part, 20, sampling.clone());
        let mut trainer = trainer.unwrap();
        let mut stopping = EarlyStopping::new(Metric::Accuracy, 3).evaluations(60);
        let mut seen = Vec::new();
        while stopping.goes_on(&mut *trainer, &valid).unwrap() {
            seen.extend(stopping.latest());
            trainer.steps(15).unwrap();
        }
        seen.extend(stopping.latest());
        trainer.restore_best().unwrap();
        let best = seen.iter().copied().fold(f64::MIN, f64::max);
        assert_eq!(stopping.best(), Some(best));
        let found = trainer
            .metric(Metric::Accuracy, &Examples::from(&valid))
            .unwrap();
        assert_eq!(found, best, "{seen:?}");
        let since = seen.iter().rev().position(|&metric| metric == best);
        assert!(seen.len() == 60 || since >= Some(3), "{seen:?}");
    }
}

/// A model and a network without a training give the same results.
#[test]
fn networks_score_data_sets_without_a_training() {
    let table = labels();
    let spec = spec(&table);
    let loss = BinaryCrossEntropy;
    let network = spec.on_cpu().unwrap();
    let model = spec.build(gpu()).unwrap();
    assert_near(
        &network.outputs(&table).unwrap(),
        &model.outputs(&table).unwrap(),
    );
    let both = [
        network.evaluate(&loss, &table).unwrap(),
        model.evaluate(&loss, &table).unwrap(),
    ];
    assert!((both[0].loss - both[1].loss).abs() < 1e-5, "{both:?}");
    let x = Array2::<f32>::zeros((3, 5));
    let y = Array2::<f32>::zeros((2, 2));
    let found = Metric::Accuracy.of(
        network.predict(x.view()).unwrap().view(),
        &Targets::Values(y.view()),
    );
    assert!(found.is_err());
    let classes = classes();
    let spec = Sequential::input(5).layer(Linear::new(3)).seed(1);
    let network = spec.on_cpu().unwrap();
    let model = spec.build(gpu()).unwrap();
    let both = [
        network.predictions(&classes).unwrap(),
        model.predictions(&classes).unwrap(),
    ];
    let same = both[0]
        .iter()
        .zip(&both[1])
        .filter(|(a, b)| a.class == b.class);
    assert!(same.count() > ROWS - 3);
}
