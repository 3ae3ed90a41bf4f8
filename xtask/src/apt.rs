//! Packages on Debian and distributions derived from it.

use crate::host::{Failure, Host, Invocation};

/// How this user may run apt-get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Apt {
    /// The user is root.
    AsRoot,
    /// The user can use sudo without a password.
    BySudo,
}

impl Apt {
    /// Returns how this user may run apt-get, or `None` if the user may not run it.
    pub(crate) fn find(host: &impl Host) -> Option<Self> {
        host.output("apt-get", &["--version"])?;
        let is_root = |id: String| id.trim() == "0";
        if host.output("id", &["-u"]).is_some_and(is_root) {
            return Some(Self::AsRoot);
        }
        host.output("sudo", &["-n", "true"]).map(|_| Self::BySudo)
    }

    /// Installs packages. The printed message ends with `purpose`.
    pub(crate) fn install(
        self,
        host: &impl Host,
        packages: &[&str],
        purpose: &str,
    ) -> Result<(), Failure> {
        let names = packages.join(" and ");
        eprintln!("xtask: installing {names} by apt-get, {purpose}");
        let update = self.get(&["update"]);
        eprintln!("xtask: $ {update}");
        if let Err(failure) = host.run_or_fail(&update) {
            // One broken third-party package source makes the whole update fail, but it may still be possible to
            // install our packages.
            eprintln!("xtask: {failure}; trying with the current lists of packages");
        }
        let mut args = vec!["install", "-y", "--no-install-recommends"];
        args.extend(packages);
        let install = self.get(&args);
        eprintln!("xtask: $ {install}");
        host.run_or_fail(&install)
    }

    fn get(self, args: &[&str]) -> Invocation {
        const FRONTEND: &str = "DEBIAN_FRONTEND=noninteractive";
        // Waits up to 120 s for apt's lock: on a machine that has just started, an automatic upgrade may hold it.
        const PATIENCE: [&str; 2] = ["-o", "DPkg::Lock::Timeout=120"];
        // Sets the variable through `env`, because sudo drops the caller's environment variables.
        let (program, mut line) = match self {
            Self::AsRoot => ("env", vec![FRONTEND, "apt-get"]),
            Self::BySudo => ("sudo", vec!["-n", "env", FRONTEND, "apt-get"]),
        };
        line.extend(PATIENCE);
        line.extend(args);
        Invocation::new(program, line)
    }
}
