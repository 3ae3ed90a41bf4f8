//! If a run is killed, the last good file stays complete, and there is no other file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::saving::contents;
use super::{Few, example, lines};

/// The environment variable that sets the number of kills in each test.
const KILLS: &str = "WGRAD_KILLS";
/// The default number of kills. They take about 20 s in total.
const FEW_KILLS: usize = 40;

/// Returns the number of kills: from the environment variable, or `few` if it is not set.
pub(super) fn kills(few: usize) -> usize {
    match std::env::var(KILLS) {
        Ok(kills) => kills.parse().expect("WGRAD_KILLS is a number of kills"),
        Err(_) => few,
    }
}

/// Returns a different delay within `span` for each kill. The fractional parts of multiples of the golden ratio are
/// evenly distributed.
pub(super) fn moment(kill: usize, span: Duration) -> Duration {
    span.mul_f64((kill as f64 * 0.618_033_988_75).fract())
}

/// Waits until a file is created or replaced.
pub(super) fn saves_again(path: &Path) {
    let written = || fs::metadata(path).and_then(|file| file.modified()).ok();
    let before = written();
    let began = Instant::now();
    while written() == before {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "nothing is saved"
        );
        sleep(Duration::from_millis(1));
    }
}

/// The data set of the runs, and separate directories for the files that they write.
struct Scene {
    few: Few,
    directory: TempDir,
    temporary: TempDir,
    saved: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            few: Few::new(),
            saved: directory.path().join("saved"),
            directory,
            temporary: tempfile::tempdir().unwrap(),
        }
    }

    /// Returns the command of a run with a network of 3 MB, so that writing it takes some time.
    fn run(&self, words: &str) -> Command {
        let mut command = example("train_gpu");
        command.env("TMPDIR", self.temporary.path());
        command.args(["--unverified", "--data"]).arg(&self.few.path);
        let always = "--device cpu --quiet --hidden 1000 --batch 10";
        command.args(always.split(' ')).args(words.split(' '));
        command.arg("--save").arg(&self.saved);
        command
    }

    /// Starts a run, calls `come`, which waits for the right moment, and kills the run.
    fn kill(&self, words: &str, come: impl FnOnce(&Path)) {
        let mut command = self.run(words);
        if self.saved.exists() {
            command.arg("--resume").arg(&self.saved);
        }
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        come(&self.saved);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Resumes from the saved file for one step. Checks the file that this run saves, and that there are no other
    /// files.
    fn go_on(&self, case: &str) {
        let (step, resume) = if self.saved.exists() {
            (contents(&self.saved).0.parse().unwrap(), true)
        } else {
            (0, false)
        };
        let mut command = self.run(&format!("--eval-every 0 --steps {}", step + 1));
        if resume {
            command.arg("--resume").arg(&self.saved);
        }
        let output: Output = command.output().unwrap();
        lines(&output);
        assert_eq!(contents(&self.saved).0, (step + 1).to_string(), "{case}");
        let listed = |directory: &Path| -> Vec<_> {
            let entries = fs::read_dir(directory).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect()
        };
        assert_eq!(listed(self.directory.path()), ["saved"], "{case}");
        let none: [&str; 0] = [];
        assert_eq!(listed(self.temporary.path()), none, "{case}");
    }
}

#[test]
fn a_run_that_is_killed_while_it_saves_leaves_a_whole_file() {
    let scene = Scene::new();
    for kill in 0..kills(FEW_KILLS) {
        scene.kill("--eval-every 1 --steps 1000000", |saved| {
            // Measures the time from one save to the next, and kills the run at some moment within that time.
            saves_again(saved);
            let began = Instant::now();
            saves_again(saved);
            sleep(moment(kill, began.elapsed()));
        });
        scene.go_on(&format!("kill {kill}"));
    }
}

#[test]
fn a_run_that_is_killed_at_its_start_changes_no_file() {
    let scene = Scene::new();
    for kill in 0..kills(FEW_KILLS) {
        let before = fs::read(&scene.saved).ok();
        let after = moment(kill, Duration::from_millis(60));
        scene.kill("--eval-every 0 --steps 1000000", |_| sleep(after));
        assert!(fs::read(&scene.saved).ok() == before, "kill {kill}");
        scene.go_on(&format!("kill {kill}, after {after:?}"));
    }
}
