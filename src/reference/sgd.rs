use ndarray::Array2;

use super::Float;

/// `parameter ← parameter − learning_rate · gradient`.
pub fn sgd<F: Float>(parameter: &mut Array2<F>, gradient: &Array2<F>, learning_rate: F) {
    parameter.scaled_add(-learning_rate, gradient);
}
