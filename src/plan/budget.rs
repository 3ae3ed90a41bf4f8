//! How much one submit may hold.

use std::iter::{Peekable, from_fn};

use super::{Listed, Plan};
use crate::gpu::Gpu;

/// Floating-point operations of one submit, which should end well before an operating system takes the
/// GPU for hung: 2 s on Windows. What has more is several submits. A training goes by it until it has measured its steps.
///
/// The slowest integrated GPUs have a peak of 0.2 TFLOP/s. At a quarter of that, 40 GFLOP take 0.8 s. A
/// fast GPU idles for some 20 µs between two submits. At 20 TFLOP/s, that is 1 % of the 2 ms that 40 GFLOP
/// take. A software driver computes 10 GFLOP/s and more; its 4 GFLOP take 0.4 s.
pub(crate) fn flops_per_submit(gpu: &Gpu) -> u64 {
    if gpu.is_software() {
        4_000_000_000
    } else {
        40_000_000_000
    }
}

/// Bytes that one submit moves, for the same reason: 0.5 s at 20 GB/s, which the slowest
/// integrated GPUs have. A step of few rows moves more bytes than it has operations.
const BYTES_PER_SUBMIT: u64 = 10_000_000_000;

/// What one submit may hold, so that none is long. A dispatch that has more is a submit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    flops: f64,
    bytes: f64,
}

impl Budget {
    /// No end.
    pub(crate) const WHOLE: Self = Self {
        flops: f64::INFINITY,
        bytes: f64::INFINITY,
    };

    /// By counting, where nothing is measured.
    #[expect(clippy::cast_precision_loss, reason = "a bound, about as large")]
    pub(crate) fn counted(gpu: &Gpu) -> Self {
        Self {
            flops: flops_per_submit(gpu) as f64,
            bytes: BYTES_PER_SUBMIT as f64,
        }
    }

    /// So much of a plan.
    #[expect(clippy::cast_precision_loss, reason = "a bound, about as large")]
    pub(crate) fn part_of(plan: &Plan, share: f64) -> Self {
        Self {
            flops: plan.flops() as f64 * share,
            bytes: plan.bytes() as f64 * share,
        }
    }

    /// How often a plan fits.
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

    /// Takes a dispatch out of what is left, also where that is too little; whether there was enough.
    #[expect(clippy::cast_precision_loss, reason = "a bound, about as large")]
    fn take(&mut self, dispatch: &Listed) -> bool {
        self.flops -= dispatch.flops as f64;
        self.bytes -= dispatch.bytes as f64;
        self.flops >= 0.0 && self.bytes >= 0.0
    }

    /// Takes the dispatches of one submit: those that fit, and at least one.
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

    /// As many as fit by both measures; one that does not fit is alone.
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
