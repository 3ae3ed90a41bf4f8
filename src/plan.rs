//! Recording of GPU work. A [`Recorder`] collects dispatches, and a [`Plan`] is a list of dispatches that can be
//! submitted any number of times.

mod binding;
mod budget;
mod listing;
mod parts;
mod submit;
#[cfg(test)]
mod tests;
mod watched;

use std::sync::Arc;

use bytemuck::Pod;

use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernel::{Contract, KernelRef};
use crate::memory::total;
use crate::tensor::Tensor;

pub use crate::error::BindingFault;
pub(crate) use budget::{Budget, flops_per_submit};
pub use listing::{Listed, Listing};
use submit::Dispatch;
pub use submit::Plan;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use submit::Recorded;

/// WebGPU's limit on workgroups per dispatch dimension.
const MAX_WORKGROUPS: u64 = 65_535;

/// Maximum number of loop iterations of an invocation on a software driver. After slightly more iterations, lavapipe
/// (Mesa 22.3) silently ends every loop of the invocation. This constant is slightly lower than that limit, as a margin
/// for short loops, which lavapipe unrolls.
pub(crate) const SOFTWARE_ITERATIONS: u64 = 65_000;

/// Cost of one dispatch. The code that records the dispatch computes the numbers; they are not measured.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Cost {
    /// Floating-point operations of all invocations together.
    pub flops: u64,
    /// Loop iterations of the invocation that has the most, including the final test that ends each loop.
    pub iterations: u64,
    /// Bytes read from and written to tensors, counting each byte once. `None` stands for the size of all bound
    /// tensors.
    pub bytes: Option<u64>,
}

impl Cost {
    /// Makes a cost of `flops` floating-point operations.
    #[must_use]
    pub const fn new(flops: u64) -> Self {
        Self {
            flops,
            iterations: 0,
            bytes: None,
        }
    }

    /// Sets the loop iterations of the invocation that has the most.
    #[must_use]
    pub const fn iterations(self, iterations: u64) -> Self {
        Self { iterations, ..self }
    }

    /// Sets the number of bytes read from and written to tensors.
    #[must_use]
    pub const fn bytes(self, bytes: u64) -> Self {
        Self {
            bytes: Some(bytes),
            ..self
        }
    }
}

/// Collects dispatches. [`finish`](Recorder::finish) turns them into a [`Plan`].
///
/// Recording runs nothing on the device. Layers, losses and optimizers record their dispatches; [`Gpu::submit`] runs a
/// plan.
#[derive(Debug)]
pub struct Recorder<'gpu> {
    gpu: &'gpu Gpu,
    pending: Vec<Pending>,
    uniforms: Vec<u8>,
    /// The WGSL source texts of the kernels, each text once.
    sources: Vec<Arc<str>>,
    /// The first error so far, from a dispatch that does not fit its kernel or the device.
    fault: Option<Error>,
}

#[derive(Debug)]
struct Pending {
    contract: Contract,
    uniform_offset: u64,
    tensors: Vec<Tensor>,
    workgroups: [u32; 2],
    cost: Cost,
}

impl<'gpu> Recorder<'gpu> {
    /// Makes an empty recorder for `gpu`.
    #[must_use]
    pub fn new(gpu: &'gpu Gpu) -> Self {
        Self {
            gpu,
            pending: Vec::new(),
            uniforms: Vec::new(),
            sources: Vec::new(),
            fault: None,
        }
    }

