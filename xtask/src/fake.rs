//! A fake machine for tests. Its files are in a temporary directory.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::host::{Ended, Host, Invocation, Running};
use crate::scratch::ScratchDir;

/// When an effect returns this exit code, the program never ends by itself.
pub(crate) const ENDLESS: u8 = 255;

/// What a program does: the function takes the machine and the command line, and returns the exit code.
type Effect = Box<dyn Fn(&Fake, &str) -> u8 + Send + Sync>;

/// A fake machine. At first it has no files.
pub(crate) struct Fake {
    os: &'static str,
    root: ScratchDir,
    vars: HashMap<&'static str, String>,
    outputs: HashMap<String, String>,
    effect: Effect,
    lines: Mutex<Vec<String>>,
}

impl Fake {
    /// Creates a machine with this operating system. Every program that is run on it succeeds.
    pub(crate) fn new(os: &'static str) -> io::Result<Self> {
        Ok(Self {
            os,
            root: ScratchDir::new()?,
            vars: HashMap::new(),
            outputs: HashMap::new(),
            effect: Box::new(|_, _| 0),
            lines: Mutex::default(),
        })
    }

    /// Adds an empty file at this absolute path of the machine.
    pub(crate) fn file(self, path: &str) -> io::Result<Self> {
        self.put(path)?;
        Ok(self)
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &'static str, value: &str) -> Self {
        self.vars.insert(name, value.to_owned());
        self
    }

    /// Makes [`Host::output`] succeed for this command line, with this output. For command lines without an answer, it
    /// fails.
    pub(crate) fn answers(mut self, line: impl Into<String>, output: &str) -> Self {
        self.outputs.insert(line.into(), output.to_owned());
        self
    }

    /// Sets the effect of every program that runs.
    pub(crate) fn on_run(
        mut self,
        effect: impl Fn(&Self, &str) -> u8 + Send + Sync + 'static,
    ) -> Self {
        self.effect = Box::new(effect);
        self
    }

    /// Returns every command line that was run, in order.
    pub(crate) fn ran(&self) -> Vec<String> {
        self.lines().clone()
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates an empty file at this absolute path of the machine.
    pub(crate) fn put(&self, path: &str) -> io::Result<()> {
        self.write(path, "")
    }

    /// Creates a file with this content at this absolute path, or at a path relative to the workspace root.
    pub(crate) fn write(&self, path: &str, content: &str) -> io::Result<()> {
        let path = self.locate(Path::new(path));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)
    }
}

impl Host for Fake {
    fn os(&self) -> &str {
        self.os
    }

    fn arch(&self) -> &str {
        "x86_64"
    }

    fn var(&self, name: &str) -> Option<String> {
        self.vars
            .get(name)
            .filter(|value| !value.is_empty())
            .cloned()
    }

    fn root(&self) -> PathBuf {
        self.root.path().to_owned()
    }

    fn locate(&self, path: &Path) -> PathBuf {
        self.root
            .path()
            .join(path.strip_prefix("/").unwrap_or(path))
    }

    fn output(&self, program: &str, args: &[&str]) -> Option<String> {
        let line = Invocation::new(program, args).to_string();
        self.outputs.get(line.as_str()).cloned()
    }

    fn run(&self, invocation: &Invocation) -> io::Result<u8> {
        let line = invocation.to_string();
        self.lines().push(line.clone());
        Ok((self.effect)(self, &line))
    }

    fn start(
        &self,
        invocation: &Invocation,
        stdout: &Path,
        stderr: Option<&Path>,
    ) -> io::Result<Box<dyn Running>> {
        let code = self.run(invocation)?;
        let line = invocation.to_string();
        fs::write(stdout, self.outputs.get(&line).map_or("", |output| output))?;
        if let Some(stderr) = stderr {
            fs::write(stderr, "")?;
        }
        Ok(Box::new(Started { code }))
    }
}

/// A program that was started. It ends at once, unless its exit code is [`ENDLESS`].
struct Started {
    code: u8,
}

impl Running for Started {
    fn ended(&mut self) -> io::Result<Option<Ended>> {
        Ok((self.code != ENDLESS).then_some(Ended::Code(self.code.into())))
    }

    fn kill(&mut self) -> io::Result<()> {
        self.code = 0;
        Ok(())
    }
}
