//! Networks that together use every layer with every setting, and every way of connecting values.

use std::ops::Range;
use std::sync::Arc;

use wgrad::ndarray::{Array2, ArrayD};
use wgrad::ops::{
    AvgPool2d, BatchNorm, Conv2d, Dropout, Embedding, Flatten, Frequency, Gelu, Layer, LayerNorm,
    LeakyRelu, Linear, MaxPool2d, OneBlob, Relu, Sigmoid, SphericalHarmonics, Tanh,
};
use wgrad::{
    DeepConvNet, MultiLayerNet, Sequential, Shape, SimpleConvNet, TwoLayerNet, cpu::Network,
};

use crate::gpu::Numbers;
use crate::layers;

/// A network, the features that are indices, and the exclusive upper bound of these indices.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) spec: Sequential,
    indices: Option<(Range<usize>, usize)>,
}

impl Case {
    /// Returns the network with parameters and state that differ from all initial values.
    pub(crate) fn network(&self) -> Network {
        let mut network = self.spec.on_cpu().unwrap();
        let mut numbers = Numbers::new(self.name.len() as u64);
        let mut parameters = network.parameters();
        let mut state = network.state();
        for name in names(&parameters) {
            scatter(&name, parameters.get_mut(&name).unwrap(), &mut numbers);
        }
        for name in names(&state) {
            scatter(&name, state.get_mut(&name).unwrap(), &mut numbers);
        }
        network.set_parameters(&parameters).unwrap();
        network.set_state(&state).unwrap();
        network
    }

    /// Returns rows of numbers between −1 and 1, or of indices.
    pub(crate) fn rows(&self, count: usize) -> Array2<f32> {
        let mut numbers = Numbers::new((count * 1009 + self.name.len()) as u64);
        let features = (count, self.spec.features());
        let mut rows = Array2::from_shape_simple_fn(features, || numbers.uniform());
        if let Some((columns, below)) = &self.indices {
            for mut row in rows.rows_mut() {
                for column in columns.clone() {
                    row[column] = numbers.below(*below) as f32;
                }
            }
        }
        rows
    }
}

fn names(values: &wgrad::Parameters) -> Vec<String> {
    values.names().map(str::to_owned).collect()
}

/// Fills a parameter or a state tensor with random values. The weights keep the magnitude of values about constant, and
/// the variances are positive.
fn scatter(name: &str, values: &mut ArrayD<f32>, numbers: &mut Numbers) {
    let fan_in = match *values.shape() {
        [inputs, _] => inputs,
        [_, channels, height, width] => channels * height * width,
        _ => 6,
    };
    let bound = (6.0 / fan_in as f32).sqrt();
    values.mapv_inplace(|_| {
        if name.ends_with("running_var") {
            1.25 + numbers.uniform()
        } else {
            bound * numbers.uniform()
        }
    });
}

pub(crate) fn all() -> Vec<Case> {
    let mut cases = books();
    cases.extend(graphs());
    cases.extend(inputs());
    cases.extend(images());
    cases.extend(norms());
    cases.extend(encodings());
    cases.extend(single_layers());
    cases
}

pub(crate) fn case(name: &str, spec: Sequential) -> Case {
    Case {
        name: name.to_owned(),
        spec,
        indices: None,
    }
}

fn with_indices(name: &str, spec: Sequential, columns: Range<usize>, below: usize) -> Case {
    Case {
        indices: Some((columns, below)),
        ..case(name, spec)
    }
}

/// Returns one network per layer of the crate, except for the layer that ONNX has no operator for.
fn single_layers() -> Vec<Case> {
    let layers = layers::all().into_iter().enumerate();
    let layers = layers.filter(|(_, layer)| layer.type_name() != "HashGrid");
    let cases = layers.map(|(index, layer)| {
        let name = format!("{index}_{}", layer.type_name());
        let spec = layer.network();
        match layer.indices_below() {
            Some(below) => with_indices(&name, spec.clone(), 0..spec.features(), below),
            None => case(&name, spec),
        }
    });
    cases.collect()
}

/// Returns the networks of the book, and similar ones.
fn books() -> Vec<Case> {
    let deep = MultiLayerNet::new(20, [16, 12, 8], 5);
    vec![
        case("two_layer", TwoLayerNet::spec(784, 50, 10)),
        case("relu", deep.clone().batch_norm().dropout(0.5).spec()),
        case(
            "sigmoid",
            deep.clone().activation(Sigmoid).batch_norm().spec(),
        ),
        case("tanh", deep.clone().activation(Tanh).batch_norm().spec()),
        case("gelu", deep.clone().activation(Gelu).spec()),
        case(
            "leaky_relu",
            deep.activation(LeakyRelu::new(-0.25)).dropout(0.1).spec(),
        ),
        case("simple_conv", SimpleConvNet::default().spec()),
        case("deep_conv", DeepConvNet::default().spec()),
    ]
}

