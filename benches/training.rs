//! Steps of training on the GPU, by both plans, and on the CPU; the start from nothing to the first
//! step: `cargo bench --bench training`.
//!
//! Elements per second are steps per second.
#![allow(clippy::expect_used, missing_docs)]

mod common;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wgrad::{Device, Error, Fusion, Gpu, Train};

use common::{digits, jobs, trainer, training};

/// Steps timed together, of each job.
const STEPS: [usize; 3] = [200, 2, 2];

fn steps(criterion: &mut Criterion) {
    let (gpu, digits) = (Gpu::new().expect("an adapter"), digits());
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

/// A device of its own each time; the driver may keep compiled shaders on the disk, as it does for
/// programs that are started again.
fn start(criterion: &mut Criterion) {
    let (digits, [job, ..]) = (digits(), jobs());
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

criterion_group!(benches, steps, start);
criterion_main!(benches);
