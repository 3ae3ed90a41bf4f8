//! A network with all its shapes: values in order, what each is made of, and how gradients flow back.

mod initial;

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use super::sequential::{Mistake, Sequential};
use crate::error::Error;
use crate::ops::{Layer, LayerSpec, Layout, Linear, ParameterSpec, Relu, shared, unwrapped};
use crate::random::layer_key;
use crate::shape::Shape;

/// What a value is made of. Values are known by their index; none is made of a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Columns of the features, from this one on: an input of the network.
    Input { first: usize },
    /// What a use of a layer gives.
    Layer { layer: usize, x: usize },
    /// The sum of two values.
    Sum([usize; 2]),
    /// Values one after another, along their first extent.
    Concat(Vec<usize>),
}

impl Source {
    /// The values that it is made of.
    pub(crate) fn operands(&self) -> &[usize] {
        match self {
            Self::Input { .. } => &[],
            Self::Layer { x, .. } => std::slice::from_ref(x),
            Self::Sum(of) => of,
            Self::Concat(of) => of,
        }
    }
}

/// A value of the network.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) source: Source,
    pub(crate) shape: Shape,
    /// What it is called in messages and tables.
    pub(crate) name: String,
    /// The values that are made of it, in order; twice where it is an operand twice.
    pub(crate) readers: Vec<usize>,
    /// Whether there are parameters that it depends on: nobody else reads its gradient.
    pub(crate) is_trained: bool,
}

/// One use of a layer.
#[derive(Debug, Clone)]
pub(crate) struct Use {
    pub(crate) layer: Arc<dyn Layer>,
    pub(crate) spec: LayerSpec,
    /// The value that it gives.
    pub(crate) value: usize,
    /// Where its parameters and its state are among those of the network.
    pub(crate) parameters: Range<usize>,
    pub(crate) state: Range<usize>,
    /// What it draws random numbers under.
    pub(crate) key: [u32; 2],
    /// Whether an earlier use of the layer has brought the parameters.
    pub(crate) is_repeated: bool,
}

/// A parameter, or a value of a layer's state.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    /// `layers.<index>.<name>`.
    pub(crate) name: String,
    /// With its initial values said, instead of [`Init::Auto`].
    pub(crate) spec: ParameterSpec,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Graph {
    pub(crate) values: Vec<Value>,
    pub(crate) uses: Vec<Use>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) state: Vec<Parameter>,
    /// Number of inputs.
    pub(crate) inputs: usize,
    seed: u64,
}

impl Graph {
    /// Asks every layer for its spec.
    pub(super) fn new(network: &Sequential) -> Result<Self, Error> {
        network.mistake.as_ref().map_or(Ok(()), Mistake::error)?;
        let mut graph = Self {
            values: Vec::new(),
            uses: Vec::new(),
            parameters: Vec::new(),
            state: Vec::new(),
            inputs: 0,
            seed: network.seed,
        };
        for source in &network.sources {
            let (shape, name) = match source {
                Source::Input { .. } => graph.input(network)?,
                Source::Layer { layer, x } => graph.layer(&network.layers, *layer, *x)?,
                Source::Sum(of) => (
                    graph.shape_of_sum(*of)?,
                    format!("sum of {}", graph.names(of)),
                ),
                Source::Concat(of) => (graph.shape_of_concat(of)?, graph.names(of)),
            };
            let index = graph.values.len();
            let given = network.names.iter().find(|(_, value)| *value == index);
            let name = given.map_or(name, |(given, _)| given.clone());
            graph.add(source.clone(), shape, name);
        }
        graph.check(network)?;
        graph.say_initial_values();
        Ok(graph)
    }

    fn add(&mut self, source: Source, shape: Shape, name: String) {
        let index = self.values.len();
        let mut is_trained = false;
        for &operand in source.operands() {
            self.values[operand].readers.push(index);
            is_trained |= self.values[operand].is_trained;
        }
        if let Source::Layer { layer, .. } = source {
            is_trained |= !self.uses[layer].parameters.is_empty();
        }
        self.values.push(Value {
            source,
            shape,
            name,
            readers: Vec::new(),
            is_trained,
        });
    }

    fn input(&mut self, network: &Sequential) -> Result<(Shape, String), Error> {
        let shape = network.inputs[self.inputs];
        let name = match network.inputs.len() {
            1 => "input".to_owned(),
            _ => format!("inputs.{}", self.inputs),
        };
        self.inputs += 1;
        if shape.is_empty() {
            let what = format!("shape of the network's {name}");
            return Err(Error::setting(what, "at least 1 along each extent", shape));
        }
        Ok((shape, name))
    }

