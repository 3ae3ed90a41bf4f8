use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::binaries::{Binary, Test};
use super::super::faults::faults;
use super::*;
use crate::fake::{ENDLESS, Fake};
use crate::scratch::ScratchDir;

const TEXT: &str = "fn f() {\n    barrier(a);\n    b = c;\n}\n";

/// A suite of three tests in two binaries.
fn suite() -> Suite {
    let binary = |name, path: &str| Binary {
        name,
        path: path.into(),
    };
    let test = |binary, name: &str| Test {
        binary,
        name: name.to_owned(),
    };
    Suite {
        binaries: vec![
            binary("contract", "/t/contract"),
            binary("parity", "/t/parity"),
        ],
        tests: vec![test(1, "slow"), test(0, "all"), test(1, "quick")],
    }
}

/// Returns the path that an environment variable has in a command line.
fn named(line: &str, variable: &str) -> Option<PathBuf> {
    let (_, rest) = line.split_once(&format!("{variable}="))?;
    Some(rest.split(' ').next()?.into())
}

/// Returns the name of the test in a command line.
fn test_of(line: &str) -> &str {
    line.rsplit(' ').next().unwrap_or_default()
}

/// A fake machine whose tests use the shader `one`, except the test `quick`, which uses `two`. `judge` returns a test's
/// exit code from the test's name and the faulty text.
fn machine(judge: impl Fn(&str, &str) -> u8 + Send + Sync + 'static) -> io::Result<Fake> {
    Ok(Fake::new("linux")?.on_run(move |_, line| {
        if let Some(met) = named(line, SHADERS_USED) {
            let shaders = match test_of(line) {
                "quick" => "two\n",
                _ => "one\n",
            };
            return u8::from(fs::write(met, shaders).is_err());
        }
        let text = named(line, FAULT).and_then(|path| fs::read_to_string(path).ok());
        judge(test_of(line), &text.unwrap_or_default())
    }))
}

/// Plants the three faults of the shader `one`. Returns their outcomes, and how many times a test was run for them.
fn verdicts(fake: &Fake, jobs: usize) -> Result<(Vec<Verdict>, usize), Failure> {
    let scratch = ScratchDir::new().map_err(|error| Failure::new(error.to_string()))?;
    let suite = suite();
    let mut runner = Runner::new(fake, &suite, scratch.path(), jobs);
    runner.grace = Duration::ZERO;
    runner.look()?;
    let before = fake.ran().len();
    let faults = faults("one", TEXT);
    let faults: Vec<&Fault> = faults.iter().collect();
    let texts = BTreeMap::from([("one".to_owned(), TEXT.to_owned())]);
    let verdicts = RefCell::new(vec![None; faults.len()]);
    runner.plant(&faults, &texts, |number, verdict, _| {
        verdicts.borrow_mut()[number] = Some(verdict);
    })?;
    let verdicts = verdicts.into_inner().into_iter().flatten().collect();
    Ok((verdicts, fake.ran().len() - before))
}

#[test]
fn the_first_test_that_sees_a_fault_catches_it() -> io::Result<()> {
    // There are three faults. The first test detects one of them, the second test detects another, and no test detects
    // the remaining one.
    let judge = |test: &str, text: &str| {
        let is_seen = match test {
            "all" => {
                !text.ends_with("fn f() {\n    barrier(a);\n    b = c;\n}\n")
                    && text.contains("\n    \n    b")
            }
            _ => text.contains("b += c"),
        };
        if is_seen { 101 } else { 0 }
    };
    for jobs in [1, 2] {
        let (verdicts, ran) = verdicts(&machine(judge)?, jobs).unwrap_or_default();
        let caught = |test| Verdict::Caught {
            test,
            how: How::Failed,
        };
        assert_eq!(verdicts, [caught(1), Verdict::Lived, caught(0)]);
        // For one fault only `all` is run, and for the other two faults both tests. `quick` does not use this shader.
        assert_eq!(ran, 5);
    }
    Ok(())
}

#[test]
fn a_crash_and_an_endless_test_see_a_fault_and_what_is_no_wgsl_is_none() -> io::Result<()> {
    let judge = |_: &str, text: &str| match () {
        () if text.contains("b += c") => 139,
        () if text.contains("b = c;\n}\nfn f() {\n    barrier(a);\n    \n") => ENDLESS,
        () => 86,
    };
    let (verdicts, _) = verdicts(&machine(judge)?, 2).unwrap_or_default();
    let by = |how| Verdict::Caught { test: 1, how };
    assert_eq!(
        verdicts,
        [Verdict::Invalid, by(How::Hung), by(How::Crashed)]
    );
    Ok(())
}

#[test]
fn a_test_that_is_slow_because_the_machine_is_gets_more_time() -> io::Result<()> {
    let faulty = AtomicUsize::new(0);
    let fake = Fake::new("linux")?.on_run(move |_, line| {
        if let Some(met) = named(line, SHADERS_USED) {
            return u8::from(fs::write(met, "one\n").is_err());
        }
        if named(line, FAULT).is_none() {
            // Now the test takes longer without a fault than in the first run.
            thread::sleep(Duration::from_millis(100));
            return 0;
        }
        match faulty.fetch_add(1, Ordering::Relaxed) {
            0 => ENDLESS,
            _ => 101,
        }
    });
    let (verdicts, ran) = verdicts(&fake, 1).unwrap_or_default();
    let caught = Verdict::Caught {
        test: 1,
        how: How::Failed,
    };
    assert_eq!(verdicts, vec![caught; 3]);
    // For the first fault, the test runs twice with the fault and once without it. For the other two faults, it runs
    // once.
    assert_eq!(ran, 5);
    Ok(())
}

#[test]
fn nothing_is_planted_when_a_test_fails_without_a_fault() -> io::Result<()> {
    let fake = Fake::new("linux")?.on_run(|_, line| u8::from(test_of(line) == "all"));
    let message = verdicts(&fake, 1).err().map(|failure| failure.message);
    assert!(message.is_some_and(|text| text.starts_with("contract::all fails without any fault")));
    assert!(fake.ran().iter().all(|line| !line.contains(FAULT)));
    Ok(())
}

#[test]
fn a_fault_that_no_test_meets_lives() -> io::Result<()> {
    // On this machine, no test writes the names of its shaders.
    let (verdicts, ran) = verdicts(&Fake::new("linux")?, 1).unwrap_or_default();
    assert_eq!(verdicts, vec![Verdict::Lived; 3]);
    assert_eq!(ran, 0);
    Ok(())
}
