//! Checks whether rows and data sets fit a network, for both engines.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2, s};

#[cfg(not(target_arch = "wasm32"))]
use crate::data::{self, Layout, Stream, Windows};
use crate::data::{Examples, Table};
use crate::error::Error;
use crate::memory::{self, bytes_of};
use crate::network::Graph;
#[cfg(not(target_arch = "wasm32"))]
use crate::ops::Optimizer;
use crate::ops::{Loss, TargetKind};
use crate::reference::{Float, Targets};

/// Checks that examples fit a network, and that their targets fit a loss.
pub(crate) fn check_fit(graph: &Graph, loss: &dyn Loss, examples: &Examples) -> Result<(), Error> {
    let found = kind_of(examples);
    if loss.targets().stored() != found {
        return Err(Error::Targets {
            examples: examples.name().to_owned(),
            found,
            needed: format!(
                "the loss {} compares {}",
                loss.describe(),
                loss.targets().name()
            ),
            remedy: match found {
                TargetKind::Classes => {
                    "Use a loss of classes, such as SoftmaxCrossEntropy, or make a table with Table::regression"
                }
                TargetKind::Values | TargetKind::Probabilities => {
                    "Use a loss of values, such as MeanSquaredError, or make the table with Table::classification"
                }
            },
        });
    }
    check_widths(graph, examples)?;
    loss.check(graph.outputs())?;
    match (loss.targets(), examples.values()) {
        (TargetKind::Probabilities, Some(values)) => {
            let targets = format!("the targets of {}", examples.name());
            check_probabilities(&loss.describe(), &targets, graph.outputs(), values)
        }
        _ => Ok(()),
    }
}

/// Checks that targets are probabilities. Each row has `outputs` targets.
fn check_probabilities<'a, F: Float>(
    loss: &str,
    what: &str,
    outputs: usize,
    targets: impl IntoIterator<Item = &'a F>,
) -> Result<(), Error> {
    let is_outside = |value: &F| !(F::zero()..=F::one()).contains(value);
    let mut targets = targets.into_iter().enumerate();
    let Some((at, &found)) = targets.find(|(_, value)| is_outside(value)) else {
        return Ok(());
    };
    let [row, column] = [at / outputs, at % outputs];
    Err(Error::setting(
        format!("row {row}, column {column} of {what}"),
        format!(
            "0 to 1, the probability of the output's label, for the loss {loss}: scale the targets, or use a loss of \
             values, such as MeanSquaredError"
        ),
        found,
    ))
}

/// Returns the kind of targets that the examples have.
pub(crate) fn kind_of(examples: &Examples) -> TargetKind {
    match examples.labels() {
        Some(_) => TargetKind::Classes,
        None => TargetKind::Values,
    }
}

/// Checks that the host has memory for a network's outputs, of shape `[rows, outputs]`.
pub(crate) fn check_outputs<F>([rows, outputs]: [usize; 2]) -> Result<(), Error> {
    let what = || format!("the outputs of {rows} rows");
    let values = (rows as u64).saturating_mul(outputs as u64);
    memory::check(what, bytes_of::<F>(values))
}

/// Returns the windows of a stream. Checks the optimizer's settings, and each block of rows against the network and the
/// loss.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn windows(
    graph: &Graph,
    loss: &dyn Loss,
    optimizer: &dyn Optimizer,
    stream: Stream,
    batch: usize,
) -> Result<Windows, Error> {
    optimizer.check()?;
    loss.check(graph.outputs())?;
    let layout = Layout {
        width: graph.features(),
        outputs: graph.outputs(),
        targets: loss.targets().stored(),
    };
    let indices: Vec<Indices> = graph.indices().collect();
    let probabilities = (loss.targets() == TargetKind::Probabilities).then(|| loss.describe());
    if indices.is_empty() && probabilities.is_none() {
        return Windows::new(stream, layout, batch);
    }
    // If a block has another layout, `Windows` returns an error.
    let stream = stream.checked(move |table| {
        if Layout::of(table) != layout {
            return Ok(());
        }
        check_table(&indices, table)?;
        match (&probabilities, table.targets()) {
            (Some(loss), data::Targets::Values { outputs, values }) => {
                let targets = format!("the targets of {}", table.name());
                check_probabilities(loss, &targets, *outputs, values)
            }
            _ => Ok(()),
        }
    });
    Windows::new(stream, layout, batch)
}

