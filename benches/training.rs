//! Steps of training on the GPU, by both plans, and on the CPU; the start from nothing to the first
//! step: `cargo bench --bench training`.
//!
//! Elements per second are steps per second. Job 1 is the book's 784→50→10 with a batch of 100; job 2
//! is 784→1024→1024→10 with a batch of 1024.
#![allow(clippy::expect_used, missing_docs)]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wgrad::data::{Sampling, Split, synthetic};
use wgrad::ops::{Linear, Relu, Sgd, SoftmaxCrossEntropy};
use wgrad::{Error, Gpu, Sequential, StepPlan, Trainer, TwoLayerNet, reference};

const SAMPLING: Sampling = Sampling::WithReplacement { seed: 42 };

struct Job {
    name: &'static str,
    spec: Sequential,
    batch: usize,
    /// Steps timed together.
    steps: usize,
}

fn jobs() -> [Job; 2] {
    let wide = Sequential::input(784)
        .layer(Linear::new(1024))
        .layer(Relu)
        .layer(Linear::new(1024))
        .layer(Relu)
        .layer(Linear::new(10));
    [
        Job {
            name: "job 1",
            spec: TwoLayerNet::spec(784, 50, 10).seed(42),
            batch: 100,
            steps: 200,
        },
        Job {
            name: "job 2",
            spec: wide.seed(42),
            batch: 1024,
            steps: 2,
        },
    ]
}

/// Pixels as sparse as MNIST's, and nothing to download.
fn digits() -> Split {
    synthetic::digits_of(1, 20_000, 100).expect("memory for digits")
}

fn trainer(gpu: &Gpu, job: &Job, digits: &Split, plan: StepPlan) -> Result<Trainer, Error> {
    let model = job.spec.build(gpu)?;
    let (loss, optimizer) = (SoftmaxCrossEntropy, Sgd::new(0.1));
    Trainer::with_plan(
        model,
        loss,
        optimizer,
        &digits.train,
        job.batch,
        SAMPLING,
        plan,
    )
}

fn steps(criterion: &mut Criterion) {
    let (gpu, digits) = (Gpu::new().expect("an adapter"), digits());
    eprintln!("adapter: {}", gpu.description());
    for job in jobs() {
        let mut group = criterion.benchmark_group(job.name);
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(8));
        group.throughput(Throughput::Elements(job.steps as u64));
        for plan in [StepPlan::Fused, StepPlan::Layers] {
            let mut trainer = match trainer(&gpu, &job, &digits, plan) {
                Err(Error::Plan(unfused)) => {
                    eprintln!("{}: not fused: {unfused}", job.name);
                    continue;
                }
                trainer => trainer.expect("a trainer"),
            };
            group.bench_function(format!("{plan:?}"), |bencher| {
                bencher.iter(|| trainer.steps(job.steps).expect("steps"));
            });
        }
        let mut trainer = reference::Trainer::<f32>::new(
            &job.spec,
            Sgd::new(0.1),
            &digits.train,
            job.batch,
            SAMPLING,
        )
        .expect("a trainer");
        group.bench_function("CPU", |bencher| {
            bencher.iter(|| trainer.steps(job.steps).expect("steps"));
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
            let mut trainer = trainer(&gpu, &job, &digits, StepPlan::Auto).expect("a trainer");
            trainer.steps(1).expect("a step")
        });
    });
    group.finish();
}

criterion_group!(benches, steps, start);
criterion_main!(benches);
