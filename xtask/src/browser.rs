//! Runs the tests in a real browser. Finds the programs that they need, installs them, or asks the user to install
//! them.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::apt::Apt;
use crate::host::{self, Failure, Host, Invocation};
use crate::mpi;
use crate::steps::QUICK;
use crate::web;

const TESTS: &str = "web/tests";
const PLAYWRIGHT: &str = "playwright-core";
/// The environment variable that names a browser.
const VARIABLE: &str = "CHROMIUM";
/// The program names of browsers that have WebGPU and SwiftShader.
const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];
/// The oldest major version of Node.js that can run the tests.
const NODE: u32 = 20;

/// Instructions for installation by hand.
const BY_HAND: &str = "\
Install Chromium, then run this again:

  Debian          sudo apt-get install chromium
  Ubuntu          sudo snap install chromium
  Fedora          sudo dnf install chromium
  Arch            sudo pacman -S chromium
  Alpine          sudo apk add chromium

Google Chrome works as well. Set CHROMIUM=/path/to/browser to use a browser in another place.";

/// Builds the page and tests it in a browser, where the crate's kernels are compiled and run too.
pub(crate) fn test(host: &impl Host) -> Result<(), Failure> {
    let browser = browser(host)?;
    check_node(host)?;
    web::build_with_parity(host)?;
    install_playwright(host)?;
    // The browser tests compare the page with this example program. It is built with the options of the other tests, so
    // that it is compiled only once.
    let build = [
        &["build"],
        &QUICK[..],
        &["--workspace"],
        mpi::features(host),
        &["--example", "train_gpu"],
    ]
    .concat();
    web::run(host, &Invocation::new(host::cargo(host), build))?;
    let files = test_files(&host.root().join(TESTS))
        .map_err(|error| Failure::new(format!("cannot list {TESTS}: {error}")))?;
    // Runs one test file at a time, because the software GPU of each one uses all cores.
    let options = ["--test", "--test-concurrency=1", "--test-reporter=spec"].map(OsString::from);
    let files = files.into_iter().map(PathBuf::into_os_string);
    let tests = Invocation::new("node", options.into_iter().chain(files));
    web::run(host, &tests.with_var(VARIABLE, browser))
}

/// Returns the path of a browser: the browser that the variable names, or one on the search path. If there is none,
/// installs one.
fn browser(host: &impl Host) -> Result<PathBuf, Failure> {
    if let Some(named) = host.var(VARIABLE).map(PathBuf::from) {
        return if host.locate(&named).is_file() {
            Ok(named)
        } else {
            Err(Failure::new(format!(
                "{VARIABLE} is set, but there is no file {}; unset it, or set it to the program of a browser",
                named.display()
            )))
        };
    }
    if let Some(found) = find(host) {
        return Ok(found);
    }
    let explained = |what: String| Failure::new(format!("{what}.\n{BY_HAND}"));
    let Some(apt) = Apt::find(host) else {
        return Err(explained("the browser tests need Chromium".to_owned()));
    };
    apt.install(
        host,
        &["chromium"],
        "so that the page is tested in a browser",
    )
    .map_err(|failure| explained(failure.message))?;
    find(host)
        .ok_or_else(|| explained("apt-get succeeded, but there is still no Chromium".to_owned()))
}

/// Returns the path of a browser on the search path. The first names in [`BROWSERS`] are preferred.
fn find(host: &impl Host) -> Option<PathBuf> {
    let path = host.var("PATH")?;
    let found = BROWSERS.iter().find_map(|name| {
        let mut files = std::env::split_paths(&path).map(|directory| directory.join(name));
        files.find(|file| host.locate(file).is_file())
    })?;
    eprintln!("xtask: browser {}", found.display());
    Some(found)
}

fn check_node(host: &impl Host) -> Result<(), Failure> {
    let install = format!(
        "install Node.js {NODE} or newer with npm, from your distribution or from https://nodejs.org"
    );
    let Some(version) = host.output("node", &["--version"]) else {
        return Err(Failure::new(format!(
            "the browser tests need Node.js: {install}"
        )));
    };
    if major(&version).is_none_or(|found| found < NODE) {
        let version = version.trim();
        return Err(Failure::new(format!(
            "the browser tests need Node.js {NODE}, but found {version}: {install}"
        )));
    }
    match host.output("npm", &["--version"]) {
        Some(_) => Ok(()),
        None => Err(Failure::new(format!(
            "the browser tests need npm: {install}"
        ))),
    }
}

