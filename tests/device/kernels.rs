//! Kernels from outside the crate.

use std::marker::PhantomData;

use wgrad::kernel::{Binding, Block, Element, Kernel, Trust};
use wgrad::plan::{Cost, Plan, Recorder};
use wgrad::tensor::Tensor;
use wgrad::{Error, Gpu, wgpu};

use crate::{assert_error, borrowed, gpu};

/// Called as one of the crate's own, and reading far past the end of its input.
static MINE: Kernel<[u32; 4]> = Kernel {
    shader: "relu",
    source: "
        @group(0) @binding(0) var<uniform> at: vec4u;
        @group(0) @binding(1) var<storage, read> x: array<f32>;
        @group(0) @binding(2) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(1)
        fn forward() {
            y[0] = x[at.x];
            y[at.y] = 5.0;
        }",
    entry: "forward",
    bindings: &[Binding::read("x"), Binding::write("y")],
    fields: &[],
    constants: &[],
    workgroup_size: [1, 1, 1],
    block: Block::Uniform,
    trust: Trust::CHECKED,
    uniform: PhantomData,
};

/// Of one buffer no kernel may read a part and write another: WebGPU tracks whole buffers.
#[test]
fn two_tensors_of_one_buffer_in_one_kernel() {
    let gpu = &gpu();
    let both = Tensor::zeros(gpu, "both", [1, 128], Element::F32).unwrap();
    let part = |label, offset| {
        let buffer = both.buffer().0;
        Tensor::in_buffer(gpu, label, buffer, offset, 256, [1, 64], Element::F32).unwrap()
    };
    let (x, y) = (part("x", 0), part("y", 256));
    let mut recorder = Recorder::new(gpu);
    let pass = wgrad::ops::Forward::evaluation(&x, &[], &y);
    wgrad::ops::Layer::forward(&wgrad::ops::Relu, &mut recorder, pass);
    let error = recorder.finish().unwrap_err().to_string();
    assert!(
        error.contains("relu::forward") && error.contains("one buffer"),
        "{error}"
    );
}

/// WGSL sets workgroup memory to 0 before a kernel starts, and whoever writes one counts on it.
#[test]
fn workgroup_memory_of_a_kernel_from_outside_starts_as_zeros() {
    const SOURCE: &str = "
        @group(0) @binding(0) var<uniform> unused: vec4u;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        var<workgroup> shared_values: array<f32, 4000>;
        fn sum(local: u32) {
            var sum = 0.0;
            for (var at = local; at < 4000u; at += 64u) { sum += abs(shared_values[at]); }
            y[local] = sum + f32(unused.x);
        }
        @compute @workgroup_size(64)
        fn fill(@builtin(local_invocation_index) local: u32) {
            for (var at = local; at < 4000u; at += 64u) { shared_values[at] = 7.0; }
            workgroupBarrier();
            sum(local);
        }
        @compute @workgroup_size(64)
        fn look(@builtin(local_invocation_index) local: u32) { sum(local); }";
    const BINDINGS: &[Binding] = &[Binding::write("y")];
    static FILL: Kernel<[u32; 4]> = Kernel {
        workgroup_size: [64, 1, 1],
        ..Kernel::new("mine", SOURCE, "fill", BINDINGS)
    };
    static LOOK: Kernel<[u32; 4]> = Kernel {
        workgroup_size: [64, 1, 1],
        ..Kernel::new("mine", SOURCE, "look", BINDINGS)
    };
    let gpu = gpu();
    let y = Tensor::zeros(&gpu, "y", [1, 64], Element::F32).unwrap();
    for _ in 0..20 {
        let mut recorder = Recorder::new(&gpu);
        recorder.dispatch(&FILL, [0; 4], &[&y], 1, Cost::default());
        recorder.dispatch(&LOOK, [0; 4], &[&y], 1, Cost::default());
        gpu.submit(&recorder.finish().unwrap(), 1).unwrap();
        let found: Vec<f32> = gpu.read(&y).unwrap();
        assert_eq!(found, [0.0; 64]);
    }
}

/// The same kernel twice in a plan, compiled for each of two values.
#[test]
fn constants_of_a_kernel_are_those_of_its_dispatch() {
    const SOURCE: &str = "
        override size: u32;
        override last: u32;
        @group(0) @binding(0) var<uniform> unused: vec4u;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(1)
        fn fill() { y[last] = f32(size + unused.x); }";
    static FILL: Kernel<[u32; 4]> = Kernel {
        constants: &["size", "last"],
        workgroup_size: [1, 1, 1],
        ..Kernel::new("mine", SOURCE, "fill", const { &[Binding::write("y")] })
    };
    let gpu = gpu();
    let y = Tensor::zeros(&gpu, "y", [1, 3], Element::F32).unwrap();
    let record = |values: &[&[u32]]| {
        let mut recorder = Recorder::new(&gpu);
        for values in values {
            recorder.dispatch_with(&FILL, values, [0; 4], &[&y], 1, Cost::default());
        }
        recorder.finish()
    };
    gpu.submit(&record(&[&[7, 0], &[9, 1], &[7, 2]]).unwrap(), 1)
        .unwrap();
    assert_eq!(gpu.read::<f32>(&y).unwrap(), [7.0, 9.0, 7.0]);
    for wrong in [&[][..], &[7], &[7, 0, 0]] {
        assert_error!(
            record(&[wrong]).unwrap_err(),
            [
                "mine::fill",
                "2 constants",
                &format!("{} values", wrong.len())
            ],
            Error::Binding { .. }
        );
    }
}

