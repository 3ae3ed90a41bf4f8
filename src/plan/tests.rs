#![allow(clippy::unwrap_used)]

use super::{Cost, Recorder};
use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernel::{Binding, Element, Kernel};
use crate::tensor::Tensor;

const WGSL: &str = "
    @group(0) @binding(0) var<uniform> elements: u32;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(64)
    fn ones(@builtin(global_invocation_id) id: vec3u) { if (id.x < elements) { y[id.x] = 1.0; } }";

/// A user's layer may state any cost for its dispatches, so the sums saturate.
#[test]
fn sums_of_costs_end_at_the_largest_number() {
    let gpu = &crate::testing::dispatching(u64::MAX);
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

/// Each workgroup adds 1 to its own counter.
const COUNTING: &str = "
    @group(0) @binding(0) var<uniform> first: u32;
    @group(0) @binding(1) var<storage, read_write> counts: array<u32>;
    @compute @workgroup_size(1)
    fn count(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
        let workgroup = first + id.x + id.y * n.x;
        if (workgroup < arrayLength(&counts)) { counts[workgroup] += 1u; }
    }";

fn counting() -> Kernel<u32> {
    let bindings = const { &[Binding::write("counts").of_u32()] };
    Kernel::new("counting", COUNTING, "count", bindings)
}

#[test]
fn the_parts_of_a_long_dispatch_are_the_whole() {
    let gpu = &crate::testing::dispatching(1000);
    for (workgroups, flops, lengths) in [
        (7, 1000, vec![7]),
        (7, 1001, vec![4, 3]),
        (7, 2999, vec![2, 2, 2, 1]),
        (7, 6001, vec![1; 7]),
        (2, 2000, vec![1, 1]),
    ] {
        let counts = Tensor::zeros(gpu, "counts", [1, 7], Element::U32).unwrap();
        let mut recorder = Recorder::new(gpu);
        let cost = Cost::new(flops).bytes(50);
        recorder.dispatch_in_parts(&counting(), |first| first, &[&counts], workgroups, cost);
        let plan = recorder.finish().unwrap();
        let of_parts = plan.listing().dispatches.iter().map(|part| part.workgroups);
        assert_eq!(of_parts.collect::<Vec<_>>(), lengths, "{flops}");
        assert_eq!([plan.flops(), plan.bytes()], [flops, 50]);
        gpu.submit(&plan, 1).unwrap();
        let expected = (0..7).map(|workgroup| u32::from(workgroup < workgroups));
        let found = gpu.read::<u32>(&counts).unwrap();
        assert_eq!(found, expected.collect::<Vec<_>>(), "{flops}");
    }
}

/// A part that is arranged in two dispatch dimensions must not run workgroups of the next part.
#[test]
fn long_parts_are_whole_rows_of_workgroups() {
    let limits = wgpu::Limits {
        max_compute_workgroups_per_dimension: 3,
        ..wgpu::Limits::default()
    };
    let gpu = &crate::testing::borrowed_with(limits, Gpu::builder().flops_per_dispatch(5));
    for (flops, lengths) in [
        (8, vec![3, 3, 2]),
        (7, vec![3, 3, 2]),
        (4, vec![8]),
        (40, vec![1; 8]),
    ] {
        let counts = Tensor::zeros(gpu, "counts", [1, 9], Element::U32).unwrap();
        let mut recorder = Recorder::new(gpu);
        recorder.dispatch_in_parts(&counting(), |first| first, &[&counts], 8, Cost::new(flops));
        let plan = recorder.finish().unwrap();
        gpu.submit(&plan, 1).unwrap();
        let found = gpu.read::<u32>(&counts).unwrap();
        if lengths.len() > 1 {
            let of_parts = plan.listing().dispatches.iter().map(|part| part.workgroups);
            assert_eq!(of_parts.collect::<Vec<_>>(), lengths, "{flops}");
        }
        // The last row has one surplus workgroup, number 8.
        assert_eq!(found[..8], [1; 8], "{flops}");
    }
    let mut recorder = Recorder::new(gpu);
    let counts = Tensor::zeros(gpu, "counts", [1, 9], Element::U32).unwrap();
    recorder.dispatch_in_parts(&counting(), |first| first, &[&counts], 0, Cost::new(100));
    assert!(matches!(recorder.finish(), Err(Error::Binding { .. })));
    // So many parts would fill the host's memory.
    let mut recorder = Recorder::new(gpu);
    let cost = Cost::new(u64::MAX);
    recorder.dispatch_in_parts(&counting(), |first| first, &[&counts], 9, cost);
    assert!(matches!(recorder.finish(), Err(Error::Limit { .. })));
}

#[test]
fn a_dispatch_that_could_be_taken_for_a_hang_is_refused() {
    let gpu = &crate::testing::dispatching(1000);
    let counts = Tensor::zeros(gpu, "counts", [1, 7], Element::U32).unwrap();
    let record = |flops, in_parts: bool| {
        let mut recorder = Recorder::new(gpu);
        let cost = Cost::new(flops);
        if in_parts {
            recorder.dispatch_in_parts(&counting(), |first| first, &[&counts], 7, cost);
        } else {
            recorder.dispatch(&counting(), 0, &[&counts], 7, cost);
        }
        recorder.finish()
    };
    assert_eq!(record(1000, false).unwrap().len(), 1);
    assert_eq!(record(7000, true).unwrap().len(), 7);
    // A part has at least one workgroup, so 7001 operations in 7 workgroups cannot fit.
    for (flops, in_parts) in [(1001, false), (7001, true)] {
        let error = record(flops, in_parts).unwrap_err();
        assert!(
            matches!(
                &error,
                Error::Limit {
                    limit: "flops_per_dispatch",
                    available: 1000,
                    ..
                }
            ),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.contains("counting::count") && text.contains("dispatch_in_parts"),
            "{text}"
        );
    }
}
