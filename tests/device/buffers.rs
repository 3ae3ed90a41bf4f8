//! Buffers of the program that cannot be used as tensors, each for another reason.

use wgrad::gpu::BufferFault;
use wgrad::kernel::Element;
use wgrad::ndarray::Array2;
use wgrad::ops::{Forward, Layer, Linear, Mode, Relu};
use wgrad::plan::{BindingFault, Recorder};
use wgrad::tensor::Tensor;
use wgrad::wgpu::{self, BufferUsages};
use wgrad::{Error, Gpu, Sequential};

use crate::{assert_error, gpu};

const ALL: BufferUsages = BufferUsages::STORAGE
    .union(BufferUsages::COPY_SRC)
    .union(BufferUsages::COPY_DST);

fn buffer_of(gpu: &Gpu, bytes: u64, usage: BufferUsages) -> wgpu::Buffer {
    gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: Some("theirs"),
        size: bytes,
        usage,
        mapped_at_creation: false,
    })
}

fn in_buffer(gpu: &Gpu, buffer: &wgpu::Buffer) -> Result<Tensor, Error> {
    Tensor::in_buffer(gpu, "mine", buffer, 0, 256, [4, 16], Element::F32)
}

#[test]
fn a_usage_that_is_missing_is_named_with_the_label() {
    let gpu = gpu();
    let without = |usage| buffer_of(&gpu, 256, ALL.difference(usage));
    let unbound = in_buffer(&gpu, &without(BufferUsages::STORAGE));
    let unread = in_buffer(&gpu, &without(BufferUsages::COPY_SRC)).unwrap();
    let unwritten = in_buffer(&gpu, &without(BufferUsages::COPY_DST)).unwrap();
    for (error, doing, usage) in [
        (unbound.map(drop), "binding mine", "STORAGE"),
        (
            gpu.read::<f32>(&unread).map(drop),
            "reading mine",
            "COPY_SRC",
        ),
        (
            gpu.write(&unwritten, &[0.0f32; 64]),
            "writing mine",
            "COPY_DST",
        ),
    ] {
        let error = error.unwrap_err();
        let named = format!("BufferUsages::{usage}");
        assert_error!(error, [doing, &named, "where it is created"],
            Error::Buffer { label, fault: BufferFault::Usage(name), .. } if label == "mine" && name == usage);
    }
    gpu.write(&unread, &[1.0f32; 64]).unwrap();
    assert_eq!(gpu.read::<f32>(&unwritten).unwrap(), [0.0; 64]);
}

/// Reads, writes and binds a tensor. Returns the three results.
fn uses(gpu: &Gpu, tensor: &Tensor) -> [Result<(), Error>; 3] {
    let run = || {
        let y = Tensor::zeros(gpu, "y", [4, 16], Element::F32)?;
        let mut recorder = Recorder::new(gpu);
        let pass = Forward::new(tensor, &[], &y, Mode::Evaluation);
        Relu.forward(&mut recorder, pass)?;
        gpu.submit(&recorder.finish()?, 1).map(drop)
    };
    [
        gpu.read::<f32>(tensor).map(drop),
        gpu.write(tensor, &[0.0f32; 64]),
        run(),
    ]
}

#[test]
fn a_buffer_that_was_destroyed_is_told() {
    let gpu = gpu();
    let buffer = buffer_of(&gpu, 256, ALL);
    let tensor = in_buffer(&gpu, &buffer).unwrap();
    buffer.destroy();
    let after = in_buffer(&gpu, &buffer).map(drop);
    for used in uses(&gpu, &tensor).into_iter().chain([after]) {
        assert_error!(
            used.unwrap_err(),
            ["has been destroyed. Create another"],
            Error::Buffer { label, fault: BufferFault::Destroyed, .. } if label == "mine" || label == "theirs"
        );
    }
}

#[test]
fn a_buffer_that_is_mapped_is_told() {
    let gpu = gpu();
    let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: Some("theirs"),
        size: 256,
        usage: ALL,
        mapped_at_creation: true,
    });
    let tensor = in_buffer(&gpu, &buffer).unwrap();
    for used in uses(&gpu, &tensor) {
        assert_error!(
            used.unwrap_err(),
            ["is mapped. Unmap it first"],
            Error::Buffer { label, fault: BufferFault::Mapped, .. } if label == "mine" || label == "theirs"
        );
    }
    buffer.unmap();
    for used in uses(&gpu, &tensor) {
        used.unwrap();
    }
}

/// The two devices belong to the same adapter.
#[test]
fn a_buffer_of_another_device_is_told() {
    let descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    let instance = wgpu::Instance::new(descriptor);
    let options = wgpu::RequestAdapterOptions::default();
    let adapter = pollster::block_on(instance.request_adapter(&options)).unwrap();
    let device = || {
        let (device, queue) =
            pollster::block_on(adapter.request_device(&Default::default())).unwrap();
        Gpu::from_wgpu(device, queue)
    };
    let [one, other] = [device(), device()];
    let buffer = buffer_of(&other, 256, ALL);
    in_buffer(&other, &buffer).unwrap();
    assert_error!(
        in_buffer(&one, &buffer).unwrap_err(),
        ["mine belongs to another Gpu"],
        Error::OtherGpu { .. }
    );
}

