//! Runs layers and losses that are not from this crate once before they are used, and checks that their kernels write
//! every element of their outputs. Otherwise a missing element would be 0 or an old value, and nobody would notice.
//!
//! [`check_layer`](crate::check_layer) finds writes outside of the outputs; this test does not. In a browser, a program
//! cannot wait for a readback, so this test does not run there. Instead, the recording of a pass detects only layers
//! and losses that record no kernel.

use super::Model;
use super::forward::{place, record_loss};
use crate::error::{Error, TargetKind};
use crate::gpu::Gpu;
use crate::kernel::Element;
use crate::memory::bytes_of;
use crate::network::{Source, Use};
use crate::ops::{
    AdjustedCrossEntropy, Backward, BinaryCrossEntropy, Draw, Forward, Huber, Known, Loss,
    LossPass, MeanSquaredError, Mode, RelativeL2, SoftmaxCrossEntropy, unwrapped_loss,
};
use crate::plan::Recorder;
use crate::shape::{Shape, TensorShape};
use crate::tensor::Tensor;

/// Number of rows of a test run.
const ROWS: usize = 2;
/// The bits with which outputs are filled before a test run: a NaN that no arithmetic gives.
const UNWRITTEN: u32 = 0x7fc0_beef;

impl Model {
    /// Runs every layer that is not from this crate. Fails if a layer leaves an element of its outputs unwritten.
    pub(super) fn probe(&self) -> Result<(), Error> {
        for (index, layer_use) in self.graph.uses.iter().enumerate() {
            let Source::Layer { x, .. } = self.graph.values[layer_use.value].source else {
                continue;
            };
            if Known::of(&*layer_use.layer).is_none() {
                self.probe_layer(index, layer_use, x)?;
            }
        }
        Ok(())
    }

    fn probe_layer(&self, index: usize, layer_use: &Use, x: usize) -> Result<(), Error> {
        let gpu = &self.gpu;
        let spec = &layer_use.spec;
        let input = &self.graph.values[x];
        let of = |pass| format!("the {pass} pass of {}", place(index, layer_use));
        let [x_shape, y_shape] =
            [input.shape, spec.output].map(|row| TensorShape::from((ROWS, row)));
        let zeros = |label: &str, shape| Tensor::zeros(gpu, label, shape, Element::F32);
        let x = zeros("x", x_shape)?;
        let dy = zeros("dy", y_shape)?;
        let state = spec.state.iter();
        let state = state.map(|state| zeros(state.name, state.tensor_shape()));
        let state = state.collect::<Result<Vec<_>, _>>()?;
        let step_count = Tensor::zeros(gpu, "step count", [1, 1], Element::U32)?;
        let training = Mode::Training(Draw::new(layer_use.key, &step_count));
        for mode in [Mode::Evaluation, training] {
            let y = unwritten(gpu, "y", y_shape)?;
            let kept = spec.kept.iter();
            let kept = kept.map(|kept| unwritten(gpu, kept.name, kept.tensor_shape(ROWS)));
            let kept = kept.collect::<Result<Vec<_>, _>>()?;
            let mut recorder = Recorder::new(gpu);
            let pass = Forward::new(&x, self.parameters_of(layer_use), &y, mode);
            let pass = pass.with_state(&state).with_kept(&kept);
            let who = of("forward");
            recorder.watched(|| who.clone(), |it| layer_use.layer.forward(it, pass))?;
            run(recorder, &who, kept.iter().chain([&y]))?;

            // As in training, do not request the gradient `dx` if nothing reads it.
            let dx = input.is_trained.then(|| unwritten(gpu, "dx", x_shape));
            let dx = dx.transpose()?;
            let gradients = spec.parameters.iter();
            let gradients = gradients.map(|parameter| {
                let label = format!("the gradient by {}", parameter.name);
                unwritten(gpu, &label, parameter.tensor_shape())
            });
            let gradients = gradients.collect::<Result<Vec<_>, _>>()?;
            if dx.is_none() && gradients.is_empty() {
                continue;
            }
            let mut recorder = Recorder::new(gpu);
            let pass = Backward::new([&x, &y, &dy], dx.as_ref(), mode);
            let pass = pass.with_parameters(self.parameters_of(layer_use), &gradients);
            let pass = pass.with_state(&state).with_kept(&kept);
            let who = of("backward");
            recorder.watched(|| who.clone(), |it| layer_use.layer.backward(it, pass))?;
            run(recorder, &who, gradients.iter().chain(&dx))?;
        }
        Ok(())
    }
}

/// Allocates a tensor whose elements are all [`UNWRITTEN`].
fn unwritten(gpu: &Gpu, label: &str, shape: TensorShape) -> Result<Tensor, Error> {
    let what = || format!("a check of what a layer writes into {label} ({shape})");
    gpu.check_host(what, bytes_of::<u32>(shape.len() as u64))?;
    let tensor = Tensor::zeros(gpu, label, shape, Element::F32)?;
    gpu.write(&tensor, &vec![UNWRITTEN; shape.len()])?;
    Ok(tensor)
}

/// Runs a loss that is not from this crate. Fails if it leaves an element of its results unwritten.
pub(crate) fn probe_loss(gpu: &Gpu, loss: &dyn Loss, outputs: Shape) -> Result<(), Error> {
    let known = unwrapped_loss(loss);
    let of_classes = known.is::<SoftmaxCrossEntropy>() || known.is::<AdjustedCrossEntropy>();
    let of_values =
        known.is::<MeanSquaredError>() || known.is::<Huber>() || known.is::<RelativeL2>();
    if of_classes || of_values || known.is::<BinaryCrossEntropy>() {
        return Ok(());
    }
    let shape = TensorShape::from((ROWS, outputs));
    let given = Tensor::zeros(gpu, "outputs", shape, Element::F32)?;
    let targets = match loss.targets() {
        TargetKind::Classes => Tensor::zeros(gpu, "labels", [1, ROWS], Element::U32)?,
        TargetKind::Values | TargetKind::Probabilities => {
            Tensor::zeros(gpu, "targets", shape, Element::F32)?
        }
    };
    let losses = unwritten(gpu, "losses", TensorShape::from([1, ROWS]))?;
    let doutputs = unwritten(gpu, "doutputs", shape)?;
    let mut recorder = Recorder::new(gpu);
    let pass = LossPass::new([&given, &targets], [&losses, &doutputs]);
    record_loss(&mut recorder, loss, pass)?;
    run(
        recorder,
        &format!("the loss {}", loss.describe()),
        [&losses, &doutputs].into_iter(),
    )
}

/// Runs the recorded pass, and checks that it has written all elements of `outputs`. Error messages call the pass
/// `who`.
fn run<'t>(
    recorder: Recorder<'_>,
    who: &str,
    outputs: impl Iterator<Item = &'t Tensor>,
) -> Result<(), Error> {
    let gpu = recorder.gpu();
    gpu.submit(&recorder.finish()?, 1)?;
    for tensor in outputs {
        let bits: Vec<u32> = gpu.read(tensor)?;
        let left_out = bits.iter().filter(|&&bits| bits == UNWRITTEN).count();
        if left_out > 0 {
            let name = format!("output of {who}");
            let expected = format!(
                "all of {} ({}): find the fault with wgrad::check_layer or wgrad::check_loss",
                tensor.label(),
                tensor.shape()
            );
            let found = if left_out == bits.len() {
                "none of it".to_owned()
            } else {
                format!("all except {left_out} of {} elements", bits.len())
            };
            return Err(Error::setting(name, expected, found));
        }
    }
    Ok(())
}
