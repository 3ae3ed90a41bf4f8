//! A training uses as much memory on the device as its summary says.

use std::sync::Arc;

use wgrad::data::{Sampling, Table};
use wgrad::ndarray::Array2;
use wgrad::ops::{Adam, Layer, Linear, MeanSquaredError, Relu, Tanh};
use wgrad::{Fusion, Gpu, Sequential, Trainer, wgpu};

use crate::batch_norm::BatchNorm;
use crate::gpu::Numbers;
use crate::layer_norm::LayerNorm;

/// The labels of buffers that the summary does not include: examples, and the uniforms of a step.
const BESIDE: [&str; 3] = ["features of rows", "targets of rows", "uniforms of a plan"];

const EXAMPLES: usize = 1000;
/// The widths are multiples of 64, so that there are no gaps between parameters on any device. They are so large that
/// every tensor is larger than the allocator's padding.
const WIDTH: usize = 640;
const OTHER: usize = 64;
const OUTPUTS: usize = 64;
/// The maximum number of bytes that an allocator may add to a buffer.
const PADDING: u64 = 64;

/// Returns a network with everything that takes memory: two inputs, layers that are used twice, state, values that a
/// layer saves per minibatch and per row, a sum, a concatenation, and a `Linear` followed by a `Relu`.
fn with_everything() -> Sequential {
    let again: Arc<dyn Layer> = Arc::new(Linear::new(WIDTH));
    let normal: Arc<dyn Layer> = Arc::new(LayerNorm::good());
    let network = Sequential::input(WIDTH)
        .named("first")
        .another_input(OTHER)
        .concat("first");
    let network = network
        .layer(Linear::new(WIDTH))
        .layer(Relu)
        .layer(again.clone())
        .layer(normal.clone())
        .add("first");
    let network = network
        .layer(BatchNorm::good())
        .layer(Tanh)
        .layer(again)
        .layer(normal);
    network.concat("first").layer(Linear::new(OUTPUTS)).seed(1)
}

fn rows() -> Table {
    let mut numbers = Numbers::new(1);
    let mut matrix =
        |columns| Array2::from_shape_simple_fn((EXAMPLES, columns), || numbers.uniform());
    let x = matrix(WIDTH + OTHER);
    let y = matrix(OUTPUTS);
    Table::regression("rows", x.view(), y.view()).unwrap()
}

/// Returns the labels and the sizes in bytes of all allocated buffers.
fn allocated(gpu: &Gpu) -> Vec<(String, u64)> {
    gpu.device()
        .poll(wgpu::PollType::wait_indefinitely())
        .unwrap();
    let report = gpu.device().generate_allocator_report().unwrap();
    let all = report.allocations.into_iter();
    all.map(|allocation| (allocation.name, allocation.size))
        .collect()
}

#[test]
fn a_training_allocates_what_its_summary_says() {
    let chain = Sequential::input(WIDTH + OTHER)
        .layer(Linear::new(128))
        .layer(Relu)
        .layer(Linear::new(OUTPUTS));
    let data = rows();
    for network in [chain, with_everything()] {
        let summary = network.summary().unwrap();
        for batch in [1, EXAMPLES] {
            // A new device: no other test uses its memory.
            let gpu = Gpu::new().unwrap();
            let model = network.build(&gpu).unwrap();
            let loss = MeanSquaredError;
            let optimizer = Adam::new(0.01);
            let sampling = Sampling::Shuffled { seed: 1 };
            let plan = Fusion::Layers;
            let trainer =
                Trainer::with_fusion(model, loss, optimizer, &data, batch, sampling, plan);
            let trainer = trainer.unwrap();
            let mut all = allocated(&gpu);
            all.retain(|(name, _)| {
                !name.starts_with("(wgpu internal)") && !BESIDE.contains(&name.as_str())
            });
            let found: u64 = all.iter().map(|(_, bytes)| bytes).sum();
            let said = summary.training_bytes(batch, 2);
            let least = found - PADDING * all.len() as u64;
            assert!(
                (least..=found).contains(&said),
                "{batch}: {said}, and allocated {found}: {all:#?}"
            );
            drop(trainer);
        }
    }
}
