use super::{count_step, evaluate, evaluate_probabilities, log_step, sum_losses};
use crate::confusion::{correct_labels, largest};
use crate::testing::{Bench, Fill, Numbers, ULP, assert_close, gpu, sum_error};

/// Numbers of rows: around the workgroup's 64 invocations, and the usual minibatch of 100.
const ROWS: [usize; 15] = [
    1, 2, 3, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 1000, 1037,
];

fn sum(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum()
}

fn absolute(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value.abs())).sum()
}

#[test]
fn the_mean_loss_goes_to_the_slot_of_its_step() {
    const CAPACITY: usize = 5;
    for rows in ROWS {
        for fill in Fill::ALL {
            let case = format!("log_step of {rows} rows, {fill:?}");
            let values = Numbers::new(rows as u64).fill(rows, fill);
            let bench = Bench::new(gpu());
            let losses = bench.input("losses", [1, rows], &values);
            let before = [-7.0; CAPACITY];
            let history = bench.changed("history", [1, CAPACITY], &before);
            // The seventh and the eighth step write to slots 1 and 2 of 5.
            let step_count = bench.changed_u32("step_count", [1, 1], &[6]);
            bench.run(&case, 2, |recorder| {
                log_step(recorder, &losses, &history, &step_count);
            });
            let mean = sum(&values) / rows as f64;
            let error = match fill {
                Fill::Integers => 0.0,
                _ => sum_error(rows, absolute(&values)) / rows as f64,
            };
            let error = error + 2.5 * ULP * mean.abs();
            let expected = [-7.0, mean, mean, -7.0, -7.0];
            let tolerance = [0.0, error, error, 0.0, 0.0];
            assert_close(&case, &bench.read(&history), expected, tolerance);
            assert_eq!(bench.read_u32(&step_count), [8], "{case}");
        }
    }
}

#[test]
fn evaluation_sums_losses_and_counts_hits() {
    for rows in ROWS {
        for classes in [1, 2, 3, 10, 65] {
            let case = format!("evaluate {rows} rows of {classes} classes");
            let mut numbers = Numbers::new((rows * 100 + classes) as u64);
            // Only four different logits, so that the largest often occurs twice.
            let values: Vec<f32> = (0..rows * classes)
                .map(|_| numbers.below(4) as f32)
                .collect();
            let mut hits = 0.0;
            let mut targets = Vec::new();
            for row in values.chunks(classes) {
                let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let best = (0u32..).zip(row).find(|&(_, &logit)| logit == largest);
                let best = best.map_or(0, |(class, _)| class);
                let other = super::to_u32(numbers.below(classes));
                let label = if numbers.below(2) == 0 { best } else { other };
                hits += if label == best { 1.0 } else { 0.0 };
                targets.push(label);
            }
            let row_losses = numbers.fill(rows, Fill::Moderate);
            let bench = Bench::new(gpu());
            let losses = bench.input("losses", [1, rows], &row_losses);
            let logits = bench.input("logits", [rows, classes], &values);
            let labels = bench.input_u32("labels", [1, rows], &targets);
            let totals = bench.changed("totals", [3, 2], &[-7.0; 6]);
            bench.run(&case, 1, |recorder| {
                evaluate(recorder, [&losses, &logits, &labels], (&totals, 1));
            });
            let expected = [-7.0, -7.0, sum(&row_losses), hits, -7.0, -7.0];
            let error = sum_error(rows, absolute(&row_losses));
            let tolerance = [0.0, 0.0, error, 0.0, 0.0, 0.0];
            assert_close(&case, &bench.read(&totals), expected, tolerance);
        }
    }
}

