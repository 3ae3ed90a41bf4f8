//! The table of the crate's layers. All tests that run every layer take their cases from it.
//!
//! | test program | what it does with each case |
//! |---|---|
//! | `custom_layer` | runs `check_layer` (contract, writes, parity, gradient); checks that this table has every layer |
//! | `gradients` | checks the reference's gradient: of the single layer, and after, before and between other layers |
//! | `sanitize` | interprets both passes: reaches every basic block of every kernel; a NaN in the input gives a NaN |
//! | `checkpoint` | loads a network with the layer from its file |
//! | `onnx` | compares the outputs of a network with the layer with the outputs of ONNX Runtime |
#![allow(dead_code, reason = "no test program uses all of it")]

use std::ops::RangeInclusive;
use std::sync::Arc;

use wgrad::ops::{
    AvgPool2d, BatchNorm, Conv2d, Dropout, Embedding, Flatten, Frequency, Gelu, HashGrid, Layer,
    LayerNorm, LeakyRelu, Linear, MaxPool2d, OneBlob, Relu, Sigmoid, SphericalHarmonics, Tanh,
};
use wgrad::{LayerCheck, Sequential, Shape, TensorShape};

/// A layer with its settings, and the minibatches that tests give it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) layer: Arc<dyn Layer>,
    /// The settings of `check_layer` for this layer.
    pub(crate) check: LayerCheck,
    /// The number of different kernels that `check_layer` must find.
    pub(crate) kernels: RangeInclusive<usize>,
    /// The shapes of minibatches for which the sanitizer interprets the kernels. Together, the cases of a layer reach
    /// every basic block of the layer's kernels.
    pub(crate) sanitized: Vec<TensorShape>,
    /// The shapes of minibatches that are small enough to compute a central difference for every number.
    pub(crate) small: Vec<TensorShape>,
    /// The layer before this one in the networks of the test program `gradients`.
    pub(crate) before: Arc<dyn Layer>,
}

impl Case {
    fn new<S: Into<TensorShape>>(layer: impl Layer, small: impl IntoIterator<Item = S>) -> Self {
        Self {
            layer: Arc::new(layer),
            check: LayerCheck::default(),
            kernels: 2..=usize::MAX,
            sanitized: Vec::new(),
            small: small.into_iter().map(Into::into).collect(),
            before: Arc::new(Linear::new(5)),
        }
    }

    fn checked(self, check: LayerCheck) -> Self {
        Self { check, ..self }
    }

    /// Uses smaller shapes in `check_layer`, for a second setting of a layer. The default shapes include one that needs
    /// a dispatch in two dimensions, and takes seconds.
    fn checked_fast(self) -> Self {
        let fast = [[1, 1], [3, 7], [1, 65], [101, 53]];
        self.checked(LayerCheck::default().shapes(fast))
    }

    fn kernels(self, kernels: RangeInclusive<usize>) -> Self {
        Self { kernels, ..self }
    }

    fn sanitized<S: Into<TensorShape>>(self, minibatches: impl IntoIterator<Item = S>) -> Self {
        let sanitized = minibatches.into_iter().map(Into::into).collect();
        Self { sanitized, ..self }
    }

    fn behind(self, before: impl Layer) -> Self {
        let before = Arc::new(before);
        Self { before, ..self }
    }

    /// Returns the name of the layer's type in `ops`.
    pub(crate) fn type_name(&self) -> String {
        let debug = format!("{:?}", self.layer);
        debug.split(' ').next().unwrap_or_default().to_owned()
    }

    /// Returns the exclusive upper bound of the indices, if the layer takes indices.
    pub(crate) fn indices_below(&self) -> Option<usize> {
        let spec = self.layer.spec(&self.small[0].row);
        spec.unwrap_or_else(|error| panic!("{error}")).indices_below
    }

    /// Returns a network that begins with the layer.
    pub(crate) fn network(&self) -> Sequential {
        let network = Sequential::input(self.small[0].row).layer(self.layer.clone());
        network.layer(Linear::new(3))
    }
}

/// Shapes with about as many elements as a workgroup takes: 256 invocations with four elements each.
const ELEMENTS: [[usize; 2]; 4] = [[1, 1], [3, 7], [1, 1023], [5, 257]];

