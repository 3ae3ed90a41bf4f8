//! Mutation testing: plants single faults in the shaders, and counts those that no test detects.
//!
//! A fault is planted at run time, without compiling anything. Tests that were built with `--cfg wgrad_faults` read the
//! faulty shader from a file whose path is in an environment variable (`src/kernel/fault.rs`).

mod binaries;
mod changes;
mod equivalent;
mod faults;
mod lex;
mod options;
mod runner;
mod rust;
mod score;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use crate::driver;
use crate::host::{Failure, Host};
use crate::sanitize;
use crate::scratch::ScratchDir;
use crate::steps::runtime_dir;
use binaries::{Suite, Test};
use equivalent::Equivalent;
use faults::{Fault, Kind, faults};
pub(crate) use options::{Options, Request};
use runner::{How, Runner, Verdict};
use score::{Outcome, Score};

/// Runs the command `cargo xtask mutants`.
pub(crate) fn run(host: &impl Host, request: &Request) -> Result<(), Failure> {
    match request {
        Request::Rust(args) => rust::run(host, args),
        Request::Wgsl(options) => wgsl(host, options),
    }
}

fn wgsl(host: &impl Host, options: &Options) -> Result<(), Failure> {
    let texts = texts(host)?;
    let all: Vec<Fault> = texts
        .iter()
        .flat_map(|(name, text)| faults(name, text))
        .collect();
    let equivalent = listed(host, &all)?;
    let chosen = options.choose(all).map_err(Failure::new)?;
    if options.list {
        for fault in &chosen {
            println!("{fault}");
        }
        println!("{} faults", chosen.len());
        return Ok(());
    }
    let mut score = Score::default();
    let is_left_out = |fault: &&Fault| !options.equivalent && equivalent.reason(fault).is_some();
    let (left_out, planted): (Vec<&Fault>, Vec<&Fault>) = chosen.iter().partition(is_left_out);
    for fault in left_out {
        score.add(fault, &Outcome::Equivalent);
    }
    plant(host, options, &texts, &planted, &equivalent, score)
}

/// Reads the text of each shader. The key is the shader's file name without `.wgsl`.
fn texts(host: &impl Host) -> Result<BTreeMap<String, String>, Failure> {
    let folder = host.root().join("shaders");
    let read = || -> io::Result<BTreeMap<String, String>> {
        let mut texts = BTreeMap::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
                texts.insert(name.to_owned(), fs::read_to_string(&path)?);
            }
        }
        Ok(texts)
    };
    read().map_err(|error| Failure::new(format!("cannot read {}: {error}", folder.display())))
}

/// Reads the list of faults that change no result. Every listed fault must exist.
fn listed(host: &impl Host, all: &[Fault]) -> Result<Equivalent, Failure> {
    let path = host.root().join(equivalent::FILE);
    let text = fs::read_to_string(&path)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?;
    let list = Equivalent::parse(&text).map_err(Failure::new)?;
    match list.stale(all) {
        None => Ok(list),
        Some(message) => Err(Failure::new(message)),
    }
}