/// Logits and targets include values at their thresholds, just above them and just below them.
#[test]
fn evaluation_of_probabilities_counts_outputs() {
    let logits = [
        -0.0,
        0.0,
        1e-40,
        -1e-40,
        f32::MIN_POSITIVE,
        -f32::MIN_POSITIVE,
        3.0,
        -3.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        -f32::NAN,
    ];
    let half = 0.5f32;
    let targets = [0.0, half, half.next_up(), half.next_down(), 1.0];
    for rows in ROWS {
        for outputs in [1, 2, 3, 10, 65] {
            let case = format!("evaluate {rows} rows of {outputs} probabilities");
            let mut numbers = Numbers::new((rows * 100 + outputs) as u64);
            let mut choose = |of: &[f32]| -> Vec<f32> {
                let one = |_| of[numbers.below(of.len())];
                (0..rows * outputs).map(one).collect()
            };
            let z = choose(&logits);
            let t = choose(&targets);
            let pairs = z.iter().zip(&t);
            let hits = pairs.filter(|(z, t)| !z.is_nan() && (**z > 0.0) == (**t > 0.5));
            let hits = hits.count();
            let [z_array, t_array] = [&z, &t].map(|of| {
                let at = |(row, column)| of[row * outputs + column];
                ndarray::Array2::from_shape_fn((rows, outputs), at)
            });
            let on_cpu = correct_labels(z_array.view(), t_array.view());
            assert_eq!(on_cpu, hits, "{case}, on the CPU");
            let row_losses = numbers.fill(rows, Fill::Moderate);
            let bench = Bench::new(gpu());
            let losses = bench.input("losses", [1, rows], &row_losses);
            let logits = bench.input("logits", [rows, outputs], &z);
            let targets = bench.input("targets", [rows, outputs], &t);
            let totals = bench.changed("totals", [3, 2], &[-7.0; 6]);
            bench.run(&case, 1, |recorder| {
                let compared = [&losses, &logits, &targets];
                evaluate_probabilities(recorder, compared, (&totals, 1));
            });
            let expected = [-7.0, -7.0, sum(&row_losses), hits as f64, -7.0, -7.0];
            let error = sum_error(rows, absolute(&row_losses));
            let tolerance = [0.0, 0.0, error, 0.0, 0.0, 0.0];
            assert_close(&case, &bench.read(&totals), expected, tolerance);
        }
    }
}

#[test]
fn losses_without_labels_are_summed() {
    for rows in ROWS {
        let case = format!("sum of {rows} losses");
        let values = Numbers::new(rows as u64).fill(rows, Fill::Moderate);
        let bench = Bench::new(gpu());
        let losses = bench.input("losses", [1, rows], &values);
        let totals = bench.changed("totals", [3, 2], &[-7.0; 6]);
        bench.run(&case, 1, |recorder| {
            sum_losses(recorder, &losses, &totals, 1);
        });
        let expected = [-7.0, -7.0, sum(&values), 0.0, -7.0, -7.0];
        let tolerance = [0.0, 0.0, sum_error(rows, absolute(&values)), 0.0, 0.0, 0.0];
        assert_close(&case, &bench.read(&totals), expected, tolerance);
    }
}

/// The GPU must choose the same class as the CPU, also for NaN, infinite, subnormal and equal logits.
#[test]
fn the_largest_of_extremes_is_that_of_the_cpu() {
    let extremes = [
        f32::NAN,
        -f32::NAN,
        f32::NEG_INFINITY,
        -1.0,
        -1e-40,
        -0.0,
        0.0,
        1e-40,
        2.0,
        f32::INFINITY,
    ];
    let pick = |row: usize, column: u32| extremes[row / 10usize.pow(column) % 10];
    let rows: Vec<[f32; 3]> = (0..1000)
        .map(|row| [0, 1, 2].map(|column| pick(row, column)))
        .collect();
    for class in 0..3 {
        let best = |row: &[f32; 3]| largest(ndarray::ArrayView1::from(row));
        let expected = rows.iter().filter(|row| best(row) == class).count();
        let bench = Bench::new(gpu());
        let losses = bench.input("losses", [1, 1000], &[0.0; 1000]);
        let logits = bench.input("logits", [1000, 3], rows.as_flattened());
        let labels = bench.input_u32("labels", [1, 1000], &[super::to_u32(class); 1000]);
        let totals = bench.changed("totals", [1, 2], &[-7.0; 2]);
        bench.run("extremes", 1, |recorder| {
            evaluate(recorder, [&losses, &logits, &labels], (&totals, 0));
        });
        assert_eq!(bench.read(&totals), [0.0, expected as f32], "class {class}");
    }
    // NaN counts as the smallest value. Zeros of both signs are equal. Among equal values, the first one counts.
    for (row, expected) in [
        ([f32::NAN, f32::NEG_INFINITY, f32::NAN], 1),
        ([f32::NAN, f32::NAN, f32::NAN], 0),
        ([-0.0, 0.0, f32::NAN], 0),
        ([0.0, f32::NAN, f32::INFINITY], 2),
    ] {
        assert_eq!(
            largest(ndarray::ArrayView1::from(&row)),
            expected,
            "{row:?}"
        );
    }
}

#[test]
fn a_step_without_a_loss_is_counted() {
    let bench = Bench::new(gpu());
    let step_count = bench.changed_u32("step_count", [1, 1], &[u32::MAX]);
    bench.run("count_step", 3, |recorder| {
        count_step(recorder, &step_count);
    });
    assert_eq!(bench.read_u32(&step_count), [2], "it wraps");
}
