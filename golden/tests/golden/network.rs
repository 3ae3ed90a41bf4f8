//! The network of a golden training: a list of layers. A value can have a name, and can be added to later values.

use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::{Array2, ArrayD};
use serde_json::{Map, Value};
use wgrad::ops::{self, Layer, LayerSpec, Layout, ParameterSpec};
use wgrad::reference::{self, Backward, Float, Forward, Mode, Twin};
use wgrad::{Error, Init, Parameters, Sequential, Shape, ValueRef};

use crate::file::{File, Refusal};
use crate::ops::matrix;
use crate::pools::{Window, pair};

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

/// The kind of a layer. It determines how errors propagate through the layer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Activation(Activation),
    /// Sums of products with a weight, plus a bias. `terms` is the number of products per output, `back` the number
    /// of products per input gradient, and `places` the number of positions in an output row.
    Products {
        terms: usize,
        back: usize,
        places: usize,
    },
    MaxPool(Window),
    /// Average pooling: the mean of `pixels` pixels.
    AvgPool {
        pixels: usize,
    },
    /// The numbers stay the same, in another shape.
    Flatten,
    /// Normalizes each channel over all rows, or each row. `momentum` is for the running values, if there are any.
    Normal {
        of: Normal,
        eps: f64,
        momentum: f64,
    },
    Embedding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Normal {
    Channels,
    Rows,
}

/// How a value is computed. Values are numbered; value 0 is the input.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Node {
    Layer { layer: usize, x: usize },
    Sum([usize; 2]),
}

/// A layer and its position in the network.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) kind: Kind,
    /// The reference of the layer, with the file's settings.
    definition: Twin,
    pub(crate) input: Shape,
    pub(crate) spec: LayerSpec,
    /// The layer's index in the crate's parameter names.
    place: usize,
    names: Names,
    /// The index of the layer's first parameter in the list of all parameters, and of its first state tensor in the
    /// list of all state tensors.
    pub(crate) first: [usize; 2],
}

/// How a file names the parameters of a layer. In front of the name is a role such as `init`.
#[derive(Debug, Clone, Copy)]
enum Names {
    /// `w` and `b` with the layer's number, such as `w1`. Weights are not transposed.
    Chain(usize),
    /// PyTorch's names with the layer's index in the list.
    Listed(usize),
}

impl Names {
    fn of(self, role: &str, parameter: &str) -> String {
        match self {
            Self::Chain(number) => format!("{role}.{}{number}", &parameter[..1]),
            Self::Listed(index) => format!("{role}.layers.{index}.{parameter}"),
        }
    }
}

