#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::{MOST_VALUES, StructureFault};
use crate::network::Sequential;
use crate::ops::{
    AvgPool2d, BatchNorm, Conv2d, Dropout, Embedding, Flatten, Frequency, Gelu, HashGrid, Layer,
    LayerNorm, LeakyRelu, Linear, MaxPool2d, OneBlob, Relu, Sigmoid, SphericalHarmonics, Tanh,
};

/// A network with every layer of the crate, several inputs, a sum, a concatenation, names, and a layer that is used
/// again.
fn everything() -> Sequential {
    let shared: Arc<dyn Layer> = Arc::new(Linear::new(12));
    Sequential::input([3, 12, 10])
        .named("image")
        .another_input(2)
        .named("words")
        .at("image")
        .layer(Conv2d::new(4, [3, 2]).padding([1, 0]).stride([2, 1]))
        .layer(BatchNorm::new().eps(1e-6).momentum(0.25))
        .layer(Relu)
        .layer(MaxPool2d::new(2).stride(1).padding(1))
        .layer(Conv2d::new(4, 2).dilation(2).without_bias())
        .layer(LeakyRelu::new(0.3))
        .layer(AvgPool2d::new([2, 1]))
        .named("pooled")
        .layer(AvgPool2d::global())
        .layer(Flatten)
        .layer(Linear::new(12).without_bias())
        .layer(LayerNorm::new().eps(1e-3))
        .layer(shared.clone())
        .named("skip")
        .layer(Gelu)
        .layer(Dropout::new(0.1))
        .layer(shared)
        .layer(Tanh)
        .add("skip")
        .named("sum")
        .at("words")
        .layer(Embedding::new(7, 5))
        .layer(Flatten)
        .concat("sum")
        .named("coded")
        .at("words")
        .layer(
            HashGrid::new()
                .levels(3)
                .features_per_level(4)
                .table_size(64),
        )
        .layer(Linear::new(2))
        .layer(HashGrid::new().levels(2).base_resolution(5).growth(1.3))
        .concat("coded")
        .named("both")
        .at("pooled")
        .layer(Flatten)
        .layer(Sigmoid)
        .layer(Linear::new(3))
        .layer(SphericalHarmonics::new(2))
        .layer(OneBlob::new(4))
        .layer(Frequency::new(3))
        .concat("both")
        .layer(Linear::new(3))
}

fn again(text: &str) -> Result<Sequential, StructureFault> {
    Sequential::of_structure(text, &mut |_| None)
}

#[test]
fn a_network_is_made_again_from_its_text() {
    let graph = everything().graph().unwrap();
    let text = graph.structure();
    let same = again(&text).unwrap().graph().unwrap();
    assert_eq!(same.structure(), text);
    assert_eq!(same.line(), graph.line());
    for (same, value) in same.values.iter().zip(&graph.values) {
        let of = |value: &super::super::graph::Value| {
            (value.name.clone(), value.shape, value.source.clone())
        };
        assert_eq!(of(same), of(value));
    }
    let names = |graph: &super::Graph| -> Vec<String> {
        let all = graph.parameters.iter().chain(&graph.state);
        all.map(|parameter| parameter.name.clone()).collect()
    };
    assert_eq!(names(&same), names(&graph));
}

#[test]
fn the_text_is_short_and_says_what_the_layers_are() {
    let network = Sequential::input(4).layer(Linear::new(3)).layer(Relu);
    let text = network.layer(Linear::new(2)).graph().unwrap().structure();
    let expected = r#"{"inputs":[[4]],"values":[{"layer":{"is":{"Linear":{"outputs":3,"bias":true}},"of":0}},{"layer":{"is":"Relu","of":1}},{"layer":{"is":{"Linear":{"outputs":2,"bias":true}},"of":2}}]}"#;
    assert_eq!(text, expected);
}

