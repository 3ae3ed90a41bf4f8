use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// What a shell gives for a program that Ctrl-C has ended.
pub(crate) const EXIT_CODE: u8 = 130;

/// From now on, Ctrl-C asks for an end and no longer is one; the second is.
pub(crate) fn listen() {
    // Where this cannot be had, or `nohup` has already said what to do, a signal does what it did.
    let _ = ctrlc::try_set_handler(|| {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE.into());
        }
    });
}

/// Whether an end was asked for.
pub(crate) fn is_requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
