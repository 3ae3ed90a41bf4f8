//! Checkpoints of parameters with any number of extents, of layers with state, and of networks that are not chains.

use safetensors::tensor::Dtype;
use wgrad::kernel::Element;
use wgrad::ops::SoftmaxCrossEntropy;
use wgrad::ops::{Adam, Backward, Forward, Layer, LayerSpec, Linear, ParameterSpec, Relu};
use wgrad::plan::Recorder;
use wgrad::reference::{self, Float, Twin};
use wgrad::{CheckpointError, Error, Fusion, Init, Sequential, Shape, Trainer, cpu};

use super::{BATCH, assert_says, dataset, sampling, trainer_of};
use crate::gpu::gpu;
use crate::parts::{Metadata, Tensors, parts, whole};

/// Number of outputs of [`Blocks`].
const OUTPUTS: usize = 6;

/// A linear layer whose weight has three extents, (inputs, 2, outputs / 2), in memory and in files. On the CPU, its
/// state counts the rows of all training steps.
#[derive(Debug, Clone)]
struct Blocks;

impl Layer for Blocks {
    fn name(&self) -> String {
        "Blocks".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        let init = Init::Normal { std: 0.2 };
        let weight = ParameterSpec::new("weight", [input.len(), 2, OUTPUTS / 2], init);
        let bias = ParameterSpec::new("bias", [1, OUTPUTS], Init::Constant(0.25));
        Ok(LayerSpec::new([2, OUTPUTS / 2])
            .parameter(weight)
            .parameter(bias)
            .state(ParameterSpec::new("rows", 1, Init::Zeros)))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        Linear::new(OUTPUTS).forward(recorder, pass)
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        Linear::new(OUTPUTS).backward(recorder, pass)
    }

    fn reference(&self) -> Twin {
        Twin::of(Self)
    }
}

impl<F: Float> reference::Layer<F> for Blocks {
    fn forward(&self, pass: reference::Forward<'_, F>) {
        if let reference::Mode::Training(_) = pass.mode {
            pass.state[0] += F::from_f64(pass.x.nrows() as f64);
        }
        reference::Linear.forward(pass);
    }

    fn backward(&self, pass: reference::Backward<'_, F>) {
        reference::Linear.backward(pass);
    }
}

fn blocks() -> Sequential {
    let network = Sequential::input([3, 16]).layer(Blocks).layer(Relu);
    network.layer(Linear::new(4)).seed(3)
}

fn on_cpu(spec: &Sequential) -> cpu::Trainer<f32> {
    cpu::Trainer::new(
        cpu::Network::<f32>::new(spec).unwrap(),
        SoftmaxCrossEntropy,
        Adam::new(1e-2),
        &dataset(),
        BATCH,
        sampling(),
    )
    .unwrap()
}

fn on_gpu(spec: &Sequential) -> Trainer {
    trainer_of(spec, gpu(), Box::new(Adam::new(1e-2)), Fusion::Auto)
}

/// Returns a checkpoint file after five steps on the CPU.
fn trained() -> Vec<u8> {
    let mut trainer = on_cpu(&blocks());
    trainer.steps(5).unwrap();
    trainer.to_safetensors().unwrap()
}

fn floats(tensors: &Tensors, name: &str) -> (Vec<usize>, Vec<f32>) {
    let (_, _, shape, data) = tensors.iter().find(|tensor| tensor.0 == name).unwrap();
    let elements = data.as_chunks().0.iter();
    (
        shape.clone(),
        elements.map(|&four| f32::from_le_bytes(four)).collect(),
    )
}