#[test]
fn what_is_no_network_is_told_and_nothing_panics() {
    let layer = |is: &str, of: usize| format!(r#"{{"layer":{{"is":{is},"of":{of}}}}}"#);
    let text = |inputs: &str, values: &str, names: &str| {
        format!(r#"{{"inputs":{inputs},"values":[{values}],"names":{{{names}}}}}"#)
    };
    let relu = layer("\"Relu\"", 0);
    for (case, expected) in [
        (String::new(), "EOF"),
        ("[]".to_owned(), "invalid length"),
        (text("[]", &relu, ""), "no input"),
        (text("[[]]", &relu, ""), "1 to 4 extents"),
        (text("[[1,1,1,1,1]]", &relu, ""), "1 to 4 extents"),
        (text("[[2]]", &layer("\"Relu\"", 1), ""), "before it"),
        (
            text("[[2]]", &layer("\"Rule\"", 0), ""),
            "unknown variant `Rule`",
        ),
        (text("[[2]]", r#"{"sum":[0,1]}"#, ""), "before it"),
        (text("[[2]]", r#"{"concat":[]}"#, ""), "before it"),
        (
            text("[[2]]", r#"{"again":{"layer":0,"of":0}}"#, ""),
            "before it is described",
        ),
        (text("[[2]]", &relu, r#""a":2"#), "belongs to no value"),
        (text("[[2]]", &relu, r#""a":0,"b":0,"c":1"#), "more names"),
        (text("[[-2]]", &relu, ""), "invalid value"),
        (
            text("[[2]]", &vec![relu.clone(); MOST_VALUES].join(","), ""),
            "10001 values",
        ),
    ] {
        match again(&case) {
            Err(StructureFault::Damaged(why)) => assert!(why.contains(expected), "{case}: {why}"),
            other => panic!("{case}: {other:?}"),
        }
    }
    // Pooling has no dilation, but a check of the shapes would not reject one.
    let dilated =
        r#"{"MaxPool2d":{"kernel":[2,2],"stride":[2,2],"padding":[0,0],"dilation":[2,2]}}"#;
    let dilated = text("[[1,9,9]]", &layer(dilated, 0), "");
    assert!(matches!(again(&dilated), Err(StructureFault::Damaged(_))));
    let other = text("[[2]]", r#"{"other":{"name":"Swish","of":0}}"#, "");
    let fault = again(&other).unwrap_err();
    assert!(matches!(fault, StructureFault::Layer(name) if name == "Swish"));
}

/// Invalid settings are reported when shapes are computed, before memory is allocated.
#[test]
fn settings_that_make_no_sense_are_told_by_the_layer() {
    let huge = usize::MAX;
    for is in [
        r#"{"Linear":{"outputs":0,"bias":true}}"#.to_owned(),
        r#"{"Conv2d":{"outputs":1,"window":{"kernel":[0,1],"stride":[1,1],"padding":[0,0]},"dilation":[1,1],"bias":true}}"#
            .to_owned(),
        format!(
            r#"{{"MaxPool2d":{{"kernel":[{huge},1],"stride":[1,0],"padding":[{huge},0]}}}}"#
        ),
        format!(r#"{{"Embedding":{{"count":{huge},"width":{huge}}}}}"#),
        r#"{"Dropout":{"p":1.5}}"#.to_owned(),
        r#"{"BatchNorm":{"eps":-1.0,"momentum":7.0}}"#.to_owned(),
    ] {
        let text = format!(
            r#"{{"inputs":[[2,3,3]],"values":[{{"layer":{{"is":{is},"of":0}}}},{{"layer":{{"is":{{"Linear":{{"outputs":2,"bias":true}}}},"of":1}}}}]}}"#
        );
        assert!(again(&text).unwrap().graph().is_err(), "{is}");
    }
    let wide = format!(
        r#"{{"inputs":[[{huge},{huge}],[{huge}]],"values":[{{"layer":{{"is":{{"Linear":{{"outputs":{huge},"bias":true}}}},"of":0}}}},{{"layer":{{"is":"Flatten","of":1}}}},{{"concat":[2,3]}}]}}"#
    );
    // Computing shapes must not panic, whether they are valid or not.
    let _ = again(&wide).unwrap().graph();
}

/// Every further use of a layer refers to the layer itself, not to the previous use.
#[test]
fn a_long_chain_of_one_layer_is_made_at_once() {
    let first = r#"{"layer":{"is":{"Linear":{"outputs":2,"bias":false}},"of":0}}"#.to_owned();
    let again_of = |at: usize| format!(r#"{{"again":{{"layer":{},"of":{}}}}}"#, at - 1, at);
    let values: Vec<String> = std::iter::once(first)
        .chain((1..MOST_VALUES - 1).map(again_of))
        .collect();
    let text = format!(r#"{{"inputs":[[2]],"values":[{}]}}"#, values.join(","));
    let start = std::time::Instant::now();
    let graph = again(&text).unwrap().graph().unwrap();
    assert_eq!(
        (graph.parameters.len(), graph.uses.len()),
        (1, MOST_VALUES - 1)
    );
    // This takes tens of milliseconds. If each use wrapped the previous use, it would take minutes.
    assert!(start.elapsed().as_secs() < 20);
}
