//! Conversion of data set rows to the numbers that a network reads.

use ndarray::ArrayViewMut1;

use crate::data::Examples;
use crate::reference::Float;

/// Returns `byte / 255` for every byte.
pub(super) fn unit<F: Float>() -> [F; 256] {
    let mut unit = [F::zero(); 256];
    for (byte, unit) in (0u8..=255).zip(&mut unit) {
        *unit = F::from_f64(byte.into()) / F::from_f64(255.0);
    }
    unit
}

/// Copies features of one example to `to`, starting at column `first` of the example. Features that are bytes are
/// divided by 255 with the table `unit`, which has `byte / 255` for each of the 256 possible bytes.
pub(super) fn copy_features<F: Float>(
    mut to: ArrayViewMut1<'_, F>,
    examples: &Examples,
    (example, first): (usize, usize),
    unit: &[F; 256],
) {
    match examples {
        Examples::Bytes(dataset) => {
            for (to, &byte) in to.iter_mut().zip(&dataset.row(example)[first..]) {
                *to = unit[usize::from(byte)];
            }
        }
        Examples::Table(table) => {
            copy_row(to, &table.features()[example * table.width() + first..]);
        }
    }
}

/// Copies the first values to `to`, as many as `to` has elements.
pub(super) fn copy_row<F: Float>(mut to: ArrayViewMut1<'_, F>, values: &[f32]) {
    for (to, &value) in to.iter_mut().zip(values) {
        *to = F::from_f64(value.into());
    }
}