/// Checks that a network has one input per feature and one output per class or value, and that all features that must
/// be indices are valid indices.
pub(crate) fn check_widths(graph: &Graph, examples: &Examples) -> Result<(), Error> {
    let expected = [graph.features(), graph.outputs()];
    let found = [examples.width(), examples.outputs()];
    if expected == found {
        return check_indices_of(graph, examples);
    }
    Err(Error::shape(
        format!(
            "{} (features, outputs), which must match the network's inputs and outputs",
            examples.name()
        ),
        expected,
        found,
        "Build the network with as many inputs and outputs as the data have, or use other data",
    ))
}

/// Checks that examples have classes to predict.
pub(crate) fn check_classes(examples: &Examples) -> Result<(), Error> {
    if examples.labels().is_some() {
        return Ok(());
    }
    Err(Error::Targets {
        examples: examples.name().to_owned(),
        found: TargetKind::Values,
        needed: "a prediction with a probability needs classes".to_owned(),
        remedy: "Predict values with Model::predict or cpu::Network::predict, or make the table with \
                 Table::classification",
    })
}

/// Checks that `x` has one column per feature of the network.
pub(crate) fn check_columns(graph: &Graph, [rows, columns]: [usize; 2]) -> Result<(), Error> {
    let features = graph.features();
    if columns == features {
        return Ok(());
    }
    Err(Error::shape(
        "input of the network",
        [rows, features],
        [rows, columns],
        "Give each row as many columns as the network has inputs, or build a network with as many inputs",
    ))
}

/// Columns of a row that contain indices, the number below which these must be, and the layer's name: see
/// [`Graph::indices`].
pub(crate) type Indices = (Range<usize>, usize, String);

/// Checks that rows fit a network: one column per feature, and valid indices in the columns that contain indices.
pub(crate) fn check_features<F: Float>(graph: &Graph, x: ArrayView2<'_, F>) -> Result<(), Error> {
    check_columns(graph, x.dim().into())?;
    for indices in graph.indices() {
        check_indices("x", &indices, x.outer_iter())?;
    }
    Ok(())
}

fn check_indices_of(graph: &Graph, examples: &Examples) -> Result<(), Error> {
    let indices: Vec<Indices> = graph.indices().collect();
    match (examples, indices.first()) {
        (_, None) => Ok(()),
        (Examples::Table(table), Some(_)) => check_table(&indices, table),
        (Examples::Bytes(_), Some((_, below, layer))) => {
            let what = format!("features of {}", examples.name());
            let expected =
                format!("indices below {below}, for {layer}: pass them in a Table, as f32");
            Err(Error::setting(
                what,
                expected,
                "bytes, which the network reads as byte / 255",
            ))
        }
    }
}

fn check_table(indices: &[Indices], table: &Table) -> Result<(), Error> {
    let rows = table.features().chunks(table.width()).map(ArrayView1::from);
    let mut indices = indices.iter();
    indices.try_for_each(|indices| check_indices(table.name(), indices, rows.clone()))
}

/// Checks that the given columns of all rows contain integers of at least 0 and less than `below`.
pub(crate) fn check_indices<'a, F: Float>(
    what: &str,
    (columns, below, layer): &Indices,
    rows: impl Iterator<Item = ArrayView1<'a, F>>,
) -> Result<(), Error> {
    let most = *below as f64;
    for (row, of_row) in rows.enumerate() {
        let mut values = of_row.slice(s![columns.clone()]).into_iter();
        let fault = values.position(|value| {
            let value = value.into_f64();
            !(value >= 0.0 && value < most && value.fract() == 0.0)
        });
        if let Some(at) = fault {
            let column = columns.start + at;
            return Err(Error::setting(
                format!("row {row}, column {column} of {what}"),
                format!("an integer from 0 to {}, an index for {layer}", below - 1),
                of_row[column],
            ));
        }
    }
    Ok(())
}

/// Checks that there is at least one row, because zero rows have no mean loss.
pub(crate) fn check_rows(rows: usize) -> Result<(), Error> {
    match rows {
        0 => Err(Error::setting(
            "number of rows",
            "at least 1, because the result is a mean over rows",
            0,
        )),
        _ => Ok(()),
    }
}

/// Checks that a matrix has the number of rows and columns for which a pass was made.
pub(crate) fn check_of_pass(
    what: &str,
    expected: [usize; 2],
    found: [usize; 2],
) -> Result<(), Error> {
    if expected == found {
        Ok(())
    } else {
        Err(Error::shape(
            what,
            expected,
            found,
            "Give as many rows as the pass was made for, or make a pass for this number of rows; x has a column for \
             each feature, dy a column for each output",
        ))
    }
}

