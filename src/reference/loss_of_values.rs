use ndarray::Zip;

use super::{Float, LossPass, Targets};

/// The loss and the gradient of one output.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfElement<F> {
    pub(super) loss: F,
    /// The gradient, with respect to the output, of the mean over all elements.
    pub(super) gradient: F,
    /// Whether the output and the target have a loss. If not, the row's loss is NaN.
    pub(super) is_sound: bool,
}

/// Returns the mean over all rows of each row's mean loss. It sums row by row, so that it overflows where a GPU does.
pub(super) fn mean_of_elements<F: Float>(
    pass: LossPass<'_, F>,
    of_element: impl Fn(F, F) -> OfElement<F>,
) -> F {
    let LossPass {
        outputs,
        targets,
        mut doutputs,
    } = pass;
    let Targets::Values(targets) = targets else {
        unreachable!("checked before the first step");
    };
    let [rows, columns] = [outputs.nrows(), outputs.ncols()].map(|size| F::from_f64(size as f64));
    let mut loss = F::zero();
    Zip::from(doutputs.rows_mut())
        .and(outputs.rows())
        .and(targets.rows())
        .for_each(|dy, y, t| {
            let mut sum = F::zero();
            let mut is_sound = true;
            Zip::from(dy).and(y).and(t).for_each(|dy, &y, &t| {
                let element = of_element(y, t);
                sum += element.loss;
                *dy = element.gradient;
                is_sound &= element.is_sound;
            });
            loss += if is_sound { sum / columns } else { F::nan() };
        });
    loss / rows
}
