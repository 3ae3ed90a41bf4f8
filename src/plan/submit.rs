//! Dispatches that are ready to run, and their way to the device.

use std::fmt;

use super::listing::{Listed, Listing};
use super::total;
use crate::error::Error;
use crate::gpu::Gpu;

/// One dispatch, ready to be encoded.
#[derive(Clone)]
pub(super) struct Dispatch {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) bind_group: wgpu::BindGroup,
    pub(super) workgroups: [u32; 2],
    pub(super) listed: Listed,
}

/// What is the same in every run.
impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.listed, f)
    }
}

/// Dispatches in order. `Display` prints a line for each: shapes, FLOPs, bytes moved.
#[derive(Debug)]
pub struct Plan {
    pub(super) gpu: Gpu,
    pub(super) dispatches: Vec<Dispatch>,
}

impl Plan {
    /// Adds all dispatches to a compute pass.
    pub fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        for dispatch in &self.dispatches {
            let [x, y] = dispatch.workgroups;
            pass.set_pipeline(&dispatch.pipeline);
            pass.set_bind_group(0, &dispatch.bind_group, &[]);
            pass.dispatch_workgroups(x, y, 1);
        }
    }

    /// Whether it may be submitted to `gpu`.
    fn check_gpu(&self, gpu: &Gpu) -> Result<(), Error> {
        gpu.check_owner(&self.gpu, || {
            let names = self
                .dispatches
                .iter()
                .map(|dispatch| &*dispatch.listed.name);
            format!("the plan of {}", names.collect::<Vec<_>>().join(", "))
        })
    }

    /// Each dispatch as a plan of its own, in order: for measurements.
    pub fn singles(&self) -> impl Iterator<Item = Self> {
        let dispatches = self.dispatches.iter().cloned();
        dispatches.map(|dispatch| Self {
            gpu: self.gpu.clone(),
            dispatches: vec![dispatch],
        })
    }

    /// What it does, dispatch by dispatch, without a way to run it.
    #[must_use]
    pub fn listing(&self) -> Listing {
        let dispatches = self.dispatches.iter();
        Listing {
            dispatches: dispatches.map(|dispatch| dispatch.listed.clone()).collect(),
        }
    }

    /// Number of dispatches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dispatches.len()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dispatches.is_empty()
    }

    /// Floating-point operations of one execution, or `u64::MAX` where there are more.
    #[must_use]
    pub fn flops(&self) -> u64 {
        let dispatches = self.dispatches.iter();
        total(dispatches.map(|dispatch| dispatch.listed.flops))
    }

    /// Bytes that one execution moves, if each dispatch touches each of its elements once, or `u64::MAX` where there
    /// are more.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let dispatches = self.dispatches.iter();
        total(dispatches.map(|dispatch| dispatch.listed.bytes))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.listing(), f)
    }
}

impl Gpu {
    /// Runs a plan `times` times in one compute pass of one submit, without waiting for it.
    ///
    /// # Errors
    /// [`Error::OtherGpu`] when the plan is another's, [`Error::DeviceLost`], [`Error::OutOfMemory`] or
    /// [`Error::Gpu`].
    pub fn submit(&self, plan: &Plan, times: usize) -> Result<wgpu::SubmissionIndex, Error> {
        self.submit_all([(plan, times)])
    }

    /// Runs plans in order, each so many times, in one compute pass of one submit.
    pub(crate) fn submit_all<'a>(
        &self,
        plans: impl IntoIterator<Item = (&'a Plan, usize)>,
    ) -> Result<wgpu::SubmissionIndex, Error> {
        let plans: Vec<_> = plans.into_iter().collect();
        for (plan, _) in &plans {
            plan.check_gpu(self)?;
        }
        self.guarded("submitting work", || {
            let mut encoder = self.device().create_command_encoder(&Default::default());
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                for (plan, times) in plans {
                    for _ in 0..times {
                        plan.encode(&mut pass);
                    }
                }
            }
            self.queue().submit([encoder.finish()])
        })
    }
}
