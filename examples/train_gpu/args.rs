use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::num::{IntErrorKind, ParseIntError};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Parser, ValueEnum};
use wgrad::data::{Sampling, mnist};
use wgrad::ops::{Loss, SoftmaxCrossEntropy};
use wgrad::{Error, Fusion, files};

use crate::common::DataArgs;
use crate::common::data::Source;
use crate::network::{Network, NetworkArgs};
use crate::optimizer::OptimizerArgs;
use crate::outputs::is_stream;
use crate::processes;

/// Trains a network on MNIST; without options, the two-layer network of "Deep Learning from Scratch", chapter 5.
#[derive(Debug, Parser)]
#[command(name = "train_gpu", version, allow_negative_numbers = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) data: DataArgs,

    /// Where to compute: `gpu` is any Vulkan, Metal or DX12 adapter, `cpu` the CPU engine. `auto` takes a hardware GPU
    /// if there is one, otherwise the CPU engine, which is faster than a software driver; with `--plan layers` or
    /// `--plan fused`, it always runs the shaders
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    pub(crate) device: DeviceChoice,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    /// Minibatches to train on, including those before `--resume`. Default: 10,000 for `--network two-layer`, 12,000
    /// for the others
    #[arg(long, value_parser = whole::<usize>)]
    steps: Option<usize>,

    /// Examples per minibatch
    #[arg(long, default_value_t = 100, value_parser = whole::<usize>)]
    pub(crate) batch: usize,

    #[command(flatten)]
    pub(crate) optimizer: OptimizerArgs,

    /// How a step is divided into GPU dispatches: `fused` takes two dispatches, if the network allows it, `layers` at
    /// least one per layer; `auto` takes the faster plan
    #[arg(long, value_enum, default_value_t = Plan::Auto)]
    pub(crate) plan: Plan,

    /// Label smoothing: fraction of each label's probability that is spread over all classes equally, 0 to 1. Default:
    /// 0
    #[arg(long, value_name = "SHARE", value_parser = number::<f32>)]
    label_smoothing: Option<f32>,

    /// Seed of initial weights and minibatches
    #[arg(long, default_value_t = 42, value_parser = whole::<u64>)]
    pub(crate) seed: u64,

    /// Steps between evaluations; 0 evaluates only at the end
    #[arg(long, default_value_t = 600, value_parser = whole::<usize>)]
    pub(crate) eval_every: usize,

    /// End early when the test accuracy has not risen above its best in this many evaluations in a row; those before
    /// `--resume` do not count
    #[arg(long, value_name = "EVALUATIONS", value_parser = whole::<usize>)]
    pub(crate) patience: Option<usize>,

    /// Save the training to this file at every evaluation, at the end, and on interruption; a diverged training is not
    /// saved
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) save: Option<PathBuf>,

    /// Continue the training in this file, which `--save` has written; all options that affect steps must be the same
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) resume: Option<PathBuf>,

    /// Write a line `step,loss` to this file for every step of this run, without a header; with `--resume`, append
    #[arg(long, value_name = "FILE.csv")]
    pub(crate) losses: Option<PathBuf>,

    /// Write a line with a JSON object to this file for every evaluation of this run; with `--resume`, append. The
    /// object has the step, the mean loss of the minibatches since the last evaluation, loss and accuracy on both data
    /// sets, and the seconds that this run's steps have taken so far
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) log: Option<PathBuf>,

    /// Plot training loss and test accuracy of this run's evaluations to this file at the end
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,

    /// Draw the most confidently misclassified test digits to this file at the end, each with its label, the predicted
    /// class and that class's probability
    #[arg(long, value_name = "FILE.png")]
    pub(crate) samples: Option<PathBuf>,

    /// Print precision, recall and F1 of every class of the test data at the end, with the confusion matrix
    #[arg(long)]
    pub(crate) confusion: bool,

    /// Divide each step among the processes that `mpirun` has started; the first process prints, draws and saves
    #[cfg(all(feature = "mpi", unix))]
    #[arg(long)]
    pub(crate) mpi: bool,

    /// Number of parts into which each minibatch is split for the processes, at least the number of processes. The same
    /// number of shards gives the same bits with any number of processes
    #[cfg(all(feature = "mpi", unix))]
    #[arg(long, default_value_t = 4, requires = "mpi", value_parser = whole::<usize>)]
    pub(crate) shards: usize,

    /// Let each process take this many steps by itself before parameters are averaged
    #[cfg(all(feature = "mpi", unix))]
    #[arg(long, value_name = "STEPS", requires = "mpi", value_parser = whole::<usize>)]
    pub(crate) local_steps: Option<usize>,

    /// Average gradients for this many steps, then begin with local steps
    #[cfg(all(feature = "mpi", unix))]
    #[arg(long, value_name = "STEPS", default_value_t = 0, requires = "local_steps", value_parser = whole::<usize>)]
    pub(crate) local_after: usize,

    /// Print only the data set and the last line
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DeviceChoice {
    Auto,
    Gpu,
    Cpu,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Plan {
    Auto,
    Layers,
    Fused,
}

impl From<Plan> for Fusion {
    fn from(plan: Plan) -> Self {
        match plan {
            Plan::Auto => Self::Auto,
            Plan::Layers => Self::Layers,
            Plan::Fused => Self::Fused,
        }
    }
}

/// Parses the value of an option that takes a whole number.
pub(crate) fn whole<T: FromStr<Err = ParseIntError>>(text: &str) -> Result<T, &'static str> {
    text.parse()
        .map_err(|error: ParseIntError| match error.kind() {
            IntErrorKind::PosOverflow => "expected a whole number below 2^64",
            _ => "expected a whole number such as 1000000, written with digits alone",
        })
}

