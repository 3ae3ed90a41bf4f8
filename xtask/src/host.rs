//! What the commands use of the machine: environment variables, files and programs. The machine is a trait, [`Host`],
//! so that tests can use a fake machine.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A failure of a command, with the exit code of xtask.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What went wrong, and if possible how to correct it.
    pub(crate) message: String,
    /// The exit code of xtask.
    pub(crate) code: u8,
}

impl Failure {
    /// A failure of xtask itself: exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A program to run: its name, arguments and environment variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    program: OsString,
    args: Vec<OsString>,
    vars: Vec<(&'static str, OsString)>,
}

impl Invocation {
    /// Creates an invocation of `program` with `args`.
    pub(crate) fn new<A: Into<OsString>>(
        program: impl Into<OsString>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            vars: Vec::new(),
        }
    }

    /// Sets an environment variable.
    pub(crate) fn with_var(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.vars.push((name, value.into()));
        self
    }
}

/// Displays the command line as a user would type it.
impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.vars {
            write!(f, "{name}={} ", quoted(&value.to_string_lossy()))?;
        }
        f.write_str(&self.program.to_string_lossy())?;
        for arg in &self.args {
            write!(f, " {}", quoted(&arg.to_string_lossy()))?;
        }
        Ok(())
    }
}

fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains(|c: char| c.is_whitespace() || c == '\'') {
        format!("'{}'", word.replace('\'', r"'\''"))
    } else {
        word.to_owned()
    }
}

/// A running program.
pub(crate) trait Running {
    /// Returns how the program ended, or `None` while it is running.
    fn ended(&mut self) -> io::Result<Option<Ended>>;
    /// Kills the program.
    fn kill(&mut self) -> io::Result<()>;
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The program exited with this code.
    Code(i32),
    /// A signal ended the program.
    Signal,
}

/// A machine. Several threads may use it at the same time.
pub(crate) trait Host: Sync {
    /// Returns the operating system, as in [`std::env::consts::OS`].
    fn os(&self) -> &str;
    /// Returns the processor architecture, as in [`std::env::consts::ARCH`].
    fn arch(&self) -> &str;
    /// Returns the value of an environment variable. An empty value counts as unset.
    fn var(&self, name: &str) -> Option<String>;
    /// Returns the workspace root. It is the working directory of all programs.
    fn root(&self) -> PathBuf;
    /// Returns the real path of a path of this machine. (The paths of a fake machine are in a temporary directory.)
    fn locate(&self, path: &Path) -> PathBuf;
    /// Runs a program without input, and does not show its output. Returns its standard output, or `None` if it fails.
    fn output(&self, program: &str, args: &[&str]) -> Option<String>;
    /// Runs a program in the workspace root with xtask's standard streams. Returns its exit code.
    fn run(&self, invocation: &Invocation) -> io::Result<u8>;
    /// Starts a program in the workspace root, without input. Its standard output is written to the file `stdout`. Its
    /// standard error is written to the file `stderr`, or to xtask's standard error if `stderr` is `None`.
    fn start(
        &self,
        invocation: &Invocation,
        stdout: &Path,
        stderr: Option<&Path>,
    ) -> io::Result<Box<dyn Running>>;

    /// Calls [`run`](Host::run), and returns an error for every exit code except 0.
    fn run_or_fail(&self, invocation: &Invocation) -> Result<(), Failure> {
        match self.run(invocation) {
            Ok(0) => Ok(()),
            Ok(code) => Err(Failure {
                message: format!("`{invocation}` failed with exit code {code}"),
                code,
            }),
            Err(error) => Err(Failure::new(format!("cannot run `{invocation}`: {error}"))),
        }
    }
}

/// The machine that this process runs on.
#[derive(Debug)]
pub(crate) struct Native;

impl Host for Native {
    fn os(&self) -> &str {
        std::env::consts::OS
    }

    fn arch(&self) -> &str {
        std::env::consts::ARCH
    }

    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn root(&self) -> PathBuf {
        workspace_root()
    }

    fn locate(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }

    fn output(&self, program: &str, args: &[&str]) -> Option<String> {
        let output = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let text = || String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then(text)
    }

    fn run(&self, invocation: &Invocation) -> io::Result<u8> {
        let status = command(invocation).status()?;
        // Without a code, a signal ended the program. On Windows, a code can exceed 255. In both cases, the result is
        // 1.
        Ok(status
            .code()
            .map_or(1, |code| u8::try_from(code).unwrap_or(1)))
    }

