use std::sync::Arc;

use super::graph::Source;
use crate::data::FittedColumns;
use crate::error::Error;
use crate::ops::{Embedding, Flatten, Layer};
use crate::shape::Shape;

/// The description of a network: layers in order. The output of a layer can also be used again later.
///
/// Inputs, outputs of layers, sums and concatenations are called the values of the network. The current value is the
/// value that was added last, unless [`at`](Self::at) selects another one. It is the input of the next layer.
///
/// ```
/// use wgrad::ops::{Linear, Relu};
/// use wgrad::{Sequential, Shape};
///
/// let network = Sequential::input(784).layer(Linear::new(50)).layer(Relu).layer(Linear::new(10));
/// assert_eq!(network.output()?, Shape::from(10));
/// assert_eq!(network.summary()?.parameters(), 784 * 50 + 50 + 50 * 10 + 10);
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// A residual connection adds an earlier value to the current value:
///
/// ```
/// # use wgrad::ops::{Linear, Relu};
/// # use wgrad::Sequential;
/// let network = Sequential::input(20).layer(Linear::new(64));
/// let skip = network.here();
/// let network = network.layer(Relu).layer(Linear::new(64)).add(skip).layer(Linear::new(5));
/// # network.output()?;
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// The methods of this type return no errors. A mistake in the description is reported when the network is built.
#[derive(Debug, Clone)]
pub struct Sequential {
    pub(super) inputs: Vec<Shape>,
    pub(super) layers: Vec<Arc<dyn Layer>>,
    /// How each value is computed.
    pub(super) sources: Vec<Source>,
    /// Index of the value that is the input of the next layer.
    pub(super) here: usize,
    pub(super) names: Vec<(String, usize)>,
    pub(super) seed: u64,
    /// The table columns from which a row of features is made; `None` if they were not given.
    pub(super) columns: Option<Arc<ColumnsOf>>,
    /// The first mistake in the description.
    pub(super) mistake: Option<Mistake>,
    /// Identifies the network to which a [`ValueRef`] belongs. Only clones share it.
    origin: Arc<()>,
}

/// The table columns from which a row of features is made, and their JSON text, which files contain.
#[derive(Debug)]
pub(crate) struct ColumnsOf {
    pub(crate) columns: FittedColumns,
    pub(crate) text: String,
}

/// A reference to a value of a network. [`Sequential::here`] returns one; a name that was given with
/// [`Sequential::named`] converts to one.
#[derive(Debug, Clone)]
pub struct ValueRef(Ref);

#[derive(Debug, Clone)]
enum Ref {
    /// Index of the value, and the `origin` of the network to which it belongs.
    Index(usize, Arc<()>),
    Name(String),
}

impl From<&str> for ValueRef {
    fn from(name: &str) -> Self {
        Self(Ref::Name(name.to_owned()))
    }
}

impl From<&ValueRef> for ValueRef {
    fn from(value: &ValueRef) -> Self {
        value.clone()
    }
}

/// A mistake in the description of a network. It becomes an [`Error::Setting`] with the same fields.
#[derive(Debug, Clone)]
pub(super) struct Mistake {
    name: String,
    expected: String,
    found: String,
}

/// Whether a name looks like the automatic name of a value, such as `layers.0`.
pub(super) fn is_automatic(name: &str) -> bool {
    let mut starts = ["input", "inputs.", "layers.", "values."].iter();
    starts.any(|start| name.starts_with(start))
}

impl Mistake {
    pub(super) fn error(&self) -> Result<(), Error> {
        let Self {
            name,
            expected,
            found,
        } = self;
        Err(Error::setting(name, expected, found))
    }
}

impl Sequential {
    /// Creates a network without layers, for rows of this shape.
    #[must_use]
    pub fn input(shape: impl Into<Shape>) -> Self {
        Self {
            inputs: vec![shape.into()],
            layers: Vec::new(),
            sources: vec![Source::Input { first: 0 }],
            here: 0,
            names: Vec::new(),
            seed: 0,
            columns: None,
            mistake: None,
            origin: Arc::default(),
        }
    }

