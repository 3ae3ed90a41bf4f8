//! Memory of training steps, and helpers to allocate and view it.

use std::iter::repeat;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use super::passes::Passes;
use crate::error::Error;
use crate::memory::{self, bytes_of, total};
use crate::network::{Gradients, Use, Wanted};
use crate::reference::Float;

/// The memory that a training step writes to. It is allocated once and reused in every step.
#[derive(Debug)]
pub(super) struct Workspace<F> {
    pub(super) rows: usize,
    /// Which gradients are computed, and the memory layout of the gradients with respect to values.
    pub(super) plan: Arc<Gradients>,
    /// Every value of the network, starting with the inputs. A value has no columns if it is not stored: the output of
    /// a layer that is fused with a `Relu`, or an input that the first layer reads in sparse form.
    pub(super) values: Vec<Array2<F>>,
    /// The arrays that each use of a layer stores for its backward pass.
    pub(super) kept: Vec<Vec<Array2<F>>>,
    /// Gradients with respect to values. Gradients that are not needed at the same time share a block.
    pub(super) deltas: Vec<Vec<F>>,
    /// Temporary memory for a gradient that is then added to another gradient of the same value.
    pub(super) arriving: Vec<F>,
    /// Gradients with respect to parameters.
    pub(super) gradients: Vec<Array2<F>>,
    /// For parameters of layers that are used several times: temporary memory for the gradient of one use, which is
    /// then added to `gradients`.
    pub(super) later: Vec<Array2<F>>,
}

impl Passes {
    /// Allocates a workspace for a step over `rows` rows that computes the `wanted` gradients. With `is_sparse`, the
    /// first layer reads its input in sparse form.
    pub(super) fn workspace<F: Float>(
        &self,
        rows: usize,
        is_sparse: bool,
        wanted: &Wanted,
    ) -> Workspace<F> {
        let mut later: Vec<_> = self
            .graph
            .parameters
            .iter()
            .map(|_| Array2::zeros((0, 0)))
            .collect();
        for parameter in self.graph.repeated() {
            later[parameter] = self.zeros_like(parameter);
        }
        let plan = Gradients::new(&self.graph, self.fuses, wanted);
        let slots = &plan.slots;
        Workspace {
            rows,
            values: self.values_of_step(rows, is_sparse),
            kept: self.kept(rows),
            deltas: slots
                .sizes
                .iter()
                .map(|&size| vec![F::zero(); rows * size])
                .collect(),
            arriving: vec![F::zero(); rows * plan.arriving],
            gradients: (0..self.graph.parameters.len())
                .map(|at| self.zeros_like(at))
                .collect(),
            later,
            plan: Arc::new(plan),
        }
    }

    /// Allocates all values for `rows` rows, including those that a training step does not store.
    pub(super) fn values<F: Float>(&self, rows: usize) -> Vec<Array2<F>> {
        let sizes = self.graph.sizes();
        sizes.map(|size| Array2::zeros((rows, size))).collect()
    }

    /// Allocates the values that a training step stores.
    fn values_of_step<F: Float>(&self, rows: usize, is_sparse: bool) -> Vec<Array2<F>> {
        let columns = self.columns_of_step(is_sparse);
        columns
            .map(|columns| Array2::zeros((rows, columns)))
            .collect()
    }

    /// Returns the number of elements per row of each value in a training step; 0 for values that are not stored.
    pub(super) fn columns_of_step(&self, is_sparse: bool) -> impl Iterator<Item = usize> {
        let sizes = self.graph.sizes().enumerate();
        sizes.map(move |(value, size)| {
            let is_absent = value == 0 && is_sparse || self.fused_relu_of(value).is_some();
            if is_absent { 0 } else { size }
        })
    }

    /// Allocates the arrays that all layers store for their backward passes, for `rows` rows.
    pub(super) fn kept<F: Float>(&self, rows: usize) -> Vec<Vec<Array2<F>>> {
        let uses = self.graph.uses.iter();
        uses.map(|layer_use| kept_by(layer_use, rows)).collect()
    }

    /// Allocates zeros in the shape of a parameter.
    pub(super) fn zeros_like<F: Float>(&self, parameter: usize) -> Array2<F> {
        Array2::zeros(self.graph.parameters[parameter].spec.tensor_shape().dims())
    }
}

