//! Checks whether the host has enough memory before a large allocation.
//!
//! If an allocation is refused, the program ends. Linux seldom refuses: it grants memory that it does not have, and
//! kills a process that writes to it. So code that needs much memory calls this module first, once for all of it.

#[cfg(target_os = "linux")]
mod linux;

use std::hint::black_box;

use crate::error::Error;
use crate::error::memory::ALLOCATOR;

/// Bytes that other parts of the program may take during the checked allocation, for packed factors of matrix products
/// and for messages. Page tables are added to this; they take 1/512 of the memory that they map.
const BESIDE: u64 = 4 << 20;
/// Bytes that other parts of the program may take if a software driver also compiles shaders in this process.
const COMPILER: u64 = 64 << 20;
/// Size of a thread's stack in the address space. Only pages that are written take memory.
#[cfg(not(target_arch = "wasm32"))]
const STACK: u64 = 2 << 20;
/// Size of the address range that glibc may reserve as a thread's own heap when the thread first allocates. A heap must
/// be aligned: glibc always finds one in a free range of twice this size, and in a smaller range only by chance. Other
/// threads and larger allocations cannot use the rest of a heap.
const HEAP: u64 = if cfg!(all(target_env = "gnu", target_pointer_width = "64")) {
    64 << 20
} else {
    0
};
/// For a request below this size, only the allocator is asked, because reading the machine's limits would take longer
/// than the allocation. If less memory than this is left, the program soon fails elsewhere anyway.
const SMALL: u64 = 4 << 20;

/// The memory that is still free under one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FreeMemory {
    bytes: u64,
    limit: &'static str,
    /// Whether the limit counts allocated address space, even if nothing has been written to it yet.
    is_of_addresses: bool,
}

impl FreeMemory {
    /// Size of the address range to keep free for a heap that glibc may reserve at any time.
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

/// [`check`] for memory that a software driver takes. It adds the memory of the driver's compiler.
///
/// # Errors
/// [`Error::Memory`] when the bytes cannot be allocated.
pub(crate) fn check_in_driver(what: impl FnOnce() -> String, needed: u64) -> Result<(), Error> {
    or_error(what, needed, shortage(needed, COMPILER))
}

/// [`check`] for a part of an amount that was checked before. It asks only the allocator, because other threads may
/// have allocated their parts of that amount meanwhile.
///
/// # Errors
/// [`Error::Memory`] when the allocator refuses the bytes.
pub(crate) fn check_part(what: impl FnOnce() -> String, needed: u64) -> Result<(), Error> {
    or_error(what, needed, probe(needed))
}

fn or_error(
    what: impl FnOnce() -> String,
    needed: u64,
    shortage: Option<FreeMemory>,
) -> Result<(), Error> {
    match shortage {
        None => Ok(()),
        Some(FreeMemory { bytes, limit, .. }) => Err(Error::Memory {
            what: what(),
            needed,
            available: bytes,
            limit,
        }),
    }
}

/// Returns the narrowest limit that leaves fewer than `needed` bytes while other parts of the program take `beside`
/// bytes.
fn shortage(needed: u64, beside: u64) -> Option<FreeMemory> {
    if needed < SMALL {
        return probe(needed);
    }
    narrowest(rooms(), needed, beside, can_reserve).or_else(|| probe(needed))
}

/// [`shortage`] for the given limits only, without a [`probe`] of the allocator. `can_reserve` says whether the
/// allocator can reserve a given number of bytes.
fn narrowest(
    rooms: Vec<FreeMemory>,
    needed: u64,
    beside: u64,
    can_reserve: impl FnOnce(u64) -> bool,
) -> Option<FreeMemory> {
    let with_others = needed.saturating_add(beside);
    let are_addresses_taken = |room: &FreeMemory| room.is_of_addresses && room.bytes < with_others;
    // The allocator may have free addresses that the process has already reserved.
    let has_spare = rooms.iter().any(are_addresses_taken) && can_reserve(with_others);
    let rooms = rooms.into_iter().filter_map(|room| {
        let kept = match room.is_of_addresses {
            true if has_spare => return None,
            true => beside + room.heap(),
            // Page tables never map more than the free memory.
            false => beside + needed.min(room.bytes) / 512,
        };
        Some(FreeMemory {
            bytes: room.bytes.saturating_sub(kept),
            ..room
        })
    });
    let narrow = rooms.filter(|room| room.bytes < needed);
    narrow.min_by_key(|room| room.bytes)
}

#[cfg(target_os = "linux")]
use linux::rooms;

/// Returns no limits: on systems other than Linux, only the allocator shows how much memory is free.
#[cfg(not(target_os = "linux"))]
fn rooms() -> Vec<FreeMemory> {
    Vec::new()
}

/// The number of threads, at most `most`, for which the address space is large enough: each needs a stack and a heap.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn room_for_threads(most: usize) -> usize {
    room_for_threads_in(&rooms(), most)
}

/// [`room_for_threads`] for the given limits.
#[cfg(not(target_arch = "wasm32"))]
fn room_for_threads_in(rooms: &[FreeMemory], most: usize) -> usize {
    let of_addresses = rooms.iter().filter(|room| room.is_of_addresses);
    let threads = of_addresses.map(|room| {
        // One heap is kept for the thread that starts the others.
        let left = room.bytes.saturating_sub(BESIDE + room.heap());
        usize::try_from(left / (STACK + HEAP)).unwrap_or(usize::MAX)
    });
    threads.fold(most, usize::min)
}

/// Returns the amount that the allocator grants, if this is less than `needed`. The allocator applies limits that
/// cannot be read anywhere: those of WebAssembly, of 32-bit addresses, and of systems that grant only memory that they
/// have.
fn probe(needed: u64) -> Option<FreeMemory> {
    if can_reserve(needed) {
        return None;
    }
    let mut granted = 0;
    let mut refused = needed;
    // WebAssembly never returns memory, so the search would keep everything that it was granted.
    while cfg!(not(target_arch = "wasm32")) && refused - granted > SMALL {
        let middle = granted + (refused - granted) / 2;
        if can_reserve(middle) {
            granted = middle;
        } else {
            refused = middle;
        }
    }
    Some(FreeMemory {
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
    // Otherwise the compiler would remove the allocation, because nothing uses its address.
    black_box(memory.as_ptr());
    is_granted
}

/// The sum of the numbers; `u64::MAX` on overflow.
pub(crate) fn total(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(0, u64::saturating_add)
}

/// Size in bytes of `values` values of type `T`.
pub(crate) fn bytes_of<T>(values: u64) -> u64 {
    values.saturating_mul(size_of::<T>() as u64)
}

#[cfg(test)]
mod tests;
