//! Runs the examples as programs, as a new user would, both correctly and with mistakes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;
use wgrad::data::{Dataset, synthetic};

#[path = "cli/book.rs"]
mod book;
#[path = "cli/data.rs"]
mod data;
#[path = "cli/endings.rs"]
mod endings;
#[cfg(all(feature = "mpi", target_os = "linux"))]
#[path = "cli/hosts.rs"]
mod hosts;
#[cfg(target_os = "linux")]
#[path = "cli/interruption.rs"]
mod interruption;
#[path = "cli/kills.rs"]
mod kills;
#[path = "cli/log.rs"]
mod log;
#[path = "cli/networks.rs"]
mod networks;
#[path = "cli/optimizers.rs"]
mod optimizers;
#[cfg(target_os = "linux")]
#[path = "cli/outputs.rs"]
mod outputs;
#[path = "cli/patience.rs"]
mod patience;
#[path = "cli/plot.rs"]
mod plot;
#[path = "cli/predictions.rs"]
mod predictions;
#[cfg(all(feature = "mpi", target_os = "linux"))]
#[path = "cli/processes.rs"]
mod processes;
#[path = "cli/programs.rs"]
mod programs;
#[path = "cli/saving.rs"]
mod saving;
#[path = "cli/shapes.rs"]
mod shapes;
#[path = "cli/tables.rs"]
mod tables;

const NAMES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// Returns the command of an example program. The program must have been built: `cargo test` builds all examples before
/// it runs tests, but `cargo test --test cli` does not.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let path = profile.join("examples").join(name);
    let hint = "`cargo build --examples` makes it, with the profile of this test";
    assert!(path.is_file(), "no {}: {hint}", path.display());
    let mut command = Command::new(path);
    // Without this variable, a software driver prints a warning to standard error.
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    command.env_remove("MNIST_DIR");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs `train_gpu` with `arguments`, followed by the arguments in `words`.
fn train(arguments: &[&Path], words: &str) -> Output {
    let words = words.split_whitespace();
    let arguments = arguments.iter().map(|path| path.as_os_str());
    let arguments = arguments.chain(words.map(AsRef::as_ref));
    example("train_gpu").args(arguments).output().unwrap()
}

/// Asserts that a run succeeded, and returns the lines of its standard output.
#[track_caller]
fn lines(output: &Output) -> Vec<String> {
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{:?}: {stderr}", output.status);
    text(&output.stdout).lines().map(str::to_owned).collect()
}

/// Asserts that a run failed, and that its error message is one paragraph and contains all of `parts`.
#[track_caller]
fn assert_refused(output: &Output, parts: &[&str]) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert!(
        stderr.ends_with('\n') && stderr.lines().count() == 1,
        "{stderr}"
    );
    for part in parts {
        assert!(stderr.contains(part), "no \"{part}\" in: {stderr}");
    }
    // Only the expected parts may contain two spaces in a row.
    let rest = parts
        .iter()
        .fold(stderr.clone(), |rest, part| rest.replace(part, "…"));
    for unwanted in ["panicked", "backtrace", "  "] {
        assert!(!rest.contains(unwanted), "{stderr}");
    }
}

