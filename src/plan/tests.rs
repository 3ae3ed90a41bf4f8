#![allow(clippy::unwrap_used)]

use super::{Cost, Recorder};
use crate::kernel::{Binding, Element, Kernel};
use crate::tensor::Tensor;

const WGSL: &str = "
    @group(0) @binding(0) var<uniform> elements: u32;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(64)
    fn ones(@builtin(global_invocation_id) id: vec3u) { if (id.x < elements) { y[id.x] = 1.0; } }";

/// A layer from outside may say any number of its dispatches.
#[test]
fn sums_of_costs_end_at_the_largest_number() {
    let gpu = crate::testing::gpu();
    let kernel: Kernel<u32> = Kernel::new("sums", WGSL, "ones", const { &[Binding::write("y")] });
    let y = Tensor::zeros(gpu, "y", [1, 8], Element::F32).unwrap();
    let mut recorder = Recorder::new(gpu);
    for (flops, bytes) in [(u64::MAX, 7), (3, u64::MAX)] {
        let cost = Cost::new(flops).bytes(bytes);
        recorder.dispatch_each(&kernel, 8, &[&y], 8, cost);
    }
    assert_eq!(recorder.flops(), u64::MAX);
    let plan = recorder.finish().unwrap();
    let listing = plan.listing();
    assert_eq!([plan.flops(), plan.bytes()], [u64::MAX; 2]);
    assert_eq!([listing.flops(), listing.bytes()], [u64::MAX; 2]);
    let last = format!("2 dispatches, {0} FLOP, {0} B", u64::MAX);
    assert_eq!(plan.to_string().lines().last(), Some(last.as_str()));
    let singles: Vec<_> = plan.singles().map(|single| single.flops()).collect();
    assert_eq!(singles, [u64::MAX, 3]);
}
