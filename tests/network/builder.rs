//! What the builder accepts, and its errors for invalid networks.

use std::sync::Arc;

use wgrad::ops::{Layer, Linear, Relu, Tanh};
use wgrad::{Sequential, Shape};

fn refused(network: &Sequential) -> String {
    network.output().unwrap_err().to_string()
}

#[test]
fn shapes_flow_through_layers_sums_and_concatenations() {
    let network = Sequential::input([2, 3, 4]).layer(Tanh).named("image");
    let joined = network.clone().layer(Relu).concat("image").named("joined");
    let joined = joined.layer(Linear::new(1)).summary().unwrap();
    assert_eq!(joined.layers[2].output, Shape::from([4, 3, 4]));
    let added = network.layer(Relu).add("image").layer(Linear::new(7));
    assert_eq!(added.output().unwrap(), Shape::from(7));
    let summary = added.summary().unwrap();
    let names: Vec<_> = summary.layers.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["Tanh", "Relu", "add image", "Linear(7)"]);
    assert_eq!(summary.layers[2].index, None);
    assert_eq!(summary.parameters(), 24 * 7 + 7);
}

#[test]
fn a_value_of_another_network_or_name_is_refused() {
    let long = Sequential::input(3).layer(Tanh).layer(Tanh).layer(Tanh);
    let short = Sequential::input(3).layer(Linear::new(3)).add(long.here());
    let error = refused(&short);
    assert!(
        error.contains("one of this network, returned by `here`"),
        "{error}"
    );
    // A clone has the values of the original.
    let start = Sequential::input(3).layer(Linear::new(3));
    let skip = start.here();
    let other = Sequential::input(3).layer(Linear::new(3));
    assert!(start.clone().layer(Relu).add(&skip).output().is_ok());
    assert!(refused(&other.layer(Relu).add(&skip)).contains("one of this network"));
    for name in ["input", "layers.0", ""] {
        let error = refused(&start.clone().named(name));
        assert!(
            error.starts_with("name of a value must be different from automatic names"),
            "{error}"
        );
    }
    let unknown = Sequential::input(3)
        .named("a")
        .layer(Linear::new(3))
        .add("b");
    let error = refused(&unknown);
    assert!(
        error.contains("a name given before (a); it is \"b\""),
        "{error}"
    );
    let twice = Sequential::input(3)
        .named("a")
        .layer(Linear::new(3))
        .named("a");
    assert!(refused(&twice).contains("different from the names before it; it is a"));
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let network = Sequential::input(3).named("x").layer(Linear::new(4));
    let error = refused(&network.clone().add("x"));
    assert_eq!(
        error,
        "shape of x, which is added to another value, must be 4, the shape of layers.0; it is 3"
    );
    let image = Sequential::input([3, 2])
        .named("x")
        .layer(Linear::new(4))
        .concat("x");
    let error = refused(&image);
    assert!(
        error.contains("shape of x, which is concatenated, must be that of layers.0"),
        "{error}"
    );
    // Values with one extent can be concatenated whatever their widths are.
    let joined = network.concat("x");
    assert_eq!(joined.output().unwrap(), Shape::from(7));
}

#[test]
fn what_nobody_reads_is_refused() {
    let network = Sequential::input(3)
        .named("x")
        .layer(Linear::new(4))
        .at("x")
        .layer(Linear::new(2));
    let error = refused(&network);
    assert!(
        error.starts_with("readers of layers.0 must be at least 1"),
        "{error}"
    );
    let inputs = Sequential::input(3).another_input(2).layer(Linear::new(1));
    assert!(
        refused(&inputs).starts_with("readers of inputs.0 must be"),
        "{}",
        refused(&inputs)
    );
    let late = Sequential::input(3).layer(Linear::new(4)).another_input(2);
    assert!(refused(&late).contains("before the first layer"));
    let empty = Sequential::input([3, 0]).layer(Linear::new(1));
    assert!(refused(&empty).contains("at least 1 along each extent; it is 3×0"));
}

#[test]
fn a_layer_used_twice_has_its_parameters_once() {
    let shared: Arc<dyn Layer> = Arc::new(Linear::new(5));
    let network = Sequential::input(5)
        .layer(shared.clone())
        .layer(Tanh)
        .layer(shared.clone());
    let summary = network.summary().unwrap();
    assert_eq!(
        (summary.parameters(), summary.layers[2].parameters),
        (30, 0)
    );
    assert_eq!(summary.layers[2].name, "Linear(5) (layers.0 again)");
    // Two equal layers remain two layers.
    let two = Sequential::input(5)
        .layer(Linear::new(5))
        .layer(Tanh)
        .layer(Linear::new(5));
    assert_eq!(two.summary().unwrap().parameters(), 60);
    // A shared layer cannot be used where it would need parameters of another shape.
    let other = Sequential::input(4)
        .layer(shared.clone())
        .layer(Tanh)
        .layer(shared);
    let error = refused(&other);
    assert!(
        error.contains("weight 4×5, bias 5; it is weight 5×5, bias 5"),
        "{error}"
    );
}

#[test]
fn boxed_layers_are_layers() {
    let layers: Vec<Box<dyn Layer>> = vec![
        Box::new(Linear::new(6)),
        Box::new(Relu),
        Box::new(Linear::new(2)),
    ];
    let network = layers
        .into_iter()
        .fold(Sequential::input(4), Sequential::layer);
    assert_eq!(network.output().unwrap(), Shape::from(2));
    let names: Vec<_> = network.layers().iter().map(Layer::name).collect();
    assert_eq!(names, ["Linear(6)", "Relu", "Linear(2)"]);
}
