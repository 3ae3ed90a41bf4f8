//! Kernels from outside the crate.

use wgrad::kernel::{Binding, Constant, Element, Kernel, KernelRef, Scalar};
use wgrad::ops::{Forward, Layer, LeakyRelu, Mode, Relu};
use wgrad::plan::{BindingFault, Cost, Plan, Recorder};
use wgrad::plumbing::leaving_one_out;
use wgrad::tensor::Tensor;
use wgrad::{Error, Gpu, wgpu};

use crate::{assert_error, borrowed, gpu};

/// A kernel with the same name as one of the crate's kernels. It reads far past the end of its input.
static MINE: Kernel<[u32; 4]> = Kernel::new(
    "relu",
    "
        @group(0) @binding(0) var<uniform> at: vec4u;
        @group(0) @binding(1) var<storage, read> x: array<f32>;
        @group(0) @binding(2) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(1)
        fn forward() {
            y[0] = x[at.x];
            y[at.y] = 5.0;
        }",
    "forward",
    &[Binding::read("x"), Binding::write("y")],
)
.workgroup_size([1, 1, 1]);

/// A kernel cannot read one part of a buffer and write another part: WebGPU tracks whole buffers.
#[test]
fn two_tensors_of_one_buffer_in_one_kernel() {
    let gpu = &gpu();
    let both = Tensor::zeros(gpu, "both", [1, 128], Element::F32).unwrap();
    let part = |label, offset| {
        let buffer = both.buffer().0;
        Tensor::in_buffer(gpu, label, buffer, offset, 256, [1, 64], Element::F32).unwrap()
    };
    let x = part("x", 0);
    let y = part("y", 256);
    let mut recorder = Recorder::new(gpu);
    let pass = Forward::new(&x, &[], &y, Mode::Evaluation);
    Relu.forward(&mut recorder, pass).unwrap();
    let error = recorder.finish().unwrap_err().to_string();
    assert!(
        error.contains("relu::forward") && error.contains("x and y lie in the same buffer"),
        "{error}"
    );
}

/// WGSL sets workgroup memory to 0 before a kernel starts, and kernels may rely on it.
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
    static FILL: Kernel<[u32; 4]> = Kernel::new("mine", SOURCE, "fill", BINDINGS);
    static LOOK: Kernel<[u32; 4]> = Kernel::new("mine", SOURCE, "look", BINDINGS);
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

const SCALED: &str = "
    override scale: f32;
    override shift: i32;
    override last: u32;
    override negated: bool;
    override doubled: bool = false;
    @group(0) @binding(0) var<uniform> unused: vec4u;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(1)
    fn fill() {
        let value = scale + f32(shift) + f32(unused.x);
        y[last] = select(value, -value, negated) * select(1.0, 2.0, doubled);
    }";

const fn scaled(constants: &'static [Constant]) -> Kernel<[u32; 4]> {
    Kernel::new("mine", SCALED, "fill", const { &[Binding::write("y")] })
        .constants(constants)
        .workgroup_size([1, 1, 1])
}

/// One WGSL source with different values of its `override` constants gives several kernels.
#[test]
fn constants_of_a_kernel_are_those_that_it_declares() {
    static PLAIN: Kernel<[u32; 4]> = scaled(&[
        Constant::f32("scale", 0.25),
        Constant::i32("shift", -7),
        Constant::u32("last", 0),
        Constant::bool("negated", false),
    ]);
    static NEGATED: Kernel<[u32; 4]> = scaled(&[
        Constant::f32("scale", 0.25),
        Constant::i32("shift", i32::MIN),
        Constant::u32("last", 1),
        Constant::bool("negated", true),
        Constant::bool("doubled", true),
    ]);
    let gpu = gpu();
    let y = Tensor::zeros(&gpu, "y", [1, 3], Element::F32).unwrap();
    let mut recorder = Recorder::new(&gpu);
    for kernel in [&PLAIN, &NEGATED, &PLAIN] {
        assert_eq!(kernel.contract().faults(), [""; 0]);
        recorder.dispatch(kernel, [0; 4], &[&y], 1, Cost::default());
    }
    gpu.submit(&recorder.finish().unwrap(), 1).unwrap();
    assert_eq!(
        gpu.read::<f32>(&y).unwrap(),
        [-6.75, 2.0 * 2_147_483_648.0, 0.0]
    );
}

