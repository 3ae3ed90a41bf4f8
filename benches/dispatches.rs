//! Profiles a training step on a GPU: `cargo bench --bench dispatches`. Prints one line for the whole step and one line
//! per dispatch. All times are medians in µs, in these columns:
//!
//! - `µs`: time of the whole step, or of the dispatch run alone. A dispatch that is run alone is repeated, and each run
//!   starts after the previous run is done. So this time includes the cost of starting the dispatch. It also profits
//!   from caches that still hold its inputs; in a step, the other dispatches fill the caches with other data.
//! - `within`: time of the whole step minus the time of the step without this dispatch. So it includes the effects on
//!   the neighboring dispatches.
//! - `host`: time in which the CPU encodes and submits. If it is nearly all of the time, the GPU waits for the CPU, or
//!   the device is a software driver that computes inside the submit.
//! - `checked`: time with WebGPU's bounds checks in the kernels ([`wgrad::gpu::GpuBuilder::bounds_checks`]).
#![allow(clippy::expect_used, missing_docs)]

mod common;

use std::array;
use std::time::{Duration, Instant};

use wgrad::plan::Plan;
use wgrad::plumbing::{leaving_one_out, step_plan};
use wgrad::{Error, Fusion, Gpu};

use common::{Job, digits, flops_per_submit, jobs, trainer};

/// Shortest duration of a sample. It is long compared with the clock's resolution and the cost of a submit.
const SAMPLE: Duration = Duration::from_millis(20);
const SAMPLES: usize = 7;
/// Maximum number of dispatches per submit. It is small, so that the device starts early, and so that the operating
/// system does not reset the device because a submit takes too long.
const DISPATCHES: usize = 250;

/// The cost of running a plan once, in µs: the whole time, and the part in which the CPU encodes and submits.
#[derive(Clone, Copy)]
struct Cost {
    all: f64,
    host: f64,
}

/// Runs a plan `times` times and waits for the last run. Returns the mean cost of a run.
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

/// Returns how many runs of the plan take at least [`SAMPLE`].
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

/// Returns the median cost of each plan. A plan comes with the index of its device in `gpus`. The samples of the plans
/// alternate, so that changes of the clock rate affect all of them equally.
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
    // Measure the whole step first. The repeated runs of a single dispatch below apply the same update again and again,
    // until the weights overflow.
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
