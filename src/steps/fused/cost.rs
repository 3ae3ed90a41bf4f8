//! Numbers of workgroups and costs for the dispatches of a fused step.

use super::Network;
use super::kernels::{Algorithm, LayerBlock};
use crate::plan::Cost;

impl Network {
    pub(super) fn workgroups_of_middle(&self) -> u64 {
        let [rows, words] = [self.mlp.rows, self.mlp.words].map(u64::from);
        match self.algorithm {
            // The second term: workgroups that copy the next minibatch, one 32-bit word per invocation.
            Algorithm::Tiles => rows.div_ceil(self.mlp.group.into()) + (rows * words).div_ceil(256),
            Algorithm::Registers | Algorithm::Vectors => rows.div_ceil(8),
        }
    }

    pub(super) fn workgroups_of_forward(&self) -> u64 {
        match self.algorithm {
            Algorithm::Tiles => self.mlp.layer[0].tiles.into(),
            // Each invocation computes one output for one slice of inputs.
            Algorithm::Registers | Algorithm::Vectors => {
                (self.parts_len() as u64 / u64::from(self.mlp.rows)).div_ceil(8)
            }
        }
    }

    pub(super) fn workgroups_of_backward(&self) -> u64 {
        let kernels = self.algorithm.kernels();
        let tiles: u64 = self.layers().iter().map(|l| u64::from(l.tiles)).sum();
        let biases = (self.mlp.columns as usize).div_ceil(kernels.biases) as u64;
        let log = 1;
        (tiles + biases + log).div_ceil(kernels.blocks_per_workgroup as u64)
    }

    /// Size in bytes of one minibatch's features, as stored in the data set.
    fn bytes_of_batch(&self) -> u64 {
        4 * u64::from(self.mlp.rows) * u64::from(self.mlp.words)
    }

    fn scratch_bytes(&self) -> u64 {
        4 * self.scratch_len() as u64
    }

    fn bytes_of_parameters(&self) -> u64 {
        let count = |l: &LayerBlock| (u64::from(l.inputs) + 1) * u64::from(l.outputs);
        4 * self.layers().iter().map(count).sum::<u64>()
    }

    pub(super) fn cost_of_forward(&self) -> Cost {
        let first = &self.layers()[0];
        let weight = 4 * u64::from(first.inputs) * u64::from(first.outputs);
        Cost {
            flops: first.product(self.mlp.rows),
            iterations: u64::from(self.mlp.rows) + 64,
            bytes: Some(self.bytes_of_batch() + weight + self.parts_bytes()),
        }
    }

    pub(super) fn cost_of_middle(&self) -> Cost {
        let later = self.layers()[1..].iter();
        let products: u64 = later.map(|l| 2 * l.product(self.mlp.rows)).sum();
        let first = &self.layers()[0];
        let weights = self.bytes_of_parameters() - 4 * u64::from(first.inputs * first.outputs);
        let kernels = self.algorithm.kernels();
        let slices = u64::from(first.inputs).div_ceil(kernels.first[0] as u64);
        // Iterations of `count` sums of `of` terms. `of + 2`: one iteration per term, and the final tests of this loop
        // and of the loop around it.
        let sums = |count: u32, of: u64| u64::from(count).div_ceil(kernels.sums as u64) * (of + 2);
        let of_layer =
            |l: &LayerBlock| sums(l.outputs, l.inputs.into()) + sums(l.inputs, l.outputs.into());
        let later: u64 = self.layers()[1..].iter().map(of_layer).sum();
        let words = u64::from(self.mlp.words);
        let classes = u64::from(self.layers()[self.layers().len() - 1].outputs);
        let softmax = match self.algorithm {
            // For each class that an invocation computes: two loops over all classes, four classes per iteration.
            Algorithm::Tiles => {
                let lanes = classes.next_power_of_two() * u64::from(self.mlp.group);
                lanes.div_ceil(256) * (2 * classes.div_ceil(4) + 3)
            }
            Algorithm::Registers | Algorithm::Vectors => 3 * classes,
        };
        Cost {
            flops: self.parts_bytes() / 4 + products,
            iterations: sums(first.outputs, slices)
                + later
                + softmax
                + words
                + 40 * self.layers().len() as u64
                + 64,
            bytes: Some(self.scratch_bytes() + weights + 4 * self.bytes_of_batch()),
        }
    }

    pub(super) fn cost_of_backward(&self) -> Cost {
        let gradients = self.layers().iter().map(|l| l.product(self.mlp.rows));
        let forward = self.layers()[0].product(self.mlp.rows);
        Cost {
            flops: gradients.sum::<u64>() + forward,
            iterations: 2 * u64::from(self.mlp.rows) + 64,
            bytes: Some(
                2 * self.bytes_of_batch() + 2 * self.bytes_of_parameters() + self.scratch_bytes(),
            ),
        }
    }
}

impl LayerBlock {
    /// Number of multiplications and additions in the product of `rows` rows and this layer's weight.
    fn product(&self, rows: u32) -> u64 {
        2 * u64::from(rows) * u64::from(self.inputs) * u64::from(self.outputs)
    }
}
