//! Tests of networks that are trained on both engines. Some of the layers have state, and some save values in the
//! forward pass for the backward pass.

use wgrad::data::{Labels, Sampling, Table};
use wgrad::ndarray::Array2;
use wgrad::ops::{Linear, Relu, Sgd, SoftmaxCrossEntropy, Tanh};
use wgrad::{Parameters, Sequential, Trainer, cpu};

use crate::batch_norm::BatchNorm;
use crate::gpu::{Numbers, gpu};
use crate::layer_norm::LayerNorm;

const CLASSES: usize = 3;
const FEATURES: usize = 12;
pub(crate) const BATCH: usize = 32;
pub(crate) const SAMPLING: Sampling = Sampling::Shuffled { seed: 2 };

/// Returns rows of three channels whose values have very different magnitudes. The class depends on the signs of two
/// channels and of their product.
pub(crate) fn table(rows: usize) -> Table {
    let mut numbers = Numbers::new(1);
    let x = Array2::from_shape_simple_fn((rows, FEATURES), || numbers.uniform());
    let class = |row: usize| {
        let a = x[[row, 0]];
        let b = x[[row, 5]];
        u32::from(a * b > 0.0) + u32::from(a > 0.0 && b > 0.0)
    };
    let labels = Labels::from_classes((0..rows).map(class).collect(), CLASSES).unwrap();
    let scaled = Array2::from_shape_fn((rows, FEATURES), |(row, column)| {
        let scale = [0.1, 1.0, 30.0][column / 4];
        x[[row, column]] * scale + scale
    });
    Table::classification("signs", scaled.view(), labels).unwrap()
}

/// Returns a network that normalizes the channels of an image, and features before and after dense layers.
pub(crate) fn normalized() -> Sequential {
    let network = Sequential::input([3, 2, 2]).layer(BatchNorm::good());
    let network = network
        .layer(Linear::new(24))
        .layer(LayerNorm::good())
        .layer(Tanh);
    let network = network
        .layer(Linear::new(16))
        .layer(BatchNorm::good())
        .layer(Relu);
    network.layer(Linear::new(CLASSES)).seed(7)
}

/// Returns a network with a residual block: the input of dense layers is added to their output.
fn residual() -> Sequential {
    let network = Sequential::input(FEATURES)
        .layer(BatchNorm::good())
        .layer(Linear::new(16));
    let network = network.named("skip").layer(LayerNorm::good()).layer(Relu);
    let network = network
        .layer(Linear::new(16))
        .add("skip")
        .layer(BatchNorm::good())
        .layer(Tanh);
    network.layer(Linear::new(CLASSES)).seed(5)
}

fn trainer(network: &Sequential, table: &Table) -> Trainer {
    let model = network.build(gpu()).unwrap();
    let optimizer = Sgd::new(0.1).momentum(0.9);
    Trainer::new(
        model,
        SoftmaxCrossEntropy,
        optimizer,
        table,
        BATCH,
        SAMPLING,
    )
    .unwrap()
}

/// Asserts that the parameters of two engines are close. The engines round in different orders, and each step amplifies
/// the difference.
fn assert_near(case: &str, found: &Parameters, expected: &Parameters) {
    assert_eq!(found.len(), expected.len(), "{case}");
    for ((name, found), (of, expected)) in found.iter().zip(expected.iter()) {
        assert_eq!(name, of, "{case}");
        let largest = expected.iter().fold(0.0, |a: f32, b| a.max(b.abs()));
        for (found, expected) in found.iter().zip(expected) {
            let is_near = (found - expected).abs() <= 1e-3 * largest + 1e-5;
            assert!(is_near, "{case}, {name}: {found} and {expected}");
        }
    }
}

fn mean(losses: &[f32]) -> f32 {
    losses.iter().sum::<f32>() / losses.len() as f32
}

