use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

static REQUESTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// What a shell gives for a program that Ctrl-C has ended.
pub(crate) const EXIT_CODE: u8 = 130;

/// From now on, Ctrl-C asks for an end and no longer is one; the second is.
pub(crate) fn listen() {
    let handler = || {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE.into());
        }
    };
    if ctrlc::try_set_handler(handler).is_err() {
        listen_in_background();
    }
}

/// Where `nohup` or a script's `&` has one of the signals ignored, that stays so, and `kill` asks for an
/// end all the same. Should even that not be had, a signal does what it did.
#[cfg(unix)]
fn listen_in_background() {
    use signal_hook::consts::SIGTERM;
    use signal_hook::flag;

    let requested = || Arc::clone(&REQUESTED);
    let _ = flag::register_conditional_shutdown(SIGTERM, EXIT_CODE.into(), requested())
        .and_then(|_| flag::register(SIGTERM, requested()));
}

#[cfg(not(unix))]
fn listen_in_background() {}

/// Whether an end was asked for.
pub(crate) fn is_requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
