//! A network follows a moving shape inside a wgpu program. In every frame, a kernel of the program computes the samples
//! that the network trains on.
//!
//! ```text
//! cargo run --release --example moving_shape
//! ```
//!
//! A frame is one submit: the kernel, a few training steps on its samples, and a forward pass over the pixels of a
//! small picture. The program reads nothing back and waits for nothing until the last frame is done. In the same way, a
//! program can train on anything it renders or simulates: radiance, distances, a field. The last line counts the calls
//! of wgpu.

#[path = "common/calls.rs"]
mod calls;
#[path = "common/output.rs"]
mod output;

use std::process::ExitCode;

use wgrad::kernel::Element;
use wgrad::ops::{Adam, Linear, MeanSquaredError, Tanh};
use wgrad::tensor::Tensor;
use wgrad::wgpu;
use wgrad::{Batch, Gpu, Sequential, Trainer};

use calls::Calls;
use output::line;

const FRAMES: u32 = 300;
const STEPS_PER_FRAME: usize = 4;
/// Number of workgroups of the kernel per frame. Each workgroup computes 64 points.
const WORKGROUPS: u32 = 8;
const POINTS: usize = 64 * WORKGROUPS as usize;
/// Columns and rows of the picture in characters. A character is twice as high as wide, so the picture is square.
const PICTURE: [usize; 2] = [64, 32];

/// The program's kernel. Computes random points in the square from −1 to 1, and their signed distances to a rounded
/// box. The box circles around the center and rotates.
const SAMPLES: &str = "
    @group(0) @binding(0) var<storage, read> frame: u32;
    @group(0) @binding(1) var<storage, read_write> points: array<vec2f>;
    @group(0) @binding(2) var<storage, read_write> distances: array<f32>;

    // Jarzynski, Olano, 'Hash functions for GPU rendering', 2020: pcg2d.
    fn hash(key: vec2u) -> vec2f {
        var v = key * 1664525u + 1013904223u;
        v.x += v.y * 1664525u;
        v.y += v.x * 1664525u;
        v ^= v >> vec2u(16u);
        v.x += v.y * 1664525u;
        v.y += v.x * 1664525u;
        v ^= v >> vec2u(16u);
        return vec2f(v >> vec2u(8u)) / 8388608.0 - 1.0;
    }

    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
        let point = hash(vec2u(id.x, frame));
        let angle = 0.01 * f32(frame);
        let turn = vec2f(cos(angle), sin(angle));
        let arm = point - 0.3 * turn;
        let local = vec2f(dot(arm, turn), dot(arm, vec2f(-turn.y, turn.x)));
        let outside = abs(local) - vec2f(0.4, 0.2);
        points[id.x] = point;
        distances[id.x] = length(max(outside, vec2f())) + min(max(outside.x, outside.y), 0.0) - 0.1;
    }";

fn main() -> ExitCode {
    output::run(follow)
}

fn follow() -> Result<(), Box<dyn std::error::Error>> {
    calls::count()?;
    // Open a device in the usual way of wgpu programs.
    let instance = wgpu::Instance::default();
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default()))?;
    let gpu = Gpu::from_wgpu(device.clone(), queue.clone());
    let [columns, rows] = PICTURE;
    let pixels = columns * rows;
    let frame_number = Tensor::zeros(&gpu, "frame", [1, 1], Element::U32)?;
    let points = Tensor::zeros(&gpu, "points", [POINTS, 2], Element::F32)?;
    let distances = Tensor::zeros(&gpu, "distances", [POINTS, 1], Element::F32)?;
    let grid = Tensor::zeros(&gpu, "grid", [pixels, 2], Element::F32)?;
    let picture = Tensor::zeros(&gpu, "picture", [pixels, 1], Element::F32)?;

    // Compile the program's kernel, and bind its tensors.
    let source = wgpu::ShaderSource::Wgsl(SAMPLES.into());
    let samples = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("samples"),
        layout: None,
        module: &device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("samples"),
            source,
        }),
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let bound = [(0, &frame_number), (1, &points), (2, &distances)];
    let entries = bound.map(|(binding, tensor)| wgpu::BindGroupEntry {
        binding,
        resource: tensor.buffer().0.as_entire_binding(),
    });
    let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("samples"),
        layout: &samples.get_bind_group_layout(0),
        entries: &entries,
    });

    // Build a network that trains on the kernel's samples, and plan the forward pass that computes the picture.
    let spec = Sequential::input(2)
        .layer(Linear::new(48))
        .layer(Tanh)
        .layer(Linear::new(48))
        .layer(Tanh)
        .layer(Linear::new(1));
    let model = spec.seed(1).build(&gpu)?;
    let optimizer = Adam::new(0.005);
    let batch = Batch::new(&points, &distances);
    let mut trainer = Trainer::external(model, MeanSquaredError, optimizer, batch)?;
    let forward = trainer.model().forward_plan(&grid, &picture)?;
    let centre = |at: usize, of: usize| (2 * at + 1) as f32 / of as f32 - 1.0;
    let centres = (0..pixels).map(|at| [centre(at % columns, columns), centre(at / columns, rows)]);
    gpu.write(&grid, &centres.flatten().collect::<Vec<f32>>())?;

    let before = Calls::so_far();
    for frame in 0..FRAMES {
        gpu.write(&frame_number, &[frame])?;
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&samples);
        pass.set_bind_group(0, &bindings, &[]);
        pass.dispatch_workgroups(WORKGROUPS, 1, 1);
        trainer.encode(STEPS_PER_FRAME, &mut pass)?;
        forward.encode(&mut pass);
        drop(pass);
        // A real program would draw `picture` here.
        queue.submit([encoder.finish()]);
    }
    let in_frames = Calls::so_far();

    let losses = pollster::block_on(trainer.losses_async(STEPS_PER_FRAME * FRAMES as usize))?;
    let learned: Vec<f32> = gpu.read(&picture)?;
    for row in learned.chunks(columns) {
        let inside = |&distance: &f32| if distance < 0.0 { '#' } else { '.' };
        line(row.iter().map(inside).collect::<String>())?;
    }
    let behind = Calls::so_far() - in_frames;
    let Calls {
        submits,
        maps,
        waits,
    } = in_frames - before;
    let last = &losses[losses.len() - STEPS_PER_FRAME..];
    let (first, last) = (losses[0], last.iter().sum::<f32>() / last.len() as f32);
    line(format!("loss {first:.4} → {last:.6}"))?;
    line(format!(
        "frames={FRAMES} submits={submits} maps={maps} waits={waits} maps_behind={} waits_behind={} \
         fall={:.0}",
        behind.maps,
        behind.waits,
        first / last
    ))?;
    Ok(())
}
