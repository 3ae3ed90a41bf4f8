//! Reads files with random changes. Each must be accepted or refused without a panic or an abort, within limits of time
//! and memory. The originals are the small files in `tests/corpus`. `WGRAD_MUTATIONS=100000` sets the number of files
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
