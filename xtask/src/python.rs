//! Finds or creates a Python with ONNX Runtime, or asks the user for one. With it, `tests/onnx.rs` runs exported
//! networks.
//!
//! The Python is a virtual environment in `target/python` with the packages of `tests/onnx/requirements.txt`. After the
//! installation, that file is copied into the environment. If the copy equals the file, nothing is downloaded again.

use std::fs;
use std::path::{Path, PathBuf};

use crate::apt::Apt;
use crate::host::{Failure, Host, Invocation};

/// The environment variable that names another Python for the tests.
const VARIABLE: &str = "WGRAD_PYTHON";
const ENVIRONMENT: &str = "target/python";
const REQUIREMENTS: &str = "tests/onnx/requirements.txt";
/// The copy of `requirements.txt` that shows which packages are installed.
const INSTALLED: &str = "target/python/requirements.txt";
const PACKAGES: [&str; 2] = ["python3", "python3-venv"];
/// The oldest Python version that the packages support.
const OLDEST: (u32, u32) = (3, 11);
/// A Python program that prints the version of Python. It fails if Python cannot create environments: on Debian,
/// `ensurepip` is in a separate package.
const PROBE: &str = "import ensurepip, sys, venv; print(*sys.version_info[:2])";

/// Instructions for installation by hand.
const BY_HAND: &str = "\
Install Python 3.11 or newer with venv and pip, then run this again:

  Debian, Ubuntu  sudo apt-get install python3-venv
  Fedora          sudo dnf install python3
  Arch            sudo pacman -S python

Set WGRAD_PYTHON=/path/to/python to use a Python that has the packages of
tests/onnx/requirements.txt.";

/// Makes sure that the tests will find a Python with ONNX Runtime.
pub(crate) fn setup(host: &impl Host) -> Result<(), Failure> {
    if let Some(named) = host.var(VARIABLE) {
        eprintln!("xtask: {VARIABLE} is {named}");
        return Ok(());
    }
    let required = fs::read_to_string(host.root().join(REQUIREMENTS))
        .map_err(|error| Failure::new(format!("cannot read {REQUIREMENTS}: {error}")))?;
    let python = interpreter(host);
    let installed = fs::read_to_string(host.root().join(INSTALLED));
    if python.is_file() && installed.is_ok_and(|installed| installed == required) {
        eprintln!("xtask: ONNX Runtime in {ENVIRONMENT}");
        return Ok(());
    }
    let explained =
        |failure: Failure| Failure::new(format!("no ONNX Runtime: {failure}.\n{BY_HAND}"));
    let base = base(host).map_err(explained)?;
    eprintln!("xtask: installing ONNX Runtime into {ENVIRONMENT}, to run what the crate exports");
    install(host, base, &python).map_err(explained)?;
    fs::write(host.root().join(INSTALLED), required)
        .map_err(|error| Failure::new(format!("cannot write {INSTALLED}: {error}")))
}

/// Returns the path of the environment's Python, which need not exist.
fn interpreter(host: &impl Host) -> PathBuf {
    let environment = host.root().join(ENVIRONMENT);
    match host.os() {
        "windows" => environment.join("Scripts/python.exe"),
        _ => environment.join("bin/python"),
    }
}

/// Returns a Python that can create the environment. Installs it if necessary.
fn base(host: &impl Host) -> Result<&'static str, Failure> {
    let why = match find(host) {
        Ok(found) => return Ok(found),
        Err(why) => why,
    };
    let Some(apt) = Apt::find(host).filter(|_| host.os() == "linux") else {
        return Err(Failure::new(why));
    };
    let purpose = "so that ONNX Runtime runs what the crate exports";
    apt.install(host, &PACKAGES, purpose)?;
    find(host).map_err(|why| Failure::new(format!("apt-get succeeded, but still: {why}")))
}

/// Returns the first suitable Python. The error says why there is none.
fn find(host: &impl Host) -> Result<&'static str, String> {
    let (major, minor) = OLDEST;
    let mut why = format!("there is no Python {major}.{minor} or newer with venv and pip");
    for program in ["python3", "python"] {
        match host.output(program, &["-c", PROBE]) {
            Some(version) if parsed(&version).is_some_and(|found| found >= OLDEST) => {
                return Ok(program);
            }
            Some(version) => {
                let version = version.trim().replace(' ', ".");
                why = format!("{program} is Python {version}, older than {major}.{minor}");
            }
            None => {}
        }
    }
    Err(why)
}

