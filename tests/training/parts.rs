//! A training step as separate calls (forward pass, backward pass, update), on both engines.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wgrad::data::Sampling;
use wgrad::ndarray::{Array2, ArrayView2, s};
use wgrad::ops::{Adam, Group, Linear, MeanSquaredError, Relu, Sgd, Tanh};
use wgrad::{Parameters, PassSpec, Sequential, Targets, Train, Trainer, Updater, cpu};

use super::watched::Watched;
use crate::gpu::gpu;

const ROWS: usize = 5;

/// Returns a network with two inputs. The first one is read twice.
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

/// Returns Σ y·dy. Its gradient with respect to `y` is `dy`.
fn total(network: &cpu::Network<f64>, x: ArrayView2<'_, f64>, dy: &Array2<f64>) -> f64 {
    (network.predict(x).unwrap() * dy).sum()
}

/// The gradient with respect to the input agrees with central differences: in `f64` up to 1e-9, and on a GPU up to the
/// rounding of a few short sums.
#[test]
fn gradients_by_the_input_are_central_differences() {
    let x = rows(5, 1);
    let dy = rows(2, 4);
    let mut network = cpu::Network::<f64>::new(&spec()).unwrap();
    let mut pass = network.pass(PassSpec::rows_of(ROWS).with_dx()).unwrap();
    pass.set_x(x.view()).unwrap();
    pass.forward(&mut network).unwrap();
    pass.set_dy(dy.view()).unwrap();
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
    let single = |values: &Array2<f64>| values.mapv(|value| value as f32);
    on_gpu.set_x(single(&x).view()).unwrap();
    on_gpu.forward(&mut model).unwrap();
    on_gpu.set_dy(single(&dy).view()).unwrap();
    on_gpu.backward(&model).unwrap();
    // In a real program, one of its kernels would read this tensor.
    let dx: Vec<f32> = gpu().read(on_gpu.dx().unwrap()).unwrap();
    assert!(on_gpu.read_dx().unwrap().unwrap().iter().eq(&dx));
    for (found, expected) in dx.iter().zip(&found) {
        assert!(
            (f64::from(*found) - expected).abs() < 1e-6,
            "{found} {expected}"
        );
    }
}

