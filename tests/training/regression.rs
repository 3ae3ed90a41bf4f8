//! Tables of floats: with values to predict, and with classes.

use wgrad::data::{DataError, Examples, Labels, Sampling, Table};
use wgrad::ndarray::Array2;
use wgrad::ops::{
    Adam, Linear, Loss, MeanSquaredError, Optimizer, Schedule, Sgd, Sigmoid, SoftmaxCrossEntropy,
};
use wgrad::reference::Float;
use wgrad::{Fusion, Init, Sequential, Trainer, Unfused, cpu};

use super::assert_near;
use crate::gpu::gpu;

pub(super) const SAMPLING: Sampling = Sampling::Shuffled { seed: 4 };

fn spec(outputs: usize) -> Sequential {
    let linear = |outputs| Linear::new(outputs).weight_init(Init::Normal { std: 0.5 });
    let spec = Sequential::input(2).layer(linear(16)).layer(Sigmoid);
    spec.layer(linear(16))
        .layer(Sigmoid)
        .layer(linear(outputs))
        .seed(7)
}

/// Returns points in a square.
fn points() -> Array2<f32> {
    Array2::from_shape_fn((400, 2), |(row, column)| {
        let at = if column == 0 { row % 20 } else { row / 20 };
        at as f32 / 10.0 - 0.95
    })
}

/// Returns points with two target values: a saddle and a plane.
pub(super) fn surface() -> Table {
    let x = points();
    let value = |(row, column)| match column {
        0 => x[[row, 0]] * x[[row, 1]],
        _ => 0.3 * x[[row, 0]] - 0.2,
    };
    let t = Array2::from_shape_fn((x.nrows(), 2), value);
    Table::regression("surface", x.view(), t.view()).unwrap()
}

/// Returns points with two classes: inside and outside of a circle. The classes are not linearly separable.
fn circle() -> Table {
    let x = points();
    let inside = x.outer_iter().map(|p| u32::from(p.dot(&p) < 0.5));
    let labels = Labels::from_classes(inside.collect(), 2).unwrap();
    Table::classification("circle", x.view(), labels).unwrap()
}

fn on_cpu<F: Float>(
    spec: &Sequential,
    loss: impl Loss + 'static,
    optimizer: impl Optimizer + 'static,
    table: &Table,
) -> cpu::Trainer<F> {
    let network = cpu::Network::<F>::new(spec).unwrap();
    cpu::Trainer::new(network, loss, optimizer, table, 50, SAMPLING).unwrap()
}

fn check_trajectory<L: Loss + Copy + 'static, O: Optimizer + Clone + 'static>(
    loss: L,
    optimizer: O,
    table: &Table,
) {
    let spec = spec(table.outputs());
    let case = format!("{loss:?}, {optimizer:?}");
    let model = spec.build(gpu()).unwrap();
    let mut on_gpu = Trainer::new(model, loss, optimizer.clone(), table, 50, SAMPLING).unwrap();
    let found = on_gpu.steps(60).unwrap();
    let mut double = on_cpu::<f64>(&spec, loss, optimizer.clone(), table);
    let mut single = on_cpu::<f32>(&spec, loss, optimizer, table);
    let expected = double.steps(60).unwrap();
    let single = single.steps(60).unwrap();
    assert_near(&case, &found, &expected, &single, 1e-4);
    let found = on_gpu.evaluate(table).unwrap();
    let expected = double.evaluate(table).unwrap();
    assert_eq!(on_gpu.model().evaluate(&loss, table).unwrap(), found);
    assert!(
        (found.loss - expected.loss).abs() < 1e-4,
        "{case}: {found:?} {expected:?}"
    );
    assert_eq!(found.accuracy.is_none(), table_has_values(table), "{case}");
    if let (Some(found), Some(expected)) = (found.accuracy, expected.accuracy) {
        assert!(
            (found - expected).abs() < 0.01,
            "{case}: {found} {expected}"
        );
    }
}

fn table_has_values(table: &Table) -> bool {
    matches!(table.targets(), wgrad::data::Targets::Values { .. })
}

#[test]
fn tables_of_floats_are_trained_as_by_the_formulas() {
    let sgd = Sgd::new(0.2);
    check_trajectory(MeanSquaredError, sgd, &surface());
    check_trajectory(SoftmaxCrossEntropy, sgd, &circle());
    let adam = Adam::new(0.01).epsilon(1e-4).clip_norm(0.1);
    let adam = adam.scheduled(Schedule::cosine(50).warm_up(10));
    check_trajectory(MeanSquaredError, adam, &surface());
}