#[test]
fn dispatches_of_a_plan_can_run_alone() {
    let gpu = gpu();
    let [x, y, z] = ["x", "y", "z"].map(|label| {
        let tensor = Tensor::zeros(&gpu, label, [1, 2], Element::F32).unwrap();
        gpu.write(&tensor, &[3.0f32, -3.0]).unwrap();
        tensor
    });
    let mut recorder = Recorder::new(&gpu);
    for (from, to) in [(&x, &y), (&y, &z)] {
        let pass = wgrad::ops::Forward::evaluation(from, &[], to);
        wgrad::ops::Layer::forward(&wgrad::ops::LeakyRelu::new(0.5), &mut recorder, pass);
    }
    let plan = recorder.finish().unwrap();
    let singles: Vec<_> = plan.singles().collect();
    assert_eq!(singles.iter().map(Plan::len).collect::<Vec<_>>(), [1, 1]);
    let mut found: Vec<[f32; 2]> = Vec::new();
    for single in &singles {
        gpu.submit(single, 1).unwrap();
        found.extend([&y, &z].map(|tensor| {
            let values: Vec<f32> = gpu.read(tensor).unwrap();
            [values[0], values[1]]
        }));
    }
    assert_eq!(found, [[3.0, -1.5], [3.0, -3.0], [3.0, -1.5], [3.0, -0.75]]);
}

#[test]
fn tensors_that_are_empty_or_not_within_their_buffer_as_it_can_be_bound() {
    let gpu = &gpu();
    let room = Tensor::zeros(gpu, "room", [1, 64], Element::F32).unwrap();
    let of = |offset, span, shape| {
        let buffer = room.buffer().0;
        let tensor = Tensor::in_buffer(gpu, "x", buffer, offset, span, shape, Element::F32);
        tensor.map_err(|e| e.to_string())
    };
    for (case, named) in [
        (of(0, 256, [0, 7]), "shape of x must be at least 1×1"),
        (of(0, 256, [1, 65]), "its buffer, which must be larger"),
        (of(0, 260, [1, 64]), "span of x, in bytes, must be"),
        (
            of(0, 256, [1 << 40, 1 << 40]),
            "its buffer, which must be larger",
        ),
        (of(4, 16, [1, 4]), "offset of x must be a multiple of"),
        (
            Tensor::zeros(gpu, "x", [3, 0], Element::F32).map_err(|e| e.to_string()),
            "shape of x must be at least 1×1; it is 3×0",
        ),
    ] {
        assert!(
            case.as_ref().is_err_and(|error| error.contains(named)),
            "{case:?}"
        );
    }
}

#[test]
fn elements_are_read_as_values_of_their_size() {
    let gpu = gpu();
    let x = Tensor::zeros(&gpu, "x", [1, 3], Element::F32).unwrap();
    gpu.write(&x, &[1.0f32, 2.0, 3.0]).unwrap();
    let bits: Vec<u32> = gpu.read(&x).unwrap();
    assert_eq!(bits, [1.0f32, 2.0, 3.0].map(f32::to_bits));
    let error = gpu.read::<f64>(&x).unwrap_err().to_string();
    assert!(
        error.contains("reading x") && error.contains('8'),
        "{error}"
    );
}

#[test]
fn a_kernel_from_outside_is_compiled_with_bounds_checks_and_is_not_mistaken_for_ours() {
    let gpu = gpu();
    let tensor = |label, values: &[f32]| {
        let tensor = Tensor::zeros(&gpu, label, [1, values.len()], Element::F32).unwrap();
        gpu.write(&tensor, values).unwrap();
        tensor
    };
    let x = tensor("x", &[1.0, 2.0, 3.0, 4.0]);
    let y = tensor("y", &[0.0; 4]);
    // The crate's kernel of that name is compiled first.
    let mut recorder = Recorder::new(&gpu);
    let pass = wgrad::ops::Forward::evaluation(&x, &[], &y);
    wgrad::ops::Layer::forward(&wgrad::ops::Relu, &mut recorder, pass);
    recorder.dispatch(
        &MINE,
        [1 << 28, 1 << 29, 0, 0],
        &[&x, &y],
        1,
        Cost::default(),
    );
    gpu.submit(&recorder.finish().unwrap(), 1).unwrap();
    let found: Vec<f32> = gpu.read(&y).unwrap();
    // WGSL leaves open which element, or 0, an index past the end reads; and which, if any, it writes.
    assert!(
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0].contains(&found[0]),
        "{found:?}"
    );
    let untouched = found[1..].iter().zip([2.0, 3.0, 4.0]);
    assert!(
        untouched
            .filter(|(found, expected)| **found != *expected)
            .count()
            <= 1,
        "{found:?}"
    );
}