/// Returns networks with values that several layers read.
fn graphs() -> Vec<Case> {
    let block = |network: Sequential| {
        let skip = network.here();
        let network = network.layer(Linear::new(16)).layer(Relu);
        network.layer(Linear::new(16)).add(skip).layer(Relu)
    };
    let residual = block(block(Sequential::input(6).layer(Linear::new(16))));
    let shared: Arc<dyn Layer> = Arc::new(Linear::new(9));
    let norm: Arc<dyn Layer> = Arc::new(BatchNorm::new());
    let shared = Sequential::input(9)
        .layer(shared.clone())
        .layer(norm.clone())
        .layer(Tanh)
        .layer(shared)
        .layer(norm)
        .layer(Gelu)
        .layer(Gelu);
    let branch = Sequential::input([2, 6, 5]).named("image");
    let branch = branch.layer(Conv2d::new(3, 3).padding(1)).layer(Relu);
    let branch = branch.concat("image").layer(Conv2d::new(4, 3));
    let flat = branch.layer(Flatten).named("flat");
    let images = flat.layer(Tanh).concat("flat");
    let itself = Sequential::input(4).layer(Linear::new(4)).named("x");
    let itself = itself.layer(Relu).named("y").add("y").concat("x");
    vec![
        case("residual", residual.layer(Linear::new(5))),
        case("shared", shared),
        case("concatenated_images", images),
        case(
            "names_that_are_taken",
            itself.layer(Linear::new(3)).named("logits"),
        ),
    ]
}

/// Returns networks with several inputs, some of which are indices.
fn inputs() -> Vec<Case> {
    let vectors = Sequential::input(3).named("position").another_input(2);
    let vectors = vectors.layer(Linear::new(3)).layer(Tanh).concat("position");
    let image = Sequential::input([1, 6, 7]).named("image").another_input(4);
    let image = image.layer(Linear::new(3)).layer(Relu).named("beside");
    let image = image.at("image").layer(Conv2d::new(2, 3)).layer(Relu);
    let image = image.layer(Linear::new(5)).concat("beside");
    let second = Sequential::input(5).named("values").another_input([2, 2]);
    let second = second
        .layer(Embedding::new(11, 6))
        .layer(Tanh)
        .layer(Flatten);
    let characters = Sequential::input(3).layer(Embedding::new(27, 10));
    let channels = Sequential::input([2, 3]).layer(Embedding::new(8, 4));
    vec![
        case("two_vectors", vectors.layer(Linear::new(1))),
        case("image_and_vector", image.layer(Linear::new(4))),
        with_indices(
            "values_and_indices",
            second.concat("values").layer(Linear::new(3)),
            5..9,
            11,
        ),
        with_indices("characters", characters.layer(Linear::new(27)), 0..3, 27),
        with_indices("embedding_alone", channels, 0..6, 8),
    ]
}

/// Returns networks for images, with all settings of windows.
fn images() -> Vec<Case> {
    let conv = Conv2d::new(4, [3, 2]).stride([2, 1]).padding([2, 3]);
    let conv = conv.dilation([1, 2]).without_bias();
    let conv = Sequential::input([2, 9, 7])
        .layer(conv)
        .layer(Conv2d::new(3, [1, 4]));
    let pools = Sequential::input([3, 11, 9])
        .layer(MaxPool2d::new(3).stride(2).padding(1))
        .layer(AvgPool2d::new([3, 2]).stride([1, 2]).padding([1, 1]))
        .layer(Linear::new(5).without_bias());
    let global = Sequential::input([3, 8, 6])
        .layer(Conv2d::new(6, 3))
        .layer(LeakyRelu::default())
        .layer(AvgPool2d::global())
        .layer(Linear::new(4));
    let whole = AvgPool2d::new([4, 3]).padding([2, 1]);
    vec![
        case("conv_alone", conv),
        case("pools", pools),
        case("global_pool", global),
        // This pool also has only a single window, but the window includes padding.
        case(
            "padded_pool",
            Sequential::input([2, 4, 3])
                .layer(whole)
                .layer(Linear::new(3)),
        ),
        case(
            "dropout_last",
            Sequential::input(5)
                .layer(Linear::new(6))
                .layer(Dropout::new(0.5)),
        ),
    ]
}

/// Returns networks with normalization of all supported shapes.
fn norms() -> Vec<Case> {
    let batch = |name, shape: Shape| {
        let network = Sequential::input(shape).layer(BatchNorm::new().eps(1e-2));
        case(name, network.layer(Relu).layer(Linear::new(3)))
    };
    let layer = |name, shape: Shape| {
        let network = Sequential::input(shape).layer(LayerNorm::new().eps(1e-3));
        case(name, network.layer(Gelu).layer(Linear::new(3)))
    };
    vec![
        batch("batch_norm_of_features", 7.into()),
        batch("batch_norm_of_signals", [3, 5].into()),
        batch("batch_norm_of_images", [3, 4, 5].into()),
        batch("batch_norm_of_volumes", [2, 3, 2, 3].into()),
        layer("layer_norm_of_features", 12.into()),
        layer("layer_norm_of_images", [3, 4, 5].into()),
    ]
}

/// Returns networks with encodings of features and of positions.
fn encodings() -> Vec<Case> {
    let features = Sequential::input(3).layer(Frequency::new(10));
    let image = Sequential::input([2, 2]).layer(Frequency::new(3));
    let blobs = Sequential::input(2).layer(OneBlob::new(5));
    let harmonics = Sequential::input(3).layer(SphericalHarmonics::new(4));
    vec![
        case("frequency", features.layer(Linear::new(4))),
        case("frequency_of_an_image", image.layer(Linear::new(2))),
        case("one_blob", blobs.layer(Linear::new(3))),
        case("spherical_harmonics", harmonics.layer(Linear::new(3))),
    ]
}
