//! Optimizers from outside the crate, right and wrong, and what the check says of them.

mod good;
mod heavy;
mod mistakes;
