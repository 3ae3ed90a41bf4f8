//! Dispatches that are ready to run, and their submission to the device.

use std::fmt;
use std::iter::repeat_n;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::Arc;

use super::budget::Budget;
use super::listing::{Listed, Listing};
use crate::error::Error;
use crate::gpu::Gpu;
#[cfg(not(target_arch = "wasm32"))]
use crate::{kernel::Contract, tensor::Tensor};

/// One dispatch, ready to be encoded.
#[derive(Clone)]
pub(super) struct Dispatch {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) bind_group: wgpu::BindGroup,
    pub(super) workgroups: [u32; 2],
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) recorded: Arc<Recorded>,
}

impl Dispatch {
    fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        let [x, y] = self.workgroups;
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(x, y, 1);
    }
}

/// The inputs from which a dispatch was recorded. They suffice to interpret the dispatch on the CPU.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) contract: Contract,
    /// The bytes of the uniform block.
    pub(crate) block: Vec<u8>,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) workgroups: [u32; 2],
}

/// A list of dispatches that are ready to run in order.
///
/// `Display` prints one line per dispatch, with shapes, FLOPs and bytes moved.
pub struct Plan {
    gpu: Gpu,
    dispatches: Vec<Dispatch>,
    /// The printable list: one entry per dispatch, in the same order.
    listing: Listing,
}

/// Prints only fields that are the same in every run of the program.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("gpu", &self.gpu)
            .field("dispatches", &self.listing.dispatches)
            .finish()
    }
}

impl Plan {
    pub(super) fn new(gpu: &Gpu, dispatches: Vec<(Dispatch, Listed)>) -> Self {
        let (dispatches, listed) = dispatches.into_iter().unzip();
        Self {
            gpu: gpu.clone(),
            dispatches,
            listing: Listing { dispatches: listed },
        }
    }

    /// Encodes all dispatches into a compute pass.
    ///
    /// A submit should take less than a second on the slowest GPU that you support. If it takes longer, an operating
    /// system may assume that the GPU hangs, and reset it. Estimate the duration of this plan from
    /// [`flops`](Self::flops).
    pub fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.dispatches
            .iter()
            .for_each(|dispatch| dispatch.encode(pass));
    }

    /// Returns the dispatches in order, each with its entry in the listing.
    fn dispatches(&self) -> impl Iterator<Item = (&Dispatch, &Listed)> {
        self.dispatches.iter().zip(&self.listing.dispatches)
    }

    /// Checks that the plan was made for `gpu`.
    pub(crate) fn check_gpu(&self, gpu: &Gpu) -> Result<(), Error> {
        gpu.check_owner(&self.gpu, || {
            let names = self.listing.dispatches.iter().map(|listed| &*listed.name);
            format!("the plan of {}", names.collect::<Vec<_>>().join(", "))
        })
    }

    /// Returns one plan per dispatch, in order: to measure the duration of each dispatch.
    pub fn singles(&self) -> impl Iterator<Item = Self> {
        self.dispatches().map(|(dispatch, listed)| {
            Self::new(&self.gpu, vec![(dispatch.clone(), listed.clone())])
        })
    }

    /// Returns, for each dispatch in order, a plan of all other dispatches: to measure how much time the dispatch adds.
    pub(crate) fn leaving_one_out(&self) -> impl Iterator<Item = Self> {
        (0..self.len()).map(|out| {
            let kept = self.dispatches().enumerate().filter(|&(at, _)| at != out);
            let kept = kept.map(|(_, (dispatch, listed))| (dispatch.clone(), listed.clone()));
            Self::new(&self.gpu, kept.collect())
        })
    }

    /// Returns the inputs from which each dispatch was recorded, in order.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn recorded(&self) -> impl Iterator<Item = &Recorded> {
        self.dispatches.iter().map(|dispatch| &*dispatch.recorded)
    }

    /// Returns a printable list of the dispatches.
    #[must_use]
    pub fn listing(&self) -> &Listing {
        &self.listing
    }

    /// Number of dispatches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.listing.len()
    }

    /// Whether there are no dispatches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listing.is_empty()
    }

    /// Number of floating-point operations of one run: see [`Listing::flops`].
    #[must_use]
    pub fn flops(&self) -> u64 {
        self.listing.flops()
    }

    /// Number of bytes moved in one run: see [`Listing::bytes`].
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.listing.bytes()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.listing, f)
    }
}

impl Gpu {
    /// Submits `times` runs of a plan to the device, and returns without waiting for them.
    ///
    /// Short work is one submit with one compute pass. Long work is split into several submits, because an operating
    /// system may assume that a GPU hangs during a long submit. Returns the index of the last submit.
    ///
    /// # Errors
    /// [`Error::OtherGpu`] when the plan belongs to another `Gpu`; or [`Error::DeviceLost`], [`Error::OutOfMemory`] or
    /// [`Error::Gpu`] from the device.
    pub fn submit(&self, plan: &Plan, times: usize) -> Result<wgpu::SubmissionIndex, Error> {
        self.submit_all([(plan, times)], Budget::counted(self))
    }

    /// Submits plans in order, each with its number of runs, in as few submits as the budget allows. Returns the index
    /// of the last submit.
    pub(crate) fn submit_all<'a>(
        &self,
        plans: impl IntoIterator<Item = (&'a Plan, usize)>,
        budget: Budget,
    ) -> Result<wgpu::SubmissionIndex, Error> {
        let plans: Vec<_> = plans.into_iter().collect();
        for (plan, _) in &plans {
            plan.check_gpu(self)?;
        }
        let runs = plans
            .iter()
            .flat_map(|&(plan, times)| repeat_n(plan, times));
        let mut dispatches = runs.flat_map(Plan::dispatches).peekable();
        self.guarded("submitting work", || {
            loop {
                let mut encoder = self.device().create_command_encoder(&Default::default());
                {
                    let mut pass = encoder.begin_compute_pass(&Default::default());
                    for dispatch in budget.next_submit(&mut dispatches) {
                        dispatch.encode(&mut pass);
                    }
                }
                let submitted = self.queue().submit([encoder.finish()]);
                #[cfg(test)]
                self.count_submits(1);
                if dispatches.peek().is_none() {
                    return submitted;
                }
            }
        })
    }
}
