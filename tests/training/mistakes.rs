//! Mistakes of the program in training and prediction. They give no panic, and both engines give the same message.

use std::path::Path;

use wgrad::checkpoint::Changes;
use wgrad::data::{Examples, Labels, Sampling, Stream, Table};
use wgrad::kernel::Element;
use wgrad::ndarray::{Array2, ArrayD, ArrayView2};
use wgrad::ops::{Adam, Group, Linear, MeanSquaredError, Sgd, SoftmaxCrossEntropy, Tanh};
use wgrad::tensor::Tensor;
use wgrad::{Batch, Device, Error, Parameters, PassSpec, Sequential, Targets, Train, Trainer};

use crate::gpu::gpu;

pub(super) fn devices() -> [Device; 2] {
    let shaders = Device::with_gpu(gpu().clone(), "a test");
    [shaders, Device::cpu("a test")]
}

/// Runs `ask` on both engines. Asserts that the results are the same, and returns the result.
pub(super) fn same<T>(ask: impl Fn(&Device) -> T) -> T
where
    T: PartialEq + std::fmt::Debug,
{
    let [on_gpu, on_cpu] = devices().map(|device| ask(&device));
    assert_eq!(on_gpu, on_cpu);
    on_cpu
}

fn network() -> Sequential {
    let network = Sequential::input(3).layer(Linear::new(4)).layer(Tanh);
    network.layer(Linear::new(2)).seed(1)
}

fn rows(count: usize, columns: usize) -> Array2<f32> {
    Array2::from_shape_fn((count, columns), |(row, column)| {
        ((row * 5 + column * 3) % 7) as f32 / 7.0
    })
}

fn values(count: usize, width: usize, outputs: usize) -> Examples {
    let x = rows(count, width);
    let y = rows(count, outputs);
    let table = Table::regression("values", x.view(), y.view()).unwrap();
    (&table).into()
}

fn classes(count: usize, classes: usize) -> Examples {
    let labels = (0u32..).map(|row| row % 2).take(count).collect();
    let labels = Labels::from_classes(labels, classes).unwrap();
    let table = Table::classification("classes", rows(count, 3).view(), labels).unwrap();
    (&table).into()
}

