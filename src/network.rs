//! The description of a network: its layers, the connections between them, and its parameters by name.

mod activation;
mod gradients;
mod graph;
mod groups;
mod initial;
mod parameters;
mod pass_spec;
mod resolve;
mod sequential;
mod slots;
mod structure;
pub mod summary;

pub use activation::Activation;
pub(crate) use gradients::{Arrival, BackwardStep, Gradients, Wanted, shares_gradient_of_sum};
pub(crate) use graph::{Graph, Parameter, Source, Use, find};
pub(crate) use groups::Groups;
pub use parameters::Parameters;
pub(crate) use parameters::{array, check_all, check_shape, row_major};
pub use pass_spec::PassSpec;
pub use sequential::{Sequential, ValueRef};
pub(crate) use slots::{Slots, Span};
pub(crate) use structure::StructureFault;
