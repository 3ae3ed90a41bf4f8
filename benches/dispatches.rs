//! Profiles a step: the time of each of its dispatches alone, and of the whole step, with and without bounds checks:
//! `cargo bench --bench dispatches`.
//!
//! A dispatch alone runs again and again, each time after its predecessor is done. Its time therefore includes the
//! cost of starting it. Its inputs also lie in caches that the step's other dispatches would have filled with other
//! data. `within` is the time of the whole step minus the time of the step without this dispatch; it includes all
//! effects on the neighboring dispatches. `host` is the time that the CPU takes to encode and submit. If it is
//! nearly all of the time, either the device waits for the CPU, or the device is the CPU: software drivers sometimes
//! work inside of a submit. `checked` are the same kernels with WebGPU's bounds checks
//! ([`wgrad::gpu::GpuBuilder::bounds_checks`]). All numbers are medians, in µs.
#![allow(clippy::expect_used, missing_docs)]

mod common;

use std::array;
use std::time::{Duration, Instant};

use wgrad::plan::Plan;
use wgrad::plumbing::{leaving_one_out, step_plan};
use wgrad::{Error, Fusion, Gpu};

use common::{Job, digits, flops_per_submit, jobs, trainer};

/// Long enough for the clock's resolution, and to make the cost of a submit negligible.
const SAMPLE: Duration = Duration::from_millis(20);
const SAMPLES: usize = 7;
/// Dispatches per submit: few, so that the device starts early and the operating system does not take it for hung.
const DISPATCHES: usize = 250;

/// The cost of running a plan once, in µs: in all, and the CPU's part.
#[derive(Clone, Copy)]
struct Cost {
    all: f64,
    host: f64,
}

/// Runs a plan `times` times and waits for the last run.
fn run(gpu: &Gpu, plan: &Plan, times: usize) -> Cost {
    let by_flops =
        usize::try_from(flops_per_submit(gpu) / plan.flops().max(1)).unwrap_or(usize::MAX);
    let per_submit = (DISPATCHES / plan.len()).min(by_flops).max(1);
    let started = Instant::now();
    let mut host = Duration::ZERO;
    for first in (0..times).step_by(per_submit) {
        let submitting = Instant::now();
        let now = per_submit.min(times - first);
        gpu.submit(plan, now).expect("submitting");
        host += submitting.elapsed();
    }
    gpu.wait(None).expect("waiting");
    let of_one = |time: Duration| 1e6 * time.as_secs_f64() / times as f64;
    Cost {
        all: of_one(started.elapsed()),
        host: of_one(host),
    }
}

/// The number of runs that take as long as a sample should.
fn times(gpu: &Gpu, plan: &Plan) -> usize {
    run(gpu, plan, 1);
    let mut times = 1;
    while run(gpu, plan, times).all * (times as f64) < 1e6 * SAMPLE.as_secs_f64() {
        times *= 2;
    }
    times
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The median cost of each plan, on the device with the given index. The plans take turns.
fn costs<const PLANS: usize>(gpus: &[Gpu; 2], plans: [(usize, &Plan); PLANS]) -> [Cost; PLANS] {
    let times = plans.map(|(at, plan)| times(&gpus[at], plan));
    let samples: Vec<_> = (0..SAMPLES)
        .map(|_| {
            array::from_fn(|i| {
                let (at, plan) = plans[i];
                run(&gpus[at], plan, times[i])
            })
        })
        .collect::<Vec<[Cost; PLANS]>>();
    let of = |i: usize, part: fn(&Cost) -> f64| {
        median(samples.iter().map(|costs| part(&costs[i])).collect())
    };
    array::from_fn(|i| Cost {
        all: of(i, |cost| cost.all),
        host: of(i, |cost| cost.host),
    })
}

fn table(gpus: &[Gpu; 2], job: &Job, fusion: Fusion) -> Result<(), Error> {
    let digits = digits();
    let trainers = [
        trainer(&gpus[0], job, &digits, fusion)?,
        trainer(&gpus[1], job, &digits, fusion)?,
    ];
    println!(
        "\n{}, {fusion:?}\n{:>10} {:>10} {:>10} {:>10}",
        job.name, "µs", "within", "host", "checked"
    );
    let plans = trainers.each_ref().map(step_plan);
    let [Some(step), Some(step_checked)] = plans else {
        return Ok(());
    };
    // Measured first: a dispatch alone takes the same step again and again, until weights overflow.
    let [trusted, checked] = costs(gpus, [(0, step), (1, step_checked)]);
    println!(
        "{:>10.2} {:>10} {:>10.2} {:>10.2}  the step",
        trusted.all, "", trusted.host, checked.all
    );
    let mut sum = 0.0;
    let singles = step.singles().zip(step_checked.singles());
    for ((single, with_checks), others) in singles.zip(leaving_one_out(step)) {
        let plans = [(0, &single), (1, &with_checks), (0, step), (0, &others)];
        let [alone, checked, all, rest] = costs(gpus, plans);
        let line = single.to_string();
        println!(
            "{:>10.2} {:>10.2} {:>10.2} {:>10.2}  {}",
            alone.all,
            all.all - rest.all,
            alone.host,
            checked.all,
            line.lines().next().unwrap_or_default()
        );
        sum += alone.all;
    }
    println!("{sum:>10.2} {:>32}  the sum of the dispatches", "");
    Ok(())
}

fn main() {
    let gpus = [Gpu::builder(), Gpu::builder().bounds_checks()]
        .map(|builder| builder.build().expect("a GPU or a software driver"));
    println!("adapter: {}", gpus[0].description());
    for job in jobs() {
        for fusion in [Fusion::Fused, Fusion::Layers] {
            match table(&gpus, &job, fusion) {
                Err(Error::Plan(unfused)) => println!("\n{}: not fused: {unfused}", job.name),
                result => result.expect("a table"),
            }
        }
    }
}
