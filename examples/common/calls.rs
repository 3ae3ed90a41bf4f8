//! Counts calls of wgpu by its log messages. So calls by the program and by its libraries are both counted.

use std::ops::Sub;
use std::sync::atomic::{AtomicUsize, Ordering};

use log::{LevelFilter, Log, Metadata, Record};

/// Prefixes of three log messages of wgpu: for a submit, for mapping a buffer to read it, and for waiting for the
/// device.
const LOGGED: [&str; 3] = [
    "Queue::submit returned",
    "Buffer::map_async",
    "Device::poll Wait",
];

static COUNTS: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];

/// Number of calls so far, by kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calls {
    pub(crate) submits: usize,
    pub(crate) maps: usize,
    pub(crate) waits: usize,
}

/// Starts counting. Fails if the program already has a logger, because a program can have only one.
pub(crate) fn count() -> Result<(), String> {
    log::set_logger(&Counter).map_err(|error| error.to_string())?;
    log::set_max_level(LevelFilter::Trace);
    Ok(())
}

impl Calls {
    pub(crate) fn so_far() -> Self {
        let [submits, maps, waits] = COUNTS.each_ref().map(|count| count.load(Ordering::Relaxed));
        Self {
            submits,
            maps,
            waits,
        }
    }
}

impl Sub for Calls {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            submits: self.submits - before.submits,
            maps: self.maps - before.maps,
            waits: self.waits - before.waits,
        }
    }
}

struct Counter;

impl Log for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("wgpu_core")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        for (count, logged) in COUNTS.iter().zip(LOGGED) {
            count.fetch_add(text.starts_with(logged).into(), Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}