#[test]
fn parameters_lie_as_their_layer_says() {
    let mut trainer = on_cpu(&blocks());
    trainer.steps(5).unwrap();
    let (tensors, metadata) = parts(&trainer.to_safetensors().unwrap());
    assert_eq!(metadata["network"], "3×16 → Blocks → Relu → Linear(4)");
    let parameters = trainer.network().parameters();
    for (name, shape) in [
        ("layers.0.weight", vec![48, 2, 3]),
        ("layers.0.bias", vec![1, 6]),
        ("layers.2.bias", vec![4]),
    ] {
        let values: Vec<f32> = parameters[name].iter().copied().collect();
        assert_eq!(floats(&tensors, name), (shape, values), "{name}");
    }
    let transposed: Vec<f32> = parameters["layers.2.weight"].t().iter().copied().collect();
    assert_eq!(
        floats(&tensors, "layers.2.weight"),
        (vec![4, 6], transposed)
    );
    for name in ["mean", "square"].map(|role| format!("optimizer.{role}.layers.0.weight")) {
        assert_eq!(floats(&tensors, &name).0, [48, 2, 3], "{name}");
    }
    assert_eq!(
        floats(&tensors, "layers.0.rows"),
        (vec![1], vec![5.0 * BATCH as f32])
    );
    // `rows` is not a parameter, so the optimizer has no state for it.
    let of_state = tensors.iter().filter(|tensor| tensor.0.ends_with("rows"));
    assert_eq!(of_state.count(), 1);
}

#[test]
fn state_is_saved_and_loaded_with_the_weights() {
    let mut first = on_cpu(&blocks());
    first.steps(5).unwrap();
    let saved = first.to_safetensors().unwrap();
    let losses = first.steps(5).unwrap();

    let mut second = on_cpu(&blocks());
    second.set_safetensors(&saved).unwrap();
    assert!(second.to_safetensors().unwrap() == saved);
    assert_eq!(second.steps(5).unwrap(), losses);
    assert!(second.to_safetensors().unwrap() == first.to_safetensors().unwrap());

    let mut of_weights = on_cpu(&blocks());
    of_weights.set_weights(&saved).unwrap();
    assert_eq!(of_weights.network().state()["layers.0.rows"][0], 40.0);

    // The GPU accepts the file, and writes the same file.
    let mut third = on_gpu(&blocks());
    third.set_safetensors(&saved).unwrap();
    assert!(third.to_safetensors().unwrap() == saved);
    let mut model = blocks().seed(9).build(gpu()).unwrap();
    model.set_safetensors(&saved).unwrap();
    assert_eq!(model.state().unwrap()["layers.0.rows"][0], 40.0);
    let weights = model.to_safetensors().unwrap();
    let (mut expected, _) = parts(&saved);
    expected.retain(|tensor| !tensor.0.starts_with("optimizer."));
    assert_eq!(parts(&weights).0, expected);
}

#[test]
fn state_that_is_missing_or_wrong_is_told() {
    let refused = |edit: &dyn Fn(&mut Tensors)| {
        let (mut tensors, metadata) = parts(&trained());
        edit(&mut tensors);
        let bytes = whole((tensors, metadata));
        let mut trainer = on_cpu(&blocks());
        let before = trainer.to_safetensors().unwrap();
        for result in [trainer.set_safetensors(&bytes), trainer.set_weights(&bytes)] {
            assert!(matches!(result, Err(Error::Checkpoint(_))), "{result:?}");
        }
        assert!(trainer.to_safetensors().unwrap() == before);
        trainer.set_weights(&bytes).unwrap_err().to_string()
    };
    let at = |tensors: &Tensors| tensors.iter().position(|t| t.0 == "layers.0.rows").unwrap();
    let message = refused(&|tensors| drop(tensors.remove(at(tensors))));
    assert_says(
        &message,
        &["layers.0.rows, of shape [1], is missing", "the file has"],
    );
    let message = refused(&|tensors| {
        let at = at(tensors);
        tensors[at].2 = vec![1, 1];
    });
    assert_says(
        &message,
        &["layers.0.rows: expected shape [1], found [1, 1]"],
    );
    let message = refused(&|tensors| {
        let at = at(tensors);
        tensors[at].3 = f32::NAN.to_le_bytes().to_vec();
    });
    assert_says(&message, &["layers.0.rows", "NaN"]);
}

#[test]
fn parameters_of_another_rank_are_told() {
    let (mut tensors, metadata) = parts(&trained());
    let weight = tensors
        .iter_mut()
        .find(|t| t.0 == "layers.0.weight")
        .unwrap();
    weight.2 = vec![48, 6];
    let mut trainer = on_cpu(&blocks());
    let message = trainer.set_weights(&whole((tensors, metadata)));
    let message = message.unwrap_err().to_string();
    assert_says(
        &message,
        &["layers.0.weight: expected shape [48, 2, 3], found [48, 6]"],
    );
    assert!(!message.contains("transposed"), "{message}");
}

