//! The parts of a step as calls, on both engines.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wgrad::data::Sampling;
use wgrad::ndarray::{Array2, ArrayView2, s};
use wgrad::ops::{Adam, Linear, MeanSquaredError, Optimizer, Sgd, Tanh, Update};
use wgrad::plan::Recorder;
use wgrad::reference::Rule;
use wgrad::{Error, PassSpec, Sequential, Targets, Train, Trainer, Updater, cpu};

use crate::gpu::gpu;

const ROWS: usize = 5;

/// Two inputs, the first of which is read twice.
fn spec() -> Sequential {
    let network = Sequential::input(3)
        .named("first")
        .another_input(2)
        .concat("first");
    let network = network.layer(Linear::new(4)).layer(Tanh).concat("first");
    network.layer(Linear::new(2)).seed(3)
}

fn rows(columns: usize, seed: usize) -> Array2<f64> {
    Array2::from_shape_fn((ROWS, columns), |(row, column)| {
        ((row * 7 + column * 5 + seed) % 13) as f64 / 13.0 - 0.4
    })
}

/// Σ y·dy, whose gradient by `y` is `dy`.
fn total(network: &cpu::Network<f64>, x: ArrayView2<'_, f64>, dy: &Array2<f64>) -> f64 {
    (network.predict(x).unwrap() * dy).sum()
}

/// In `f64` the differences are those of the gradient to 1e-9; on a GPU its rounding is that of a few short sums.
#[test]
fn gradients_by_the_input_are_central_differences() {
    let (x, dy) = (rows(5, 1), rows(2, 4));
    let mut network = cpu::Network::<f64>::new(&spec()).unwrap();
    let mut pass = network.pass(PassSpec::rows_of(ROWS).with_dx()).unwrap();
    pass.set_x(x.view()).unwrap();
    pass.forward(&mut network).unwrap();
    pass.dy().assign(&dy);
    pass.backward(&network).unwrap();
    let found = pass.dx().unwrap().to_owned();
    for at in x.indexed_iter().map(|(at, _)| at) {
        let moved = |by: f64| {
            let mut x = x.clone();
            x[at] += by;
            total(&network, x.view(), &dy)
        };
        let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!(
            (found[at] - expected).abs() < 1e-9,
            "{at:?}: {} {expected}",
            found[at]
        );
    }
    assert!(network.pass(ROWS).unwrap().dx().is_none());

    let mut model = spec().build(gpu()).unwrap();
    let mut on_gpu = model.pass(PassSpec::rows_of(ROWS).with_dx()).unwrap();
    let single =
        |values: &Array2<f64>| values.iter().map(|&value| value as f32).collect::<Vec<_>>();
    gpu().write(on_gpu.x(), &single(&x)).unwrap();
    on_gpu.forward(&mut model).unwrap();
    gpu().write(on_gpu.dy(), &single(&dy)).unwrap();
    on_gpu.backward(&model).unwrap();
    let dx: Vec<f32> = gpu().read(on_gpu.dx().unwrap()).unwrap();
    for (found, expected) in dx.iter().zip(&found) {
        assert!(
            (f64::from(*found) - expected).abs() < 1e-6,
            "{found} {expected}"
        );
    }
}

/// A row of weight 2 counts as if it were there twice, and one of 0 as if it were not.
#[test]
fn rows_count_by_their_weights() {
    let (x, y) = (rows(5, 2).mapv(|x| x as f32), rows(2, 6).mapv(|y| y as f32));
    let weights = [2.0, 0.0, 1.0, 1.0, 1.0];
    let repeated = [0, 0, 2, 3, 4];
    let [x_again, y_again] = [&x, &y].map(|of| of.select(wgrad::ndarray::Axis(0), &repeated));
    let trainers = || -> [Box<dyn Train>; 2] {
        let (loss, sgd) = (MeanSquaredError, Sgd::new(0.3));
        let model = spec().build(gpu()).unwrap();
        [
            Box::new(Trainer::online(model, loss, sgd).unwrap()),
            Box::new(cpu::Trainer::online(spec().on_cpu().unwrap(), loss, sgd).unwrap()),
        ]
    };
    for (mut weighted, mut plain) in trainers().into_iter().zip(trainers()) {
        let mut first = None;
        for _step in 0..20 {
            let targets = Targets::Values(y.view());
            let found = weighted
                .step_on_weighted(x.view(), targets, &weights)
                .unwrap();
            let targets = Targets::Values(y_again.view());
            let expected = plain.step_on(x_again.view(), targets).unwrap();
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
            first.get_or_insert(found);
        }
        let unweighted = plain.step_on(x.view(), Targets::Values(y.view())).unwrap();
        assert!(
            (unweighted - first.unwrap()).abs() > 1e-3,
            "weights say nothing"
        );
        for (wrong, expected) in [
            (&weights[1..], "expected 5, found 4"),
            (&[f32::NAN; 5], "finite"),
        ] {
            let targets = Targets::Values(y.view());
            let refused = weighted
                .step_on_weighted(x.view(), targets, wrong)
                .unwrap_err();
            assert!(refused.to_string().contains(expected), "{refused}");
        }
    }
}

