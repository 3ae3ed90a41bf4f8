//! Runs tests, several at a time, and finds the first test that detects a fault.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use super::binaries::Suite;
use super::faults::Fault;
use crate::host::{Ended, Failure, Host, Invocation, Running};

/// The environment variable with the path of the faulty shader (see `src/kernel/fault.rs`).
const FAULT: &str = "WGRAD_FAULT";
/// The environment variable with the path of a file to which a test writes the names of the shaders that it uses.
const SHADERS_USED: &str = "WGRAD_SHADERS_MET";
/// The exit code of a test whose planted fault is not valid WGSL.
const INVALID: i32 = 86;
/// The exit code of a test that fails.
const FAILED: i32 = 101;

/// The time limit of a test is `PATIENCE` times its duration without a fault, plus `GRACE`.
const PATIENCE: u32 = 3;
const GRACE: Duration = Duration::from_secs(5);

/// How a test detected a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// The test failed.
    Failed,
    /// The test's process crashed.
    Crashed,
    /// The test exceeded its time limit.
    Hung,
}

/// The outcome of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The test with this index detected the fault.
    Caught { test: usize, how: How },
    /// All tests passed.
    Lived,
    /// The faulty shader is not valid WGSL.
    Invalid,
}

/// Runs the tests. Knows each test's duration and shaders from a run without a fault.
#[derive(Debug)]
pub(crate) struct Runner<'r, H: Host> {
    host: &'r H,
    suite: &'r Suite,
    scratch: &'r Path,
    vars: Vec<(&'static str, PathBuf)>,
    jobs: usize,
    grace: Duration,
    /// The duration and shaders of each test.
    known: Vec<Known>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    duration: Duration,
    /// The names of the shaders that the test uses. It can detect faults only in these.
    shaders: HashSet<String>,
}

