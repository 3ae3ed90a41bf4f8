#![allow(clippy::unwrap_used)]

use super::{AdapterKind, Gpu, SoftwareDriver};
use crate::kernel::{Binding, Element, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::tensor::Tensor;

/// This kernel reads past the end of an array, although it is marked as proven.
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
    // WGSL does not specify which element a read past the end returns.
    assert!([3.0, 4.0, 5.0, 6.0].contains(&found[0]), "{found:?}");
}

/// Drivers report these names and subgroup sizes, natively and in browsers.
#[test]
fn a_software_driver_is_told_by_its_name_or_its_lanes() {
    use SoftwareDriver::{Lavapipe, SwiftShader};
    for (name, lanes, expected) in [
        ("llvmpipe (LLVM 15.0.6, 256 bits)", [8, 8], Lavapipe),
        ("llvmpipe (LLVM 15.0.6, 128 bits)", [4, 4], Lavapipe),
        ("SwiftShader Device (Subzero)", [4, 4], SwiftShader),
        ("Microsoft Basic Render Driver", [4, 4], SwiftShader),
        // Browsers that hide the name: with a subgroup size of 8 or 4, with a hidden size, and with no size.
        ("", [8, 8], Lavapipe),
        ("", [4, 4], SwiftShader),
        ("", [4, 128], SwiftShader),
        ("", [0, 0], SwiftShader),
    ] {
        let mut info = wgpu::AdapterInfo::new(wgpu::DeviceType::Cpu, wgpu::Backend::Vulkan);
        info.name = name.to_owned();
        [info.subgroup_min_size, info.subgroup_max_size] = lanes;
        assert_eq!(SoftwareDriver::of(&info), expected, "{name:?}, {lanes:?}");
    }
}

/// The kernels that the builder requests are used on any adapter.
#[test]
fn kernels_are_those_of_the_driver_that_was_named() {
    let hardware = Gpu::builder().kernels_for(AdapterKind::Hardware).build();
    assert_eq!(hardware.unwrap().software_driver(), None);
    for driver in [SoftwareDriver::Lavapipe, SoftwareDriver::SwiftShader] {
        let gpu = Gpu::builder().kernels_for_driver(driver).build().unwrap();
        assert_eq!(gpu.software_driver(), Some(driver));
        assert_eq!(gpu.kind(), AdapterKind::Software);
    }
    let gpu = Gpu::builder().build().unwrap();
    assert_eq!(gpu.software_driver().is_some(), gpu.is_software());
}
