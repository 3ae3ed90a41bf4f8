use std::marker::PhantomData;

use super::{Loss, LossPass, OfValues, TargetKind};
use crate::error::Error;
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::plan::Recorder;
use crate::reference;

/// Binary cross-entropy of `sigmoid(logits)`, like `torch.nn.BCEWithLogitsLoss`: for several labels that may apply at
/// once, or for two classes with one output.
///
/// Logits `z` (the network's outputs, without a `Sigmoid`) and targets `t` are (rows, outputs). A target is the
/// probability, 0 to 1, that the output's label applies. `loss = mean_{r,c}(max(z, 0) − z·t + log(1 + e^−|z|))`, and
/// its gradient with respect to the logits is `(sigmoid(z) − t) / (rows · outputs)` (Goodfellow, Bengio, Courville,
/// "Deep Learning", 2016, section 6.2.2.2). The loss is stable for logits of any finite size. A row with an infinite or
/// NaN logit, or with a target outside of 0 to 1, has a NaN loss.
///
/// The targets come from a [`Table::regression`](crate::data::Table::regression) or from
/// [`Targets::Values`](crate::Targets::Values). In an evaluation, an output is correct if its logit is above 0 and its
/// target is above 0.5, or if neither is above its bound. The accuracy is the fraction of correct outputs among the
/// outputs of all rows.
///
/// ```
/// use wgrad::data::{Sampling, Table};
/// use wgrad::ndarray::{Array2, array};
/// use wgrad::ops::{Adam, BinaryCrossEntropy, Linear};
/// use wgrad::{Sequential, cpu};
///
/// // Two labels: whether the sum is above 1, and whether the first is the larger.
/// let x = Array2::from_shape_fn((100, 2), |(row, column)| (row * (7 + 4 * column) % 100) as f32 / 100.0);
/// let labels = Array2::from_shape_fn((100, 2), |(row, label)| match label {
///     0 => f32::from(x[[row, 0]] + x[[row, 1]] > 1.0),
///     _ => f32::from(x[[row, 0]] > x[[row, 1]]),
/// });
/// let table = Table::regression("labels", x.view(), labels.view())?;
/// let network = Sequential::input(2).layer(Linear::new(2)).on_cpu()?;
/// let (loss, sampling) = (BinaryCrossEntropy, Sampling::Shuffled { seed: 1 });
/// let mut trainer = cpu::Trainer::new(network, loss, Adam::new(0.1), &table, 20, sampling)?;
/// trainer.steps(500)?;
/// assert!(trainer.evaluate(&table)?.accuracy > Some(0.95));
/// let logits = trainer.network().predict(array![[0.9, 0.4]].view())?;
/// assert!(logits.iter().all(|&logit| logit > 0.0), "both apply");
/// # Ok::<(), wgrad::Error>(())
/// ```
#[doc(alias = "BCEWithLogitsLoss")]
#[doc(alias = "BinaryCrossEntropyWithLogits")]
#[derive(Debug, Clone, Copy, Default)]
pub struct BinaryCrossEntropy;

static FORWARD_BACKWARD: Kernel<OfValues> = Kernel {
    shader: "binary_cross_entropy",
    source: concat!(
        include_str!("../../shaders/is_finite.wgsl"),
        include_str!("../../shaders/logistic.wgsl"),
        include_str!("../../shaders/loss_terms.wgsl"),
        include_str!("../../shaders/loss_rows.wgsl"),
        include_str!("../../shaders/binary_cross_entropy.wgsl"),
    ),
    entry: "forward_backward",
    bindings: &[
        Binding::read("y"),
        Binding::read("targets"),
        Binding::write("losses"),
        Binding::write("dy"),
    ],
    fields: fields!(OfValues: rows, outputs, scale),
    constants: &[],
    workgroup_size: [64, 1, 1],
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

impl Loss for BinaryCrossEntropy {
    fn describe(&self) -> String {
        "BinaryCrossEntropy".to_owned()
    }

    fn targets(&self) -> TargetKind {
        TargetKind::Probabilities
    }

    fn forward_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: LossPass<'_>,
    ) -> Result<(), Error> {
        pass.record_of_values(recorder, &FORWARD_BACKWARD, 12, |of| of);
        Ok(())
    }

    fn reference(&self) -> reference::Criterion {
        reference::Criterion::of(reference::BinaryCrossEntropy)
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![FORWARD_BACKWARD.contract()]
}
