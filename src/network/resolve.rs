//! Computes all shapes and parameters of a network from its description, by asking every layer for its spec.

use std::sync::Arc;

use super::graph::{Graph, Parameter, Source, Use, Value};
use super::sequential::{Mistake, Sequential};
use super::summary::Summary;
use crate::error::Error;
use crate::ops::{Layer, LayerSpec, Layout, ParameterSpec, shared};
use crate::random::layer_key;
use crate::shape::Shape;

impl Sequential {
    /// Shape of the output for one row.
    ///
    /// # Errors
    /// [`Error::Setting`] when the network is invalid: for example, when a layer does not accept its input.
    pub fn output(&self) -> Result<Shape, Error> {
        Ok(self.graph()?.output().shape)
    }

    /// Returns a printable summary: layers, shapes, parameters, operations and memory.
    ///
    /// ```
    /// let summary = wgrad::TwoLayerNet::spec(784, 50, 10).summary()?;
    /// assert_eq!((summary.parameters(), summary.layers.len()), (39_760, 3));
    /// println!("{summary}");
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`output`](Self::output).
    pub fn summary(&self) -> Result<Summary, Error> {
        Ok(Summary::of(&self.graph()?))
    }

    /// Returns the network with all its shapes.
    ///
    /// # Errors
    /// The errors of [`output`](Self::output).
    pub(crate) fn graph(&self) -> Result<Graph, Error> {
        self.mistake.as_ref().map_or(Ok(()), Mistake::error)?;
        let mut graph = Graph {
            values: Vec::new(),
            uses: Vec::new(),
            parameters: Vec::new(),
            state: Vec::new(),
            inputs: 0,
            seed: self.seed,
            columns: self.columns.clone(),
        };
        for (index, source) in self.sources.iter().enumerate() {
            let (shape, name) = match source {
                Source::Input { .. } => graph.input(self)?,
                Source::Layer { layer, x } => graph.layer(&self.layers, *layer, *x)?,
                Source::Sum(of) => (graph.shape_of_sum(*of)?, format!("values.{index}")),
                Source::Concat(of) => (graph.shape_of_concat(of)?, format!("values.{index}")),
            };
            let given = self.names.iter().find(|(_, value)| *value == index);
            let name = given.map_or(name, |(given, _)| given.clone());
            graph.add(source.clone(), shape, name);
        }
        graph.check(self)?;
        graph.resolve_auto_init();
        Ok(graph)
    }
}

impl Graph {
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
            .map_err(|error| error.of(&place))?;
        if spec.output.is_empty() {
            let what = format!("shape of the output of {place}");
            return Err(Error::setting(
                what,
                "at least 1 along each extent",
                spec.output,
            ));
        }
        let named: Vec<&ParameterSpec> = spec.parameters.iter().chain(&spec.state).collect();
        for (at, parameter) in named.iter().enumerate() {
            check_parameter(index, parameter)?;
            let is_taken = named[..at].iter().any(|other| other.name == parameter.name);
            if parameter.name.is_empty() || is_taken {
                let what = format!("name of a parameter or value of the state of {place}");
                let expected = "not empty, and different from the other names";
                return Err(Error::setting(
                    what,
                    expected,
                    format!("\"{}\"", parameter.name),
                ));
            }
        }
        check_kept(index, &spec)?;
        self.check_indices(&place, &spec, x)?;
        // Find the earlier use of the same layer. Layers without parameters and state have nothing to share.
        let mut uses = self.uses.iter();
        let earlier = uses
            .find(|earlier| Arc::ptr_eq(shared(&earlier.layer), shared(layer)))
            .filter(|_| !named.is_empty());
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

    /// Checks that a layer that takes indices reads an input of the network: no layer outputs indices.
    fn check_indices(&self, place: &str, spec: &LayerSpec, x: usize) -> Result<(), Error> {
        let value = &self.values[x];
        if spec.indices_below.is_none() || matches!(value.source, Source::Input { .. }) {
            return Ok(());
        }
        let expected = "an input of the network, because the layer takes indices: put the layer first, or give the \
                        network another input for the indices";
        let what = format!("input of {place}");
        Err(Error::setting(what, expected, &value.name))
    }

    fn shape_of_sum(&self, of: [usize; 2]) -> Result<Shape, Error> {
        let [first, second] = of.map(|value| self.values[value].shape);
        if first == second {
            Ok(first)
        } else {
            Err(Error::Setting {
                name: format!(
                    "shape of {}, which is added to another value,",
                    self.values[of[1]].name
                ),
                expected: format!("{first}, the shape of {}", self.values[of[0]].name),
                found: second.to_string(),
            })
        }
    }

    /// Returns the shape of a concatenation along the first dimension: in each row, the elements of a value follow
    /// those of the value before it.
    fn shape_of_concat(&self, of: &[usize]) -> Result<Shape, Error> {
        let shapes: Vec<Shape> = of.iter().map(|&value| self.values[value].shape).collect();
        let inner = &shapes[0].extents()[1..];
        for (shape, &value) in shapes.iter().zip(of).skip(1) {
            if shape.extents()[1..] != *inner {
                return Err(Error::Setting {
                    name: format!(
                        "shape of {}, which is concatenated,",
                        self.values[value].name
                    ),
                    expected: format!(
                        "that of {} except for the first extent, {}",
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
                "at least 1: give it to a layer, a sum or a concatenation, or leave it out";
            return Err(Error::setting(what, expected, 0));
        }
        let columns = self.columns.as_ref().map(|of| &of.columns);
        if let Some(columns) = columns.filter(|columns| columns.outputs() != self.outputs()) {
            let expected = format!(
                "{}, the number of outputs that its columns need",
                columns.outputs()
            );
            let what = "number of the network's outputs";
            return Err(Error::setting(what, expected, self.outputs()));
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
        let expected = "of two extents, because files store it transposed";
        return Err(Error::setting(name(), expected, spec.shape));
    }
    Ok(())
}

/// Checks that a layer that is used again has the same parameters and state in both uses.
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

fn check_kept(layer: usize, spec: &LayerSpec) -> Result<(), Error> {
    for (at, kept) in spec.kept.iter().enumerate() {
        let full_name = format!("layers.{layer}.{}", kept.name);
        if kept.shape.is_empty() {
            let what = format!("shape of {full_name}, which is kept,");
            return Err(Error::setting(
                what,
                "at least 1 along each extent",
                kept.shape,
            ));
        }
        if kept.name.is_empty() || spec.kept[..at].iter().any(|other| other.name == kept.name) {
            let what = format!("name of a value that layers.{layer} keeps");
            let expected = "not empty, and different from the other names";
            return Err(Error::setting(what, expected, format!("\"{}\"", kept.name)));
        }
    }
    Ok(())
}
