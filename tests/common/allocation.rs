//! An allocator that counts bytes, so that a test can check the peak memory of a call.
#![allow(
    unsafe_code,
    reason = "GlobalAlloc is an unsafe trait; this one counts, and leaves the rest to the system's"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with a count of the bytes in use by all threads of the program.
#[derive(Debug)]
pub(crate) struct Counting;

impl Counting {
    /// Returns the result of `call`, and how many bytes the peak memory during the call exceeds the memory in use
    /// before it. Nothing else may run in the program at the same time.
    pub(crate) fn peak_of<T>(call: impl FnOnce() -> T) -> (T, usize) {
        let before = NOW.load(Relaxed);
        PEAK.store(before, Relaxed);
        let result = call();
        (result, PEAK.load(Relaxed).saturating_sub(before))
    }
}

fn add(bytes: usize) {
    let now = NOW.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(now, Relaxed);
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // During a reallocation, the old and the new block exist at the same time.
        add(size);
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(memory, layout, size) }
    }
}
