//! Packages of Debian and its relatives.

use crate::host::{Failure, Host, Invocation};

/// apt-get, as we may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Apt {
    /// We are root.
    AsRoot,
    /// By a sudo that asks for no password.
    BySudo,
}

impl Apt {
    /// Whether there is an apt-get that we may use.
    pub(crate) fn find(host: &impl Host) -> Option<Self> {
        host.output("apt-get", &["--version"])?;
        let is_root = |id: String| id.trim() == "0";
        if host.output("id", &["-u"]).is_some_and(is_root) {
            return Some(Self::AsRoot);
        }
        host.output("sudo", &["-n", "true"]).map(|_| Self::BySudo)
    }

    /// Installs packages; `purpose` says what for.
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
            // One broken third-party source fails all of it, and need not concern us.
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
        // On a machine that has just started, its own upgrade may still hold the lock.
        const PATIENCE: [&str; 2] = ["-o", "DPkg::Lock::Timeout=120"];
        // By `env` on both roads: sudo drops the caller's variables.
        let (program, mut line) = match self {
            Self::AsRoot => ("env", vec![FRONTEND, "apt-get"]),
            Self::BySudo => ("sudo", vec!["-n", "env", FRONTEND, "apt-get"]),
        };
        line.extend(PATIENCE);
        line.extend(args);
        Invocation::new(program, line)
    }
}
