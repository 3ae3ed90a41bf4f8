//! Trainings by several processes that `mpirun` starts.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::kills::{kills, moment, saves_again};
use super::{Few, example, last_line, lines, text};

/// When one process ends, all others must end within this time.
const END: Duration = Duration::from_secs(10);
/// How often a test kills a process by default.
const FEW_KILLS: usize = 4;

/// Returns the command that starts `processes` processes of `program`, even on fewer cores.
pub(super) fn mpirun(processes: usize, program: &Command) -> Command {
    let mut command = started();
    add_program(&mut command, processes, program);
    command
}

/// Returns an `mpirun` command, without the program and the number of processes.
pub(super) fn started() -> Command {
    let mut command = Command::new("mpirun");
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1");
    command.env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.env("OMPI_MCA_rmaps_base_oversubscribe", "1");
    command.env("OMPI_MCA_hwloc_base_binding_policy", "none");
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    command.env_remove("MNIST_DIR");
    command.stdin(Stdio::null());
    command
}

pub(super) fn add_program(mpirun: &mut Command, processes: usize, program: &Command) {
    mpirun.args(["-n", &processes.to_string()]);
    mpirun.arg(program.get_program()).args(program.get_args());
}

/// Returns the command of a training by several processes (`--mpi`).
pub(super) fn training(few: &Few, words: &str) -> Command {
    let mut command = example("train_gpu");
    command.args(["--mpi", "--unverified", "--data"]);
    command.arg(&few.path).args(words.split_whitespace());
    command
}

/// Returns the lines of standard error that come from the program, not from `mpirun`.
fn of_program(output: &Output) -> Vec<String> {
    let all = text(&output.stderr);
    let is_ours = |line: &&str| {
        ["error: ", "interrupted"]
            .iter()
            .any(|word| line.starts_with(word))
    };
    all.lines().filter(is_ours).map(str::to_owned).collect()
}

#[test]
fn any_number_of_processes_gives_the_same_bits() {
    let few = Few::new();
    for (device, words) in [
        ("cpu", "--batch 100"),
        ("gpu", "--batch 100"),
        (
            "cpu",
            "--batch 24 --optimizer adam --learning-rate 0.001 --hidden 30,20 --dropout 0.1",
        ),
        (
            "gpu",
            "--batch 24 --optimizer adam --learning-rate 0.001 --hidden 30,20 --dropout 0.1",
        ),
    ] {
        let run = |processes: usize| {
            let [saved, losses] = ["saved.safetensors", "losses.csv"].map(|of| few.path.join(of));
            let always = format!("--device {device} --steps 40 --eval-every 20 {words}");
            let mut command = training(&few, &always);
            command
                .arg("--save")
                .arg(&saved)
                .arg("--losses")
                .arg(&losses);
            let output = mpirun(processes, &command).output().unwrap();
            let printed = lines(&output);
            let results = printed
                .iter()
                .filter(|line| line.starts_with("results are for"));
            assert_eq!(results.count(), 1, "one process prints: {printed:?}");
            let says = format!("processes: {processes}; gradients of 4 shards are averaged");
            assert!(
                printed.iter().any(|line| line.starts_with(&says)),
                "{printed:?}"
            );
            let is_evaluation = |line: &String| line.starts_with("step ");
            let evaluations: Vec<String> = printed.into_iter().filter(is_evaluation).collect();
            assert_eq!(evaluations.len(), 3);
            let files = [fs::read(&saved).unwrap(), fs::read(&losses).unwrap()];
            (evaluations, files)
        };
        let alone = run(1);
        for processes in [2, 4] {
            assert!(
                run(processes) == alone,
                "{device} {words}: {processes} processes"
            );
        }
    }
}

/// Every output of a distributed run is written by one process only.
#[test]
fn whatever_is_asked_for_comes_from_one_of_them() {
    let few = Few::new();
    let run = |processes: usize| {
        let names = [
            "losses.csv",
            "log.jsonl",
            "plot.svg",
            "samples.png",
            "saved.safetensors",
        ];
        let files = names.map(|name| few.path.join(name));
        // With these settings, the network learns quickly and then no longer improves, so `--patience` ends the run.
        let words = "--device cpu --batch 100 --hidden 20 --eval-every 10 --patience 3 --learning-rate 0.5 \
                     --steps 100000 --confusion";
        let mut command = training(&few, words);
        for (option, file) in ["--losses", "--log", "--plot", "--samples", "--save"]
            .iter()
            .zip(&files)
        {
            let _ = fs::remove_file(file);
            command.arg(option).arg(file);
        }
        let mut printed = lines(&mpirun(processes, &command).output().unwrap());
        let is_early = printed
            .iter()
            .any(|line| line.starts_with("stopped early at step "));
        assert!(is_early, "{printed:?}");
        assert!(
            printed.iter().any(|line| line.contains("precision")),
            "{printed:?}"
        );
        // The last line contains durations, which differ between runs.
        printed.pop();
        printed.retain(|line| !line.starts_with("processes: "));
        let mut contents = files.map(|file| fs::read(file).unwrap());
        let without_seconds = |line: &str| line.split_once(",\"seconds\"").unwrap().0.to_owned();
        let log: Vec<String> = text(&contents[1]).lines().map(without_seconds).collect();
        contents[1].clear();
        (printed, log, contents)
    };
    let alone = run(1);
    let shared = run(2);
    assert_eq!(shared.0, alone.0);
    assert_eq!(shared.1, alone.1);
    assert!(shared.2 == alone.2, "files");
}

