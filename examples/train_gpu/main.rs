//! Trains the two-layer network of "Deep Learning from Scratch", chapter 5, on MNIST: 784 → 50 → 10 with `Relu` and
//! softmax cross-entropy, by SGD with learning rate 0.1 on 10,000 minibatches of 100 examples drawn uniformly with
//! replacement.
//!
//! ```text
//! cargo run --release --example train_gpu
//! cargo run --release --example train_gpu -- --data synthetic --device cpu --hidden 100,50
//! cargo run --release --example train_gpu -- --network simple-conv
//! ```
//!
//! `--network simple-conv` and `deep-conv` are the convolutional networks of chapters 7 and 8, trained by Adam with
//! learning rate 0.001 on 12,000 minibatches.
//!
//! With `--features mpi`, several processes can train together: `mpirun -n 2 target/release/examples/train_gpu --mpi`.
//!
//! Standard output describes the data set and the training, and reports the progress. The first line and the second to
//! last line name the data set. The last line is for other programs to parse. It has `key=value` pairs separated by
//! spaces:
//!
//! ```text
//! device=… steps=… train_s=… total_s=… steps_per_s=… train_accuracy=… test_accuracy=…
//! ```
//!
//! `device` is the adapter's name with `_` for every space, or `cpu`. `steps` includes the steps before `--resume`;
//! `train_s`, `total_s` and `steps_per_s` cover only this run. `train_s` is the time of the steps in seconds. `total_s`
//! is the time in seconds from the upload of the data set until the last evaluation or requested output is done.
//! Accuracies are fractions, 0 to 1. With `--quiet`, only the first line and the last two lines are printed, and the
//! table of `--confusion` if it is requested.
//!
//! Messages go to standard error. The exit code shows how the run has ended. The last two lines of standard output are
//! printed only if the exit code is 0.
//!
//! | code | |
//! |---|---|
//! | 0 | all steps, or as many as `--patience` allowed, were taken, and all requested output is written |
//! | 1 | the run has failed, for the reason in the message |
//! | 2 | the command line is invalid |
//! | 130 | the run was interrupted, by a signal or because standard output was closed (`| head`) |
//!
//! If the training diverges, in a step or in an evaluation, the run fails. The file of `--save` then still has the
//! training as saved after the last evaluation with a finite loss.
//!
//! If the training is interrupted, or an output can no longer be written, the program saves the training before it
//! ends, so that `--resume` can continue it. It also does so if it is interrupted while nothing reads its output.
//!
//! These signals interrupt the training: `SIGINT` (Ctrl-C), `SIGTERM` and `SIGHUP`; and `SIGUSR1`, `SIGUSR2` and
//! `SIGXCPU`, by which batch systems announce the end of a job's time. A signal that is ignored when the program
//! starts, for example because of `nohup`, stays ignored. If one of the first three arrives more than a second after
//! the first signal, the program ends at once, and prints which file has the training. Before training begins, a signal
//! ends the program at once without such a message.

mod args;
mod engine;
mod font;
mod interruption;
mod lines;
mod log;
mod losses;
mod network;
mod optimizer;
mod outputs;
mod plot;
mod processes;
mod samples;
mod saving;
mod training;

#[path = "../common/mod.rs"]
mod common;

use std::process::ExitCode;
use std::time::Instant;

use wgrad::{Error, Sequential};

use args::Args;
use common::output::escaped;
use common::{Failure, line};
use log::{LogFile, decimals};
use losses::LossFile;
use plot::Plot;
use processes::Processes;
use samples::Samples;
use training::{Files, Outcome, Training};

fn main() -> ExitCode {
    #[cfg(unix)]
    interruption::survive_size_limit();
    let args = Args::read();
    common::run(|| processes::run(args, train))
}