    /// Creates a network whose input is a row of a table with these columns.
    ///
    /// The first layer that is added reads the concatenation of the plain features and the vectors of one [`Embedding`]
    /// per [`index`](crate::data::Columns::index) column. A file of the network also contains the columns, so a program
    /// that loads the network can encode rows of text for it.
    ///
    /// ```
    /// use wgrad::data::{Category, Columns, Records};
    /// use wgrad::ops::{Linear, Relu};
    /// use wgrad::{Sequential, cpu};
    ///
    /// let rows = [["60", "Elm", "300"], ["90", "Oak", "410"], ["80", "Elm", "370"]];
    /// let houses = Records::new("houses", ["area", "street", "price"], rows)?;
    /// let columns = Columns::new().number("area").index(Category::new("street").width(3));
    /// let columns = columns.value("price").fit(&houses)?;
    /// // Of the area one feature, of the street three.
    /// let network = Sequential::of(&columns).layer(Linear::new(8)).layer(Relu).layer(Linear::new(1));
    /// assert_eq!(network.summary()?.parameters(), 2 * 3 + 4 * 8 + 8 + 8 + 1);
    ///
    /// let file = network.on_cpu()?.to_safetensors()?;
    /// let network = cpu::Network::from_safetensors(&file)?;
    /// let columns = network.columns().expect("they are in the file");
    /// let asked = Records::new("asked", ["street", "area"], [["Oak", "75"]])?;
    /// let outputs = network.predict(columns.features_of(&asked)?.view())?;
    /// println!("{}", columns.values(outputs.view())?);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    #[must_use]
    pub fn of(columns: &FittedColumns) -> Self {
        let plain = columns.plain();
        let indices: Vec<(usize, usize)> = columns
            .indices()
            .map(|(_, count, width)| (count, width))
            .collect();
        let plain = (plain > 0).then_some(plain);
        let mut shapes = plain.into_iter().chain(indices.iter().map(|_| 1));
        let mut network = Self::input(shapes.next().unwrap_or(0));
        for shape in shapes {
            network = network.another_input(shape);
        }
        let first = usize::from(plain.is_some());
        let mut parts: Vec<usize> = (0..first).collect();
        for (input, (count, width)) in (first..).zip(indices) {
            network = network.at_index(input).layer(Embedding::new(count, width));
            network = network.layer(Flatten);
            parts.push(network.here);
        }
        if parts.len() > 1 {
            network = network.value(Source::Concat(parts));
        }
        network.with_columns(columns)
    }

    /// Sets the table columns from which a row of features is made, for networks that are not made by [`of`](Self::of).
    /// A file of the network then also contains the columns, with their means and standard deviations.
    ///
    /// ```
    /// use wgrad::TwoLayerNet;
    /// use wgrad::data::FittedColumns;
    /// use wgrad::ndarray::array;
    ///
    /// let (x, y) = (array![[1.0, 20.0], [3.0, 10.0], [2.0, 60.0]], array![[0.5], [1.5], [1.0]]);
    /// let columns = FittedColumns::of_numbers(x.view(), y.view())?;
    /// let network = TwoLayerNet::spec(2, 8, 1).with_columns(&columns).on_cpu()?;
    /// assert!(network.columns().is_some());
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    #[must_use]
    pub fn with_columns(mut self, columns: &FittedColumns) -> Self {
        let expected = self.features();
        let found = columns.features();
        if expected != found {
            let expected = format!("{expected}, the number of features of the network");
            return self.mistaken(
                "number of features of the columns",
                &expected,
                &found.to_string(),
            );
        }
        self.columns = Some(Arc::new(ColumnsOf {
            text: columns.to_json(),
            columns: columns.clone(),
        }));
        self
    }

    /// Makes the value with this index the input of the next layer.
    pub(super) fn at_index(mut self, value: usize) -> Self {
        self.here = value;
        self
    }

    /// Adds another input to the network, and makes it the input of the next layer. A row of features contains all
    /// inputs, one after another. All inputs must be added before the first layer.
    ///
    /// ```
    /// use wgrad::ops::{Linear, Tanh};
    /// use wgrad::{Sequential, Shape};
    ///
    /// let network = Sequential::input(3).named("position").another_input(2).layer(Linear::new(3));
    /// let network = network.layer(Tanh).concat("position").layer(Linear::new(1));
    /// assert_eq!((network.features(), network.output()?), (5, Shape::from(1)));
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    #[must_use]
    pub fn another_input(mut self, shape: impl Into<Shape>) -> Self {
        if self.sources.len() > self.inputs.len() {
            let expected = "before the first layer, sum or concatenation";
            return self.mistaken("place of another input", expected, "after it");
        }
        let first = self.features();
        self.inputs.push(shape.into());
        self.value(Source::Input { first })
    }

