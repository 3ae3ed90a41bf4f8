#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::Variant;
use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernel::{Contract, Element};
use crate::ops::{Backward, Mode};
use crate::plan::Recorder;
use crate::tensor::Tensor;
use crate::testing::{Fill, Numbers, folding_after, gpu};

/// Tests products of `[rows, depth, columns]`: at the thresholds of [`Variant::choose`], and with the sizes of real
/// networks.
#[test]
fn hardware_computes_each_product_by_its_shape() {
    let expected = [
        // 784 → 50 → 10 with a minibatch of 100: both layers forward, then the gradients with respect to their weights.
        ([100, 784, 50], Variant::Deep),
        ([100, 50, 10], Variant::Tiles),
        ([784, 100, 50], Variant::Deep),
        ([50, 100, 10], Variant::Deep),
        // 784 → 1024 → 1024 → 10 with a minibatch of 1024: both directions of the last layer, then the others.
        ([1024, 1024, 10], Variant::Deep),
        ([1024, 10, 1024], Variant::Medium),
        ([1024, 1024, 1024], Variant::Medium),
        ([784, 1024, 1024], Variant::Medium),
        // Products of square matrices.
        ([256, 256, 256], Variant::Deep),
        ([512, 512, 512], Variant::Medium),
        ([2048, 2048, 2048], Variant::Large),
        ([8192, 8192, 8192], Variant::Large),
        // One below each threshold, and at the threshold.
        ([1983, 64, 2048], Variant::Medium),
        ([1984, 64, 2048], Variant::Large),
        ([223, 64, 512], Variant::Tiles),
        ([224, 64, 512], Variant::Medium),
        ([448, 448, 448], Variant::Medium),
        ([256, 63, 256], Variant::Tiles),
        ([256, 64, 256], Variant::Deep),
        ([256, 64, 271], Variant::Deep),
        ([256, 64, 272], Variant::Tiles),
        // Narrow products. A tile that would be less than half full does not count.
        ([60_000, 784, 10], Variant::Deep),
        ([60_000, 784, 50], Variant::Medium),
        ([60_000, 50, 10], Variant::Tiles),
        ([1, 4096, 4096], Variant::Deep),
    ];
    for ([rows, depth, columns], variant) in expected {
        let found = Variant::of_hardware([rows, columns], depth);
        assert_eq!(found, variant, "{rows}×{depth}×{columns}");
    }
}

/// Number of cases of [`Product::record`].
const PASSES: usize = 6;

/// The tensors of a linear layer on one device, and the variant that computes its products.
struct Product {
    variant: Variant,
    x: Tensor,
    parameters: [Tensor; 2],
    y: Tensor,
    dy: Tensor,
    gradients: [Tensor; 2],
    dx: Tensor,
}

impl Product {
    fn new(gpu: &Gpu, variant: Variant, [rows, inputs, outputs]: [usize; 3]) -> Self {
        let mut numbers = Numbers::new(5);
        let mut tensor = |label, shape: [usize; 2]| {
            let tensor = Tensor::zeros(gpu, label, shape, Element::F32).unwrap();
            let values = numbers.fill(shape[0] * shape[1], Fill::Moderate);
            gpu.write(&tensor, &values).unwrap();
            tensor
        };
        let mut product = Self {
            variant,
            x: tensor("x", [rows, inputs]),
            parameters: [tensor("w", [inputs, outputs]), tensor("b", [1, outputs])],
            y: tensor("y", [rows, outputs]),
            dy: tensor("dy", [rows, outputs]),
            gradients: [tensor("dw", [inputs, outputs]), tensor("db", [1, outputs])],
            dx: tensor("dx", [rows, inputs]),
        };
        if Variant::OF_BYTES.contains(&variant) {
            let words = inputs.div_ceil(4);
            product.x = Tensor::zeros(gpu, "x", [rows, words], Element::U32).unwrap();
            let bits = (0..rows * words).map(|_| numbers.bits().to_le_bytes());
            let bits: Vec<[u8; 4]> = bits.map(|[a, b, c, d, ..]| [a, b, c, d]).collect();
            gpu.write::<u32>(&product.x, bytemuck::cast_slice(bits.as_flattened()))
                .unwrap();
        }
        product
    }

    /// Records one of [`PASSES`] passes, forward or backward.
    fn record(&self, recorder: &mut Recorder<'_>, pass: usize) {
        let variant = self.variant;
        let backward = Backward::new(
            [&self.x, &self.y, &self.dy],
            Some(&self.dx),
            Mode::Evaluation,
        );
        let backward = backward.with_parameters(&self.parameters, &self.gradients);
        match pass {
            0 => variant.forward(recorder, &self.x, &self.parameters, &self.y),
            1 => variant.forward_relu(recorder, &self.x, &self.parameters, &self.y),
            2 => variant.backward_parameters(recorder, &backward),
            3 => {
                let parameters = &self.parameters[..1];
                let gradients = &self.gradients[..1];
                let pass = backward.with_parameters(parameters, gradients);
                variant.backward_parameters(recorder, &pass);
            }
            4 => variant.backward_input(recorder, &backward, &self.dx, false),
            _ => variant.backward_input(recorder, &backward, &self.dx, true),
        }
    }

    fn outputs(&self, gpu: &Gpu) -> Vec<Vec<u32>> {
        let [dw, db] = &self.gradients;
        let outputs = [&self.y, dw, db, &self.dx].into_iter();
        outputs.map(|tensor| gpu.read(tensor).unwrap()).collect()
    }
}

/// Folds the dispatches into two dimensions; the last row of workgroups is shorter than the others.
#[test]
fn folded_products_give_the_same_bits() {
    const IN_A_ROW: u32 = 16;
    let folding = folding_after(IN_A_ROW);
    let mut seen = BTreeSet::new();
    for variant in Variant::OF_FLOATS.into_iter().chain(Variant::OF_BYTES) {
        for shape in [
            [60, 70, 65],
            [161, 130, 130],
            [300, 270, 290],
            [700, 600, 650],
        ] {
            let products = [gpu(), &folding].map(|gpu| Product::new(gpu, variant, shape));
            // Bytes have no gradient.
            let is_bytes = Variant::OF_BYTES.contains(&variant);
            let passes = if is_bytes { 4 } else { PASSES };
            for pass in 0..passes {
                let record = |gpu, product: &Product| {
                    let mut recorder = Recorder::new(gpu);
                    product.record(&mut recorder, pass);
                    recorder.finish()
                };
                let whole = record(gpu(), &products[0]).unwrap();
                let folded = match record(&folding, &products[1]) {
                    Ok(plan) => plan,
                    Err(Error::Limit { .. }) => continue,
                    Err(error) => panic!("{error}"),
                };
                gpu().submit(&whole, 1).unwrap();
                folding.submit(&folded, 1).unwrap();
                let [found, expected] =
                    [(&folding, 1), (gpu(), 0)].map(|(gpu, at)| products[at].outputs(gpu));
                assert!(found == expected, "{variant:?}, pass {pass}, {shape:?}");
                for (whole, folded) in whole.recorded().zip(folded.recorded()) {
                    let [count, _] = whole.workgroups;
                    let [_, rows] = folded.workgroups;
                    // A kernel that confuses the number of rows of workgroups with the length of such a row would
                    // not reach the last workgroup here.
                    if rows > 1 && (rows - 1) * rows + IN_A_ROW < count {
                        seen.insert(whole.contract.name());
                    }
                }
            }
        }
    }
    let products = super::super::contracts();
    let all: BTreeSet<_> = products.iter().map(Contract::name).collect();
    assert_eq!(seen, all, "a kernel that was not folded far enough");
}