/// A sequence of tests that run one after the other, until a test does not pass.
struct Lane {
    vars: Vec<(&'static str, PathBuf)>,
    tests: Vec<usize>,
    limited: bool,
}

/// How a lane ended.
#[derive(Default)]
struct End {
    /// The total duration of the lane's tests.
    duration: Duration,
    /// The index of the test that did not pass, and the reason. `None` if all tests passed.
    stopped: Option<(usize, Stop)>,
    stdout: PathBuf,
    stderr: PathBuf,
}

enum Stop {
    Ended(Ended),
    TimeLimit,
}

/// A lane that is running, with its current test.
struct Slot {
    /// The lane's index.
    number: usize,
    lane: Lane,
    /// The index in the lane of the current test.
    place: usize,
    running: Box<dyn Running>,
    start: Instant,
    /// The time when the lane's first test started.
    lane_start: Instant,
    limit: Duration,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl<'r, H: Host> Runner<'r, H> {
    /// Creates a runner. Before it can plant faults, [`look`](Self::look) must run the tests without a fault.
    pub(crate) fn new(host: &'r H, suite: &'r Suite, scratch: &'r Path, jobs: usize) -> Self {
        Self {
            host,
            suite,
            scratch,
            vars: Vec::new(),
            jobs,
            grace: GRACE,
            known: vec![Known::default(); suite.tests.len()],
        }
    }

    /// Sets an environment variable for all tests.
    pub(crate) fn with_var(mut self, name: &'static str, value: &Path) -> Self {
        self.vars.push((name, value.to_owned()));
        self
    }

    /// Runs every test without a fault, and records its duration and its shaders. Returns the messages of tests that
    /// skip something.
    pub(crate) fn look(&mut self) -> Result<Vec<String>, Failure> {
        let count = self.suite.tests.len();
        let met = |test: usize| self.scratch.join(format!("met-{test}"));
        let lane = |test: usize| {
            Ok(Lane {
                vars: vec![(SHADERS_USED, met(test))],
                tests: vec![test],
                limited: false,
            })
        };
        let mut known = vec![Known::default(); count];
        let mut skipped = BTreeMap::new();
        let mut failure = None;
        self.drive(count, lane, |test, end| {
            let [stdout, stderr] = [&end.stdout, &end.stderr].map(|path| {
                String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
            });
            if end.stopped.is_some() {
                failure = Some(format!(
                    "{} fails without any fault:\n{stdout}{stderr}",
                    self.suite.name(test)
                ));
                return false;
            }
            for line in stderr.lines().filter(|line| line.starts_with("SKIPPED")) {
                *skipped.entry(line.to_owned()).or_insert(0) += 1;
            }
            // A test that uses no shader writes no file.
            let shaders = fs::read_to_string(met(test)).unwrap_or_default();
            known[test] = Known {
                duration: end.duration,
                shaders: shaders.lines().map(str::to_owned).collect(),
            };
            true
        })?;
        if let Some(failure) = failure {
            return Err(Failure::new(failure));
        }
        self.known = known;
        let skipped = skipped.into_iter();
        Ok(skipped
            .map(|(line, times)| format!("{times} × {line}"))
            .collect())
    }

    /// Returns the names of all shaders that the tests use.
    pub(crate) fn shaders(&self) -> BTreeSet<&str> {
        let shaders = self.known.iter().flat_map(|known| &known.shaders);
        shaders.map(String::as_str).collect()
    }

    /// Returns the sum of all tests' durations without a fault.
    pub(crate) fn duration(&self) -> Duration {
        self.known.iter().map(|known| known.duration).sum()
    }

    /// Returns the tests that use a shader, in the order of the binaries. Within a binary, the fastest test comes
    /// first.
    fn tests_of(&self, shader: &str) -> Vec<usize> {
        let tests = 0..self.known.len();
        let mut tests: Vec<usize> = tests
            .filter(|&test| self.known[test].shaders.contains(shader))
            .collect();
        tests.sort_by_key(|&test| (self.suite.tests[test].binary, self.known[test].duration));
        tests
    }

    /// Plants each fault in its shader's text, and runs the tests that use the shader. Calls `report` for each fault as
    /// soon as its outcome is known.
    pub(crate) fn plant(
        &self,
        faults: &[&Fault],
        texts: &BTreeMap<String, String>,
        mut report: impl FnMut(usize, Verdict, Duration),
    ) -> Result<(), Failure> {
        let file = |number: usize| self.scratch.join(format!("fault-{number}"));
        let lane = |number: usize| {
            let fault = faults[number];
            let text = texts.get(&fault.shader).map_or("", String::as_str);
            let contents = format!("{}\n{text}{}", text.len(), fault.planted_in(text));
            fs::write(file(number), contents)?;
            Ok(Lane {
                vars: vec![(FAULT, file(number))],
                tests: self.tests_of(&fault.shader),
                limited: true,
            })
        };
        self.drive(faults.len(), lane, |number, end| {
            let verdict = match end.stopped {
                None => Verdict::Lived,
                Some((_, Stop::Ended(Ended::Code(INVALID)))) => Verdict::Invalid,
                Some((test, stop)) => Verdict::Caught {
                    test,
                    how: match stop {
                        Stop::TimeLimit => How::Hung,
                        Stop::Ended(Ended::Code(FAILED)) => How::Failed,
                        Stop::Ended(_) => How::Crashed,
                    },
                },
            };
            report(number, verdict, end.duration);
            true
        })
    }

    /// Runs `count` lanes, at most `jobs` at a time. Stops early when `done`, which is called after each lane, returns
    /// false.
    fn drive(
        &self,
        count: usize,
        lane: impl Fn(usize) -> io::Result<Lane>,
        done: impl FnMut(usize, End) -> bool,
    ) -> Result<(), Failure> {
        let mut slots = Vec::new();
        let driven = self.fill(&mut slots, count, lane, done);
        // Kills the tests that are still running, even after an error.
        let killed: Vec<io::Result<()>> = slots
            .iter_mut()
            .map(|slot: &mut Slot| slot.running.kill())
            .collect();
        let all = driven.and(killed.into_iter().collect());
        all.map_err(|error| Failure::new(format!("cannot run a test: {error}")))
    }

    /// The main loop of [`drive`](Self::drive). On return, `slots` contains the lanes that are still running.
    fn fill(
        &self,
        slots: &mut Vec<Slot>,
        count: usize,
        lane: impl Fn(usize) -> io::Result<Lane>,
        mut done: impl FnMut(usize, End) -> bool,
    ) -> io::Result<()> {
        let mut next = 0;
        let mut goes_on = true;
        while goes_on && (next < count || !slots.is_empty()) {
            while slots.len() < self.jobs && next < count {
                let lane = lane(next)?;
                if lane.tests.is_empty() {
                    // No test uses this shader.
                    goes_on &= done(next, End::default());
                } else {
                    let start = Instant::now();
                    slots.push(self.start(next, lane, 0, start)?);
                }
                next += 1;
            }
            let mut at = 0;
            while at < slots.len() {
                let Some(stop) = self.stop(&mut slots[at])? else {
                    at += 1;
                    continue;
                };
                let slot = slots.swap_remove(at);
                let number = slot.number;
                let place = slot.place;
                if stop.is_none() && place + 1 < slot.lane.tests.len() {
                    let start = slot.lane_start;
                    let slot = self.start(number, slot.lane, place + 1, start);
                    slots.push(slot?);
                    continue;
                }
                let end = End {
                    duration: slot.lane_start.elapsed(),
                    stopped: stop.map(|stop| (slot.lane.tests[place], stop)),
                    stdout: slot.stdout,
                    stderr: slot.stderr,
                };
                let files = [end.stdout.clone(), end.stderr.clone()];
                goes_on &= done(number, end);
                for path in slot
                    .lane
                    .vars
                    .into_iter()
                    .map(|(_, path)| path)
                    .chain(files)
                {
                    // A test that uses no shader writes no file.
                    let _ = fs::remove_file(path);
                }
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn start(
        &self,
        number: usize,
        lane: Lane,
        place: usize,
        lane_start: Instant,
    ) -> io::Result<Slot> {
        let invocation = self.invocation(&lane, place);
        let [stdout, stderr] =
            ["stdout", "stderr"].map(|name| self.scratch.join(format!("{name}-{number}")));
        let running = self.host.start(&invocation, &stdout, Some(&stderr))?;
        Ok(Slot {
            number,
            limit: self.limit(self.known[lane.tests[place]].duration),
            lane,
            place,
            running,
            start: Instant::now(),
            lane_start,
            stdout,
            stderr,
        })
    }

    /// Returns `None` while the test is running, `Some(None)` if it passed, and otherwise the reason why the lane
    /// stops.
    fn stop(&self, slot: &mut Slot) -> io::Result<Option<Option<Stop>>> {
        Ok(match slot.running.ended()? {
            Some(Ended::Code(0)) => Some(None),
            Some(ended) => Some(Some(Stop::Ended(ended))),
            None if slot.lane.limited && slot.start.elapsed() > slot.limit => {
                slot.running.kill()?;
                // The machine may be busier now than during the first run: measure the test again without a fault.
                let limit = self.limit(self.time(slot.lane.tests[slot.place])?);
                if limit <= slot.limit {
                    return Ok(Some(Some(Stop::TimeLimit)));
                }
                let invocation = self.invocation(&slot.lane, slot.place);
                let stdout = &slot.stdout;
                let stderr = Some(&*slot.stderr);
                slot.running = self.host.start(&invocation, stdout, stderr)?;
                (slot.start, slot.limit) = (Instant::now(), limit);
                None
            }
            None => None,
        })
    }

    /// Returns the time limit of a test with this duration without a fault.
    fn limit(&self, duration: Duration) -> Duration {
        duration * PATIENCE + self.grace
    }

    /// Runs a test without a fault, and returns its duration.
    fn time(&self, test: usize) -> io::Result<Duration> {
        let lane = Lane {
            vars: Vec::new(),
            tests: vec![test],
            limited: false,
        };
        let [stdout, stderr] = ["timed", "timed-errors"].map(|name| self.scratch.join(name));
        let start = Instant::now();
        let invocation = self.invocation(&lane, 0);
        let mut running = self.host.start(&invocation, &stdout, Some(&stderr))?;
        while running.ended()?.is_none() {
            thread::sleep(Duration::from_millis(2));
        }
        Ok(start.elapsed())
    }

    fn invocation(&self, lane: &Lane, place: usize) -> Invocation {
        let vars = self.vars.iter().chain(&lane.vars);
        let invocation = self.suite.invocation(lane.tests[place]);
        vars.fold(invocation, |invocation, (name, value)| {
            invocation.with_var(name, value)
        })
    }
}

#[cfg(test)]
mod tests;
