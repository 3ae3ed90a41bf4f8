//! Files that are changed at random are read or refused: no panic, no abort, and neither time nor memory
//! beyond bounds. They start from the small files of `tests/corpus`. Set `WGRAD_MUTATIONS=100000` to try so many
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
