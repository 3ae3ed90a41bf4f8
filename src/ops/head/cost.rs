//! The numbers of workgroups of a fused head's dispatches, and their costs: operations, loop iterations and bytes.

use super::kernels::Form;
use super::{Head, HeadLayer, HeadPass};
use crate::error::Unfused;
use crate::gpu::{Gpu, SoftwareDriver};
use crate::plan::{Cost, SOFTWARE_ITERATIONS};
use crate::tensor::Tensor;

/// Maximum number of workgroups: 8 for each of 128 multiprocessors.
const MOST_WORKGROUPS: usize = 1024;
/// Maximum number of elements in all slots together. A slot holds one workgroup's gradients. Moving the slots should
/// take less time than computing the rows.
const MOST_SLOTS: usize = 8 << 20;
/// Maximum number of workgroups on lavapipe, which runs each workgroup on one CPU thread, unless lavapipe's iteration
/// limit requires more. 32 workgroups keep the cores of a server busy, and their slots are quickly added up.
const MOST_THREADS: usize = 32;

/// Maximum width (inputs or outputs) of the layers of a head that is expected to be faster when it is fused, on a GPU.
const MOST_FAST_WIDTH: usize = 64;

impl Head {
    /// Returns the number of workgroups for this number of rows. It depends only on sizes, so that all devices with the
    /// same [`Form`] add the terms of a sum in the same order.
    pub(super) fn workgroups(&self, rows: usize) -> usize {
        let blocks = rows.div_ceil(self.block).max(1);
        let most = match self.form {
            Form::Tiles => (MOST_SLOTS / self.slot().max(1)).clamp(1, MOST_WORKGROUPS),
            // At least enough workgroups that an invocation's loops stay within half of the driver's iteration limit.
            Form::Registers => {
                let of_block = self.iterations_of_block();
                let available = (SOFTWARE_ITERATIONS / 2 / of_block.max(1)).max(1);
                let needed = (blocks as u64).div_ceil(available);
                MOST_THREADS.max(usize::try_from(needed).unwrap_or(usize::MAX))
            }
        };
        let most = blocks.min(most);
        // The smallest number of workgroups for the same number of blocks per workgroup.
        blocks.div_ceil(blocks.div_ceil(most))
    }

    /// Checks whether the head is expected to be faster when it is fused.
    ///
    /// | adapter | widest layer | fused | because |
    /// |---|---|---|---|
    /// | hardware | any, of one layer | no | fusion saves no dispatch in an evaluation, and two in a training step |
    /// | hardware | 64 | yes | estimated: for 2→64→64→3 with a minibatch of 4,096 rows, a training step moves 6 MB in 7 dispatches, instead of 15 MB in 14 layer by layer; not measured on a GPU |
    /// | hardware | 128 | no | estimated: a block has fewer rows, so a weight that was read is used less often than in a tile of a separate product |
    /// | lavapipe | any | no | measured: 2→64→64→3 with a minibatch of 4,096 rows takes 34 ms fused and 21 ms layer by layer, where no kernel has barriers (`cargo bench --bench training -- head`) |
    /// | SwiftShader | any | no | not measured |
    pub(crate) fn check_faster(&self, gpu: &Gpu) -> Result<(), Unfused> {
        let slower = |because| Err(Unfused::SlowerHead { because });
        let widths = self.layers.iter();
        let widest = widths.map(|layer| layer.inputs.max(layer.outputs)).max();
        match gpu.software_driver() {
            Some(SoftwareDriver::Lavapipe) => slower("lavapipe was measured to be slower with it"),
            Some(SoftwareDriver::SwiftShader) => slower("it was not measured on SwiftShader"),
            None if self.layers.len() == 1 => slower("the head is one layer"),
            None if widest > Some(MOST_FAST_WIDTH) => slower("the head has layers wider than 64"),
            None => Ok(()),
        }
    }