    /// The device on which the recorded dispatches will run.
    #[must_use]
    pub fn gpu(&self) -> &'gpu Gpu {
        self.gpu
    }

    /// Number of floating-point operations of all dispatches recorded so far, at most `u64::MAX`.
    #[must_use]
    pub fn flops(&self) -> u64 {
        total(self.pending.iter().map(|pending| pending.cost.flops))
    }

    /// Records one dispatch of `workgroups` workgroups. If they are too many for one dispatch dimension, they are
    /// arranged in two dimensions. A shader therefore computes the index of its workgroup as
    /// `workgroup_id.x + workgroup_id.y * num_workgroups.x`.
    ///
    /// If the tensors do not match the kernel's contract, or a constant of the kernel has no value,
    /// [`finish`](Self::finish) returns the error.
    pub fn dispatch<U: Pod>(
        &mut self,
        kernel: &KernelRef<'_, U>,
        uniform: U,
        tensors: &[&Tensor],
        workgroups: u64,
        cost: Cost,
    ) {
        let block = bytemuck::bytes_of(&uniform);
        self.record(&kernel.untyped(), block, tensors, workgroups, cost);
    }

    fn record(
        &mut self,
        kernel: &KernelRef<'_, ()>,
        block: &[u8],
        tensors: &[&Tensor],
        workgroups: u64,
        cost: Cost,
    ) {
        let contract = kernel.contract_of(self.shared(kernel.source), block.len());
        let workgroups = self.check(&contract, tensors, workgroups);
        let workgroups = workgroups.unwrap_or_else(|fault| {
            self.fault.get_or_insert(fault);
            [0, 0]
        });
        let limits = self.gpu.limits();
        let alignment = limits
            .min_uniform_buffer_offset_alignment
            .max(limits.min_storage_buffer_offset_alignment) as usize;
        self.uniforms
            .resize(self.uniforms.len().next_multiple_of(alignment), 0);
        let uniform_offset = self.uniforms.len() as u64;
        self.uniforms.extend_from_slice(block);
        self.pending.push(Pending {
            contract,
            uniform_offset,
            tensors: tensors.iter().map(|&tensor| tensor.clone()).collect(),
            workgroups,
            cost,
        });
    }

    /// Returns the recorder's copy of a source text, which all dispatches with this text share.
    fn shared(&mut self, source: &str) -> Arc<str> {
        if let Some(shared) = self.sources.iter().find(|shared| shared.as_ref() == source) {
            return Arc::clone(shared);
        }
        let shared: Arc<str> = source.into();
        self.sources.push(Arc::clone(&shared));
        shared
    }

    /// Checks that a dispatch fits its kernel and this device. Returns the number of workgroups in both dispatch
    /// dimensions.
    fn check(
        &self,
        contract: &Contract,
        tensors: &[&Tensor],
        workgroups: u64,
    ) -> Result<[u32; 2], Error> {
        let mistaken = |mistake| Error::Binding {
            kernel: contract.name(),
            mistake,
        };
        for tensor in tensors {
            tensor.check_gpu(self.gpu)?;
        }
        binding::check(contract, tensors).map_err(mistaken)?;
        if workgroups == 0 {
            return Err(mistaken(BindingFault::NoWorkgroup));
        }
        let most = self.workgroups_in_a_row();
        fold(workgroups, most).ok_or_else(|| Error::Limit {
            what: format!("{}, in workgroups,", contract.name()),
            limit: "max_compute_workgroups_per_dimension, squared",
            needed: workgroups,
            available: most * most,
        })
    }

    /// Maximum number of workgroups in one dispatch dimension.
    fn workgroups_in_a_row(&self) -> u64 {
        let limit = self.gpu.limits().max_compute_workgroups_per_dimension;
        MAX_WORKGROUPS.min(limit.into())
    }

    /// Contracts of the kernels of all dispatches recorded so far, including invalid dispatches.
    pub(crate) fn contracts(&self) -> impl Iterator<Item = &Contract> {
        self.pending.iter().map(|pending| &pending.contract)
    }

    /// Records one [`dispatch`](Self::dispatch) of at least `invocations` invocations, rounded up to whole workgroups.
    pub fn dispatch_each<U: Pod>(
        &mut self,
        kernel: &KernelRef<'_, U>,
        uniform: U,
        tensors: &[&Tensor],
        invocations: usize,
        cost: Cost,
    ) {
        let per_workgroup = u64::from(kernel.invocations().max(1));
        let workgroups = (invocations as u64).div_ceil(per_workgroup);
        self.dispatch(kernel, uniform, tensors, workgroups, cost);
    }

    /// Creates the plan. It compiles the kernels that are not compiled yet, in parallel, and creates the bind groups.
    ///
    /// # Errors
    /// - [`Error::Binding`] when a dispatch does not fit its kernel. Then the layer, loss or optimizer that recorded
    ///   the dispatch has a bug.
    /// - [`Error::OtherGpu`] when a tensor belongs to another device.
    /// - [`Error::Limit`] when a kernel exceeds a limit of the device, when an invocation has more loop iterations than
    ///   a software driver permits, or when a dispatch has more than [`Gpu::flops_per_dispatch`] floating-point
    ///   operations.
    /// - [`Error::OutOfMemory`] or [`Error::DeviceLost`] from the device, and [`Error::Gpu`] when the driver rejects a
    ///   kernel.
    pub fn finish(mut self) -> Result<Plan, Error> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let most = self.gpu.flops_per_dispatch();
        self.pending
            .iter()
            .try_for_each(|pending| parts::check(pending, most))?;
        if self.gpu.is_software() {
            self.pending.iter().try_for_each(check_iterations)?;
        }
        if self.pending.is_empty() {
            return Ok(Plan::new(self.gpu, Vec::new()));
        }
        self.gpu.compile_all(self.contracts())?;
        self.uniforms
            .resize(self.uniforms.len().next_multiple_of(16), 0);
        let uniforms = self
            .gpu
            .uniform_buffer("uniforms of a plan", &self.uniforms)?;
        #[cfg(not(target_arch = "wasm32"))]
        let block_of = |pending: &Pending| {
            let start = usize::try_from(pending.uniform_offset).unwrap_or(usize::MAX);
            self.uniforms[start..start + pending.contract.uniform_size].to_vec()
        };
        let dispatches = self.pending.into_iter().map(|pending| {
            let pipeline = self.gpu.pipeline(&pending.contract)?;
            let bind_group = self.gpu.guarded("making a bind group", || {
                bind(self.gpu, &pipeline, &uniforms, &pending)
            })?;
            let [x, y] = pending.workgroups.map(u64::from);
            let listed = Listed {
                name: pending.contract.name(),
                workgroups: x * y,
                shapes: describe(&pending),
                flops: pending.cost.flops,
                bytes: pending.cost.bytes.unwrap_or_else(|| bound(&pending)),
            };
            let dispatch = Dispatch {
                pipeline,
                bind_group,
                workgroups: pending.workgroups,
                #[cfg(not(target_arch = "wasm32"))]
                recorded: Arc::new(Recorded {
                    block: block_of(&pending),
                    contract: pending.contract,
                    tensors: pending.tensors,
                    workgroups: pending.workgroups,
                }),
            };
            Ok((dispatch, listed))
        });
        let dispatches = dispatches.collect::<Result<_, Error>>()?;
        Ok(Plan::new(self.gpu, dispatches))
    }
}