/// Returns a network with a skip connection, a concatenation and a layer that is used twice.
fn branched() -> Sequential {
    let shared: std::sync::Arc<dyn Layer> = std::sync::Arc::new(Linear::new(7));
    let network = Sequential::input(48).layer(Linear::new(7)).named("first");
    let network = network.layer(shared.clone()).layer(Relu).layer(shared);
    network
        .add("first")
        .concat("first")
        .layer(Linear::new(4))
        .seed(5)
}

#[test]
fn a_network_that_is_no_chain_is_saved_and_told_apart() {
    let mut first = on_gpu(&branched());
    first.steps(4).unwrap();
    let saved = first.to_safetensors().unwrap();
    let (tensors, metadata) = parts(&saved);
    let names: Vec<&str> = tensors.iter().map(|tensor| &*tensor.0).collect();
    let weights: Vec<&&str> = names
        .iter()
        .filter(|name| name.starts_with("layers."))
        .collect();
    let expected = [0, 1, 4].map(|at| [format!("layers.{at}.bias"), format!("layers.{at}.weight")]);
    assert!(weights.into_iter().eq(expected.as_flattened()), "{names:?}");
    let line = "48 → Linear(7) → Linear(7) → Relu → Linear(7) (layers.1 again) → + layers.0 → \
        [values.5, layers.0] → Linear(4)";
    assert_eq!(metadata["network"], line);

    let mut second = on_cpu(&branched());
    second.set_safetensors(&saved).unwrap();
    assert!(second.to_safetensors().unwrap() == saved);
    let expected = first.steps(1).unwrap()[0];
    let found = second.steps(1).unwrap()[0];
    // The rounding error of a forward pass with fewer than a hundred sums and products.
    assert!((found - expected).abs() < 1e-5, "{found} {expected}");

    // This network has the same layers and shapes, but its values are connected in another way.
    let network = Sequential::input(48).layer(Linear::new(7)).named("first");
    let network = network
        .layer(Linear::new(7))
        .layer(Relu)
        .layer(Linear::new(7));
    let other = network.concat("first").layer(Linear::new(4)).seed(5);
    let refused = on_cpu(&other).set_weights(&saved);
    let Err(Error::Checkpoint(CheckpointError::Network { expected, found })) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        found.contains("again") && !expected.contains("again"),
        "{expected}, {found}"
    );
}

#[test]
fn weights_of_another_program_are_taken_in_any_rank() {
    let mut model = blocks().build(gpu()).unwrap();
    let f64s = |values: &[f64]| {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    };
    let weight: Vec<f64> = (0..48 * 6).map(|at| f64::from(at) / 8.0).collect();
    let tensors: Tensors = vec![
        (
            "layers.0.weight".to_owned(),
            Dtype::F64,
            vec![48, 2, 3],
            f64s(&weight),
        ),
        (
            "layers.0.bias".to_owned(),
            Dtype::F64,
            vec![1, 6],
            f64s(&[0.5; 6]),
        ),
        (
            "layers.0.rows".to_owned(),
            Dtype::F64,
            vec![1],
            f64s(&[3.0]),
        ),
        (
            "layers.2.weight".to_owned(),
            Dtype::F64,
            vec![4, 6],
            f64s(&[1.0; 24]),
        ),
        (
            "layers.2.bias".to_owned(),
            Dtype::F64,
            vec![4],
            f64s(&[0.0; 4]),
        ),
    ];
    model
        .set_safetensors(&whole((tensors, Metadata::new())))
        .unwrap();
    let taken = model.parameter("layers.0.weight").unwrap();
    assert_eq!(taken.shape(), [48, 2, 3]);
    assert!(
        taken
            .iter()
            .zip(&weight)
            .all(|(&found, &expected)| f64::from(found) == expected)
    );
    // In kernels, the first extent is the rows, and all other extents together are the columns.
    let tensor = model.parameter_tensor("layers.0.weight").unwrap();
    assert_eq!((tensor.dims(), tensor.element()), ([48, 6], Element::F32));
    assert_eq!(model.state().unwrap()["layers.0.rows"][0], 3.0);
}
