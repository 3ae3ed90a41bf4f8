//! Trainings that are ended by the user or by the system.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::endings::assert_resumes;
use super::{Few, example, text};

/// Returns a command that starts with the default handling of all signals. This is needed because these tests may
/// themselves run under `nohup` or in the background of a shell: such programs and their children ignore some signals.
fn in_foreground(command: &Command) -> Command {
    started_by(&["env", "--default-signal"], command)
}

/// Returns a command that starts through another program (`words`), which replaces itself by the command.
fn started_by(words: &[&str], command: &Command) -> Command {
    let mut starter = Command::new(words[0]);
    starter.args(&words[1..]).arg(command.get_program());
    starter.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => starter.env(name, value),
            None => starter.env_remove(name),
        };
    }
    starter
}

fn send(child: &Child, signal: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args([signal, &id]).status().unwrap();
    assert!(sent.success(), "{signal}");
}

/// Starts a training, and waits for its first evaluation and its first step.
fn start(command: &Command) -> (Child, BufReader<impl std::io::Read>, String) {
    let losses = tempfile::tempdir().unwrap();
    let losses = losses.path().join("losses");
    let mut command = in_foreground(command);
    command.arg("--losses").arg(&losses);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.lines().any(|line| line.starts_with("step ")) {
        assert!(stdout.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    while fs::read(&losses).unwrap().is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "{seen}");
        sleep(Duration::from_millis(1));
    }
    (child, stdout, seen)
}

/// Runs a command and sends it signals after its first evaluation. Returns the exit status, standard output and
/// standard error.
fn interrupt(command: &Command, signals: &[&str]) -> (ExitStatus, String, String) {
    let (child, mut stdout, mut seen) = start(command);
    for signal in signals {
        send(&child, signal);
    }
    stdout.read_to_string(&mut seen).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status, seen, text(&output.stderr))
}

/// Returns the command of a training that takes longer than the test.
fn endless(few: &Few) -> Command {
    let mut command = example("train_gpu");
    command.args(["--unverified", "--data"]).arg(&few.path);
    let words = "--device cpu --batch 20 --eval-every 100000 --steps 100000000";
    command.args(words.split(' '));
    command
}

/// Returns the command of [`endless`] with `--save`. It ignores some signals, as if it had been started by `nohup` or
/// by `&` in a script.
fn in_background(few: &Few, setting: &str, saved: &Path) -> Command {
    let script = format!("{setting}; exec \"$@\"");
    started_by(
        &["sh", "-c", &script, "sh"],
        endless(few).arg("--save").arg(saved),
    )
}

#[test]
fn a_signal_that_is_ignored_stays_so_and_the_others_save() {
    let few = Few::new();
    let saved = few.path.join("saved");
    for (ignored, ends) in [
        ("HUP INT", "-TERM"),
        ("INT", "-HUP"),
        ("INT", "-USR1"),
        ("INT TERM HUP", "-XCPU"),
    ] {
        let shell = in_background(&few, &format!("trap '' {ignored}"), &saved);
        let (mut child, _stdout, _) = start(&shell);
        for signal in ignored.split(' ') {
            send(&child, &format!("-{signal}"));
        }
        // If the training handled the signal, it would end after one more step.
        sleep(Duration::from_millis(300));
        assert!(child.try_wait().unwrap().is_none(), "{ignored}");
        assert!(!saved.exists(), "{ignored}");
        send(&child, ends);
        let output = child.wait_with_output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{ends}: {stderr}");
        assert!(stderr.contains("the training was saved"), "{stderr}");
        fs::remove_file(&saved).unwrap();
    }
}

