//! The test command, and the checks of continuous integration.

use std::ffi::{OsStr, OsString};
use std::panic;
use std::path::Path;
use std::thread;
use std::time::Instant;

use crate::host::{self, Failure, Host, Invocation};
use crate::scratch::ScratchDir;
use crate::{browser, driver, mpi, python, web};

/// The Rust target for browsers.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// The oldest Rust version that can build the libraries. It equals `rust-version` in their `Cargo.toml`.
const OLDEST_RUST: &str = "1.89";

/// The features of the library that need no other program. The tests have them anyway.
const FEATURES: &str = "wgrad/download,wgrad/gemm,wgrad/onnx";

/// The cargo arguments of the check with the oldest Rust: the libraries, with [`FEATURES`].
const OLDEST_CHECK: &str = "check --release --workspace --lib --features";

/// If ONNX Runtime is missing, the test that needs it is skipped. If this environment variable is set, the test fails
/// instead.
const REQUIRED: &str = "WGRAD_REQUIRE_ONNXRUNTIME";

/// Arguments that compile the crate `wgrad` at optimization level 1 and in one unit. This is enough, because the tests
/// spend their time in other crates, in drivers and in shaders. From level 2 on, each test program would compile the
/// crate's generic functions again. With several units, the compiler would optimize across the units once more, which
/// takes 40 % longer.
pub(crate) const QUICK: [&str; 5] = [
    "--release",
    "--config",
    "profile.release.package.wgrad.opt-level=1",
    "--config",
    "profile.release.package.wgrad.codegen-units=1",
];

/// Runs `cargo test` with these further arguments, which may select tests. A GPU driver is required. ONNX Runtime and
/// MPI are used if they are installed or can be installed.
pub(crate) fn test(host: &impl Host, args: &[OsString]) -> Result<(), Failure> {
    if let Err(failure) = python::setup(host) {
        eprintln!("xtask: {failure}\nxtask: the test that needs ONNX Runtime will skip");
    }
    if let Err(failure) = mpi::setup(host) {
        eprintln!("xtask: {failure}\nxtask: the tests of the feature mpi are left out");
    }
    with_driver(
        host,
        Invocation::new(host::cargo(host), test_args(host, args)),
    )
}

/// Runs all tests and requires ONNX Runtime. A failing test program does not stop the others.
fn test_all(host: &impl Host) -> Result<(), Failure> {
    python::setup(host)?;
    let all = test_args(host, &["--no-fail-fast".into()]);
    let tests = Invocation::new(host::cargo(host), all);
    with_driver(host, tests.with_var(REQUIRED, "1"))
}

/// Runs all tests, and builds the browser's modules at the same time. The build uses another directory, so cargo's lock
/// does not block it. Most of the build is the linking of two modules, which uses one core each.
fn test_all_and_build_page(host: &impl Host) -> Result<(), Failure> {
    thread::scope(|scope| {
        let page = scope.spawn(|| web::build_with_parity(host));
        test_all(host)?;
        page.join()
            .unwrap_or_else(|panicked| panic::resume_unwind(panicked))
    })
}

/// Makes sure that there is a GPU driver, then runs a program that needs it.
pub(crate) fn with_driver(host: &impl Host, mut program: Invocation) -> Result<(), Failure> {
    driver::setup(host)?;
    let lent = runtime_dir(host)?;
    if let Some(dir) = &lent {
        program = program.with_var("XDG_RUNTIME_DIR", dir.path());
    }
    let outcome = host.run_or_fail(&program);
    drop(lent);
    outcome
}

/// Creates a temporary runtime directory for programs that use Mesa's software driver, unless one is set. Without such
/// a directory, the driver prints a warning at each start.
pub(crate) fn runtime_dir(host: &impl Host) -> Result<Option<ScratchDir>, Failure> {
    if host.os() != "linux" || host.var("XDG_RUNTIME_DIR").is_some() {
        return Ok(None);
    }
    let dir = ScratchDir::new()
        .map_err(|error| Failure::new(format!("cannot make a temporary directory: {error}")))?;
    Ok(Some(dir))
}

