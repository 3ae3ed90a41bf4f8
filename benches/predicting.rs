//! Measures predictions of 1, 16 and 256 rows with the book's network. The predictor is created once and reused:
//! `cargo bench --bench predicting`.
#![allow(clippy::expect_used, missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wgrad::data::synthetic;
use wgrad::ndarray::{Array2, Axis};
use wgrad::{Gpu, Predictor, TwoLayerNet, cpu};

/// Rows per call.
const ROWS: [usize; 3] = [1, 16, 256];

/// Returns two sets of named input rows: digits, whose pixels are mostly 0, and rows without any 0.
fn rows() -> [(&'static str, Array2<f32>); 2] {
    let digits = synthetic::digits(1).test;
    let pixel = |(row, column): (usize, usize)| f32::from(digits.row(row)[column]) / 255.0;
    let dense = |(row, column): (usize, usize)| ((row * 31 + column * 17) % 29 + 1) as f32 / 30.0;
    let shape = (ROWS[ROWS.len() - 1], digits.width());
    [
        ("digits", Array2::from_shape_fn(shape, pixel)),
        ("dense", Array2::from_shape_fn(shape, dense)),
    ]
}

fn predicting(criterion: &mut Criterion) {
    let spec = TwoLayerNet::spec(784, 50, 10);
    let mut on_cpu = cpu::Predictor::new(spec.on_cpu().expect("a network"));
    let gpu = Gpu::new().expect("an adapter");
    eprintln!("adapter: {}", gpu.description());
    let mut on_gpu = Predictor::new(spec.build(&gpu).expect("a model"));
    for (kind, all) in rows() {
        let mut group = criterion.benchmark_group(format!("784-50-10, {kind}"));
        for rows in ROWS {
            // Predict different rows in each call. With one row, the CPU's branch prediction would learn where its
            // zeros are.
            let mut batches = all.axis_chunks_iter(Axis(0), rows).cycle();
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(format!("CPU, {rows}"), |bencher| {
                bencher.iter(|| {
                    on_cpu
                        .predict(batches.next().expect("rows"))
                        .expect("outputs")[(0, 0)]
                });
            });
            group.bench_function(format!("GPU, {rows}"), |bencher| {
                bencher.iter(|| {
                    on_gpu
                        .predict(batches.next().expect("rows"))
                        .expect("outputs")[(0, 0)]
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, predicting);
criterion_main!(benches);
