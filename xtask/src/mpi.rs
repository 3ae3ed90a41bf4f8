//! Finds MPI for the tests of training with several processes, installs it, or asks the user to install it.

use std::fs;
use std::path::Path;

use crate::apt::Apt;
use crate::host::{Failure, Host};

/// Debian packages: the compiler wrapper that the `mpi` crate needs, `mpirun`, and the library that parses MPI's
/// headers.
const PACKAGES: [&str; 3] = ["libopenmpi-dev", "openmpi-bin", "libclang-dev"];

/// Instructions for installation by hand.
const BY_HAND: &str = "\
Install MPI and libclang, then run this again:

  Debian, Ubuntu  sudo apt-get install libopenmpi-dev openmpi-bin libclang-dev
  Fedora          sudo dnf install openmpi-devel clang-devel; module load mpi
  Arch            sudo pacman -S openmpi clang

Set LIBCLANG_PATH=/path/to/lib to use a libclang in another place.";

/// Makes sure that the feature `mpi` can be built and tested.
pub(crate) fn setup(host: &impl Host) -> Result<(), Failure> {
    let Err(missing) = find(host) else {
        eprintln!("xtask: MPI is installed");
        return Ok(());
    };
    let explained = |why: &str| Failure::new(format!("no MPI: {why}.\n{BY_HAND}"));
    let Some(apt) = Apt::find(host).filter(|_| host.os() == "linux") else {
        return Err(explained(missing));
    };
    let purpose = "for the tests of training by several processes";
    apt.install(host, &PACKAGES, purpose)?;
    find(host).map_err(|why| explained(&format!("apt-get succeeded, but still: {why}")))
}

/// Returns the arguments that enable the feature `mpi`, or none if it cannot be built. All cargo commands use them, so
/// that nothing is compiled twice.
pub(crate) fn features(host: &impl Host) -> &'static [&'static str] {
    match find(host) {
        Ok(()) => &["--features", "wgrad/mpi"],
        Err(_) => &[],
    }
}

/// Checks that MPI is installed. The error says what is missing.
fn find(host: &impl Host) -> Result<(), &'static str> {
    if host.os() == "windows" {
        return Err("the feature is not for Windows");
    }
    for (program, missing) in [
        ("mpicc", "there is no mpicc"),
        ("mpirun", "there is no mpirun"),
    ] {
        host.output(program, &["--version"]).ok_or(missing)?;
    }
    if has_libclang(host) {
        Ok(())
    } else {
        Err("there is no libclang")
    }
}

/// Returns whether libclang is in a directory where distributions put it. On macOS, the command line tools contain it.
fn has_libclang(host: &impl Host) -> bool {
    if host.os() == "macos" || host.var("LIBCLANG_PATH").is_some() {
        return true;
    }
    let is_there = |dir: &Path| host.locate(&dir.join("libclang.so")).is_file();
    let of_system = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(Path::new);
    if of_system.into_iter().any(is_there) {
        return true;
    }
    let versions = fs::read_dir(host.locate(Path::new("/usr/lib")));
    let mut versions = versions.into_iter().flatten().flatten();
    versions.any(|entry| {
        let is_llvm = entry.file_name().to_string_lossy().starts_with("llvm-");
        is_llvm && entry.path().join("lib/libclang.so").exists()
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io;

    use super::*;
    use crate::fake::Fake;

    /// Installs MPI on a fake machine.
    pub(crate) fn with_mpi(fake: Fake) -> io::Result<Fake> {
        let fake = fake.answers("mpicc --version", "gcc 12\n");
        let fake = fake.answers("mpirun --version", "mpirun (Open MPI) 4.1.4\n");
        fake.file("/usr/lib/llvm-14/lib/libclang.so")
    }

    #[test]
    fn what_is_there_is_left_alone() -> io::Result<()> {
        for fake in [
            with_mpi(Fake::new("linux")?)?,
            with_mpi(Fake::new("macos")?)?,
        ] {
            assert!(setup(&fake).is_ok());
            assert!(fake.ran().is_empty());
        }
        Ok(())
    }

    #[test]
    fn root_installs_what_is_missing() -> io::Result<()> {
        let fake = Fake::new("linux")?.answers("apt-get --version", "apt 2.6.1");
        let fake = fake.answers("id -u", "0\n");
        let message = setup(&fake).err().map(|failure| failure.message);
        let and_yet = "apt-get succeeded, but still: there is no mpicc";
        assert!(message.is_some_and(|message| message.contains(and_yet)));
        let ran = fake.ran();
        assert!(ran[1].ends_with("libopenmpi-dev openmpi-bin libclang-dev"));
        Ok(())
    }

    #[test]
    fn where_it_cannot_be_had_it_says_what_is_missing() -> io::Result<()> {
        let without_libclang = Fake::new("linux")?
            .answers("mpicc --version", "gcc 12\n")
            .answers("mpirun --version", "mpirun (Open MPI) 4.1.4\n");
        for (fake, why) in [
            (Fake::new("linux")?, "there is no mpicc"),
            (without_libclang, "there is no libclang"),
            (Fake::new("windows")?, "not for Windows"),
        ] {
            let message = setup(&fake).err().map(|failure| failure.message);
            let message = message.unwrap_or_default();
            assert!(
                message.contains(why) && message.contains(BY_HAND),
                "{message}"
            );
            assert!(fake.ran().is_empty());
        }
        Ok(())
    }
}