/// The reader of standard output closes it early, as `head` does in `mpirun … | head`.
#[test]
fn processes_whose_standard_output_is_closed_end_with_their_training_saved() {
    let few = Few::new();
    let saved = few.path.join("saved.safetensors");
    let words = "--device cpu --batch 20 --eval-every 50 --steps 100000000";
    let mut command = training(&few, words);
    command.arg("--save").arg(&saved);
    let mut command = mpirun(2, &command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
    let evaluated = printed.find(|line| {
        line.as_ref()
            .is_ok_and(|line| line.starts_with("step      50"))
    });
    evaluated.expect("the second evaluation").unwrap();
    drop(printed);
    assert!(ends_within(&mut child, 3 * END));
    let told = of_program(&child.wait_with_output().unwrap());
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("the training was saved"), "{told:?}");
    super::saving::contents(&saved);
}

#[test]
fn processes_on_one_gpu_say_that_they_share_it() {
    let few = Few::new();
    let command = training(&few, "--device gpu --batch 20 --steps 4 --eval-every 0");
    let printed = lines(&mpirun(2, &command).output().unwrap());
    let device = printed
        .iter()
        .find(|line| line.starts_with("device: "))
        .unwrap();
    let gpus = wgrad::Gpu::adapters();
    let alike = |of: &&wgrad::wgpu::AdapterInfo| {
        of.device_type == gpus[0].device_type && of.backend == gpus[0].backend
    };
    let is_told = device.ends_with("; 2 processes share this GPU");
    assert_eq!(is_told, gpus.iter().filter(alike).count() == 1, "{device}");
}

#[test]
fn local_steps_are_a_training_that_can_be_gone_on_with() {
    let few = Few::new();
    let saved = few.path.join("saved.safetensors");
    let run = |after: usize, steps: usize, resume: bool| {
        let words = format!(
            "--device cpu --batch 20 --local-steps 5 --local-after {after} --eval-every 50 --steps {steps}"
        );
        let mut command = training(&few, &words);
        command.arg("--save").arg(&saved);
        if resume {
            command.arg("--resume").arg(&saved);
        }
        lines(&mpirun(2, &command).output().unwrap())
    };
    // The processes first share gradients and later take local steps. The local steps start before, at or after the
    // step at which the run is resumed.
    let mut files = Vec::new();
    for after in [0, 50, 100, 150] {
        let printed = run(after, 200, false);
        let fields = last_line(&printed);
        assert!(super::number(&fields, "train_accuracy") > 0.5, "{fields:?}");
        let at_once = fs::read(&saved).unwrap();
        run(after, 100, false);
        run(after, 200, true);
        assert!(fs::read(&saved).unwrap() == at_once, "{after}");
        assert!(!files.contains(&at_once), "{after}: another training");
        files.push(at_once);
    }
}

#[test]
fn processes_that_do_not_train_together_are_told() {
    let few = Few::new();
    let mut command = example("train_gpu");
    command.args(["--unverified", "--device", "cpu", "--batch", "20", "--data"]);
    command.arg(&few.path).args(["--steps", "4", "--quiet"]);
    for processes in [1, 2] {
        let output = mpirun(processes, &command).output().unwrap();
        assert_eq!(last_lines(&output), processes);
        let told = text(&output.stderr);
        let told = told.matches("to train together, add --mpi").count();
        assert_eq!(told, processes - 1);
    }
}

/// Returns the number of processes that printed their results.
fn last_lines(output: &Output) -> usize {
    let printed = lines(output);
    let last = printed
        .iter()
        .filter(|line| line.starts_with("device=cpu "));
    last.count()
}