#[test]
fn a_range_that_does_not_fit_says_what_would() {
    let gpu = gpu();
    let buffer = buffer_of(&gpu, 512, ALL);
    let alignment = u64::from(gpu.limits().min_storage_buffer_offset_alignment);
    let of = |offset, span| {
        Tensor::in_buffer(&gpu, "mine", &buffer, offset, span, [4, 16], Element::F32)
    };
    of(0, 256).unwrap();
    of(0, 512).unwrap();
    of(256, 256).unwrap();
    let multiple = format!("a multiple of {alignment}");
    for (offset, span, named) in [
        (4, 256, [multiple.as_str(), "it is 4"]),
        (
            512,
            256,
            ["below 512 bytes, the size of its buffer", "it is 512"],
        ),
        (1 << 40, 256, ["below 512 bytes", "it is 1099511627776"]),
        (0, 252, ["from 256, for 4 × 16 values, to 512", "it is 252"]),
        (0, 516, ["to 512", "it is 516"]),
        (0, 257, ["a multiple of 4", "it is 257"]),
        (256, 512, ["to 256", "it is 512"]),
        (0, u64::MAX, ["to 512", "it is 18446744073709551615"]),
    ] {
        let error = of(offset, span).unwrap_err();
        assert_error!(
            error,
            [named[0], named[1], " of mine"],
            Error::Setting { .. }
        );
    }
    let large = Tensor::in_buffer(&gpu, "mine", &buffer, 256, 256, [100, 16], Element::F32);
    let named = [
        "at least 6400, for 100 × 16 values",
        "has only 256 from this offset on",
    ];
    assert_error!(
        large.unwrap_err(),
        [named[0], named[1]],
        Error::Setting { .. }
    );
}

#[test]
fn values_for_a_tensor_are_counted() {
    let gpu = gpu();
    let tensor = Tensor::zeros(&gpu, "mine", [4, 16], Element::F32).unwrap();
    assert_error!(
        gpu.write(&tensor, &[0.0f32; 63]).unwrap_err(),
        ["values for mine (4 × 16): expected 64, found 63"],
        Error::Count {
            expected: 64,
            found: 63,
            ..
        }
    );
    for (size, refused) in [
        (8, gpu.write(&tensor, &[0.0f64; 32])),
        (1, gpu.write(&tensor, &[0u8; 256])),
    ] {
        assert_error!(
            refused.unwrap_err(),
            ["bytes of a value for mine must be 4, the size of its elements; it is "],
            Error::Setting { found, .. } if found == size.to_string()
        );
    }
}

#[test]
fn tensors_of_a_forward_plan_have_floats() {
    let gpu = gpu();
    let model = Sequential::input(2)
        .layer(Linear::new(2))
        .build(&gpu)
        .unwrap();
    let tensor = |label, element| Tensor::zeros(&gpu, label, [4, 2], element).unwrap();
    let x = tensor("x", Element::U32);
    let y = tensor("y", Element::F32);
    assert_error!(
        model.forward_plan(&x, &y).unwrap_err(),
        ["the element type of x must be f32; it is u32"],
        Error::Setting { .. }
    );
}

/// With one layer, a kernel would read and write the same buffer. Such a buffer is refused for any number of layers.
#[test]
fn input_and_output_of_a_forward_plan_in_one_buffer_are_refused() {
    let gpu = gpu();
    let one = Sequential::input(16).layer(Linear::new(16));
    for spec in [one.clone(), one.layer(Relu).layer(Linear::new(16))] {
        let model = spec.build(&gpu).unwrap();
        let buffer = buffer_of(&gpu, 512, ALL);
        let part = |label, offset| {
            let shape = [4, 16];
            Tensor::in_buffer(&gpu, label, &buffer, offset, 256, shape, Element::F32).unwrap()
        };
        let x = part("x", 0);
        let y = part("y", 256);
        for (x, y) in [(&x, &y), (&x, &x)] {
            assert_error!(
                model.forward_plan(x, y).unwrap_err(),
                [
                    "the buffer of",
                    "the output,",
                    "different from the buffer of the input",
                    "it is the buffer of x"
                ],
                Error::Setting { .. }
            );
        }
        let y = Tensor::zeros(&gpu, "y", [4, 16], Element::F32).unwrap();
        let plan = model.forward_plan(&x, &y).unwrap();
        let values: Vec<f32> = (0..64u8).map(f32::from).collect();
        gpu.write(&x, &values).unwrap();
        gpu.submit(&plan, 1).unwrap();
        let rows = Array2::from_shape_vec((4, 16), values).unwrap();
        let expected = model.predict(rows.view()).unwrap();
        assert_eq!(
            gpu.read::<f32>(&y).unwrap(),
            expected.into_raw_vec_and_offset().0
        );
    }
}

/// Two tensors may overlap even if they start at different bytes.
#[test]
fn what_a_kernel_writes_shares_its_memory_with_nothing() {
    let gpu = gpu();
    let buffer = buffer_of(&gpu, 1024, ALL);
    let part = |label, offset| {
        Tensor::in_buffer(&gpu, label, &buffer, offset, 512, [1, 128], Element::F32).unwrap()
    };
    let x = part("x", 0);
    let y = part("y", 256);
    let mut recorder = Recorder::new(&gpu);
    let pass = Forward::new(&x, &[], &y, Mode::Evaluation);
    Relu.forward(&mut recorder, pass).unwrap();
    assert_error!(
        recorder.finish().unwrap_err(),
        [
            "relu::forward",
            "tensor y shares memory with tensor x",
            "memory that no other tensor"
        ],
        Error::Binding {
            mistake: BindingFault::Shared { .. },
            ..
        }
    );
}
