//! Devices with lower limits than a kernel needs. A borrowed device has the limits that its owner requested.

use wgrad::kernel::{Binding, Element, Kernel};
use wgrad::ndarray::Array2;
use wgrad::plan::{Cost, Recorder};
use wgrad::tensor::Tensor;
use wgrad::wgpu::Limits;
use wgrad::{Error, Fusion, Gpu, Unfused};

use crate::borrowed::device;
use crate::{assert_error, assert_trains, digits, gpu, spec, trainer};

fn borrowed(limits: Limits) -> Gpu {
    let (device, queue) = device(limits);
    Gpu::from_wgpu(device, queue)
}

/// A kernel with two variables in workgroup memory, of 4 and 20,000 bytes. The first one counts as 16 bytes.
static LARGE: Kernel<u32> = Kernel::new(
    "large",
    "
        @group(0) @binding(0) var<uniform> rows: u32;
        @group(0) @binding(1) var<storage, read> x: array<f32>;
        @group(0) @binding(2) var<storage, read_write> y: array<f32>;
        var<workgroup> one: f32;
        var<workgroup> many: array<f32, 5000>;
        @compute @workgroup_size(8, 4, 2)
        fn forward(@builtin(local_invocation_index) i: u32) {
            if i == 0u { one = 2.0; }
            workgroupBarrier();
            many[i] = one * x[i];
            if i < rows { y[i] = many[i]; }
        }",
    "forward",
    &[Binding::read("x"), Binding::write("y")],
)
.workgroup_size([8, 4, 2]);

/// Runs [`LARGE`] with this many workgroups, and returns its result.
fn run(gpu: &Gpu, workgroups: u64) -> Result<Vec<f32>, Error> {
    let tensor = |label| Tensor::zeros(gpu, label, [1, 64], Element::F32);
    let x = tensor("x")?;
    let y = tensor("y")?;
    gpu.write(&x, &[1.5f32; 64])?;
    let mut recorder = Recorder::new(gpu);
    recorder.dispatch(&LARGE, 64, &[&x, &y], workgroups, Cost::default());
    gpu.submit(&recorder.finish()?, 1)?;
    gpu.read(&y)
}

#[test]
fn a_kernel_that_needs_more_than_the_device_allows_is_told_before_it_is_compiled() {
    let enough = Limits {
        max_compute_workgroup_storage_size: 20_016,
        ..Limits::default()
    };
    let found = run(&borrowed(enough.clone()), 1);
    assert_eq!(found.unwrap(), vec![3.0; 64]);
    let fewer = |change: fn(&mut Limits)| {
        let mut limits = enough.clone();
        change(&mut limits);
        limits
    };
    for (limits, limit, needed) in [
        (
            fewer(|limits| limits.max_compute_workgroup_storage_size = 20_015),
            "max_compute_workgroup_storage_size",
            20_016,
        ),
        (
            fewer(|limits| limits.max_compute_invocations_per_workgroup = 63),
            "max_compute_invocations_per_workgroup",
            64,
        ),
        (
            fewer(|limits| limits.max_compute_workgroup_size_x = 7),
            "max_compute_workgroup_size_x",
            8,
        ),
        (
            fewer(|limits| limits.max_compute_workgroup_size_y = 3),
            "max_compute_workgroup_size_y",
            4,
        ),
        (
            fewer(|limits| limits.max_compute_workgroup_size_z = 1),
            "max_compute_workgroup_size_z",
            2,
        ),
        (
            fewer(|limits| limits.max_storage_buffers_per_shader_stage = 1),
            "max_storage_buffers_per_shader_stage",
            2,
        ),
        (
            fewer(|limits| limits.max_uniform_buffer_binding_size = 3),
            "max_uniform_buffer_binding_size",
            4,
        ),
    ] {
        let error = run(&borrowed(limits), 1).unwrap_err();
        let name = limit;
        let number = needed;
        let number_text = number.to_string();
        assert_error!(error, ["large::forward", name, &number_text],
            Error::Limit { limit, needed, available, .. }
                if limit == name && needed == number && available == number - 1);
    }
}

