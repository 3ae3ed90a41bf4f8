use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread;

use clap::builder::{OsStringValueParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use wgrad::Error;
use wgrad::data::{DataError, Split, mnist, synthetic};

use super::Failure;

/// Seed of the synthetic digits. It is the same in all runs, so that their results can be compared.
const SYNTHETIC_SEED: u64 = 1;

/// The data set to use.
#[derive(Debug, clap::Args)]
pub(crate) struct DataArgs {
    /// Data set: a directory with the four IDX files of MNIST, plain or gzipped; if it holds several data sets, like
    /// EMNIST's, the directory and a data set's name (`emnist/emnist-letters`); or `synthetic` for built-in digits
    /// drawn from a fixed seed (write `./synthetic` for a directory of that name). Default: the directory in the
    /// environment variable `MNIST_DIR`, otherwise the user's cache directory, into which MNIST is downloaded if
    /// necessary; if that fails, synthetic digits
    #[arg(long, value_name = "DIR|synthetic", value_parser = OsStringValueParser::new().try_map(Source::new))]
    pub(crate) data: Option<Source>,

    /// Accept other data sets in the format of MNIST, for example Fashion-MNIST or EMNIST. The labels determine the
    /// number of classes; if they count from 1, label 1 becomes class 0
    #[arg(long)]
    pub(crate) unverified: bool,

    /// Smallest and largest label of a data set other than MNIST, for example 1-26. All labels must be in this range,
    /// but not every label needs an example. The smallest label becomes class 0. Works without --unverified
    #[arg(long, value_name = "FIRST-LAST")]
    pub(crate) labels: Option<Labels>,
}

impl DataArgs {
    /// Returns the number of classes that the options imply, before the data is read.
    #[allow(dead_code, reason = "of programs that compile for them meanwhile")]
    pub(crate) fn expected_classes(&self) -> usize {
        match &self.labels {
            Some(Labels(labels)) => labels.len(),
            None => mnist::CLASSES,
        }
    }
}

/// The range of labels that a data set may have.
#[derive(Debug, Clone)]
pub(crate) struct Labels(RangeInclusive<u8>);

impl FromStr for Labels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ends = text.split_once('-');
        let ends = ends.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        match ends {
            Some((first, last)) if first <= last => Ok(Self(first..=last)),
            _ => Err(
                "expected the smallest and the largest label, from 0 to 255, such as 1-26"
                    .to_owned(),
            ),
        }
    }
}

/// The data set that the user requested.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Synthetic digits, which the program draws.
    Synthetic,
    /// Four IDX files: their directory, or the directory followed by the prefix of the file names.
    Files(PathBuf),
}

impl Source {
    /// Parses the option's value. It is an `OsString`, because file names need not be UTF-8.
    fn new(name: OsString) -> Result<Self, &'static str> {
        match name.to_str() {
            Some("") => Err("--data is empty: name a directory, or synthetic"),
            Some("synthetic") => Ok(Self::Synthetic),
            _ => Ok(Self::Files(name.into())),
        }
    }
}

/// A data set with its name and origin.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) split: Split,
    /// Name of the data set, for example `MNIST`.
    pub(crate) name: String,
    /// The label in the files that becomes class 0.
    first_label: u8,
    origin: String,
}

impl Data {
    fn new(split: Split, first_label: u8, origin: String) -> Self {
        let train = split.train.name();
        let name = train.strip_suffix(" train").unwrap_or(train).to_owned();
        Self {
            split,
            name,
            first_label,
            origin,
        }
    }

    /// Describes the data set in one line: name, numbers of examples, features and classes, and origin.
    pub(crate) fn description(&self) -> String {
        let Split { train, test } = &self.split;
        let numbered = match self.first_label {
            0 => String::new(),
            first => format!(" (label {first} is class 0)"),
        };
        let classes = match train.labels().classes() {
            1 => "1 class".to_owned(),
            classes => format!("{classes} classes"),
        };
        format!(
            "data: {}, {} training and {} test examples of {} features in {classes}{numbered}, {}",
            self.name,
            train.len(),
            test.len(),
            train.width(),
            self.origin
        )
    }
}

