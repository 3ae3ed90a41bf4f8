//! Whether the host has the memory for what is about to be allocated.
//!
//! A refused allocation ends a program, and Linux seldom refuses one: it grants memory that it does not have,
//! and ends a process that writes to it. So whoever needs much memory asks here first, for all of it at once.

#[cfg(target_os = "linux")]
mod linux;

use std::hint::black_box;

use crate::error::Error;
use crate::error::memory::ALLOCATOR;

/// Bytes that other parts of a program take meanwhile: blocks that matrix products pack, messages. Tables of pages
/// come on top, 1/512 of what they map.
const BESIDE: u64 = 4 << 20;
/// Bytes that they take with the compiler of a software driver.
const COMPILER: u64 = 64 << 20;
/// Addresses that a thread takes when it starts; of its stack only what is written takes memory.
#[cfg(not(target_arch = "wasm32"))]
const STACK: u64 = 2 << 20;
/// Addresses that glibc may reserve as a thread's own heap whenever the thread allocates anything and has none yet. They
/// have to be aligned: where there are twice as many, it always finds them, where there are fewer, by chance. What is not
/// used of a heap is lost to other threads, and to what is larger.
const HEAP: u64 = if cfg!(all(target_env = "gnu", target_pointer_width = "64")) {
    64 << 20
} else {
    0
};
/// What needs less than this is not compared with the machine's memory: that would take longer than allocating it,
/// and who has no more than this left is stopped by something else.
const SMALL: u64 = 4 << 20;

/// Memory that may still be taken, and what limits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    bytes: u64,
    limit: &'static str,
    /// Whether it counts addresses, used or not.
    is_of_addresses: bool,
}

impl Room {
    /// What a heap may take of these addresses at any time.
    fn heap(&self) -> u64 {
        self.bytes.checked_sub(HEAP).map_or(0, |_| HEAP)
    }
}

/// Whether `needed` bytes can be allocated; `what` needs them.
///
/// # Errors
/// [`Error::Memory`] when they cannot.
pub(crate) fn check(what: impl FnOnce() -> String, needed: u64) -> Result<(), Error> {
    or_error(what, needed, shortage(needed, BESIDE))
}

/// [`check`] where a software driver has the memory, which compiles kernels there, too.
///
/// # Errors
/// [`Error::Memory`] when they cannot.
pub(crate) fn check_in_driver(what: impl FnOnce() -> String, needed: u64) -> Result<(), Error> {
    or_error(what, needed, shortage(needed, COMPILER))
}

/// [`check`] for a part of what was asked for before: the allocator alone is asked, as threads may have taken their
/// room meanwhile.
///
/// # Errors
/// [`Error::Memory`] when it does not grant them.
pub(crate) fn check_part(what: impl FnOnce() -> String, needed: u64) -> Result<(), Error> {
    or_error(what, needed, probe(needed))
}

fn or_error(
    what: impl FnOnce() -> String,
    needed: u64,
    shortage: Option<Room>,
) -> Result<(), Error> {
    match shortage {
        None => Ok(()),
        Some(Room { bytes, limit, .. }) => Err(Error::Memory {
            what: what(),
            needed,
            available: bytes,
            limit,
        }),
    }
}

/// The narrowest limit that so many bytes do not fit in, where other parts of the program take `beside`.
fn shortage(needed: u64, beside: u64) -> Option<Room> {
    if needed < SMALL {
        return probe(needed);
    }
    narrowest(rooms(), needed, beside, can_reserve).or_else(|| probe(needed))
}

/// The same of these limits; `can_reserve` asks the allocator.
fn narrowest(
    rooms: Vec<Room>,
    needed: u64,
    beside: u64,
    can_reserve: impl FnOnce(u64) -> bool,
) -> Option<Room> {
    let with_others = needed.saturating_add(beside);
    let are_addresses_taken = |room: &Room| room.is_of_addresses && room.bytes < with_others;
    // The allocator may have addresses to spare that the process has taken before.
    let has_spare = rooms.iter().any(are_addresses_taken) && can_reserve(with_others);
    let rooms = rooms.into_iter().filter_map(|room| {
        let kept = match room.is_of_addresses {
            true if has_spare => return None,
            true => beside + room.heap(),
            // No more is mapped than there is.
            false => beside + needed.min(room.bytes) / 512,
        };
        Some(Room {
            bytes: room.bytes.saturating_sub(kept),
            ..room
        })
    });
    let narrow = rooms.filter(|room| room.bytes < needed);
    narrow.min_by_key(|room| room.bytes)
}

#[cfg(target_os = "linux")]
use linux::rooms;

/// Other systems are asked by the probe alone.
#[cfg(not(target_os = "linux"))]
fn rooms() -> Vec<Room> {
    Vec::new()
}

/// How many threads of at most so many there are addresses for, so that each can start and have a heap.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn room_for_threads(most: usize) -> usize {
    room_for_threads_in(&rooms(), most)
}

/// The same of these limits.
#[cfg(not(target_arch = "wasm32"))]
fn room_for_threads_in(rooms: &[Room], most: usize) -> usize {
    let of_addresses = rooms.iter().filter(|room| room.is_of_addresses);
    let threads = of_addresses.map(|room| {
        // One heap is for the thread that starts them.
        let left = room.bytes.saturating_sub(BESIDE + room.heap());
        usize::try_from(left / (STACK + HEAP)).unwrap_or(usize::MAX)
    });
    threads.fold(most, usize::min)
}

/// What the allocator grants, if that is less than `needed`. It knows limits that nothing else tells: those of
/// WebAssembly, of 32 bits, of a system that grants no more than it has.
fn probe(needed: u64) -> Option<Room> {
    if can_reserve(needed) {
        return None;
    }
    let mut granted = 0;
    let mut refused = needed;
    // In WebAssembly what was granted once is never given back.
    while cfg!(not(target_arch = "wasm32")) && refused - granted > SMALL {
        let middle = granted + (refused - granted) / 2;
        if can_reserve(middle) {
            granted = middle;
        } else {
            refused = middle;
        }
    }
    Some(Room {
        bytes: granted,
        limit: ALLOCATOR,
        is_of_addresses: true,
    })
}

fn can_reserve(bytes: u64) -> bool {
    let Ok(bytes) = usize::try_from(bytes) else {
        return false;
    };
    let mut memory: Vec<u8> = Vec::new();
    let is_granted = memory.try_reserve_exact(bytes).is_ok();
    // An allocation that nobody looks at is left out by the compiler.
    black_box(memory.as_ptr());
    is_granted
}

/// The sum of numbers, or `u64::MAX` where it is larger.
pub(crate) fn total(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(0, u64::saturating_add)
}

/// Bytes of so many values of type `T`.
pub(crate) fn bytes_of<T>(values: u64) -> u64 {
    values.saturating_mul(size_of::<T>() as u64)
}

#[cfg(test)]
mod tests;
