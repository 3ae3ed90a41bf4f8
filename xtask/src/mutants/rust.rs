//! Faults in Rust, planted by cargo-mutants with the settings in `.cargo/mutants.toml`.

use std::ffi::OsString;

use crate::host::{self, Failure, Host, Invocation};
use crate::steps::with_driver;

/// Runs cargo-mutants with these further arguments, if it is installed.
pub(crate) fn run(host: &impl Host, args: &[OsString]) -> Result<(), Failure> {
    let cargo = host::cargo(host);
    if host.output(&cargo, &["mutants", "--version"]).is_none() {
        return Err(Failure::new(
            "cargo-mutants is not installed: `cargo install --locked cargo-mutants`, then run this again",
        ));
    }
    let args = std::iter::once("mutants".into()).chain(args.iter().cloned());
    with_driver(host, Invocation::new(cargo, args))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::fake::Fake;

    fn ready() -> io::Result<Fake> {
        Fake::new("linux")?
            .env("XDG_RUNTIME_DIR", "/run/user/1000")
            .file("/usr/lib/libvulkan.so.1")?
            .file("/usr/share/vulkan/icd.d/lvp_icd.json")
    }

    #[test]
    fn it_runs_with_the_arguments_given() -> io::Result<()> {
        let fake = ready()?.answers("cargo mutants --version", "cargo-mutants 27.1.0");
        let args = ["--file", "src/ops/clip.rs"].map(OsString::from);
        assert!(run(&fake, &args).is_ok());
        assert_eq!(fake.ran(), ["cargo mutants --file src/ops/clip.rs"]);
        Ok(())
    }

    #[test]
    fn where_it_is_missing_that_is_said() -> io::Result<()> {
        let fake = ready()?;
        let message = run(&fake, &[]).err().map(|failure| failure.message);
        assert!(message.is_some_and(|text| text.contains("cargo install --locked cargo-mutants")));
        assert!(fake.ran().is_empty());
        Ok(())
    }
}