fn check(network: &Sequential, state: usize) {
    let table = table(320);
    let mut on_gpu = trainer(network, &table);
    let optimizer = Sgd::new(0.1).momentum(0.9);
    let mut on_cpu = cpu::Trainer::new(
        cpu::Network::<f32>::new(network).unwrap(),
        SoftmaxCrossEntropy,
        optimizer,
        &table,
        BATCH,
        SAMPLING,
    )
    .unwrap();
    let before = on_gpu.model().state().unwrap();
    assert_eq!(before.len(), state);
    let losses = on_gpu.steps(20).unwrap();
    for (step, (found, expected)) in losses.iter().zip(on_cpu.steps(20).unwrap()).enumerate() {
        assert!(
            (found - expected).abs() <= 1e-3,
            "step {step}: {found} and {expected}"
        );
    }
    let parameters = on_gpu.model().parameters().unwrap();
    assert_near("parameters", &parameters, &on_cpu.network().parameters());
    let after = on_gpu.model().state().unwrap();
    assert_near("state", &after, &on_cpu.network().state());
    for ((name, before), (_, after)) in before.iter().zip(after.iter()) {
        assert!(
            before.iter().zip(after).all(|(a, b)| a != b),
            "{name}: {before} and {after}"
        );
    }
    // An evaluation or a gradient does not count as a training step.
    let on_both = [
        on_gpu.evaluate(&table).unwrap(),
        on_cpu.evaluate(&table).unwrap(),
    ];
    assert!(
        (on_both[0].loss - on_both[1].loss).abs() <= 1e-3,
        "{on_both:?}"
    );
    assert_eq!(on_gpu.model().state().unwrap(), after);

    let more = on_gpu.steps(80).unwrap();
    let first = mean(&losses[..5]);
    let last = mean(&more[70..]);
    assert!(last < 0.5 * first, "{first} and {last}");
    assert!(on_gpu.evaluate(&table).unwrap().accuracy > Some(0.85));
}

#[test]
fn a_network_of_normalized_values_is_trained() {
    check(&normalized(), 4);
}

#[test]
fn a_residual_block_of_normalized_values_is_trained() {
    check(&residual(), 4);
}

/// State is saved with the weights. A resumed training has the same bits as an uninterrupted one.
#[test]
fn state_is_saved_and_resumed() {
    let table = table(320);
    let mut whole = trainer(&normalized(), &table);
    whole.steps(13).unwrap();
    let file = whole.to_safetensors().unwrap();
    let mut resumed = trainer(&normalized(), &table);
    resumed.set_safetensors(&file).unwrap();
    let [state, of_resumed] = [&whole, &resumed].map(|t| t.model().state().unwrap());
    assert_eq!(state, of_resumed);
    assert!(state.names().eq([
        "layers.0.running_mean",
        "layers.0.running_variance",
        "layers.5.running_mean",
        "layers.5.running_variance"
    ]));
    assert_eq!(whole.steps(9).unwrap(), resumed.steps(9).unwrap());
    for both in [&whole, &resumed].map(|t| (t.model().state(), t.model().parameters())) {
        assert_eq!(both.0.unwrap(), whole.model().state().unwrap());
        assert_eq!(both.1.unwrap(), whole.model().parameters().unwrap());
    }

    // Loading the weights also loads the state. The other engine also accepts the file.
    let mut model = normalized().seed(1).build(gpu()).unwrap();
    model.set_safetensors(&file).unwrap();
    assert_eq!(model.state().unwrap(), state);
    let optimizer = Sgd::new(0.1).momentum(0.9);
    let mut on_cpu = cpu::Trainer::new(
        cpu::Network::<f32>::new(&normalized()).unwrap(),
        SoftmaxCrossEntropy,
        optimizer,
        &table,
        BATCH,
        SAMPLING,
    );
    let on_cpu = on_cpu.as_mut().unwrap();
    on_cpu.set_safetensors(&file).unwrap();
    assert_eq!(on_cpu.network().state(), state);
    on_cpu.steps(9).unwrap();
    assert_near(
        "on the CPU",
        &whole.model().state().unwrap(),
        &on_cpu.network().state(),
    );
}
