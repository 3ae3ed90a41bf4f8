//! Optimizers from outside the crate, right and wrong, and what the check says of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation
)]

#[path = "custom_optimizer/good.rs"]
mod good;
#[path = "common/gpu.rs"]
mod gpu;
#[path = "custom_optimizer/heavy.rs"]
mod heavy;
