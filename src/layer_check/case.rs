//! One minibatch of a layer check: its operands, and the results of the reference.

use std::ops::RangeInclusive;

use ndarray::Array2;

use super::{Call, Pass};
use crate::check::{FOLDED, Footprint, Numbers, OPERAND, RESULT, caught};
use crate::error::{CheckError, Error, Place};
use crate::init::Init;
use crate::ops::{Layer, LayerSpec, Layout, ParameterSpec};
use crate::reference::{self, Float, Twin};
use crate::shape::{Shape, TensorShape};

/// Random key and step of a pass in training; their values do not matter.
pub(super) const KEY: [u32; 2] = [0x243f_6a88, 0x85a3_08d3];
pub(super) const STEP: u32 = 5;

/// All operands of a layer for one minibatch.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) layer: &'a dyn Layer,
    pub(super) name: String,
    twin: Twin,
    pub(super) spec: LayerSpec,
    pub(super) call: Call,
    /// Number of rows, and the shape of a row.
    pub(super) minibatch: TensorShape,
    pub(super) x: Array2<f32>,
    pub(super) dy: Array2<f32>,
    pub(super) parameters: Vec<Array2<f32>>,
    pub(super) state: Vec<Array2<f32>>,
}

/// The operands of the reference's forward and backward pass.
#[derive(Debug, Clone)]
pub(super) struct Operands<F> {
    pub(super) x: Array2<F>,
    /// Whether `x` contains indices, which [`for_each`](Self::for_each) must not change.
    has_indices: bool,
    pub(super) parameters: Vec<Array2<F>>,
    /// The state before the forward pass.
    pub(super) state: Vec<Array2<F>>,
    pub(super) y: Array2<F>,
    pub(super) dy: Array2<F>,
}

impl<F> Operands<F> {
    pub(super) fn for_each(&mut self, change: &mut dyn FnMut(&mut F)) {
        let x = Some(&mut self.x).filter(|_| !self.has_indices);
        let matrices = [&mut self.y, &mut self.dy].into_iter();
        let matrices = x
            .into_iter()
            .chain(matrices)
            .chain(&mut self.parameters)
            .chain(&mut self.state);
        matrices.flatten().for_each(change);
    }
}

impl<'a> Case<'a> {
    pub(super) fn new(
        layer: &'a dyn Layer,
        spec: &LayerSpec,
        minibatch: TensorShape,
        call: Call,
        range: &RangeInclusive<f32>,
    ) -> Self {
        let mut numbers = Numbers::new(0);
        let x = Array2::from_shape_simple_fn(minibatch.dims(), || match spec.indices_below {
            Some(count) => f32::from_f64(numbers.below(count.max(1)) as f64),
            None => numbers.input(range),
        });
        let outputs = [minibatch.rows, spec.output.len()];
        let dy = Array2::from_shape_simple_fn(outputs, || numbers.input(&(-1.0..=1.0)));
        // Values near the initial values of a training, so that values which must be positive stay positive. A small
        // change makes all of them differ from zero.
        let mut values = |(stream, spec): (u64, &ParameterSpec)| {
            let init = match &spec.init {
                Init::Auto => &Init::LecunNormal,
                init => init,
            };
            let mut initial = init.values(&spec.shape, spec.fans, 0, stream).into_iter();
            Array2::from_shape_simple_fn(spec.tensor_shape().dims(), || {
                initial.next().unwrap_or_default() + numbers.uniform(-0.5, 0.5)
            })
        };
        let parameters = (0..).zip(&spec.parameters).map(&mut values).collect();
        let state = (1 << 32..).zip(&spec.state).map(&mut values).collect();
        Self {
            name: layer.name(),
            twin: layer.reference(),
            layer,
            spec: spec.clone(),
            call,
            minibatch,
            x,
            dy,
            parameters,
            state,
        }
    }

    pub(super) fn is_folded(&self) -> bool {
        self.minibatch == FOLDED.into()
    }

    pub(super) fn is_training(&self) -> bool {
        self.call != Call::Evaluation
    }

    /// Names and shapes of the results of a pass.
    pub(super) fn results(&self, pass: Pass) -> Vec<(String, TensorShape)> {
        let rows = self.minibatch.rows;
        let mut results = Vec::new();
        let specs = match pass {
            Pass::Forward => {
                results.push(("y".to_owned(), (rows, self.spec.output).into()));
                let state = self.spec.state.iter().filter(|_| self.is_training());
                state.map(|spec| (spec.name.to_owned(), spec)).collect()
            }
            Pass::Backward | Pass::Loss | Pass::Update => {
                if self.has_dx() {
                    results.push(("dx".to_owned(), self.minibatch));
                }
                let parameters = self.spec.parameters.iter();
                let gradients = parameters.map(|spec| (format!("d{}", spec.name), spec));
                gradients.collect::<Vec<_>>()
            }
        };
        results.extend(
            specs
                .into_iter()
                .map(|(name, spec)| (name, spec.tensor_shape())),
        );
        results
    }

