//! Networks that cannot be exported. The error says why.

use wgrad::ops::{Backward, Forward, HashGrid, Layer, LayerSpec, Linear, Relu};
use wgrad::plan::Recorder;
use wgrad::reference::Twin;
use wgrad::{Error, Sequential, Shape, onnx::OnnxError};

/// A layer from outside the crate. It cannot be exported, although it computes the same as [`Relu`].
#[derive(Debug)]
struct Stranger;

impl Layer for Stranger {
    fn name(&self) -> String {
        "Stranger(7)".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        Relu.spec(input)
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        Layer::forward(&Relu, recorder, pass)
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        Layer::backward(&Relu, recorder, pass)
    }

    fn reference(&self) -> Twin {
        Relu.reference()
    }
}

#[test]
fn a_layer_from_outside_is_named() {
    let network = Sequential::input(3).layer(Linear::new(2)).layer(Stranger);
    let network = network.layer(Linear::new(1)).on_cpu().unwrap();
    let error = network.to_onnx().unwrap_err();
    let Error::Onnx(OnnxError::Layer { index, name }) = &error else {
        panic!("{error}")
    };
    assert_eq!((*index, &**name), (1, "Stranger(7)"));
    let text = error.to_string();
    for part in [
        "layers.1, Stranger(7),",
        "expected a layer of wgrad::ops",
        "found a layer from outside",
        "Put",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("network.onnx");
    assert!(network.export_onnx(&path).is_err());
    assert!(!path.exists());
}

#[test]
fn a_layer_without_an_operator_is_named() {
    let network = Sequential::input(2).layer(HashGrid::new().levels(2));
    let error = network.on_cpu().unwrap().to_onnx().unwrap_err();
    let Error::Onnx(OnnxError::NoOperator { index, name }) = &error else {
        panic!("{error}")
    };
    assert_eq!(*index, 0);
    assert!(name.starts_with("HashGrid(2 levels"), "{name}");
    let text = error.to_string();
    assert!(
        text.contains("layers.0, HashGrid(2")
            && text.contains("Export only the part of the network after this layer")
    );
}

/// Boxed and shared layers are exported like the layers inside them.
#[test]
fn a_layer_of_the_crate_is_known_in_a_box() {
    let boxed: Box<dyn Layer> = Box::new(Relu);
    let network = Sequential::input(3).layer(Linear::new(2)).layer(boxed);
    assert!(network.on_cpu().unwrap().to_onnx().is_ok());
}

#[test]
fn numbers_that_are_not_finite_are_named() {
    let spec = Sequential::input(3)
        .layer(Linear::new(2))
        .layer(Linear::new(1));
    for bad in [f32::NAN, f32::NEG_INFINITY] {
        let mut network = spec.on_cpu().unwrap();
        let mut weight = network.parameter("layers.1.weight").unwrap();
        weight[[1, 0]] = bad;
        network
            .set_parameter("layers.1.weight", weight.view())
            .unwrap();
        let error = network.to_onnx().unwrap_err();
        let Error::Onnx(OnnxError::NotFinite { name, found }) = &error else {
            panic!("{error}")
        };
        assert_eq!(name, "layers.1.weight");
        assert!(found.is_nan() && bad.is_nan() || *found == bad);
    }
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let network = Sequential::input(3).layer(Linear::new(2)).on_cpu().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("absent/network.onnx");
    let error = network.export_onnx(&path).unwrap_err();
    assert!(matches!(error, Error::Onnx(OnnxError::Write(_))), "{error}");
    assert!(error.to_string().contains("absent"), "{error}");
}
