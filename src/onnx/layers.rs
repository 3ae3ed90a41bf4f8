//! The layers of the crate as operators.

use std::any::Any;
use std::f32::consts::SQRT_2;

use super::nodes::{Nodes, automatic, float, int, sizes};
use super::proto::{AttributeProto, DataType};
use crate::error::OnnxError;
use crate::ops::{
    AvgPool2d, BatchNorm, Conv2d, Dropout, Embedding, Flatten, Gelu, LayerNorm, LeakyRelu, Linear,
    MaxPool2d, Relu, Sigmoid, Size2, Tanh, Window, unwrapped,
};

/// Adds what a use of a layer gives for the value `x`.
pub(super) fn write(nodes: &mut Nodes<'_>, layer: usize, x: usize) -> Result<(), OnnxError> {
    let network = nodes.network;
    let of_use = &network.uses[layer];
    let name = of_use.layer.name();
    let any = unwrapped(&*of_use.layer);
    let state = network.state[of_use.state.clone()].iter();
    let parameters = network.parameters[of_use.parameters.clone()].iter();
    let parameters = parameters.chain(state).map(|of| of.name.clone());
    let mut at = Place {
        place: automatic(network, of_use.value),
        output: nodes.name(of_use.value),
        parameters: parameters.collect(),
        x,
        doc: name.clone(),
        nodes,
    };
    if any.is::<Linear>() {
        at.linear();
    } else if any.is::<Embedding>() {
        at.embedding();
    } else if any.is::<Gelu>() {
        at.gelu();
    } else {
        let (operator, settings) = at
            .single(any)
            .ok_or(OnnxError::Layer { index: layer, name })?;
        at.operator(operator, settings);
    }
    Ok(())
}

/// A use of a layer.
struct Place<'a, 'b> {
    nodes: &'a mut Nodes<'b>,
    /// `layers.3`: what names of its own begin with.
    place: String,
    /// Name of what it gives.
    output: String,
    /// Names of its parameters, and of its state behind them.
    parameters: Vec<String>,
    /// The value that it reads.
    x: usize,
    /// The layer, for people.
    doc: String,
}

impl Place<'_, '_> {
    /// The layers that are one operator, which reads `x`, the parameters and the state.
    fn single(&self, layer: &dyn Any) -> Option<(&'static str, Vec<AttributeProto>)> {
        let input = self.nodes.shape(self.x);
        if let Some(conv) = layer.downcast_ref::<Conv2d>() {
            let window = conv.window();
            let dilations = sizes("dilations", window.dilation.as_array());
            return Some(("Conv", [window_of(window), vec![dilations]].concat()));
        }
        if let Some(pool) = layer.downcast_ref::<MaxPool2d>() {
            return Some(("MaxPool", window_of(pool.window())));
        }
        if let Some(pool) = layer.downcast_ref::<AvgPool2d>() {
            let &[_, height, width] = input.extents() else {
                return None;
            };
            let window = pool.window([height, width]);
            return Some(match window == Window::beside(Size2 { height, width }) {
                true => ("GlobalAveragePool", Vec::new()),
                // Padding counts as zeros.
                false => {
                    let counts = vec![int("count_include_pad", 1)];
                    ("AveragePool", [window_of(window), counts].concat())
                }
            });
        }
        if let Some(norm) = layer.downcast_ref::<BatchNorm>() {
            return Some(("BatchNormalization", vec![float("epsilon", norm.epsilon())]));
        }
        if let Some(norm) = layer.downcast_ref::<LayerNorm>() {
            let settings = vec![int("axis", 1), float("epsilon", norm.epsilon())];
            return Some(("LayerNormalization", settings));
        }
        if let Some(relu) = layer.downcast_ref::<LeakyRelu>() {
            return Some(("LeakyRelu", vec![float("alpha", relu.negative_slope())]));
        }
        if layer.is::<Flatten>() {
            return Some(("Flatten", vec![int("axis", 1)]));
        }
        let operators = [
            (layer.is::<Relu>(), "Relu"),
            (layer.is::<Sigmoid>(), "Sigmoid"),
            (layer.is::<Tanh>(), "Tanh"),
            (layer.is::<Dropout>(), "Identity"),
        ];
        let found = operators.into_iter().find(|(is, _)| *is);
        found.map(|(_, operator)| (operator, Vec::new()))
    }

    fn operator(&mut self, operator: &str, settings: Vec<AttributeProto>) {
        let x = self.nodes.name(self.x);
        self.give(operator, x, settings);
    }

    /// The operator that gives what the layer gives.
    fn give(&mut self, operator: &str, x: String, settings: Vec<AttributeProto>) {
        let mut input = vec![x];
        input.append(&mut self.parameters);
        self.nodes
            .push(operator, input, &self.output, settings, &self.doc);
    }

    /// An operator before it, whose name goes on that of the layer; returns the name.
    fn before(&mut self, operator: &str, input: Vec<String>, name: &str) -> String {
        let name = format!("{}.{name}", self.place);
        self.nodes
            .push(operator, input, &name, Vec::new(), &self.doc);
        name
    }

    fn flat(&mut self) -> String {
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

/// The settings of an operator that slides a window over images.
fn window_of(window: Window) -> Vec<AttributeProto> {
    let padding = window.padding.as_array();
    vec![
        sizes("kernel_shape", window.kernel.as_array()),
        sizes("strides", window.stride.as_array()),
        // Above and left, below and right.
        sizes("pads", [padding, padding].concat()),
    ]
}
