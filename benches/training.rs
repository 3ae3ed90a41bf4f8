//! Steps of training on the GPU, by both plans, and on the CPU; the start from nothing to the first
//! step: `cargo bench --bench training`.
//!
//! Elements per second are steps per second.
#![allow(clippy::expect_used, missing_docs)]

mod common;

use std::time::Duration;
use wgrad::ops::SoftmaxCrossEntropy;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wgrad::ops::Sgd;
use wgrad::{Error, Fusion, Gpu, cpu};

use common::{SAMPLING, digits, jobs, trainer};

/// Steps timed together, of each job.
const STEPS: [usize; 2] = [200, 2];

fn steps(criterion: &mut Criterion) {
    let (gpu, digits) = (Gpu::new().expect("an adapter"), digits());
    eprintln!("adapter: {}", gpu.description());
    for (job, steps) in jobs().into_iter().zip(STEPS) {
        let mut group = criterion.benchmark_group(job.name);
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(8));
        group.throughput(Throughput::Elements(steps as u64));
        for fusion in [Fusion::Fused, Fusion::Layers] {
            let mut trainer = match trainer(&gpu, &job, &digits, fusion) {
                Err(Error::Plan(unfused)) => {
                    eprintln!("{}: not fused: {unfused}", job.name);
                    continue;
                }
                trainer => trainer.expect("a trainer"),
            };
            group.bench_function(format!("{fusion:?}"), |bencher| {
                bencher.iter(|| trainer.steps(steps).expect("steps"));
            });
        }
        let mut trainer = cpu::Trainer::new(
            job.spec.on_cpu().expect("a network"),
            SoftmaxCrossEntropy,
            Sgd::new(0.1),
            &digits.train,
            job.batch,
            SAMPLING,
        )
        .expect("a trainer");
        group.bench_function("CPU", |bencher| {
            bencher.iter(|| trainer.steps(steps).expect("steps"));
        });
        group.finish();
    }
}

/// A device of its own each time; the driver may keep compiled shaders on the disk, as it does for
/// programs that are started again.
fn start(criterion: &mut Criterion) {
    let (digits, [job, _]) = (digits(), jobs());
    let mut group = criterion.benchmark_group("start");
    group.sample_size(10);
    group.bench_function("device to first step", |bencher| {
        bencher.iter(|| {
            let gpu = Gpu::new().expect("an adapter");
            let mut trainer = trainer(&gpu, &job, &digits, Fusion::Auto).expect("a trainer");
            trainer.steps(1).expect("a step")
        });
    });
    group.finish();
}

criterion_group!(benches, steps, start);
criterion_main!(benches);
