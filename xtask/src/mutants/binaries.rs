//! The tests that can detect planted faults. They are built once; faults are planted at run time.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io, thread};

use crate::host::{self, Ended, Failure, Host, Invocation};

/// The library. Its unit tests are one of the [test binaries](BINARIES).
const LIBRARY: &str = "wgrad";

/// The packages of the test binaries: the library, and the comparison with golden files.
const PACKAGES: [&str; 2] = [LIBRARY, "wgrad-golden"];

/// The test binaries. Those that detect the most faults per second come first.
const BINARIES: [&str; 12] = [
    "contract",
    "gradients",
    "parity",
    LIBRARY,
    "golden",
    "network",
    "training",
    "sanitize",
    "custom_layer",
    "custom_loss",
    "checkpoint",
    "device",
];

/// Tests that are left out because they cannot detect a planted fault: binary and test name.
const LEFT_OUT: [(&str, &str); 1] = [
    // This test compares the kernels' text with the shader files. The files never contain the planted fault.
    (
        "contract",
        "every_entry_point_has_one_contract_and_every_contract_its_file",
    ),
];

/// A test program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binary {
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
}

/// A test: the index of its binary, and its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Test {
    pub(crate) binary: usize,
    pub(crate) name: String,
}

/// All test binaries and their tests.
#[derive(Debug)]
pub(crate) struct Suite {
    pub(crate) binaries: Vec<Binary>,
    pub(crate) tests: Vec<Test>,
}

impl Suite {
    /// Builds the tests with support for planted faults, in a separate target directory. Then asks each binary for its
    /// tests.
    pub(crate) fn build(host: &impl Host, scratch: &Path) -> Result<Self, Failure> {
        let build = build_of(host);
        eprintln!("$ {build}");
        let printed = capture(host, &build, scratch)?;
        let binaries = BINARIES.iter().map(|name| {
            let path = executable(&printed, name);
            let path = path.ok_or_else(|| Failure::new(format!("cargo built no tests `{name}`")));
            Ok(Binary { name, path: path? })
        });
        let mut suite = Self {
            binaries: binaries.collect::<Result<_, Failure>>()?,
            tests: Vec::new(),
        };
        for (at, binary) in suite.binaries.iter().enumerate() {
            let list = Invocation::new(&binary.path, ["--list", "--format=terse"]);
            let printed = capture(host, &list, scratch)?;
            let names = printed
                .lines()
                .filter_map(|line| line.strip_suffix(": test"));
            let names = names.filter(|name| !LEFT_OUT.contains(&(binary.name, name)));
            suite.tests.extend(names.map(|name| Test {
                binary: at,
                name: name.to_owned(),
            }));
        }
        Ok(suite)
    }

    /// Returns the command that runs only this test. `test` is an index into `tests`.
    pub(crate) fn invocation(&self, test: usize) -> Invocation {
        let Test { binary, name } = &self.tests[test];
        Invocation::new(&self.binaries[*binary].path, ["--exact", name.as_str()])
            .with_var("RUST_BACKTRACE", "0")
    }

    /// Returns a test's full name, such as `parity::linear::forward`.
    pub(crate) fn name(&self, test: usize) -> String {
        let Test { binary, name } = &self.tests[test];
        format!("{}::{name}", self.binaries[*binary].name)
    }
}

