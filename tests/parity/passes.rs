//! Runs both passes of a layer with parameters, state or values kept for the backward pass: on the GPU, and by the
//! reference.

use wgrad::ndarray::Array2;
use wgrad::ops::{Backward, Draw, Forward, Layer, LayerSpec, Mode};
use wgrad::reference::{self, Float};
use wgrad::tensor::Tensor;
use wgrad::{Gpu, Shape, TensorShape};

use crate::gpu::{Bench, Numbers};

/// The operands of both passes of a layer, for one minibatch.
pub(crate) struct Operands {
    pub(crate) spec: LayerSpec,
    input: Shape,
    pub(crate) x: Array2<f32>,
    pub(crate) dy: Array2<f32>,
    pub(crate) parameters: Vec<Array2<f32>>,
    pub(crate) state: Vec<Array2<f32>>,
}

/// The results by name: `y`, `dx`, the gradients with respect to the parameters and, in training, the state after the
/// step.
pub(crate) type Results = Vec<(&'static str, Vec<f32>)>;

impl Operands {
    /// Creates random operands. A function draws each number of `x`. Parameters and state are in ½…1½, so that
    /// variances are positive.
    pub(crate) fn new(
        layer: &dyn Layer,
        minibatch: impl Into<TensorShape>,
        x: impl Fn(&mut Numbers) -> f32,
    ) -> Self {
        let minibatch = minibatch.into();
        let spec = layer.spec(&minibatch.row).unwrap();
        let mut numbers = Numbers::new(5);
        let x = Array2::from_shape_simple_fn(minibatch.dims(), || x(&mut numbers));
        let outputs = [minibatch.rows, spec.output.len()];
        let dy = Array2::from_shape_simple_fn(outputs, || numbers.uniform());
        let mut near_one =
            |dims: [usize; 2]| Array2::from_shape_simple_fn(dims, || 1.0 + numbers.uniform() / 2.0);
        let parameters = spec.parameters.iter();
        let parameters = parameters.map(|spec| near_one(spec.tensor_shape().dims()));
        let parameters = parameters.collect();
        let state = spec.state.iter();
        let state = state.map(|spec| near_one(spec.tensor_shape().dims()));
        Self {
            input: minibatch.row,
            x,
            dy,
            parameters,
            state: state.collect(),
            spec,
        }
    }

    /// Replaces the state.
    pub(crate) fn with_state(mut self, state: &[Vec<f32>]) -> Self {
        for (of, values) in self.state.iter_mut().zip(state) {
            of.iter_mut()
                .zip(values)
                .for_each(|(of, &value)| *of = value);
        }
        self
    }

    fn kept(&self) -> impl Iterator<Item = (&'static str, TensorShape)> {
        let rows = self.x.nrows();
        let kept = self.spec.kept.iter();
        kept.map(move |kept| (kept.name, kept.tensor_shape(rows)))
    }

    /// Returns the names of the results.
    fn names(&self, is_training: bool) -> Vec<&'static str> {
        let parameters = self.spec.parameters.iter().map(|spec| spec.name);
        let state = self.spec.state.iter().map(|spec| spec.name);
        let state = state.filter(|_| is_training);
        ["y", "dx"]
            .into_iter()
            .chain(parameters)
            .chain(state)
            .collect()
    }

    /// Runs both passes on the GPU, between guard bands.
    pub(crate) fn on_gpu(
        &self,
        case: &str,
        gpu: &Gpu,
        layer: &dyn Layer,
        is_training: bool,
    ) -> Results {
        let bench = Bench::new(gpu);
        let flat = |values: &Array2<f32>| values.iter().copied().collect::<Vec<_>>();
        let rows = self.x.nrows();
        let output = self.spec.output;
        let x = bench.input("x", (rows, self.input), &flat(&self.x));
        let dy = bench.input("dy", (rows, output), &flat(&self.dy));
        let y = bench.output("y", (rows, output));
        let dx = bench.output("dx", (rows, self.input));
        let parameters = self.spec.parameters.iter().zip(&self.parameters);
        let parameters = parameters
            .map(|(spec, values)| bench.input(spec.name, spec.tensor_shape(), &flat(values)));
        let parameters: Vec<Tensor> = parameters.collect();
        let gradients = self.spec.parameters.iter();
        let gradients = gradients.map(|spec| bench.output(spec.name, spec.tensor_shape()));
        let gradients: Vec<Tensor> = gradients.collect();
        let state = self.spec.state.iter().zip(&self.state);
        let state = state.map(|(spec, values)| {
            if is_training {
                bench.changed(spec.name, spec.tensor_shape(), &flat(values))
            } else {
                bench.input(spec.name, spec.tensor_shape(), &flat(values))
            }
        });
        let state: Vec<Tensor> = state.collect();
        let kept: Vec<Tensor> = self
            .kept()
            .map(|(name, shape)| bench.output(name, shape))
            .collect();
        let step = bench.input_u32("step", [1, 1], &[3]);
        let mode = if is_training {
            Mode::Training(Draw::new([1, 2], &step))
        } else {
            Mode::Evaluation
        };
        bench.run(case, 1, |recorder| {
            let pass = Forward::new(&x, &parameters, &y, mode);
            let pass = pass.with_state(&state).with_kept(&kept);
            layer.forward(recorder, pass).unwrap();
            let pass = Backward::new([&x, &y, &dy], Some(&dx), mode);
            let pass = pass.with_parameters(&parameters, &gradients);
            let pass = pass.with_state(&state).with_kept(&kept);
            layer.backward(recorder, pass).unwrap();
        });
        let results = [&y, &dx].into_iter().chain(&gradients);
        let results = results.chain(state.iter().filter(|_| is_training));
        let values = results.map(|tensor| bench.read(tensor));
        self.names(is_training).into_iter().zip(values).collect()
    }

    /// Runs both passes by the reference, in `f64`.
    pub(crate) fn by_reference(&self, layer: &dyn Layer, is_training: bool) -> Vec<Vec<f64>> {
        let cast = |values: &Array2<f32>| values.mapv(f64::from);
        let unwritten = |dims: [usize; 2]| Array2::from_elem(dims, f64::NAN);
        let x = cast(&self.x);
        let dy = cast(&self.dy);
        let parameters: Vec<Array2<f64>> = self.parameters.iter().map(cast).collect();
        let mut state: Vec<Array2<f64>> = self.state.iter().map(cast).collect();
        let mut kept: Vec<_> = self
            .kept()
            .map(|(_, shape)| unwritten(shape.dims()))
            .collect();
        let mut y = unwritten(dy.dim().into());
        let mut dx = unwritten(x.dim().into());
        let gradients = parameters.iter().map(|of| unwritten(of.dim().into()));
        let mut gradients: Vec<_> = gradients.collect();
        let mode = if is_training {
            reference::Mode::Training(reference::Draw::new([1, 2], 3))
        } else {
            reference::Mode::Evaluation
        };
        let twin = layer.reference();
        let input = (x.view(), self.input);
        let pass = reference::Forward::new(input, &parameters, y.view_mut(), mode);
        f64::of(&twin).forward(pass.with_state(&mut state).with_kept(&mut kept));
        let of_output = [y.view(), dy.view()];
        let pass = reference::Backward::new(input, of_output, Some(dx.view_mut()), mode);
        let pass = pass.with_parameters(&parameters, &mut gradients);
        f64::of(&twin).backward(pass.with_state(&state).with_kept(&kept));
        let results = [&y, &dx].into_iter().chain(&gradients);
        let results = results.chain(state.iter().filter(|_| is_training));
        results
            .map(|values| values.iter().copied().collect())
            .collect()
    }
}