#[test]
fn a_regression_learns_its_surface() {
    let table = surface();
    let model = spec(2).build(gpu()).unwrap();
    let optimizer = Adam::new(0.01);
    let mut trainer =
        Trainer::new(model, MeanSquaredError, optimizer, &table, 50, SAMPLING).unwrap();
    match gpu().software_driver() {
        Some(_) => {
            assert_eq!(trainer.fusion(), Fusion::Layers);
            let unfused = trainer.unfused();
            assert!(
                matches!(unfused, Some(Unfused::SlowerHead { .. })),
                "{unfused:?}"
            );
        }
        None => assert_eq!((trainer.fusion(), trainer.unfused()), (Fusion::Head, None)),
    }
    let before = trainer.evaluate(&table).unwrap().loss;
    trainer.steps(2_000).unwrap();
    let after = trainer.evaluate(&table).unwrap().loss;
    assert!(after < before / 100.0, "{before} {after}");
    // The loss of all points, computed from the predictions, must be the same.
    let predicted = trainer.model().predict(points().view()).unwrap();
    let x = points();
    let error = |row: usize| {
        let saddle = predicted[[row, 0]] - x[[row, 0]] * x[[row, 1]];
        let slope = predicted[[row, 1]] - (0.3 * x[[row, 0]] - 0.2);
        f64::from(saddle * saddle + slope * slope) / 2.0
    };
    let mean = (0..400).map(error).sum::<f64>() / 400.0;
    assert!((mean - after).abs() < 1e-6, "{mean} {after}");
}

#[test]
fn what_a_loss_cannot_compare_is_refused() {
    let on_both = |table: &Table, values: bool| {
        let spec = spec(2);
        let table = table.clone();
        let examples: Examples = (&table).into();
        let cpu = if values {
            cpu::Trainer::new(
                cpu::Network::<f32>::new(&spec).unwrap(),
                MeanSquaredError,
                Sgd::new(0.1),
                examples.clone(),
                10,
                SAMPLING,
            )
        } else {
            cpu::Trainer::new(
                cpu::Network::<f32>::new(&spec).unwrap(),
                SoftmaxCrossEntropy,
                Sgd::new(0.1),
                examples.clone(),
                10,
                SAMPLING,
            )
        };
        let model = spec.build(gpu()).unwrap();
        let on_gpu = if values {
            Trainer::new(
                model,
                MeanSquaredError,
                Sgd::new(0.1),
                examples,
                10,
                SAMPLING,
            )
            .map(|_| ())
        } else {
            Trainer::new(
                model,
                SoftmaxCrossEntropy,
                Sgd::new(0.1),
                examples,
                10,
                SAMPLING,
            )
            .map(|_| ())
        };
        [cpu.map(|_| ()).unwrap_err(), on_gpu.unwrap_err()].map(|error| error.to_string())
    };
    for message in on_both(&surface(), false) {
        for part in [
            "data set \"surface\" has values",
            "the loss SoftmaxCrossEntropy compares classes",
            "Use a loss of values, such as MeanSquaredError",
            "Table::classification",
        ] {
            assert!(message.contains(part), "no {part} in: {message}");
        }
    }
    for message in on_both(&circle(), true) {
        for part in [
            "data set \"circle\" has classes",
            "the loss MeanSquaredError compares values",
            "Use a loss of classes, such as SoftmaxCrossEntropy",
            "Table::regression",
        ] {
            assert!(message.contains(part), "no {part} in: {message}");
        }
    }
}

#[test]
fn tables_that_make_no_sense_are_refused() {
    let x = points();
    let mut wrong = x.clone();
    wrong[[3, 1]] = f32::NAN;
    let finite = Table::regression("t", wrong.view(), x.view());
    assert!(
        matches!(
            finite,
            Err(DataError::NotFinite {
                row: 3,
                column: 1,
                what: "feature",
                ..
            })
        ),
        "{finite:?}"
    );
    let targets = Table::regression("t", x.view(), wrong.view());
    assert!(
        matches!(targets, Err(DataError::NotFinite { what: "target", .. })),
        "{targets:?}"
    );
    let fewer = Table::regression("t", x.view(), x.slice(wgrad::ndarray::s![1.., ..]));
    let is_count = matches!(
        fewer,
        Err(DataError::Count {
            expected: 400,
            found: 399,
            ..
        })
    );
    assert!(is_count, "{fewer:?}");
    let none = Array2::<f32>::zeros((0, 2));
    let empty = Table::regression("t", none.view(), none.view());
    assert!(
        matches!(
            empty,
            Err(DataError::Empty {
                what: "examples",
                ..
            })
        ),
        "{empty:?}"
    );
    let width = Array2::<f32>::zeros((4, 0));
    let empty = Table::regression("t", width.view(), x.slice(wgrad::ndarray::s![..4, ..]));
    assert!(
        matches!(
            empty,
            Err(DataError::Empty {
                what: "features",
                ..
            })
        ),
        "{empty:?}"
    );
}

#[test]
fn values_have_no_predictions_with_a_probability() {
    let spec = spec(2);
    let rate = Sgd::new(0.1);
    let table = surface();
    let loss = MeanSquaredError;
    let on_cpu = cpu::Trainer::new(
        cpu::Network::<f32>::new(&spec).unwrap(),
        loss,
        rate,
        &table,
        10,
        SAMPLING,
    )
    .unwrap();
    let model = spec.build(gpu()).unwrap();
    let mut on_gpu = Trainer::new(model, loss, rate, &table, 10, SAMPLING).unwrap();
    let of_model = on_gpu.model().predictions(&table);
    let on_gpu = on_gpu.predictions(&table);
    for refused in [of_model, on_gpu, on_cpu.predictions(&table)] {
        let error = refused.unwrap_err().to_string();
        let expected = "data set \"surface\" has values, but a prediction with a probability needs classes. Predict \
            values with Model::predict or cpu::Network::predict, or make the table with Table::classification";
        assert_eq!(error, expected);
    }
}
