use super::loss_of_values::{OfElement, mean_of_elements};
use super::{Float, Loss, LossPass};

/// Relative L2 loss: `loss = mean((y − t)² / (y² + epsilon))`; `dy = 2·(y − t) / (y² + epsilon) / (rows · outputs)`, as
/// if the denominator were a constant.
///
/// A row with an infinite or NaN output has a NaN loss, as on a GPU; its gradient is meaningless. If a square overflows
/// the type, the loss is infinite.
#[derive(Debug, Clone, Copy)]
pub struct RelativeL2 {
    /// Number that is added to the square of an output.
    pub epsilon: f64,
}

impl<F: Float> Loss<F> for RelativeL2 {
    fn forward_backward(&self, pass: LossPass<'_, F>) -> F {
        let epsilon = F::from_f64(self.epsilon);
        let two = F::from_f64(2.0);
        let all = F::from_f64(pass.outputs.len() as f64);
        mean_of_elements(pass, |y, t| {
            let difference = y - t;
            let squared = difference * difference;
            let size = y * y + epsilon;
            let is_in_range = squared.is_finite() && size.is_finite();
            OfElement {
                loss: if is_in_range {
                    squared / size
                } else {
                    F::infinity()
                },
                gradient: two * difference / size / all,
                is_sound: y.is_finite() && t.is_finite(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::RelativeL2;
    use crate::reference::{Loss, LossPass, Targets};

    /// With constant denominators, the loss is quadratic, so its central differences have no error except rounding.
    #[test]
    fn the_gradient_is_that_of_the_loss_over_constants() {
        let y = array![[0.5, -2.0], [0.0, 30.0]];
        let t = array![[1.0, -2.5], [0.25, 10.0]];
        let epsilon = 0.01;
        let held = y.mapv(|y: f64| y * y + epsilon);
        let loss = |y: &Array2<f64>| ((y - &t).mapv(|d| d * d) / &held).sum() / 4.0;
        let mut gradient = Array2::zeros((2, 2));
        let pass = LossPass::new(y.view(), Targets::Values(t.view()), gradient.view_mut());
        let found = RelativeL2 { epsilon }.forward_backward(pass);
        assert!((found - loss(&y)).abs() < 1e-15);
        for (at, &found) in gradient.indexed_iter() {
            let [mut below, mut above] = [y.clone(), y.clone()];
            below[at] -= 0.5;
            above[at] += 0.5;
            let expected = loss(&above) - loss(&below);
            assert!(
                (found - expected).abs() < 1e-12,
                "{at:?}: {found} {expected}"
            );
        }
    }
}
