//! The contents of exported files.

use std::collections::BTreeSet;

use prost::Message as _;
use wgrad::data::{Sampling, Table};
use wgrad::ndarray::Array2;
use wgrad::ops::{BatchNorm, Linear, MeanSquaredError, Sgd, Tanh};
use wgrad::plumbing::onnx::{DataType, GraphProto, ModelProto, TensorProto, ValueInfoProto};
use wgrad::{Sequential, Trainer, TwoLayerNet, onnx};

use crate::gpu::gpu;
use crate::networks::{self, Case, case};

fn decoded(case: &Case) -> (ModelProto, GraphProto) {
    let mut model = ModelProto::decode(&*case.network().to_onnx().unwrap()).unwrap();
    let graph = model.graph.take().unwrap();
    (model, graph)
}

fn named(name: &str) -> Case {
    let mut cases = networks::all().into_iter();
    cases.find(|case| case.name == name).unwrap()
}

/// Returns the operator, inputs and outputs of each node, as text.
fn operators(graph: &GraphProto) -> Vec<String> {
    let nodes = graph.node.iter();
    nodes
        .map(|node| {
            assert_eq!(node.output.join(" "), node.name);
            format!("{} {} → {}", node.op_type, node.input.join(" "), node.name)
        })
        .collect()
}

/// Returns the shape of a value: `rows`, followed by its extents.
fn extents(value: &ValueInfoProto) -> Vec<String> {
    let tensor = value.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
    assert_eq!(tensor.elem_type(), DataType::Float);
    let dims = tensor.shape.as_ref().unwrap().dim.iter();
    dims.map(|dim| match (&dim.dim_param, dim.dim_value) {
        (Some(name), None) => name.clone(),
        (None, Some(extent)) => extent.to_string(),
        other => panic!("{}: {other:?}", value.name),
    })
    .collect()
}

fn floats(tensor: &TensorProto) -> Vec<f32> {
    assert_eq!(tensor.data_type(), DataType::Float);
    let values = tensor.raw_data.chunks_exact(4);
    values
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect()
}

#[test]
fn a_file_says_what_it_is() {
    let case = case("two_layer", TwoLayerNet::spec(6, 4, 3));
    let (model, graph) = decoded(&case);
    assert_eq!((model.ir_version, onnx::IR_VERSION), (8, 8));
    let [opset] = &model.opset_import[..] else {
        panic!("{:?}", model.opset_import)
    };
    assert_eq!((opset.domain.as_deref(), opset.version), (Some(""), 17));
    assert_eq!(onnx::OPSET, 17);
    let producer = (&*model.producer_name, &*model.producer_version);
    assert_eq!(producer, ("wgrad", env!("CARGO_PKG_VERSION")));
    let [network] = &model.metadata_props[..] else {
        panic!("{:?}", model.metadata_props)
    };
    let line = "6 → Linear(4) → Relu → Linear(3)";
    assert_eq!((&*network.key, &*network.value), ("network", line));
    let [x] = &graph.input[..] else { panic!() };
    let [y] = &graph.output[..] else { panic!() };
    assert_eq!((&*x.name, extents(x).join("×")), ("x", "rows×6".to_owned()));
    assert_eq!((&*y.name, extents(y).join("×")), ("y", "rows×3".to_owned()));
    let expected = [
        "Gemm x layers.0.weight layers.0.bias → layers.0",
        "Relu layers.0 → layers.1",
        "Gemm layers.1 layers.2.weight layers.2.bias → y",
    ];
    assert_eq!(operators(&graph), expected);
    let docs: Vec<&str> = graph.node.iter().map(|node| &*node.doc_string).collect();
    assert_eq!(docs, ["Linear(4)", "Relu", "Linear(3)"]);
}

/// The parameters in the file have the crate's layout and the same bits.
#[test]
fn parameters_and_state_are_those_of_the_network() {
    for case in networks::all() {
        let network = case.network();
        let (_, graph) = decoded(&case);
        let parameters = network.parameters();
        let state = network.state();
        let mut initializers = graph.initializer.iter();
        for (name, values) in parameters.iter().chain(state.iter()) {
            let found = initializers.next().unwrap();
            let dims: Vec<i64> = values.shape().iter().map(|&it| it as i64).collect();
            assert_eq!((&*found.name, &found.dims), (name, &dims), "{}", case.name);
            let values: Vec<f32> = values.iter().copied().collect();
            assert_eq!(floats(found), values, "{}: {name}", case.name);
        }
        // All other constants are small. The largest are the coefficients of the monomials in spherical harmonics: 20
        // monomials in 16 harmonics for the degrees of most networks here, and 120 in 64 for all degrees.
        let most = if case.name.ends_with("_SphericalHarmonics") {
            120 * 64
        } else {
            20 * 16
        };
        let nodes = || graph.node.iter();
        for constant in initializers {
            let readers = nodes().filter(|node| node.input.contains(&constant.name));
            assert_eq!(readers.count(), 1, "{}: {}", case.name, constant.name);
            let small = constant.dims.iter().product::<i64>() <= most;
            assert!(small, "{}: {}", case.name, constant.name);
        }
    }
}