#[test]
fn what_cannot_be_shared_is_told_once() {
    let few = Few::new();
    for (processes, words, parts) in [
        (
            2,
            "--batch 22",
            &["--batch must be a multiple of the 4 --shards", "22"][..],
        ),
        (
            2,
            "--local-steps 7",
            &["--local-steps must be a number that divides"],
        ),
        (
            3,
            "--shards 2 --batch 20",
            &["--shards must be at least 3", "it is 2"],
        ),
        (
            3,
            "--shards 4 --batch 20 --local-steps 5 --local-after 10",
            &["--shards must be a multiple of the 3 processes", "it is 4"],
        ),
        (2, "--shards 0", &["--shards must be at least 1"]),
        (2, "--learning-rate 1e30 --batch 20", &["training diverged"]),
        (2, "--resume nothing-there --batch 20", &["cannot resume"]),
    ] {
        let command = training(&few, &format!("--device cpu --steps 20 {words}"));
        let output = mpirun(processes, &command).output().unwrap();
        assert!(!output.status.success(), "{words}");
        let told = of_program(&output);
        assert_eq!(told.len(), 1, "{words}: {told:?}");
        for part in parts {
            assert!(told[0].contains(part), "{words}: {told:?}");
        }
    }
}

/// One of the processes has another seed, device, file or option than the others.
#[test]
fn processes_with_other_settings_are_told() {
    let few = Few::new();
    let always = "--device cpu --batch 20 --eval-every 50 --steps";
    let run = |both: [&str; 2]| {
        let [first, second] = both.map(|words| training(&few, &format!("{always} {words}")));
        let mut command = started();
        add_program(&mut command, 1, &first);
        command.arg(":");
        add_program(&mut command, 1, &second);
        command.current_dir(&few.path);
        command.output().unwrap()
    };
    let output = run(["100 --save saved"; 2]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for (both, expected) in [
        (
            ["100", "100 --seed 1"],
            "training of process 1 must be the same as that of process 0",
        ),
        (
            ["100", "100 --patience 3"],
            "--patience of process 1 must be the same",
        ),
        (
            ["200", "200 --resume saved"],
            "--resume of process 1 must be the same",
        ),
        // Process 1 fails and reports its error, while process 0 is waiting for it.
        (
            ["200 --resume saved", "200 --resume nothing-there"],
            "process 1: cannot resume",
        ),
    ] {
        let output = run(both);
        assert!(!output.status.success(), "{both:?}");
        let told = of_program(&output);
        assert_eq!(told.len(), 1, "{both:?}: {told:?}");
        assert!(
            told[0].starts_with(&format!("error: {expected}")),
            "{told:?}"
        );
    }
    let [first, second] = ["cpu", "gpu"].map(|device| {
        let mut command = example("train_gpu");
        command.args(["--mpi", "--unverified", "--batch", "20", "--device", device]);
        command.arg("--data").arg(&few.path);
        command
    });
    let mut command = started();
    add_program(&mut command, 1, &first);
    command.arg(":");
    add_program(&mut command, 1, &second);
    let told = of_program(&command.output().unwrap());
    assert_eq!(told.len(), 1, "{told:?}");
    let expected =
        "error: device of process 1 must be the same as that of process 0, the CPU engine";
    assert!(told[0].starts_with(expected), "{told:?}");
}

/// During local steps, the step at which a training resumes must be a multiple of `--local-steps`. If it is not, for
/// example because an interrupted run saved its checkpoint between two evaluations, the run is refused.
#[test]
fn local_steps_that_do_not_fit_a_file_are_told_before_the_first_step() {
    let few = Few::new();
    let saved = few.path.join("saved.safetensors");
    let run = |words: &str| {
        let always = "--device cpu --batch 20 --eval-every 0";
        let mut command = training(&few, &format!("{always} {words}"));
        command.arg("--save").arg(&saved);
        if saved.exists() {
            command.arg("--resume").arg(&saved);
        }
        mpirun(2, &command).output().unwrap()
    };
    lines(&run("--steps 37"));
    let told = of_program(&run("--steps 60 --local-steps 5"));
    assert_eq!(told.len(), 1, "{told:?}");
    let expected = "error: --local-steps must be a number that divides the 37 steps";
    assert!(told[0].starts_with(expected), "{told:?}");
    lines(&run("--steps 60 --local-steps 5 --local-after 40"));
}

/// Waits until the training has begun. Returns the ids of the processes that `mpirun` started.
fn ranks(mpirun: &Child) -> Vec<u32> {
    let is_child = |id: u32| {
        let status = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let behind_name = status.rsplit_once(')').map_or("", |(_, rest)| rest);
        behind_name.split_whitespace().nth(1) == Some(&mpirun.id().to_string())
    };
    let ids = fs::read_dir("/proc").unwrap();
    let ids = ids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut ids: Vec<u32> = ids.filter(|&id| is_child(id)).collect();
    ids.sort_unstable();
    ids
}

fn send(id: u32, signal: &str) {
    let sent = Command::new("kill")
        .args([signal, &id.to_string()])
        .status();
    assert!(sent.unwrap().success(), "{signal}");
}

/// Waits at most `time` for the child to end. Returns whether it has ended.
fn ends_within(child: &mut Child, time: Duration) -> bool {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > time {
            return false;
        }
        sleep(Duration::from_millis(5));
    }
    true
}

