//! Trainings that the user ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, ExitStatus, Stdio};

use super::{Few, example, last_line, lines, text};

/// Whether this process was told to ignore Ctrl-C, as the background jobs of some shells are: then so
/// do the processes it starts.
fn is_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
    // Of signal 2.
    ignored & 0b10 != 0
}

/// Sends a signal after the first evaluation; returns how the process ended, and both outputs.
fn interrupt(command: &mut Command, signal: &str) -> (ExitStatus, String, String) {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.lines().any(|line| line.starts_with("step ")) {
        assert!(stdout.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    let id = child.id().to_string();
    let sent = Command::new("kill").args([signal, &id]).status().unwrap();
    assert!(sent.success());
    stdout.read_to_string(&mut seen).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status, seen, text(&output.stderr))
}

/// More steps than a test takes.
fn endless(few: &Few) -> Command {
    let mut command = example("train_gpu");
    command.args(["--unverified", "--data"]).arg(&few.path);
    let words = "--device cpu --batch 20 --eval-every 100000 --steps 100000000";
    command.args(words.split(' '));
    command
}

/// As `nohup` and a script's `&` start programs: the system ignores these signals.
#[test]
fn a_training_in_the_background_is_saved_when_it_is_ended() {
    let few = Few::new();
    let saved = few.path.join("saved");
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP INT; exec \"$@\"", "sh"]);
    let command = endless(&few);
    shell.arg(command.get_program()).args(command.get_args());
    shell.arg("--save").arg(&saved);
    let (status, _, stderr) = interrupt(&mut shell, "-TERM");
    assert_eq!(status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("the training was saved"), "{stderr}");
    assert!(saved.is_file());
}

#[test]
fn an_interrupted_training_is_saved_and_can_go_on() {
    if is_ignored() {
        return;
    }
    let few = Few::new();
    let saved = few.path.join("saved");
    for signal in ["-INT", "-TERM"] {
        let (status, stdout, stderr) = interrupt(endless(&few).arg("--save").arg(&saved), signal);
        assert_eq!(status.code(), Some(130), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        let advice = format!("--resume {}", saved.display());
        assert!(stderr.contains(&advice), "{stderr}");
        assert!(!stdout.contains("results are for"), "{stdout}");

        let step = stderr.strip_prefix("interrupted after step ").unwrap();
        let step: usize = step.split(';').next().unwrap().parse().unwrap();
        assert!(step < 100_000_000);
        let steps = (step + 10).to_string();
        let mut command = example("train_gpu");
        command.args(["--unverified", "--data"]).arg(&few.path);
        command.args(["--device", "cpu", "--batch", "20", "--steps", &steps]);
        let resumed = lines(&command.arg("--resume").arg(&saved).output().unwrap());
        assert_eq!(last_line(&resumed)["steps"], steps);
    }
}

#[test]
fn an_interrupted_training_that_is_not_saved_says_so() {
    if is_ignored() {
        return;
    }
    let (status, _, stderr) = interrupt(&mut endless(&Few::new()), "-INT");
    assert_eq!(status.code(), Some(130), "{stderr}");
    assert!(
        stderr.contains("nothing was saved: with --save"),
        "{stderr}"
    );
}