/// Allocates the arrays that one use of a layer stores for its backward pass, for `rows` rows.
pub(super) fn kept_by<F: Float>(layer_use: &Use, rows: usize) -> Vec<Array2<F>> {
    let kept = layer_use.spec.kept.iter();
    kept.map(|kept| Array2::zeros(kept.tensor_shape(rows).dims()))
        .collect()
}

/// Returns the first elements of a block as a matrix.
#[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
pub(super) fn matrix<F>(block: &[F], dims: [usize; 2]) -> ArrayView2<'_, F> {
    ArrayView2::from_shape(dims, &block[..dims[0] * dims[1]]).expect("as many as its shape says")
}

/// Returns the first elements of a block as a mutable matrix.
#[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
pub(super) fn matrix_mut<F>(block: &mut [F], dims: [usize; 2]) -> ArrayViewMut2<'_, F> {
    let values = &mut block[..dims[0] * dims[1]];
    ArrayViewMut2::from_shape(dims, values).expect("as many as its shape says")
}

impl<F: Float> Workspace<F> {
    /// Changes which gradients are computed from now on, and resizes the memory for gradients with respect to values.
    /// All other memory stays unchanged, because it does not depend on `wanted`.
    ///
    /// # Errors
    /// [`Error::Memory`] when the host has too little memory for the gradients. After an error, nothing has changed.
    pub(super) fn want(&mut self, passes: &Passes, wanted: &Wanted) -> Result<(), Error> {
        let rows = self.rows;
        let plan = Gradients::new(&passes.graph, passes.fuses, wanted);
        let needed = plan.slots.sizes.iter().map(|&size| rows * size);
        let there = self.deltas.iter().map(Vec::len).chain(repeat(0));
        let arriving = (rows * plan.arriving, self.arriving.len());
        let both = needed.clone().zip(there).chain([arriving]);
        let larger = both.filter(|(needed, there)| needed > there);
        let larger = total(larger.map(|(needed, _)| needed as u64));
        let what = || format!("the gradients by the values of {rows} rows at once");
        memory::check(what, bytes_of::<F>(larger))?;
        self.deltas.resize_with(plan.slots.sizes.len(), Vec::new);
        for (block, needed) in self.deltas.iter_mut().zip(needed) {
            resize(block, needed);
        }
        resize(&mut self.arriving, arriving.0);
        self.plan = Arc::new(plan);
        Ok(())
    }
}

/// Resizes a block. Its contents are not needed between steps, so they are not copied to a larger block.
fn resize<F: Float>(block: &mut Vec<F>, needed: usize) {
    if needed > block.len() {
        *block = Vec::new();
        *block = vec![F::zero(); needed];
    } else {
        block.truncate(needed);
        block.shrink_to_fit();
    }
}

impl<F> Workspace<F> {
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the outputs, and the memory for the gradient with respect to the outputs.
    pub(super) fn outputs(&mut self, passes: &Passes) -> (ArrayView2<'_, F>, ArrayViewMut2<'_, F>) {
        let output = passes.output();
        let dims = [self.rows, passes.columns(output)];
        let dy = matrix_mut(&mut self.deltas[self.plan.slot(output)], dims);
        (self.values[output].view(), dy)
    }
}

#[cfg(test)]
impl<F> Workspace<F> {
    /// Number of elements allocated in all arrays.
    pub(super) fn numbers(&self) -> usize {
        let matrices = self.values.iter().chain(self.kept.iter().flatten());
        let matrices = matrices.chain(&self.gradients).chain(&self.later);
        let of_matrices: usize = matrices.map(Array2::len).sum();
        let of_deltas: usize = self.deltas.iter().map(Vec::len).sum();
        of_matrices + of_deltas + self.arriving.len()
    }
}

#[cfg(test)]
mod tests {
    use crate::Sequential;
    use crate::network::Wanted;
    use crate::ops::{Linear, Relu};

    #[test]
    fn a_change_of_what_is_wanted_keeps_fused_layers_fused() -> Result<(), crate::Error> {
        let spec = Sequential::input(3).layer(Linear::new(4)).layer(Relu);
        let network = spec.layer(Linear::new(2)).on_cpu()?;
        let passes = &network.passes;
        let wanted = Wanted::parameters(&passes.graph);
        let mut work = passes.workspace::<f32>(5, false, &wanted);
        let steps = work.plan.steps.len();
        let columns = work.plan.slots.sizes.clone();
        work.want(passes, &wanted)?;
        assert_eq!(work.plan.steps.len(), steps);
        assert_eq!(work.plan.slots.sizes, columns);
        Ok(())
    }
}