/// Parses the last line: pairs of a key and a value.
#[track_caller]
fn last_line(lines: &[String]) -> HashMap<String, String> {
    let last = lines.last().unwrap();
    let pairs = last.split(' ').map(|pair| pair.split_once('=').unwrap());
    let pairs: Vec<_> = pairs.collect();
    let keys: Vec<_> = pairs.iter().map(|(key, _)| *key).collect();
    let expected = [
        "device",
        "steps",
        "train_s",
        "total_s",
        "steps_per_s",
        "train_accuracy",
        "test_accuracy",
    ];
    assert_eq!(keys, expected, "{last}");
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn number(fields: &HashMap<String, String>, key: &str) -> f64 {
    fields[key].parse().unwrap()
}

fn idx(magic: u32, sizes: &[u32], body: &[u8]) -> Vec<u8> {
    let header = [&[magic], sizes].concat();
    let header = header.iter().flat_map(|word| word.to_be_bytes());
    header.chain(body.iter().copied()).collect()
}

/// A directory named `few` with synthetic digits, by default 1,000 for training and 500 for testing.
struct Few {
    _parent: TempDir,
    path: PathBuf,
}

impl Few {
    fn new() -> Self {
        Self::of(1000, 500)
    }

    fn of(train: usize, test: usize) -> Self {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("few");
        fs::create_dir(&path).unwrap();
        let split = synthetic::digits_of(5, train, test).unwrap();
        for (dataset, [images, labels]) in [&split.train, &split.test]
            .into_iter()
            .zip([[NAMES[0], NAMES[1]], [NAMES[2], NAMES[3]]])
        {
            write_part(&path, dataset, images, labels);
        }
        Self {
            _parent: parent,
            path,
        }
    }

    /// Creates a directory in which one file is replaced.
    fn with(name: &str, contents: &[u8]) -> Self {
        let few = Self::new();
        fs::remove_file(few.path.join(name.trim_end_matches(".gz"))).unwrap();
        fs::write(few.path.join(name), contents).unwrap();
        few
    }

    /// Trains on the data set.
    fn train(&self, words: &str) -> Output {
        let data = [Path::new("--unverified"), Path::new("--data"), &self.path];
        train(&data, words)
    }
}

fn write_part(directory: &Path, dataset: &Dataset, images: &str, labels: &str) {
    let count = u32::try_from(dataset.len()).unwrap();
    let classes = dataset.labels().indices().iter();
    let classes: Vec<u8> = classes.map(|&class| u8::try_from(class).unwrap()).collect();
    let pixels = idx(0x803, &[count, 28, 28], dataset.features());
    fs::write(directory.join(images), pixels).unwrap();
    fs::write(directory.join(labels), idx(0x801, &[count], &classes)).unwrap();
}

/// Trains 500 steps on a device, and checks all outputs.
fn assert_trains(device: &str) {
    let few = Few::new();
    let csv = few.path.join("losses.csv");
    fs::write(&csv, "from an earlier run\n".repeat(1000)).unwrap();
    let words = format!("--device {device} --batch 20 --steps 500 --eval-every 300 --losses");
    let data = [Path::new("--unverified"), Path::new("--data"), &few.path];
    let words: Vec<&Path> = words.split(' ').map(Path::new).collect();
    let lines = lines(&train(&[&data[..], &words, &[&csv]].concat(), ""));

    assert!(lines[0].starts_with("data: few, 1000 training and 500 test examples"));
    assert_eq!(lines[lines.len() - 2], "results are for few");
    assert!(lines.iter().any(|line| line.contains("39760 parameters")));
    let evaluated = lines.iter().filter(|line| line.starts_with("step "));
    let evaluated: Vec<_> = evaluated
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(evaluated, ["0", "300", "500"]);

    let fields = last_line(&lines);
    assert_eq!(fields["steps"], "500");
    assert_eq!(fields["device"] == "cpu", device == "cpu");
    let [train_s, total_s] = ["train_s", "total_s"].map(|key| number(&fields, key));
    assert!(0.0 < train_s && train_s <= total_s);
    // `train_s` is rounded to milliseconds.
    let rate = number(&fields, "steps_per_s");
    assert!((500.0 / rate - train_s).abs() < 0.001, "{fields:?}");
    assert!(number(&fields, "train_accuracy") > 0.9, "{fields:?}");
    assert!(number(&fields, "test_accuracy") > 0.7, "{fields:?}");
    assert_losses(&csv, 500);
}

/// Asserts that the file has a line for every step, and that the losses fall.
fn assert_losses(csv: &Path, steps: usize) {
    let contents = fs::read_to_string(csv).unwrap();
    let rows = contents.lines().map(|line| line.split_once(',').unwrap());
    let (at, losses): (Vec<usize>, Vec<f32>) = rows
        .map(|(step, loss)| (step.parse::<usize>().unwrap(), loss.parse::<f32>().unwrap()))
        .unzip();
    assert!(at.into_iter().eq(1..=steps));
    // At the start, the weights are near 0, so all ten classes are about equally likely.
    assert!((losses[0] - 10f32.ln()).abs() < 0.1, "{}", losses[0]);
    let tenth = steps / 10;
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    assert!(mean(&losses[steps - tenth..]) < 0.5 * mean(&losses[..tenth]));
}

#[test]
fn training_on_the_cpu() {
    assert_trains("cpu");
}

#[test]
fn training_on_the_gpu() {
    assert_trains("gpu");
}

#[test]
fn the_plan_is_the_one_asked_for_and_is_described() {
    let few = Few::new();
    for (words, expected) in [
        ("--plan auto", "plan: fused; a step is 2 dispatches"),
        ("--plan fused", "plan: fused; a step is 2 dispatches"),
        ("--plan layers", "plan: layers; a step is 12 dispatches"),
        (
            "--hidden 3000",
            "plan: layers, because its layers have 3010 outputs together",
        ),
        (
            "--hidden 200,200",
            "plan: layers, because it would not be faster",
        ),
    ] {
        let lines = lines(&few.train(&format!("--device gpu --batch 10 --steps 5 {words}")));
        assert!(
            lines.iter().any(|line| line.starts_with(expected)),
            "{words}: {lines:?}"
        );
    }
    let refused = few.train("--device cpu --batch 10 --plan layers");
    assert_refused(&refused, &["--plan must be left out on the CPU", "layers"]);
    let refused = few.train("--device gpu --batch 10 --plan fused --hidden 3000");
    assert_refused(
        &refused,
        &["cannot be fused", "3010", "--plan auto or --plan layers"],
    );
}

#[test]
fn the_same_seed_gives_the_same_result_and_another_seed_another() {
    let few = Few::new();
    for device in ["cpu", "gpu"] {
        let accuracies = |seed| {
            let words = format!("--device {device} --batch 20 --steps 60 --quiet --seed {seed}");
            let fields = last_line(&lines(&few.train(&words)));
            ["train_accuracy", "test_accuracy"].map(|key| fields[key].clone())
        };
        assert_eq!(accuracies(7), accuracies(7));
        assert_ne!(accuracies(7), accuracies(8));
    }
}

#[test]
fn quiet_is_data_set_and_last_line_alone() {
    let few = Few::new();
    let output = few.train("--device cpu --batch 10 --steps 20 --quiet");
    let lines = lines(&output);
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("data: few, "));
    assert_eq!(lines[1], "results are for few");
    last_line(&lines);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn other_networks_and_a_single_evaluation() {
    let few = Few::new();
    for (network, parameters) in [
        ("--hidden none", 7850),
        (
            "--hidden 20,30 --activation sigmoid",
            784 * 20 + 20 + 20 * 30 + 30 + 310,
        ),
    ] {
        let words = format!("--device cpu --steps 5 --batch 10 --eval-every 0 {network}");
        let lines = lines(&few.train(&words));
        let total = format!(" {parameters} parameters");
        assert!(
            lines
                .iter()
                .any(|line| line.contains("total") && line.ends_with(&total))
        );
        assert_eq!(
            lines
                .iter()
                .filter(|line| line.starts_with("step "))
                .count(),
            1
        );
    }
}

#[test]
fn without_network_synthetic_digits_stand_in_for_mnist_and_say_so() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = example("train_gpu");
    for variable in ["XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"] {
        command.env(variable, cache.path());
    }
    // No server listens at this address, so nothing can be downloaded. On Windows, `LOCALAPPDATA` does not move the
    // cache, so the program may still find MNIST there.
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(variable, "http://127.0.0.1:1");
    }
    for variable in ["NO_PROXY", "no_proxy"] {
        command.env_remove(variable);
    }
    command.args(["--device", "cpu", "--steps", "600", "--eval-every", "0"]);
    let output = command.output().unwrap();
    if cfg!(windows) && !text(&output.stderr).contains("note: ") {
        return;
    }
    let lines = lines(&output);
    let stderr = text(&output.stderr);
    for part in [
        "note: MNIST is not available",
        "--data",
        "MNIST_DIR",
        "synthetic digits",
    ] {
        assert!(stderr.contains(part), "no \"{part}\" in: {stderr}");
    }
    assert!(lines[0].starts_with("data: synthetic digits, 60000 training"));
    assert!(lines[0].ends_with("not MNIST"));
    assert_eq!(lines[lines.len() - 2], "results are for synthetic digits");
    assert!(number(&last_line(&lines), "test_accuracy") > 0.8);
}

