//! Whether rows, parameters and data sets fit a network: the one place that both engines ask.

use ndarray::Array2;

use crate::data::Examples;
use crate::error::Error;
use crate::ops::{Loss, TargetKind};

/// Whether a network with these widths takes the rows of examples and says what the loss compares.
pub(crate) fn check_fit(
    widths: &[usize],
    loss: &dyn Loss,
    examples: &Examples,
) -> Result<(), Error> {
    let found = match examples.labels() {
        Some(_) => TargetKind::Classes,
        None => TargetKind::Values,
    };
    if loss.targets() != found {
        return Err(Error::Targets {
            examples: examples.name().to_owned(),
            found,
            needed: format!("the loss {loss:?} compares {}", loss.targets().name()),
            remedy: match found {
                TargetKind::Classes => {
                    "Take a loss of classes, such as SoftmaxCrossEntropy, or make a table with Table::regression"
                }
                TargetKind::Values => {
                    "Take a loss of values, such as MeanSquaredError, or make the table with \
                     Table::classification"
                }
            },
        });
    }
    check_widths(widths, examples)
}

/// Whether a network with these widths takes the rows of examples and has an output for each of their classes
/// or values.
pub(crate) fn check_widths(widths: &[usize], examples: &Examples) -> Result<(), Error> {
    let expected = [widths[0], widths[widths.len() - 1]];
    let found = [examples.width(), examples.outputs()];
    if expected == found {
        return Ok(());
    }
    Err(Error::Shape {
        what: format!(
            "{} (features, outputs), which the network's inputs and last layer must fit",
            examples.name()
        ),
        expected,
        found,
        remedy: "Build the network with as many inputs and outputs as the data have, or take other data",
    })
}

/// Whether examples have classes to be predicted.
pub(crate) fn check_classes(examples: &Examples) -> Result<(), Error> {
    if examples.labels().is_some() {
        return Ok(());
    }
    Err(Error::Targets {
        examples: examples.name().to_owned(),
        found: TargetKind::Values,
        needed: "a prediction with a probability is of classes".to_owned(),
        remedy: "Predict values with Model::predict or cpu::Network::predict, or make the table with \
                 Table::classification",
    })
}

/// Whether rows have as many columns as a network has inputs.
pub(crate) fn check_input(widths: &[usize], [rows, columns]: [usize; 2]) -> Result<(), Error> {
    if columns == widths[0] {
        return Ok(());
    }
    Err(Error::Shape {
        what: "input of the network".to_owned(),
        expected: [rows, widths[0]],
        found: [rows, columns],
        remedy: "Give each row as many columns as the network has inputs, or build a network with as many inputs",
    })
}

/// Whether there is a row: none has no mean.
pub(crate) fn check_rows(rows: usize) -> Result<(), Error> {
    match rows {
        0 => Err(Error::setting(
            "number of rows",
            "at least 1, as their mean is asked for",
            0,
        )),
        _ => Ok(()),
    }
}

/// Whether these are all parameters of a network, each in its shape, in their order; which layer they are of does
/// not count.
pub(crate) fn check_parameters<'a, F>(
    expected: impl ExactSizeIterator<Item = (&'a str, [usize; 2])>,
    values: &[Vec<Array2<F>>],
) -> Result<(), Error> {
    let found = values.iter().map(Vec::len).sum();
    if found != expected.len() {
        let names: Vec<_> = expected.map(|(name, _)| name).collect();
        return Err(Error::Count {
            what: format!("parameters of the network ({})", names.join(", ")),
            expected: names.len(),
            found,
        });
    }
    for ((name, expected), value) in expected.zip(values.iter().flatten()) {
        let found: [usize; 2] = value.dim().into();
        if found != expected {
            let [rows, columns] = expected;
            return Err(Error::Shape {
                what: name.to_owned(),
                expected,
                found,
                remedy: match found == [columns, rows] {
                    true => "It is transposed: a weight is (inputs, outputs) here",
                    false => {
                        "Give the parameters of a network with the same layers, in their order"
                    }
                },
            });
        }
    }
    Ok(())
}
