//! Losses and optimizers from outside the crate, correct ones and ones with mistakes, and what the checks report about
//! them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation
)]

#[path = "custom_loss/good.rs"]
mod good;
#[path = "common/gpu.rs"]
mod gpu;
#[path = "custom_loss/hinge.rs"]
mod hinge;
#[path = "custom_loss/log_cosh.rs"]
mod log_cosh;
#[path = "custom_loss/mistakes.rs"]
mod mistakes;
#[path = "custom_optimizer/mod.rs"]
mod optimizers;
