#![allow(clippy::unwrap_used)]

use super::Gpu;
use crate::kernel::{Binding, Element, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::tensor::Tensor;

/// Reads past the end of an array, and says that it does not.
static WRONG: Kernel<u32> = Kernel {
    workgroup_size: [1, 1, 1],
    trust: Trust::PROVEN,
    ..Kernel::new(
        "wrong",
        "
        var<workgroup> values: array<f32, 4>;
        @group(0) @binding(0) var<uniform> index: u32;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(1)
        fn forward() {
            for (var i = 0u; i < 4u; i++) {
                values[i] = f32(i + 3u);
            }
            y[0] = values[index];
        }",
        "forward",
        &[Binding::write("y")],
    )
};

#[test]
fn with_bounds_checks_no_kernel_is_trusted() {
    let gpu = Gpu::builder().bounds_checks().build().unwrap();
    let y = Tensor::zeros(&gpu, "y", [1, 1], Element::F32).unwrap();
    let mut recorder = Recorder::new(&gpu);
    recorder.dispatch(&WRONG, 27, &[&y], 1, Cost::default());
    gpu.submit(&recorder.finish().unwrap(), 1).unwrap();
    let found: Vec<f32> = gpu.read(&y).unwrap();
    // WGSL leaves open which of the elements an index past the end reads.
    assert!([3.0, 4.0, 5.0, 6.0].contains(&found[0]), "{found:?}");
}