/// Returns cargo's arguments for a test run with these further arguments.
fn test_args(host: &impl Host, args: &[OsString]) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec!["test".into()];
    all.extend(QUICK.map(Into::into));
    // Adds `--workspace` only if no package is chosen, because it would silently override the choice.
    if !picks(args) {
        all.push("--workspace".into());
        all.extend(mpi::features(host).iter().map(Into::into));
    }
    all.extend_from_slice(args);
    all
}

/// Returns whether these arguments choose packages.
fn picks(args: &[OsString]) -> bool {
    let mut of_cargo = args.iter().take_while(|arg| *arg != "--");
    of_cargo.any(picks_package)
}

fn picks_package(arg: &OsString) -> bool {
    arg.to_str()
        .is_some_and(|arg| arg.starts_with("-p") || arg.starts_with("--package"))
}

/// A check of `cargo xtask ci`.
#[derive(Debug, PartialEq, Eq)]
enum Check {
    /// This program has to succeed.
    Run(Invocation),
    /// The oldest Rust has to build the libraries without a warning.
    OldestRust,
    /// The standard library for browsers has to be installed.
    WasmTarget,
    /// The tests have to pass.
    Test,
    /// The tests in a browser have to pass.
    BrowserTest,
}

/// Returns the names of all checks and the checks, the cheapest first. The lints use the profile of the tests or of the
/// browser build, so that macros and build scripts are compiled only once.
fn checks(host: &impl Host) -> Vec<(&'static str, Check)> {
    let cargo = &host::cargo(host);
    let run = |line: &str| Check::Run(Invocation::new(cargo, line.split(' ')));
    let of_all = |command: &[&str], further: &[&str]| {
        let all = [
            command,
            &["--release", "--workspace"],
            mpi::features(host),
            further,
        ];
        Invocation::new(cargo, all.concat())
    };
    let lints = of_all(&["clippy"], &["--all-targets", "--", "-D", "warnings"]);
    // The list of the public API is made with the same features, so both use the same checked dependencies.
    let doc = of_all(&["doc", "--no-deps"], &["--features", FEATURES]);
    let doc = doc.with_var("RUSTDOCFLAGS", "-D warnings");
    let doc_alone = "doc --no-deps --release --workspace --lib --no-default-features";
    let doc_alone = Invocation::new(cargo, doc_alone.split(' '));
    let doc_alone = doc_alone.with_var("RUSTDOCFLAGS", "-D warnings");
    vec![
        ("formatting", run("fmt --all --check")),
        ("lints", Check::Run(lints)),
        // Checks the libraries without features. The examples and tests need the features, so they are left out.
        (
            "lints of the libraries alone",
            run("clippy --release --workspace --lib --no-default-features -- -D warnings"),
        ),
        ("libraries with the oldest Rust", Check::OldestRust),
        ("documentation", Check::Run(doc)),
        // Without features, a link to an item that needs a feature leads nowhere.
        (
            "documentation of the libraries alone",
            Check::Run(doc_alone),
        ),
        (
            "public API",
            run("run --release -p wgrad-public-api -- --check"),
        ),
        ("browser target", Check::WasmTarget),
        (
            "lints of the browser build",
            run(&format!(
                "clippy --profile web --target {WASM} --workspace --lib -- -D warnings"
            )),
        ),
        ("tests", Check::Test),
        ("browser tests", Check::BrowserTest),
    ]
}

