//! One minibatch of a loss check: on the GPU and in the reference.

use std::ops::RangeInclusive;

use ndarray::{Array2, Axis};

use super::{Check, CheckError, Comparison, Pass, Place};
use crate::check::{
    Footprint, Kernels, Moved, Numbers, OPERAND, RESULT, Run, Worst, caught, moves, parity,
    sampled, slope,
};
use crate::error::{Error, TargetKind};
use crate::gpu::Gpu;
use crate::guard::{Contents, GuardSpec, Guarded};
use crate::ops::{Loss, LossPass, weight_of_rows};
use crate::reference::{self, Criterion, Float};
use crate::shape::TensorShape;

/// Allowed difference between the reference's mean and the mean of its row losses, relative to the mean of their
/// magnitudes.
const MEAN: f64 = 1e-9;

/// All operands of a loss for one minibatch.
#[derive(Debug)]
pub(super) struct Case<'a> {
    loss: &'a dyn Loss,
    name: String,
    twin: Criterion,
    /// Number of rows, and the shape of an output.
    pub(super) minibatch: TensorShape,
    outputs: Array2<f32>,
    targets: Targets<f32>,
}

#[derive(Debug, Clone)]
enum Targets<F> {
    Classes(Vec<u32>),
    Values(Array2<F>),
}

/// The operands of the reference.
#[derive(Debug, Clone)]
struct Operands<F> {
    outputs: Array2<F>,
    targets: Targets<F>,
    are_probabilities: bool,
}

impl Operands<f64> {
    fn for_each(&mut self, change: &mut dyn FnMut(&mut f64)) {
        self.outputs.iter_mut().for_each(&mut *change);
        if let Targets::Values(values) = &mut self.targets {
            values.iter_mut().for_each(change);
            if self.are_probabilities {
                values.mapv_inplace(|value| value.clamp(0.0, 1.0));
            }
        }
    }
}

/// The results on the GPU.
#[derive(Debug)]
pub(super) struct OnGpu {
    losses: Array2<f32>,
    doutputs: Array2<f32>,
}

/// The tensors of a minibatch, for estimating the memory of the check. Targets count as values, which take more memory
/// than classes.
pub(super) fn footprint(minibatch: TensorShape) -> Vec<Footprint<'static>> {
    // The reference receives copies of the rows.
    let operand = OPERAND + 1;
    let losses = TensorShape::from([1, minibatch.rows]);
    let tensors = [
        ("outputs", minibatch, operand),
        ("targets", minibatch, operand),
        ("losses", losses, RESULT),
        ("doutputs", minibatch, RESULT),
    ];
    let tensors = tensors.map(|(name, shape, copies)| Footprint {
        name,
        shape,
        copies,
    });
    tensors.to_vec()
}

impl<'a> Case<'a> {
    pub(super) fn new(
        loss: &'a dyn Loss,
        minibatch: TensorShape,
        [outputs, targets]: [&RangeInclusive<f32>; 2],
    ) -> Self {
        let mut numbers = Numbers::new(0);
        let [rows, columns] = minibatch.dims();
        let mut values =
            |range| Array2::from_shape_simple_fn([rows, columns], || numbers.input(range));
        let outputs = values(outputs);
        let targets = match loss.targets() {
            TargetKind::Values | TargetKind::Probabilities => Targets::Values(values(targets)),
            TargetKind::Classes => {
                let class = |_| u32::try_from(numbers.below(columns)).unwrap_or_default();
                Targets::Classes((0..rows).map(class).collect())
            }
        };
        Self {
            loss,
            name: loss.describe(),
            twin: loss.reference(),
            minibatch,
            outputs,
            targets,
        }
    }

    fn rows(&self) -> usize {
        self.minibatch.rows
    }

    fn place(&self, tensor: &str, shape: TensorShape, at: usize) -> Place {
        let mut place = Place::new(&self.name, Pass::Loss, tensor, shape, at);
        if shape == self.minibatch {
            place.x = self.outputs.get(place.element).copied();
        }
        place
    }