/// A constant may get its value at each dispatch. A plan uses the same kernel with several values, and each value is
/// compiled.
#[test]
fn constants_that_are_open_are_those_of_the_dispatch() {
    static OPEN: Kernel<[u32; 4]> = scaled(&[
        Constant::f32("scale", 0.5),
        Constant::i32("shift", 0),
        Constant::open("last", Scalar::U32),
        Constant::bool("negated", false),
    ]);
    assert_eq!(OPEN.contract().faults(), [""; 0]);
    let gpu = gpu();
    let y = Tensor::zeros(&gpu, "y", [1, 3], Element::F32).unwrap();
    let record = |kernels: &[KernelRef<'_, [u32; 4]>]| {
        let mut recorder = Recorder::new(&gpu);
        for kernel in kernels {
            recorder.dispatch(kernel, [0; 4], &[&y], 1, Cost::default());
        }
        recorder.finish()
    };
    let values = |scale, last| {
        let shift = Constant::i32("shift", 0);
        let negated = Constant::bool("negated", false);
        [
            Constant::f32("scale", scale),
            shift,
            Constant::u32("last", last),
            negated,
        ]
    };
    let all = [values(7.0, 0), values(9.0, 1), values(-0.125, 2)];
    let kernels = all.each_ref().map(|values| OPEN.constants(values));
    gpu.submit(&record(&kernels).unwrap(), 1).unwrap();
    assert_eq!(gpu.read::<f32>(&y).unwrap(), [7.0, 9.0, -0.125]);
    assert_error!(
        record(&[OPEN]).unwrap_err(),
        [
            "mine::fill",
            "constant last has no value",
            "KernelRef::constants"
        ],
        Error::Binding {
            mistake: BindingFault::NoValue { .. },
            ..
        }
    );
    for (scale, named) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        assert_error!(
            record(&[OPEN.constants(&values(scale, 0))]).unwrap_err(),
            ["mine::fill", "constant scale is", named],
            Error::Binding {
                mistake: BindingFault::NotFinite { .. },
                ..
            }
        );
    }
    let [scale, shift, last, negated] = values(1.0, 0);
    let strange = Constant::u32("strange", 1);
    for (constants, named) in [
        (&[scale, shift, negated][..], "last"),
        (&[scale, shift, last, negated, strange], "strange"),
    ] {
        assert_error!(
            record(&[OPEN.constants(constants)]).unwrap_err(),
            ["compiling mine::fill", named],
            Error::Gpu { .. }
        );
    }
}

/// The WGSL text is made at run time. It is dropped after the recording, while the plan still runs.
#[test]
fn a_kernel_may_be_made_at_run_time() {
    let gpu = gpu();
    let y = Tensor::zeros(&gpu, "y", [1, 4], Element::F32).unwrap();
    let plan_of = |terms: u32| {
        let mut recorder = Recorder::new(&gpu);
        let sum: String = (0..terms).map(|term| format!(" + {term}.0")).collect();
        let [shader, entry, output] =
            ["generated", "sum", "sums"].map(|name| format!("{name}_{terms}"));
        let source = format!(
            "
            @group(0) @binding(0) var<uniform> at: vec4u;
            @group(0) @binding(1) var<storage, read_write> {output}: array<f32>;
            @compute @workgroup_size(1)
            fn {entry}() {{ {output}[at.x] = 0.5{sum}; }}"
        );
        let bindings = [Binding::write(&output)];
        let kernel = KernelRef::new(&shader, &source, &entry, &bindings);
        let kernel = kernel.workgroup_size([1, 1, 1]);
        assert_eq!(kernel.contract().faults(), [""; 0]);
        for at in [terms - 1, 3] {
            recorder.dispatch(&kernel, [at, 0, 0, 0], &[&y], 1, Cost::default());
        }
        recorder.finish().unwrap()
    };
    let plans = [1, 2, 3].map(plan_of);
    let shown = plans[2].to_string();
    assert!(
        shown.contains("generated_3::sum_3") && shown.contains("sums_3 1×4"),
        "{shown}"
    );
    for plan in &plans {
        gpu.submit(plan, 1).unwrap();
    }
    assert_eq!(gpu.read::<f32>(&y).unwrap(), [0.5, 1.5, 3.5, 3.5]);
}

