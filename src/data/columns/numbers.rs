//! Fitted columns of arrays of numbers, without text.

use std::collections::HashSet;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};

use super::super::table::check_finite;
use super::super::{ColumnsError, DataError};
use super::Blank;
use super::fitted::{FittedColumns, Kind, Target};
use super::missing::Missing;
use super::scale::{Scale, Spread};

impl FittedColumns {
    /// Learns the mean and standard deviation of each column of two arrays, which are the training part.
    ///
    /// `x` has the features, of shape (rows, features), and `y` the target values, of shape (rows, values). The columns
    /// are named `column 0`, `column 1`, … and `value 0`, `value 1`, ….
    ///
    /// ```
    /// use ndarray::array;
    /// use wgrad::data::{FittedColumns, Table};
    ///
    /// let (x, y) = (array![[90.0, 3.0], [60.0, 2.0], [120.0, 4.0]], array![[410.0], [300.0], [475.0]]);
    /// let columns = FittedColumns::of_numbers(x.view(), y.view())?;
    /// let scaled = columns.scale(x.view())?;
    /// assert_eq!(scaled.row(0), array![0.0, 0.0]);
    /// let table = Table::regression("houses", scaled.view(), columns.scale_values(y.view())?.view())?;
    /// // What a network gives, in the unit of y.
    /// assert_eq!(columns.values(array![[0.0]].view())?, array![[395.0]]);
    /// # Ok::<(), wgrad::data::DataError>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`Table::regression`](super::super::Table::regression); [`ColumnsError::Constant`] when a column
    /// has the same value in all rows; [`ColumnsError::Scale`] when a standard deviation cannot be computed.
    pub fn of_numbers(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Result<Self, DataError> {
        if x.nrows() != y.nrows() {
            return Err(DataError::Count {
                what: "rows of y".to_owned(),
                expected: x.nrows(),
                found: y.nrows(),
            });
        }
        let values = scales("y", "value", y)?;
        let (names, scales): (Vec<_>, Vec<_>) = values.into_iter().unzip();
        Self::of_columns(x, Target::of_values(names, &scales))
    }

    /// Learns the scales of features `x` like [`of_numbers`](Self::of_numbers), for a target that is a class.
    /// `classes` are the names of the classes. Pass the class of each row to
    /// [`Table::classification`](super::super::Table::classification).
    ///
    /// # Errors
    /// The errors of [`of_numbers`](Self::of_numbers); [`ColumnsError::Classes`] when there are fewer than two classes,
    /// when two classes have the same name, or when the name of a class is blank.
    pub fn of_numbers_with_classes(
        x: ArrayView2<'_, f32>,
        classes: impl IntoIterator<Item: Into<String>>,
    ) -> Result<Self, DataError> {
        let classes = classes.into_iter().map(Into::into);
        let classes: Vec<String> = classes.map(|name: String| name.trim().to_owned()).collect();
        let distinct: HashSet<_> = classes.iter().filter(|name| !name.is_empty()).collect();
        if classes.len() < 2 || distinct.len() < classes.len() {
            return Err(ColumnsError::Classes {
                found: classes.clone(),
            }
            .into());
        }
        let name = "class".to_owned();
        Self::of_columns(x, Target::Classes { name, classes })
    }

    fn of_columns(x: ArrayView2<'_, f32>, target: Target) -> Result<Self, DataError> {
        let features = scales("x", "column", x)?.into_iter().map(|(name, scale)| {
            let blank = Blank::Refused;
            (name, Kind::Number { scale, blank })
        });
        let words = Missing::new([""; 0]);
        Ok(Self::new(words, features.collect(), target))
    }

    /// Scales features `x` of shape (rows, features) to network inputs of the same shape.
    ///
    /// # Errors
    /// [`ColumnsError::Width`] when `x` has the wrong number of columns; [`ColumnsError::NotNumbers`] when a column is
    /// categorical or may have blanks; [`DataError::NotFinite`] when a number is infinite or NaN, before or after
    /// scaling.
    pub fn scale(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, DataError> {
        let scales = self.inner().features.iter().map(|feature| {
            let found = match &feature.kind {
                Kind::Number {
                    scale,
                    blank: Blank::Refused,
                } => return Ok(*scale),
                Kind::Number { .. } => "a number that may be blank",
                Kind::OneHot(_) | Kind::Index { .. } => "a category",
            };
            Err(ColumnsError::NotNumbers {
                column: feature.name.clone(),
                found,
            })
        });
        let scales = scales.collect::<Result<Vec<Scale>, _>>()?;
        scaled("x", x, &scales)
    }

    /// Scales target values `y` of shape (rows, values) to the outputs that a network should learn. This is the inverse
    /// of [`values`](Self::values).
    ///
    /// # Errors
    /// The errors of [`scale`](Self::scale), and [`ColumnsError::NoValues`] when the target is classes or labels.
    pub fn scale_values(&self, y: ArrayView2<'_, f32>) -> Result<Array2<f32>, DataError> {
        scaled("y", y, &self.scales_of_values()?)
    }
}

fn scaled(
    name: &'static str,
    of: ArrayView2<'_, f32>,
    scales: &[Scale],
) -> Result<Array2<f32>, DataError> {
    check_width(name, scales.len(), of.ncols())?;
    let scaled = mapped(of, scales, |scale, x| scale.scaled(f64::from(x)));
    check_finite(name, "column", scaled.view())?;
    Ok(scaled)
}

/// Returns a copy of `of` in which `by` is applied to each element with the scale of its column.
pub(super) fn mapped(
    of: ArrayView2<'_, f32>,
    scales: &[Scale],
    by: impl Fn(&Scale, f32) -> f32,
) -> Array2<f32> {
    let mut mapped = of.to_owned();
    for (mut column, scale) in mapped.axis_iter_mut(Axis(1)).zip(scales) {
        column.mapv_inplace(|x| by(scale, x));
    }
    mapped
}

/// Returns the name and scale of each column of an array. Error messages call the array `name`.
fn scales(
    name: &str,
    what: &'static str,
    of: ArrayView2<'_, f32>,
) -> Result<Vec<(String, Scale)>, DataError> {
    for (what, count) in [("rows", of.nrows()), ("columns", of.ncols())] {
        if count == 0 {
            let name = name.to_owned();
            return Err(DataError::Empty { name, what });
        }
    }
    check_finite(name, what, of)?;
    let columns = of.axis_iter(Axis(1)).enumerate();
    let scales = columns.map(|(at, column)| {
        let named = format!("{what} {at}");
        let scale = scale(name, &named, column)?;
        Ok((named, scale))
    });
    scales.collect()
}

fn scale(name: &str, column: &str, of: ArrayView1<'_, f32>) -> Result<Scale, ColumnsError> {
    let mut spread = Spread::new();
    of.iter().for_each(|&x| spread.add(f64::from(x)));
    let name = name.to_owned();
    let column = column.to_owned();
    if spread.is_constant() {
        return Err(ColumnsError::Constant {
            name,
            column,
            found: of[0].to_string(),
            rows: spread.count,
        });
    }
    spread.scale().ok_or(ColumnsError::Scale {
        name,
        column,
        least: spread.least,
        most: spread.most,
    })
}

/// Fails if the number of columns is not the expected number.
pub(super) fn check_width(
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), ColumnsError> {
    if expected == found {
        Ok(())
    } else {
        Err(ColumnsError::Width {
            what,
            expected,
            found,
        })
    }
}
