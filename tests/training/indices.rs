//! Training on rows of indices: what an embedding learns, and how invalid indices are reported.

use wgrad::data::{Labels, Sampling, Stream, Table, synthetic};
use wgrad::ndarray::{Array2, array};
use wgrad::ops::{Adam, Embedding, Linear, Relu, Sgd, SoftmaxCrossEntropy};
use wgrad::{Device, Error, PassSpec, Sequential, Targets, Train};

use crate::gpu::gpu;

const COUNT: usize = 5;

fn net() -> Sequential {
    let spec = Sequential::input(2)
        .layer(Embedding::new(COUNT, 3))
        .layer(Linear::new(8));
    spec.layer(Relu).layer(Linear::new(COUNT)).seed(3)
}

/// Returns a table with all pairs of indices. The class is their sum modulo 5.
fn table(change: impl Fn(&mut Array2<f32>)) -> Table {
    let mut x = Array2::from_shape_fn((25, 2), |(row, column)| {
        let index = if column == 0 {
            row / COUNT
        } else {
            row % COUNT
        };
        index as f32
    });
    let labels = x
        .outer_iter()
        .map(|row| (row[0] + row[1]) as u32 % COUNT as u32);
    let labels = Labels::from_classes(labels.collect(), COUNT).unwrap();
    change(&mut x);
    Table::classification("pairs", x.view(), labels).unwrap()
}

fn devices() -> [Device; 2] {
    [
        Device::cpu("a test"),
        Device::with_gpu(gpu().clone(), "a test"),
    ]
}

fn trainer(device: &Device, table: &Table) -> Result<Box<dyn Train>, Error> {
    let sampling = Sampling::Shuffled { seed: 2 };
    device.trainer(
        &net(),
        SoftmaxCrossEntropy,
        Adam::new(0.02),
        table,
        25,
        sampling,
    )
}

#[test]
fn a_table_of_rows_is_learned() {
    for device in devices() {
        let table = table(|_| {});
        let mut training = trainer(&device, &table).unwrap();
        let before = training.parameter("layers.0.weight").unwrap();
        training.steps(400).unwrap();
        let evaluation = training.evaluate(&table).unwrap();
        assert_eq!(evaluation.accuracy, Some(1.0), "{device:?}");
        let after = training.parameter("layers.0.weight").unwrap();
        let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        assert_eq!(changed, COUNT * 3, "{device:?}");

        let mut again = trainer(&device, &table).unwrap();
        again.steps(400).unwrap();
        let bytes = [&again, &training].map(|of| of.to_safetensors().unwrap());
        assert!(bytes[0] == bytes[1], "{device:?}: other bits");
    }
}

#[track_caller]
fn assert_refused<T>(result: Result<T, Error>, expected: &[&str]) {
    let Err(error) = result else {
        panic!("{expected:?}: taken");
    };
    let text = format!(
        "{error} {:?}",
        std::error::Error::source(&error).map(ToString::to_string)
    );
    for part in expected {
        assert!(text.contains(part), "\"{text}\" does not say {part}");
    }
}

#[test]
fn what_is_no_index_is_told_with_its_place_wherever_rows_are_given() {
    let allowed = "an integer from 0 to 4, an index for layers.0, Embedding(5, 3)";
    for device in devices() {
        for wrong in [5.0, -1.0, 1.5] {
            let bad = table(|x| x[[7, 1]] = wrong);
            let words = &["row 7, column 1 of pairs", allowed, &wrong.to_string()];
            assert_refused(trainer(&device, &bad), words);
            let mut training = trainer(&device, &table(|_| {})).unwrap();
            assert_refused(training.evaluate(&bad), words);
            assert_refused(training.predictions(&bad), words);
            let x = array![[0.0, 1.0], [wrong, 2.0]];
            let words = &["row 1, column 0 of x", allowed];
            assert_refused(training.predict(x.view()), words);
            let targets = Targets::Classes(&[0, 1]);
            assert_refused(training.step_on(x.view(), targets), words);
        }
        let digits = synthetic::digits_of(1, 10, 10).unwrap().train;
        let spec = Sequential::input(784)
            .layer(Embedding::new(256, 2))
            .layer(Linear::new(10));
        let sampling = Sampling::Shuffled { seed: 2 };
        let loss = SoftmaxCrossEntropy;
        let optimizer = Sgd::new(0.1);
        let result = device.trainer(&spec, loss, optimizer, &digits, 5, sampling);
        assert_refused(result, &["indices below 256", "bytes", "in a Table"]);
    }
}