fn build_of(host: &impl Host) -> Invocation {
    let target = host.var("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| host.root().join("target"), PathBuf::from);
    let mut args: Vec<std::ffi::OsString> = Vec::new();
    for word in "test --release --no-run --message-format json-render-diagnostics".split(' ') {
        args.push(word.into());
    }
    // Uses a separate target directory, because the flags differ from those of an ordinary build. In the same
    // directory, this build would rebuild everything, and the next ordinary build would rebuild everything again.
    args.extend(["--target-dir".into(), target.join("mutants").into()]);
    for package in PACKAGES {
        args.extend(["--package".into(), package.into()]);
    }
    args.push("--lib".into());
    for name in BINARIES.iter().filter(|name| **name != LIBRARY) {
        args.extend(["--test".into(), name.into()]);
    }
    let flags = host.var("RUSTFLAGS").unwrap_or_default();
    let flags = format!("{flags} --cfg wgrad_faults");
    Invocation::new(host::cargo(host), args).with_var("RUSTFLAGS", flags.trim())
}

/// Runs a program, and returns its standard output. Fails if the program fails.
fn capture(host: &impl Host, invocation: &Invocation, scratch: &Path) -> Result<String, Failure> {
    let cannot = |error: io::Error| Failure::new(format!("cannot run `{invocation}`: {error}"));
    let path = scratch.join("printed");
    let mut running = host.start(invocation, &path, None).map_err(cannot)?;
    loop {
        match running.ended().map_err(cannot)? {
            None => thread::sleep(Duration::from_millis(5)),
            Some(Ended::Code(0)) => return fs::read_to_string(&path).map_err(cannot),
            Some(ended) => {
                return Err(Failure::new(format!("`{invocation}` failed: {ended:?}")));
            }
        }
    }
}

/// Finds the path of the test program with this name in cargo's JSON messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let target = format!("\"name\":\"{name}\"");
    let mut lines = messages.lines();
    lines.find_map(|line| {
        if !line.contains("\"reason\":\"compiler-artifact\"") || !line.contains(&target) {
            return None;
        }
        let (_, rest) = line.split_once("\"executable\":\"")?;
        let (path, _) = rest.split_once('"')?;
        Some(path.replace(r"\\", r"\").into())
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::fake::Fake;

    /// Returns a JSON message of cargo for a test program.
    fn message(name: &str, executable: &str) -> String {
        format!(
            "{{\"reason\":\"compiler-artifact\",\"target\":{{\"kind\":[\"test\"],\"name\":\"{name}\"}},\
             \"executable\":{executable}}}\n"
        )
    }

    /// Adds the answers of cargo and of the test programs to a fake machine: cargo has built everything into `/t`, and
    /// each program lists its tests.
    pub(crate) fn built(fake: Fake) -> Fake {
        let mut printed = message("serde", "null");
        for name in BINARIES {
            printed.push_str(&message(name, &format!("\"/t/{name}\"")));
        }
        let line = build_of(&fake).to_string();
        let mut fake = fake.answers(line, &printed);
        for name in BINARIES {
            // Each binary has one test. `contract` also has a test that is left out.
            let left_out = match name {
                "contract" => format!("{}: test\n", LEFT_OUT[0].1),
                _ => String::new(),
            };
            let list = format!("of_{name}: test\n{left_out}\n2 tests, 0 benchmarks\n");
            fake = fake.answers(format!("/t/{name} --list --format=terse"), &list);
        }
        fake
    }

    fn suite(fake: &Fake) -> Result<Suite, Failure> {
        let cannot = |error: io::Error| Failure::new(error.to_string());
        let scratch = crate::scratch::ScratchDir::new().map_err(cannot)?;
        Suite::build(fake, scratch.path())
    }

    #[test]
    fn the_tests_are_built_apart_with_the_flag() -> io::Result<()> {
        let fake = built(
            Fake::new("linux")?
                .env("CARGO_TARGET_DIR", "/t")
                .env("RUSTFLAGS", "-C x"),
        );
        let suite = suite(&fake).map_err(|failure| io::Error::other(failure.to_string()))?;
        let build = fake.ran()[0].clone();
        let expected = "RUSTFLAGS='-C x --cfg wgrad_faults' cargo test --release --no-run --message-format \
            json-render-diagnostics --target-dir /t/mutants --package wgrad --package wgrad-golden --lib --test contract --test gradients ";
        assert!(build.starts_with(expected), "{build}");
        assert_eq!(suite.binaries.len(), BINARIES.len());
        let names: Vec<_> = (0..suite.tests.len())
            .map(|test| suite.name(test))
            .collect();
        assert_eq!(names, BINARIES.map(|name| format!("{name}::of_{name}")));
        assert_eq!(
            suite.invocation(1).to_string(),
            "RUST_BACKTRACE=0 /t/gradients --exact of_gradients"
        );
        Ok(())
    }

    #[test]
    fn what_does_not_compile_is_a_failure() -> io::Result<()> {
        let fake = built(Fake::new("linux")?).on_run(|_, line| u8::from(line.contains("cargo")));
        let failure = suite(&fake).err().map(|failure| failure.message);
        assert!(failure.is_some_and(|message| message.contains("--no-run")));
        Ok(())
    }

    #[test]
    fn a_path_of_windows_is_read() {
        let text = message("parity", r#""C:\\t\\parity.exe""#);
        assert_eq!(executable(&text, "parity"), Some(r"C:\t\parity.exe".into()));
        assert_eq!(executable(&text, "golden"), None);
    }
}