/// Two WGSL texts differ in one letter, and the second may be at the memory address of the first. Kernels are
/// identified by their text, not by its address.
#[test]
fn kernels_made_at_run_time_are_told_apart_by_their_text() {
    let gpu = gpu();
    let y = Tensor::zeros(&gpu, "y", [1, 1], Element::F32).unwrap();
    let mut source = String::from(
        "
        @group(0) @binding(0) var<uniform> unused: vec4u;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(64)
        fn fill() { y[unused.x] = 1.0; }",
    );
    for digit in ["1", "2", "3"] {
        let at = source.rfind(".0").unwrap() - 1;
        source.replace_range(at..=at, digit);
        let bindings = [Binding::write("y")];
        let kernel = KernelRef::new("mine", &source, "fill", &bindings);
        let mut recorder = Recorder::new(&gpu);
        recorder.dispatch(&kernel, [0; 4], &[&y], 1, Cost::default());
        gpu.submit(&recorder.finish().unwrap(), 1).unwrap();
        assert_eq!(gpu.read::<f32>(&y).unwrap()[0].to_string(), digit);
    }
}

#[test]
fn vectors_are_bound_to_tensors_of_whole_vectors() {
    const SOURCE: &str = "
        @group(0) @binding(0) var<uniform> rows: vec4u;
        @group(0) @binding(1) var<storage, read> x: array<vec4f>;
        @group(0) @binding(2) var<storage, read> signs: array<vec2i>;
        @group(0) @binding(3) var<storage, read_write> y: array<vec2f>;
        @compute @workgroup_size(64)
        fn halves(@builtin(global_invocation_id) id: vec3u) {
            if (id.x < arrayLength(&x)) {
                y[2u * id.x] = x[id.x].xy * vec2f(signs[2u * id.x]);
                y[2u * id.x + 1u] = x[id.x].zw * vec2f(signs[2u * id.x + 1u]);
            }
            if (id.x == rows.x) { y[0].x = f32(arrayLength(&x)); }
        }";
    static HALVES: Kernel<[u32; 4]> = Kernel::new(
        "mine",
        SOURCE,
        "halves",
        &[
            Binding::read("x").vec4(),
            Binding::read("signs").of_i32().vec2(),
            Binding::write("y").vec2(),
        ],
    );
    assert_eq!(HALVES.contract().faults(), [""; 0]);
    let gpu = gpu();
    let record = |shape: [[usize; 2]; 3]| {
        let tensor = |label, shape, element| Tensor::zeros(&gpu, label, shape, element).unwrap();
        let x = tensor("values", shape[0], Element::F32);
        let signs = tensor("words", shape[1], Element::U32);
        let y = tensor("products", shape[2], Element::F32);
        let mut recorder = Recorder::new(&gpu);
        recorder.dispatch_each(
            &HALVES,
            [9, 0, 0, 0],
            &[&x, &signs, &y],
            10,
            Cost::default(),
        );
        recorder.finish().map(|plan| (plan, [x, signs, y]))
    };
    let (plan, [x, signs, y]) = record([[3, 4], [1, 12], [4, 3]]).unwrap();
    let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let words: Vec<i32> = (0..12).map(|i| 1 - 2 * (i % 2)).collect();
    gpu.write(&x, &values).unwrap();
    gpu.write(&signs, &words).unwrap();
    gpu.submit(&plan, 1).unwrap();
    let products = values.iter().zip(&words).map(|(x, &sign)| x * sign as f32);
    let mut expected: Vec<f32> = products.collect();
    expected[0] = 3.0;
    assert_eq!(gpu.read::<f32>(&y).unwrap(), expected);
    for (shape, named) in [
        (
            [[3, 3], [1, 12], [4, 3]],
            [
                "binding x has vectors of 4",
                "tensor values has 9 elements, which is not a multiple of 4",
            ],
        ),
        (
            [[3, 2], [1, 12], [4, 3]],
            [
                "binding x has vectors of 4",
                "tensor values has 6 elements, which is not a multiple of 4",
            ],
        ),
        (
            [[3, 4], [1, 11], [4, 3]],
            [
                "binding signs has vectors of 2",
                "tensor words has 11 elements, which is not a multiple of 2",
            ],
        ),
        (
            [[3, 4], [1, 12], [1, 1]],
            [
                "binding y has vectors of 2",
                "tensor products has 1 elements, which is not a multiple of 2",
            ],
        ),
    ] {
        assert_error!(
            record(shape).unwrap_err(),
            [named[0], named[1], "mine::halves", "whole vectors"],
            Error::Binding {
                mistake: BindingFault::Vectors { .. },
                ..
            }
        );
    }
}

