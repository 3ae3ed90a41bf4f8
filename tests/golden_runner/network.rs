//! The network that a golden training is of: layers in order, of which values can be named and added further on.

use std::collections::BTreeMap;

use ndarray::Array2;
use serde_json::{Map, Value};
use wgrad::ops::{self, Layer};
use wgrad::reference::{self, Float};
use wgrad::{Parameters, Sequential, Shape};

use crate::file::{File, Refusal};
use crate::ops::matrix;

/// A layer without parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Activation {
    Relu,
    Sigmoid,
    Tanh,
    Gelu,
    LeakyRelu { slope: f64 },
}

impl Activation {
    fn layer(self) -> Box<dyn Layer> {
        match self {
            Self::Relu => Box::new(ops::Relu),
            Self::Sigmoid => Box::new(ops::Sigmoid),
            Self::Tanh => Box::new(ops::Tanh),
            Self::Gelu => Box::new(ops::Gelu),
            Self::LeakyRelu { slope } => Box::new(ops::LeakyRelu::new(single(slope))),
        }
    }
}

/// What a value is made of; values are known by their index, and 0 is the input.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Node {
    Linear { layer: usize, x: usize },
    Activation { of: Activation, x: usize },
    Sum([usize; 2]),
}

/// The parameters of a linear layer.
#[derive(Debug, Clone)]
pub(crate) struct Trained {
    /// In files, behind a role such as `init`.
    names: [String; 2],
    /// Whether the weight lies in files as (outputs, inputs).
    is_transposed: bool,
    /// As the crate names the layer.
    place: usize,
    inputs: usize,
    outputs: usize,
}

#[derive(Debug)]
pub(crate) struct Network {
    /// Extents of an example.
    pub(crate) input: Vec<usize>,
    pub(crate) spec: Sequential,
    /// What makes the values behind the input.
    pub(crate) nodes: Vec<Node>,
    pub(crate) layers: Vec<Trained>,
    /// Elements of each value.
    widths: Vec<usize>,
    /// The value that the next layer takes.
    here: usize,
    named: BTreeMap<String, usize>,
}

impl Network {
    fn new(input: Shape) -> Self {
        Self {
            input: input.extents().to_vec(),
            spec: Sequential::input(input),
            nodes: Vec::new(),
            layers: Vec::new(),
            widths: vec![input.len()],
            here: 0,
            named: BTreeMap::new(),
        }
    }

    /// `Linear` layers with an activation between them, by the tensors `w1`, `b1`, `w2` and so on.
    pub(crate) fn chain(widths: &[usize], activation: Option<Activation>) -> Self {
        let mut network = Self::new(widths[0].into());
        for (layer, &outputs) in (1..).zip(&widths[1..]) {
            if let (2.., Some(activation)) = (layer, activation) {
                network.activation(activation);
            }
            let names = [format!("w{layer}"), format!("b{layer}")];
            network.linear(outputs, names, false);
        }
        network
    }

    /// As the list of layers says that the metadata have.
    pub(crate) fn read(file: &File) -> Result<Self, Refusal> {
        let input: Vec<usize> = json(file, "input")?;
        let shape = shape(&input).ok_or_else(|| file.unknown("input", &format!("{input:?}")))?;
        let layers: Vec<Map<String, Value>> = json(file, "network")?;
        let mut network = Self::new(shape);
        for (index, layer) in layers.into_iter().enumerate() {
            let options = Options { file, index, layer };
            network.read_layer(&options)?;
            options.all_read()?;
        }
        let output = network.spec.output();
        output.map_err(|error| file.failed(format!("metadata key \"network\": {error}")))?;
        Ok(network)
    }

    fn read_layer(&mut self, options: &Options<'_>) -> Result<(), Refusal> {
        match options.text("layer")?.as_str() {
            "linear" => {
                let outputs = options.get("outputs")?.as_u64();
                let outputs = outputs.and_then(|outputs| usize::try_from(outputs).ok());
                let outputs = outputs.filter(|outputs| *outputs > 0);
                let outputs = outputs.ok_or_else(|| options.unknown("outputs"))?;
                let name = |parameter| format!("layers.{}.{parameter}", options.index);
                self.linear(outputs, ["weight", "bias"].map(name), true);
            }
            // A `Linear` takes the elements of any shape.
            "flatten" => {}
            "relu" => self.activation(Activation::Relu),
            "sigmoid" => self.activation(Activation::Sigmoid),
            "tanh" => self.activation(Activation::Tanh),
            "gelu" => self.activation(Activation::Gelu),
            "leaky_relu" => {
                let slope = options.get("slope")?.as_f64();
                let slope = slope.ok_or_else(|| options.unknown("slope"))?;
                self.activation(Activation::LeakyRelu { slope });
            }
            "mark" => {
                let name = options.text("name")?;
                self.spec = self.spec.clone().named(name.clone());
                self.named.insert(name, self.here);
            }
            "add" => {
                let name = options.text("name")?;
                let Some(&other) = self.named.get(&name) else {
                    return Err(options.unknown("name"));
                };
                self.spec = self.spec.clone().add(name.as_str());
                self.push(Node::Sum([self.here, other]), self.widths[self.here]);
            }
            _ => return Err(options.unknown("layer")),
        }
        Ok(())
    }