/// Images with fewer and with more pixels than a workgroup has invocations (256).
pub(crate) const IMAGES: [(usize, [usize; 3]); 3] =
    [(1, [1, 1, 1]), (3, [2, 7, 9]), (1, [1, 17, 31])];

/// Returns the case of a layer whose rows may have any number of features.
fn features(layer: impl Layer) -> Case {
    Case::new(layer, [[1, 4], [3, 4]]).sanitized(ELEMENTS)
}

/// Returns the case of a layer whose inputs are indices.
fn indices(layer: impl Layer, sanitized: [usize; 2]) -> Case {
    Case::new(layer, [[1, 4], [3, 4]]).sanitized([sanitized])
}

/// Returns the case of a layer that slides a window over images.
fn images(layer: impl Layer) -> Case {
    let checked = [(1, [1, 3, 3]), (3, [2, 6, 7]), (2, [3, 9, 4])];
    Case::new(layer, [1, 3].map(|rows| (rows, [2, 5, 4])))
        .checked(LayerCheck::default().shapes(checked))
        .kernels(2..=2)
        .sanitized(IMAGES)
        .behind(Conv2d::new(3, 2))
}

pub(crate) fn all() -> Vec<Case> {
    let groups = [
        activations(),
        products(),
        normalizations(),
        windows(),
        encodings(),
        grids(),
    ];
    groups.into_iter().flatten().collect()
}

fn activations() -> Vec<Case> {
    vec![
        features(Relu),
        features(LeakyRelu::default()),
        features(LeakyRelu::new(0.1)).checked_fast(),
        features(LeakyRelu::new(-0.5)),
        features(Gelu),
        features(Sigmoid),
        features(Tanh),
        features(Dropout::new(0.3)),
    ]
}

/// Returns the cases of linear layers and embeddings. The last two embeddings have more than one tile of indices, or
/// more than one block of columns.
fn products() -> Vec<Case> {
    vec![
        linear(1),
        linear(4).checked_fast(),
        linear(50),
        indices(Embedding::new(27, 10), [3, 7]),
        indices(Embedding::new(3, 1), [3, 7]),
        indices(Embedding::new(3, 2), [1, 3]).checked_fast(),
        indices(Embedding::new(2, 65), [2049, 1]).checked_fast(),
        indices(Embedding::new(1, 1), [33_000, 1]).checked_fast(),
    ]
}

/// The case of a linear layer. It has only one minibatch to interpret, because the test program `sanitize` has further
/// cases for the kernels of products and convolutions.
fn linear(outputs: usize) -> Case {
    features(Linear::new(outputs)).sanitized([[3, 7]])
}

/// Normalization of features, and of channels with several positions.
fn normalizations() -> Vec<Case> {
    let batch = || BatchNorm::new().eps(0.1).momentum(0.75);
    let layer = || LayerNorm::new().eps(0.1);
    vec![
        normalized(BatchNorm::new()),
        normalized(batch()),
        normalized(LayerNorm::new()),
        normalized(layer()).checked_fast(),
        channels(BatchNorm::new()),
        channels(batch()),
        channels(LayerNorm::new()),
        channels(layer()),
    ]
}

fn normalized(layer: impl Layer) -> Case {
    features(layer).sanitized([[3, 7], [300, 17]])
}

fn channels(layer: impl Layer) -> Case {
    // Fewer channels than a workgroup takes, and more. The values of a channel fill only a part of a kernel's piece, or
    // whole pieces and a part of one. (A workgroup sums one piece of the values of a channel at a time.)
    let checked = [
        (2, [2, 2, 2]),
        (4, [3, 5, 5]),
        (1, [5, 3, 1]),
        (7, [65, 2, 3]),
        (3, [1, 9, 9]),
        (9, [2, 31, 33]),
    ];
    let small: [(usize, Shape); 2] = [(3, [2, 3].into()), (3, [3, 2, 2].into())];
    // Fewer channels than a workgroup takes, values that fill a part of a piece or whole pieces and a part of one, and
    // more rows than one pass of a kernel's loop reads.
    let sanitized: [(usize, Shape); 2] = [(3, [3, 5].into()), (9, [2, 25, 20].into())];
    Case::new(layer, small)
        .checked(LayerCheck::default().shapes(checked))
        .sanitized(sanitized)
        .behind(Tanh)
}