/// All invocations together count the elements of each class, and find the largest signed word.
#[test]
fn atomics_are_bound_to_words() {
    const SOURCE: &str = "
        @group(0) @binding(0) var<uniform> elements: vec4u;
        @group(0) @binding(1) var<storage, read> labels: array<u32>;
        @group(0) @binding(2) var<storage, read_write> counts: array<atomic<u32>>;
        @group(0) @binding(3) var<storage, read_write> least: array<atomic<i32>>;
        @compute @workgroup_size(64)
        fn count(@builtin(global_invocation_id) id: vec3u) {
            if (id.x < elements.x) {
                atomicAdd(&counts[labels[id.x]], 1u);
                atomicMin(&least[0], -i32(id.x));
            }
        }";
    static COUNT: Kernel<[u32; 4]> = Kernel::new(
        "mine",
        SOURCE,
        "count",
        &[
            Binding::read("labels").of_u32(),
            Binding::write("counts").of_u32().atomic(),
            Binding::write("least").of_i32().atomic(),
        ],
    );
    assert_eq!(COUNT.contract().faults(), [""; 0]);
    let gpu = gpu();
    let words = |label, columns| Tensor::zeros(&gpu, label, [1, columns], Element::U32).unwrap();
    let [labels, counts, least] = [words("labels", 1000), words("counts", 3), words("least", 1)];
    let classes: Vec<u32> = (0..1000).map(|i| i % 10 / 4).collect();
    gpu.write(&labels, &classes).unwrap();
    let record = |counts: &Tensor| {
        let mut recorder = Recorder::new(&gpu);
        let tensors = [&labels, counts, &least];
        recorder.dispatch_each(&COUNT, [1000, 0, 0, 0], &tensors, 1000, Cost::default());
        recorder.finish()
    };
    gpu.submit(&record(&counts).unwrap(), 2).unwrap();
    assert_eq!(gpu.read::<u32>(&counts).unwrap(), [800, 800, 400]);
    assert_eq!(gpu.read::<i32>(&least).unwrap(), [-999]);
    let floats = Tensor::zeros(&gpu, "floats", [1, 3], Element::F32).unwrap();
    assert_error!(
        record(&floats).unwrap_err(),
        [
            "mine::count",
            "binding counts has elements of U32",
            "tensor floats has elements of F32"
        ],
        Error::Binding {
            mistake: BindingFault::Element { .. },
            ..
        }
    );
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
        let pass = Forward::new(from, &[], to, Mode::Evaluation);
        LeakyRelu::new(0.5).forward(&mut recorder, pass).unwrap();
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
    // Without one of the two dispatches, the plan equals a plan with only the other dispatch.
    for (others, single) in leaving_one_out(&plan).zip(singles.iter().rev()) {
        assert_eq!(others.listing(), single.listing());
    }
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
        (
            of(0, 256, [0, 7]),
            "shape of x must be at least 1 along each extent; it is 0 × 7",
        ),
        (of(0, 256, [1, 65]), "make the buffer larger"),
        (of(0, 260, [1, 64]), "span of x, in bytes, must be"),
        (of(0, 256, [1 << 40, 1 << 40]), "in elements, needs"),
        (of(4, 16, [1, 4]), "offset of x must be a multiple of"),
        (
            Tensor::zeros(gpu, "x", [3, 0], Element::F32).map_err(|e| e.to_string()),
            "shape of x must be at least 1 along each extent; it is 3 × 0",
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
    // The crate's kernel with this name is compiled first.
    let mut recorder = Recorder::new(&gpu);
    let pass = Forward::new(&x, &[], &y, Mode::Evaluation);
    Relu.forward(&mut recorder, pass).unwrap();
    recorder.dispatch(
        &MINE,
        [1 << 28, 1 << 29, 0, 0],
        &[&x, &y],
        1,
        Cost::default(),
    );
    gpu.submit(&recorder.finish().unwrap(), 1).unwrap();
    let found: Vec<f32> = gpu.read(&y).unwrap();
    // In WGSL, an index past the end may read any element or 0, and may write any element or none.
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

/// wgpu identifies buffers by numbers. If wgrad did not check to which device a tensor belongs, wgpu would use this
/// device's buffer `y` instead of `x` of the other device, because both have the same number.
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

/// The kernels of a plan are compiled in parallel. If several do not compile, the error names the first one in the
/// plan.
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
    let finish = |kernels: &[&Kernel<[u32; 4]>]| {
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