#[test]
fn the_gradient_check_passes_and_names_every_parameter() {
    let few = Few::new();
    let mut command = example("gradient_check");
    // With these digits and weights, no input of a ReLU is near 0, where its derivative jumps.
    command
        .args(["--unverified", "--seed", "42", "--data"])
        .arg(&few.path);
    let started = Instant::now();
    let lines = lines(&command.output().unwrap());
    assert!(started.elapsed() < Duration::from_secs(60));
    assert!(lines[0].starts_with("data: few, "));
    for name in [
        "layers.0.weight",
        "layers.0.bias",
        "layers.2.weight",
        "layers.2.bias",
    ] {
        let row = lines.iter().find(|line| line.starts_with(name)).unwrap();
        let differences = row.split_whitespace().skip(2);
        let differences: Vec<f64> = differences.map(|value| value.parse().unwrap()).collect();
        assert_eq!(differences.len(), 4, "{row}");
        // `f32` and `f64` results cannot be exactly equal. A difference of 0 would mean that nothing was computed.
        assert!(
            differences.iter().all(|&value| 0.0 < value && value < 1e-6),
            "{row}"
        );
    }
}

#[test]
fn data_sets_that_are_wrong() {
    let empty = tempfile::tempdir().unwrap();
    let output = train(&[Path::new("--data"), empty.path()], "--device cpu");
    assert_refused(&output, &[NAMES[0], "is missing", "--data synthetic"]);

    let output = train(
        &[Path::new("--data"), &empty.path().join("none")],
        "--device cpu",
    );
    assert_refused(&output, &["none", "cannot open data set directory"]);

    let few = Few::new();
    let output = train(&[Path::new("--data"), &few.path], "--device cpu");
    assert_refused(
        &output,
        &[NAMES[0], "not the original MNIST", "--unverified"],
    );

    let images = fs::read(few.path.join(NAMES[0])).unwrap();
    let truncated = Few::with(NAMES[0], &images[..images.len() - 1]);
    assert_refused(
        &truncated.train("--device cpu"),
        &[NAMES[0], "truncated", "784016"],
    );

    let gz = format!("{}.gz", NAMES[0]);
    let output = Few::with(&gz, b"<!DOCTYPE html>").train("--device cpu");
    assert_refused(&output, &[&gz, "a web page", "failed download"]);

    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut encoder, &images).unwrap();
    let zipped = encoder.finish().unwrap();
    let output = Few::with(&gz, &zipped[..zipped.len() / 2]).train("--device cpu");
    assert_refused(&output, &[&gz, "damaged gzip"]);

    let labels = Few::with(NAMES[1], &idx(0x801, &[3], &[1, 2, 3]));
    assert_refused(
        &labels.train("--device cpu"),
        &[NAMES[1], "1000 images", "3 labels"],
    );
}