/// Builds the tests, runs them once without a fault and then with each fault, and prints the score.
fn plant(
    host: &impl Host,
    options: &Options,
    texts: &BTreeMap<String, String>,
    planted: &[&Fault],
    equivalent: &Equivalent,
    mut score: Score,
) -> Result<(), Failure> {
    driver::setup(host)?;
    let cannot = |error| Failure::new(format!("cannot make a temporary directory: {error}"));
    let scratch = ScratchDir::new().map_err(cannot)?;
    let mut suite = Suite::build(host, scratch.path())?;
    if options.sanitizer {
        let programs = &suite.binaries;
        let is_run = |test: &Test| sanitize::has(programs[test.binary].name, &test.name);
        suite.tests.retain(is_run);
    }
    let lent = runtime_dir(host)?;
    let mut runner = Runner::new(host, &suite, scratch.path(), options.jobs);
    if let Some(lent) = &lent {
        runner = runner.with_var("XDG_RUNTIME_DIR", lent.path());
    }
    look(&mut runner, suite.tests.len())?;
    check_hook(&runner, texts)?;

    let start = Instant::now();
    let count = planted.len();
    let mut done = 0;
    let mut lived = Vec::new();
    let mut wrong = Vec::new();
    let mut slow = Vec::new();
    runner.plant(planted, texts, |number, verdict, duration| {
        let fault = planted[number];
        let reason = equivalent.reason(fault);
        done += 1;
        let (told, outcome) = match (verdict, reason) {
            (Verdict::Invalid, _) => ("no valid WGSL".to_owned(), Outcome::Invalid),
            (Verdict::Lived, Some(_)) => ("lived, as listed".to_owned(), Outcome::Equivalent),
            (Verdict::Lived, None) => {
                lived.push(fault);
                ("LIVED".to_owned(), Outcome::Lived)
            }
            (Verdict::Caught { test, how }, _) => {
                if reason.is_some() {
                    wrong.push(fault);
                }
                if how == How::Hung {
                    slow.push(fault);
                }
                let told = match how {
                    How::Failed => "caught by",
                    How::Crashed => "crashed",
                    How::Hung => "too slow for",
                };
                let by = suite.binaries[suite.tests[test].binary].name;
                let told = format!("{told} {}", suite.name(test));
                (told, Outcome::Caught { by, how })
            }
        };
        eprintln!(
            "[{done}/{count}] {}: {told} in {:.1} s",
            fault.id,
            duration.as_secs_f64()
        );
        score.add(fault, &outcome);
    })?;
    println!("{score}\nin {}", minutes(start.elapsed()));
    told("were caught only by tests that took too long", &slow);
    told("are listed as changing no result, but were caught", &wrong);
    told(
        "lived: no test catches them, and they are not listed as changing no result",
        &lived,
    );
    match (lived.len(), wrong.len()) {
        (0, 0) => Ok(()),
        (0, wrong) => Err(Failure::new(format!(
            "{wrong} faults do not belong in {}",
            equivalent::FILE
        ))),
        (lived, _) => Err(Failure::new(format!(
            "{lived} faults lived: each needs a test, or its reason in {}",
            equivalent::FILE
        ))),
    }
}

fn told(what: &str, faults: &[&Fault]) {
    if !faults.is_empty() {
        println!("\nThese {what}:");
    }
    for fault in faults {
        println!("{fault}");
    }
}

fn minutes(duration: Duration) -> String {
    format!("{:.1} minutes", duration.as_secs_f64() / 60.0)
}

/// Runs the tests without a fault.
fn look<H: Host>(runner: &mut Runner<'_, H>, count: usize) -> Result<(), Failure> {
    eprintln!("xtask: {count} tests without a fault");
    for skipped in runner.look()? {
        eprintln!("xtask: {skipped}");
    }
    eprintln!(
        "xtask: all passed, in {} when run one after the other",
        minutes(runner.duration())
    );
    Ok(())
}

/// Makes sure that every shader has a test, and that planted faults reach the tests. For the latter, plants a text that
/// is not WGSL, which the tests must report as invalid.
fn check_hook<H: Host>(
    runner: &Runner<'_, H>,
    texts: &BTreeMap<String, String>,
) -> Result<(), Failure> {
    let met = runner.shaders();
    if let Some(shader) = texts.keys().find(|name| !met.contains(name.as_str())) {
        return Err(Failure::new(format!(
            "no test has kernels of {shader}.wgsl"
        )));
    }
    let Some((shader, text)) = texts.first_key_value() else {
        return Err(Failure::new("there are no shaders"));
    };
    let nonsense = Fault {
        id: String::new(),
        shader: shader.clone(),
        kind: Kind::Statement,
        function: String::new(),
        line: 1,
        before: String::new(),
        after: String::new(),
        range: 0..text.len(),
        replacement: "no WGSL".to_owned(),
    };
    let mut seen = Verdict::Lived;
    runner.plant(&[&nonsense], texts, |_, verdict, _| seen = verdict)?;
    match seen {
        Verdict::Invalid => Ok(()),
        other => Err(Failure::new(format!(
            "the tests do not report that a text is not WGSL: were they built with `--cfg wgrad_faults`? ({other:?})"
        ))),
    }
}

#[cfg(test)]
mod tests;