    /// Whether `x` contains indices, which have no gradient.
    pub(super) fn has_indices(&self) -> bool {
        self.spec.indices_below.is_some()
    }

    /// Whether the backward pass computes `dx`. The first layer of a network need not: no layer would read it.
    pub(super) fn has_dx(&self) -> bool {
        self.call != Call::First
    }

    /// Number of terms of a sum over the minibatch: rows times positions per row.
    pub(super) fn positions(&self) -> usize {
        let behind_first = |shape: &Shape| shape.len() / shape.extents()[0];
        let inside = behind_first(&self.minibatch.row).max(behind_first(&self.spec.output));
        self.minibatch.rows * inside
    }

    /// Number of terms of the longest sum that the layer is likely to compute.
    pub(super) fn terms(&self) -> usize {
        let widest = self.minibatch.row.len().max(self.spec.output.len());
        widest.max(self.positions())
    }

    pub(super) fn place(&self, pass: Pass, tensor: &str, shape: TensorShape, at: usize) -> Place {
        let mut place = Place::new(&self.name, pass, tensor, shape, at);
        place.call = Some(self.call);
        if self.minibatch.dims() == shape.dims() {
            place.x = self.x.get(place.element).copied();
        }
        place
    }

    /// The operands in the precision `F`. `y` is the GPU's result in every precision.
    pub(super) fn operands<F: Float>(&self, y: &Array2<f32>) -> Operands<F> {
        let cast = |values: &Array2<f32>| values.mapv(|value| F::from_f64(value.into()));
        Operands {
            x: cast(&self.x),
            has_indices: self.has_indices(),
            parameters: self.parameters.iter().map(cast).collect(),
            state: self.state.iter().map(cast).collect(),
            y: cast(y),
            dy: cast(&self.dy),
        }
    }

    /// The operands in `f64`. `y` is the reference's result.
    pub(super) fn exact_operands(&self) -> Result<Operands<f64>, CheckError> {
        let unread = Array2::zeros(self.dy.raw_dim());
        let mut operands = self.operands(&unread);
        operands.y = self.reference(Pass::Forward, &operands)?.swap_remove(0);
        Ok(operands)
    }

    /// Runs a pass of the reference. Returns its results in the order of [`results`](Self::results). A backward pass
    /// receives the values that the reference's forward pass saved, and the state after the forward pass.
    pub(super) fn reference<F: Float>(
        &self,
        pass: Pass,
        operands: &Operands<F>,
    ) -> Result<Vec<Array2<F>>, CheckError> {
        let twin = F::of(&self.twin);
        let input = self.minibatch.row;
        let mode = if self.is_training() {
            reference::Mode::Training(reference::Draw::new(KEY, STEP))
        } else {
            reference::Mode::Evaluation
        };
        let unwritten = F::from_f64(f64::NAN);
        let like = |values: &Array2<F>| Array2::from_elem(values.raw_dim(), unwritten);
        let kept = self.spec.kept.iter();
        let kept = kept.map(|kept| kept.tensor_shape(self.minibatch.rows).dims());
        let mut kept: Vec<_> = kept
            .map(|dims| Array2::from_elem(dims, unwritten))
            .collect();
        let mut state = operands.state.clone();
        let what = |pass| {
            let y = TensorShape::from((self.minibatch.rows, self.spec.output));
            let x = self.minibatch;
            format!("the reference's {pass} pass ({x} inputs, {y} outputs)")
        };
        let mut y = like(&operands.y);
        if pass == Pass::Forward || !kept.is_empty() || !state.is_empty() {
            let x = (operands.x.view(), input);
            let parameters = &operands.parameters;
            let forward = reference::Forward::new(x, parameters, y.view_mut(), mode);
            let forward = forward.with_state(&mut state).with_kept(&mut kept);
            caught(&self.name, &what(Pass::Forward), || twin.forward(forward))?;
            self.check_reference_state(&operands.state, &state)?;
        }
        if pass == Pass::Forward {
            state.retain(|_| self.is_training());
            return Ok(std::iter::once(y).chain(state).collect());
        }
        let mut dx = self.has_dx().then(|| like(&operands.x));
        let mut gradients: Vec<_> = operands.parameters.iter().map(like).collect();
        let y_and_dy = [operands.y.view(), operands.dy.view()];
        let dx_view = dx.as_mut().map(|dx| dx.view_mut());
        let backward =
            reference::Backward::new((operands.x.view(), input), y_and_dy, dx_view, mode);
        let backward = backward.with_parameters(&operands.parameters, &mut gradients);
        let backward = backward.with_state(&state).with_kept(&kept);
        caught(&self.name, &what(Pass::Backward), || {
            twin.backward(backward);
        })?;
        Ok(dx.into_iter().chain(gradients).collect())
    }

