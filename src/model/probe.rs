//! A look at the layers that are not this crate's, before anything is trained with them: whether they record kernels,
//! and whether those write all that they should. What a layer leaves out would be zeros, or another layer's values.

use super::Model;
use crate::error::Error;
use crate::guard::{Contents, GuardSpec, Guarded};
use crate::kernel::Element;
use crate::network::{Source, Use};
use crate::ops::{Backward, Draw, Forward, Mode};
use crate::plan::Recorder;
use crate::shape::{Shape, TensorShape};
use crate::tensor::Tensor;

/// Rows of the passes.
const ROWS: usize = 2;

impl Model {
    /// Fails at the first layer that leaves something out. A browser cannot wait for what was written: there, only
    /// layers that record nothing are found.
    pub(super) fn probe(&self) -> Result<(), Error> {
        for (index, of_use) in self.graph.uses.iter().enumerate() {
            let Source::Layer { x, .. } = self.graph.values[of_use.value].source else {
                continue;
            };
            if !of_use.is_repeated {
                self.probe_layer(index, of_use, self.graph.values[x].shape)?;
            }
        }
        Ok(())
    }

    fn probe_layer(&self, index: usize, of_use: &Use, input: Shape) -> Result<(), Error> {
        let (gpu, spec) = (&self.gpu, &of_use.spec);
        let place = format!("layers.{index}, {}", of_use.layer.name());
        let zeros =
            |label: &str, shape: TensorShape| Tensor::zeros(gpu, label, shape, Element::F32);
        let x = zeros("x", TensorShape::from((ROWS, input)))?;
        let state = spec.state.iter();
        let state = state.map(|state| zeros(state.name, state.tensor_shape()));
        let state = state.collect::<Result<Vec<_>, _>>()?;
        let step_count = Tensor::zeros(gpu, "step count", [1, 1], Element::U32)?;
        let training = Mode::Training(Draw::new(of_use.key, &step_count));
        for mode in [Mode::Evaluation, training] {
            let y = output("y", TensorShape::from((ROWS, spec.output))).place(gpu)?;
            let kept = spec.kept.iter();
            let kept = kept.map(|kept| output(kept.name, kept.tensor_shape(ROWS)).place(gpu));
            let kept = kept.collect::<Result<Vec<Guarded>, _>>()?;
            let kept_tensors: Vec<Tensor> = kept.iter().map(|kept| kept.tensor().clone()).collect();
            let mut recorder = Recorder::new(gpu);
            let pass = Forward::new(&x, self.parameters_of(of_use), y.tensor(), mode);
            let pass = pass.with_state(&state).with_kept(&kept_tensors);
            of_use.layer.forward(&mut recorder, pass)?;
            if recorder.is_of_this_crate() {
                return Ok(());
            }
            run(recorder, &place, "forward", kept.iter().chain([&y]))?;

            let dy = zeros("dy", TensorShape::from((ROWS, spec.output)))?;
            let dx = output("dx", TensorShape::from((ROWS, input))).place(gpu)?;
            let gradients = spec.parameters.iter();
            let gradients: Vec<_> = gradients
                .map(|spec| output(&format!("gradient by {}", spec.name), spec.tensor_shape()))
                .collect();
            let gradients = GuardSpec::place_together(&gradients, gpu)?;
            let tensors: Vec<Tensor> = gradients.iter().map(|g| g.tensor().clone()).collect();
            let mut recorder = Recorder::new(gpu);
            let pass = Backward::new([&x, y.tensor(), &dy], Some(dx.tensor()), mode);
            let pass = pass.with_parameters(self.parameters_of(of_use), &tensors);
            let pass = pass.with_state(&state).with_kept(&kept_tensors);
            of_use.layer.backward(&mut recorder, pass)?;
            run(recorder, &place, "backward", gradients.iter().chain([&dx]))?;
        }
        Ok(())
    }
}

fn output(label: &str, shape: TensorShape) -> GuardSpec<'static> {
    GuardSpec::new(label, shape, Contents::Output)
}

/// Runs a pass, and looks at what it should have written.
fn run<'g>(
    recorder: Recorder<'_>,
    place: &str,
    pass: &str,
    outputs: impl Iterator<Item = &'g Guarded>,
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
    for written in outputs {
        if let Err(touch) = pollster::block_on(written.read(gpu))? {
            let name = format!("what the {pass} pass of {place}, writes");
            let tensor = written.tensor();
            let expected = format!(
                "all of {} ({}) and nothing else: wgrad::check_layer says where a layer does not",
                tensor.label(),
                tensor.shape()
            );
            return Err(Error::setting(name, expected, touch));
        }
    }
    #[cfg(target_arch = "wasm32")]
    let _ = outputs;
    Ok(())
}
