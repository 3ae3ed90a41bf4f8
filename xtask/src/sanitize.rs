//! Interprets every shader by running the tests that interpret shaders, with all their shapes.

use crate::host::{self, Failure, Host, Invocation};
use crate::steps::with_driver;

/// The library's name. [`OF_LIBRARY`] are its modules whose unit tests run kernels.
const LIBRARY: &str = "wgrad";
const OF_LIBRARY: [&str; 2] = ["ops::", "steps::"];

/// The test programs that run kernels, and print a table of the kernels' basic blocks that were reached.
const PROGRAMS: [&str; 2] = ["parity", "sanitize"];

/// Returns whether [`run`] runs this test of this program.
pub(crate) fn has(program: &str, test: &str) -> bool {
    match program {
        LIBRARY => OF_LIBRARY.iter().any(|module| test.starts_with(module)),
        program => PROGRAMS.contains(&program),
    }
}

/// Runs the tests of [`OF_LIBRARY`] and of [`PROGRAMS`]. They interpret every plan that is not too long, and compare
/// the results with the results of a GPU driver. Fails if a test finds an error.
pub(crate) fn run(host: &impl Host) -> Result<(), Failure> {
    let of_library = ["--lib", "--"].into_iter().chain(OF_LIBRARY);
    let of_programs = PROGRAMS.iter().flat_map(|name| ["--test", name]);
    let of_programs = of_programs.chain(["--", "--show-output"]);
    for tests in [of_library.collect::<Vec<_>>(), of_programs.collect()] {
        let args = ["test", "--release"].into_iter().chain(tests);
        let test = Invocation::new(host::cargo(host), args).with_var("WGRAD_SANITIZE", "all");
        with_driver(host, test)?;
    }
    Ok(())
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
    fn all_shapes_are_asked_for() -> io::Result<()> {
        let fake = ready()?;
        assert!(run(&fake).is_ok());
        let expected = [
            "WGRAD_SANITIZE=all cargo test --release --lib -- ops:: steps::",
            "WGRAD_SANITIZE=all cargo test --release --test parity --test sanitize -- --show-output",
        ];
        assert_eq!(fake.ran(), expected);
        Ok(())
    }

    #[test]
    fn what_is_run_is_told() {
        assert!(has("wgrad", "ops::clip::tests::gradients_of_zero_stay"));
        assert!(!has("wgrad", "shape::tests::ops"));
        assert!(has("parity", "linear::forward"));
        assert!(!has("golden", "golden_files"));
    }

    #[test]
    fn what_is_found_is_a_failure() -> io::Result<()> {
        let fake = ready()?.on_run(|_, _| 101);
        assert_eq!(run(&fake).err().map(|failure| failure.code), Some(101));
        assert_eq!(fake.ran().len(), 1);
        Ok(())
    }

    #[test]
    fn nothing_is_compared_without_a_driver() -> io::Result<()> {
        let fake = Fake::new("linux")?;
        assert!(run(&fake).is_err());
        assert!(fake.ran().is_empty());
        Ok(())
    }
}