/// Every name in the file is defined once, before it is used. Every value of the network is in the file under its own
/// name.
#[test]
fn names_are_those_of_the_network() {
    for case in networks::all() {
        let (_, graph) = decoded(&case);
        let initializers = graph.initializer.iter().map(|it| it.name.clone());
        let mut known: BTreeSet<String> = initializers.collect();
        assert_eq!(known.len(), graph.initializer.len(), "{}", case.name);
        assert!(known.insert("x".to_owned()), "{}", case.name);
        for node in &graph.node {
            for input in &node.input {
                assert!(known.contains(input), "{}: {input}", case.name);
            }
            assert!(known.insert(node.name.clone()), "{}", case.name);
        }
        let values = case.network().activations(case.rows(1).view()).unwrap();
        let last = values.len() - 1;
        for (index, value) in values.iter().enumerate() {
            let shape = value.shape.extents();
            let name = match (&*value.name, shape) {
                ("input", [_]) => "x",
                (_, [_]) if index == last => "y",
                // Another test checks the names of input and output.
                ("x" | "y", _) => continue,
                (name, _) => name,
            };
            let shown = format!("{}: {name}", case.name);
            let infos = graph.value_info.iter().chain(&graph.input);
            let mut infos = infos.chain(&graph.output);
            let info = infos.find(|info| info.name == name).expect(&shown);
            let shape = shape.iter().map(usize::to_string);
            let shape: Vec<String> = ["rows".to_owned()].into_iter().chain(shape).collect();
            assert_eq!(extents(info), shape, "{shown}");
        }
    }
}

#[test]
fn what_was_named_as_the_features_or_the_outputs_has_its_other_name() {
    let (_, graph) = decoded(&named("names_that_are_taken"));
    let expected = [
        "Gemm x layers.0.weight layers.0.bias → layers.0",
        "Relu layers.0 → layers.1",
        "Add layers.1 layers.1 → values.3",
        "Concat values.3 layers.0 → values.4",
        "Gemm values.4 layers.2.weight layers.2.bias → y",
    ];
    assert_eq!(operators(&graph), expected);
}

#[test]
fn inputs_are_columns_of_the_features() {
    let (_, graph) = decoded(&named("values_and_indices"));
    let expected = [
        "Slice x inputs.0.first inputs.0.end inputs.0.axis → values",
        "Slice x inputs.1.first inputs.1.end inputs.1.axis → inputs.1.columns",
        "Reshape inputs.1.columns inputs.1.shape → inputs.1",
        "Flatten inputs.1 → layers.0.flat",
        "Cast layers.0.flat → layers.0.indices",
        "Gather layers.0.weight layers.0.indices → layers.0",
        "Tanh layers.0 → layers.1",
        "Flatten layers.1 → layers.2",
        "Concat layers.2 values → values.5",
        "Gemm values.5 layers.3.weight layers.3.bias → y",
    ];
    assert_eq!(operators(&graph), expected);
}

#[test]
fn an_image_that_comes_last_is_flattened() {
    let (_, graph) = decoded(&named("conv_alone"));
    let expected = [
        "Reshape x input.shape → input",
        "Conv input layers.0.weight → layers.0",
        "Conv layers.0 layers.1.weight layers.1.bias → layers.1",
        "Flatten layers.1 → y",
    ];
    assert_eq!(operators(&graph), expected);
    let conv = &graph.node[1].attribute;
    let settings: Vec<_> = conv.iter().map(|it| (&*it.name, &it.ints[..])).collect();
    let expected: [(&str, &[i64]); 4] = [
        ("kernel_shape", &[3, 2]),
        ("strides", &[2, 1]),
        ("pads", &[2, 3, 2, 3]),
        ("dilations", &[1, 2]),
    ];
    assert_eq!(settings, expected);
}

#[test]
fn a_shared_layer_has_its_parameters_once() {
    let (_, graph) = decoded(&named("shared"));
    let names: Vec<&str> = graph.initializer.iter().map(|it| &*it.name).collect();
    let of_layers = [
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.weight",
        "layers.1.bias",
        "layers.1.running_mean",
        "layers.1.running_var",
    ];
    assert_eq!(names[..6], of_layers);
    assert_eq!(
        names[6..9],
        ["layers.5.sqrt_two", "layers.5.one", "layers.5.half"]
    );
    let gemms = graph.node.iter().filter(|node| node.op_type == "Gemm");
    for gemm in gemms {
        assert_eq!(gemm.input[1..], ["layers.0.weight", "layers.0.bias"]);
    }
}

/// A model on a GPU, whose running values have changed in a training, gives the same file as the same network on the
/// CPU.
#[test]
fn a_model_gives_the_file_of_the_same_network() {
    let spec = Sequential::input(3)
        .layer(Linear::new(5))
        .layer(BatchNorm::new());
    let spec = spec.layer(Tanh).layer(Linear::new(2)).seed(3);
    let x = Array2::from_shape_fn((32, 3), |(row, column)| (row * 3 + column) as f32 / 96.0);
    let y = Array2::from_shape_fn((32, 2), |(row, column)| (row * column) as f32 / 32.0);
    let table = Table::regression("rows", x.view(), y.view()).unwrap();
    let sampling = Sampling::Shuffled { seed: 1 };
    let model = spec.build(gpu()).unwrap();
    let loss = MeanSquaredError;
    let mut trainer = Trainer::new(model, loss, Sgd::new(0.1), &table, 8, sampling).unwrap();
    trainer.steps(5).unwrap();
    let mut network = spec.on_cpu().unwrap();
    let untrained = network.to_onnx().unwrap();
    network
        .set_parameters(&trainer.model().parameters().unwrap())
        .unwrap();
    network
        .set_state(&trainer.model().state().unwrap())
        .unwrap();
    assert_ne!(network.state()["layers.1.running_mean"][[0]], 0.0);
    let file = trainer.model().to_onnx().unwrap();
    assert_eq!(file, network.to_onnx().unwrap());
    assert_ne!(file, untrained);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("network.onnx");
    trainer.model().export_onnx(&path).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), file);
}
