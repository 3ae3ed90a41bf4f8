//! What an optimizer says of itself.

use std::sync::Arc;

use crate::check::caught;
use crate::error::{CheckError, Error, OptimizerFault};
use crate::ops::Optimizer;

/// The optimizer with half its learning rate, if what it says fits together.
pub(super) fn other(name: &str, optimizer: &dyn Optimizer) -> Result<Arc<dyn Optimizer>, Error> {
    optimizer.check()?;
    let stated = |what: &str, [expected, found]: [String; 2], remedy: &'static str| {
        CheckError::from(OptimizerFault::Stated {
            name: name.to_owned(),
            what: what.to_owned(),
            expected,
            found,
            remedy,
        })
    };
    let again = optimizer.describe();
    if again != name {
        let remedy =
            "A checkpoint knows the optimizer by this text: it must be the same in every run";
        return Err(stated("describe()", [name.to_owned(), again], remedy).into());
    }
    let names = optimizer.state();
    let twice = (1..names.len()).find(|&at| names[..at].contains(&names[at]));
    let empty = names.iter().position(|name| name.is_empty());
    if let Some(at) = twice.or(empty) {
        let found = [format!("no other {:?}", names[at]), format!("{names:?}")];
        let remedy = "A checkpoint saves each value of the state by its name";
        return Err(stated(&format!("name {at} of state()"), found, remedy).into());
    }
    let rate = optimizer.learning_rate() / 2.0;
    let method = format!("with_learning_rate({rate:?})");
    let other = caught(name, &method, || optimizer.with_learning_rate(rate))?;
    let remedy =
        "Return the same optimizer with the learning rate that is given, and no schedule within it";
    if other.learning_rate().to_bits() != rate.to_bits() {
        let found = [rate, other.learning_rate()].map(|rate| format!("{rate:?}"));
        let what = format!("learning_rate() of {method}");
        return Err(stated(&what, found, remedy).into());
    }
    if other.state() != names {
        let found = [names, other.state()].map(|names| format!("{names:?}"));
        return Err(stated(&format!("state() of {method}"), found, remedy).into());
    }
    let described = other.describe();
    if described == name {
        let found = [format!("another text than {name}"), described];
        let remedy = "Write the learning rate and every other setting into it: a checkpoint tells optimizers apart by it";
        return Err(stated(&format!("describe() of {method}"), found, remedy).into());
    }
    other.check()?;
    Ok(other)
}