    pub(super) fn on_gpu(&self, gpu: &Gpu, kernels: &mut Kernels<'_>) -> Result<OnGpu, Error> {
        let bits = |values: &Array2<f32>| -> Vec<u32> {
            values.iter().map(|value| value.to_bits()).collect()
        };
        let input = |label, values: &[u32]| {
            GuardSpec::new(label, self.minibatch, Contents::Input(values)).place(gpu)
        };
        let outputs = input("outputs", &bits(&self.outputs))?;
        let targets = match &self.targets {
            Targets::Values(values) => input("targets", &bits(values))?,
            Targets::Classes(classes) => {
                let contents = Contents::Input(classes);
                let spec = GuardSpec::new("targets", [1, self.rows()], contents);
                spec.of_u32().place(gpu)?
            }
        };
        let losses = GuardSpec::new("losses", [1, self.rows()], Contents::Output).place(gpu)?;
        let doutputs = GuardSpec::new("doutputs", self.minibatch, Contents::Output).place(gpu)?;
        let run = Run {
            gpu,
            name: &self.name,
            pass: Pass::Loss,
        };
        let what = format!("Loss::forward_backward ({} outputs)", self.minibatch);
        run.submit(kernels, &what, &[&losses, &doutputs], |recorder| {
            let read = [&outputs, &targets].map(Guarded::tensor);
            let written = [&losses, &doutputs].map(Guarded::tensor);
            self.loss
                .forward_backward(recorder, LossPass::new(read, written))
        })?;
        for input in [&outputs, &targets] {
            self.read(&run, input)?;
        }
        let results = [self.read(&run, &losses)?, self.read(&run, &doutputs)?];
        // All tensors were read before: an element that was not written is the more specific fault and may be the cause
        // of a NaN.
        for (guarded, values) in [&losses, &doutputs].into_iter().zip(&results) {
            let tensor = guarded.tensor();
            self.check_number(tensor.label(), tensor.shape(), values, "the WGSL")?;
        }
        let [losses, doutputs] = results;
        Ok(OnGpu { losses, doutputs })
    }

    fn read(&self, run: &Run<'_>, guarded: &Guarded) -> Result<Array2<f32>, Error> {
        let label = guarded.tensor().label();
        let shape = guarded.tensor().shape();
        let bits = run.read(guarded, |at| self.place(label, shape, at))?;
        let mut values = bits.into_iter().map(f32::from_bits);
        Ok(Array2::from_shape_simple_fn(shape.dims(), || {
            values.next().unwrap_or(f32::NAN)
        }))
    }

    fn check_number<F: Float>(
        &self,
        tensor: &str,
        shape: TensorShape,
        values: &Array2<F>,
        by: &'static str,
    ) -> Result<(), CheckError> {
        match values.iter().position(|value| value.is_nan()) {
            None => Ok(()),
            Some(at) => Err(CheckError::Nan {
                at: self.place(tensor, shape, at).into(),
                by,
            }),
        }
    }

    fn operands<F: Float>(&self) -> Operands<F> {
        let cast = |values: &Array2<f32>| values.mapv(|value| F::from_f64(value.into()));
        Operands {
            outputs: cast(&self.outputs),
            are_probabilities: self.loss.targets() == TargetKind::Probabilities,
            targets: match &self.targets {
                Targets::Classes(classes) => Targets::Classes(classes.clone()),
                Targets::Values(values) => Targets::Values(cast(values)),
            },
        }
    }