    fn layer(
        &mut self,
        layers: &[Arc<dyn Layer>],
        index: usize,
        x: usize,
    ) -> Result<(Shape, String), Error> {
        let layer = &layers[index];
        let place = format!("layers.{index}, {},", layer.name());
        let spec = layer
            .spec(&self.values[x].shape)
            .map_err(|error| placed(error, &place))?;
        if spec.output.is_empty() {
            let what = format!("shape of the output of {place}");
            return Err(Error::setting(
                what,
                "at least 1 along each extent",
                spec.output,
            ));
        }
        for spec in spec.parameters.iter().chain(&spec.state) {
            check_parameter(index, spec)?;
        }
        let earlier = match shared(&**layer) {
            None => None,
            Some(arc) => self.uses.iter().find(|earlier| {
                shared(&*earlier.layer).is_some_and(|other| Arc::ptr_eq(arc, other))
            }),
        };
        let (parameters, state, is_repeated) = match earlier {
            Some(earlier) => {
                check_same(&place, &earlier.spec, &spec)?;
                (earlier.parameters.clone(), earlier.state.clone(), true)
            }
            None => {
                let add = |all: &mut Vec<Parameter>, specs: &[ParameterSpec]| {
                    let first = all.len();
                    all.extend(specs.iter().map(|spec| Parameter {
                        name: format!("layers.{index}.{}", spec.name),
                        spec: spec.clone(),
                    }));
                    first..all.len()
                };
                let parameters = add(&mut self.parameters, &spec.parameters);
                (parameters, add(&mut self.state, &spec.state), false)
            }
        };
        let output = spec.output;
        self.uses.push(Use {
            layer: Arc::clone(layer),
            spec,
            value: self.values.len(),
            parameters,
            state,
            key: layer_key(self.seed, u32::try_from(index).unwrap_or(u32::MAX)),
            is_repeated,
        });
        Ok((output, format!("layers.{index}")))
    }

    fn names(&self, of: &[usize]) -> String {
        let names = of.iter().map(|&value| self.values[value].name.as_str());
        names.collect::<Vec<_>>().join(" and ")
    }

    fn shape_of_sum(&self, of: [usize; 2]) -> Result<Shape, Error> {
        let [first, second] = of.map(|value| self.values[value].shape);
        match first == second {
            true => Ok(first),
            false => Err(Error::Setting {
                name: format!(
                    "shape of {}, to be added to another value,",
                    self.values[of[1]].name
                ),
                expected: format!("{first}, that of {}", self.values[of[0]].name),
                found: second.to_string(),
            }),
        }
    }

    /// Values follow one another in memory as they do along their first extent.
    fn shape_of_concat(&self, of: &[usize]) -> Result<Shape, Error> {
        let shapes: Vec<Shape> = of.iter().map(|&value| self.values[value].shape).collect();
        let inner = &shapes[0].extents()[1..];
        for (shape, &value) in shapes.iter().zip(of).skip(1) {
            if shape.extents()[1..] != *inner {
                return Err(Error::Setting {
                    name: format!("shape of {}, to be concatenated,", self.values[value].name),
                    expected: format!(
                        "that of {} but for the first extent, {}",
                        self.values[of[0]].name, shapes[0]
                    ),
                    found: shape.to_string(),
                });
            }
        }
        let first = shapes
            .iter()
            .map(|shape| shape.extents()[0])
            .fold(0, usize::saturating_add);
        Ok(match *inner {
            [] => Shape::from(first),
            [a] => Shape::from([first, a]),
            [a, b] => Shape::from([first, a, b]),
            [a, b, c, ..] => Shape::from([first, a, b, c]),
        })
    }

    fn check(&self, network: &Sequential) -> Result<(), Error> {
        let output = network.here;
        let unread = |value: &usize| self.values[*value].readers.is_empty() && *value != output;
        if let Some(value) = (0..self.values.len()).find(unread) {
            let what = format!("readers of {}", self.values[value].name);
            let expected =
                "at least 1: let a layer, a sum or a concatenation take it, or leave it out";
            return Err(Error::setting(what, expected, 0));
        }
        if self.parameters.is_empty() {
            let expected = "above 0: add a Linear layer";
            return Err(Error::setting(
                "number of trainable parameters",
                expected,
                0,
            ));
        }
        Ok(())
    }

    /// Elements of all inputs together: of a row of features.
    pub(crate) fn features(&self) -> usize {
        let inputs = self.values.iter().take(self.inputs);
        inputs
            .map(|value| value.shape.len())
            .fold(0, usize::saturating_add)
    }

    /// The last value: what the network gives.
    pub(crate) fn output(&self) -> &Value {
        &self.values[self.values.len() - 1]
    }

    /// Elements of an output.
    pub(crate) fn outputs(&self) -> usize {
        self.output().shape.len()
    }