/// wgpu would take the buffer of another device for the one of this device that has its number: here `y`
/// for `x`.
#[test]
fn what_belongs_to_another_gpu_is_told_and_touches_nothing() {
    let (device, queue) = borrowed::device(wgpu::Limits::default());
    let twice = [(); 2].map(|()| Gpu::from_wgpu(device.clone(), queue.clone()));
    for [mine, other] in [[gpu(), gpu()], twice] {
        let tensor = |gpu, label| Tensor::zeros(gpu, label, [1, 64], Element::F32).unwrap();
        let [x, z] = ["x", "z"].map(|label| tensor(&other, label));
        let y = tensor(&mine, "y");
        let record = |gpu, x, y| {
            let mut recorder = Recorder::new(gpu);
            recorder.dispatch(&MINE, [0; 4], &[x, y], 1, Cost::default());
            recorder.finish()
        };
        let plan = record(&other, &x, &z).unwrap();
        for (error, named) in [
            (mine.write(&x, &[1.0f32; 64]).unwrap_err(), "x belongs"),
            (mine.read::<f32>(&x).unwrap_err(), "x belongs"),
            (record(&mine, &x, &y).unwrap_err(), "x belongs"),
            (record(&other, &x, &y).unwrap_err(), "y belongs"),
            (mine.submit(&plan, 1).unwrap_err(), "relu::forward belongs"),
        ] {
            assert_error!(error, [named, "another Gpu"], Error::OtherGpu { .. });
        }
        let shared = mine.clone();
        assert_eq!(shared.read::<f32>(&y).unwrap(), [0.0; 64]);
        other.submit(&plan, 1).unwrap();
    }
}

#[test]
fn a_part_of_a_buffer_that_is_larger_than_a_kernel_can_bind() {
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: 1024,
        ..Default::default()
    };
    let (device, queue) = borrowed::device(limits);
    let room = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 2048,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let gpu = Gpu::from_wgpu(device, queue);
    let of = |span| Tensor::in_buffer(&gpu, "x", &room, 0, span, [1, 64], Element::F32);
    assert!(of(1024).is_ok());
    assert_error!(
        of(1028).unwrap_err(),
        ["x (1 × 64)"],
        Error::Limit {
            limit: "max_storage_buffer_binding_size",
            needed: 1028,
            available: 1024,
            ..
        }
    );
}

/// Kernels of a plan are compiled side by side; the error is that of the first in the plan.
#[test]
fn of_kernels_that_do_not_compile_the_first_is_told_and_the_others_stay() {
    const BINDINGS: &[Binding] = &[Binding::write("y")];
    const SOURCE: &str = "
        @group(0) @binding(0) var<uniform> at: vec4u;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(64)
        fn good() { y[at.x] = 5.0; }";
    static GOOD: Kernel<[u32; 4]> = Kernel::new("mine", SOURCE, "good", BINDINGS);
    static ABSENT: Kernel<[u32; 4]> = Kernel::new("mine", SOURCE, "absent", BINDINGS);
    static NOT_WGSL: Kernel<[u32; 4]> = Kernel::new("no_wgsl", "fn f( {", "f", BINDINGS);
    let gpu = gpu();
    let y = Tensor::zeros(&gpu, "y", [1, 64], Element::F32).unwrap();
    let finish = |kernels: &[&'static Kernel<[u32; 4]>]| {
        let mut recorder = Recorder::new(&gpu);
        for kernel in kernels {
            recorder.dispatch(kernel, [3, 0, 0, 0], &[&y], 1, Cost::default());
        }
        recorder.finish()
    };
    for _ in 0..20 {
        for (kernels, first) in [
            ([&GOOD, &ABSENT, &NOT_WGSL], "compiling mine::absent"),
            ([&NOT_WGSL, &ABSENT, &GOOD], "compiling no_wgsl::f"),
        ] {
            assert_error!(finish(&kernels).unwrap_err(), [first], Error::Gpu { .. });
        }
    }
    gpu.submit(&finish(&[&GOOD]).unwrap(), 1).unwrap();
    assert_eq!(gpu.read::<f32>(&y).unwrap()[3], 5.0);
}
