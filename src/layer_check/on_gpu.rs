//! Runs one minibatch of a layer check on the GPU, with guard bands around all tensors.

use ndarray::Array2;

use super::Pass;
use super::case::{Case, KEY, STEP};
use crate::check::{Kernels, Run};
use crate::error::{CheckError, Error};
use crate::gpu::Gpu;
use crate::guard::{Contents, GuardSpec, Guarded};
use crate::ops::{Backward, Draw, Forward, Mode};
use crate::shape::TensorShape;
use crate::tensor::Tensor;

type Matrices = Vec<Array2<f32>>;

/// The results of both passes on the GPU, in the order of [`Case::results`].
#[derive(Debug)]
pub(super) struct OnGpu {
    pub(super) forward: Matrices,
    pub(super) backward: Matrices,
}

/// The operands that both passes on the GPU read.
struct Inputs {
    x: Guarded,
    parameters: Vec<Guarded>,
    step: Guarded,
}

impl Inputs {
    fn all(&self) -> impl Iterator<Item = &Guarded> {
        self.parameters.iter().chain([&self.x, &self.step])
    }
}

impl Case<'_> {
    /// Runs both passes. First checks the contracts of kernels that are not in `kernels` yet.
    pub(super) fn on_gpu(&self, gpu: &Gpu, kernels: &mut Kernels<'_>) -> Result<OnGpu, Error> {
        let named = self
            .spec
            .parameters
            .iter()
            .map(|spec| (spec.name, spec.tensor_shape()));
        let parameters = named.zip(&self.parameters);
        let inputs = Inputs {
            x: input("x", self.minibatch, &self.x, gpu)?,
            parameters: together(gpu, parameters, |bits| Contents::Input(bits))?,
            step: GuardSpec::new("step count", [1, 1], Contents::Input(&[STEP]))
                .of_u32()
                .place(gpu)?,
        };
        let rows = self.minibatch.rows;
        let y = GuardSpec::new("y", (rows, self.spec.output), Contents::Output).place(gpu)?;
        let kept = self.spec.kept.iter().map(|kept| {
            let shape = kept.tensor_shape(rows);
            GuardSpec::new(kept.name, shape, Contents::Output).place(gpu)
        });
        let kept: Vec<Guarded> = kept.collect::<Result<_, _>>()?;
        let (forward, kept) = self.forward(gpu, kernels, &inputs, y, kept)?;
        let backward = self.backward(gpu, kernels, &inputs, &forward, &kept)?;
        Ok(OnGpu { forward, backward })
    }

    fn mode<'m>(&self, inputs: &'m Inputs) -> Mode<'m> {
        if self.is_training() {
            Mode::Training(Draw::new(KEY, inputs.step.tensor()))
        } else {
            Mode::Evaluation
        }
    }

    fn run<'g>(&'g self, gpu: &'g Gpu, pass: Pass) -> Run<'g> {
        Run {
            gpu,
            name: &self.name,
            pass,
        }
    }

    /// Places the state in one buffer, with guard bands.
    fn place_state(
        &self,
        gpu: &Gpu,
        values: &[Array2<f32>],
        contents: for<'c> fn(&'c [u32]) -> Contents<'c>,
    ) -> Result<Vec<Guarded>, Error> {
        let named = self
            .spec
            .state
            .iter()
            .map(|spec| (spec.name, spec.tensor_shape()));
        together(gpu, named.zip(values), contents)
    }

    /// Runs the forward pass. Returns its results and the values that it saved for the backward pass.
    fn forward(
        &self,
        gpu: &Gpu,
        kernels: &mut Kernels<'_>,
        inputs: &Inputs,
        y: Guarded,
        kept: Vec<Guarded>,
    ) -> Result<(Matrices, Matrices), Error> {
        let run = self.run(gpu, Pass::Forward);
        let state = if self.is_training() {
            self.place_state(gpu, &self.state, |bits| Contents::Changed(bits))?
        } else {
            self.place_state(gpu, &self.state, |bits| Contents::Input(bits))?
        };
        let results: Vec<&Guarded> = std::iter::once(&y).chain(&kept).collect();
        let what = format!("Layer::forward ({} inputs)", self.minibatch);
        run.submit(kernels, &what, &results, |recorder| {
            let parameters = tensors(&inputs.parameters);
            let mode = self.mode(inputs);
            let state = tensors(&state);
            let kept = tensors(&kept);
            let pass = Forward::new(inputs.x.tensor(), &parameters, y.tensor(), mode);
            let pass = pass.with_state(&state).with_kept(&kept);
            self.layer.forward(recorder, pass)
        })?;
        self.check_inputs(&run, inputs.all())?;
        // Saved values may be any bits, so a NaN among them is not a fault.
        let kept = self.read_all(&run, &kept.iter().collect::<Vec<_>>())?;
        let mut results = vec![&y];
        for state in &state {
            if self.is_training() {
                results.push(state);
            } else {
                run.check_state(state, self.call)?;
            }
        }
        Ok((self.read_numbers(&run, &results)?, kept))
    }

    fn backward(
        &self,
        gpu: &Gpu,
        kernels: &mut Kernels<'_>,
        inputs: &Inputs,
        forward: &[Array2<f32>],
        kept: &[Array2<f32>],
    ) -> Result<Matrices, Error> {
        let run = self.run(gpu, Pass::Backward);
        let rows = self.minibatch.rows;
        let y = input("y", (rows, self.spec.output).into(), &forward[0], gpu)?;
        let dy = input("dy", (rows, self.spec.output).into(), &self.dy, gpu)?;
        let after = if self.is_training() {
            &forward[1..]
        } else {
            &self.state
        };
        let state = self.place_state(gpu, after, |bits| Contents::Input(bits))?;
        let kept = self.spec.kept.iter().zip(kept).map(|(spec, values)| {
            let shape = spec.tensor_shape(rows);
            input(spec.name, shape, values, gpu)
        });
        let kept: Vec<Guarded> = kept.collect::<Result<_, _>>()?;
        let results = self.results(Pass::Backward).into_iter();
        let results: Vec<_> = results
            .map(|(name, shape)| GuardSpec::new(name, shape, Contents::Output))
            .collect();
        let (dx, gradients) = results.split_at(usize::from(self.has_dx()));
        let dx = dx.first().map(|dx| dx.place(gpu)).transpose()?;
        let gradients = GuardSpec::place_together(gradients, gpu)?;
        let results: Vec<&Guarded> = dx.iter().chain(&gradients).collect();
        let what = format!("Layer::backward ({} inputs)", self.minibatch);
        run.submit(kernels, &what, &results, |recorder| {
            let parameters = tensors(&inputs.parameters);
            let outputs = tensors(&gradients);
            let state = tensors(&state);
            let kept = tensors(&kept);
            let values = [inputs.x.tensor(), y.tensor(), dy.tensor()];
            let dx = dx.as_ref().map(Guarded::tensor);
            let pass = Backward::new(values, dx, self.mode(inputs));
            let pass = pass.with_parameters(&parameters, &outputs);
            self.layer
                .backward(recorder, pass.with_state(&state).with_kept(&kept))
        })?;
        let of_forward = inputs.all().chain([&y, &dy]).chain(&kept);
        self.check_inputs(&run, of_forward)?;
        for state in &state {
            run.check_state(state, self.call)?;
        }
        self.read_numbers(&run, &results)
    }

    fn check_inputs<'g>(
        &self,
        run: &Run<'_>,
        inputs: impl Iterator<Item = &'g Guarded>,
    ) -> Result<(), Error> {
        for input in inputs {
            self.read(run, input)?;
        }
        Ok(())
    }

    fn read(&self, run: &Run<'_>, guarded: &Guarded) -> Result<Array2<f32>, Error> {
        let label = guarded.tensor().label();
        let shape = guarded.tensor().shape();
        let bits = run.read(guarded, |at| self.place(run.pass, label, shape, at))?;
        let mut values = bits.into_iter().map(f32::from_bits);
        Ok(Array2::from_shape_simple_fn(shape.dims(), || {
            values.next().unwrap_or(f32::NAN)
        }))
    }

    fn read_all(&self, run: &Run<'_>, guarded: &[&Guarded]) -> Result<Matrices, Error> {
        guarded
            .iter()
            .map(|guarded| self.read(run, guarded))
            .collect()
    }

    /// Reads all tensors first, which reports elements that were not written, and then checks for NaN. An element that
    /// was not written is the more specific fault and may be the cause of a NaN.
    fn read_numbers(&self, run: &Run<'_>, guarded: &[&Guarded]) -> Result<Matrices, Error> {
        let all = self.read_all(run, guarded)?;
        for (guarded, values) in guarded.iter().zip(&all) {
            let label = guarded.tensor().label();
            let shape = guarded.tensor().shape();
            if let Some(at) = values.iter().position(|value| value.is_nan()) {
                let at = self.place(run.pass, label, shape, at).into();
                return Err(CheckError::Nan { at, by: "the WGSL" }.into());
            }
        }
        Ok(all)
    }
}

fn bits(values: &Array2<f32>) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn tensors(guarded: &[Guarded]) -> Vec<Tensor> {
    let tensors = guarded.iter().map(Guarded::tensor);
    tensors.cloned().collect()
}

fn input(
    label: &str,
    shape: TensorShape,
    values: &Array2<f32>,
    gpu: &Gpu,
) -> Result<Guarded, Error> {
    GuardSpec::new(label, shape, Contents::Input(&bits(values))).place(gpu)
}

/// Places the tensors of one role in one buffer.
fn together<'v>(
    gpu: &Gpu,
    values: impl Iterator<Item = ((&'static str, TensorShape), &'v Array2<f32>)>,
    contents: for<'c> fn(&'c [u32]) -> Contents<'c>,
) -> Result<Vec<Guarded>, Error> {
    let values: Vec<_> = values
        .map(|(named, values)| (named, bits(values)))
        .collect();
    let specs: Vec<_> = values
        .iter()
        .map(|((name, shape), bits)| GuardSpec::new(*name, *shape, contents(bits)))
        .collect();
    GuardSpec::place_together(&specs, gpu)
}
