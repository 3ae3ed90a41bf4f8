//! Training and inference inside a wgpu program, on the program's own device, queue, buffers and command encoder. Each
//! frame submits a few training steps, and encodes a forward pass into the frame's own command encoder. No frame waits
//! for the GPU.
//!
//! ```text
//! cargo run --release --example in_your_program
//! ```

#[path = "common/output.rs"]
mod output;

use std::error::Error;
use std::process::ExitCode;

use wgrad::data::{Sampling, Table};
use wgrad::kernel::Element;
use wgrad::ndarray::Array2;
use wgrad::ops::{Adam, Linear, MeanSquaredError, Sigmoid};
use wgrad::tensor::Tensor;
use wgrad::wgpu::{self, BufferUsages};
use wgrad::{Gpu, Init, Sequential, Trainer};

const FRAMES: usize = 120;
const STEPS_PER_FRAME: usize = 10;
const POINTS: usize = 256;

fn main() -> ExitCode {
    output::run(learn)
}

fn learn() -> Result<(), Box<dyn Error>> {
    // Open a device in the usual way of wgpu programs.
    let instance = wgpu::Instance::default();
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default()))?;
    let buffer = |label, size, usage| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        })
    };
    let bytes = 4 * POINTS as u64;
    let input = buffer(
        "input",
        bytes,
        BufferUsages::STORAGE | BufferUsages::COPY_DST,
    );
    let output = buffer(
        "output",
        bytes,
        BufferUsages::STORAGE | BufferUsages::COPY_SRC,
    );
    let shown = buffer(
        "shown",
        bytes,
        BufferUsages::MAP_READ | BufferUsages::COPY_DST,
    );

    // Build a network on that device. It learns a sine wave from a table of points.
    let gpu = Gpu::from_wgpu(device.clone(), queue.clone());
    let points: Vec<f32> = (0..POINTS).map(|i| i as f32 / 128.0 - 1.0).collect();
    let wave: Vec<f32> = points.iter().map(|x| (4.0 * x).sin()).collect();
    let column = |values: &[f32]| Array2::from_shape_vec((POINTS, 1), values.to_vec());
    let table = Table::regression("wave", column(&points)?.view(), column(&wave)?.view())?;
    let linear = |outputs, std| Linear::new(outputs).weight_init(Init::Normal { std });
    let spec = Sequential::input(1)
        .layer(linear(32, 4.0))
        .layer(Sigmoid)
        .layer(linear(1, 0.3));
    let model = spec.build(&gpu)?;
    let sampling = Sampling::Shuffled { seed: 1 };
    let optimizer = Adam::new(0.02);
    let mut trainer = Trainer::new(model, MeanSquaredError, optimizer, &table, 64, sampling)?;

    // Plan a forward pass that reads and writes the program's own buffers.
    let x = Tensor::in_buffer(&gpu, "input", &input, 0, bytes, [POINTS, 1], Element::F32)?;
    let y = Tensor::in_buffer(&gpu, "output", &output, 0, bytes, [POINTS, 1], Element::F32)?;
    let forward = trainer.model().forward_plan(&x, &y)?;
    queue.write_buffer(&input, 0, wgrad::bytemuck::cast_slice(&points));

    for _frame in 0..FRAMES {
        trainer.advance(STEPS_PER_FRAME)?; // submits the steps, and returns at once
        let mut encoder = device.create_command_encoder(&Default::default());
        forward.encode(&mut encoder.begin_compute_pass(&Default::default()));
        // A real program would draw `output` here.
        encoder.copy_buffer_to_buffer(&output, 0, &shown, 0, bytes);
        queue.submit([encoder.finish()]);
    }

    shown.map_async(wgpu::MapMode::Read, .., |_| {});
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let predicted: Vec<f32> = wgrad::bytemuck::pod_collect_to_vec(&shown.get_mapped_range(..)?);
    let squares = predicted.iter().zip(&wave).map(|(p, w)| (p - w).powi(2));
    let error = squares.sum::<f32>() / POINTS as f32;
    let steps = trainer.steps_taken();
    output::line(format!(
        "frames={FRAMES} steps={steps} mean_squared_error={error:.6}"
    ))?;
    Ok(())
}
