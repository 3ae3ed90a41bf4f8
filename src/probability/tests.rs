#![allow(clippy::unwrap_used)]

use ndarray::{Array1, Array2, array};

use super::{ClassSampler, sigmoid, softmax};

#[test]
fn probabilities_are_those_of_the_definitions() {
    let logits = array![[0.3f64, -1.2, 2.0], [5.0, 5.0, 4.0]];
    let found = softmax(logits.view());
    for (row, logits) in found.rows().into_iter().zip(logits.rows()) {
        let sum: f64 = logits.iter().map(|z| z.exp()).sum();
        for (p, z) in row.iter().zip(logits) {
            assert!((p - z.exp() / sum).abs() < 1e-15);
        }
        assert!((row.sum() - 1.0).abs() < 1e-15);
    }
    for (p, z) in sigmoid(logits.view()).iter().zip(&logits) {
        assert!((p - 1.0 / (1.0 + (-z).exp())).abs() < 1e-15);
    }
}

#[test]
fn extreme_logits_give_probabilities_and_what_is_no_number_none() {
    let logits = array![
        [3e38f32, -3e38, 0.0],
        [f32::NAN, 0.0, 1.0],
        [f32::INFINITY, 0.0, 1.0]
    ];
    let found = softmax(logits.view());
    assert_eq!(found.row(0), array![1.0, 0.0, 0.0]);
    assert!(found.row(1).iter().chain(found.row(2)).all(|p| p.is_nan()));
    let found = sigmoid(logits.view());
    assert_eq!(found.row(0), array![1.0, 0.0, 0.5]);
    assert!(found[[1, 0]].is_nan() && found[[2, 0]] == 1.0);
    assert_eq!(softmax(Array2::<f32>::zeros((0, 3)).view()).dim(), (0, 3));
}

/// Each count has a binomial distribution and must lie within five standard deviations of its mean.
#[test]
fn classes_are_drawn_as_often_as_their_probabilities_say() {
    let logits = array![0.0f64, 1.0, -1.0, 2.5];
    for temperature in [0.5, 1.0, 3.0] {
        let scaled = (&logits / temperature).insert_axis(ndarray::Axis(0));
        let probabilities = softmax(scaled.view());
        let draws = 40_000;
        let mut counts = Array1::<f64>::zeros(4);
        let mut sampler = ClassSampler::new(3).temperature(temperature);
        for _ in 0..draws {
            counts[sampler.draw(logits.view()).unwrap() as usize] += 1.0;
        }
        for (&count, &p) in counts.iter().zip(&probabilities) {
            let n = f64::from(draws);
            let deviation = (n * p * (1.0 - p)).sqrt();
            assert!(
                (count - n * p).abs() < 5.0 * deviation,
                "{temperature}: {counts}"
            );
        }
    }
}

#[test]
fn draws_are_a_function_of_the_seed() {
    let logits = array![0.0f32, 0.0, 0.0, 0.0];
    let draws = |seed| {
        let mut sampler = ClassSampler::new(seed);
        let draws = (0..16).map(|_| sampler.draw(logits.view()).unwrap());
        draws.collect::<Vec<_>>()
    };
    assert_eq!(draws(1), draws(1));
    assert_ne!(draws(1), draws(2));
    // These draws are the same on every machine.
    assert_eq!(draws(1), [0, 2, 2, 2, 0, 0, 1, 3, 0, 1, 3, 2, 0, 2, 1, 1]);
}

#[test]
fn a_class_of_no_probability_is_not_drawn() {
    let logits = array![f64::MIN, 0.0, f64::MIN];
    let mut sampler = ClassSampler::new(1);
    assert!((0..1000).all(|_| sampler.draw(logits.view()).unwrap() == 1));
    // If several classes are equally likely, each of them may be drawn.
    let mut sampler = ClassSampler::new(1).temperature(0.0);
    let logits = array![1.0f32, 2.0, 2.0];
    assert!((0..100).all(|_| [1, 2].contains(&sampler.draw(logits.view()).unwrap())));
}

#[test]
fn what_cannot_be_drawn_by_is_told() {
    let mut sampler = ClassSampler::new(1);
    let none = Array1::<f32>::zeros(0);
    let told = |found: Result<u32, crate::Error>| found.unwrap_err().to_string();
    assert!(told(sampler.draw(none.view())).contains("number of logits"));
    assert!(told(sampler.draw(array![0.0f32, f32::NAN].view())).contains("NaN"));
    let mut sampler = sampler.temperature(-1.0);
    assert!(told(sampler.draw(array![0.0f32].view())).contains("temperature"));
}
