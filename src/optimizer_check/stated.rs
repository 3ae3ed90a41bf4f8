//! Tests whether the methods with which an optimizer describes itself are consistent.

use std::sync::Arc;

use crate::check::caught;
use crate::error::{CheckError, Error, OptimizerFault};
use crate::ops::Optimizer;

/// Returns the optimizer with half its learning rate, after checking that both describe themselves consistently.
pub(super) fn other(name: &str, optimizer: &dyn Optimizer) -> Result<Arc<dyn Optimizer>, Error> {
    optimizer.check()?;
    check_own(name, optimizer)?;
    let rate = optimizer.learning_rate() / 2.0;
    let method = format!("with_learning_rate({rate:?})");
    let other = caught(name, &method, || optimizer.with_learning_rate(rate))?;
    check_other(name, &method, rate, [optimizer, &*other])?;
    other.check()?;
    Ok(other)
}

/// Checks the optimizer's description and the names of its state.
fn check_own(name: &str, optimizer: &dyn Optimizer) -> Result<(), CheckError> {
    let again = optimizer.describe();
    if again != name {
        let remedy =
            "A checkpoint identifies the optimizer by this text: it must be the same in every run";
        let found = [name.to_owned(), again];
        return Err(OptimizerFault::stated(name, "describe()", found, remedy).into());
    }
    let names = optimizer.state();
    let twice = (1..names.len()).find(|&at| names[..at].contains(&names[at]));
    let empty = names.iter().position(|name| name.is_empty());
    if let Some(at) = twice.or(empty) {
        let what = format!("name {at} of state()");
        let remedy = "A checkpoint saves each value of the state by its name";
        let found = [
            "a name that no other value has".to_owned(),
            format!("{:?}", names[at]),
        ];
        return Err(OptimizerFault::stated(name, what, found, remedy).into());
    }
    Ok(())
}

/// Checks that `other` has the learning rate `rate`, the same state as `own`, and another description than `own`, whose
/// description is `name`.
fn check_other(
    name: &str,
    method: &str,
    rate: f32,
    [own, other]: [&dyn Optimizer; 2],
) -> Result<(), CheckError> {
    let of_it =
        "Return the same optimizer with the given learning rate, which a schedule then multiplies";
    let of_text = "Write the learning rate and every other setting into the text: a checkpoint tells optimizers apart \
        by it";
    let rates = [rate, other.learning_rate()].map(|rate| format!("{rate:?}"));
    let states = [own, other].map(|of| format!("{:?}", of.state()));
    let text = other.describe();
    let (what, found, remedy) = if rates[0] != rates[1] {
        ("learning_rate()", rates, of_it)
    } else if states[0] != states[1] {
        ("state()", states, of_it)
    } else if text == name {
        let found = [format!("a text other than {name}"), "the same".to_owned()];
        ("describe()", found, of_text)
    } else {
        return Ok(());
    };
    let what = format!("{what} of {method}");
    Err(OptimizerFault::stated(name, what, found, remedy).into())
}
