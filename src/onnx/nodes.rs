//! Writes the values of a network as operators.

use super::layers;
use super::proto::{
    AttributeProto, AttributeType, DataType, DimensionProto, GraphProto, NodeProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::error::OnnxError;
use crate::network::{Graph, Source};
use crate::shape::Shape;

/// Name of the graph's input, which has the features of all network inputs.
const INPUT: &str = "x";
/// Name of the graph's output, which is the network's last value, flattened.
const OUTPUT: &str = "y";
/// Name of the symbolic extent for the number of rows.
const ROWS: &str = "rows";

/// Writes the graph of the whole network without its parameters. Its only initializers are the constants.
pub(super) fn graph(network: &Graph) -> Result<GraphProto, OnnxError> {
    let mut nodes = Nodes::new(network);
    for (index, value) in network.values.iter().enumerate() {
        match &value.source {
            Source::Input { first } => nodes.input(index, *first),
            Source::Layer { layer, x } => layers::write(&mut nodes, *layer, *x)?,
            Source::Sum(of) => nodes.join(index, "Add", of, Vec::new()),
            Source::Concat(of) => nodes.join(index, "Concat", of, vec![int("axis", 1)]),
        }
    }
    Ok(nodes.finish())
}

/// The graph while it is being written.
pub(super) struct Nodes<'a> {
    pub(super) network: &'a Graph,
    /// Names of all values.
    names: Vec<String>,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl<'a> Nodes<'a> {
    fn new(network: &'a Graph) -> Self {
        let indices = 0..network.values.len();
        Self {
            network,
            names: indices.map(|index| name(network, index)).collect(),
            nodes: Vec::new(),
            constants: Vec::new(),
        }
    }

    /// Name of a value.
    pub(super) fn name(&self, value: usize) -> String {
        self.names[value].clone()
    }

    /// Shape of one row of a value.
    pub(super) fn shape(&self, value: usize) -> Shape {
        self.network.values[value].shape
    }

    /// Adds an operator with one output. `doc` is a description for users.
    pub(super) fn push(
        &mut self,
        operator: &str,
        input: Vec<String>,
        output: &str,
        attribute: Vec<AttributeProto>,
        doc: &str,
    ) {
        self.nodes.push(NodeProto {
            input,
            output: vec![output.to_owned()],
            name: output.to_owned(),
            op_type: operator.to_owned(),
            attribute,
            doc_string: doc.to_owned(),
        });
    }

    /// Adds a number as a constant; returns its name.
    pub(super) fn number(&mut self, name: String, number: f32) -> String {
        self.constants.push(TensorProto {
            raw_data: number.to_le_bytes().to_vec(),
            ..tensor(name.clone(), &[], DataType::Float)
        });
        name
    }

    /// Adds a tensor of numbers, row-major, as a constant; returns its name.
    pub(super) fn numbers(&mut self, name: String, extents: &[usize], numbers: &[f32]) -> String {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
        self.constants.push(TensorProto {
            raw_data: bytes.collect(),
            ..tensor(name.clone(), extents, DataType::Float)
        });
        name
    }

    /// Adds a vector of integers as a constant; returns its name.
    pub(super) fn integers(&mut self, name: String, integers: &[i64]) -> String {
        let bytes = integers.iter().flat_map(|integer| integer.to_le_bytes());
        self.constants.push(TensorProto {
            raw_data: bytes.collect(),
            ..tensor(name.clone(), &[integers.len()], DataType::Int64)
        });
        name
    }

    /// Returns the name of a value of shape (rows, elements). If the value has to be flattened for this, the result is
    /// called `name`.
    pub(super) fn flat(&mut self, value: usize, name: &str) -> String {
        let of_value = self.name(value);
        if self.shape(value).rank() == 1 {
            return of_value;
        }
        self.push("Flatten", vec![of_value], name, vec![int("axis", 1)], "");
        name.to_owned()
    }

    /// Writes a network input: the columns of the features that begin at column `first`.
    fn input(&mut self, value: usize, first: usize) {
        let shape = self.shape(value);
        let output = self.name(value);
        let place = automatic(self.network, value);
        let mut columns = INPUT.to_owned();
        if self.network.inputs > 1 {
            columns = match shape.rank() {
                1 => output.clone(),
                _ => format!("{place}.columns"),
            };
            let bounds = [("first", first), ("end", first + shape.len()), ("axis", 1)];
            let bounds =
                bounds.map(|(of, at)| self.integers(format!("{place}.{of}"), &[to_i64(at)]));
            let input = [&[INPUT.to_owned()], &bounds[..]].concat();
            self.push("Slice", input, &columns, Vec::new(), "");
        }
        if shape.rank() > 1 {
            // In ONNX, 0 keeps the extent of the input, which is the number of rows here.
            let extents = shape.extents().iter().map(|&extent| to_i64(extent));
            let extents: Vec<i64> = [0].into_iter().chain(extents).collect();
            let extents = self.integers(format!("{place}.shape"), &extents);
            self.push("Reshape", vec![columns, extents], &output, Vec::new(), "");
        }
    }

    fn join(&mut self, value: usize, operator: &str, of: &[usize], attribute: Vec<AttributeProto>) {
        let input = of.iter().map(|&operand| self.name(operand)).collect();
        let output = self.name(value);
        self.push(operator, input, &output, attribute, "");
    }

    fn finish(mut self) -> GraphProto {
        let network = self.network;
        let last = network.values.len() - 1;
        self.flat(last, OUTPUT);
        let between = network.values.iter().zip(&self.names);
        let between = between.filter(|(_, name)| ![INPUT, OUTPUT].contains(&name.as_str()));
        GraphProto {
            value_info: between
                .map(|(value, name)| value_info(name, value.shape.extents()))
                .collect(),
            node: self.nodes,
            name: "network".to_owned(),
            initializer: self.constants,
            input: vec![value_info(INPUT, &[network.features()])],
            output: vec![value_info(OUTPUT, &[network.outputs()])],
        }
    }
}

/// The name of a value: `x` or `y` for flat features or outputs, otherwise its name in the network.
fn name(network: &Graph, value: usize) -> String {
    let is_flat = network.values[value].shape.rank() == 1;
    let is_input = network.inputs == 1 && value == 0;
    let is_output = value + 1 == network.values.len();
    match &*network.values[value].name {
        _ if is_flat && is_input => INPUT.to_owned(),
        _ if is_flat && is_output => OUTPUT.to_owned(),
        INPUT | OUTPUT => automatic(network, value),
        name => name.to_owned(),
    }
}

/// The automatic name of a value; no user can give this name to another value. It is also the prefix of all names that
/// belong to the value.
pub(super) fn automatic(network: &Graph, value: usize) -> String {
    match network.values[value].source {
        Source::Input { .. } if network.inputs == 1 => "input".to_owned(),
        Source::Input { .. } => format!("inputs.{value}"),
        Source::Layer { layer, .. } => format!("layers.{layer}"),
        Source::Sum(_) | Source::Concat(_) => format!("values.{value}"),
    }
}

/// Makes a tensor without its data.
pub(super) fn tensor(name: String, extents: &[usize], element: DataType) -> TensorProto {
    TensorProto {
        dims: extents.iter().map(|&extent| to_i64(extent)).collect(),
        data_type: element.into(),
        name,
        raw_data: Vec::new(),
    }
}

/// Makes the name and type of a value. Its shape is the number of rows and the given extents of a row.
fn value_info(name: &str, extents: &[usize]) -> ValueInfoProto {
    let rows = DimensionProto {
        dim_param: Some(ROWS.to_owned()),
        ..DimensionProto::default()
    };
    let extents = extents.iter().map(|&extent| DimensionProto {
        dim_value: Some(to_i64(extent)),
        ..DimensionProto::default()
    });
    let shape = TensorShapeProto {
        dim: [rows].into_iter().chain(extents).collect(),
    };
    let tensor = TensorTypeProto {
        elem_type: DataType::Float.into(),
        shape: Some(shape),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(tensor),
        }),
    }
}

/// Makes an attribute that is a float.
pub(super) fn float(name: &str, number: f32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        f: Some(number),
        r#type: AttributeType::Float.into(),
        ..AttributeProto::default()
    }
}

/// Makes an attribute that is an integer.
pub(super) fn int(name: &str, integer: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        i: Some(integer),
        r#type: AttributeType::Int.into(),
        ..AttributeProto::default()
    }
}

/// Makes an attribute that is a list of sizes.
pub(super) fn sizes(name: &str, sizes: impl IntoIterator<Item = usize>) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        ints: sizes.into_iter().map(to_i64).collect(),
        r#type: AttributeType::Ints.into(),
        ..AttributeProto::default()
    }
}

/// Converts a size. It cannot overflow: the limit on the file's size rejects larger networks before.
fn to_i64(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
