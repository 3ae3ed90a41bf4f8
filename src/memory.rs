//! Checks whether the host has enough memory before a large allocation.
//!
//! A refused allocation ends the program. Linux seldom refuses one: it grants memory that it does not have, and kills
//! a process that writes to it. So code that needs much memory asks here first, for all of it at once.

#[cfg(target_os = "linux")]
mod linux;

use std::hint::black_box;

use crate::error::Error;
use crate::error::memory::ALLOCATOR;

/// Bytes that other parts of the program take meanwhile: packed blocks of matrix products, messages. Page tables come
/// on top; they take 1/512 of what they map.
const BESIDE: u64 = 4 << 20;
/// Bytes that other parts of the program take where a software driver compiles shaders in the process, too.
const COMPILER: u64 = 64 << 20;
/// Addresses for a thread's stack. Only the part that is written takes memory.
#[cfg(not(target_arch = "wasm32"))]
const STACK: u64 = 2 << 20;
/// Addresses that glibc may reserve as a thread's own heap when the thread first allocates. They must be aligned:
/// glibc always finds an aligned range in twice as many addresses, and in fewer only by chance. Other threads and
/// larger allocations cannot use the rest of a heap.
const HEAP: u64 = if cfg!(all(target_env = "gnu", target_pointer_width = "64")) {
    64 << 20
} else {
    0
};
/// A request below this size asks only the allocator: reading the machine's limits would take longer than allocating.
/// A program that has less memory than this left fails elsewhere anyway.
const SMALL: u64 = 4 << 20;

/// Memory that is still free under one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    bytes: u64,
    limit: &'static str,
    /// Whether the limit counts addresses, whether or not they are used.
    is_of_addresses: bool,
}

impl Room {
    /// Addresses to leave for a heap that glibc may reserve at any time.
    fn heap(&self) -> u64 {
        self.bytes.checked_sub(HEAP).map_or(0, |_| HEAP)
    }
}

/// Checks that `needed` bytes can be allocated; `what` names their purpose for the error.
///
/// # Errors
/// [`Error::Memory`] when the bytes cannot be allocated.
pub(crate) fn check(what: impl FnOnce() -> String, needed: u64) -> Result<(), Error> {
    or_error(what, needed, shortage(needed, BESIDE))
}

/// [`check`] for memory of a software driver, whose compiler needs memory as well.
///
/// # Errors
/// [`Error::Memory`] when the bytes cannot be allocated.
pub(crate) fn check_in_driver(what: impl FnOnce() -> String, needed: u64) -> Result<(), Error> {
    or_error(what, needed, shortage(needed, COMPILER))
}

/// [`check`] for a part of a size that was checked before. Asks only the allocator, because the threads may have taken
/// their share of the checked memory meanwhile.
///
/// # Errors
/// [`Error::Memory`] when the allocator refuses the bytes.
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

/// The narrowest limit that leaves fewer than `needed` bytes when other parts of the program take `beside` bytes.
fn shortage(needed: u64, beside: u64) -> Option<Room> {
    if needed < SMALL {
        return probe(needed);
    }
    narrowest(rooms(), needed, beside, can_reserve).or_else(|| probe(needed))
}

/// [`shortage`] for the given limits, without the probe; `can_reserve` asks the allocator.
fn narrowest(
    rooms: Vec<Room>,
    needed: u64,
    beside: u64,
    can_reserve: impl FnOnce(u64) -> bool,
) -> Option<Room> {
    let with_others = needed.saturating_add(beside);
    let are_addresses_taken = |room: &Room| room.is_of_addresses && room.bytes < with_others;
    // The allocator may have spare addresses that the process has already reserved.
    let has_spare = rooms.iter().any(are_addresses_taken) && can_reserve(with_others);
    let rooms = rooms.into_iter().filter_map(|room| {
        let kept = match room.is_of_addresses {
            true if has_spare => return None,
            true => beside + room.heap(),
            // Page tables map at most all memory of the room.
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

/// On other systems only the probe finds limits.
#[cfg(not(target_os = "linux"))]
fn rooms() -> Vec<Room> {
    Vec::new()
}

/// Number of threads, at most `most`, for which there are enough addresses: each needs a stack and a heap.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn room_for_threads(most: usize) -> usize {
    room_for_threads_in(&rooms(), most)
}

/// [`room_for_threads`] for the given limits.
#[cfg(not(target_arch = "wasm32"))]
fn room_for_threads_in(rooms: &[Room], most: usize) -> usize {
    let of_addresses = rooms.iter().filter(|room| room.is_of_addresses);
    let threads = of_addresses.map(|room| {
        // One heap is for the thread that starts the others.
        let left = room.bytes.saturating_sub(BESIDE + room.heap());
        usize::try_from(left / (STACK + HEAP)).unwrap_or(usize::MAX)
    });
    threads.fold(most, usize::min)
}

/// How much the allocator grants, if that is less than `needed`. The allocator knows limits that are written down
/// nowhere: those of WebAssembly, of 32-bit addresses, and of systems that grant no more than they have.
fn probe(needed: u64) -> Option<Room> {
    if can_reserve(needed) {
        return None;
    }
    let mut granted = 0;
    let mut refused = needed;
    // WebAssembly never gives memory back, so the search would keep what it is granted.
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
    // The compiler removes an allocation whose address is never used.
    black_box(memory.as_ptr());
    is_granted
}

/// The sum of the numbers, or `u64::MAX` if it is larger.
pub(crate) fn total(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(0, u64::saturating_add)
}

/// Bytes of the given number of values of type `T`.
pub(crate) fn bytes_of<T>(values: u64) -> u64 {
    values.saturating_mul(size_of::<T>() as u64)
}

#[cfg(test)]
mod tests;