    /// Returns the reference's loss for a range of rows, and its gradient.
    fn reference<F: Float>(
        &self,
        operands: &Operands<F>,
        rows: std::ops::Range<usize>,
    ) -> Result<(F, Array2<F>), CheckError> {
        let twin = F::criterion(&self.twin);
        let of = |values: &Array2<F>| values.slice_axis(Axis(0), rows.clone().into()).to_owned();
        let outputs = of(&operands.outputs);
        let values;
        let targets = match &operands.targets {
            Targets::Classes(classes) => reference::Targets::Classes(&classes[rows.clone()]),
            Targets::Values(all) => {
                values = of(all);
                reference::Targets::Values(values.view())
            }
        };
        let mut doutputs = Array2::from_elem(outputs.raw_dim(), F::from_f64(f64::NAN));
        let shape = TensorShape::from((rows.len(), self.minibatch.row));
        let what = format!("the reference ({shape} outputs)");
        let loss = caught(&self.name, &what, || {
            let pass = reference::LossPass::new(outputs.view(), targets, doutputs.view_mut());
            twin.forward_backward(pass)
        })?;
        Ok((loss, doutputs))
    }

    /// Returns the loss of every row, of shape (1, rows): the reference's loss for a minibatch of this row only,
    /// multiplied by [`share_of_row`](Self::share_of_row).
    fn row_losses<F: Float>(&self, operands: &Operands<F>) -> Result<Array2<F>, CheckError> {
        let mut losses = Array2::zeros((1, self.rows()));
        for (row, loss) in losses.iter_mut().enumerate() {
            let share = F::from_f64(self.share_of_row(row));
            *loss = self.reference(operands, row..row + 1)?.0 * share;
        }
        Ok(losses)
    }

    /// The weight of a row in the mean over all rows, multiplied by the number of rows.
    fn share_of_row(&self, row: usize) -> f64 {
        let labels = match &self.targets {
            Targets::Classes(labels) => Some(&labels[..]),
            Targets::Values(_) => None,
        };
        let of_row = labels.map(|labels| &labels[row..=row]);
        let weight = |rows, labels| weight_of_rows(self.loss, rows, labels);
        weight(1, of_row) * (self.rows() as f64 / weight(self.rows(), labels))
    }

    /// Returns the reference's loss for all rows.
    fn mean(&self, operands: &Operands<f64>) -> Result<f64, CheckError> {
        Ok(self.reference(operands, 0..self.rows())?.0)
    }

    fn gradient<F: Float>(&self, operands: &Operands<F>) -> Result<Array2<F>, CheckError> {
        Ok(self.reference(operands, 0..self.rows())?.1)
    }

    /// Checks that the reference returns a mean over the rows.
    pub(super) fn check_mean(&self) -> Result<(), CheckError> {
        let operands = self.operands();
        let losses = self.row_losses(&operands)?;
        let shape = TensorShape::from([1, self.rows()]);
        self.check_number("losses", shape, &losses, "the reference")?;
        let found = self.mean(&operands)?;
        let rows = self.rows() as f64;
        let [expected, magnitude] =
            [losses.sum(), losses.mapv(f64::abs).sum()].map(|sum| sum / rows);
        let is_near = |a: f64, b: f64| a == b || (a - b).abs() <= MEAN * magnitude;
        if is_near(found, expected) {
            return Ok(());
        }
        Err(CheckError::NoMean {
            name: self.name.clone(),
            rows: self.rows(),
            found,
            expected,
            is_sum: is_near(found / rows, expected),
        })
    }

    /// Compares every row's loss on the GPU with the reference in `f64`.
    pub(super) fn check_losses(
        &self,
        run: &OnGpu,
        tolerance: f64,
    ) -> Result<Option<Comparison>, CheckError> {
        let operands = self.operands::<f64>();
        let expected = [self.row_losses(&operands)?];
        let single = self.row_losses(&self.operands::<f32>())?;
        let of = |operands: &Operands<f64>| Ok(vec![self.row_losses(operands)?]);
        let terms = self.minibatch.row.len();
        let moved = moves(&operands, terms, &expected, Operands::for_each, of)?;
        let by = Moved {
            expected: &expected[0],
            single: &single,
            moved: &moved[0],
        };
        let worst = parity(&run.losses, by, 1.0, tolerance);
        let shape = TensorShape::from([1, self.rows()]);
        self.within("losses", shape, Check::Parity(Pass::Loss), worst)
    }