#[test]
fn an_interrupted_training_is_saved_and_can_go_on() {
    let few = Few::new();
    let saved = few.path.join("saved");
    for signal in ["-INT", "-TERM", "-HUP", "-USR1", "-USR2", "-XCPU"] {
        let (status, stdout, stderr) =
            interrupt(endless(&few).arg("--save").arg(&saved), &[signal]);
        assert_eq!(status.code(), Some(130), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        let advice = format!("--resume {}", saved.display());
        assert!(stderr.contains(&advice), "{stderr}");
        assert!(!stdout.contains("results are for"), "{stdout}");

        let step = stderr.strip_prefix("interrupted after step ").unwrap();
        let step: usize = step.split(';').next().unwrap().parse().unwrap();
        assert!(step < 100_000_000);
        assert_resumes(&few, &saved, "--batch 20", step);
    }
}

/// The suggested command must have only one `--resume`, and must quote a name with a space.
#[test]
fn a_resumed_training_is_told_how_to_go_on() {
    let few = Few::new();
    let [old, new] = ["old", "a new one"].map(|name| few.path.join(name));
    interrupt(endless(&few).arg("--save").arg(&old), &["-TERM"]);
    for (save, expected) in [
        (
            &new,
            format!(
                "with --resume '{}' in place of --resume {} to go on",
                new.display(),
                old.display()
            ),
        ),
        (&old, "the same command again to go on".to_owned()),
    ] {
        let mut command = endless(&few);
        command.arg("--resume").arg(&old).arg("--save").arg(save);
        let (status, _, stderr) = interrupt(&command, &["-TERM"]);
        assert_eq!(status.code(), Some(130), "{stderr}");
        assert!(stderr.contains(&expected), "{stderr}");
    }
}

#[test]
fn an_interrupted_training_that_is_not_saved_says_so() {
    let (status, _, stderr) = interrupt(&endless(&Few::new()), &["-TERM"]);
    assert_eq!(status.code(), Some(130), "{stderr}");
    assert!(
        stderr.contains("nothing was saved: with --save"),
        "{stderr}"
    );
}

/// Several signals at the same time count as one. `timeout` and a closing terminal send their signal twice, and some
/// systems send two kinds of signals.
#[test]
fn signals_at_once_are_one() {
    let few = Few::new();
    let saved = few.path.join("saved");
    for signals in [["-TERM"; 3], ["-HUP"; 3], ["-TERM", "-HUP", "-TERM"]] {
        let mut command = endless(&few);
        let (status, _, stderr) = interrupt(command.arg("--save").arg(&saved), &signals);
        assert_eq!(status.code(), Some(130), "{stderr}");
        assert!(stderr.contains("the training was saved"), "{stderr}");
        fs::remove_file(&saved).unwrap();
    }
}

/// Waits until a process has a handler for `SIGTERM`.
fn wait_for_listening(child: &Child) {
    let is_caught = || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
        caught >> 14 & 1 == 1
    };
    while !is_caught() {
        sleep(Duration::from_millis(1));
    }
}

fn pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

