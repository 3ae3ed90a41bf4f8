#![allow(clippy::unwrap_used)]

use super::MultiLayerNet;
use crate::init::Init;
use crate::network::Sequential;
use crate::ops::{BatchNorm, Layer, Sigmoid};
use crate::shape::Shape;

fn names(network: &Sequential) -> Vec<String> {
    let layers = network.summary().unwrap().layers;
    layers.into_iter().map(|layer| layer.name).collect()
}

#[test]
fn layers_stand_in_the_order_of_the_book() {
    let plain = MultiLayerNet::new(6, [5, 4], 3);
    let expected = ["Linear(5)", "Relu", "Linear(4)", "Relu", "Linear(3)"];
    assert_eq!(names(&plain.spec()), expected);
    let full = plain.dropout(0.2).batch_norm().activation(Sigmoid);
    let norm = BatchNorm::new().name();
    let block = |linear: &str| [linear, &norm, "Sigmoid", "Dropout(0.2)"].map(str::to_owned);
    let expected = [block("Linear(5)"), block("Linear(4)")].concat();
    assert_eq!(names(&full.spec())[..8], expected);
    assert_eq!(names(&full.spec())[8..], ["Linear(3)"]);
    let none = MultiLayerNet::new(6, [], 3);
    assert_eq!(names(&none.spec()), ["Linear(3)"]);
}

#[test]
fn weights_start_as_in_the_book() {
    let network = MultiLayerNet::new(6, [5], 3);
    let sigmoid = network.clone().activation(Sigmoid);
    let small = Init::Normal { std: 0.01 };
    // The default is HeNormal, whatever the activation. An explicit choice also applies to every activation.
    for (spec, init) in [
        (network.spec(), Init::HeNormal),
        (sigmoid.spec(), Init::HeNormal),
        (sigmoid.weight_init(small.clone()).spec(), small.clone()),
        (
            network
                .weight_init(small.clone())
                .activation(Sigmoid)
                .spec(),
            small,
        ),
    ] {
        let parameters = spec.seed(7).on_cpu().unwrap().parameters();
        for (name, fans, stream) in [
            ("layers.0.weight", [6, 5], 0),
            ("layers.2.weight", [5, 3], 2),
        ] {
            let expected = init.values(&Shape::from(fans), fans, 7, stream);
            assert!(parameters[name].iter().eq(&expected), "{name}");
        }
        assert!(parameters["layers.2.bias"].iter().all(|&bias| bias == 0.0));
    }
}