/// A row with weight 2 counts like two equal rows, and a row with weight 0 like a missing row.
#[test]
fn rows_count_by_their_weights() {
    let x = rows(5, 2).mapv(|x| x as f32);
    let y = rows(2, 6).mapv(|y| y as f32);
    let weights = [2.0, 0.0, 1.0, 1.0, 1.0];
    let repeated = [0, 0, 2, 3, 4];
    let [x_again, y_again] = [&x, &y].map(|of| of.select(wgrad::ndarray::Axis(0), &repeated));
    let trainers = || -> [Box<dyn Train>; 2] {
        let loss = MeanSquaredError;
        let sgd = Sgd::new(0.3);
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

/// Takes ten steps, each by separate calls of the forward pass, the backward pass and the update. The code is the same
/// for both engines.
macro_rules! ten_steps {
    ($network:expr, $updater:expr, $x:expr, $y:expr) => {{
        let mut pass = $network.pass(PassSpec::rows_of(ROWS).with_dx()).unwrap();
        pass.set_x($x.view()).unwrap();
        for _step in 0..10 {
            pass.forward(&mut $network).unwrap();
            // The gradient of the mean squared error: of the mean of (y − t)² over all elements.
            let dy = (pass.read_y().unwrap() - &$y) / ROWS as f32;
            pass.set_dy(dy.view()).unwrap();
            pass.backward(&$network).unwrap();
            $updater.update(&mut $network, &mut pass).unwrap();
        }
        let dx = pass.read_dx().unwrap().unwrap();
        (dx, pass.read_gradients().unwrap())
    }};
}

fn assert_near(found: &Parameters, expected: &Parameters) {
    assert_eq!(found.len(), expected.len());
    for ((name, found), (of, expected)) in found.iter().zip(expected.iter()) {
        assert_eq!((name, found.shape()), (of, expected.shape()));
        for (found, expected) in found.iter().zip(expected) {
            let apart = (found - expected).abs();
            assert!(apart < 1e-5, "{name}: {found} {expected}");
        }
    }
}

/// Takes steps by separate calls (forward pass, backward pass, update) on both engines. Compares them with the steps of
/// a trainer whose minibatch has the same rows in the same order. The engines differ by the rounding of a few short
/// sums.
#[test]
fn a_step_by_parts_is_that_of_a_trainer() {
    let x = rows(5, 2).mapv(|x| x as f32);
    let y = rows(2, 6).mapv(|y| y as f32);
    let table = wgrad::data::Table::regression("rows", x.view(), y.view()).unwrap();
    let sampling = Sampling::Listed((0..ROWS as u32).collect());
    let loss = MeanSquaredError;
    let adam = Adam::new(0.01);
    let trained = spec().build(gpu()).unwrap();
    let mut trainer = Trainer::new(trained, loss, adam, &table, ROWS, sampling).unwrap();
    trainer.steps(10).unwrap();
    let expected = trainer.model().parameters().unwrap();

    let mut model = spec().build(gpu()).unwrap();
    let mut updater = Updater::new(&model, adam).unwrap();
    let on_gpu = ten_steps!(model, updater, x, y);
    let mut network = spec().on_cpu().unwrap();
    let mut updater = cpu::Updater::new(&network, adam).unwrap();
    let on_cpu = ten_steps!(network, updater, x, y);
    assert_near(&model.parameters().unwrap(), &expected);
    assert_near(&network.parameters(), &expected);
    assert_near(&on_gpu.1, &on_cpu.1);
    let apart = (&on_gpu.0 - &on_cpu.0).mapv(f32::abs);
    assert!(apart.iter().all(|&apart| apart < 1e-6), "{apart}");
    assert!(on_cpu.0.iter().any(|dx| dx.abs() > 1e-3), "{}", on_cpu.0);
}

/// Makes calls that must be refused, and returns their messages.
macro_rules! refused {
    ($network:expr, $other:expr, $updater:expr) => {{
        let mut network = $network;
        let mut other = $other;
        let mut updater = $updater;
        let mut pass = network.pass(ROWS).unwrap();
        let none = network.pass(0).map(drop);
        // No memory is large enough for this many rows.
        assert!(network.pass(usize::MAX).is_err());
        assert!(network.pass(1 << 40).is_err());
        let x = |rows, columns| Array2::<f32>::zeros((rows, columns));
        let mut alike = vec![none];
        for [rows, columns] in [
            [ROWS - 1, 5],
            [ROWS + 1, 5],
            [ROWS, 4],
            [ROWS, 6],
            [0, 5],
            [5, 0],
        ] {
            alike.push(pass.set_x(x(rows, columns).view()));
        }
        for [rows, columns] in [
            [ROWS - 1, 2],
            [ROWS + 1, 2],
            [ROWS, 1],
            [ROWS, 3],
            [0, 2],
            [5, 0],
        ] {
            alike.push(pass.set_dy(x(rows, columns).view()));
        }
        alike.extend([
            updater.average(&network, 1.0),
            updater.average(&network, f32::NAN),
            updater.set_learning_rate(f32::NAN),
            updater.set_optimizer(Adam::new(-1.0)),
            updater.set_group("nothing", Group::new()),
            updater.set_group("*", Group::new().rate(f32::NAN)),
            updater.freeze("*"),
            updater.unfreeze("nothing"),
        ]);
        // These messages differ only in one word: "model" or "network".
        let others = [
            (pass.forward(&mut other), "of a pass"),
            (pass.backward(&other), "of a pass"),
            (updater.update(&mut other, &mut pass), "of a pass"),
            (updater.average(&other, 0.5), "of an updater"),
            (updater.averaged(&other).map(drop), "of an updater"),
        ];
        for (refused, part) in others {
            let text = refused.unwrap_err().to_string();
            assert!(text.contains(part) && text.contains("another"), "{text}");
        }
        // The refused calls have changed nothing. The crate does not check for NaN in a gradient that the program sets.
        pass.set_x(x(ROWS, 5).view()).unwrap();
        pass.forward(&mut network).unwrap();
        pass.set_dy(x(ROWS, 2).view()).unwrap();
        pass.backward(&network).unwrap();
        updater.update(&mut network, &mut pass).unwrap();
        pass.set_dy(Array2::from_elem((ROWS, 2), f32::NAN).view())
            .unwrap();
        pass.backward(&network).unwrap();
        updater.update(&mut network, &mut pass).unwrap();
        let texts = alike
            .into_iter()
            .map(|refused| refused.unwrap_err().to_string());
        texts.collect::<Vec<_>>()
    }};
}

#[test]
fn mistakes_with_parts_have_the_same_words_on_both_engines() {
    // The pass belongs to another network with the same shapes, which is the mistake that is hardest to detect.
    let other = || {
        let network = Sequential::input(3).named("first").another_input(2);
        let network = network.concat("first").layer(Linear::new(4));
        network.layer(Relu).concat("first").layer(Linear::new(2))
    };
    let build = |spec: Sequential| spec.build(gpu()).unwrap();
    let model = build(spec());
    let adam = Adam::new(0.01);
    let updater = Updater::new(&model, adam).unwrap();
    let on_gpu = refused!(model, build(other()), updater);
    let network = spec().on_cpu().unwrap();
    let updater = cpu::Updater::new(&network, adam).unwrap();
    let on_cpu = refused!(network, other().on_cpu().unwrap(), updater);
    assert_eq!(on_gpu, on_cpu);
    assert!(on_cpu[1].contains("x of a pass"), "{}", on_cpu[1]);
}

/// Passes with different numbers of rows alternate. The update of each pass is recorded once, and reads the gradients
/// of that pass.
#[test]
fn an_update_is_recorded_once_for_each_of_several_passes() {
    let recorded = Arc::new(AtomicUsize::new(0));
    let sgd = Sgd::new(0.05).momentum(0.9);
    let count = Arc::clone(&recorded);
    let counted = Watched::new(sgd, move || {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let recorded = || recorded.load(Ordering::SeqCst);
    let x = rows(5, 2);
    let y = rows(2, 6);
    let mut model = spec().build(gpu()).unwrap();
    let mut updater = Updater::new(&model, counted).unwrap();
    let mut network = cpu::Network::<f64>::new(&spec()).unwrap();
    let mut on_cpu = cpu::Updater::new(&network, sgd).unwrap();
    let mut passes: Vec<_> = (1..=4)
        .map(|rows| (model.pass(rows).unwrap(), network.pass(rows).unwrap()))
        .collect();
    let single = |of: ArrayView2<'_, f64>| of.iter().map(|&of| of as f32).collect::<Vec<_>>();
    for _round in 0..3 {
        for (on_gpu, pass) in &mut passes {
            let rows = pass.rows();
            let x = x.slice(s![..rows, ..]);
            let dy = y.slice(s![..rows, ..]);
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
    let found = model.parameters().unwrap();
    let expected = network.parameters();
    for ((name, found), (_, expected)) in found.iter().zip(expected.iter()) {
        for (&found, expected) in found.iter().zip(expected) {
            let error = (f64::from(found) - expected).abs();
            assert!(error < 1e-5, "{name}: {found} {expected}");
        }
    }
    // After a change, the update is recorded again, once per pass.
    updater.freeze("*.bias").unwrap();
    updater.update(&mut model, &mut passes[0].0).unwrap();
    assert_eq!(recorded(), 5);
    updater.update(&mut model, &mut passes[1].0).unwrap();
    updater.update(&mut model, &mut passes[0].0).unwrap();
    assert_eq!((recorded(), updater.steps_taken()), (6, 15));
}