pub(super) fn text<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => "no error".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn parameters(of: impl IntoIterator<Item = (&'static str, ArrayD<f32>)>) -> Parameters {
    let of = of.into_iter();
    of.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Returns the errors of all four calls that take rows, for rows that do not fit.
fn step(
    engine: &mut dyn Train,
    x: ArrayView2<'_, f32>,
    targets: Targets<'_, f32>,
    weights: &[f32],
) -> [String; 4] {
    [
        text(engine.step_on(x, targets)),
        text(engine.advance_on(x, targets)),
        text(engine.step_on_weighted(x, targets, weights)),
        text(engine.advance_on_weighted(x, targets, weights)),
    ]
}

#[test]
fn rows_that_do_not_fit_a_step_are_refused() {
    let of_values = |device: &Device| {
        let mut engine = device
            .online(&network(), MeanSquaredError, Sgd::new(0.1))
            .unwrap();
        let mut told = Vec::new();
        for ([rows_of_x, columns], [rows_of_y, outputs]) in [
            ([5, 2], [5, 2]),
            ([5, 4], [5, 2]),
            ([5, 0], [5, 2]),
            ([0, 3], [0, 2]),
            ([0, 0], [0, 0]),
            ([5, 3], [4, 2]),
            ([5, 3], [6, 2]),
            ([5, 3], [5, 1]),
            ([5, 3], [5, 3]),
            ([5, 3], [0, 2]),
        ] {
            let x = rows(rows_of_x, columns);
            let y = rows(rows_of_y, outputs);
            let weights = vec![1.0; rows_of_x];
            let targets = Targets::Values(y.view());
            told.extend(step(&mut *engine, x.view(), targets, &weights));
        }
        let x = rows(5, 3);
        let y = rows(5, 2);
        let targets = Targets::Classes(&[0, 1, 0, 1, 0]);
        told.extend(step(&mut *engine, x.view(), targets, &[1.0; 5]));
        for weights in [
            &[][..],
            &[1.0; 4],
            &[1.0; 6],
            &[f32::NAN; 5],
            &[1.0, 1.0, 1.0, 1.0, f32::INFINITY],
            &[f32::NEG_INFINITY; 5],
        ] {
            let targets = Targets::Values(y.view());
            let x = x.view();
            told.push(text(engine.step_on_weighted(x, targets, weights)));
            told.push(text(engine.advance_on_weighted(x, targets, weights)));
        }
        assert!(told.iter().all(|text| text != "no error"), "{told:#?}");
        assert_eq!(engine.steps_taken(), 0);
        engine.step_on(x.view(), Targets::Values(y.view())).unwrap();
        told
    };
    same(of_values);
    let of_classes = |device: &Device| {
        let mut engine = device
            .online(&network(), SoftmaxCrossEntropy, Sgd::new(0.1))
            .unwrap();
        let x = rows(3, 3);
        let mut told = Vec::new();
        for labels in [&[][..], &[0, 1], &[0, 1, 0, 1], &[0, 1, 2], &[u32::MAX; 3]] {
            let targets = Targets::Classes(labels);
            told.extend(step(&mut *engine, x.view(), targets, &[1.0; 3]));
        }
        let y = rows(3, 2);
        told.extend(step(
            &mut *engine,
            x.view(),
            Targets::Values(y.view()),
            &[1.0; 3],
        ));
        assert!(told.iter().all(|text| text != "no error"), "{told:#?}");
        told
    };
    same(of_classes);
}

/// Unusual but valid rows are accepted: rows with weights of 0, from which nothing is learned, and rows in another
/// memory order.
#[test]
fn odd_rows_that_fit_are_taken() {
    for device in devices() {
        let mut engine = device
            .online(&network(), MeanSquaredError, Sgd::new(0.1))
            .unwrap();
        let before = engine.parameters().unwrap();
        let x = rows(5, 3);
        let y = rows(5, 2);
        let targets = Targets::Values(y.view());
        let loss = engine.step_on_weighted(x.view(), targets, &[0.0; 5]);
        assert_eq!(loss.unwrap(), 0.0);
        assert_eq!(engine.parameters().unwrap(), before);
        let columns_first = x.t().as_standard_layout().to_owned();
        let loss = engine.step_on(columns_first.t(), targets).unwrap();
        engine.set_parameters(&before).unwrap();
        assert_eq!(engine.step_on(x.view(), targets).unwrap(), loss);
        // These views have gaps, and their rows are in reverse order.
        let wide = rows(10, 6);
        let part = wide.slice(wgrad::ndarray::s![..;-2, ..;2]);
        engine.set_parameters(&before).unwrap();
        let loss = engine.step_on(part, targets).unwrap();
        engine.set_parameters(&before).unwrap();
        let copy = part.to_owned();
        assert_eq!(engine.step_on(copy.view(), targets).unwrap(), loss);
        assert_eq!(
            engine.predict(part).unwrap(),
            engine.predict(copy.view()).unwrap()
        );
    }
}

#[test]
fn rows_that_are_no_numbers_are_refused_and_too_large_ones_a_divergence() {
    let told = same(|device| {
        let mut engine = device
            .online(&network(), MeanSquaredError, Sgd::new(0.1))
            .unwrap();
        let mut x = rows(5, 3);
        let y = rows(5, 2);
        let targets = || Targets::Values(y.view());
        x[[2, 1]] = f32::NAN;
        let no_number = text(engine.step_on(x.view(), targets()));
        x.fill(0.5);
        let mut infinite = y.clone();
        infinite[[4, 0]] = f32::INFINITY;
        let of_targets = text(engine.step_on(x.view(), Targets::Values(infinite.view())));
        engine.step_on(x.view(), targets()).unwrap();
        x.fill(f32::MAX);
        let told = text(engine.step_on(x.view(), targets()));
        let file = tempfile::tempdir().unwrap();
        [
            no_number,
            of_targets,
            told,
            text(engine.step_on(rows(5, 3).view(), targets())),
            text(engine.steps(1)),
            text(engine.average(0.5)),
            text(engine.keep_if_best(0.5)),
            text(engine.save(&file.path().join("diverged.safetensors"))),
        ]
    });
    assert!(
        told[0].contains("row 2 of x must be finite in every column; it is NaN"),
        "{}",
        told[0]
    );
    assert!(told[1].contains("row 4 of the targets"), "{}", told[1]);
}

#[test]
fn what_is_predicted_and_evaluated_fits_the_network() {
    let told = same(|device| {
        let sampling = Sampling::Shuffled { seed: 1 };
        let loss = SoftmaxCrossEntropy;
        let sgd = Sgd::new(0.1);
        let examples = classes(10, 2);
        let mut engine = device
            .trainer(&network(), loss, sgd, examples.clone(), 5, sampling)
            .unwrap();
        let none = engine.predict(rows(0, 3).view()).unwrap();
        assert_eq!(none.dim(), (0, 2));
        let told = [
            text(engine.predict(rows(5, 2).view())),
            text(engine.predict(rows(5, 4).view())),
            text(engine.predict(rows(0, 4).view())),
            text(engine.predict(rows(5, 0).view())),
            text(engine.evaluate(&values(5, 3, 2))),
            text(engine.evaluate(&classes(5, 3))),
            text(engine.predictions(&values(5, 3, 2))),
            text(engine.predictions(&classes(5, 3))),
            text(engine.losses(1)),
            text(engine.losses(usize::MAX)),
            text(engine.parameter("layers.1.weight")),
        ];
        assert!(told.iter().all(|text| text != "no error"), "{told:#?}");
        let outputs = engine.predict(rows(5, 3).view()).unwrap();
        assert_eq!(outputs.dim(), (5, 2));
        told
    });
    assert!(told[0].contains("input of the network"), "{}", told[0]);
}

/// Tests invalid settings of a training.
#[test]
fn a_training_that_cannot_be_is_refused() {
    same(|device| {
        let make = |examples: Examples, batch, sampling| {
            let loss = MeanSquaredError;
            let adam = Adam::new(0.1);
            text(device.trainer(&network(), loss, adam, examples, batch, sampling))
        };
        let shuffled = || Sampling::Shuffled { seed: 1 };
        let blocks = || Stream::new([Ok::<_, Error>(table())], 10, 1);
        let streamed = |stream, batch| {
            text(device.streamed(&network(), MeanSquaredError, Sgd::new(0.1), stream, batch))
        };
        let told = [
            make(values(10, 3, 2), 0, shuffled()),
            make(values(10, 3, 2), 11, shuffled()),
            make(values(10, 4, 2), 5, shuffled()),
            make(values(10, 3, 1), 5, shuffled()),
            make(classes(10, 2), 5, shuffled()),
            make(values(10, 3, 2), 5, Sampling::Listed(vec![0, 10])),
            make(values(10, 3, 2), 5, Sampling::Listed(Vec::new())),
            text(device.online(&network(), MeanSquaredError, Sgd::new(f32::NAN))),
            text(device.online(&Sequential::input(3), MeanSquaredError, Sgd::new(0.1))),
            streamed(blocks(), 0),
            streamed(Stream::new([Ok::<_, Error>(table())], 0, 1), 5),
        ];
        assert!(told.iter().all(|text| text != "no error"), "{told:#?}");
        told
    });
}

fn table() -> Table {
    Table::regression("values", rows(10, 3).view(), rows(10, 2).view()).unwrap()
}

#[test]
fn what_cannot_be_changed_is_refused() {
    let settings = |engine: &mut dyn Train| {
        let taken = engine.steps_taken();
        let told = vec![
            text(engine.set_learning_rate(f32::NAN)),
            text(engine.set_learning_rate(-1.0)),
            text(engine.set_optimizer(Box::new(Adam::new(f32::INFINITY)))),
            text(engine.set_group("nothing", Group::new())),
            text(engine.set_group("*", Group::new().rate(f32::NAN))),
            text(engine.freeze("*")),
            text(engine.freeze("nothing")),
            text(engine.unfreeze("nothing")),
            text(engine.accumulate(0)),
            text(engine.accumulate(usize::MAX)),
            text(engine.average(1.0)),
            text(engine.average(f32::NAN)),
            text(engine.restore_best()),
            text(engine.set_parameter("nothing", ArrayD::zeros(vec![3, 4]).view())),
            text(engine.set_parameter("layers.0.weight", ArrayD::zeros(vec![4, 3]).view())),
            text(engine.set_parameters(&parameters([]))),
            text(engine.set_parameters(&parameters([("nothing", ArrayD::zeros(vec![1]))]))),
            text(engine.set_state(&parameters([("nothing", ArrayD::zeros(vec![1]))]))),
            text(engine.set_weights(b"no file")),
            text(engine.set_safetensors_with(b"no file", Changes::new())),
            text(engine.resume_with(Path::new("/nowhere/file"), Changes::new())),
            text(engine.save(Path::new("/nowhere/file"))),
        ];
        assert!(told.iter().all(|text| text != "no error"), "{told:#?}");
        assert!(!engine.keep_if_best(f64::NAN).unwrap());
        assert_eq!((engine.best(), engine.steps_taken()), (None, taken));
        assert_eq!(engine.averaged().unwrap(), None);
        told
    };
    same(|device| {
        let sampling = Sampling::Shuffled { seed: 1 };
        let loss = MeanSquaredError;
        let sgd = Sgd::new(0.1);
        let mut engine = device
            .trainer(&network(), loss, sgd, values(10, 3, 2), 5, sampling)
            .unwrap();
        let told = settings(&mut *engine);
        assert_eq!(engine.steps(2).unwrap().len(), 2);
        told
    });
    // A trainer without its own examples refuses any number of steps, even zero.
    let told = same(|device| {
        let loss = MeanSquaredError;
        let sgd = Sgd::new(0.1);
        let mut engine = device.online(&network(), loss, sgd).unwrap();
        let mut told = settings(&mut *engine);
        told.extend([0, 1, usize::MAX].map(|count| text(engine.steps(count))));
        told.extend([0, 1, usize::MAX].map(|count| text(engine.advance(count))));
        told.push(text(engine.accumulate(2)));
        assert_eq!((engine.is_finished(), engine.rows_left()), (false, None));
        told
    });
    let of_steps = &told[told.len() - 7..];
    assert!(
        of_steps[..6]
            .iter()
            .all(|text| text.contains("data set of the trainer")),
        "{of_steps:#?}"
    );
}

/// One call cannot encode more steps into the program's own compute pass than there are coefficients of steps on the
/// device.
#[test]
fn more_steps_than_a_pass_can_have_are_refused() {
    let model = network().build(gpu()).unwrap();
    let loss = MeanSquaredError;
    let adam = Adam::new(0.1);
    let sampling = Sampling::Shuffled { seed: 1 };
    let mut trainer = Trainer::new(model, loss, adam, &table(), 5, sampling).unwrap();
    let mut encoder = gpu().device().create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    let refused = text(trainer.encode(16_385, &mut pass));
    assert!(refused.contains("at most 16384"), "{refused}");
    assert_eq!(trainer.steps_taken(), 0);
}

/// Tests tensors of the program that do not fit the training.
#[test]
fn tensors_that_do_not_fit_are_refused() {
    let tensor = |shape: [usize; 2], element| Tensor::zeros(gpu(), "rows", shape, element);
    let float = |shape| tensor(shape, Element::F32);
    let external = |batch: Batch| {
        let model = network().build(gpu()).unwrap();
        text(Trainer::external(
            model,
            MeanSquaredError,
            Sgd::new(0.1),
            batch,
        ))
    };
    let x = float([5, 3]).unwrap();
    let y = float([5, 2]).unwrap();
    for (x, y) in [
        (&x, &x),
        (&y, &y),
        (&tensor([5, 3], Element::U32).unwrap(), &y),
        (&x, &tensor([5, 2], Element::U32).unwrap()),
        (&x, &float([4, 2]).unwrap()),
    ] {
        assert_ne!(external(Batch::new(x, y)), "no error");
    }
    for weights in [[1, 4], [5, 1]] {
        let weights = float(weights).unwrap();
        assert_ne!(external(Batch::new(&x, &y).weights(&weights)), "no error");
    }
    let model = network().build(gpu()).unwrap();
    for (x, rows) in [(&x, 4), (&x, 0), (&y, 5)] {
        assert!(model.pass_over(x, PassSpec::rows_of(rows)).is_err());
    }
    // An empty tensor may be refused. If it is not, a training on it must be refused.
    if let (Ok(x), Ok(y)) = (float([0, 3]), float([0, 2])) {
        assert_ne!(external(Batch::new(&x, &y)), "no error");
        assert!(model.pass_over(&x, PassSpec::rows_of(0)).is_err());
    }
}

/// One call may begin more steps than the number of losses that the device keeps.
#[test]
fn any_number_of_steps_can_be_begun_at_once() {
    const KEPT: usize = 16_384;
    let spec = Sequential::input(3).layer(Linear::new(2)).seed(1);
    let told = devices().map(|device| {
        let loss = MeanSquaredError;
        let adam = Adam::new(0.001);
        let sampling = || Sampling::Shuffled { seed: 1 };
        let make = || device.trainer(&spec, loss, adam, values(4, 3, 2), 2, sampling());
        let [mut at_once, mut waited] = [make().unwrap(), make().unwrap()];
        at_once.advance(KEPT + 100).unwrap();
        assert_eq!(at_once.steps_taken(), KEPT as u64 + 100);
        let losses = waited.steps(KEPT + 100).unwrap();
        assert_eq!(at_once.losses(KEPT).unwrap(), losses[100..]);
        let refused = text(at_once.losses(KEPT + 1));
        assert!(refused.contains("at most 16384"), "{refused}");
        assert_eq!(at_once.parameters().unwrap(), waited.parameters().unwrap());
        refused
    });
    assert_eq!(told[0], told[1]);
}
