//! Limits the work of one submit.

use std::iter::{Peekable, from_fn};

use super::{Listed, Plan};
use crate::gpu::Gpu;

/// Maximum number of floating-point operations per submit. More work is split into several submits.
///
/// A submit should end long before the operating system assumes that the GPU hangs (after 2 s on Windows). Training
/// uses this limit until it has measured the duration of its steps.
///
/// The slowest integrated GPUs have a peak of 0.2 TFLOP/s. At a quarter of this peak, 40 GFLOP take 0.8 s. At 20
/// TFLOP/s, 40 GFLOP take 2 ms; a GPU idles for about 20 µs between two submits, 1 % of this time. A software driver
/// reaches 10 GFLOP/s or more, so 4 GFLOP take at most 0.4 s.
pub(crate) fn flops_per_submit(gpu: &Gpu) -> u64 {
    if gpu.is_software() {
        4_000_000_000
    } else {
        40_000_000_000
    }
}

/// Maximum number of bytes moved per submit. At 20 GB/s, the memory bandwidth of the slowest integrated GPUs, they take
/// 0.5 s. The limit on operations is not enough: a step with few rows moves more bytes than it computes operations.
const BYTES_PER_SUBMIT: u64 = 10_000_000_000;

/// The maximum work of one submit. A single dispatch with more work is a submit of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    flops: f64,
    bytes: f64,
}

impl Budget {
    /// A budget without a limit.
    pub(crate) const WHOLE: Self = Self {
        flops: f64::INFINITY,
        bytes: f64::INFINITY,
    };

    /// A budget of operations and bytes, for work whose duration has not been measured yet.
    #[expect(clippy::cast_precision_loss, reason = "a bound, about as large")]
    pub(crate) fn counted(gpu: &Gpu) -> Self {
        Self {
            flops: flops_per_submit(gpu) as f64,
            bytes: BYTES_PER_SUBMIT as f64,
        }
    }

    /// A budget for `share` runs of a plan: 0.5 is half of the plan's work, 2 is two runs.
    #[expect(clippy::cast_precision_loss, reason = "a bound, about as large")]
    pub(crate) fn part_of(plan: &Plan, share: f64) -> Self {
        Self {
            flops: plan.flops() as f64 * share,
            bytes: plan.bytes() as f64 * share,
        }
    }

    /// Returns how many runs of a plan fit in the budget.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "what is too large becomes the largest number"
    )]
    pub(crate) fn holds(&self, plan: &Plan) -> usize {
        let by_flops = self.flops / plan.flops().max(1) as f64;
        let by_bytes = self.bytes / plan.bytes().max(1) as f64;
        by_flops.min(by_bytes) as usize
    }

    /// Subtracts a dispatch from the budget, even below 0. Returns whether the budget was sufficient.
    #[expect(clippy::cast_precision_loss, reason = "a bound, about as large")]
    fn take(&mut self, dispatch: &Listed) -> bool {
        self.flops -= dispatch.flops as f64;
        self.bytes -= dispatch.bytes as f64;
        self.flops >= 0.0 && self.bytes >= 0.0
    }

    /// Removes the dispatches of one submit from the front of `dispatches`: as many as fit in the budget, but at least
    /// one.
    pub(super) fn next_submit<'a, T>(
        mut self,
        dispatches: &mut Peekable<impl Iterator<Item = (T, &'a Listed)>>,
    ) -> impl Iterator<Item = T> {
        let mut is_first = true;
        from_fn(move || {
            let fits = |(_, listed): &(T, &Listed)| self.take(listed) || is_first;
            let (dispatch, _) = dispatches.next_if(fits)?;
            is_first = false;
            Some(dispatch)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;
    use crate::plan::Listed;

    fn listed([flops, bytes]: [u64; 2]) -> Listed {
        Listed {
            name: "a dispatch".to_owned(),
            workgroups: 1,
            shapes: String::new(),
            flops,
            bytes,
        }
    }

    /// A submit has as many dispatches as the limits of operations and of bytes allow; a dispatch above a limit is the
    /// only one of its submit.
    #[test]
    fn what_is_long_is_several_submits() {
        let costs = [
            [4, 0],
            [4, 0],
            [3, 0],
            [50, 0],
            [2, 0],
            [2, 21],
            [0, 20],
            [0, 1],
            [0, 0],
        ];
        let dispatches = costs.map(listed);
        let submits = |budget: Budget| {
            let mut left = dispatches.iter().enumerate().peekable();
            let mut lengths = Vec::new();
            while left.peek().is_some() {
                lengths.push(budget.next_submit(&mut left).count());
            }
            lengths
        };
        let flops = 10.0;
        let bytes = 20.0;
        assert_eq!(submits(Budget { flops, bytes }), [2, 1, 1, 1, 1, 1, 2]);
        assert_eq!(submits(Budget::WHOLE), [9]);
        let none = Budget {
            flops: 0.0,
            bytes: 0.0,
        };
        assert_eq!(submits(none), [1; 9]);
    }
}