/// Runs the checks of continuous integration, and stops at the first failure.
pub(crate) fn ci(host: &impl Host) -> Result<(), Failure> {
    let is_linux = host.os() == "linux";
    if is_linux {
        mpi::setup(host)?;
    }
    let checks = checks(host);
    let start = Instant::now();
    let count = checks.len();
    for (number, (name, check)) in checks.iter().enumerate() {
        let number = number + 1;
        let start = Instant::now();
        eprintln!("\n==> [{number}/{count}] {name}");
        let outcome = match check {
            Check::Run(invocation) => {
                eprintln!("$ {invocation}");
                host.run_or_fail(invocation)
            }
            Check::OldestRust => check_with_oldest_rust(host),
            Check::WasmTarget => add_wasm_target(host),
            Check::Test if is_linux => test_all_and_build_page(host),
            Check::Test => test_all(host),
            Check::BrowserTest if is_linux => browser::test(host),
            Check::BrowserTest => {
                eprintln!("left out: they need a browser whose WebGPU is SwiftShader, as on Linux");
                Ok(())
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => eprintln!("<== [{number}/{count}] {name}: ok in {seconds:.1} s"),
            Err(failure) => {
                eprintln!("<== [{number}/{count}] {name}: FAILED after {seconds:.1} s");
                return Err(failure);
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("\nxtask: all {count} checks passed in {seconds:.1} s");
    Ok(())
}

/// Checks the libraries with the oldest Rust, and installs it if necessary. If the installation fails, the installed
/// Rust checks the libraries instead.
fn check_with_oldest_rust(host: &impl Host) -> Result<(), Failure> {
    let installed = host.output("rustup", &["run", OLDEST_RUST, "rustc", "--version"]);
    let words = ["toolchain", "install", OLDEST_RUST, "--profile", "minimal"];
    let install = Invocation::new("rustup", words);
    let is_there = installed.is_some() || {
        eprintln!("$ {install}");
        host.run_or_fail(&install).is_ok()
    };
    let words = OLDEST_CHECK.split(' ').chain([FEATURES]);
    let check = if is_there {
        Invocation::new(
            "rustup",
            ["run", OLDEST_RUST, "cargo"].into_iter().chain(words),
        )
    } else {
        eprintln!(
            "Rust {OLDEST_RUST} cannot be installed: the installed Rust checks the libraries instead"
        );
        Invocation::new(host::cargo(host), words)
    };
    let check = check.with_var("RUSTFLAGS", "-D warnings");
    eprintln!("$ {check}");
    host.run_or_fail(&check)
}

/// Makes sure that Rust's standard library for browsers is installed.
pub(crate) fn add_wasm_target(host: &impl Host) -> Result<(), Failure> {
    // Asks rustc first: a toolchain from a Linux distribution has no rustup, but it may have the target.
    let rustc = host.var("RUSTC").unwrap_or_else(|| "rustc".to_owned());
    let libdir = host.output(&rustc, &["--print", "target-libdir", "--target", WASM]);
    if libdir.is_some_and(|dir| host.locate(Path::new(OsStr::new(dir.trim()))).is_dir()) {
        eprintln!("{WASM} is installed");
        return Ok(());
    }
    let add = Invocation::new("rustup", ["target", "add", WASM]);
    eprintln!("$ {add}");
    host.run_or_fail(&add)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::fake::Fake;

    /// A fake machine on which the tests need no installation.
    fn ready() -> io::Result<Fake> {
        Fake::new("linux")?
            .env("XDG_RUNTIME_DIR", "/run/user/1000")
            .file("/usr/lib/libvulkan.so.1")?
            .file("/usr/share/vulkan/icd.d/lvp_icd.json")
    }

    fn os_strings(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    /// Returns cargo's arguments for a test run on a machine without MPI.
    fn tested(further: &[&str]) -> Vec<OsString> {
        os_strings(&[&["test"], &QUICK[..], further].concat())
    }

    #[test]
    fn tests_run_with_the_arguments_given() -> io::Result<()> {
        let fake = ready()?;
        assert!(test(&fake, &os_strings(&["--test", "parity"])).is_ok());
        let expected = format!("cargo test {} --workspace --test parity", QUICK.join(" "));
        assert_eq!(fake.ran(), [expected]);
        Ok(())
    }

    #[test]
    fn the_cargo_that_runs_us_runs_the_tests() -> io::Result<()> {
        let fake = ready()?.env("CARGO", "/opt/rust/bin/cargo");
        assert!(test(&fake, &[]).is_ok());
        let expected = format!("/opt/rust/bin/cargo test {} --workspace", QUICK.join(" "));
        assert_eq!(fake.ran(), [expected]);
        Ok(())
    }

    #[test]
    fn a_chosen_package_is_not_drowned_in_the_workspace() -> io::Result<()> {
        let fake = mpi::tests::with_mpi(Fake::new("linux")?)?;
        for choice in [&["-p", "wgrad"][..], &["-pwgrad"], &["--package=wgrad"]] {
            let mut expected = tested(&[]);
            expected.extend(os_strings(choice));
            assert_eq!(test_args(&fake, &os_strings(choice)), expected);
        }
        let for_the_harness = os_strings(&["--", "-p"]);
        let all = ["--workspace", "--features", "wgrad/mpi", "--", "-p"];
        assert_eq!(test_args(&fake, &for_the_harness), tested(&all));
        Ok(())
    }

    #[test]
    fn a_runtime_directory_is_lent_for_the_run_only() -> io::Result<()> {
        let fake = ready()?.env("XDG_RUNTIME_DIR", "").on_run(|_, line| {
            let lent = lent_dir(line);
            u8::from(!lent.is_some_and(|dir| Path::new(dir).is_dir()))
        });
        assert!(test(&fake, &[]).is_ok());
        let ran = fake.ran();
        assert_eq!(ran.len(), 1);
        assert!(!lent_dir(&ran[0]).is_some_and(|dir| Path::new(dir).exists()));
        Ok(())
    }

    fn lent_dir(line: &str) -> Option<&str> {
        let (dir, _) = line
            .strip_prefix("XDG_RUNTIME_DIR=")?
            .split_once(" cargo test ")?;
        Some(dir.trim_matches('\''))
    }

    #[test]
    fn a_failed_test_run_gives_its_exit_code() -> io::Result<()> {
        let fake = ready()?.on_run(|_, _| 101);
        let failure = test(&fake, &[]).err();
        assert_eq!(failure.map(|failure| failure.code), Some(101));
        Ok(())
    }

    #[test]
    fn no_test_runs_without_a_driver() -> io::Result<()> {
        let fake = Fake::new("linux")?;
        assert!(test(&fake, &[]).is_err());
        assert!(fake.ran().is_empty());
        Ok(())
    }

    #[test]
    fn ci_goes_through_the_whole_list() -> io::Result<()> {
        let fake = mpi::tests::with_mpi(crate::browser::tests::ready()?)?
            .env("WGRAD_PYTHON", "/usr/bin/python3")
            .env("XDG_RUNTIME_DIR", "/run/user/1000")
            .file("/usr/lib/libvulkan.so.1")?
            .file("/usr/share/vulkan/icd.d/lvp_icd.json")?;
        assert!(ci(&fake).is_ok());
        let ran = fake.ran();
        let list = list().map(|line| with_mpi(&line));
        let before_tests = LIST.len() - 1;
        assert_eq!(ran[..before_tests], list[..before_tests]);
        let behind: Vec<&String> = ran[before_tests..].iter().collect();
        // The page is built while the tests run, so the order of the two commands may vary.
        assert!(behind.contains(&&list[before_tests]), "{behind:?}");
        let builds = behind
            .iter()
            .filter(|line| line.contains("--package wgrad-web"));
        assert_eq!(
            builds.count(),
            2,
            "once more before it is tested: {behind:?}"
        );
        assert!(ran.last().is_some_and(|line| line.contains("node --test")));
        Ok(())
    }

    /// Returns a command line of [`list`] as it is on a machine with MPI.
    fn with_mpi(line: &str) -> String {
        let is_of_all = line.contains("--workspace") && !line.contains("--lib");
        if is_of_all {
            line.replace("--workspace", "--workspace --features wgrad/mpi")
        } else {
            line.to_owned()
        }
    }

    /// All commands of `ci` before the browser tests, on a machine without MPI.
    fn list() -> [String; 11] {
        LIST.map(|line| line.replace("QUICK", &QUICK.join(" ")))
    }

    /// The commands of [`list`], where `QUICK` stands for the arguments [`QUICK`].
    const LIST: [&str; 11] = [
        "cargo fmt --all --check",
        "cargo clippy --release --workspace --all-targets -- -D warnings",
        "cargo clippy --release --workspace --lib --no-default-features -- -D warnings",
        "rustup toolchain install 1.89 --profile minimal",
        "RUSTFLAGS='-D warnings' rustup run 1.89 cargo check --release --workspace --lib --features wgrad/download,wgrad/gemm,wgrad/onnx",
        "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --release --workspace --features wgrad/download,wgrad/gemm,wgrad/onnx",
        "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --release --workspace --lib --no-default-features",
        "cargo run --release -p wgrad-public-api -- --check",
        "rustup target add wasm32-unknown-unknown",
        "cargo clippy --profile web --target wasm32-unknown-unknown --workspace --lib -- -D warnings",
        "WGRAD_REQUIRE_ONNXRUNTIME=1 cargo test QUICK --workspace --no-fail-fast",
    ];

    #[test]
    fn ci_ends_with_the_tests_where_no_browser_has_a_software_gpu() -> io::Result<()> {
        let fake = Fake::new("macos")?.env("WGRAD_PYTHON", "/usr/bin/python3");
        assert!(ci(&fake).is_ok());
        assert_eq!(fake.ran(), list());
        Ok(())
    }

    #[test]
    fn the_oldest_rust_is_what_the_library_says() {
        let manifest = include_str!("../../Cargo.toml");
        assert!(manifest.contains(&format!("rust-version = \"{OLDEST_RUST}\"")));
    }

    #[test]
    fn the_installed_rust_checks_where_the_oldest_cannot_be_had() -> io::Result<()> {
        let fake = ready()?.on_run(|_, line| u8::from(line.contains("toolchain install")));
        assert!(check_with_oldest_rust(&fake).is_ok());
        let line = format!("RUSTFLAGS='-D warnings' cargo {OLDEST_CHECK} {FEATURES}");
        assert_eq!(fake.ran()[1], line);
        let fake = ready()?.answers("rustup run 1.89 rustc --version", "rustc 1.89.0");
        assert!(check_with_oldest_rust(&fake).is_ok());
        assert_eq!(fake.ran().len(), 1);
        Ok(())
    }

    #[test]
    fn ci_needs_onnx_runtime_and_tests_alone_do_not() -> io::Result<()> {
        let fake = Fake::new("macos")?;
        let failure = ci(&fake).err().map(|failure| failure.message);
        assert!(failure.is_some_and(|message| message.contains("requirements.txt")));
        assert_eq!(fake.ran(), list()[..LIST.len() - 1]);
        assert!(test(&fake, &[]).is_ok());
        assert_eq!(
            fake.ran()[LIST.len() - 1],
            format!("cargo test {} --workspace", QUICK.join(" "))
        );
        Ok(())
    }

    #[test]
    fn ci_stops_at_the_first_failure() -> io::Result<()> {
        let fake = mpi::tests::with_mpi(ready()?)?
            .on_run(|_, line| if line.contains("clippy") { 101 } else { 0 });
        let failure = ci(&fake).err();
        assert_eq!(failure.map(|failure| failure.code), Some(101));
        assert_eq!(fake.ran().len(), 2);
        Ok(())
    }

    #[test]
    fn a_target_that_is_there_is_not_fetched() -> io::Result<()> {
        let fake = ready()?.file("/rust/wasm/lib/libstd.rlib")?.answers(
            "rustc --print target-libdir --target wasm32-unknown-unknown",
            "/rust/wasm/lib\n",
        );
        assert!(add_wasm_target(&fake).is_ok());
        assert!(fake.ran().is_empty());
        Ok(())
    }
}