#[test]
fn what_is_no_index_is_told_of_passes_and_streams() {
    let x = array![[0.0, 1.0], [9.0, 2.0]];
    let words = &["row 1, column 0 of x", "from 0 to 4"];
    let network = net().on_cpu().unwrap();
    assert_refused(network.pass(2).unwrap().set_x(x.view()), words);
    let model = net().build(gpu()).unwrap();
    assert_refused(model.pass(2).unwrap().set_x(x.view()), words);
    assert_refused(model.activations(x.view()), words);
    assert_refused(network.activations(x.view()), words);
    let blocks = || {
        let good = table(|_| {});
        let bad = table(|x| x[[3, 0]] = 5.0);
        Stream::new([good, bad].map(Ok::<Table, Error>), 25, 1)
    };
    let words = &["block 1", "row 3, column 0 of pairs", "from 0 to 4"];
    let loss = SoftmaxCrossEntropy;
    let optimizer = Sgd::new(0.1);
    let mut trainer = wgrad::Trainer::streamed(model, loss, optimizer, blocks(), 5).unwrap();
    assert_refused(trainer.steps(10), words);
    let mut trainer = wgrad::cpu::Trainer::streamed(network, loss, optimizer, blocks(), 5).unwrap();
    assert_refused(trainer.steps(10), words);
}

/// The crate does not check the contents of a tensor that the program writes on the GPU. Rows with invalid indices give
/// NaN, and do not change the table.
#[test]
fn what_is_no_index_in_a_tensor_is_nan() {
    let mut model = net().build(gpu()).unwrap();
    let mut pass = model.pass(PassSpec::rows_of(2).with_dx()).unwrap();
    gpu()
        .write(pass.x(), &[0.0f32, 1.0, 5.0, f32::NAN])
        .unwrap();
    pass.forward(&mut model).unwrap();
    let y = pass.read_y().unwrap();
    assert!(y.row(0).iter().all(|y| y.is_finite()), "{y}");
    assert!(y.row(1).iter().all(|y| y.is_nan()), "{y}");
    pass.set_dy(Array2::ones((2, COUNT)).view()).unwrap();
    pass.backward(&model).unwrap();
    let dx = pass.read_dx().unwrap().unwrap();
    assert!(dx.iter().all(|&dx| dx == 0.0), "an index has no gradient");
    let gradients = pass.read_gradients().unwrap();
    for index in 2..COUNT {
        let row = gradients["layers.0.weight"].index_axis(wgrad::ndarray::Axis(0), index);
        assert!(row.iter().all(|&of| of == 0.0), "{row}");
    }
}

#[test]
fn indices_are_read_from_an_input_alone() {
    let spec = Sequential::input(2)
        .layer(Linear::new(2))
        .layer(Embedding::new(COUNT, 3));
    let error = spec.output().unwrap_err().to_string();
    let words = "input of layers.1, Embedding(5, 3), must be an input of the network";
    assert!(
        error.starts_with(words) && error.contains("layers.0"),
        "{error}"
    );
    for (layer, words) in [
        (
            Embedding::new(0, 3),
            ["number of rows of the table", "1 to 16777216"],
        ),
        (
            Embedding::new((1 << 24) + 1, 3),
            ["number of rows of the table", "it is 16777217"],
        ),
        (Embedding::new(3, 0), ["width", "at least 1"]),
    ] {
        let refused = Sequential::input(2).layer(layer).output();
        assert_refused(refused, &words);
    }
}
