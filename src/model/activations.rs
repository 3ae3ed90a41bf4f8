//! The tensors of a pass: those of a step of training, and the fewer of a forward pass alone.

use super::Model;
use crate::error::Error;
use crate::kernel::Element;
use crate::ops::TargetKind;
use crate::plan::flops_per_submit;
use crate::tensor::Tensor;

/// The tensors of one pass: what each layer takes and gives, and the gradients of those.
#[derive(Debug)]
pub(crate) struct Activations {
    /// `values[0]` is the minibatch, the last the logits. What a `Linear` gives to a `Relu` is the same tensor
    /// as what that gives: see `Model::relu_behind`.
    pub(crate) values: Vec<Tensor>,
    /// Gradients by `values`; those that nobody reads are absent, and those by what a `Relu` gives to a
    /// `Linear`.
    pub(super) deltas: Vec<Option<Tensor>>,
    /// Classes (1, rows) of `u32`, or values (rows, outputs).
    pub(crate) targets: Tensor,
    /// (1, rows).
    pub(crate) losses: Tensor,
}

impl Activations {
    pub(crate) fn logits(&self) -> &Tensor {
        &self.values[self.values.len() - 1]
    }

    /// The same for fewer rows, in the same memory.
    pub(crate) fn first_rows(&self, rows: usize) -> Self {
        let vector = |tensor: &Tensor| tensor.first_columns(rows);
        let deltas = self
            .deltas
            .iter()
            .map(|delta| delta.as_ref().map(|d| d.first_rows(rows)));
        Self {
            values: self
                .values
                .iter()
                .map(|value| value.first_rows(rows))
                .collect(),
            deltas: deltas.collect(),
            targets: match self.targets.element() {
                Element::U32 => vector(&self.targets),
                Element::F32 => self.targets.first_rows(rows),
            },
            losses: vector(&self.losses),
        }
    }
}

impl Model {
    /// Rows of a forward pass: as many as fit the memory and a submit.
    pub(crate) fn rows_of_submit(&self) -> usize {
        let flops = 2 * self.spec.parameter_count() as u64;
        let by_flops = flops_per_submit(&self.gpu) / flops.max(1);
        let by_flops = usize::try_from(by_flops).unwrap_or(usize::MAX);
        self.rows_by_memory().min(by_flops).max(1)
    }

    /// Room for a step of training over `rows` rows, whose input is floats or packed bytes.
    pub(crate) fn activations(
        &self,
        rows: usize,
        input: Element,
        targets: TargetKind,
    ) -> Result<Activations, Error> {
        Ok(Activations {
            values: self.values(rows, input)?,
            deltas: self.deltas(rows)?,
            targets: self.targets(rows, targets)?,
            losses: self.losses(rows)?,
        })
    }

    /// Room for a forward pass and its losses: without gradients but that by the outputs, which a loss writes.
    pub(crate) fn forward_activations(
        &self,
        rows: usize,
        input: Element,
        targets: TargetKind,
    ) -> Result<Activations, Error> {
        let widths = self.spec.widths();
        let last = widths.len() - 1;
        let outputs = |label| Tensor::zeros(&self.gpu, label, [rows, widths[last]], Element::F32);
        let x = self.input(rows, input)?;
        let mut deltas = vec![None; last];
        deltas.push(Some(outputs(format!("deltas.{last}"))?));
        Ok(Activations {
            values: self.forward_values(&x, &outputs(format!("activations.{last}"))?)?,
            deltas,
            targets: self.targets(rows, targets)?,
            losses: self.losses(rows)?,
        })
    }

    fn input(&self, rows: usize, input: Element) -> Result<Tensor, Error> {
        let width = self.spec.widths()[0];
        let columns = match input {
            Element::F32 => width,
            Element::U32 => width.div_ceil(4),
        };
        Tensor::zeros(&self.gpu, "activations.0", [rows, columns], input)
    }

