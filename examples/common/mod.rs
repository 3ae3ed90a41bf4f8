//! Code shared by the examples: loading data, output, and how a program ends.

pub(crate) mod data;
pub(crate) mod output;

pub(crate) use data::{DataArgs, load};
pub(crate) use output::{Failure, line, run};
