//! Measures training steps on the GPU, with fused dispatches and layer by layer, and on the CPU. Also measures the time
//! from opening a device to the end of its first step: `cargo bench --bench training`.
//!
//! `cargo bench --bench training -- head` only measures a network of neural graphics, with its head (the linear layers
//! at its end) fused and layer by layer. It prints the number of dispatches and the memory of both plans, with the
//! kernels for GPUs and with those for software drivers. It measures the speed with the kernels for this adapter.
//!
//! In the output, an "element" is a step.
#![allow(clippy::expect_used, missing_docs)]

mod common;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wgrad::data::Table;
use wgrad::gpu::AdapterKind;
use wgrad::ndarray::Array2;
use wgrad::ops::{Adam, Linear, MeanSquaredError, Relu};
use wgrad::{Device, Error, Fusion, Gpu, Sequential, Train, Trainer};

use common::{SAMPLING, digits, jobs, trainer, training};

/// Steps per timed call, for each of the [`jobs`].
const STEPS: [usize; 3] = [200, 2, 2];

fn steps(criterion: &mut Criterion) {
    let gpu = Gpu::new().expect("an adapter");
    let digits = digits();
    eprintln!("adapter: {}", gpu.description());
    for (job, steps) in jobs().into_iter().zip(STEPS) {
        let mut group = criterion.benchmark_group(job.name);
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(8));
        group.throughput(Throughput::Elements(steps as u64));
        let engine = |fusion| -> Result<Box<dyn Train>, Error> {
            match fusion {
                Some(fusion) => Ok(Box::new(trainer(&gpu, &job, &digits, fusion)?)),
                None => training(&Device::cpu("one of both engines"), &job, &digits),
            }
        };
        for (name, fusion) in [
            ("Fused", Some(Fusion::Fused)),
            ("Layers", Some(Fusion::Layers)),
            ("CPU", None),
        ] {
            let mut engine = match engine(fusion) {
                Err(Error::Plan(unfused)) => {
                    eprintln!("{}: not fused: {unfused}", job.name);
                    continue;
                }
                engine => engine.expect("a training"),
            };
            group.bench_function(name, |bencher| {
                bencher.iter(|| engine.steps(steps).expect("steps"));
            });
        }
        group.finish();
    }
}

/// Rows per step of [`graphics`].
const BATCH: usize = 4096;

/// 2→64→64→3 with a minibatch of 4,096 points: the network after the encoding in `learn_image`.
fn graphics(gpu: &Gpu, table: &Table, fusion: Fusion) -> Result<Trainer, Error> {
    let spec = Sequential::input(2).layer(Linear::new(64)).layer(Relu);
    let spec = spec.layer(Linear::new(64)).layer(Relu);
    let model = spec.layer(Linear::new(3)).seed(1).build(gpu)?;
    let loss = MeanSquaredError;
    let adam = Adam::new(0.001);
    Trainer::with_fusion(model, loss, adam, table, BATCH, SAMPLING, fusion)
}

fn heads(criterion: &mut Criterion) {
    let own = Gpu::new().expect("an adapter");
    eprintln!("adapter: {}", own.description());
    let x = |(row, column): (usize, usize)| ((row * 37 + column * 101) % 4093) as f32 / 4093.0;
    let x = Array2::from_shape_fn((BATCH, 2), x);
    let y = |(row, column)| 0.5 + 0.4 * (9.0 * x.row(row).sum() + column as f32).sin();
    let y = Array2::from_shape_fn((BATCH, 3), y);
    let table = Table::regression("waves", x.view(), y.view()).expect("a table");
    let mut group = criterion.benchmark_group("head, 2-64-64-3");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(8));
    group.throughput(Throughput::Elements(10));
    for kind in [AdapterKind::Hardware, AdapterKind::Software] {
        let gpu = Gpu::builder().kernels_for(kind).build();
        let gpu = gpu.expect("the same adapter");
        for fusion in [Fusion::Layers, Fusion::Head] {
            let mut trainer = graphics(&gpu, &table, fusion).expect("a training");
            let plan = trainer.plan();
            let dispatches = plan.len();
            let bytes = plan.bytes() as f64 / 1e6;
            eprintln!("kernels for {kind:?}, {fusion:?}: {dispatches} dispatches, {bytes:.1} MB");
            if kind == own.kind() {
                group.bench_function(format!("{fusion:?}"), |bencher| {
                    bencher.iter(|| trainer.steps(10).expect("steps"));
                });
            }
        }
    }
    group.finish();
}

/// Measures the time to open a new device and take its first step. The driver may read compiled shaders from its cache
/// on disk, as at the second start of a program.
fn start(criterion: &mut Criterion) {
    let digits = digits();
    let [job, ..] = jobs();
    let mut group = criterion.benchmark_group("start");
    group.sample_size(10);
    group.bench_function("device to first step", |bencher| {
        bencher.iter(|| {
            let gpu = Gpu::new().expect("an adapter");
            let device = Device::with_gpu(gpu, "the best of this machine");
            let mut engine = training(&device, &job, &digits).expect("a training");
            engine.steps(1).expect("a step")
        });
    });
    group.finish();
}

criterion_group!(benches, heads, steps, start);
criterion_main!(benches);