    /// Elements of each value.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = usize> {
        self.values.iter().map(|value| value.shape.len())
    }

    /// Number of trainable values.
    pub(crate) fn parameter_count(&self) -> u64 {
        let sizes = self
            .parameters
            .iter()
            .map(|parameter| parameter.spec.shape.len() as u64);
        sizes.fold(0, u64::saturating_add)
    }

    /// The only input, where the first layer alone takes it: it may then be in another form than floats.
    pub(crate) fn first_use(&self) -> Option<&Use> {
        let [reader] = self.values[0].readers[..] else {
            return None;
        };
        match self.values[reader].source {
            Source::Layer { layer, .. } if self.inputs == 1 => Some(&self.uses[layer]),
            _ => None,
        }
    }

    /// The output of a `Relu` that alone takes what this use of a `Linear` gives. Both are recorded as one product,
    /// which stores what the `Relu` gives: that saves a dispatch, and a tensor that is written and read.
    pub(crate) fn relu_behind(&self, of_use: &Use) -> Option<usize> {
        let [reader] = self.values[of_use.value].readers[..] else {
            return None;
        };
        (is::<Linear>(of_use) && self.is_value_of::<Relu>(reader)).then_some(reader)
    }

    /// The input of a `Relu` whose output this use of a `Linear` alone takes. Their gradients are recorded as one
    /// product, which stores that by the input of the `Relu`, to save the same.
    pub(crate) fn relu_before(&self, of_use: &Use) -> Option<usize> {
        let Source::Layer { x, .. } = self.values[of_use.value].source else {
            return None;
        };
        let is_alone = self.values[x].readers.len() == 1;
        match self.values[x].source {
            Source::Layer { x: input, .. }
                if is_alone && is::<Linear>(of_use) && self.is_value_of::<Relu>(x) =>
            {
                Some(input)
            }
            _ => None,
        }
    }

    fn is_value_of<L: Layer>(&self, value: usize) -> bool {
        match self.values[value].source {
            Source::Layer { layer, .. } => is::<L>(&self.uses[layer]),
            _ => false,
        }
    }

    /// The network in a line, by which a checkpoint knows it: for example `784 → Linear(50) → Relu → Linear(10)`.
    pub(crate) fn line(&self) -> String {
        let mut parts = Vec::new();
        let name = |value: usize| match &self.values[value].source {
            Source::Layer { layer, .. } => format!("layers.{layer}"),
            Source::Input { .. } => format!("inputs.{value}"),
            Source::Sum(_) | Source::Concat(_) => format!("values.{value}"),
        };
        for (index, value) in self.values.iter().enumerate() {
            let from = |x: usize| match x + 1 == index {
                true => String::new(),
                false => format!("{} ⇒ ", name(x)),
            };
            parts.push(match &value.source {
                Source::Input { .. } => value.shape.to_string(),
                Source::Layer { layer, x } => {
                    let of_use = &self.uses[*layer];
                    let again = if of_use.is_repeated { " again" } else { "" };
                    format!("{}{}{again}", from(*x), of_use.layer.name())
                }
                Source::Sum([a, b]) => format!("{}+ {}", from(*a), name(*b)),
                Source::Concat(of) => {
                    let names: Vec<String> = of.iter().map(|&value| name(value)).collect();
                    format!("[{}]", names.join(", "))
                }
            });
        }
        parts.join(" → ")
    }

    /// What decides the initial parameters, and what layers draw.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }
}

fn is<L: Layer>(of_use: &Use) -> bool {
    let any: &dyn Any = unwrapped(&*of_use.layer);
    any.is::<L>()
}

/// What a layer says of its settings, with the layer's place.
fn placed(error: Error, place: &str) -> Error {
    match error {
        Error::Setting {
            name,
            expected,
            found,
        } => Error::Setting {
            name: format!("{name} of {place}"),
            expected,
            found,
        },
        error => error,
    }
}

fn check_parameter(layer: usize, spec: &ParameterSpec) -> Result<(), Error> {
    spec.init.check()?;
    let name = || format!("shape of layers.{layer}.{}", spec.name);
    if spec.shape.is_empty() {
        return Err(Error::setting(
            name(),
            "at least 1 along each extent",
            spec.shape,
        ));
    }
    let full_name = format!("layers.{layer}.{}", spec.name);
    spec.init.check_values(&full_name, &spec.shape, spec.fans)?;
    if spec.layout == Layout::Transposed && spec.shape.rank() != 2 {
        let expected = "of two extents, as it lies transposed in files";
        return Err(Error::setting(name(), expected, spec.shape));
    }
    Ok(())
}

/// A layer that is used again must have the same parameters and state there.
fn check_same(place: &str, earlier: &LayerSpec, spec: &LayerSpec) -> Result<(), Error> {
    let shapes = |spec: &LayerSpec| -> Vec<(&'static str, Shape)> {
        let all = spec.parameters.iter().chain(&spec.state);
        all.map(|spec| (spec.name, spec.shape)).collect()
    };
    let [expected, found] = [shapes(earlier), shapes(spec)];
    if expected == found {
        return Ok(());
    }
    let listed = |shapes: &[(&str, Shape)]| {
        let shapes = shapes.iter().map(|(name, shape)| format!("{name} {shape}"));
        shapes.collect::<Vec<_>>().join(", ")
    };
    let name = format!("parameters of {place} where it is used again");
    Err(Error::setting(name, listed(&expected), listed(&found)))
}