/// Parses the value of an option that takes a real number.
pub(crate) fn number<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse()
        .map_err(|_| "expected a number such as 0.1 or 1e-3")
}

/// Formats a number for a message. Very large and very small numbers have an exponent, for example `1e30`, instead of
/// many zeros.
pub(crate) fn shown(number: impl fmt::Debug) -> String {
    let text = format!("{number:?}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// In an error of the library, replaces the name of a setting by the command-line option that sets it.
pub(crate) fn with_option(error: Error, options: &[(&str, &str)]) -> Error {
    match error {
        Error::Setting {
            name,
            expected,
            found,
        } => {
            let option = options.iter().find(|(setting, _)| *setting == name);
            setting(option.map_or(&*name, |(_, option)| option), expected, found)
        }
        error => error,
    }
}

pub(crate) fn setting(option: &str, expected: String, found: impl ToString) -> Error {
    Error::Setting {
        name: option.to_owned(),
        expected,
        found: found.to_string(),
    }
}

/// Whether the file's name is a name that files of data sets have: it ends with `ubyte` or `ubyte.gz`.
fn has_name_of_data(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or("");
    name.strip_suffix(".gz").unwrap_or(name).ends_with("ubyte")
}

impl Args {
    /// Checks all options as far as possible without data and without a device.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let must_be = |option, expected, found: usize| Err(setting(option, expected, found));
        if self.steps() == 0 {
            let expected =
                "at least 1, and with --resume more than the number of steps in the file";
            return must_be("--steps", expected.to_owned(), 0);
        }
        if self.batch == 0 {
            let expected = "at least 1 and at most the number of training examples";
            return must_be("--batch", expected.to_owned(), 0);
        }
        #[cfg(all(feature = "mpi", unix))]
        self.check_sharing()?;
        self.network.check()?;
        self.check_smoothing()?;
        self.check_files()?;
        if self.patience == Some(0) {
            let expected = "at least 1, or left out";
            return must_be("--patience", expected.to_owned(), 0);
        }
        if let (Some(patience), 0) = (self.patience, self.eval_every) {
            let expected = "left out with --eval-every 0, which evaluates at the end only";
            return must_be("--patience", expected.to_owned(), patience);
        }
        self.optimizer.check(self.steps())
    }

    fn check_smoothing(&self) -> Result<(), Error> {
        let option = "--label-smoothing";
        let smoothing = self.label_smoothing.unwrap_or_default();
        if smoothing != 0.0 && matches!(self.plan, Plan::Fused) {
            let expected = "left out with --plan fused, which does not support it";
            return Err(setting(option, expected.to_owned(), shown(smoothing)));
        }
        let checked = self.loss().check(1);
        checked.map_err(|error| with_option(error, &[("label smoothing", option)]))
    }

    /// Lists the files in the directories from which this run may read data, if their names are names of data files.
    fn data_files(&self) -> impl Iterator<Item = PathBuf> {
        let named = env::var_os("MNIST_DIR").map(PathBuf::from);
        let places = match &self.data.data {
            Some(Source::Synthetic) => [None, None],
            // If the path ends with a prefix of file names, the files are in its parent directory. The path is joined
            // with `.`, so that a path without a directory, such as `emnist-letters`, has a parent.
            Some(Source::Files(path)) => {
                let above = Path::new(".").join(path);
                [Some(path.clone()), above.parent().map(Path::to_owned)]
            }
            None => [named, mnist::cache_dir()],
        };
        let entries = places
            .into_iter()
            .flatten()
            .filter_map(|place| fs::read_dir(place).ok());
        let files = entries.flatten().flatten().map(|entry| entry.path());
        files.filter(|path| has_name_of_data(path))
    }

    /// Checks that no output file overwrites another file of this run, and that each output file has the right
    /// extension.
    fn check_files(&self) -> Result<(), Error> {
        let outputs = [
            ("--save", &self.save, None),
            ("--losses", &self.losses, None),
            ("--log", &self.log, None),
            ("--plot", &self.plot, Some("svg")),
            ("--samples", &self.samples, Some("png")),
        ];
        let mut others = vec![
            ("standard output", PathBuf::from("/dev/stdout")),
            ("standard error", PathBuf::from("/dev/stderr")),
        ];
        let data: Vec<_> = self.data_files().collect();
        // Only --save may name the same file as --resume: the newer training replaces the older one.
        for (option, path, ending) in outputs {
            let Some(path) = path else { continue };
            let wrong = |expected: String| {
                let found = path.display().to_string();
                Err(setting(option, expected, found))
            };
            let is_same = |other: &Path| !is_stream(path) && files::are_same(other, path);
            if let Some((other, _)) = others.iter().find(|(_, other)| is_same(other)) {
                return wrong(format!("a different file from that of {other}"));
            }
            if option != "--save" && self.resume.as_deref().is_some_and(is_same) {
                return wrong("a different file from that of --resume".to_owned());
            }
            if has_name_of_data(path) || data.iter().any(|file| is_same(file)) {
                return wrong("a file that does not belong to a data set".to_owned());
            }
            let found = path.extension().and_then(OsStr::to_str);
            if let (Some(ending), Some(found)) = (ending, found)
                && !found.eq_ignore_ascii_case(ending)
            {
                return wrong(format!("a file whose name ends in .{ending}"));
            }
            others.push((option, path.clone()));
        }
        Ok(())
    }

    /// Returns the loss that training minimizes and that evaluations report.
    pub(crate) fn loss(&self) -> Box<dyn Loss> {
        match self.label_smoothing {
            None | Some(0.0) => Box::new(SoftmaxCrossEntropy),
            Some(smoothing) => Box::new(SoftmaxCrossEntropy.label_smoothing(smoothing)),
        }
    }

    /// Describes the loss in one line, if it is not the default.
    pub(crate) fn loss_description(&self) -> Option<String> {
        let smoothing = self.label_smoothing.filter(|&smoothing| smoothing != 0.0);
        smoothing.map(|smoothing| format!("loss: labels smoothed by {}", shown(smoothing)))
    }

    /// Returns the sampling: each example of a minibatch is drawn uniformly from all examples.
    pub(crate) fn sampling(&self) -> Sampling {
        Sampling::WithReplacement { seed: self.seed }
    }

    /// Checks that minibatches of the requested size can be drawn from a data set with `examples` examples.
    pub(crate) fn check_batch(&self, examples: usize) -> Result<(), Error> {
        let checked = self.sampling().check(examples, self.batch);
        checked.map_err(|error| with_option(error, &[("batch", "--batch")]))
    }

    /// Number of steps of the training, including the steps taken before a resume.
    pub(crate) fn steps(&self) -> usize {
        self.steps.unwrap_or(self.network.network.steps())
    }

    /// Shards per minibatch. Without `--mpi`, a minibatch is one shard.
    pub(crate) fn shards(&self) -> usize {
        #[cfg(all(feature = "mpi", unix))]
        if self.mpi {
            return self.shards;
        }
        1
    }

    /// Rows per shard of a minibatch.
    pub(crate) fn rows(&self) -> usize {
        self.batch / self.shards()
    }

    /// Number of local steps between two averages of the parameters, after `taken` steps of the training. Returns 1
    /// while the processes average gradients instead.
    pub(crate) fn local_steps(&self, taken: usize) -> usize {
        match self.local_after() {
            Some(first) if taken >= first => self.between_means(),
            _ => 1,
        }
    }

    /// Checks that `taken`, the step at which the training resumes, is a multiple of the local steps. Otherwise the
    /// processes would have different parameters at an evaluation.
    pub(crate) fn check_resumed(&self, taken: usize) -> Result<(), Error> {
        let steps = self.local_steps(taken);
        if taken.is_multiple_of(steps) {
            return Ok(());
        }
        let expected = format!(
            "a number that divides the {taken} steps of the --resume file, or any number with --local-after above {taken}"
        );
        Err(setting("--local-steps", expected, steps))
    }

    /// The value of `--local-steps`, or 1.
    fn between_means(&self) -> usize {
        #[cfg(all(feature = "mpi", unix))]
        if let Some(steps) = self.local_steps {
            return steps;
        }
        1
    }

    /// Number of steps after which local steps begin. `None` without `--local-steps`.
    pub(crate) fn local_after(&self) -> Option<usize> {
        #[cfg(all(feature = "mpi", unix))]
        if self.local_steps.is_some() {
            return Some(self.local_after);
        }
        None
    }

    /// Returns these arguments for a process other than the first one: without any output.
    #[cfg(all(feature = "mpi", unix))]
    pub(crate) fn silent(self) -> Self {
        Self {
            save: None,
            losses: None,
            log: None,
            plot: None,
            samples: None,
            confusion: false,
            quiet: true,
            ..self
        }
    }

    #[cfg(all(feature = "mpi", unix))]
    fn check_sharing(&self) -> Result<(), Error> {
        let shards = self.shards();
        if shards == 0 {
            let expected = "at least 1, and at least the number of processes".to_owned();
            return Err(setting("--shards", expected, shards));
        }
        if !self.batch.is_multiple_of(shards) {
            let expected = format!(
                "a multiple of the {shards} --shards, because each shard has the same number of rows"
            );
            return Err(setting("--batch", expected, self.batch));
        }
        let local = self.between_means();
        if local == 0 {
            return Err(setting("--local-steps", "at least 1".to_owned(), local));
        }
        for (option, steps) in [
            ("--steps", self.steps()),
            ("--eval-every", self.eval_every),
            ("--local-after", self.local_after),
        ] {
            if !steps.is_multiple_of(local) {
                let expected = format!("a number that divides {option}, which is {steps}");
                return Err(setting("--local-steps", expected, local));
            }
        }
        Ok(())
    }

    /// Parses the command line, and sets the defaults that depend on the network.
    pub(crate) fn read() -> Self {
        let mut args = Self::try_parse().unwrap_or_else(|error| processes::refuse(&error));
        if args.network.network != Network::TwoLayer {
            // The book trains both convolutional networks with Adam.
            args.optimizer.default_to_adam();
        }
        args
    }
}
