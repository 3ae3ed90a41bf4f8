//! The tensor shapes that a layer states are checked before anything is allocated.

use std::sync::Arc;

use wgrad::ops::{Backward, Forward, KeptSpec, Layer, LayerSpec, Linear, ParameterSpec, Relu};
use wgrad::plan::Recorder;
use wgrad::reference::Twin;
use wgrad::{Error, Init, LayerCheck, Sequential, Shape, check_layer};

use crate::gpu::gpu;

/// A shape whose number of elements overflows a `usize`.
const HUGE: [usize; 2] = [1 << 40, 1 << 40];
/// A number of elements that fits in a `usize`, but not in any memory.
const LARGE: usize = 1 << 45;

/// A layer that only has a specification, which states its tensors.
#[derive(Debug, Clone)]
struct Stated(LayerSpec);

impl Layer for Stated {
    fn name(&self) -> String {
        "Stated".to_owned()
    }

    fn spec(&self, _: &Shape) -> Result<LayerSpec, Error> {
        Ok(self.0.clone())
    }

    fn forward(&self, _: &mut Recorder<'_>, _: Forward<'_>) -> Result<(), Error> {
        panic!("what was stated cannot be")
    }

    fn backward(&self, _: &mut Recorder<'_>, _: Backward<'_>) -> Result<(), Error> {
        panic!("what was stated cannot be")
    }

    fn reference(&self) -> Twin {
        Twin::elementwise(|x| x, |_| 1.0)
    }
}

fn spec() -> LayerSpec {
    LayerSpec::new(3)
}

fn parameter(name: &'static str, shape: impl Into<Shape>) -> ParameterSpec {
    ParameterSpec::new(name, shape, Init::Ones)
}

fn error(spec: &LayerSpec) -> Error {
    check_layer(gpu(), &Stated(spec.clone())).expect_err("no layer can be so")
}

#[test]
fn a_tensor_that_no_machine_holds_is_named() {
    let drawn = Init::Normal { std: 1.0 };
    let by_index = Init::function(|_| 1.0);
    for (spec, tensor) in [
        (LayerSpec::new(HUGE), "y"),
        (LayerSpec::new(LARGE), "y"),
        (spec().kept(KeptSpec::per_row("k", HUGE)), "k"),
        (spec().kept(KeptSpec::per_row("k", LARGE)), "k"),
        (spec().kept(KeptSpec::per_batch("k", usize::MAX)), "k"),
        (spec().parameter(parameter("w", HUGE)), "w"),
        (spec().parameter(parameter("w", LARGE)), "w"),
        (
            spec().parameter(ParameterSpec::new("w", HUGE, drawn.clone())),
            "w",
        ),
        (
            spec().parameter(ParameterSpec::new("w", HUGE, by_index)),
            "w",
        ),
        (spec().state(ParameterSpec::new("s", HUGE, drawn)), "s"),
    ] {
        let error = error(&spec);
        let Error::Memory { what, needed, .. } = &error else {
            panic!("{error}");
        };
        let is_named = what.contains("Stated") && what.contains(&format!(" {tensor} "));
        assert!(is_named && *needed >= 4 * LARGE as u64, "{error}");
    }
}

/// A minibatch may be too large for any layer.
#[test]
fn a_minibatch_that_no_machine_holds() {
    for rows in [LARGE, usize::MAX] {
        let check = LayerCheck::default().shapes([[rows, 2]]);
        for layer in [&Relu as &dyn Layer, &Linear::new(1)] {
            match check.run(gpu(), layer) {
                Err(Error::Memory { what, .. }) => {
                    let expected = format!(
                        "a check of {}, whose largest tensor is x ({rows} × 2),",
                        layer.name()
                    );
                    assert_eq!(what, expected);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Names of parameters, state and kept values that `check_layer` refuses are also refused when a network is resolved.
/// Both engines resolve a network in this way, so both refuse these names.
#[test]
fn names_that_are_empty_or_taken() {
    let of_kept = "name of a value kept by Stated in spec(1)";
    let of_others = "name of a parameter or value of the state of Stated in spec(1)";
    let kept = |name| KeptSpec::per_row(name, 1);
    for (spec, expected, found) in [
        (
            spec().kept(kept("k")).kept(KeptSpec::per_batch("k", 2)),
            of_kept,
            "\"k\"",
        ),
        (spec().kept(kept("")), of_kept, "\"\""),
        (
            spec().parameter(parameter("w", 3)).state(parameter("w", 2)),
            of_others,
            "\"w\"",
        ),
        (spec().parameter(parameter("", 3)), of_others, "\"\""),
    ] {
        match error(&spec) {
            Error::Setting {
                name, found: of, ..
            } => {
                assert_eq!((name.as_str(), of.as_str()), (expected, found));
            }
            other => panic!("{other}"),
        }
        let layer: Arc<dyn Layer> = Arc::new(Stated(spec));
        let network = Sequential::input(3).layer(Linear::new(3)).layer(layer);
        assert!(matches!(network.summary(), Err(Error::Setting { .. })));
    }
}

#[test]
fn initial_values_that_are_no_numbers() {
    let without_fans = ParameterSpec::new("w", 3, Init::HeNormal).fans(0, 0);
    let not_a_number = ParameterSpec::new("w", 3, Init::function(|_| f32::NAN));
    for parameter in [without_fans, not_a_number] {
        match error(&spec().parameter(parameter)) {
            Error::Setting { name, .. } => {
                assert!(name.contains("w of Stated in spec(1)"), "{name}");
            }
            other => panic!("{other}"),
        }
    }
}