/// Kernels count elements with a `u32`, so a tensor may have at most 2³² − 1 elements. The test allocates no memory.
#[test]
fn a_tensor_has_at_most_as_many_elements_as_kernels_can_count() {
    let gpu = gpu();
    let zeros = |dims: [usize; 2]| Tensor::zeros(&gpu, "wide", dims, Element::F32).unwrap_err();
    let small = Tensor::zeros(&gpu, "small", [1, 8], Element::F32).unwrap();
    let within = |dims: [usize; 2]| {
        let (buffer, offset) = small.buffer();
        Tensor::in_buffer(&gpu, "wide", buffer, offset, 32, dims, Element::F32).unwrap_err()
    };
    for dims in [
        [1 << 16, 1 << 16],
        [1, 1 << 32],
        [1 << 33, 1 << 33],
        [usize::MAX, usize::MAX],
    ] {
        let [rows, columns] = dims.map(|extent| extent as u64);
        let elements = rows.saturating_mul(columns);
        for error in [zeros(dims), within(dims)] {
            let text = error.to_string();
            assert!(!text.contains("device"), "{text}");
            assert_error!(
                error,
                ["wide", "in elements", "4294967295", "kernels count with u32", "Make it smaller"],
                Error::Limit { needed, available, .. }
                    if needed == elements && available == u64::from(u32::MAX)
            );
        }
    }
    // With one element fewer, the tensor is refused because of the device's own limit.
    let largest = gpu.largest_binding();
    if largest < 4 * u64::from(u32::MAX) {
        assert_error!(
            zeros([65_537, 65_535]),
            ["wide", "in bytes"],
            Error::Limit { limit: "max_storage_buffer_binding_size", needed, available, .. }
                if needed == 4 * u64::from(u32::MAX) && available == largest
        );
    }
}

#[test]
fn workgroups_are_folded_into_as_many_as_the_device_allows() {
    let gpu = borrowed(Limits {
        max_compute_workgroup_storage_size: 20_016,
        max_compute_workgroups_per_dimension: 3,
        ..Limits::default()
    });
    for workgroups in [1, 3, 4, 9] {
        assert_eq!(run(&gpu, workgroups).unwrap(), vec![3.0; 64]);
    }
    let error = run(&gpu, 10).unwrap_err();
    assert_error!(
        error,
        ["large::forward, in workgroups, needs", "10", "9"],
        Error::Limit {
            needed: 10,
            available: 9,
            ..
        }
    );
}

#[test]
fn limits_below_those_of_webgpu_predict_and_say_what_training_needs() {
    let gpu = borrowed(Limits::downlevel_defaults());
    let model = spec().build(&gpu).unwrap();
    model.predict(Array2::zeros((3, 784)).view()).unwrap();
    assert_error!(
        trainer(&gpu, &digits().train).unwrap_err(),
        ["gather::", "storage buffers", "required_limits"],
        Error::Limit {
            limit: "max_storage_buffers_per_shader_stage",
            needed: 5,
            available: 4,
            ..
        }
    );
}

/// On every adapter, the fused kernels bind more buffers than the kernels of single layers.
#[test]
fn steps_that_the_device_cannot_run_fused_are_run_layer_by_layer() {
    let gpu = borrowed(Limits {
        max_storage_buffers_per_shader_stage: 6,
        ..Limits::default()
    });
    let trainer = trainer(&gpu, &digits().train).unwrap();
    assert_eq!(trainer.fusion(), Fusion::Layers);
    let unfused = trainer.unfused().unwrap();
    assert!(
        matches!(unfused, Unfused::Limit { limit, available: 6, .. }
            if *limit == "max_storage_buffers_per_shader_stage"),
        "{unfused}"
    );
    assert_trains(&gpu);
}
