//! Training by several processes. In these tests, threads take the role of processes: both communicate through a
//! `World`.
#![allow(clippy::unwrap_used)]

#[path = "distributed/bits.rs"]
mod bits;
#[path = "distributed/evaluation.rs"]
mod evaluation;
#[path = "distributed/local.rs"]
mod local;
#[path = "distributed/mistakes.rs"]
mod mistakes;
#[path = "distributed/saving.rs"]
mod saving;
#[path = "distributed/world.rs"]
mod world;
