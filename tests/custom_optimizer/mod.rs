//! Optimizers from outside the crate, correct ones and ones with mistakes, and what the optimizer check reports about
//! them.

mod good;
mod heavy;
mod mistakes;
