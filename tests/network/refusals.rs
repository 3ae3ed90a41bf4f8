//! Networks refuse layers that do not write or record everything that is required.

use wgrad::kernel::{Binding, Kernel};
use wgrad::ops::{Backward, Forward, KeptSpec, Layer, LayerSpec, Linear, Mode, ParameterSpec};
use wgrad::plan::{Cost, Recorder};
use wgrad::reference::Twin;
use wgrad::{Error, Init, Sequential, Shape, cpu};

use crate::gpu::gpu;

const WGSL: &str = "
    @group(0) @binding(0) var<uniform> elements: u32;
    @group(0) @binding(1) var<storage, read> input: array<f32>;
    @group(0) @binding(2) var<storage, read_write> output: array<f32>;
    @compute @workgroup_size(64)
    fn double(@builtin(global_invocation_id) id: vec3u) {
        if (id.x < elements) { output[id.x] = 2.0 * input[id.x]; }
    }";

static DOUBLE: Kernel<u32> = Kernel::new(
    "double",
    WGSL,
    "double",
    &[Binding::read("input"), Binding::write("output")],
);

/// A layer that doubles its input. Most variants leave out one required part.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Double {
    Whole,
    NoForward,
    NoBackward,
    NoForwardInTraining,
    LastElement,
    LastElementBackward,
}

impl Double {
    fn record(recorder: &mut Recorder<'_>, tensors: [&wgrad::tensor::Tensor; 2], less: u32) {
        let elements = u32::try_from(tensors[0].len()).unwrap();
        let count = tensors[0].len();
        recorder.dispatch_each(&DOUBLE, elements - less, &tensors, count, Cost::default());
    }
}

impl Layer for Double {
    fn name(&self) -> String {
        "Double".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        Ok(LayerSpec::new(*input))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        let is_training = matches!(pass.mode, Mode::Training(_));
        match self {
            Self::NoForward => {}
            Self::NoForwardInTraining if is_training => {}
            Self::LastElement => Self::record(recorder, [pass.x, pass.y], 1),
            _ => Self::record(recorder, [pass.x, pass.y], 0),
        }
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        match (self, pass.dx) {
            (_, None) | (Self::NoBackward, _) => {}
            (Self::LastElementBackward, Some(dx)) => Self::record(recorder, [pass.dy, dx], 1),
            (_, Some(dx)) => Self::record(recorder, [pass.dy, dx], 0),
        }
        Ok(())
    }

    fn reference(&self) -> Twin {
        Twin::elementwise(|x| 2.0 * x, |_| 2.0)
    }
}

#[test]
fn what_is_left_out_is_named() {
    for (layer, expected) in [
        (
            Double::NoForward,
            "number of kernels that the forward pass of layers.1, Double, records",
        ),
        (
            Double::NoForwardInTraining,
            "that the forward pass of layers.1, Double, records",
        ),
        (
            Double::NoBackward,
            "number of kernels that the backward pass of layers.1, Double, records",
        ),
        (
            Double::LastElement,
            "output of the forward pass of layers.1, Double, must be all of y (2 × 5)",
        ),
        (
            Double::LastElementBackward,
            "output of the backward pass of layers.1, Double, must be all of dx (2 × 5)",
        ),
    ] {
        let network = Sequential::input(3).layer(Linear::new(5)).layer(layer);
        let error = network
            .layer(Linear::new(2))
            .build(gpu())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{layer:?}: {error}");
    }
}

#[test]
fn what_is_whole_is_taken() {
    let network = Sequential::input(3)
        .layer(Linear::new(5))
        .layer(Double::Whole);
    network.layer(Linear::new(2)).build(gpu()).unwrap();
}

/// A layer that calls a layer of the crate, and leaves out one result.
#[derive(Debug)]
struct Wrapped {
    leaves_out: &'static str,
}

impl Layer for Wrapped {
    fn name(&self) -> String {
        "Wrapped".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        let spec = Linear::new(4).spec(input)?;
        Ok(match self.leaves_out {
            "scale" => spec.kept(KeptSpec::per_batch("scale", 7)),
            _ => spec,
        })
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        Linear::new(4).forward(recorder, pass)
    }

    fn backward(&self, recorder: &mut Recorder<'_>, mut pass: Backward<'_>) -> Result<(), Error> {
        match self.leaves_out {
            "dx" => pass.dx = None,
            "the gradient by bias" => pass.gradients = &pass.gradients[..1],
            _ => {}
        }
        Linear::new(4).backward(recorder, pass)
    }

    fn reference(&self) -> Twin {
        Linear::new(4).reference()
    }
}

/// A layer that uses the crate's own kernels is also checked.
#[test]
fn a_layer_that_wraps_another_is_looked_at() {
    for leaves_out in ["dx", "the gradient by bias", "scale"] {
        let network = Sequential::input(3)
            .layer(Linear::new(5))
            .layer(Wrapped { leaves_out });
        let error = network
            .layer(Linear::new(2))
            .build(gpu())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("Wrapped, must be all of {leaves_out} (")),
            "{error}"
        );
    }
    let network = Sequential::input(3)
        .layer(Linear::new(5))
        .layer(Wrapped { leaves_out: "" });
    network.layer(Linear::new(2)).build(gpu()).unwrap();
}

/// A layer with a state tensor and parameters that have these names and three elements each.
#[derive(Debug)]
pub(super) struct Named(pub(super) &'static [&'static str]);

impl Layer for Named {
    fn name(&self) -> String {
        "Named".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        let parameters = self.0[1..].iter();
        let spec = LayerSpec::new(*input).state(ParameterSpec::new(self.0[0], 3, Init::Auto));
        Ok(parameters.fold(spec, |spec, name| {
            spec.parameter(ParameterSpec::new(name, 3, Init::Auto))
        }))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        Double::record(recorder, [pass.x, pass.y], 0);
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        let outputs = pass.gradients.iter().chain(pass.dx);
        for output in outputs {
            let elements = u32::try_from(output.len()).unwrap();
            recorder.dispatch_each(
                &DOUBLE,
                elements,
                &[pass.dy, output],
                output.len(),
                Cost::default(),
            );
        }
        Ok(())
    }

    fn reference(&self) -> Twin {
        Twin::elementwise(|x| 2.0 * x, |_| 2.0)
    }
}

#[test]
fn names_of_parameters_and_state_are_told_apart() {
    for names in [
        &["mean", "weight", "weight"][..],
        &["weight", "weight"],
        &["", "weight"],
    ] {
        let error = Sequential::input(3)
            .layer(Named(names))
            .build(gpu())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("the state of layers.0, Named, must be not empty, and different"),
            "{error}"
        );
    }
    // If the names are valid, both engines initialize the parameters and the state.
    let network = Sequential::input(3).layer(Named(&["mean", "weight"]));
    network.build(gpu()).unwrap();
    cpu::Network::<f32>::new(&network).unwrap();
}
