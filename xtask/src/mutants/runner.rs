//! Runs tests one by one, several side by side, and says which first saw a fault.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use super::binaries::Suite;
use super::faults::Fault;
use crate::host::{Ended, Failure, Host, Invocation, Running};

/// Names the file with a fault: see `src/kernel/fault.rs`.
const FAULT: &str = "WGRAD_FAULT";
/// Names the file that gets the names of the shaders that a test's kernels are made of.
const MET: &str = "WGRAD_SHADERS_MET";
/// The exit code of a test that was given a fault that is no valid WGSL.
const INVALID: i32 = 86;
/// The exit code of tests that failed.
const FAILED: i32 = 101;

/// How long a test may take: so many times what it takes without a fault, and so much more.
const PATIENCE: u32 = 3;
const GRACE: Duration = Duration::from_secs(5);

/// How a test saw a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// It failed.
    Failed,
    /// The process crashed.
    Crashed,
    /// It did not end in time.
    Hung,
}

/// What became of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// By the test of this number.
    Caught { test: usize, how: How },
    /// All tests passed.
    Lived,
    /// It is no valid WGSL.
    Invalid,
}

/// The tests with what is known of them from a run without a fault.
#[derive(Debug)]
pub(crate) struct Runner<'r, H: Host> {
    host: &'r H,
    suite: &'r Suite,
    scratch: &'r Path,
    vars: Vec<(&'static str, PathBuf)>,
    jobs: usize,
    grace: Duration,
    /// Of each test.
    known: Vec<Known>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    duration: Duration,
    /// The shaders that it can see a fault in.
    shaders: HashSet<String>,
}

/// Tests that run one after the other, until one does not pass.
struct Lane {
    vars: Vec<(&'static str, PathBuf)>,
    tests: Vec<usize>,
    limited: bool,
}

/// How a lane ended.
#[derive(Default)]
struct End {
    /// What its tests took.
    duration: Duration,
    /// The test that did not pass.
    stopped: Option<(usize, Stop)>,
    stdout: PathBuf,
    stderr: PathBuf,
}

enum Stop {
    Ended(Ended),
    TimeLimit,
}

/// A test of a lane that runs.
struct Slot {
    /// The lane's number.
    number: usize,
    lane: Lane,
    /// Its place among the lane's tests.
    place: usize,
    running: Box<dyn Running>,
    start: Instant,
    /// When the first of them started.
    lane_start: Instant,
    limit: Duration,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl<'r, H: Host> Runner<'r, H> {
    /// Before anything is known of the tests.
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

    /// With an environment variable for all tests.
    pub(crate) fn with_var(mut self, name: &'static str, value: &Path) -> Self {
        self.vars.push((name, value.to_owned()));
        self
    }

    /// Runs every test without a fault: how long each takes, and which shaders it meets. What tests say that they
    /// leave out is returned.
    pub(crate) fn look(&mut self) -> Result<Vec<String>, Failure> {
        let count = self.suite.tests.len();
        let met = |test: usize| self.scratch.join(format!("met-{test}"));
        let lane = |test: usize| {
            Ok(Lane {
                vars: vec![(MET, met(test))],
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
            // A test that asks for no kernel writes none.
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

    /// The shaders that any test meets.
    pub(crate) fn shaders(&self) -> BTreeSet<&str> {
        let shaders = self.known.iter().flat_map(|known| &known.shaders);
        shaders.map(String::as_str).collect()
    }

    /// What all tests take together without a fault.
    pub(crate) fn duration(&self) -> Duration {
        self.known.iter().map(|known| known.duration).sum()
    }

    /// Tests that can see a fault in a shader: those of one binary together, the quickest first.
    fn tests_of(&self, shader: &str) -> Vec<usize> {
        let tests = 0..self.known.len();
        let mut tests: Vec<usize> = tests
            .filter(|&test| self.known[test].shaders.contains(shader))
            .collect();
        tests.sort_by_key(|&test| (self.suite.tests[test].binary, self.known[test].duration));
        tests
    }

    /// Plants each fault in the text of its shader, and says what became of it as soon as that is known.
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

    /// Runs so many lanes, as many side by side as there are jobs, until `done` returns false.
    fn drive(
        &self,
        count: usize,
        lane: impl Fn(usize) -> io::Result<Lane>,
        done: impl FnMut(usize, End) -> bool,
    ) -> Result<(), Failure> {
        let mut slots = Vec::new();
        let driven = self.fill(&mut slots, count, lane, done);
        // Nothing goes on running, whatever went wrong.
        let killed: Vec<io::Result<()>> = slots
            .iter_mut()
            .map(|slot: &mut Slot| slot.running.kill())
            .collect();
        let all = driven.and(killed.into_iter().collect());
        all.map_err(|error| Failure::new(format!("cannot run a test: {error}")))
    }

    /// The same; what still runs when it ends is in the slots.
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
                match lane.tests.is_empty() {
                    // Nothing looks at it.
                    true => goes_on &= done(next, End::default()),
                    false => {
                        let start = Instant::now();
                        slots.push(self.start(next, lane, 0, start)?);
                    }
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
                    // A test that asks for no kernel writes none.
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

    /// None while a test runs, and then why its lane stops there, if it does.
    fn stop(&self, slot: &mut Slot) -> io::Result<Option<Option<Stop>>> {
        Ok(match slot.running.ended()? {
            Some(Ended::Code(0)) => Some(None),
            Some(ended) => Some(Some(Stop::Ended(ended))),
            None if slot.lane.limited && slot.start.elapsed() > slot.limit => {
                slot.running.kill()?;
                // The machine may have more to do than it had.
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

    /// How long a test may take with a fault that takes so long without one.
    fn limit(&self, duration: Duration) -> Duration {
        duration * PATIENCE + self.grace
    }

    /// How long a test takes now, without a fault.
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