/// Opens a device with `open`, and reads the requested data set from disk at the same time. If no data set was
/// requested, this is MNIST. If MNIST is not on this machine, downloads it or, if that fails, draws synthetic digits.
/// The download starts only after the device is open, so that a missing device is reported first.
pub(crate) fn load<D>(
    args: &DataArgs,
    quiet: bool,
    open: impl FnOnce() -> Result<D, Error>,
) -> Result<(D, Data), Failure> {
    let (device, read) = thread::scope(|scope| {
        let read = scope.spawn(|| read(args));
        let device = open();
        (
            device,
            read.join().unwrap_or_else(|panic| resume_unwind(panic)),
        )
    });
    let device = device?;
    let data = read?.unwrap_or_else(|| fetch(quiet));
    Ok((device, data))
}

/// Reads the requested data set. If none was requested, reads MNIST from the cache directory; returns `None` if it is
/// not there. Prints nothing, because it runs on another thread.
fn read(args: &DataArgs) -> Result<Option<Data>, Failure> {
    let named = std::env::var_os("MNIST_DIR").filter(|named| !named.is_empty());
    let named = named.map(|named| Source::Files(named.into()));
    match (args.data.clone().or(named), &args.labels) {
        (Some(Source::Files(path)), _) => open_named(&path, args).map(Some),
        (_, Some(_)) => Err(Failure::Message(
            "--labels is only for a data set in files: name its directory with --data, or leave out --labels"
                .to_owned(),
        )),
        (Some(Source::Synthetic), None) => Ok(Some(synthetic_digits())),
        (None, None) => Ok(mnist::cache_dir().and_then(|cache| open_mnist(&cache).ok())),
    }
}

/// Downloads MNIST. If the download fails, prints the reason and returns synthetic digits.
fn fetch(quiet: bool) -> Data {
    let reason = match mnist::cache_dir() {
        Some(cache) => match download(&cache, quiet) {
            Ok(data) => return data,
            Err(error) => error.to_string(),
        },
        None => "this system has no cache directory for the download".to_owned(),
    };
    eprintln_or_nothing(&format!(
        "note: MNIST is not available: {reason}. To train on MNIST, run this again with a network connection, or copy \
         its four IDX files into a directory and name the directory with --data or in the environment variable \
         MNIST_DIR. Going on with the built-in synthetic digits; results on them are not results on MNIST."
    ));
    synthetic_digits()
}

fn synthetic_digits() -> Data {
    let split = synthetic::digits(SYNTHETIC_SEED);
    Data::new(
        split,
        0,
        format!("drawn from seed {SYNTHETIC_SEED}, not MNIST"),
    )
}

/// Opens the files of a data set that the user named. Its errors name the option that helps.
fn open_named(path: &Path, args: &DataArgs) -> Result<Data, Failure> {
    open(path, args).map_err(|error| {
        let message = error.to_string();
        let option = match &error {
            DataError::Checksum { .. } => {
                let option = message.replace("use `mnist::open_unverified`", "use --unverified");
                return Failure::Message(option);
            }
            DataError::MissingFile { .. } => {
                " (here: leave out --data, and unset MNIST_DIR, or use --data synthetic)".to_owned()
            }
            DataError::IdxClasses { labels, .. } => {
                format!(" (here: --labels {}-{})", labels.start(), labels.end())
            }
            DataError::IdxLabel { .. } => " (here: with --labels)".to_owned(),
            _ => String::new(),
        };
        Failure::Message(format!("{message}{option}"))
    })
}

fn open(path: &Path, args: &DataArgs) -> Result<Data, DataError> {
    let labels = match &args.labels {
        Some(Labels(labels)) => labels.clone(),
        None if args.unverified => mnist::find_labels(path)?,
        None => return open_mnist(path),
    };
    let first_label = *labels.start();
    let split = mnist::open_labelled(path, labels)?;
    Ok(Data::new(split, first_label, from(path)))
}

fn open_mnist(path: &Path) -> Result<Data, DataError> {
    Ok(Data::new(mnist::open(path)?, 0, from(path)))
}

fn from(path: &Path) -> String {
    format!("from {}", path.display())
}

fn download(cache: &Path, quiet: bool) -> Result<Data, DataError> {
    let bar = if quiet {
        ProgressBar::hidden()
    } else {
        eprintln_or_nothing(&format!("downloading MNIST into {}", cache.display()));
        // This bar draws nothing if standard error is not a terminal.
        ProgressBar::no_length()
    };
    let template = "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}";
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let downloaded = mnist::download(cache, &mut |progress| {
        bar.set_message(progress.file);
        if let Some(total) = progress.total {
            bar.set_length(total);
        }
        bar.set_position(progress.received);
    });
    bar.finish_and_clear();
    downloaded?;
    open_mnist(cache)
}

/// Prints a line on standard error. Ignores the error if standard error is closed.
fn eprintln_or_nothing(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
}
