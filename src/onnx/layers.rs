//! Writes the layers of this crate as operators.

use std::f32::consts::SQRT_2;

use super::nodes::{Nodes, automatic, float, int, sizes};
use super::proto::{AttributeProto, DataType};
use crate::error::OnnxError;
use crate::ops::{Known, Sizes};

/// Adds the operators of a layer applied to the value `x`.
pub(super) fn write(nodes: &mut Nodes<'_>, layer: usize, x: usize) -> Result<(), OnnxError> {
    let network = nodes.network;
    let layer_use = &network.uses[layer];
    let name = layer_use.layer.name();
    let Some(known) = Known::of(&*layer_use.layer) else {
        return Err(OnnxError::Layer { index: layer, name });
    };
    let state = network.state[layer_use.state.clone()].iter();
    let parameters = network.parameters[layer_use.parameters.clone()].iter();
    let parameters = parameters.chain(state).map(|of| of.name.clone());
    let mut at = Place {
        place: automatic(network, layer_use.value),
        output: nodes.name(layer_use.value),
        parameters: parameters.collect(),
        x,
        doc: name.clone(),
        nodes,
    };
    match known {
        Known::Linear { .. } => at.linear(),
        Known::Embedding { .. } => at.embedding(),
        Known::HashGrid { .. } => return Err(OnnxError::NoOperator { index: layer, name }),
        Known::Gelu => at.gelu(),
        Known::Frequency { octaves } => at.frequency(octaves),
        Known::OneBlob { bins } => at.one_blob(bins),
        Known::SphericalHarmonics { degrees } => at.spherical_harmonics(degrees),
        // The mean includes the zeros of the padding.
        Known::AvgPool2d(window) => {
            let counts = vec![int("count_include_pad", 1)];
            at.operator("AveragePool", [window_of(window), counts].concat());
        }
        Known::Conv2d {
            window, dilation, ..
        } => {
            let dilations = vec![sizes("dilations", dilation)];
            at.operator("Conv", [window_of(window), dilations].concat());
        }
        Known::MaxPool2d(window) => at.operator("MaxPool", window_of(window)),
        Known::GlobalAvgPool2d => at.operator("GlobalAveragePool", Vec::new()),
        Known::BatchNorm { eps, .. } => {
            at.operator("BatchNormalization", vec![float("epsilon", eps)]);
        }
        Known::LayerNorm { eps } => {
            let settings = vec![int("axis", 1), float("epsilon", eps)];
            at.operator("LayerNormalization", settings);
        }
        Known::LeakyRelu { negative_slope } => {
            at.operator("LeakyRelu", vec![float("alpha", negative_slope)]);
        }
        Known::Flatten => at.operator("Flatten", vec![int("axis", 1)]),
        Known::Relu => at.operator("Relu", Vec::new()),
        Known::Sigmoid => at.operator("Sigmoid", Vec::new()),
        Known::Tanh => at.operator("Tanh", Vec::new()),
        // Dropout only has an effect in training.
        Known::Dropout { .. } => at.operator("Identity", Vec::new()),
    }
    Ok(())
}

/// A layer and the value to which it is applied.
pub(super) struct Place<'a, 'b> {
    pub(super) nodes: &'a mut Nodes<'b>,
    /// Prefix of the names that the layer adds, for example `layers.3`.
    pub(super) place: String,
    /// Name of the output value.
    output: String,
    /// Names of the parameters, and then of the state.
    pub(super) parameters: Vec<String>,
    /// Index of the input value.
    x: usize,
    /// Description of the layer, which becomes the operator's documentation.
    doc: String,
}

impl Place<'_, '_> {
    /// Writes a layer as one operator, which reads `x`, the parameters and the state.
    fn operator(&mut self, operator: &str, settings: Vec<AttributeProto>) {
        let x = self.nodes.name(self.x);
        self.give(operator, x, settings);
    }

    /// Adds the layer's last operator, which computes its output from `x` and the parameters.
    pub(super) fn give(&mut self, operator: &str, x: String, settings: Vec<AttributeProto>) {
        let mut input = vec![x];
        input.append(&mut self.parameters);
        self.nodes
            .push(operator, input, &self.output, settings, &self.doc);
    }

    /// Adds an operator of the layer before the layer's last operator. Its output is called `name`, prefixed by the
    /// layer's name. Returns the full name of the output.
    pub(super) fn before(&mut self, operator: &str, input: Vec<String>, name: &str) -> String {
        let name = format!("{}.{name}", self.place);
        self.nodes
            .push(operator, input, &name, Vec::new(), &self.doc);
        name
    }

    pub(super) fn flat(&mut self) -> String {
        let name = format!("{}.flat", self.place);
        self.nodes.flat(self.x, &name)
    }

    /// `y = x·w + b`.
    fn linear(&mut self) {
        let x = self.flat();
        self.give("Gemm", x, Vec::new());
    }

    /// `y = x·(1 + erf(x/√2))·½`.
    fn gelu(&mut self) {
        let number = |name: &str, number| (format!("{}.{name}", self.place), number);
        let numbers = [
            number("sqrt_two", SQRT_2),
            number("one", 1.0),
            number("half", 0.5),
        ];
        let [root, one, half] = numbers.map(|(name, number)| self.nodes.number(name, number));
        let x = self.nodes.name(self.x);
        let scaled = self.before("Div", vec![x.clone(), root], "scaled");
        let erf = self.before("Erf", vec![scaled], "erf");
        let twice = self.before("Add", vec![erf, one], "twice_distribution");
        let product = self.before("Mul", vec![x, twice], "twice");
        self.parameters.push(half);
        self.give("Mul", product, Vec::new());
    }

    /// `y[i] = w[x[i]]`.
    fn embedding(&mut self) {
        let x = self.flat();
        let indices = format!("{}.indices", self.place);
        let to = vec![int("to", i64::from(i32::from(DataType::Int64)))];
        self.nodes.push("Cast", vec![x], &indices, to, &self.doc);
        let table = std::mem::replace(&mut self.parameters, vec![indices]);
        let [table] = <[String; 1]>::try_from(table).unwrap_or_default();
        self.give("Gather", table, vec![int("axis", 0)]);
    }
}

/// The attributes of an operator that slides a window over images.
fn window_of(window: Sizes) -> Vec<AttributeProto> {
    let padding = window.padding;
    vec![
        sizes("kernel_shape", window.kernel),
        sizes("strides", window.stride),
        // First the padding at the top and left, then at the bottom and right.
        sizes("pads", [padding, padding].concat()),
    ]
}
