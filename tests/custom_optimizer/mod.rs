//! Optimizers from outside the crate, correct and with mistakes, and the results of the optimizer check.

mod good;
mod heavy;
mod mistakes;
