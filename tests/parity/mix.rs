use wgrad::plumbing::values::mix_in;

use crate::gpu::{Bench, FLUSHED, FOLDED, Fill, Numbers, ROUNDING, assert_close, folding_gpu, gpu};

/// Sizes around 256 (the invocations of a workgroup) and 1,024 (the elements that a workgroup computes). The last size
/// is for the device that folds dispatches into two dimensions.
const SIZES: [usize; 7] = [1, 255, 257, 1023, 1024, 1025, FOLDED];

const SHARES: [f32; 4] = [0.25, 0.005, 0.0, 1.0];

/// Checks `own + share·(other − own)`: a difference, a product and a sum. Each is rounded once, relative to its own
/// magnitude.
#[test]
fn parameters_move_by_their_share() {
    for size in SIZES {
        let cases = Fill::ALL
            .into_iter()
            .flat_map(|fill| SHARES.map(|share| (fill, share)));
        for (fill, share) in cases {
            let case = format!("mix of {size}, {fill:?}, {share}");
            let mut numbers = Numbers::new(size as u64);
            let [own, other] = [(); 2].map(|()| numbers.fill(size, fill));
            let bench = Bench::new(if size == FOLDED { folding_gpu() } else { gpu() });
            let from = bench.input("other", [1, size], &other);
            let to = bench.changed("own", [1, size], &own);
            bench.run(&case, 1, |recorder| mix_in(recorder, &from, &to, share));
            let pairs = || {
                own.iter()
                    .zip(&other)
                    .map(|(&own, &other)| (f64::from(own), f64::from(other)))
            };
            let share = f64::from(share);
            let moved = pairs().map(|(own, other)| {
                if share == 1.0 {
                    other
                } else {
                    own + share * (other - own)
                }
            });
            let tolerance = pairs().map(|(own, other)| {
                let step = share * (other - own).abs();
                ROUNDING * (3.0 * step + (own.abs() + step)) + 3.0 * FLUSHED
            });
            assert_close(&case, &bench.read(&to), moved, tolerance);
        }
    }
}