fn windows() -> Vec<Case> {
    let conv = |conv: Conv2d| {
        let checked = [
            (1, [1, 1, 1]),
            (2, [3, 4, 5]),
            (3, [2, 9, 7]),
            (9, [17, 3, 3]),
            (4, [1, 20, 21]),
        ];
        let check = LayerCheck::default().shapes(checked);
        let sanitized = [(3, [2, 7, 9])];
        images(conv)
            .checked(check)
            .kernels(4..=4)
            .sanitized(sanitized)
    };
    let mixed = Conv2d::new(4, [3, 2]).stride([1, 2]).padding(2);
    // Some windows are larger than the first image, so it is left out.
    let larger = |pool: Case| pool.sanitized(IMAGES.into_iter().skip(1));
    vec![
        conv(Conv2d::new(1, 1)),
        conv(Conv2d::new(3, 3).padding(1)),
        conv(Conv2d::new(17, [1, 2]).padding([0, 1]).without_bias()),
        conv(mixed.dilation([2, 1])),
        larger(images(MaxPool2d::new(2))),
        images(MaxPool2d::new(2).padding(1)),
        images(MaxPool2d::new(3).stride(2).padding(1)),
        larger(images(AvgPool2d::new(2))),
        larger(images(AvgPool2d::new([2, 3]))),
        images(AvgPool2d::new([3, 2]).stride([2, 1]).padding(1)),
        images(AvgPool2d::new(3).stride([1, 2]).padding(1)),
        images(AvgPool2d::global()),
        // The forward and the backward pass use the same kernel.
        images(Flatten).kernels(1..=1),
    ]
}

fn encodings() -> Vec<Case> {
    let frequencies = (1..=4).map(|octaves| features(Frequency::new(octaves)));
    let blobs = [1, 3, 7].map(|bins| {
        // Inputs are in the range for which the layer is made. Farther away, its outputs are 0.
        features(OneBlob::new(bins)).checked(LayerCheck::default().inputs(-0.5..=1.5))
    });
    let harmonics = (1..=8).map(|degrees| {
        // The inputs are directions with a length of about 1, so their powers are not large.
        let check = LayerCheck::default().inputs(-1.0..=1.0);
        let check = check.shapes([[1, 3], [2, 3], [65, 3], [300, 3]]);
        let harmonics = Case::new(SphericalHarmonics::new(degrees), [[2, 3]]).checked(check);
        let rows: &[usize] = match degrees {
            1 | 4 => &[1, 21, 1023, 1285],
            _ => &[21],
        };
        harmonics
            .kernels(2..=2)
            .sanitized(rows.iter().map(|&rows| [rows, 3]))
            .behind(Linear::new(3))
    });
    frequencies.chain(blobs).chain(harmonics).collect()
}

/// Grids in two and three dimensions. Some minibatches have fewer rows than a workgroup takes, some have more, and some
/// have enough rows for sums in workgroup memory.
fn grids() -> Vec<Case> {
    let large = HashGrid::new().levels(4).table_size(64).base_resolution(3);
    // This grid has dense levels and hashed levels.
    let small = HashGrid::new().levels(3).table_size(32).base_resolution(2);
    let small = small.growth(2.2);
    let grids = [
        large.clone(),
        large.clone().features_per_level(1).growth(2.5),
        large.features_per_level(8).growth(1.0),
        small.clone().features_per_level(1),
        small.clone().features_per_level(2),
        small.features_per_level(8),
    ];
    let in_both = grids.into_iter().flat_map(|grid| {
        [2, 3].map(|dimensions| {
            let rows = [1, 3, 77, 300, 1030].map(|rows| [rows, dimensions]);
            let check = LayerCheck::default().shapes(rows).inputs(-0.25..=1.25);
            let case = Case::new(grid.clone(), [[1, dimensions], [3, dimensions]]);
            // There are at least five kernels: some sum in workgroup memory, some do not.
            case.checked(check)
                .kernels(5..=usize::MAX)
                .sanitized([[77, dimensions]])
                .behind(Linear::new(dimensions))
        })
    });
    in_both.collect()
}