    /// Compares the GPU's gradient of the mean loss with that of the reference in `f64`.
    pub(super) fn check_gradient(
        &self,
        run: &OnGpu,
        tolerance: f64,
    ) -> Result<Option<Comparison>, CheckError> {
        let operands = self.operands::<f64>();
        let expected = [self.gradient(&operands)?];
        let single = self.gradient(&self.operands::<f32>())?;
        let of = |operands: &Operands<f64>| Ok(vec![self.gradient(operands)?]);
        let terms = self.minibatch.row.len();
        let moved = moves(&operands, terms, &expected, Operands::for_each, of)?;
        let rows = self.rows() as f64;
        let by = Moved {
            expected: &expected[0],
            single: &single,
            moved: &moved[0],
        };
        let compare = |found: &Array2<f32>| parity(found, by, 1.0 / rows, tolerance);
        let worst = compare(&run.doutputs);
        if let Some(worst) = worst
            && !worst.is_within()
        {
            let of_mean = run.doutputs.mapv(|value| value / self.rows() as f32);
            if compare(&of_mean).is_some_and(|worst| worst.is_within()) {
                return Err(self.summed("the WGSL"));
            }
        }
        self.within("doutputs", self.minibatch, Check::Parity(Pass::Loss), worst)
    }

    fn summed(&self, by: &'static str) -> CheckError {
        CheckError::Summed {
            name: self.name.clone(),
            by,
            rows: self.rows(),
        }
    }

    /// Compares the reference's gradient with central differences of the reference's mean loss.
    pub(super) fn check_differences(&self) -> Result<Option<Comparison>, CheckError> {
        let mut operands = self.operands::<f64>();
        let (mean, gradient) = self.reference(&operands, 0..self.rows())?;
        self.check_number("doutputs", self.minibatch, &gradient, "the reference")?;
        let at_value = Array2::from_elem((1, 1), mean);
        let weight = Array2::ones((1, 1));
        let columns = gradient.ncols();
        let mut elements = Vec::new();
        for at in sampled(gradient.len()) {
            let element = [at / columns, at % columns];
            let value = operands.outputs[element];
            let slope = slope(value, &weight, &at_value, |to| {
                operands.outputs[element] = to;
                Ok(Array2::from_elem((1, 1), self.mean(&operands)?))
            });
            operands.outputs[element] = value;
            let [expected, bound] = slope?;
            elements.push(Worst {
                at,
                found: gradient[element],
                expected,
                bound,
            });
        }
        let rows = self.rows() as f64;
        let of_mean = elements.iter().map(|&worst| Worst {
            found: worst.found / rows,
            ..worst
        });
        let of_mean = Worst::of(of_mean).is_some_and(|worst| worst.is_within());
        let worst = Worst::of(elements.into_iter());
        if of_mean && worst.is_some_and(|worst| !worst.is_within()) {
            return Err(self.summed("the reference"));
        }
        self.within("doutputs", self.minibatch, Check::Gradient, worst)
    }

    /// Returns a row of the report, or an error if the worst element (with the largest difference relative to its
    /// bound) exceeds its bound.
    fn within(
        &self,
        tensor: &str,
        shape: TensorShape,
        check: Check,
        worst: Option<Worst>,
    ) -> Result<Option<Comparison>, CheckError> {
        let Some(worst) = worst else {
            return Ok(None);
        };
        if worst.is_within() {
            return Ok(Some(worst.row(check, tensor, self.minibatch, None)));
        }
        let at = self.place(tensor, shape, worst.at).into();
        let Worst {
            found,
            expected,
            bound,
            ..
        } = worst;
        Err(match check {
            Check::Parity(_) => CheckError::Parity {
                at,
                found,
                expected,
                bound,
            },
            Check::Gradient => CheckError::Derivative {
                at,
                found,
                expected,
                bound,
            },
        })
    }
}
