//! Parses the command line.

use std::ffi::{OsStr, OsString};

use crate::mutants::Request;

/// The text that `help` prints. It is also printed after a wrong command line.
pub(crate) const USAGE: &str = "\
usage: cargo xtask <command>

  test [cargo-test-args…]  make sure a GPU driver is there, then run every test
                           (`cargo test --release --workspace`, with these arguments);
                           one test runs exported networks in ONNX Runtime, which is
                           installed from PyPI into target/python if there is Python 3.11
  sanitize                 make sure a GPU driver is there, then interpret every shader
                           at all shapes around the edges of its tiles, and print what
                           was found: races, barriers that diverge, accesses out of
                           bounds, reads of unwritten memory, wrong results
  mutants [option…]        plant single faults in the shaders, and count the faults that no
                           test catches: --sample N [--seed S], --file SHADER, --kind KIND
                           and --fault ID choose some faults (all faults take hours),
                           --jobs N tests N faults at once, --list only prints the faults,
                           --equivalent also plants faults that are known to change nothing,
                           --sanitizer runs only the tests of `sanitize`
  mutants --rust [arg…]    plant faults in Rust with cargo-mutants and these arguments: also
                           takes hours, except with one --file
  setup                    only make sure a GPU driver is there
  web                      build the page that trains in a browser into web/dist, and
                           install what the build needs (the wasm target, wasm-bindgen)
  web-test                 the same, then drive it in a headless Chromium; every shader
                           and the parity tests run there as well
  serve [port]             build the page, then serve it on http://localhost:8080/, or on
                           another port
  ci                       everything that must hold before a merge: formatting,
                           lints, documentation, the browser target, the tests, on
                           Linux also those in a browser
  help                     this text

On Linux without a Vulkan driver, `test`, `sanitize`, `mutants`, `setup` and `ci`
install Mesa's software driver with apt-get if they may (as root, or with a sudo that
asks for no password), and otherwise say what to install. `web-test` and `ci` do the same
for Chromium, unless the environment variable CHROMIUM names a browser. `test` and `ci` do
the same for Python, unless WGRAD_PYTHON names a Python with the packages of
tests/onnx/requirements.txt. Without Python, `ci` fails, and `test` leaves out the test
that needs it.";

/// The default port on which `serve` serves the page.
const PORT: u16 = 8080;

/// A command of xtask, with its arguments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Print the usage.
    Help,
    /// Find a GPU driver, and install one if necessary.
    Setup,
    /// [`Setup`](Self::Setup), then `cargo test` with these further arguments.
    Test(Vec<OsString>),
    /// [`Setup`](Self::Setup), then interpret every shader.
    Sanitize,
    /// Plant faults, and count those that no test detects.
    Mutants(Request),
    /// Build the page.
    Web,
    /// [`Web`](Self::Web), then the tests in a browser.
    WebTest,
    /// [`Web`](Self::Web), then serve the page on this port.
    Serve(u16),
    /// Run all checks.
    Ci,
}

impl Task {
    /// Parses the command line arguments, without the program's name.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut args = args.into_iter();
        let Some(name) = args.next() else {
            return Err("no command given".to_owned());
        };
        let mut rest: Vec<OsString> = args.collect();
        let task = match name.to_str() {
            Some("test") => return Ok(Self::Test(rest)),
            Some("mutants") => return Request::parse(&rest).map(Self::Mutants),
            Some("serve") if !rest.is_empty() => Self::Serve(port(&rest.remove(0))?),
            Some("serve") => Self::Serve(PORT),
            Some("web") => Self::Web,
            Some("web-test") => Self::WebTest,
            Some("setup") => Self::Setup,
            Some("sanitize") => Self::Sanitize,
            Some("ci") => Self::Ci,
            Some("help" | "--help" | "-h") => Self::Help,
            _ => return Err(format!("unknown command `{}`", name.display())),
        };
        match rest.first() {
            None => Ok(task),
            Some(extra) => Err(format!(
                "`{}` takes no arguments{}, but got `{}`",
                name.display(),
                if matches!(task, Self::Serve(_)) {
                    " except a port"
                } else {
                    ""
                },
                extra.display()
            )),
        }
    }
}

fn port(text: &OsStr) -> Result<u16, String> {
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| {
        format!(
            "a port is a number up to 65535, but got `{}`",
            text.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Task, String> {
        Task::parse(args.iter().map(OsString::from))
    }

    #[test]
    fn test_passes_its_arguments_on_untouched() {
        let expected = ["--test", "parity", "--", "--nocapture"].map(OsString::from);
        assert_eq!(
            parse(&["test", "--test", "parity", "--", "--nocapture"]),
            Ok(Task::Test(expected.to_vec()))
        );
        // `--help` after `test` is an argument for cargo, which prints the help about tests.
        assert_eq!(
            parse(&["test", "--help"]),
            Ok(Task::Test(vec!["--help".into()]))
        );
    }

    #[test]
    fn mutants_has_options_of_its_own() {
        let rust = vec!["--list".into()];
        let expected = Ok(Task::Mutants(Request::Rust(rust)));
        assert_eq!(parse(&["mutants", "--rust", "--list"]), expected);
        let expected = "`mutants` has no option `--all`";
        assert_eq!(parse(&["mutants", "--all"]), Err(expected.to_owned()));
    }

    #[test]
    fn the_other_commands_take_no_arguments() {
        assert_eq!(parse(&["setup"]), Ok(Task::Setup));
        assert_eq!(parse(&["sanitize"]), Ok(Task::Sanitize));
        assert_eq!(parse(&["ci"]), Ok(Task::Ci));
        assert_eq!(parse(&["web"]), Ok(Task::Web));
        assert_eq!(parse(&["web-test"]), Ok(Task::WebTest));
        assert_eq!(parse(&["--help"]), Ok(Task::Help));
        assert_eq!(
            parse(&["ci", "--fast"]),
            Err("`ci` takes no arguments, but got `--fast`".to_owned())
        );
    }

    #[test]
    fn serve_takes_a_port() {
        assert_eq!(parse(&["serve"]), Ok(Task::Serve(8080)));
        assert_eq!(parse(&["serve", "0"]), Ok(Task::Serve(0)));
        let expected = "a port is a number up to 65535, but got `70000`";
        assert_eq!(parse(&["serve", "70000"]), Err(expected.to_owned()));
        let expected = "`serve` takes no arguments except a port, but got `2`";
        assert_eq!(parse(&["serve", "1", "2"]), Err(expected.to_owned()));
    }

    #[test]
    fn anything_else_is_a_mistake() {
        assert_eq!(parse(&[]), Err("no command given".to_owned()));
        assert_eq!(parse(&["tests"]), Err("unknown command `tests`".to_owned()));
    }
}