impl Placed {
    /// Returns the layer's own parameters from the list of all parameters.
    pub(crate) fn of<'a, T>(&self, parameters: &'a [T]) -> &'a [T] {
        &parameters[self.parameters()]
    }

    fn parameters(&self) -> Range<usize> {
        let [first, _] = self.first;
        first..first + self.spec.parameters.len()
    }

    fn state(&self) -> Range<usize> {
        let [_, first] = self.first;
        first..first + self.spec.state.len()
    }

    fn kept<F: Float>(&self, rows: usize) -> Vec<Array2<F>> {
        let kept = self.spec.kept.iter();
        let kept = kept.map(|kept| kept.tensor_shape(rows).dims());
        kept.map(|dims| Array2::from_elem(dims, F::nan())).collect()
    }

    /// Reads the layer's tensors whose names begin with a role, as matrices in the kernels' layout.
    fn read<T: Copy>(
        &self,
        role: &str,
        specs: &[ParameterSpec],
        read: &impl Fn(&str, &[usize]) -> Result<Vec<T>, Refusal>,
    ) -> Result<Vec<Array2<T>>, Refusal> {
        let of_spec = |spec: &ParameterSpec| {
            let name = self.names.of(role, spec.name);
            let dims @ [rows, columns] = spec.tensor_shape().dims();
            Ok(match (self.names, spec.layout) {
                (Names::Listed(_), Layout::Transposed) => {
                    let lying = [columns, rows];
                    matrix(lying, &read(&name, &lying)?).reversed_axes()
                }
                _ => matrix(dims, &read(&name, spec.shape.extents())?),
            })
        };
        specs.iter().map(of_spec).collect()
    }

    /// Returns the values with the crate's names and shapes.
    fn named<'a, F: Float>(
        &'a self,
        specs: &'a [ParameterSpec],
        values: &'a [Array2<F>],
    ) -> impl Iterator<Item = (String, ArrayD<F>)> + 'a {
        specs.iter().zip(values).map(|(spec, value)| {
            let values = value.iter().copied().collect();
            let value = ArrayD::from_shape_vec(spec.shape.extents(), values);
            let name = format!("layers.{}.{}", self.place, spec.name);
            (name, value.expect("a parameter of its shape"))
        })
    }

    /// Computes `y` in an evaluation. The layer must have no state.
    pub(crate) fn apply(&self, parameters: &[Array2<f64>], x: &Array2<f64>) -> Array2<f64> {
        let mut y = Array2::from_elem((x.nrows(), self.spec.output.len()), f64::NAN);
        let input = (x.view(), self.input);
        let mut kept = self.kept(x.nrows());
        let pass = Forward::new(input, parameters, y.view_mut(), Mode::Evaluation);
        f64::of(&self.definition).forward(pass.with_kept(&mut kept));
        y
    }

    /// Returns the gradients with respect to `x` and to the parameters. The layer's backward pass must not need `y` or
    /// kept values.
    pub(crate) fn pull(
        &self,
        parameters: &[Array2<f64>],
        x: &Array2<f64>,
        dy: &Array2<f64>,
    ) -> (Array2<f64>, Vec<Array2<f64>>) {
        let poisoned = |like: &Array2<f64>| like.mapv(|_| f64::NAN);
        let mut dx = poisoned(x);
        let mut gradients: Vec<_> = parameters.iter().map(poisoned).collect();
        let y = poisoned(dy);
        let input = (x.view(), self.input);
        let of_y = [y.view(), dy.view()];
        let pass = Backward::new(input, of_y, Some(dx.view_mut()), Mode::Evaluation);
        f64::of(&self.definition).backward(pass.with_parameters(parameters, &mut gradients));
        (dx, gradients)
    }
}

/// The results of a forward pass.
#[derive(Debug)]
pub(crate) struct Values<F> {
    /// All values. The last one is the output.
    pub(crate) values: Vec<Array2<F>>,
    /// The values that each layer keeps for its backward pass.
    kept: Vec<Vec<Array2<F>>>,
}

impl<F: Float> Values<F> {
    pub(crate) fn output(&self) -> &Array2<F> {
        &self.values[self.values.len() - 1]
    }
}

#[derive(Debug)]
pub(crate) struct Network {
    /// The shape of an example.
    pub(crate) input: Vec<usize>,
    pub(crate) spec: Sequential,
    /// How each value after the input is computed.
    pub(crate) nodes: Vec<Node>,
    pub(crate) layers: Vec<Placed>,
    /// The shape of each value.
    shapes: Vec<Shape>,
    /// The number of the value that the next layer reads.
    here: usize,
    named: BTreeMap<String, (usize, ValueRef)>,
    /// Sums of the relative differences between the crate's settings, which are `f32`, and the file's settings. The
    /// first sum is for the settings that the reference also stores in `f32`, the second for all settings.
    pub(crate) rounding: [f64; 2],
    /// The exclusive upper bound of the input's indices. `None` if the inputs are not indices.
    pub(crate) indices_below: Option<usize>,
}

