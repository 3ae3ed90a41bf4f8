use ndarray::{Array2, ArrayView2};

use crate::confusion::correct;
use crate::data::Labels;
use crate::error::Error;
use crate::fit::check_targets;
use crate::gpu::Gpu;
use crate::init::Init;
use crate::model::{Model, Targets};
use crate::network::{Parameters, Sequential};
use crate::ops::{Linear, Relu, SoftmaxCrossEntropy, TargetKind};

/// The standard deviation of the book's initial weights.
const STD: f32 = 0.01;

/// The network of chapter 5 of "Deep Learning from Scratch", with the book's five functions: `Linear → Relu →
/// Linear`, softmax cross-entropy, weights 0.01·N(0, 1) and biases 0.
///
/// ```no_run
/// use wgrad::{Gpu, TwoLayerNet};
/// use wgrad::data::Labels;
/// use wgrad::ndarray::Array2;
///
/// let net = TwoLayerNet::new(&Gpu::new()?, 784, 50, 10, 42)?;
/// let (x, labels) = (Array2::zeros((3, 784)), Labels::from_classes(vec![7, 2, 1], 10)?);
/// let gradients = net.gradient(x.view(), &labels)?;
/// assert_eq!(gradients["layers.0.weight"].shape(), [784, 50]);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug)]
pub struct TwoLayerNet {
    model: Model,
}

impl TwoLayerNet {
    /// The network as a description, for [`Sequential::build`] or the CPU.
    #[must_use]
    pub fn spec(inputs: usize, hidden: usize, classes: usize) -> Sequential {
        let linear = |outputs| Linear::new(outputs).weight_init(Init::Normal { std: STD });
        Sequential::input(inputs)
            .layer(linear(hidden))
            .layer(Relu)
            .layer(linear(classes))
    }

    /// The network on a GPU.
    ///
    /// # Errors
    /// As [`Sequential::build`].
    pub fn new(
        gpu: &Gpu,
        inputs: usize,
        hidden: usize,
        classes: usize,
        seed: u64,
    ) -> Result<Self, Error> {
        let model = Self::spec(inputs, hidden, classes).seed(seed).build(gpu)?;
        Ok(Self { model })
    }

    /// The model within: its parameters, for example.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The model within, to be trained.
    #[must_use]
    pub fn into_model(self) -> Model {
        self.model
    }
}

/// Passes wait for the GPU, which a browser's main thread may not.
#[cfg(not(target_arch = "wasm32"))]
impl TwoLayerNet {
    /// Logits (rows, classes) of `x` (rows, inputs): see [`Model::predict`].
    ///
    /// # Errors
    /// As there.
    pub fn predict(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        self.model.predict(x)
    }

    /// Mean softmax cross-entropy of `x` with its labels: see [`Model::loss`].
    ///
    /// # Errors
    /// As there.
    pub fn loss(&self, x: ArrayView2<'_, f32>, labels: &Labels) -> Result<f32, Error> {
        let targets = Targets::Classes(labels);
        self.model.loss(&SoftmaxCrossEntropy, x, targets)
    }