fn check_iterations(pending: &Pending) -> Result<(), Error> {
    if pending.cost.iterations <= SOFTWARE_ITERATIONS {
        return Ok(());
    }
    Err(Error::Limit {
        what: format!("{}, in loop iterations,", pending.contract.name()),
        limit: "iterations of a software driver",
        needed: pending.cost.iterations,
        available: SOFTWARE_ITERATIONS,
    })
}

/// Arranges workgroups in two dispatch dimensions of at most `most` workgroups each. Returns `None` if they do not fit.
fn fold(workgroups: u64, most: u64) -> Option<[u32; 2]> {
    let x = workgroups.min(most);
    let y = workgroups.div_ceil(x.max(1));
    let fits = x > 0 && y <= most;
    fits.then(|| [x, y].map(|count| u32::try_from(count).unwrap_or(u32::MAX)))
}

fn bind(
    gpu: &Gpu,
    pipeline: &wgpu::ComputePipeline,
    uniforms: &wgpu::Buffer,
    pending: &Pending,
) -> wgpu::BindGroup {
    let uniform = wgpu::BindGroupEntry {
        binding: 0,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: uniforms,
            offset: pending.uniform_offset,
            size: std::num::NonZeroU64::new(pending.contract.uniform_size as u64),
        }),
    };
    let storage = (1..)
        .zip(&pending.tensors)
        .map(|(binding, tensor)| wgpu::BindGroupEntry {
            binding,
            resource: tensor.binding(),
        });
    let entries: Vec<_> = std::iter::once(uniform).chain(storage).collect();
    gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(&pending.contract.name()),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    })
}

/// Returns the size of all bound tensors in bytes.
fn bound(pending: &Pending) -> u64 {
    total(pending.tensors.iter().map(Tensor::bytes))
}

fn describe(pending: &Pending) -> String {
    let shapes = pending.contract.bindings.iter().zip(&pending.tensors);
    let shapes = shapes.map(|(binding, tensor)| {
        format!("{} {}×{}", binding.name, tensor.rows(), tensor.row_shape())
    });
    shapes.collect::<Vec<_>>().join(", ")
}