impl Network {
    fn new(input: Shape) -> Self {
        Self {
            input: input.extents().to_vec(),
            spec: Sequential::input(input),
            nodes: Vec::new(),
            layers: Vec::new(),
            shapes: vec![input],
            here: 0,
            named: BTreeMap::new(),
            rounding: [0.0; 2],
            indices_below: None,
        }
    }

    /// Returns a chain of `Linear` layers with an activation between them. Its tensors in the file are `w1`, `b1`, `w2`
    /// and so on.
    pub(crate) fn chain(widths: &[usize], activation: Option<Activation>) -> Self {
        let mut network = Self::new(widths[0].into());
        for (number, &outputs) in (1..).zip(&widths[1..]) {
            let names = Names::Chain(number);
            let mut push = |made: Made| network.push(made, names).expect("a layer of features");
            if let (2.., Some(activation)) = (number, activation) {
                push(Made::activation(activation));
            }
            push(Made::linear(outputs));
        }
        network
    }

    /// Reads the network from the list of layers in the metadata.
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
            "mark" => {
                let value = (self.here, self.spec.here());
                self.named.insert(options.text("name")?, value);
            }
            "add" => {
                let other = self.named.get(&options.text("name")?);
                let (other, value) = other.ok_or_else(|| options.unknown("name"))?;
                self.spec = self.spec.clone().add(value.clone());
                self.nodes.push(Node::Sum([self.here, *other]));
                self.shapes.push(self.shapes[self.here]);
                self.here = self.nodes.len();
            }
            kind => {
                let made = Made::read(kind, options)?;
                if let (Kind::Embedding, 0) = (made.kind, self.here) {
                    self.indices_below = Some(options.count("count")?);
                }
                let pushed = self.push(made, Names::Listed(options.index));
                pushed.map_err(|error| options.refused(&error.to_string()))?;
            }
        }
        Ok(())
    }

    fn push(&mut self, made: Made, names: Names) -> Result<(), Error> {
        let input = self.shapes[self.here];
        let spec = made.layer.spec(&input)?;
        let kind = match made.kind {
            // The number of products follows from the shape of the weight: (inputs, outputs) or (outputs, …).
            Kind::Products { back, places, .. } => {
                let weight = &spec.parameters[0];
                let outputs = spec.parameters[1].shape.len();
                Kind::Products {
                    terms: weight.shape.len() / outputs,
                    back: back * outputs,
                    places: places * spec.output.len() / outputs,
                }
            }
            kind => kind,
        };
        let first = self
            .layers
            .last()
            .map_or([0; 2], |last| [last.parameters().end, last.state().end]);
        self.shapes.push(spec.output);
        self.layers.push(Placed {
            kind,
            definition: made.definition,
            input,
            spec,
            place: self.spec.layers().len(),
            names,
            first,
        });
        self.spec = self.spec.clone().layer(made.layer);
        for (sum, part) in self.rounding.iter_mut().zip(made.rounding) {
            *sum += part;
        }
        let layer = self.layers.len() - 1;
        self.nodes.push(Node::Layer {
            layer,
            x: self.here,
        });
        self.here = self.nodes.len();
        Ok(())
    }

    /// Returns the number of elements of an input row.
    pub(crate) fn inputs(&self) -> usize {
        self.shapes[0].len()
    }

    pub(crate) fn outputs(&self) -> usize {
        self.shapes[self.here].len()
    }

    pub(crate) fn has_state(&self) -> bool {
        self.layers.iter().any(|layer| !layer.spec.state.is_empty())
    }

    /// Reads the parameters of all layers from the tensors whose names begin with a role. Returns them in order, as
    /// matrices.
    pub(crate) fn parameters<T: Copy>(
        &self,
        role: &str,
        read: impl Fn(&str, &[usize]) -> Result<Vec<T>, Refusal>,
    ) -> Result<Vec<Array2<T>>, Refusal> {
        let layers = self.layers.iter();
        let all = layers.map(|layer| layer.read(role, &layer.spec.parameters, &read));
        Ok(all.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// Reads the state of all layers from the tensors whose names begin with a role. Returns it in order, as matrices.
    pub(crate) fn state<T: Copy>(
        &self,
        role: &str,
        read: impl Fn(&str, &[usize]) -> Result<Vec<T>, Refusal>,
    ) -> Result<Vec<Array2<T>>, Refusal> {
        let layers = self.layers.iter();
        let all = layers.map(|layer| layer.read(role, &layer.spec.state, &read));
        Ok(all.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// Returns the initial state of all layers.
    pub(crate) fn first_state<F: Float>(&self) -> Vec<Array2<F>> {
        let specs = self.layers.iter().flat_map(|layer| &layer.spec.state);
        let of_spec = |spec: &ParameterSpec| {
            let value = match spec.init {
                Init::Zeros => F::zero(),
                Init::Ones => F::one(),
                ref other => unreachable!("state that starts as {other:?}"),
            };
            Array2::from_elem(spec.tensor_shape().dims(), value)
        };
        specs.map(of_spec).collect()
    }

    /// Returns, for each state value, the factor with which the initial value still contributes after `steps` steps.
    pub(crate) fn left_of_state(&self, steps: usize) -> Vec<f64> {
        let of_layer = |layer: &Placed| {
            let left = match layer.kind {
                Kind::Normal { momentum, .. } => (1.0 - momentum).powf(steps as f64),
                _ => 0.0,
            };
            let values = layer.spec.state.iter().map(|spec| spec.shape.len());
            vec![left; values.sum()]
        };
        self.layers.iter().flat_map(of_layer).collect()
    }

    /// Returns the state with the crate's names and shapes.
    pub(crate) fn named_state<F: Float>(&self, state: &[Array2<F>]) -> Parameters<F> {
        let layers = self.layers.iter();
        layers
            .flat_map(|layer| layer.named(&layer.spec.state, &state[layer.state()]))
            .collect()
    }

    /// Returns the parameters with the crate's names and shapes.
    pub(crate) fn named<F: Float>(&self, parameters: &[Array2<F>]) -> Parameters<F> {
        let layers = self.layers.iter();
        layers
            .flat_map(|layer| layer.named(&layer.spec.parameters, &parameters[layer.parameters()]))
            .collect()
    }

    /// Computes every value of the network for these rows by the reference.
    pub(crate) fn values<F: Float>(
        &self,
        parameters: &[Array2<F>],
        state: &mut [Array2<F>],
        x: Array2<F>,
        mode: Mode,
    ) -> Values<F> {
        let rows = x.nrows();
        let mut values = vec![x];
        let mut all_kept = Vec::new();
        for node in &self.nodes {
            let shape = self.shapes[values.len()];
            let mut y = Array2::from_elem((rows, shape.len()), F::nan());
            match *node {
                Node::Sum([a, b]) => y.assign(&(&values[a] + &values[b])),
                Node::Layer { layer, x } => {
                    let layer = &self.layers[layer];
                    let mut kept = layer.kept(rows);
                    let input = (values[x].view(), layer.input);
                    let of_layer = &parameters[layer.parameters()];
                    let pass = Forward::new(input, of_layer, y.view_mut(), mode);
                    let pass = pass.with_state(&mut state[layer.state()]);
                    F::of(&layer.definition).forward(pass.with_kept(&mut kept));
                    all_kept.push(kept);
                }
            }
            values.push(y);
        }
        Values {
            values,
            kept: all_kept,
        }
    }

    /// Computes by the reference the gradients with respect to all parameters, from the gradient with respect to the
    /// output.
    pub(crate) fn gradients<F: Float>(
        &self,
        parameters: &[Array2<F>],
        state: &[Array2<F>],
        Values { values, kept }: &Values<F>,
        doutputs: Array2<F>,
        mode: Mode,
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
                Node::Layer { layer: at, x } => {
                    let layer = &self.layers[at];
                    let mut dx = poisoned(&values[x]);
                    let input = (values[x].view(), layer.input);
                    let of_values = [values[index + 1].view(), dy.view()];
                    let pass = Backward::new(input, of_values, Some(dx.view_mut()), mode);
                    let range = layer.parameters();
                    let of_layer = &parameters[range.clone()];
                    let pass = pass.with_parameters(of_layer, &mut gradients[range]);
                    let pass = pass.with_state(&state[layer.state()]);
                    F::of(&layer.definition).backward(pass.with_kept(&kept[at]));
                    by_values[x] += &dx;
                }
            }
        }
        gradients
    }
}

/// A layer that was read from the list of layers, before it gets its position in the network.
struct Made {
    layer: Box<dyn Layer>,
    definition: Twin,
    kind: Kind,
    rounding: [f64; 2],
}

impl Made {
    fn new(layer: impl Layer, kind: Kind) -> Self {
        Self {
            definition: layer.reference(),
            layer: Box::new(layer),
            kind,
            rounding: [0.0; 2],
        }
    }

    fn activation(of: Activation) -> Self {
        let made = Self::new(of.layer(), Kind::Activation(of));
        match of {
            // The reference also stores the slope in `f32`.
            Activation::LeakyRelu { slope } => Self {
                rounding: [(f64::from(single(slope)) - slope).abs(); 2],
                ..made
            },
            _ => made,
        }
    }

    fn linear(outputs: usize) -> Self {
        Self::new(ops::Linear::new(outputs), Self::products(1))
    }

    /// Returns the kind of a layer with `back` products per input gradient. The other fields are set later, from the
    /// weight's shape.
    fn products(back: usize) -> Kind {
        Kind::Products {
            terms: 0,
            back,
            places: 1,
        }
    }

    fn read(kind: &str, options: &Options<'_>) -> Result<Self, Refusal> {
        Ok(match kind {
            "linear" => Self::linear(options.count("outputs")?),
            "conv2d" => {
                let kernel = options.pair("kernel", None)?;
                let layer = ops::Conv2d::new(options.count("outputs")?, kernel)
                    .stride(options.pair("stride", Some([1, 1]))?)
                    .padding(options.pair("padding", Some([0, 0]))?)
                    .dilation(options.pair("dilation", Some([1, 1]))?);
                Self::new(layer, Self::products(kernel[0].saturating_mul(kernel[1])))
            }
            "max_pool2d" => {
                let window @ [kernel, stride, padding] = options.window()?;
                let layer = ops::MaxPool2d::new(kernel).stride(stride).padding(padding);
                Self::new(layer, Kind::MaxPool(window))
            }
            "avg_pool2d" => {
                let [kernel, stride, padding] = options.window()?;
                let layer = ops::AvgPool2d::new(kernel).stride(stride).padding(padding);
                let pixels = kernel[0].saturating_mul(kernel[1]);
                Self::new(layer, Kind::AvgPool { pixels })
            }
            "batch_norm" => {
                let eps = options.number("eps", Some(1e-5))?;
                let momentum = options.number("momentum", Some(0.1))?;
                let [of_layer, of_momentum] = [eps, momentum].map(single);
                let layer = ops::BatchNorm::new().eps(of_layer).momentum(of_momentum);
                Self {
                    definition: Twin::of(reference::BatchNorm { eps, momentum }),
                    rounding: [0.0, relative(eps) + relative(momentum)],
                    ..Self::new(
                        layer,
                        Kind::Normal {
                            of: Normal::Channels,
                            eps,
                            momentum,
                        },
                    )
                }
            }
            "layer_norm" => {
                let eps = options.number("eps", Some(1e-5))?;
                let layer = ops::LayerNorm::new().eps(single(eps));
                Self {
                    definition: Twin::of(reference::LayerNorm { eps }),
                    rounding: [0.0, relative(eps)],
                    ..Self::new(
                        layer,
                        Kind::Normal {
                            of: Normal::Rows,
                            eps,
                            momentum: 0.0,
                        },
                    )
                }
            }
            "embedding" => {
                let [count, width] = [options.count("count")?, options.count("width")?];
                Self::new(ops::Embedding::new(count, width), Kind::Embedding)
            }
            "flatten" => Self::new(ops::Flatten, Kind::Flatten),
            "relu" => Self::activation(Activation::Relu),
            "sigmoid" => Self::activation(Activation::Sigmoid),
            "tanh" => Self::activation(Activation::Tanh),
            "gelu" => Self::activation(Activation::Gelu),
            "leaky_relu" => {
                let slope = options.number("slope", None)?;
                Self::activation(Activation::LeakyRelu { slope })
            }
            _ => return Err(options.unknown("layer")),
        })
    }
}

/// An entry of the list of layers.
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

    /// Reads a count, which must be at least 1.
    fn count(&self, key: &str) -> Result<usize, Refusal> {
        let count = self.get(key)?.as_u64();
        let count = count.and_then(|count| usize::try_from(count).ok());
        let count = count.filter(|count| *count > 0);
        count.ok_or_else(|| self.unknown(key))
    }

    fn number(&self, key: &str, default: Option<f64>) -> Result<f64, Refusal> {
        match (self.layer.get(key), default) {
            (None, Some(default)) => Ok(default),
            _ => self.get(key)?.as_f64().ok_or_else(|| self.unknown(key)),
        }
    }

    /// Reads a pair [height, width].
    fn pair(&self, key: &str, default: Option<[usize; 2]>) -> Result<[usize; 2], Refusal> {
        match (self.layer.get(key), default) {
            (None, Some(default)) => Ok(default),
            _ => pair(self.get(key)?).ok_or_else(|| self.unknown(key)),
        }
    }

    /// Reads kernel, stride and padding of a pooling layer, with PyTorch's defaults.
    fn window(&self) -> Result<Window, Refusal> {
        let kernel = self.pair("kernel", None)?;
        let stride = self.pair("stride", Some(kernel))?;
        Ok([kernel, stride, self.pair("padding", Some([0, 0]))?])
    }

    /// Returns a refusal of this entry, with the reason `why`.
    fn refused(&self, why: &str) -> Refusal {
        let index = self.index;
        let layer = Value::Object(self.layer.clone());
        let file = self.file;
        file.failed(format!(
            "metadata key \"network\": layer {index}, {layer}: {why}"
        ))
    }

    fn failed(&self, key: &str, what: &str) -> Refusal {
        let index = self.index;
        let layer = Value::Object(self.layer.clone());
        self.file.failed(format!(
            "metadata key \"network\": \"{key}\" of layer {index}, {layer}, is {what}"
        ))
    }

    fn unknown(&self, key: &str) -> Refusal {
        self.failed(key, "unknown")
    }

    /// Fails if this entry has a setting that golden files do not support for a layer of its kind.
    fn all_read(&self) -> Result<(), Refusal> {
        let known: &[&str] = match self.layer.get("layer").and_then(Value::as_str) {
            Some("linear") => &["layer", "outputs"],
            Some("conv2d") => &[
                "layer", "outputs", "kernel", "stride", "padding", "dilation",
            ],
            Some("max_pool2d" | "avg_pool2d") => &["layer", "kernel", "stride", "padding"],
            Some("batch_norm") => &["layer", "eps", "momentum"],
            Some("layer_norm") => &["layer", "eps"],
            Some("embedding") => &["layer", "count", "width"],
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

pub(crate) fn single(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "the crate's own type")]
    let value = value as f32;
    value
}

/// Returns the relative difference between a setting and its `f32` value.
pub(crate) fn relative(value: f64) -> f64 {
    match value {
        0.0 => 0.0,
        value => (f64::from(single(value)) / value - 1.0).abs(),
    }
}