    fn linear(&mut self, outputs: usize, names: [String; 2], is_transposed: bool) {
        let place = self.spec.layers().len();
        self.spec = self.spec.clone().layer(ops::Linear::new(outputs));
        self.layers.push(Trained {
            names,
            is_transposed,
            place,
            inputs: self.widths[self.here],
            outputs,
        });
        let layer = self.layers.len() - 1;
        self.push(
            Node::Linear {
                layer,
                x: self.here,
            },
            outputs,
        );
    }

    fn activation(&mut self, of: Activation) {
        self.spec = self.spec.clone().layer(of.layer());
        self.push(
            Node::Activation { of, x: self.here },
            self.widths[self.here],
        );
    }

    fn push(&mut self, node: Node, width: usize) {
        self.nodes.push(node);
        self.widths.push(width);
        self.here = self.nodes.len();
    }

    /// Elements of the input.
    pub(crate) fn inputs(&self) -> usize {
        self.widths[0]
    }

    pub(crate) fn outputs(&self) -> usize {
        self.widths[self.here]
    }

    /// Weights and biases in order, (inputs, outputs) and (1, outputs), of what a file has under a role.
    pub(crate) fn parameters<T: Copy>(
        &self,
        role: &str,
        read: impl Fn(&str, [usize; 2]) -> Result<Vec<T>, Refusal>,
    ) -> Result<Vec<Array2<T>>, Refusal> {
        let mut all = Vec::new();
        for layer in &self.layers {
            let [weight, bias] = [0, 1].map(|at| format!("{role}.{}", layer.names[at]));
            all.push(match layer.is_transposed {
                true => {
                    let shape = [layer.outputs, layer.inputs];
                    matrix(shape, &read(&weight, shape)?).reversed_axes()
                }
                false => {
                    let shape = [layer.inputs, layer.outputs];
                    matrix(shape, &read(&weight, shape)?)
                }
            });
            let shape = [1, layer.outputs];
            all.push(matrix(shape, &read(&bias, shape)?));
        }
        Ok(all)
    }

    /// The same under the crate's names, in its shapes.
    pub(crate) fn named<F: Float>(&self, parameters: &[Array2<F>]) -> Parameters<F> {
        let pairs = self.layers.iter().zip(parameters.chunks(2));
        let named = pairs.flat_map(|(Trained { place, .. }, pair)| {
            let bias = pair[1].row(0).to_owned().into_dyn();
            [
                (format!("layers.{place}.weight"), pair[0].clone().into_dyn()),
                (format!("layers.{place}.bias"), bias),
            ]
        });
        named.collect()
    }

    /// How far the crate's settings, which are `f32`, are from the file's, relatively, added up.
    pub(crate) fn rounding(&self) -> f64 {
        let of_node = |node: &Node| match *node {
            Node::Activation {
                of: Activation::LeakyRelu { slope },
                ..
            } => (f64::from(single(slope)) - slope).abs(),
            _ => 0.0,
        };
        self.nodes.iter().map(of_node).sum()
    }

    /// Every value for these rows, by the definitions.
    pub(crate) fn values<F: Float>(
        &self,
        parameters: &[Array2<F>],
        x: Array2<F>,
    ) -> Vec<Array2<F>> {
        let mut values = vec![x];
        for node in &self.nodes {
            let rows = values[0].nrows();
            let mut y = Array2::from_elem((rows, self.widths[values.len()]), F::nan());
            match *node {
                Node::Sum([a, b]) => y.assign(&(&values[a] + &values[b])),
                Node::Linear { x, .. } | Node::Activation { x, .. } => {
                    let input = (values[x].view(), Shape::from(self.widths[x]));
                    let (twin, of_layer) = self.definition(node, parameters);
                    let mode = reference::Mode::Evaluation;
                    let pass = reference::Forward::new(input, of_layer, y.view_mut(), mode);
                    F::of(&twin).forward(pass);
                }
            }
            values.push(y);
        }
        values
    }

