use super::Sgd;
use crate::testing::{Bench, FLUSHED, Fill, Numbers, ROUNDING, assert_close, gpu};

#[test]
fn parameters_move_against_their_gradients() {
    for elements in [
        1,
        2,
        63,
        64,
        65,
        127,
        128,
        129,
        997,
        39_760,
        65_535 * 64 + 1,
    ] {
        for (fill, learning_rate) in Fill::ALL.into_iter().zip([0.5, 0.1, 1e-3]) {
            let case = format!("sgd of {elements} elements, {fill:?}");
            let mut numbers = Numbers::new(elements as u64);
            let before = numbers.fill(elements, fill);
            let slopes = numbers.fill(elements, fill);
            let bench = Bench::new(gpu());
            let parameters = bench.changed("parameters", [1, elements], &before);
            let gradients = bench.input("gradients", [1, elements], &slopes);
            bench.run(&case, 1, |recorder| {
                Sgd::new(learning_rate).record(recorder, &parameters, &gradients);
            });
            let rate = f64::from(learning_rate);
            let steps = || slopes.iter().map(|&slope| rate * f64::from(slope));
            let after = || {
                before
                    .iter()
                    .zip(steps())
                    .map(|(&p, step)| f64::from(p) - step)
            };
            // A product and a difference, each rounded, the former perhaps not at all.
            let tolerance = after().zip(steps()).map(|(after, step)| match fill {
                Fill::Integers => 0.0,
                _ => (1.0 + 1e-6) * ROUNDING * (after.abs() + step.abs()) + 2.0 * FLUSHED,
            });
            assert_close(&case, &bench.read(&parameters), after(), tolerance);
        }
    }
}
