//! Where the time of a step goes: each of its dispatches alone, and all of them, with and without bounds
//! checks: `cargo bench --bench dispatches`.
//!
//! A dispatch alone runs again and again, each time after the one before it is done. So its time has in
//! it what starting it costs, and what it reads lies in caches that another dispatch of the step would
//! have filled with something else. `host` is what the CPU takes to encode and submit it: where that is
//! nearly all of the time, the device waits for the CPU, or is one, as software drivers at times work
//! inside of a submit. `checked` are the same kernels with the checks that WebGPU asks for
//! ([`wgrad::gpu::GpuBuilder::bounds_checks`]). All are medians, in µs.
#![allow(clippy::expect_used, missing_docs)]

mod common;

use std::time::{Duration, Instant};

use wgrad::plan::Plan;
use wgrad::plumbing::step_plan;
use wgrad::{Error, Fusion, Gpu};

use common::{Job, digits, flops_per_submit, jobs, trainer};

/// Long enough for the clock, and for a submit to cost little of it.
const SAMPLE: Duration = Duration::from_millis(20);
const SAMPLES: usize = 7;
/// Of one submit: few, so that the device soon has work, and an operating system does not take it for hung.
const DISPATCHES: usize = 250;

/// What running a plan once costs, in µs: altogether, and of that on the CPU.
#[derive(Clone, Copy)]
struct Cost {
    all: f64,
    host: f64,
}

/// Runs a plan so many times and waits for the last.
fn run(gpu: &Gpu, plan: &Plan, times: usize) -> Cost {
    let by_flops =
        usize::try_from(flops_per_submit(gpu) / plan.flops().max(1)).unwrap_or(usize::MAX);
    let per_submit = (DISPATCHES / plan.len()).min(by_flops).max(1);
    let (started, mut host) = (Instant::now(), Duration::ZERO);
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

/// How many runs take as long as a sample should.
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

/// The same plan on both devices, in turns.
fn row(gpus: &[Gpu; 2], plans: [&Plan; 2], what: &str) -> f64 {
    let times = times(&gpus[0], plans[0]).max(times(&gpus[1], plans[1]));
    let samples = (0..SAMPLES).map(|_| [0, 1].map(|i| run(&gpus[i], plans[i], times)));
    let (trusted, checked): (Vec<_>, Vec<_>) = samples.map(|[a, b]| (a, b)).unzip();
    let of = |costs: &[Cost], part: fn(&Cost) -> f64| median(costs.iter().map(part).collect());
    let all = of(&trusted, |cost| cost.all);
    println!(
        "{all:>10.2} {:>10.2} {:>10.2}  {what}",
        of(&trusted, |cost| cost.host),
        of(&checked, |cost| cost.all)
    );
    all
}

fn table(gpus: &[Gpu; 2], job: &Job, fusion: Fusion) -> Result<(), Error> {
    let digits = digits();
    let trainers = [
        trainer(&gpus[0], job, &digits, fusion)?,
        trainer(&gpus[1], job, &digits, fusion)?,
    ];
    println!(
        "\n{}, {fusion:?}\n{:>10} {:>10} {:>10}",
        job.name, "µs", "host", "checked"
    );
    let plans = trainers.each_ref().map(step_plan);
    let [Some(trusted), Some(checked)] = plans else {
        return Ok(());
    };
    // First, as a dispatch alone takes the same step again and again, until weights overflow.
    row(gpus, [trusted, checked], "the step");
    let mut sum = 0.0;
    for (single, with_checks) in trusted.singles().zip(checked.singles()) {
        let line = single.to_string();
        let what = line.lines().next().unwrap_or_default();
        sum += row(gpus, [&single, &with_checks], what);
    }
    println!(
        "{sum:>10.2} {:>10} {:>10}  the sum of the dispatches",
        "", ""
    );
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