/// Parses a version: (3, 11) for `3 11`.
fn parsed(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.trim().split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Creates a new environment with the required packages. An old environment is deleted first.
fn install(host: &impl Host, base: &str, python: &Path) -> Result<(), Failure> {
    let make = Invocation::new(base, ["-m", "venv", "--clear", ENVIRONMENT]);
    // `--no-deps`: the list has all packages that are needed. The other dependencies are for features that the tests do
    // not use.
    let options =
        "-m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all:";
    let options = options.split(' ').chain(["--requirement", REQUIREMENTS]);
    for invocation in [make, Invocation::new(python, options)] {
        eprintln!("xtask: $ {invocation}");
        host.run_or_fail(&invocation)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::fake::Fake;

    const LIST: &str = "onnxruntime==1.0\n";
    const PIP: &str = "-m pip install --quiet --disable-pip-version-check --no-deps \
        --only-binary :all: --requirement tests/onnx/requirements.txt";

    /// A fake machine with `requirements.txt`, on which environments can be created.
    fn bare(os: &'static str) -> io::Result<Fake> {
        let fake = Fake::new(os)?.on_run(|fake, line| {
            let made = [
                "target/python/bin/python",
                "target/python/Scripts/python.exe",
            ];
            let makes = line.contains(" venv ");
            u8::from(makes && made.iter().any(|path| fake.put(path).is_err()))
        });
        fake.write(REQUIREMENTS, LIST)?;
        Ok(fake)
    }

    fn probe(program: &str) -> String {
        Invocation::new(program, ["-c", PROBE]).to_string()
    }

    fn message(outcome: Result<(), Failure>) -> String {
        outcome
            .err()
            .map(|failure| failure.message)
            .unwrap_or_default()
    }

    #[test]
    fn an_environment_is_made_once() -> io::Result<()> {
        for (os, interpreter) in [
            ("linux", "target/python/bin/python"),
            ("windows", "target/python/Scripts/python.exe"),
        ] {
            let fake = bare(os)?.answers(probe("python3"), "3 11\n");
            assert!(setup(&fake).is_ok());
            let pip = format!("{} {PIP}", fake.root().join(interpreter).display());
            let expected = ["python3 -m venv --clear target/python".to_owned(), pip];
            assert_eq!(fake.ran(), expected);
            assert!(setup(&fake).is_ok());
            assert_eq!(fake.ran().len(), 2, "it is there");
            // Either `requirements.txt` has changed, or the interpreter is missing.
            fake.write(INSTALLED, "onnxruntime==0.9\n")?;
            assert!(setup(&fake).is_ok());
            assert_eq!(fake.ran().len(), 4);
            fs::remove_file(fake.root().join(interpreter))?;
            assert!(setup(&fake).is_ok());
            assert_eq!(fake.ran().len(), 6);
        }
        Ok(())
    }

    #[test]
    fn a_python_that_is_named_is_left_alone() -> io::Result<()> {
        let fake = bare("linux")?.env(VARIABLE, "/opt/python");
        assert!(setup(&fake).is_ok());
        assert!(fake.ran().is_empty());
        Ok(())
    }

    #[test]
    fn another_name_and_a_newer_version_will_do() -> io::Result<()> {
        let old = probe("python3");
        let fake = bare("macos")?.answers(old, "3 9\n");
        let fake = fake.answers(probe("python"), "3 14\n");
        assert!(setup(&fake).is_ok());
        assert!(fake.ran()[0].starts_with("python -m venv "));
        Ok(())
    }

    #[test]
    fn where_none_will_do_it_says_what_to_install_and_touches_nothing() -> io::Result<()> {
        let none = bare("linux")?;
        let old = bare("linux")?.answers(probe("python3"), "3 10\n");
        let without_apt = bare("macos")?.answers("apt-get --version", "apt 2.6.1");
        let without_apt = without_apt.answers("id -u", "0\n");
        let absent = "there is no Python 3.11 or newer";
        for (fake, why) in [
            (none, absent),
            (old, "python3 is Python 3.10, older than 3.11"),
            (without_apt, absent),
        ] {
            let message = message(setup(&fake));
            assert!(message.contains(why), "{message}");
            assert!(message.contains(BY_HAND), "{message}");
            assert!(fake.ran().is_empty());
        }
        Ok(())
    }

    /// On Debian, `python3` has no `ensurepip`, so [`PROBE`] fails and root installs the missing package.
    #[test]
    fn root_installs_what_is_missing() -> io::Result<()> {
        let fake = bare("linux")?.answers("apt-get --version", "apt 2.6.1");
        let fake = fake.answers("id -u", "0\n");
        let message = message(setup(&fake));
        assert!(
            message.contains("apt-get succeeded, but still"),
            "{message}"
        );
        let ran = fake.ran();
        assert_eq!(ran.len(), 2);
        let install = "install -y --no-install-recommends python3 python3-venv";
        assert!(ran[1].ends_with(install), "{}", ran[1]);
        Ok(())
    }

    #[test]
    fn what_was_not_installed_does_not_count() -> io::Result<()> {
        let fake = bare("linux")?.answers(probe("python3"), "3 12\n");
        let fake = fake.on_run(|fake, line| {
            let made = fake.put("target/python/bin/python");
            u8::from(line.contains(" pip ") || made.is_err())
        });
        for runs in [2, 4] {
            let message = message(setup(&fake));
            assert!(message.contains("failed with exit code 1"), "{message}");
            assert_eq!(fake.ran().len(), runs);
        }
        Ok(())
    }
}
