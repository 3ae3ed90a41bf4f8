//! Using a device that the calling program owns.

use std::sync::{Arc, Mutex};

use wgrad::kernel::{Binding, Element, Kernel};
use wgrad::plan::{Cost, Recorder};
use wgrad::tensor::Tensor;
use wgrad::{Error, Gpu, wgpu};

use crate::{assert_error, assert_trains};

/// Creates a device by wgpu alone, like a program that does not use wgrad.
pub(crate) fn device(limits: wgpu::Limits) -> (wgpu::Device, wgpu::Queue) {
    let descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    let instance = wgpu::Instance::new(descriptor);
    let adapter =
        pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
            .unwrap();
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: limits,
        ..Default::default()
    };
    pollster::block_on(adapter.request_device(&descriptor)).unwrap()
}

/// Records a kernel that wgpu refuses: its WGSL does not have this entry point.
pub(crate) fn compile_unusable(gpu: &Gpu) -> Result<(), Error> {
    const SOURCE: &str = "
        @group(0) @binding(0) var<uniform> unused: u32;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(1)
        fn forward() { y[0] = f32(unused); }";
    static UNUSABLE: Kernel<u32> =
        Kernel::new("unusable", SOURCE, "backward", &[Binding::write("y")]);
    let y = Tensor::zeros(gpu, "y", [1, 64], Element::F32)?;
    let mut recorder = Recorder::new(gpu);
    recorder.dispatch(&UNUSABLE, 0, &[&y], 1, Cost::default());
    recorder.finish().map(|_| ())
}

/// Makes a mistake on the device outside of wgrad's calls.
pub(crate) fn mistake(device: &wgpu::Device) {
    let _ = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("a mistake elsewhere"),
        size: 4,
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
}

#[test]
fn trains_on_a_borrowed_device_with_default_limits() {
    let (device, queue) = device(wgpu::Limits::default());
    assert_trains(&Gpu::from_wgpu(device, queue));
}

#[test]
fn error_handlers_of_a_borrowed_device_stay_its_owners() {
    let (device, queue) = device(wgpu::Limits::default());
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let on_error = Arc::clone(&seen);
    let on_loss = Arc::clone(&seen);
    device.on_uncaptured_error(Arc::new(move |error| {
        on_error.lock().unwrap().push(format!("error {error}"));
    }));
    device.set_device_lost_callback(move |reason, _| {
        on_loss.lock().unwrap().push(format!("lost {reason:?}"));
    });
    let gpu = Gpu::from_wgpu(device.clone(), queue);
    assert_trains(&gpu);

    // wgrad reports the mistakes of its own calls.
    assert_error!(
        compile_unusable(&gpu).unwrap_err(),
        ["compiling unusable::backward"],
        Error::Gpu { .. }
    );
    assert!(seen.lock().unwrap().is_empty(), "{seen:?}");

    // The owner's mistakes are reported to the owner, and have no effect on wgrad.
    mistake(&device);
    assert!(
        seen.lock().unwrap()[0].contains("a mistake elsewhere"),
        "{seen:?}"
    );
    assert_trains(&gpu);

    device.destroy();
    let _ = device.poll(wgpu::PollType::Poll);
    let seen = seen.lock().unwrap();
    assert!(seen.len() == 2 && seen[1].starts_with("lost"), "{seen:?}");
}
