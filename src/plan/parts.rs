//! Splits long dispatches into parts, because an operating system may assume that a GPU hangs during a long dispatch,
//! and reset it.

use bytemuck::Pod;

use super::{Cost, Pending, Recorder};
use crate::error::{Error, FLOPS_PER_DISPATCH};
use crate::kernel::KernelRef;
use crate::memory::total;
use crate::tensor::Tensor;

/// Maximum number of parts of one dispatch. A wrong cost could otherwise give so many parts that they fill the host's
/// memory.
const MOST_PARTS: u64 = 1 << 16;

impl Recorder<'_> {
    /// Records one [`dispatch`](Self::dispatch), split into parts of at most
    /// [`Gpu::flops_per_dispatch`](crate::Gpu::flops_per_dispatch) floating-point operations.
    ///
    /// Each part runs a range of the workgroups. `uniform` gets the index of the part's first workgroup and returns the
    /// part's uniform block, in which it must store that index. The kernel then computes the index of a workgroup as
    /// `settings.first + workgroup_id.x + workgroup_id.y * num_workgroups.x`. The result does not depend on the split,
    /// because the workgroups of a dispatch do not depend on each other.
    ///
    /// ```
    /// # use wgrad::Gpu;
    /// # use wgrad::kernel::{Binding, Element, Kernel};
    /// # use wgrad::plan::{Cost, Recorder};
    /// # use wgrad::tensor::Tensor;
    /// const WGSL: &str = "
    ///     @group(0) @binding(0) var<uniform> first: u32;
    ///     @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    ///     @compute @workgroup_size(64)
    ///     fn fill(
    ///         @builtin(workgroup_id) id: vec3u,
    ///         @builtin(num_workgroups) count: vec3u,
    ///         @builtin(local_invocation_index) local: u32,
    ///     ) {
    ///         let at = (first + id.x + id.y * count.x) * 64u + local;
    ///         if (at < arrayLength(&y)) { y[at] = f32(at); }
    ///     }";
    /// static FILL: Kernel<u32> = Kernel::new("fill", WGSL, "fill", &[Binding::write("y")])
    ///     .workgroup_size([64, 1, 1]);
    ///
    /// let gpu = Gpu::builder().flops_per_dispatch(500).build()?;
    /// let y = Tensor::zeros(&gpu, "y", [1, 1000], Element::F32)?;
    /// let mut recorder = Recorder::new(&gpu);
    /// recorder.dispatch_in_parts(&FILL, |first| first, &[&y], 16, Cost::new(1000));
    /// let plan = recorder.finish()?;
    /// assert_eq!(plan.len(), 2); // Of 8 workgroups each.
    /// gpu.submit(&plan, 1)?;
    /// assert_eq!(gpu.read::<f32>(&y)?[999], 999.0);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    pub fn dispatch_in_parts<U: Pod>(
        &mut self,
        kernel: &KernelRef<'_, U>,
        uniform: impl Fn(u32) -> U,
        tensors: &[&Tensor],
        workgroups: u64,
        cost: Cost,
    ) {
        let most = self.gpu.flops_per_dispatch();
        if cost.flops <= most {
            return self.dispatch(kernel, uniform(0), tensors, workgroups, cost);
        }
        let fit = share(workgroups, most, cost.flops);
        // A part that is arranged in two dimensions must have complete rows of workgroups: an incomplete last row would
        // also run workgroups of the next part.
        let row = match self.workgroups_in_a_row() {
            row if fit > row => row,
            _ => 1,
        };
        let fit = fit / row * row;
        // If the dispatch cannot be split far enough, record it unsplit: `finish` returns an error for it.
        if fit == 0 || workgroups / fit > MOST_PARTS || workgroups > u32::MAX.into() {
            return self.dispatch(kernel, uniform(0), tensors, workgroups, cost);
        }
        // Make all parts about equally long.
        let parts = workgroups.div_ceil(fit);
        let of_part = workgroups.div_ceil(parts).next_multiple_of(row);
        let bytes = || total(tensors.iter().map(|tensor| tensor.bytes()));
        let bytes = cost.bytes.unwrap_or_else(bytes);
        let mut first = 0;
        while first < workgroups {
            let next = workgroups.min(first + of_part);
            let share =
                |whole: u64| share(whole, next, workgroups) - share(whole, first, workgroups);
            let cost = Cost {
                flops: share(cost.flops),
                bytes: Some(share(bytes)),
                ..cost
            };
            let uniform = uniform(u32::try_from(first).unwrap_or(u32::MAX));
            self.dispatch(kernel, uniform, tensors, next - first, cost);
            first = next;
        }
    }
}

/// Returns `whole · part / of`, rounded down.
fn share(whole: u64, part: u64, of: u64) -> u64 {
    let share = u128::from(whole) * u128::from(part) / u128::from(of);
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// Checks that a dispatch has at most `most` floating-point operations.
pub(super) fn check(pending: &Pending, most: u64) -> Result<(), Error> {
    if pending.cost.flops <= most {
        return Ok(());
    }
    Err(Error::Limit {
        what: format!("{}, in floating-point operations,", pending.contract.name()),
        limit: FLOPS_PER_DISPATCH,
        needed: pending.cost.flops,
        available: most,
    })
}