/// Returns the major version: 20 for `v20.11.1`.
fn major(version: &str) -> Option<u32> {
    let (major, _) = version.trim().strip_prefix('v')?.split_once('.')?;
    major.parse().ok()
}

/// Makes sure that Playwright is installed in the version of `package-lock.json`.
fn install_playwright(host: &impl Host) -> Result<(), Failure> {
    let tests = host.root().join(TESTS);
    let lock = fs::read_to_string(tests.join("package-lock.json"))
        .map_err(|error| Failure::new(format!("cannot read {TESTS}/package-lock.json: {error}")))?;
    let installed = tests.join(format!("node_modules/{PLAYWRIGHT}/package.json"));
    let installed = fs::read_to_string(installed).unwrap_or_default();
    let module = format!("\"node_modules/{PLAYWRIGHT}\"");
    if let (Some(locked), Some(found)) = (version(&lock, &module), version(&installed, "{"))
        && locked == found
    {
        return Ok(());
    }
    let install = ["ci", "--prefix", TESTS, "--no-audit", "--no-fund"];
    web::run(host, &Invocation::new("npm", install))
}

/// Returns the first version number after `start` in a JSON file of npm.
fn version<'a>(file: &'a str, start: &str) -> Option<&'a str> {
    let (_, behind) = file.split_once(start)?;
    let (_, version) = behind.split_once("\"version\": \"")?;
    Some(version.split_once('"')?.0)
}