    /// Gradients by all parameters, from that by the output, by the definitions.
    pub(crate) fn gradients<F: Float>(
        &self,
        parameters: &[Array2<F>],
        values: &[Array2<F>],
        doutputs: Array2<F>,
    ) -> Vec<Array2<F>> {
        let poisoned = |like: &Array2<F>| Array2::from_elem(like.raw_dim(), F::nan());
        let mut gradients: Vec<Array2<F>> = parameters.iter().map(poisoned).collect();
        let zeros = values.iter().map(|value| Array2::zeros(value.raw_dim()));
        let mut by_values: Vec<Array2<F>> = zeros.collect();
        by_values[self.nodes.len()] = doutputs;
        for (index, node) in self.nodes.iter().enumerate().rev() {
            let dy = by_values[index + 1].clone();
            match *node {
                Node::Sum(of) => of.into_iter().for_each(|operand| by_values[operand] += &dy),
                Node::Linear { x, .. } | Node::Activation { x, .. } => {
                    let (twin, of_layer) = self.definition(node, parameters);
                    let mut dx = poisoned(&values[x]);
                    let input = (values[x].view(), Shape::from(self.widths[x]));
                    let of_values = [values[index + 1].view(), dy.view()];
                    let mode = reference::Mode::Evaluation;
                    let pass =
                        reference::Backward::new(input, of_values, Some(dx.view_mut()), mode);
                    let of_gradients = match *node {
                        Node::Linear { layer, .. } => &mut gradients[2 * layer..][..2],
                        _ => &mut [],
                    };
                    F::of(&twin).backward(pass.with_parameters(of_layer, of_gradients));
                    by_values[x] += &dx;
                }
            }
        }
        gradients
    }

    fn definition<'a, F>(
        &self,
        node: &Node,
        parameters: &'a [Array2<F>],
    ) -> (reference::Twin, &'a [Array2<F>]) {
        match *node {
            Node::Linear { layer, .. } => {
                let twin = reference::Twin::of(reference::Linear);
                (twin, &parameters[2 * layer..][..2])
            }
            Node::Activation { of, .. } => (of.layer().reference(), &[]),
            Node::Sum(_) => unreachable!("a sum is no layer"),
        }
    }
}

/// A layer of the list.
struct Options<'a> {
    file: &'a File,
    index: usize,
    layer: Map<String, Value>,
}

impl Options<'_> {
    fn get(&self, key: &str) -> Result<&Value, Refusal> {
        self.layer
            .get(key)
            .ok_or_else(|| self.failed(key, "missing"))
    }

    fn text(&self, key: &str) -> Result<String, Refusal> {
        let text = self.get(key)?.as_str();
        text.map(str::to_owned).ok_or_else(|| self.unknown(key))
    }

    fn failed(&self, key: &str, what: &str) -> Refusal {
        let (index, layer) = (self.index, Value::Object(self.layer.clone()));
        self.file.failed(format!(
            "metadata key \"network\": \"{key}\" of layer {index}, {layer}, is {what}"
        ))
    }

    fn unknown(&self, key: &str) -> Refusal {
        self.failed(key, "unknown")
    }

    /// Fails when there is a setting that the layer does not have here.
    fn all_read(&self) -> Result<(), Refusal> {
        let known: &[&str] = match self.layer.get("layer").and_then(Value::as_str) {
            Some("linear") => &["layer", "outputs"],
            Some("leaky_relu") => &["layer", "slope"],
            Some("mark" | "add") => &["layer", "name"],
            _ => &["layer"],
        };
        match self.layer.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(self.unknown(key)),
        }
    }
}

pub(crate) fn json<T: serde::de::DeserializeOwned>(file: &File, key: &str) -> Result<T, Refusal> {
    let text = file.key(key)?;
    serde_json::from_str(text)
        .map_err(|error| file.failed(format!("metadata key \"{key}\" is \"{text}\": {error}")))
}

fn shape(extents: &[usize]) -> Option<Shape> {
    let shape = match *extents {
        [a] => Shape::from(a),
        [a, b] => Shape::from([a, b]),
        [a, b, c] => Shape::from([a, b, c]),
        [a, b, c, d] => Shape::from([a, b, c, d]),
        _ => return None,
    };
    (!shape.is_empty()).then_some(shape)
}

fn single(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "the crate's own type")]
    let value = value as f32;
    value
}