    /// Returns the loop iterations of one invocation per block of rows. Loops of constant length count as unrolled.
    fn iterations_of_block(&self) -> u64 {
        let kernels = self.form.kernels();
        let invocations = kernels.forward.invocations() as usize;
        // Includes the final test of each loop.
        let sums = |tiles: usize, terms: usize| tiles.div_ceil(invocations) * (terms + 2) + 1;
        let of_layer = |layer: &HeadLayer| {
            let [rows, columns] = kernels.tile;
            let down = self.block.div_ceil(rows);
            let forward = sums(down * layer.outputs.div_ceil(columns), layer.inputs);
            let backward = sums(down * layer.inputs.div_ceil(columns), layer.outputs);
            let [inputs, outputs] = kernels.weight_tile;
            let tiles = layer.inputs.div_ceil(inputs) * layer.outputs.div_ceil(outputs);
            // The loops over an activation and its derivative. A `Relu` is part of the product and needs none.
            let behind = match layer.activation.kind {
                0 | 1 => 0,
                _ => 2 * ((self.block * layer.outputs).div_ceil(invocations) + 1),
            };
            forward + backward + sums(tiles, self.block) + behind + 4
        };
        let layers: usize = self.layers.iter().map(of_layer).sum();
        // The loops that read the inputs and write the outputs.
        let row = self.inputs().max(self.outputs());
        let rows = 2 * ((self.block * row).div_ceil(invocations) + 1);
        let losses = self.block.div_ceil(invocations) * (3 * self.outputs() + 4) + 1;
        (layers + rows + losses) as u64
    }

    fn iterations(&self, rows: usize) -> u64 {
        let blocks = rows.div_ceil(self.block).div_ceil(self.workgroups(rows));
        blocks as u64 * (self.iterations_of_block() + 1) + 1
    }

    /// Checks that the loops over this number of rows stay within a software driver's iteration limit.
    pub(crate) fn check_iterations(&self, gpu: &Gpu, rows: usize) -> Result<(), Unfused> {
        let of_sum = self.cost_of_sum(rows).iterations;
        let needed = self.iterations(rows).max(of_sum);
        let available = SOFTWARE_ITERATIONS;
        if needed > available && gpu.is_software() {
            Err(Unfused::Iterations { needed, available })
        } else {
            Ok(())
        }
    }

    /// Returns the multiplications and additions of one matrix product per layer.
    fn product(&self, rows: usize) -> u64 {
        let weights = self.layers.iter().map(|layer| layer.inputs * layer.outputs);
        2 * rows as u64 * weights.sum::<usize>() as u64
    }

    fn slots_bytes(&self, rows: usize) -> u64 {
        4 * self.workgroups(rows) as u64 * self.slot() as u64
    }

    pub(super) fn cost_of_training(&self, pass: &HeadPass<'_>, rows: usize) -> Cost {
        let first =
            2 * rows as u64 * self.layers.first().map_or(0, |l| l.inputs * l.outputs) as u64;
        let not_wanted = if pass.dx.is_some() { 0 } else { first };
        let tensors = [pass.x, pass.targets, pass.losses]
            .into_iter()
            .chain(pass.dx);
        let bytes: u64 = tensors.map(Tensor::bytes).sum();
        Cost {
            flops: 3 * self.product(rows) - not_wanted,
            iterations: self.iterations(rows),
            bytes: Some(bytes + 4 * self.slot() as u64 + self.slots_bytes(rows)),
        }
    }

    pub(super) fn cost_of_sum(&self, rows: usize) -> Cost {
        Cost {
            flops: self.slots_bytes(rows) / 4,
            iterations: self.workgroups(rows) as u64 / 8 + 16 + self.layers.len() as u64,
            bytes: Some(self.slots_bytes(rows) + 4 * self.slot() as u64),
        }
    }

    pub(super) fn cost_of_forward(&self, rows: usize) -> Cost {
        let of_row = self.inputs() + self.outputs();
        Cost {
            flops: self.product(rows),
            iterations: self.iterations(rows),
            bytes: Some(4 * (rows * of_row + self.slot()) as u64),
        }
    }
}
