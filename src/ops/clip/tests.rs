use super::{parts_of, record, record_with};
use crate::ops::{Adam, Optimizer, Schedule, Sgd};
use crate::reference::Float;
use crate::testing::{
    Bench, FLUSHED, FOLDED, Fill, Numbers, ROUNDING, ULP, assert_close, folding_gpu, gpu,
};

/// Sizes in elements of the gradient tensors of each case. They include sizes just below and just above
/// `MOST_PARTS · ELEMENTS_PER_PART`, and sizes far from it. The last case runs with dispatches that are folded into two
/// dimensions.
const SIZES: [&[usize]; 8] = [
    &[1],
    &[255],
    &[256, 257],
    &[1025, 1, 1023],
    &[39_760],
    &[65_535, 65_537],
    &[4_194_241],
    &[FOLDED],
];

fn norm(gradients: &[Vec<f32>]) -> f64 {
    let squares = gradients.iter().flatten().map(|&g| f64::from(g).powi(2));
    squares.sum::<f64>().sqrt()
}

fn check(gradients: &[Vec<f32>], max_norm: f32) {
    let sizes: Vec<usize> = gradients.iter().map(Vec::len).collect();
    let case = format!("{sizes:?}, at most {max_norm}");
    let bench = Bench::new(if sizes == [FOLDED] {
        folding_gpu()
    } else {
        gpu()
    });
    let tensor = |values: &Vec<f32>| bench.changed("gradients", [1, values.len()], values);
    let tensors: Vec<_> = gradients.iter().map(tensor).collect();
    let parts: usize = tensors.iter().map(parts_of).sum();
    // The temporary tensors, too, are between guard bands, and must be written completely.
    let sums = bench.output("sums of squares", [parts, 2]);
    let of_all = bench.output("factor of gradients", [1, 2]);
    bench.run(&case, 1, |recorder| {
        record_with(recorder, &tensors, max_norm, [&sums, &of_all]);
    });

    let factor = f64::from(max_norm) / (norm(gradients) + 1e-6);
    // Each square is rounded, and each addition is rounded again: within a partial sum, among the 64 invocations' sums,
    // and in the reduction. The square root halves the error of the sum. The root and a division add their own errors.
    let longest = tensors
        .iter()
        .map(|block| block.len().div_ceil(parts_of(block)));
    let additions = longest.max().unwrap_or(1) + parts.div_ceil(64) + 7;
    let error = (additions as f64 / 2.0 * ROUNDING + 5.0 * ULP) + 3.5 * ULP;
    for (tensor, values) in tensors.iter().zip(gradients) {
        // A factor that is subnormal may become 0.
        let lost = |&value: &f32| f64::from(value.abs()) * FLUSHED;
        let scaled = |&value: &f32| f64::from(value) * factor.min(1.0);
        let tolerance = |&value: &f32| {
            if factor > 1.0 + error {
                0.0
            } else {
                scaled(&value).abs() * (error + 2.0 * ROUNDING) + FLUSHED + lost(&value)
            }
        };
        let expected = values.iter().map(scaled);
        let tolerance = values.iter().map(tolerance);
        assert_close(&case, &bench.read(tensor), expected, tolerance);
    }
}

#[test]
fn a_norm_that_is_too_large_is_scaled_and_no_other() {
    for sizes in SIZES {
        let mut numbers = Numbers::new(sizes.len() as u64);
        let gradients = sizes.iter().map(|&size| numbers.fill(size, Fill::Moderate));
        let mut gradients: Vec<Vec<f32>> = gradients.collect();
        gradients[0][0] = 0.5;
        #[expect(clippy::cast_possible_truncation, reason = "a round number near it")]
        let norm = norm(&gradients) as f32;
        for max_norm in [1e-3, 0.5 * norm, norm, 2.0 * norm] {
            check(&gradients, max_norm);
        }
    }
}

#[test]
fn gradients_of_zero_stay() {
    check(&[vec![0.0; 100]], 1.0);
}

/// Squares of numbers above 1.8e19 overflow `f32`, but the norm must not.
#[test]
fn gradients_whose_squares_overflow_are_clipped() {
    let large = [3e38, -1e30, 2e19, 1e12, 1.2e12, -7.0, 0.0];
    for sizes in [&[7usize][..], &[1, 300, 5_000]] {
        let of_block = |&size: &usize| large.into_iter().cycle().take(size).collect();
        let gradients: Vec<Vec<f32>> = sizes.iter().map(of_block).collect();
        for max_norm in [1e-3, 1.0, 1e25] {
            check(&gradients, max_norm);
        }
    }
    check(&[vec![1e12, 1.2e12, 3.0]], 1e13);
    check(&[vec![2e19, -2e19]], 3e38);
}

/// For infinite and NaN gradients, the GPU, `torch.nn.utils.clip_grad_norm_` and the reference agree.
#[test]
fn gradients_that_are_no_numbers_are_those_of_the_reference() {
    for spoil in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        let mut values = vec![1.0f32; 100];
        values[70] = spoil;
        let bench = Bench::new(gpu());
        let tensor = bench.changed("gradients", [1, 100], &values);
        bench.run("spoilt", 1, |recorder| {
            assert!(record(recorder, std::slice::from_ref(&tensor), 0.5).is_ok());
        });
        let mut expected = vec![ndarray::Array2::from_elem((1, 100), 1.0f32)];
        expected[0][[0, 70]] = spoil;
        f32::rule(&Sgd::new(0.1).clip_norm(0.5).reference()).prepare(&mut expected);
        for (found, &expected) in bench.read(&tensor).into_iter().zip(&expected[0]) {
            let is_same = found == expected || (found.is_nan() && expected.is_nan());
            assert!(is_same, "{spoil}: {found} {expected}");
        }
    }
}

#[test]
fn what_is_clipped_is_as_it_was_in_all_else() {
    let adam = Adam::new(1e-3);
    let schedule = Schedule::cosine(50).warm_up(5);
    let plain = adam.scheduled(schedule.clone());
    let both: [&dyn Optimizer; 2] = [
        &adam.clip_norm(1.0).scheduled(schedule.clone()),
        &adam.scheduled(schedule).clip_norm(1.0),
    ];
    for clipped in both {
        assert_eq!(clipped.state(), plain.state());
        assert_eq!(clipped.learning_rate().to_bits(), 1e-3f32.to_bits());
        for step in 0..60 {
            assert_eq!(clipped.coefficients(step), plain.coefficients(step));
        }
    }
}

#[test]
fn the_reference_clips_millions_of_gradients_and_again_within() {
    let rule = Sgd::new(0.1).clip_norm(0.5).clip_norm(2.0).reference();
    let mut gradients = vec![ndarray::Array2::from_elem((2_000, 2_000), 0.1f32)];
    f32::rule(&rule).prepare(&mut gradients);
    let squares = gradients[0].iter().map(|&g| f64::from(g).powi(2));
    let norm = squares.sum::<f64>().sqrt();
    // Each gradient is scaled twice, and each scale factor and each product is rounded.
    assert!(
        (norm / 0.5 - 1.0).abs() < 4.0 * ROUNDING + 1e-8 + 1e-6 / 0.5,
        "{norm}"
    );
}

#[test]
fn a_norm_that_allows_nothing_is_refused() {
    for max_norm in [0.0, -1.0, f32::NAN] {
        let clipped = Sgd::new(0.1).clip_norm(max_norm);
        let checked = clipped.check().map_err(|error| error.to_string());
        let is_named = |message: String| message.contains("norm of the gradient");
        assert!(checked.clone().is_err_and(is_named), "{checked:?}");
    }
}
