//! Speed of the kernels by shape, and cost of a dispatch: `cargo bench --bench kernels`.
//!
//! In the output, an "element" is a floating-point operation, so `Gelem/s` means GFLOP/s. In the measurement of
//! dispatches, an "element" is a dispatch.
#![allow(clippy::expect_used, missing_docs)]

mod common;

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wgrad::Gpu;
use wgrad::gpu::AdapterKind;
use wgrad::kernel::Element;
use wgrad::ops::{Forward, Layer, Mode, Relu};
use wgrad::plan::{Plan, Recorder};
use wgrad::plumbing::Variant;
use wgrad::tensor::Tensor;

use common::flops_per_submit;

fn gpu() -> Gpu {
    let gpu = Gpu::new().expect("a GPU or a software driver");
    eprintln!("adapter: {}", gpu.description());
    gpu
}

/// Returns a tensor of random values. With zeros, a GPU would draw less power and therefore run faster.
fn random(gpu: &Gpu, label: &str, shape: [usize; 2]) -> Tensor {
    let tensor = Tensor::zeros(gpu, label, shape, Element::F32).expect("room for a tensor");
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..tensor.len()).map(|_| next()).collect();
    gpu.write(&tensor, &values).expect("writing a tensor");
    tensor
}

/// Measures `times` runs of a plan, from the first submit until the last run is done.
fn time(gpu: &Gpu, plan: &Plan, times: u64, per_submit: u64) -> Duration {
    let start = Instant::now();
    let mut left = times;
    while left > 0 {
        let now = left.min(per_submit);
        let count = usize::try_from(now).expect("a small count");
        gpu.submit(plan, count).expect("submitting");
        left -= now;
    }
    gpu.wait(None).expect("waiting");
    start.elapsed()
}

/// Returns shapes of linear layers as `[rows, inputs, outputs]`: the layers of the book's network, the last layer of a
/// wider network, then square shapes.
fn shapes(gpu: &Gpu) -> Vec<[usize; 3]> {
    let squares: &[usize] = match gpu.kind() {
        AdapterKind::Hardware => &[256, 512, 1024, 2048, 4096, 8192],
        AdapterKind::Software => &[256, 512, 1024],
    };
    let narrow = [
        [100, 784, 50],
        [784, 100, 50],
        [100, 50, 10],
        [1024, 1024, 10],
    ];
    let squares = squares.iter().map(|&side| [side; 3]);
    narrow.into_iter().chain(squares).collect()
}

fn products(criterion: &mut Criterion) {
    let gpu = gpu();
    let mut group = criterion.benchmark_group("linear_forward");
    group.sample_size(10);
    for [rows, inputs, outputs] in shapes(&gpu) {
        let x = random(&gpu, "x", [rows, inputs]);
        let parameters = [
            random(&gpu, "w", [inputs, outputs]),
            random(&gpu, "b", [1, outputs]),
        ];
        let y = random(&gpu, "y", [rows, outputs]);
        for variant in Variant::OF_FLOATS {
            let of_software = [Variant::Registers, Variant::Vectors].contains(&variant);
            if of_software && gpu.kind() == AdapterKind::Hardware && rows > 1024 {
                // These variants are for software drivers; on a GPU they would take minutes.
                continue;
            }
            let mut recorder = Recorder::new(&gpu);
            variant.forward(&mut recorder, &x, &parameters, &y);
            let Ok(plan) = recorder.finish() else {
                eprintln!(
                    "{variant:?} at {rows}x{inputs}x{outputs}: more loop iterations than the driver lets run"
                );
                continue;
            };
            let per_submit = (flops_per_submit(&gpu) / plan.flops()).clamp(1, 1000);
            group.throughput(Throughput::Elements(plan.flops()));
            let chosen = Variant::choose(&gpu, &x, y.dims(), inputs) == variant;
            let mark = if chosen { ", chosen" } else { "" };
            let id = BenchmarkId::new(
                format!("{variant:?}{mark}"),
                format!("{rows}x{inputs}x{outputs}"),
            );
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|times| time(&gpu, &plan, times, per_submit));
            });
        }
    }
    group.finish();
}

/// Measures a chain of dispatches, in which each dispatch reads the result of the previous one.
fn dispatches(criterion: &mut Criterion) {
    const CHAIN: u64 = 1000;
    let gpu = gpu();
    let [a, b] = ["a", "b"].map(|label| random(&gpu, label, [1, 1]));
    let mut recorder = Recorder::new(&gpu);
    for _ in 0..CHAIN / 2 {
        for (x, y) in [(&a, &b), (&b, &a)] {
            let pass = Forward::new(x, &[], y, Mode::Evaluation);
            Relu.forward(&mut recorder, pass).expect("an activation");
        }
    }
    let plan = recorder.finish().expect("a plan of tiny dispatches");
    let mut group = criterion.benchmark_group("dispatch");
    group.sample_size(10);
    group.throughput(Throughput::Elements(CHAIN));
    group.bench_function("chain of 1000", |bencher| {
        bencher.iter_custom(|times| time(&gpu, &plan, times, 1));
    });
    group.finish();
}

criterion_group!(benches, products, dispatches);
criterion_main!(benches);