    fn targets(&self, rows: usize, kind: TargetKind) -> Result<Tensor, Error> {
        let widths = self.spec.widths();
        let (label, shape, element) = match kind {
            TargetKind::Classes => ("labels of the minibatch", [1, rows], Element::U32),
            TargetKind::Values => ("targets", [rows, widths[widths.len() - 1]], Element::F32),
        };
        Tensor::zeros(&self.gpu, label, shape, element)
    }

    fn losses(&self, rows: usize) -> Result<Tensor, Error> {
        let label = "losses of the minibatch";
        Tensor::zeros(&self.gpu, label, [1, rows], Element::F32)
    }

    fn values(&self, rows: usize, input: Element) -> Result<Vec<Tensor>, Error> {
        let mut values = vec![self.input(rows, input)?];
        for (i, width) in self.spec.widths().into_iter().enumerate().skip(1) {
            let (label, shape) = (format!("activations.{i}"), [rows, width]);
            values.push(match i >= 2 && self.relu_behind(i - 2) {
                true => values[i - 1].reshaped(label, shape),
                false => Tensor::zeros(&self.gpu, label, shape, Element::F32)?,
            });
        }
        Ok(values)
    }

    /// The values of a forward pass from `x` to `y`: those between are read by the next layer and by nobody
    /// else, so that two tensors take turns.
    pub(super) fn forward_values(&self, x: &Tensor, y: &Tensor) -> Result<Vec<Tensor>, Error> {
        let widths = self.spec.widths();
        let last = widths.len() - 1;
        // What a `Linear` gives to a `Relu` is the same tensor as what that gives.
        let is_shared = |i: usize| i >= 2 && self.relu_behind(i - 2);
        let is_output = |i: usize| i + 1 == last && is_shared(last);
        let present = (1..last).filter(|&i| !is_shared(i) && !is_output(i));
        let present: Vec<usize> = present.collect();
        let turns = self.turns("activations", x.rows(), &present)?;
        let mut turns = turns.iter().cycle();
        let mut values = vec![x.clone()];
        for (i, &width) in widths.iter().enumerate().take(last).skip(1) {
            let next = match present.contains(&i) {
                true => turns.next().unwrap_or(y),
                false if is_shared(i) => &values[i - 1],
                false => y,
            };
            values.push(next.reshaped(format!("activations.{i}"), [x.rows(), width]));
        }
        values.push(y.clone());
        Ok(values)
    }

    /// Two tensors of which each has room for every other of the values `present`.
    fn turns(&self, role: &str, rows: usize, present: &[usize]) -> Result<Vec<Tensor>, Error> {
        let widths = self.spec.widths();
        let turns = (0..present.len().min(2)).map(|turn| {
            let widest = present[turn..].iter().step_by(2).map(|&i| widths[i]).max();
            let (label, shape) = (format!("{role}, turn {turn}"), [rows, widest.unwrap_or(1)]);
            Tensor::zeros(&self.gpu, label, shape, Element::F32)
        });
        turns.collect()
    }

    /// A layer's backward pass reads the gradient above it and writes the one below, and nobody looks at
    /// either again: two tensors take turns.
    fn deltas(&self, rows: usize) -> Result<Vec<Option<Tensor>>, Error> {
        let widths = self.spec.widths();
        // The gradient by a value is read where parameters lie below it, and by the loss.
        let mut layers = self.parameters.layers.iter();
        let first = layers.position(|layer| !layer.is_empty());
        let is_read = |i: usize| first.is_some_and(|first| i > first) || i + 1 == widths.len();
        let present = (0..widths.len()).filter(|&i| is_read(i) && !self.relu_before(i));
        let present: Vec<usize> = present.collect();
        let turns = self.turns("deltas", rows, &present)?;
        let mut deltas = vec![None; widths.len()];
        for (&i, turn) in present.iter().zip(turns.iter().cycle()) {
            deltas[i] = Some(turn.reshaped(format!("deltas.{i}"), [rows, widths[i]]));
        }
        Ok(deltas)
    }
}
