//! Reads files with random changes. Each must be read or refused: no panic, no abort, and time and memory within
//! bounds. The files start from the small ones in `tests/corpus`. Set `WGRAD_MUTATIONS=100000` for that many files
//! in each test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/allocation.rs"]
mod allocation;
#[path = "common/gpu.rs"]
mod gpu;
#[path = "mutations/idx.rs"]
mod idx;
#[path = "mutations/mutator.rs"]
mod mutator;
#[path = "common/parts.rs"]
mod parts;
#[path = "mutations/weights.rs"]
mod weights;

#[global_allocator]
static ALLOCATOR: allocation::Counting = allocation::Counting;