    /// Adds a layer, whose input is the current value. If the same `Arc<dyn Layer>` is added several times, all these
    /// uses share the same parameters. The parameters have the names of the first use, such as `layers.0.weight`:
    ///
    /// ```
    /// use std::sync::Arc;
    /// use wgrad::Sequential;
    /// use wgrad::ops::{Layer, Linear, Tanh};
    ///
    /// let shared: Arc<dyn Layer> = Arc::new(Linear::new(8));
    /// let network = Sequential::input(8).layer(shared.clone()).layer(Tanh).layer(shared);
    /// assert_eq!(network.summary()?.parameters(), 8 * 8 + 8);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    #[must_use]
    pub fn layer(mut self, layer: impl Layer + 'static) -> Self {
        self.layers.push(Arc::new(layer));
        let source = Source::Layer {
            layer: self.layers.len() - 1,
            x: self.here,
        };
        self.value(source)
    }

    /// Returns a reference to the current value, which is the input of the next layer.
    #[must_use]
    pub fn here(&self) -> ValueRef {
        ValueRef(Ref::Index(self.here, Arc::clone(&self.origin)))
    }

    /// Gives the current value a name, by which it can be used again later.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        if is_automatic(&name) || name.is_empty() {
            let expected =
                "different from automatic names (input, inputs.0, layers.0, values.0 and so on)";
            return self.mistaken("name of a value", expected, &name);
        }
        if self.names.iter().any(|(other, _)| *other == name) {
            return self.mistaken(
                "name of a value",
                "different from the names before it",
                &name,
            );
        }
        self.names.push((name, self.here));
        self
    }

    /// Makes another value the current value, which is the input of the next layer.
    #[must_use]
    pub fn at(mut self, value: impl Into<ValueRef>) -> Self {
        match self.find(&value.into()) {
            Ok(value) => self.here = value,
            Err(mistake) => self.mistake = self.mistake.or(Some(mistake)),
        }
        self
    }

    /// Adds another value of the same shape to the current value, element by element.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "a network adds a value of its own"
    )]
    pub fn add(mut self, value: impl Into<ValueRef>) -> Self {
        match self.find(&value.into()) {
            Ok(value) => {
                let here = self.here;
                self.value(Source::Sum([here, value]))
            }
            Err(mistake) => {
                self.mistake = self.mistake.or(Some(mistake));
                self
            }
        }
    }

    /// Concatenates the current value and another value along the first dimension: the features of vectors, or the
    /// channels of images. All other dimensions must be equal.
    #[must_use]
    pub fn concat(mut self, value: impl Into<ValueRef>) -> Self {
        match self.find(&value.into()) {
            Ok(value) => {
                let here = self.here;
                self.value(Source::Concat(vec![here, value]))
            }
            Err(mistake) => {
                self.mistake = self.mistake.or(Some(mistake));
                self
            }
        }
    }

    /// Sets the seed of the initial parameters and of the random numbers that layers such as
    /// [`Dropout`](crate::ops::Dropout) draw. The default is 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The layers in order. A layer that is used several times occurs several times.
    #[must_use]
    pub fn layers(&self) -> &[Arc<dyn Layer>] {
        &self.layers
    }

    /// Number of features per row: the elements of all inputs.
    #[must_use]
    pub fn features(&self) -> usize {
        let inputs = self.inputs.iter();
        inputs.map(Shape::len).fold(0, usize::saturating_add)
    }

    pub(super) fn value(mut self, source: Source) -> Self {
        self.sources.push(source);
        self.here = self.sources.len() - 1;
        self
    }

    fn find(&self, value: &ValueRef) -> Result<usize, Mistake> {
        let mistake = |found: &str, expected| Mistake {
            name: "a value that is used again".to_owned(),
            expected,
            found: found.to_owned(),
        };
        match &value.0 {
            Ref::Index(index, origin)
                if Arc::ptr_eq(origin, &self.origin) && *index < self.sources.len() =>
            {
                Ok(*index)
            }
            Ref::Index(..) => Err(mistake(
                "one of another network",
                "one of this network, returned by `here`".to_owned(),
            )),
            Ref::Name(name) => {
                let mut names = self.names.iter();
                let found = names.find(|(of, _)| of == name).map(|(_, value)| *value);
                found.ok_or_else(|| {
                    let names: Vec<&str> = self.names.iter().map(|(name, _)| &**name).collect();
                    let expected = if names.is_empty() {
                        "a name given before by Sequential::named (none was given)".to_owned()
                    } else {
                        format!("a name given before ({})", names.join(", "))
                    };
                    mistake(&format!("\"{name}\""), expected)
                })
            }
        }
    }

    fn mistaken(mut self, name: &str, expected: &str, found: &str) -> Self {
        self.mistake.get_or_insert_with(|| Mistake {
            name: name.to_owned(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        });
        self
    }
}