    /// Share of rows whose largest logit is their label's, 0…1. NaN is never the largest; of equal logits the first
    /// is.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn accuracy(&self, x: ArrayView2<'_, f32>, labels: &Labels) -> Result<f64, Error> {
        self.check(x, labels)?;
        let logits = self.predict(x)?;
        let hits = correct(logits.view(), labels.indices());
        Ok(hits as f64 / labels.len() as f64)
    }

    /// Gradients of the loss by all parameters, by backpropagation on the GPU: see [`Model::gradient`].
    ///
    /// # Errors
    /// As there.
    pub fn gradient(&self, x: ArrayView2<'_, f32>, labels: &Labels) -> Result<Parameters, Error> {
        let targets = Targets::Classes(labels);
        self.model.gradient(&SoftmaxCrossEntropy, x, targets)
    }

    /// The same gradients by central differences through the `f64` reference: slow, and right.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn numerical_gradient(
        &self,
        x: ArrayView2<'_, f32>,
        labels: &Labels,
    ) -> Result<Parameters<f64>, Error> {
        self.check(x, labels)?;
        let mut network = self.model.to_reference()?;
        network.numerical_gradient(x.mapv(f64::from).view(), labels.indices())
    }

    fn check(&self, x: ArrayView2<'_, f32>, labels: &Labels) -> Result<(), Error> {
        let targets = [labels.len(), labels.classes()];
        let (kind, loss) = (TargetKind::Classes, &SoftmaxCrossEntropy);
        check_targets(self.model.graph(), loss, x.dim().into(), kind, targets)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::Array2;

    use super::TwoLayerNet;
    use crate::cpu;
    use crate::data::Labels;
    use crate::error::Error;
    use crate::init::Init;
    use crate::shape::Shape;
    use crate::testing::gpu;

    #[test]
    fn initial_weights_are_those_of_the_book() {
        let net = TwoLayerNet::new(gpu(), 6, 4, 3, 42).unwrap();
        let parameters = net.model().parameters().unwrap();
        let book = Init::Normal { std: 0.01 };
        for (name, [inputs, outputs], stream) in
            [("layers.0.weight", [6, 4], 0), ("layers.2.weight", [4, 3], 2)]
        {
            let shape = Shape::from([inputs, outputs]);
            let expected = book.values(&shape, [inputs, outputs], 42, stream);
            assert!(parameters[name].iter().eq(&expected), "{name}");
        }
        assert!(parameters["layers.0.bias"].iter().all(|&bias| bias == 0.0));
    }

    #[test]
    fn the_five_functions_are_those_of_the_reference() {
        let net = TwoLayerNet::new(gpu(), 6, 4, 3, 1).unwrap();
        let x = Array2::from_shape_fn((5, 6), |(row, column)| {
            (row as f32 - 2.0) * 0.25 + column as f32 * 0.125
        });
        let labels = Labels::from_classes(vec![0, 2, 1, 1, 0], 3).unwrap();
        let reference: cpu::Network<f64> = net.model().to_reference().unwrap();
        let (x64, indices) = (x.mapv(f64::from), labels.indices());
        // Sums of six products of values near 1 and weights near 0.01.
        let near = |found: f32, expected: f64| (f64::from(found) - expected).abs() < 1e-5;

        let (found, expected) = (net.predict(x.view()), reference.predict(x64.view()));
        let (found, expected) = (found.unwrap(), expected.unwrap());
        assert!(found.iter().zip(&expected).all(|(&a, &b)| near(a, b)));
        let expected = reference.loss(x64.view(), indices).unwrap();
        assert!(near(net.loss(x.view(), &labels).unwrap(), expected));
        let expected = reference.accuracy(x64.view(), indices).unwrap();
        assert!((net.accuracy(x.view(), &labels).unwrap() - expected).abs() < 1e-12);
        let found = net.gradient(x.view(), &labels).unwrap();
        let numerical = net.numerical_gradient(x.view(), &labels).unwrap();
        let expected = reference.gradient(x64.view(), indices).unwrap();
        assert!(found.names().eq(expected.names()) && numerical.names().eq(expected.names()));
        for (name, expected) in expected.iter() {
            let pairs = found[name].iter().zip(&numerical[name]).zip(expected);
            for ((&found, &numerical), &expected) in pairs {
                assert!(near(found, expected), "{name}: {found} {expected}");
                assert!((numerical - expected).abs() < 1e-6, "{name}: {numerical}");
            }
        }
    }

    #[test]
    fn rows_and_labels_that_do_not_fit_are_told() {
        let net = TwoLayerNet::new(gpu(), 6, 4, 3, 1).unwrap();
        let rows = |rows, columns| Array2::zeros((rows, columns));
        let labels = |count, classes| Labels::from_classes(vec![0; count], classes).unwrap();
        let told = |x: Array2<f32>, labels: Labels| {
            let x = x.view();
            let errors = [
                net.loss(x, &labels).unwrap_err(),
                net.accuracy(x, &labels).unwrap_err(),
                net.gradient(x, &labels).unwrap_err(),
                net.numerical_gradient(x, &labels).unwrap_err(),
            ];
            let texts = errors.map(|error: Error| error.to_string());
            assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
            texts[0].clone()
        };
        let text = told(rows(2, 7), labels(2, 3));
        assert!(text.contains("expected shape 2 × 6, found 2 × 7"), "{text}");
        let text = told(rows(2, 6), labels(3, 3));
        assert!(text.contains("labels (examples, classes): expected shape 2 × 3, found 3 × 3"));
        let text = told(rows(2, 6), labels(2, 4));
        assert!(text.contains("found 2 × 4"), "{text}");
        let text = told(rows(0, 6), labels(0, 3));
        assert!(text.contains("number of rows must be at least 1"), "{text}");
    }
}