/// By parts, and by a trainer whose minibatch has the same rows in order.
#[test]
fn a_step_by_parts_is_that_of_a_trainer() {
    let (x, y) = (rows(5, 2).mapv(|x| x as f32), rows(2, 6).mapv(|y| y as f32));
    let table = wgrad::data::Table::regression("rows", x.view(), y.view()).unwrap();
    let sampling = Sampling::Listed((0..ROWS as u32).collect());
    let (loss, adam) = (MeanSquaredError, Adam::new(0.01));
    let mut model = spec().build(gpu()).unwrap();
    let trained = model.try_clone().unwrap();
    let mut trainer = Trainer::new(trained, loss, adam, &table, ROWS, sampling).unwrap();
    trainer.steps(10).unwrap();
    let mut pass = model.pass(ROWS).unwrap();
    let mut updater = Updater::new(&model, adam).unwrap();
    gpu().write(pass.x(), x.as_slice().unwrap()).unwrap();
    for _step in 0..10 {
        pass.forward(&mut model).unwrap();
        let outputs: Vec<f32> = gpu().read(pass.y()).unwrap();
        // Of the mean over all elements of (y − t)².
        let dy = outputs
            .iter()
            .zip(&y)
            .map(|(output, target)| (output - target) / ROWS as f32);
        gpu().write(pass.dy(), &dy.collect::<Vec<_>>()).unwrap();
        pass.backward(&model).unwrap();
        updater.update(&mut model, &mut pass).unwrap();
    }
    let (found, expected) = (
        model.parameters().unwrap(),
        trainer.model().parameters().unwrap(),
    );
    for ((name, found), (_, expected)) in found.iter().zip(expected.iter()) {
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-5,
                "{name}: {found} {expected}"
            );
        }
    }
    let mut other = spec().build(gpu()).unwrap();
    let refused = updater
        .update(&mut other, &mut pass)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("model of a pass"), "{refused}");
}

/// Says how often its update was recorded.
#[derive(Debug, Clone)]
struct Counted {
    sgd: Sgd,
    recorded: Arc<AtomicUsize>,
}

impl Optimizer for Counted {
    fn describe(&self) -> String {
        self.sgd.describe()
    }

    fn learning_rate(&self) -> f32 {
        self.sgd.learning_rate()
    }

    fn with_learning_rate(&self, learning_rate: f32) -> Arc<dyn Optimizer> {
        self.sgd.with_learning_rate(learning_rate)
    }

    fn check(&self) -> Result<(), Error> {
        self.sgd.check()
    }

    fn state(&self) -> &'static [&'static str] {
        self.sgd.state()
    }

    fn update(&self, recorder: &mut Recorder<'_>, pass: Update<'_>) -> Result<(), Error> {
        self.recorded.fetch_add(1, Ordering::SeqCst);
        self.sgd.update(recorder, pass)
    }

    fn reference(&self) -> Rule {
        self.sgd.reference()
    }
}

/// Passes of several numbers of rows take turns: an update by each is recorded once, and reads its gradients.
#[test]
fn an_update_is_recorded_once_for_each_of_several_passes() {
    let counted = Counted {
        sgd: Sgd::new(0.05).momentum(0.9),
        recorded: Arc::default(),
    };
    let recorded = Arc::clone(&counted.recorded);
    let recorded = || recorded.load(Ordering::SeqCst);
    let (x, y) = (rows(5, 2), rows(2, 6));
    let mut model = spec().build(gpu()).unwrap();
    let mut updater = Updater::new(&model, counted.clone()).unwrap();
    let mut network = cpu::Network::<f64>::new(&spec()).unwrap();
    let mut on_cpu = cpu::Updater::new(&network, counted.sgd).unwrap();
    let mut passes: Vec<_> = (1..=4)
        .map(|rows| (model.pass(rows).unwrap(), network.pass(rows).unwrap()))
        .collect();
    let single = |of: ArrayView2<'_, f64>| of.iter().map(|&of| of as f32).collect::<Vec<_>>();
    for _round in 0..3 {
        for (on_gpu, pass) in &mut passes {
            let rows = pass.rows();
            let (x, dy) = (x.slice(s![..rows, ..]), y.slice(s![..rows, ..]));
            pass.set_x(x).unwrap();
            pass.forward(&mut network).unwrap();
            pass.dy().assign(&dy);
            pass.backward(&network).unwrap();
            on_cpu.update(&mut network, pass).unwrap();

            gpu().write(on_gpu.x(), &single(x)).unwrap();
            on_gpu.forward(&mut model).unwrap();
            gpu().write(on_gpu.dy(), &single(dy)).unwrap();
            on_gpu.backward(&model).unwrap();
            updater.update(&mut model, on_gpu).unwrap();
        }
        assert_eq!(recorded(), 4);
    }
    let (found, expected) = (model.parameters().unwrap(), network.parameters());
    for ((name, found), (_, expected)) in found.iter().zip(expected.iter()) {
        for (&found, expected) in found.iter().zip(expected) {
            let error = (f64::from(found) - expected).abs();
            assert!(error < 1e-5, "{name}: {found} {expected}");
        }
    }
    // In another way, and so again.
    updater.freeze("*.bias").unwrap();
    updater.update(&mut model, &mut passes[0].0).unwrap();
    assert_eq!(recorded(), 5);
    updater.update(&mut model, &mut passes[1].0).unwrap();
    updater.update(&mut model, &mut passes[0].0).unwrap();
    assert_eq!((recorded(), updater.steps_taken()), (6, 15));
}