const TRAINED: &str = "--device cpu --batch 20 --quiet --hidden 200";

#[test]
fn a_killed_process_ends_all_and_the_training_goes_on_with_the_same_bits() {
    let few = Few::new();
    let [saved, whole] = ["saved.safetensors", "whole.safetensors"].map(|of| few.path.join(of));
    let kills = kills(FEW_KILLS).max(2);
    for kill in 0..kills {
        let mut command = training(&few, &format!("{TRAINED} --steps 100000000 --eval-every 5"));
        command.arg("--save").arg(&saved);
        if saved.exists() {
            command.arg("--resume").arg(&saved);
        }
        let mut command = mpirun(2, &command);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let ids = loop {
            let ids = ranks(&child);
            if ids.len() == 2 {
                break ids;
            }
            assert!(
                child.try_wait().unwrap().is_none(),
                "it has ended by itself"
            );
        };
        // Half of the kills come during the start, and half while the processes train and save.
        match kill % 2 {
            0 => sleep(moment(kill, Duration::from_millis(1500))),
            _ => {
                saves_again(&saved);
                sleep(moment(kill, Duration::from_millis(200)));
            }
        }
        let killed = Instant::now();
        send(ids[kill / 2 % 2], "-KILL");
        let ended = ends_within(&mut child, END);
        assert!(ended, "kill {kill}");
        let output = child.wait_with_output().unwrap();
        assert!(!output.status.success());
        let stderr = text(&output.stderr);
        // Open MPI reports either that a process was killed, or that another process ended because of it, whichever it
        // notices first.
        let says = ["signal 9", "the job has been aborted"];
        assert!(says.iter().any(|words| stderr.contains(words)), "{stderr}");
        let own = ["error:", "panicked"];
        assert!(!own.iter().any(|words| stderr.contains(words)), "{stderr}");
        let runs = |id: &u32| Path::new(&format!("/proc/{id}")).exists();
        while ids.iter().any(runs) {
            assert!(killed.elapsed() < END, "kill {kill}: {ids:?} run on");
            sleep(Duration::from_millis(5));
        }
    }
    let (step, _) = super::saving::contents(&saved);
    let steps = step.parse::<usize>().unwrap() + 7;
    let finish = |from: Option<&Path>, to: &Path, processes| {
        let words = format!("{TRAINED} --eval-every 0 --steps {steps}");
        let mut command = training(&few, &words);
        command.arg("--save").arg(to);
        if let Some(from) = from {
            command.arg("--resume").arg(from);
        }
        lines(&mpirun(processes, &command).output().unwrap());
        fs::read(to).unwrap()
    };
    let at_once = finish(None, &whole, 1);
    assert!(
        finish(Some(&saved), &saved, 2) == at_once,
        "after {steps} steps"
    );
}

#[test]
fn an_interrupted_training_is_saved_by_one_of_them() {
    let few = Few::new();
    for signal in ["-INT", "-TERM", "-USR1"] {
        for local in ["", "--local-steps 5"] {
            let saved = few.path.join(format!("saved{signal}.safetensors"));
            let words =
                format!("--device cpu --batch 20 --steps 100000000 --eval-every 50 {local}");
            let mut command = training(&few, &words);
            command.arg("--save").arg(&saved);
            let mut command = mpirun(2, &command);
            command.stdout(Stdio::null()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            saves_again(&saved);
            send(child.id(), signal);
            let ended = ends_within(&mut child, END);
            assert!(ended, "{signal}");
            let output = child.wait_with_output().unwrap();
            assert!(!output.status.success(), "{signal}");
            let told = of_program(&output);
            assert_eq!(told.len(), 1, "{signal}: {}", text(&output.stderr));
            assert!(told[0].starts_with("interrupted after step "), "{told:?}");
            assert!(told[0].contains("the training was saved"), "{told:?}");
            let step = told[0].strip_prefix("interrupted after step ").unwrap();
            let (step, _) = step.split_once(';').unwrap();
            assert_eq!(super::saving::contents(&saved).0, step);
            fs::remove_file(&saved).unwrap();
        }
    }
}
