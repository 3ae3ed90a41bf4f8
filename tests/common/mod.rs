//! What several test programs share.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(dead_code, reason = "no test program uses all of it")]

use wgrad::data::{Split, mnist};

/// The original MNIST, or `None` with a loud notice where there is none: a failure instead when
/// the environment variable `WGRAD_REQUIRE_MNIST` is set.
pub(crate) fn mnist() -> Option<Split> {
    let Some(directory) = mnist::locate() else {
        let notice = "set MNIST_DIR to a directory with the four files";
        assert!(
            std::env::var_os("WGRAD_REQUIRE_MNIST").is_none(),
            "MNIST is required: {notice}"
        );
        // Not `eprintln`, which the test harness keeps to itself when a test passes.
        let skipped = format!("SKIPPED: needs MNIST; {notice}\n");
        std::io::Write::write_all(&mut std::io::stderr(), skipped.as_bytes()).unwrap();
        return None;
    };
    Some(mnist::open(directory).expect("the MNIST found should be the original"))
}