#[test]
fn settings_that_are_wrong_are_told_before_the_data_set_is_loaded() {
    for (words, parts) in [
        ("--batch 0", ["--batch must be at least 1", "is 0"]),
        (
            "--hidden 0",
            ["--hidden must be widths of at least 1, or none", "is 0"],
        ),
        (
            "--hidden 50,0",
            ["--hidden must be widths of at least 1, or none", "is 0"],
        ),
        (
            "--learning-rate nan",
            ["--learning-rate must be a finite number above 0", "NaN"],
        ),
        (
            "--learning-rate 0",
            ["--learning-rate must be a finite number above 0", "is 0"],
        ),
        (
            "--learning-rate -1",
            ["--learning-rate must be a finite number above 0", "is -1"],
        ),
        (
            "--learning-rate inf",
            ["--learning-rate must be a finite number above 0", "inf"],
        ),
        (
            "--steps 0",
            ["--steps must be at least 1", "number of steps in the file"],
        ),
        (
            "--losses no/such/losses.csv",
            ["cannot write the losses to no/such/losses.csv", ";"],
        ),
    ] {
        let output = train(
            &[],
            &format!("--data no/such/directory --device cpu {words}"),
        );
        assert_refused(&output, &parts);
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn a_command_line_that_cannot_be_understood_exits_with_2() {
    for words in [
        "--hidden abc",
        "--hidden 50,,10",
        "--steps many",
        "--steps -5",
        "--seed -1",
        "--device tpu",
        "--colour",
    ] {
        let output = train(&[], words);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.starts_with("error: "), "{stderr}");
        assert!(
            stderr.contains(words.split(' ').nth(1).unwrap_or(words)),
            "{stderr}"
        );
    }
}

#[test]
fn a_batch_larger_than_the_data_set() {
    let output = Few::new().train("--device cpu --batch 70000");
    assert_refused(&output, &["batch must be 1 to 1000", "70000"]);
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn training_that_diverges_names_the_step_and_keeps_the_losses_before_it() {
    let few = Few::new();
    let csv = few.path.join("losses.csv");
    for device in ["cpu", "gpu"] {
        for seed in [1, 2, 3] {
            let data = [Path::new("--data"), &few.path, Path::new("--losses"), &csv];
            let words = format!(
                "--unverified --device {device} --learning-rate 1e9 --steps 50 --seed {seed}"
            );
            let output = train(&data, &words);
            let losses = fs::read_to_string(&csv).unwrap();
            let step = format!("the loss of step {} is ", losses.lines().count() + 1);
            assert_refused(&output, &["training diverged", &step, "learning rate"]);
            assert!(losses.starts_with("1,2.3"), "{losses}");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn without_a_driver_the_gpu_is_refused_and_auto_takes_the_cpu() {
    let few = Few::new();
    let run = |device| {
        let mut command = example("train_gpu");
        for variable in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
            command.env(variable, "/nonexistent.json");
        }
        command
            .args(["--device", device, "--unverified", "--data"])
            .arg(&few.path);
        command.args(["--steps", "3", "--batch", "10"]);
        command.output().unwrap()
    };
    assert_refused(
        &run("gpu"),
        &[
            "no GPU adapter found",
            "apt-get install mesa-vulkan-drivers",
        ],
    );
    let lines = lines(&run("auto"));
    assert!(lines[1].starts_with("device: cpu ") && lines[1].contains("no GPU adapter found"));
    assert_eq!(last_line(&lines)["device"], "cpu");
}