fn train(args: &Args, processes: &Processes) -> Result<(), Failure> {
    args.check()?;
    let files = Files {
        losses: args.losses.as_deref().map(LossFile::open).transpose()?,
        log: args.log.as_deref().map(LogFile::open).transpose()?,
        plot: args.plot.as_deref().map(Plot::open).transpose()?,
        samples: args.samples.as_deref().map(Samples::open).transpose()?,
    };
    args.save.as_deref().map(saving::check).transpose()?;
    let open = || engine::open(args, processes.of_host());
    let (device, data) = common::load(&args.data, args.quiet, open)?;
    let spec = args.network.spec(&data.split.train, args.seed);
    args.check_batch(data.split.train.len())?;

    let speak = |text: String| {
        if processes.leads() {
            line(text)
        } else {
            Ok(())
        }
    };
    speak(escaped(&data.description()))?;
    if !args.quiet {
        line(format!("device: {device}"))?;
        line(describe(&spec, args)?)?;
        line(args.optimizer.description(args.steps()))?;
        if let Some(description) = args.loss_description() {
            line(description)?;
        }
    }
    let started = Instant::now();
    let name = device.name().to_owned();
    let build = || engine::build(&device, &spec, (args, args.rows()), &data.split.train);
    let mut engine = build().map_err(with_option)?;
    if args.shards() > 1 {
        engine.accumulate(args.shards()).map_err(with_option)?;
    }
    processes.check_options(args)?;
    let shared = processes.share(&mut *engine, args, 0);
    shared.map_err(with_shards)?;
    let before = saving::resume(&mut *engine, args)?;
    args.check_resumed(before)?;
    if !args.quiet && device.gpu().is_some() {
        line(format!("plan: {}", engine.plan_in_words()))?;
    }
    if let Some(description) = processes.description(args).filter(|_| !args.quiet) {
        line(description)?;
    }
    let mut training = Training::new((args, processes), engine, &data.split, files, before)?;
    interruption::listen();
    let ended = training.run().and_then(|outcome| {
        let total_s = started.elapsed().as_secs_f64();
        speak(escaped(&format!("results are for {}", data.name)))?;
        speak(last_line(&name, &outcome, total_s))
    });
    ended.map_err(|failure| training.explain(failure))
}

/// Extends an error message of the library by the option of this program that avoids the error.
fn with_option(error: Error) -> Failure {
    match error {
        Error::Plan(_) => Failure::Message(format!("{error} (here: --plan auto or --plan layers)")),
        error => error.into(),
    }
}

/// In an error about steps shared by processes, replaces the name of the library's setting by the option that sets it.
fn with_shards(error: Error) -> Error {
    let error = match error {
        Error::Setting {
            name,
            expected,
            found,
        } => Error::Setting {
            name,
            expected: expected.trim_end_matches(": see accumulate").to_owned(),
            found,
        },
        error => error,
    };
    let options = [
        ("minibatches of a step", "--shards"),
        ("local steps", "--local-steps"),
    ];
    args::with_option(error, &options)
}

fn describe(spec: &Sequential, args: &Args) -> Result<String, Error> {
    let summary = spec.summary()?;
    let start = args.network.start();
    let mut lines = vec![format!("network: {} inputs; {start}", summary.features)];
    for (i, layer) in summary.layers.iter().enumerate() {
        let name = &layer.name;
        let count = layer.parameters;
        lines.push(format!("  layers.{i} {name:<14} {count:>9} parameters"));
    }
    let total = summary.parameters();
    lines.push(format!("  total {:<17} {total:>9} parameters", ""));
    Ok(lines.join("\n"))
}

fn last_line(device: &str, outcome: &Outcome, total_s: f64) -> String {
    let Outcome {
        steps,
        taken,
        train_s,
        train_accuracy,
        test_accuracy,
    } = outcome;
    let device: Vec<_> = device.split_whitespace().collect();
    format!(
        "device={} steps={steps} train_s={train_s:.3} total_s={total_s:.3} steps_per_s={:.1} \
         train_accuracy={} test_accuracy={}",
        device.join("_"),
        *taken as f64 / train_s,
        decimals(*train_accuracy),
        decimals(*test_accuracy)
    )
}