    fn start(
        &self,
        invocation: &Invocation,
        stdout: &Path,
        stderr: Option<&Path>,
    ) -> io::Result<Box<dyn Running>> {
        let mut command = command(invocation);
        command.stdin(Stdio::null()).stdout(File::create(stdout)?);
        if let Some(stderr) = stderr {
            command.stderr(File::create(stderr)?);
        }
        Ok(Box::new(command.spawn()?))
    }
}

impl Running for Child {
    fn ended(&mut self) -> io::Result<Option<Ended>> {
        let status = self.try_wait()?;
        Ok(status.map(|status| status.code().map_or(Ended::Signal, Ended::Code)))
    }

    fn kill(&mut self) -> io::Result<()> {
        Child::kill(self)?;
        self.wait().map(drop)
    }
}

/// Returns the command that runs a program in the workspace root.
fn command(invocation: &Invocation) -> Command {
    let mut command = Command::new(&invocation.program);
    command
        .args(&invocation.args)
        .current_dir(workspace_root())
        .envs(invocation.vars.iter().map(|(name, value)| (name, value)));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(describes_this_package) {
            command.env_remove(name);
        }
    }
    command
}

/// Returns whether this is a variable that `cargo run` sets to describe the xtask package.
///
/// Some build scripts run again when such a variable changes. If xtask passed the variables on, `cargo build` and
/// `cargo xtask` would each rebuild dependencies after the other has run.
fn describes_this_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// Returns the directory of the workspace's `Cargo.toml`: the parent of xtask's directory.
fn workspace_root() -> PathBuf {
    // If cargo sets the variable, reads it at run time, because the checkout may have moved since xtask was compiled.
    let ours = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    ours.parent().map_or(ours.clone(), Path::to_owned)
}

/// Returns the cargo that started xtask, so that all commands use the same toolchain.
pub(crate) fn cargo(host: &impl Host) -> String {
    host.var("CARGO").unwrap_or_else(|| "cargo".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_reads_as_typed() {
        let invocation =
            Invocation::new("cargo", ["test", "two words", ""]).with_var("FLAGS", "-D x");
        assert_eq!(
            invocation.to_string(),
            "FLAGS='-D x' cargo test 'two words' ''"
        );
    }

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(workspace_root().join("xtask").join("Cargo.toml").is_file());
    }

    #[test]
    fn a_failing_program_fails_with_its_own_code() {
        let (shell, flag) = if cfg!(windows) {
            ("cmd", "/C")
        } else {
            ("sh", "-c")
        };
        let code_of = |program: &str| {
            let outcome = Native.run_or_fail(&Invocation::new(program, [flag, "exit 7"]));
            outcome.err().map(|failure| failure.code)
        };
        assert_eq!(code_of(shell), Some(7));
        assert_eq!(code_of("no-such-program"), Some(1));
    }

    #[test]
    fn a_started_program_runs_until_it_ends_or_is_killed() -> io::Result<()> {
        let scratch = crate::scratch::ScratchDir::new()?;
        let out = scratch.path().join("out");
        let err = scratch.path().join("err");
        let start = |line: &str| {
            let invocation = if cfg!(windows) {
                Invocation::new("cmd", ["/C", line])
            } else {
                Invocation::new("sh", ["-c", line])
            };
            Native.start(&invocation, &out, Some(&err))
        };
        let wait = |running: &mut dyn Running| loop {
            if let Some(ended) = running.ended()? {
                return io::Result::Ok(ended);
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        };
        let mut printing = start("echo one&& echo two>&2&& exit 3")?;
        assert_eq!(wait(printing.as_mut())?, Ended::Code(3));
        assert_eq!(std::fs::read_to_string(&out)?.trim(), "one");
        assert_eq!(std::fs::read_to_string(&err)?.trim(), "two");
        // A program that runs for ten minutes unless it is killed.
        let endless = if cfg!(windows) {
            "ping -n 600 127.0.0.1"
        } else {
            "exec sleep 600"
        };
        let mut endless = start(endless)?;
        assert_eq!(endless.ended()?, None);
        endless.kill()?;
        assert!(endless.ended()?.is_some());
        Ok(())
    }

    #[test]
    fn only_the_package_description_is_withheld_from_cargo() {
        assert!(describes_this_package("CARGO_PKG_NAME"));
        assert!(describes_this_package("CARGO_MANIFEST_DIR"));
        assert!(!describes_this_package("CARGO_TARGET_DIR"));
        assert!(!describes_this_package("CARGO_BUILD_JOBS"));
    }
}
