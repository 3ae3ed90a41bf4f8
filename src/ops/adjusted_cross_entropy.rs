use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::{Loss, LossPass, SoftmaxCrossEntropy, to_u32};
use crate::error::{Error, number};
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Element, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::reference;
use crate::tensor::Tensor;

/// [`SoftmaxCrossEntropy`] with class weights, label smoothing or both, like `torch.nn.CrossEntropyLoss` with `weight`
/// and `label_smoothing`.
///
/// Logits are (rows, classes), with one label per row. Let `l_c = −log softmax(logits)_c`, let `w` be the class weights
/// and `ε` the smoothing. A row with label `y` has the term `(1−ε)·w_y·l_y + ε/classes·Σ_c w_c·l_c`. The loss of a
/// minibatch is the sum of its rows' terms divided by the sum of their `w_y`. If `q_c` is the factor of `l_c` in a
/// row's term, the gradient with respect to the row's logits is `(Σ_k q_k · softmax(logits)_c − q_c) / Σ w_y`.
/// (Smoothing: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016.)
///
/// If every label of a minibatch has weight 0, the divisor is the number of rows. Without smoothing, the loss and the
/// gradient are then 0, whereas PyTorch's are NaN. A row with an infinite or NaN logit has a NaN loss.
///
/// ```
/// use wgrad::data::{Sampling, synthetic};
/// use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
/// use wgrad::{TwoLayerNet, cpu};
///
/// let digits = synthetic::digits_of(1, 1000, 100)?;
/// // A mistaken 7 is three times as bad.
/// let mut weights = [1.0; 10];
/// weights[7] = 3.0;
/// let loss = SoftmaxCrossEntropy.class_weights(weights).label_smoothing(0.1);
/// let network = TwoLayerNet::spec(784, 50, 10).on_cpu()?;
/// let sampling = Sampling::Shuffled { seed: 1 };
/// let mut trainer = cpu::Trainer::new(network, loss, Sgd::new(0.1), &digits.train, 100, sampling)?;
/// let losses = trainer.steps(100)?;
/// assert!(losses[99] < losses[0]);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[doc(alias = "CrossEntropyLoss")]
#[derive(Debug, Clone, Default)]
pub struct AdjustedCrossEntropy {
    /// One weight per class. `None` if all weights are 1.
    class_weights: Option<Vec<f32>>,
    label_smoothing: f32,
}

impl SoftmaxCrossEntropy {
    /// Sets one weight per class. A weight is 0 or between 10⁻²⁰ and 10²⁰, and at least one weight is above 0. For the
    /// formula, see [`AdjustedCrossEntropy`].
    #[must_use]
    pub fn class_weights(self, weights: impl Into<Vec<f32>>) -> AdjustedCrossEntropy {
        AdjustedCrossEntropy::default().class_weights(weights)
    }

    /// Sets the label smoothing, 0 to 1: the fraction of each label that is spread evenly over all classes. For the
    /// formula, see [`AdjustedCrossEntropy`].
    #[must_use]
    pub fn label_smoothing(self, smoothing: f32) -> AdjustedCrossEntropy {
        AdjustedCrossEntropy::default().label_smoothing(smoothing)
    }
}

impl AdjustedCrossEntropy {
    /// Sets one weight per class, like [`SoftmaxCrossEntropy::class_weights`].
    #[must_use]
    pub fn class_weights(self, weights: impl Into<Vec<f32>>) -> Self {
        Self {
            class_weights: Some(weights.into()),
            ..self
        }
    }

    /// Sets the label smoothing, like [`SoftmaxCrossEntropy::label_smoothing`].
    #[must_use]
    pub fn label_smoothing(self, smoothing: f32) -> Self {
        Self {
            label_smoothing: smoothing,
            ..self
        }
    }

    fn check_weights(&self, outputs: usize) -> Result<(), Error> {
        let Some(weights) = &self.class_weights else {
            return Ok(());
        };
        if weights.len() != outputs {
            let expected = format!("{outputs}, one for each output of the network");
            return Err(Error::setting(
                "number of class weights",
                expected,
                weights.len(),
            ));
        }
        let is_sound = |weight: &f32| *weight == 0.0 || (LEAST..=MOST).contains(weight);
        if let Some(class) = weights.iter().position(|weight| !is_sound(weight)) {
            return Err(Error::setting(
                format!("weight of class {class}"),
                "0, or 1e-20 to 1e20",
                number(weights[class]),
            ));
        }
        if weights.iter().any(|&weight| weight > 0.0) {
            Ok(())
        } else {
            Err(Error::setting(
                "largest class weight",
                "above 0",
                "0, like the weight of every other class",
            ))
        }
    }