/// Checks that there is at least one row, that rows have one column per feature, and that each row has a target that
/// fits the loss: the index of a class, or values.
pub(crate) fn check_targets<F: Float>(
    graph: &Graph,
    loss: &dyn Loss,
    x: ArrayView2<'_, F>,
    targets: &Targets<'_, F>,
) -> Result<(), Error> {
    if loss.targets().stored() != targets.kind() {
        let name = format!("targets of the loss {}", loss.describe());
        let [expected, found] = [loss.targets(), targets.kind()].map(TargetKind::name);
        return Err(Error::setting(name, expected, found));
    }
    check_features(graph, x)?;
    let rows = x.nrows();
    check_rows(rows)?;
    loss.check(graph.outputs())?;
    match targets {
        Targets::Classes(labels) => check_labels(graph.outputs(), rows, labels),
        Targets::Values(values) => {
            let expected = [rows, graph.outputs()];
            let found: [usize; 2] = values.dim().into();
            if expected != found {
                Err(Error::shape(
                    "values (examples, outputs)",
                    expected,
                    found,
                    "Give each row as many values as the network has outputs",
                ))
            } else if loss.targets() == TargetKind::Probabilities {
                check_probabilities(&loss.describe(), "the targets", expected[1], values)
            } else {
                Ok(())
            }
        }
    }
}

/// [`check_targets`] for rows of a training step. All their values must also be finite, because infinite and NaN values
/// would make the parameters NaN.
pub(crate) fn check_given<F: Float>(
    graph: &Graph,
    loss: &dyn Loss,
    x: ArrayView2<'_, F>,
    targets: &Targets<'_, F>,
) -> Result<(), Error> {
    check_targets(graph, loss, x, targets)?;
    check_finite("x", x)?;
    match targets {
        Targets::Classes(_) => Ok(()),
        Targets::Values(values) => check_finite("the targets", *values),
    }
}

fn check_finite<F: Float>(what: &str, rows: ArrayView2<'_, F>) -> Result<(), Error> {
    // Testing a whole row at once is faster than stopping at the first bad value.
    let is_finite = |row: &ArrayView1<'_, F>| row.fold(true, |all, value| all & value.is_finite());
    match rows.rows().into_iter().position(|row| !is_finite(&row)) {
        None => Ok(()),
        Some(row) => {
            let found = rows
                .row(row)
                .iter()
                .copied()
                .find(|value| !value.is_finite());
            let found = found.map_or(f64::NAN, Float::into_f64);
            Err(Error::setting(
                format!("row {row} of {what}"),
                "finite in every column",
                found,
            ))
        }
    }
}

/// Checks that each row has a valid class index.
fn check_labels(classes: usize, rows: usize, labels: &[u32]) -> Result<(), Error> {
    if labels.len() != rows {
        return Err(Error::Count {
            what: "labels, one for each row".to_owned(),
            expected: rows,
            found: labels.len(),
        });
    }
    match labels.iter().position(|&label| label as usize >= classes) {
        None => Ok(()),
        Some(row) => Err(Error::setting(
            format!("label of row {row}"),
            format!("below {classes}, the number of the network's outputs"),
            labels[row],
        )),
    }
}

/// Checks that each row has a finite weight.
pub(crate) fn check_weights<F: Float>(rows: usize, weights: &[F]) -> Result<(), Error> {
    if weights.len() != rows {
        return Err(Error::Count {
            what: "weights, one for each row".to_owned(),
            expected: rows,
            found: weights.len(),
        });
    }
    match weights.iter().position(|weight| !weight.is_finite()) {
        None => Ok(()),
        Some(row) => Err(Error::setting(
            format!("weight of row {row}"),
            "a finite number",
            weights[row],
        )),
    }
}

/// Maximum number of minibatches per step. Each has its own dispatches, which take about 25 KB of host memory.
const MOST_ACCUMULATED: usize = 1024;

/// Checks that a step can accumulate `minibatches` minibatches.
pub(crate) fn check_accumulated(
    minibatches: usize,
    batch: usize,
    examples: usize,
) -> Result<(), Error> {
    let whole = examples / batch;
    let most = whole.min(MOST_ACCUMULATED);
    if (1..=most).contains(&minibatches) {
        return Ok(());
    }
    let expected = if whole > most {
        format!("1 to {most}: use larger minibatches")
    } else {
        format!("1 to {most}, the number of full minibatches of {batch} in {examples} examples")
    };
    Err(Error::setting(
        "minibatches of a step",
        expected,
        minibatches,
    ))
}

/// Returns the error for accumulating minibatches in a training whose rows are not drawn from a data set.
pub(crate) fn nothing_to_accumulate() -> Error {
    let expected = "from a data set, with a trainer made by Trainer::new: for a stream, use larger minibatches, and \
                    for given rows, give more rows at a time, or use a Pass and an Updater";
    let found = "from a stream, or rows that the caller passes";
    Error::setting("minibatches to accumulate", expected, found)
}