/// A second signal ends a training in the middle of a step, unless the first signal only warns that the time limit is
/// near.
#[test]
fn a_second_signal_ends_at_once() {
    let few = Few::new();
    let saved = few.path.join("saved");
    fs::write(&saved, "from before").unwrap();
    // A step has 400 GFLOP, for which one core needs seconds.
    let on_one = started_by(&["taskset", "-c", "0"], &example("train_gpu"));
    let mut command = in_foreground(&on_one);
    command.args(["--unverified", "--data"]).arg(&few.path);
    let words = "--device cpu --batch 1000 --hidden 8000,8000 --eval-every 0 --quiet";
    command.args(words.split(' ')).arg("--save").arg(&saved);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    wait_for_listening(&child);
    send(&child, "-TERM");
    sleep(Duration::from_millis(1_100));
    for signal in ["-XCPU", "-USR1"] {
        send(&child, signal);
    }
    sleep(Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none());
    send(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let expected = "interrupted at once; this training was not saved\n";
    assert_eq!(text(&output.stderr), expected);
    assert_eq!(fs::read_to_string(&saved).unwrap(), "from before");
}

/// Fills a pipe of 64 KiB except for one page.
static NEARLY_FULL: [u8; 60 << 10] = [b'\n'; 60 << 10];

/// A training handles signals even when it is blocked because nobody reads its output.
#[test]
fn a_training_that_nobody_reads_heeds_a_signal_and_is_saved() {
    let few = Few::new();
    let saved = few.path.join("saved");
    let losses = few.path.join("losses");
    pipe(&losses);
    for option in ["--losses", "--log", "standard output", "both outputs"] {
        let mut command = in_foreground(&example("train_gpu"));
        command.args(["--unverified", "--data"]).arg(&few.path);
        let words = "--device cpu --batch 20 --hidden none --eval-every 1 --steps 100000000";
        command.args(words.split(' ')).arg("--save").arg(&saved);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        // Nobody reads this pipe, and it is nearly full, so the training soon blocks when it writes.
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(&NEARLY_FULL).unwrap();
        let mut opened = None;
        let what = if option.starts_with("--") {
            // Opening the pipe only for reading would wait for a writer, so it is opened for reading and writing.
            let mut file = fs::OpenOptions::new();
            let mut file = file.read(true).write(true).open(&losses).unwrap();
            file.write_all(&NEARLY_FULL).unwrap();
            opened = Some(file);
            command.arg(option).arg(&losses);
            losses.display().to_string()
        } else {
            if option == "both outputs" {
                command.stderr(writer.try_clone().unwrap());
            }
            command.stdout(writer);
            "standard output".to_owned()
        };
        let mut child = command.spawn().unwrap();
        drop(command);
        wait_for_listening(&child);
        // Waits until the pipe is full. The number of bytes that the process has written then stays the same.
        let written = || fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap();
        let mut before = String::new();
        while before != written() {
            before = written();
            sleep(Duration::from_millis(700));
        }
        assert!(child.try_wait().unwrap().is_none(), "{option}");
        let started = Instant::now();
        send(&child, "-TERM");
        let mut stderr = child.stderr.take();
        let status = child.wait().unwrap();
        assert!(started.elapsed() < Duration::from_secs(5), "{option}");
        assert_eq!(status.code(), Some(130), "{option}");
        if let Some(stderr) = &mut stderr {
            let mut said = String::new();
            stderr.read_to_string(&mut said).unwrap();
            let why = format!(", while nobody read {what}; the training was saved");
            assert!(said.contains(&why), "{option}: {said}");
        }
        drop((reader, opened));
        let step = super::saving::contents(&saved).0.parse().unwrap();
        assert_resumes(&few, &saved, "--batch 20 --hidden none", step);
        fs::remove_file(&saved).unwrap();
    }
}

/// A signal that dumps core is not handled: its purpose is to examine what the program is doing.
#[test]
fn a_signal_to_dump_core_is_left_as_it_is() {
    let few = Few::new();
    let saved = few.path.join("saved");
    let shell = in_background(&few, "ulimit -c 0", &saved);
    let (status, _, stderr) = interrupt(&shell, &["-QUIT"]);
    assert_eq!(
        (status.code(), status.signal()),
        (None, Some(3)),
        "{stderr}"
    );
    assert!(!saved.exists());
}

/// If steps are long, the training ends after at most a few more steps.
#[test]
fn a_signal_does_not_wait_for_many_long_steps() {
    let few = Few::new();
    let saved = few.path.join("saved");
    let losses = few.path.join("losses.csv");
    let mut command = in_foreground(&example("train_gpu"));
    command.args(["--unverified", "--data"]).arg(&few.path);
    // A step has 35 GFLOP.
    let words = "--device cpu --batch 1000 --hidden 2000,2000 --eval-every 0 --steps 10000";
    command.args(words.split(' ')).arg("--save").arg(&saved);
    command.arg("--losses").arg(&losses);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let steps = || fs::read_to_string(&losses).map_or(0, |losses| losses.lines().count());
    let started = Instant::now();
    while steps() < 3 {
        assert!(started.elapsed() < Duration::from_secs(120));
        sleep(Duration::from_millis(5));
    }
    let before = steps();
    let pace = started.elapsed().as_secs_f64() / steps() as f64;
    send(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    let more = steps() - before;
    // The program takes steps in chunks of about a tenth of a second. When the signal arrives, one chunk is running;
    // another may have ended between reading the file and sending the signal.
    let chunk = (0.1 / pace).ceil() + 1.0;
    assert!(
        more as f64 <= 2.0 * chunk,
        "{more} steps more of {pace} s: {stderr}"
    );
    assert!(
        stderr.contains(&format!("after step {}", steps())),
        "{stderr}"
    );
}

/// A signal may arrive at any time: while data is read, while the device is opened, or during the training.
#[test]
fn at_any_moment_a_signal_ends_a_run_clearly() {
    let few = Few::new();
    let saved = few.path.join("saved");
    let run = |words: &str| {
        let mut command = in_foreground(&example("train_gpu"));
        command.args(["--unverified", "--data"]).arg(&few.path);
        command.args(words.split(' ')).arg("--save").arg(&saved);
        command
    };
    let words = "--device cpu --batch 20 --quiet --eval-every 50 --steps";
    let began = Instant::now();
    let first = run(&format!("{words} 60")).output().unwrap();
    let time = began.elapsed();
    assert!(first.status.success());
    let good = fs::read(&saved).unwrap();
    let mut killed = 0;
    let mut kept = 0;
    for part in 0..40 {
        // The delays are fractions of the time that a whole run of 60 steps took, so the last ones hit the training,
        // however busy the machine is.
        let delay = time.mul_f64(f64::from(part) / 20.0);
        fs::write(&saved, &good).unwrap();
        let mut command = run(&format!("{words} 1000000"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        sleep(delay);
        send(&child, "-TERM");
        let output = child.wait_with_output().unwrap();
        let stderr = text(&output.stderr);
        assert!(!text(&output.stdout).contains("results are for"));
        match output.status.code() {
            None => {
                assert_eq!(output.status.signal(), Some(15));
                assert!(fs::read(&saved).unwrap() == good, "{delay:?}");
                killed += 1;
            }
            Some(130) if stderr.contains("the training was saved") => {
                let step = stderr.strip_prefix("interrupted after step ").unwrap();
                let step: usize = step.split(';').next().unwrap().parse().unwrap();
                assert_resumes(&few, &saved, "--batch 20", step);
                kept += 1;
            }
            other => {
                assert_eq!(other, Some(130), "{stderr}");
                assert!(
                    stderr.contains("nothing was saved, because this run has taken no step"),
                    "{stderr}"
                );
                assert!(fs::read(&saved).unwrap() == good, "{delay:?}");
            }
        }
    }
    assert!(killed > 0 && kept > 0, "{killed} killed, {kept} saved");
}
