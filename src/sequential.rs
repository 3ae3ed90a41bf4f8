use std::sync::Arc;

use crate::error::Error;
use crate::ops::{Layer, ParameterSpec};
use crate::random::layer_key;
use crate::summary::Summary;

/// The widest layer that can be built. Where kernels loop over a width, a software driver may allow a
/// little less: [`Error::Limit`] tells.
pub const MAX_WIDTH: usize = 65_535;

/// Layers in order, as plain data.
///
/// ```
/// use wgrad::Sequential;
/// use wgrad::ops::{Linear, Relu};
///
/// let spec = Sequential::input(784).layer(Linear::new(50)).layer(Relu).layer(Linear::new(10));
/// assert_eq!(spec.widths(), [784, 50, 50, 10]);
/// assert_eq!(spec.parameter_count(), 784 * 50 + 50 + 50 * 10 + 10);
/// ```
#[derive(Debug, Clone)]
pub struct Sequential {
    inputs: usize,
    layers: Vec<Arc<dyn Layer>>,
    seed: u64,
}

impl Sequential {
    /// A network of no layers yet, for rows of `inputs` features.
    #[must_use]
    pub fn input(inputs: usize) -> Self {
        Self {
            inputs,
            layers: Vec::new(),
            seed: 0,
        }
    }

    /// Adds a layer.
    #[must_use]
    pub fn layer(mut self, layer: impl Layer + 'static) -> Self {
        self.layers.push(Arc::new(layer));
        self
    }

    /// Decides the initial parameters, and what a [`Dropout`](crate::ops::Dropout) drops. Default: 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// What decides the initial parameters, and what layers draw.
    pub(crate) fn seed_of_network(&self) -> u64 {
        self.seed
    }

    /// The layers.
    #[must_use]
    pub fn layers(&self) -> &[Arc<dyn Layer>] {
        &self.layers
    }

    /// Features per example, then outputs of every layer.
    #[must_use]
    pub fn widths(&self) -> Vec<usize> {
        let mut widths = vec![self.inputs];
        for layer in &self.layers {
            widths.push(layer.outputs(widths[widths.len() - 1]));
        }
        widths
    }

    /// Number of trainable values.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        let sizes = self.map_specs(|_, spec| spec.shape[0] * spec.shape[1]);
        sizes.iter().flatten().sum()
    }

    /// Number of values of every parameter, where no network has too many to count.
    pub(crate) fn sizes(&self) -> Vec<u64> {
        let sizes = self.map_specs(|_, spec| spec.shape.map(|size| size as u64));
        let sizes = sizes.into_iter().flatten();
        sizes
            .map(|[rows, columns]| rows.saturating_mul(columns))
            .collect()
    }

    /// Layers, outputs, parameters, operations and memory, to be printed.
    ///
    /// ```
    /// let summary = wgrad::TwoLayerNet::spec(784, 50, 10).summary();
    /// assert_eq!((summary.parameters(), summary.layers.len()), (39_760, 3));
    /// println!("{summary}");
    /// ```
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::of(self)
    }

    /// Bytes that a checkpoint of this network may have at the most: parameters, what an optimizer
    /// keeps of them, and a header.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn largest_checkpoint(&self) -> u64 {
        8 * 4 * self.parameter_count() as u64 + (16 << 20)
    }

    /// Whether the network can be built at all.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (i, width) in self.widths().into_iter().enumerate() {
            if width == 0 || width > MAX_WIDTH {
                let name = match i.checked_sub(1) {
                    None => "number of inputs".to_owned(),
                    Some(layer) => {
                        format!("width of layers.{layer}, {},", self.layers[layer].name())
                    }
                };
                return Err(Error::setting(name, format!("1 to {MAX_WIDTH}"), width));
            }
        }
        for (i, layer) in self.layers.iter().enumerate() {
            layer.check().map_err(|error| match error {
                Error::Setting {
                    name,
                    expected,
                    found,
                } => Error::Setting {
                    name: format!("{name} of layers.{i}, {},", layer.name()),
                    expected,
                    found,
                },
                error => error,
            })?;
        }
        let specs = self.map_specs(|name, spec| (name, spec));
        for (name, spec) in specs.into_iter().flatten() {
            spec.init.check()?;
            if spec.shape.contains(&0) {
                let ([rows, columns], name) = (spec.shape, format!("shape of {name}"));
                let found = format!("{rows}×{columns}");
                return Err(Error::setting(name, "at least 1×1", found));
            }
        }
        if self.parameter_count() == 0 {
            let expected = "above 0: add a Linear layer";
            return Err(Error::setting(
                "number of trainable parameters",
                expected,
                0,
            ));
        }
        Ok(())
    }

    /// What a layer draws its random numbers under, of each layer.
    pub(crate) fn keys(&self) -> Vec<[u32; 2]> {
        let layers = (0u32..).zip(&self.layers);
        layers.map(|(i, _)| layer_key(self.seed, i)).collect()
    }

    /// Every parameter with its full name, `layers.<index>.<name>`.
    pub(crate) fn map_specs<T>(
        &self,
        mut map: impl FnMut(String, ParameterSpec) -> T,
    ) -> Vec<Vec<T>> {
        let layers = self.layers.iter().zip(self.widths()).enumerate();
        let layers = layers.map(|(i, (layer, inputs))| {
            let specs = layer.parameters(inputs).into_iter();
            specs
                .map(|spec| map(format!("layers.{i}.{}", spec.name), spec))
                .collect()
        });
        layers.collect()
    }

    /// Every parameter with its initial values, row after row: a stream of random numbers each.
    pub(crate) fn map_parameters<T>(
        &self,
        mut map: impl FnMut(&ParameterSpec, Vec<f32>) -> T,
    ) -> Vec<Vec<T>> {
        let mut stream = 0;
        self.map_specs(|_, spec| {
            let values = spec.init.values(spec.shape, self.seed, stream);
            stream += 1;
            map(&spec, values)
        })
    }
}
