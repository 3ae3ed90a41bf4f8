//! A look at the layers that are not this crate's, before anything is trained with them: whether they record kernels,
//! and whether those write all that they should. What a layer leaves out would be zeros, or another layer's values.
//! (Whether they write more than that is for [`check_layer`](crate::check_layer) to see.)

use super::Model;
use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernel::Element;
use crate::memory::bytes_of;
use crate::network::{Source, Use};
use crate::ops::{Backward, Draw, Forward, Mode, is_of_this_crate};
use crate::plan::Recorder;
use crate::shape::{Shape, TensorShape};
use crate::tensor::Tensor;

/// Rows of the passes.
const ROWS: usize = 2;
/// Bits of an element that nobody has written: a NaN that no arithmetic gives.
const UNWRITTEN: u32 = 0x7fc0_beef;

impl Model {
    /// Fails at the first layer that leaves something out. A browser cannot wait for what was written: there, only
    /// layers that record nothing are found.
    pub(super) fn probe(&self) -> Result<(), Error> {
        for (index, of_use) in self.graph.uses.iter().enumerate() {
            let Source::Layer { x, .. } = self.graph.values[of_use.value].source else {
                continue;
            };
            if !of_use.is_repeated && !is_of_this_crate(&*of_use.layer) {
                self.probe_layer(index, of_use, self.graph.values[x].shape)?;
            }
        }
        Ok(())
    }

    fn probe_layer(&self, index: usize, of_use: &Use, input: Shape) -> Result<(), Error> {
        let (gpu, spec) = (&self.gpu, &of_use.spec);
        let place = format!("layers.{index}, {}", of_use.layer.name());
        let [x_shape, y_shape] = [input, spec.output].map(|row| TensorShape::from((ROWS, row)));
        let zeros = |label: &str, shape| Tensor::zeros(gpu, label, shape, Element::F32);
        let x = zeros("x", x_shape)?;
        let dy = zeros("dy", y_shape)?;
        let state = spec.state.iter();
        let state = state.map(|state| zeros(state.name, state.tensor_shape()));
        let state = state.collect::<Result<Vec<_>, _>>()?;
        let step_count = Tensor::zeros(gpu, "step count", [1, 1], Element::U32)?;
        let training = Mode::Training(Draw::new(of_use.key, &step_count));
        for mode in [Mode::Evaluation, training] {
            let y = unwritten(gpu, "y", y_shape)?;
            let kept = spec.kept.iter();
            let kept = kept.map(|kept| unwritten(gpu, kept.name, kept.tensor_shape(ROWS)));
            let kept = kept.collect::<Result<Vec<_>, _>>()?;
            let mut recorder = Recorder::new(gpu);
            let pass = Forward::new(&x, self.parameters_of(of_use), &y, mode);
            let pass = pass.with_state(&state).with_kept(&kept);
            of_use.layer.forward(&mut recorder, pass)?;
            run(recorder, &place, "forward", kept.iter().chain([&y]))?;

            let dx = unwritten(gpu, "dx", x_shape)?;
            let gradients = spec.parameters.iter();
            let gradients = gradients.map(|parameter| {
                let label = format!("the gradient by {}", parameter.name);
                unwritten(gpu, &label, parameter.tensor_shape())
            });
            let gradients = gradients.collect::<Result<Vec<_>, _>>()?;
            let mut recorder = Recorder::new(gpu);
            let pass = Backward::new([&x, &y, &dy], Some(&dx), mode);
            let pass = pass.with_parameters(self.parameters_of(of_use), &gradients);
            let pass = pass.with_state(&state).with_kept(&kept);
            of_use.layer.backward(&mut recorder, pass)?;
            run(recorder, &place, "backward", gradients.iter().chain([&dx]))?;
        }
        Ok(())
    }
}

/// A tensor that shows where nobody has written.
fn unwritten(gpu: &Gpu, label: &str, shape: TensorShape) -> Result<Tensor, Error> {
    let what = || format!("a look at what a layer writes into {label} ({shape})");
    gpu.check_host(what, bytes_of::<u32>(shape.len() as u64))?;
    let tensor = Tensor::zeros(gpu, label, shape, Element::F32)?;
    gpu.write(&tensor, &vec![UNWRITTEN; shape.len()])?;
    Ok(tensor)
}

/// Runs a pass, and looks at what it should have written.
fn run<'t>(
    recorder: Recorder<'_>,
    place: &str,
    pass: &str,
    outputs: impl Iterator<Item = &'t Tensor>,
) -> Result<(), Error> {
    if recorder.is_empty() {
        let name = format!("number of kernels that the {pass} pass of {place}, records");
        let expected =
            "at least 1, as there is something to write: record one with Recorder::dispatch";
        return Err(Error::setting(name, expected, 0));
    }
    let gpu = recorder.gpu();
    gpu.submit(&recorder.finish()?, 1)?;
    #[cfg(not(target_arch = "wasm32"))]
    for tensor in outputs {
        let bits: Vec<u32> = gpu.read(tensor)?;
        let left_out = bits.iter().filter(|&&bits| bits == UNWRITTEN).count();
        if left_out > 0 {
            let name = format!("what the {pass} pass of {place}, writes");
            let expected = format!(
                "all of {} ({}): wgrad::check_layer says where a layer does not",
                tensor.label(),
                tensor.shape()
            );
            let found = format!("all but {left_out} elements");
            return Err(Error::setting(name, expected, found));
        }
    }
    #[cfg(target_arch = "wasm32")]
    let _ = outputs;
    Ok(())
}
