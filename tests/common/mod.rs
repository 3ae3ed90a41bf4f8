//! Helpers for several test programs.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(dead_code, reason = "no test program uses all of it")]

use wgrad::data::{Split, mnist};

/// Reads the original MNIST. If it is missing, prints a notice to standard error and returns `None`, or fails if the
/// environment variable `WGRAD_REQUIRE_MNIST` is set.
pub(crate) fn mnist() -> Option<Split> {
    let Some(directory) = mnist::locate() else {
        let notice = "set MNIST_DIR to a directory with the four files";
        assert!(
            std::env::var_os("WGRAD_REQUIRE_MNIST").is_none(),
            "MNIST is required: {notice}"
        );
        // Writes to standard error directly: the test harness hides the output of `eprintln` when a test passes.
        let skipped = format!("SKIPPED: needs MNIST; {notice}\n");
        std::io::Write::write_all(&mut std::io::stderr(), skipped.as_bytes()).unwrap();
        return None;
    };
    Some(mnist::open(directory).expect("the MNIST found should be the original"))
}