    /// Records the kernel that sums a minibatch's label weights, from the labels, (1, rows), and the class weights,
    /// (1, classes). Returns the sum, (1, 1): the divisor of the loss.
    fn record_weight_sum(
        &self,
        recorder: &mut Recorder<'_>,
        shape: Shape,
        [labels, weights]: [&Tensor; 2],
    ) -> Result<Tensor, Error> {
        let gpu = recorder.gpu();
        let sum = Tensor::zeros(gpu, "sum of the labels' weights", [1, 1], Element::F32)?;
        let rows = labels.columns();
        if self.class_weights.is_none() {
            #[expect(clippy::cast_precision_loss, reason = "rounded once")]
            gpu.write(&sum, &[rows as f32])?;
            return Ok(sum);
        }
        let cost = Cost {
            flops: rows as u64,
            iterations: rows as u64 / 64 + 7,
            bytes: None,
        };
        recorder.dispatch(&SUM_WEIGHTS, shape, &[labels, weights, &sum], 1, cost);
        Ok(sum)
    }
}

/// Bounds of a class weight that is not 0. A sum of such weights neither overflows `f32` nor counts as 0.
const LEAST: f32 = 1e-20;
const MOST: f32 = 1e20;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Shape {
    rows: u32,
    classes: u32,
    smoothing: f32,
}

const ADJUSTED: Kernel<Shape> = Kernel {
    shader: "adjusted_cross_entropy",
    source: concat!(
        include_str!("../../shaders/is_finite.wgsl"),
        include_str!("../../shaders/adjusted_cross_entropy.wgsl"),
    ),
    entry: "sum_weights",
    bindings: &[
        Binding::read("labels").of_u32(),
        Binding::read("weights"),
        Binding::write("weight_sum"),
    ],
    fields: fields!(Shape: rows, classes, smoothing),
    constants: &[],
    workgroup_size: [64, 1, 1],
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};
static SUM_WEIGHTS: Kernel<Shape> = ADJUSTED;
static FORWARD_BACKWARD: Kernel<Shape> = Kernel {
    entry: "forward_backward",
    bindings: &[
        Binding::read("labels").of_u32(),
        Binding::read("weights"),
        Binding::read("divisor"),
        Binding::read("logits"),
        Binding::write("losses"),
        Binding::write("dlogits"),
    ],
    ..ADJUSTED
};

impl Loss for AdjustedCrossEntropy {
    fn describe(&self) -> String {
        let smoothing = number(self.label_smoothing);
        match &self.class_weights {
            None => format!("AdjustedCrossEntropy {{ label_smoothing: {smoothing} }}"),
            Some(weights) => format!(
                "AdjustedCrossEntropy {{ class_weights: {weights:?}, label_smoothing: {smoothing} }}"
            ),
        }
    }

    fn check(&self, outputs: usize) -> Result<(), Error> {
        let smoothing = self.label_smoothing;
        if !(0.0..=1.0).contains(&smoothing) {
            return Err(Error::setting(
                "label smoothing",
                "0 to 1",
                number(smoothing),
            ));
        }
        self.check_weights(outputs)
    }

    fn class_weights(&self) -> Option<&[f32]> {
        self.class_weights.as_deref()
    }

    fn forward_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: LossPass<'_>,
    ) -> Result<(), Error> {
        let LossPass {
            outputs: logits,
            targets: labels,
            losses,
            doutputs: dlogits,
        } = pass;
        let [rows, classes] = logits.dims();
        assert_eq!(
            dlogits.dims(),
            logits.dims(),
            "adjusted_cross_entropy: dlogits"
        );
        for tensor in [labels, losses] {
            let label = tensor.label();
            assert_eq!(tensor.dims(), [1, rows], "adjusted_cross_entropy: {label}");
        }
        self.check(classes)?;
        let gpu = recorder.gpu();
        let weights = Tensor::zeros(gpu, "weights of classes", [1, classes], Element::F32)?;
        match &self.class_weights {
            Some(values) => gpu.write(&weights, values)?,
            None => gpu.write(&weights, &vec![1.0f32; classes])?,
        }
        let shape = Shape {
            rows: to_u32(rows),
            classes: to_u32(classes),
            smoothing: self.label_smoothing,
        };
        let divisor = self.record_weight_sum(recorder, shape, [labels, &weights])?;
        let tensors = [labels, &weights, &divisor, logits, losses, dlogits];
        let cost = Cost {
            flops: 16 * logits.len() as u64,
            iterations: 3 * classes as u64,
            bytes: None,
        };
        recorder.dispatch_each(&FORWARD_BACKWARD, shape, &tensors, rows, cost);
        Ok(())
    }

    fn reference(&self) -> reference::Criterion {
        let weights = self.class_weights.as_deref();
        reference::Criterion::of(reference::AdjustedCrossEntropy {
            class_weights: weights.map(|weights| weights.iter().copied().map(f64::from).collect()),
            label_smoothing: self.label_smoothing.into(),
        })
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    [&SUM_WEIGHTS, &FORWARD_BACKWARD]
        .map(Kernel::contract)
        .to_vec()
}