    fn check_reference_state<F: Float>(
        &self,
        before: &[Array2<F>],
        after: &[Array2<F>],
    ) -> Result<(), CheckError> {
        let pairs = before.iter().zip(after).zip(&self.spec.state);
        for ((before, after), spec) in pairs {
            if !self.is_training() && before != after {
                return Err(CheckError::StateChanged {
                    name: self.name.clone(),
                    state: spec.name.to_owned(),
                    pass: Pass::Forward,
                    call: self.call,
                    by: "the reference",
                });
            }
        }
        Ok(())
    }
}

/// The tensors of a minibatch, for estimating the memory of the check.
pub(super) fn footprint(spec: &LayerSpec, minibatch: TensorShape) -> Vec<Footprint<'_>> {
    let both = OPERAND + RESULT;
    let y = (minibatch.rows, spec.output).into();
    // As an operand, `y` counts twice: once for itself and once for `dy`.
    let values = [("x", minibatch, both), ("y", y, both + OPERAND)].into_iter();
    let named = spec.parameters.iter().chain(&spec.state);
    let named = named.map(|spec| (spec.name, spec.tensor_shape(), both));
    let kept = spec.kept.iter();
    let kept = kept.map(|kept| (kept.name, kept.tensor_shape(minibatch.rows), OPERAND));
    let tensors = values.chain(named).chain(kept);
    let tensors = tensors.map(|(name, shape, copies)| Footprint {
        name,
        shape,
        copies,
    });
    tensors.collect()
}

/// Checks that the shapes, names and initial values in a layer's spec are valid.
pub(super) fn check_spec(layer: &dyn Layer, input: &Shape, spec: &LayerSpec) -> Result<(), Error> {
    check_shapes(layer, input, spec)?;
    let named = spec.parameters.iter().chain(&spec.state);
    let names: Vec<_> = named.clone().map(|spec| spec.name).collect();
    let of = format!("{} in spec({input})", layer.name());
    check_names(&format!("parameter or value of the state of {of}"), &names)?;
    let kept: Vec<_> = spec.kept.iter().map(|kept| kept.name).collect();
    check_names(&format!("value kept by {of}"), &kept)?;
    for spec in named {
        spec.init.check()?;
        let name = format!("{} of {of}", spec.name);
        spec.init.check_values(&name, &spec.shape, spec.fans)?;
    }
    Ok(())
}

/// Checks names by the rules of a network: none is empty, and all differ.
fn check_names(of: &str, names: &[&str]) -> Result<(), Error> {
    for (at, name) in names.iter().enumerate() {
        if name.is_empty() || names[..at].contains(name) {
            let expected = "not empty, and different from the other names";
            let found = format!("\"{name}\"");
            return Err(Error::setting(format!("name of a {of}"), expected, found));
        }
    }
    Ok(())
}

/// Checks that the shapes in a layer's spec are valid.
fn check_shapes(layer: &dyn Layer, input: &Shape, spec: &LayerSpec) -> Result<(), CheckError> {
    let fault = |what: &str, expected, found: &Shape| {
        Err(CheckError::Shape {
            name: layer.name(),
            what: format!("shape of {what} in spec({input})"),
            expected,
            found: found.to_string(),
        })
    };
    let named = spec.parameters.iter().chain(&spec.state);
    let named = named.map(|spec| (spec.name, &spec.shape));
    let kept = spec.kept.iter().map(|kept| (kept.name, &kept.shape));
    for (name, shape) in std::iter::once(("output", &spec.output))
        .chain(named)
        .chain(kept)
    {
        if shape.is_empty() {
            return fault(name, "at least 1 along each extent", shape);
        }
    }
    for spec in &spec.parameters {
        if spec.layout == Layout::Transposed && spec.shape.rank() != 2 {
            let expected = "of two extents, because files store it transposed";
            return fault(spec.name, expected, &spec.shape);
        }
    }
    Ok(())
}