/// Returns the paths of the test files in this directory, sorted and relative to the workspace root.
fn test_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if name.to_string_lossy().ends_with(".test.mjs") {
            names.push(Path::new(TESTS).join(name));
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io;

    use super::*;
    use crate::fake::Fake;

    const LOCK: &str = r#"{
  "lockfileVersion": 3,
  "packages": {
    "node_modules/playwright-core": {
      "version": "1.65.1",
"#;

    /// A fake machine with a checkout, on which everything is installed.
    pub(crate) fn ready() -> io::Result<Fake> {
        let fake = bare()?.file("/usr/bin/chromium")?;
        let installed = "{\n  \"name\": \"playwright-core\",\n  \"version\": \"1.65.1\",\n";
        fake.write(
            "web/tests/node_modules/playwright-core/package.json",
            installed,
        )?;
        Ok(fake)
    }

    /// The machine of [`ready`], but without a browser and without Playwright.
    fn bare() -> io::Result<Fake> {
        let fake = Fake::new("linux")?
            .env("PATH", "/usr/local/bin:/usr/bin")
            .answers("node --version", "v20.11.1\n")
            .answers("npm --version", "10.8.2\n")
            .on_run(|fake, line| u8::from(succeed(fake, line).is_err()));
        let bindgen = "name = \"wasm-bindgen\"\nversion = \"0.2.99\"\n";
        fake.write("Cargo.lock", bindgen)?;
        // The build of the page reads the shaders in order to blank their comments.
        fake.write("shaders/add.wgsl", "")?;
        fake.write("web/page/index.html", "")?;
        fake.write("web/tests/package-lock.json", LOCK)?;
        for file in ["parity.test.mjs", "page.test.mjs", "support.mjs"] {
            fake.write(&format!("web/tests/{file}"), "")?;
        }
        Ok(fake)
    }

    /// Creates the files that the program of this command line would create.
    fn succeed(fake: &Fake, line: &str) -> io::Result<()> {
        match line {
            line if line.contains("--out-dir") => fake.put("web/dist/wasm/wgrad_web_bg.wasm"),
            line if line.contains("install -y") => fake.put("/usr/bin/chromium"),
            _ => Ok(()),
        }
    }

    fn message<T>(outcome: Result<T, Failure>) -> String {
        outcome
            .err()
            .map(|failure| failure.message)
            .unwrap_or_default()
    }

    #[test]
    fn all_test_programs_run_at_the_end() -> io::Result<()> {
        let fake = ready()?;
        assert!(test(&fake).is_ok());
        let ran = fake.ran();
        let packages = ["wgrad-web", "wgrad-parity"].map(|name| format!("--package {name} "));
        for package in packages {
            assert!(ran.iter().any(|line| line.contains(&package)), "{package}");
        }
        let example = format!(
            "cargo build {} --workspace --example train_gpu",
            QUICK.join(" ")
        );
        assert_eq!(
            ran[ran.len() - 2..],
            [
                &*example,
                "CHROMIUM=/usr/bin/chromium node --test --test-concurrency=1 --test-reporter=spec \
                 web/tests/page.test.mjs web/tests/parity.test.mjs"
            ]
        );
        assert!(!ran.iter().any(|line| line.contains("npm")));
        Ok(())
    }

    #[test]
    fn a_failed_test_is_a_failure() -> io::Result<()> {
        let fake = ready()?.on_run(|fake, line| match succeed(fake, line) {
            Ok(()) if line.contains("node --test") => 7,
            outcome => u8::from(outcome.is_err()),
        });
        let failure = test(&fake).err();
        assert_eq!(failure.map(|failure| failure.code), Some(7));
        Ok(())
    }

    #[test]
    fn a_browser_is_found_installed_or_asked_for() -> io::Result<()> {
        for name in BROWSERS {
            let fake = bare()?.file(&format!("/usr/local/bin/{name}"))?;
            let expected = Path::new("/usr/local/bin").join(name);
            assert_eq!(browser(&fake).ok(), Some(expected));
            assert!(fake.ran().is_empty());
        }
        let fake = bare()?
            .answers("apt-get --version", "apt 2.6.1")
            .answers("id -u", "0\n");
        assert_eq!(browser(&fake).ok(), Some("/usr/bin/chromium".into()));
        assert!(fake.ran()[1].ends_with("--no-install-recommends chromium"));
        let fake = bare()?;
        let message = message(browser(&fake));
        assert!(
            message.contains("sudo apt-get install chromium"),
            "{message}"
        );
        assert!(fake.ran().is_empty());
        Ok(())
    }

    #[test]
    fn a_named_browser_is_taken_or_missed() -> io::Result<()> {
        let fake = ready()?.env(VARIABLE, "/opt/browser");
        let text = message(browser(&fake));
        assert!(text.contains("there is no file /opt/browser"), "{text}");
        fake.put("/opt/browser")?;
        assert_eq!(browser(&fake).ok(), Some("/opt/browser".into()));
        Ok(())
    }

    #[test]
    fn node_is_checked_before_anything_is_built() -> io::Result<()> {
        for (version, fault) in [
            ("", "need Node.js 20, but found :"),
            ("v18.20.4", "need Node.js 20, but found v18.20.4"),
            ("20.1.0", "need Node.js 20, but found 20.1.0"),
        ] {
            let fake = ready()?.answers("node --version", version);
            let text = message(test(&fake));
            assert!(text.contains(fault), "{text}");
            assert!(text.contains("https://nodejs.org"), "{text}");
            assert!(fake.ran().is_empty());
        }
        let without = message(check_node(&Fake::new("linux")?));
        assert!(without.contains("need Node.js: install"), "{without}");
        let fake = Fake::new("linux")?.answers("node --version", "v22.0.0");
        assert!(message(check_node(&fake)).contains("need npm"));
        Ok(())
    }

    #[test]
    fn playwright_is_of_the_locked_version() -> io::Result<()> {
        for version in ["", "{\n  \"version\": \"1.64.0\",\n"] {
            let fake = ready()?;
            fake.write(
                "web/tests/node_modules/playwright-core/package.json",
                version,
            )?;
            assert!(install_playwright(&fake).is_ok());
            assert_eq!(
                fake.ran(),
                ["npm ci --prefix web/tests --no-audit --no-fund"]
            );
        }
        let fake = ready()?;
        assert!(install_playwright(&fake).is_ok());
        assert!(fake.ran().is_empty());
        Ok(())
    }
}
