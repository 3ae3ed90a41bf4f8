//! Work as data: a list of dispatches, recorded once and encoded as often as wanted.

mod binding;

use std::fmt;

use bytemuck::Pod;

use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernel::{Contract, Kernel, Program};
use crate::tensor::Tensor;

pub use crate::error::BindingFault;

/// WebGPU's end of one dispatch dimension.
const MAX_WORKGROUPS: u64 = 65_535;

/// Loop iterations after which lavapipe (Mesa 22.3) silently ends every loop of an invocation, less
/// a margin for the short loops that it unrolls.
pub(crate) const SOFTWARE_ITERATIONS: u64 = 65_000;

/// Floating-point operations of one submit, which should end well before an operating system takes the
/// GPU for hung: 2 s on Windows. Where a single step has more, it is a submit.
///
/// The slowest integrated GPUs have a peak of 0.2 TFLOP/s. At a quarter of that, 40 GFLOP take 0.8 s. A
/// fast GPU idles for some 20 µs between two submits. At 20 TFLOP/s, that is 1 % of the 2 ms that 40 GFLOP
/// take. A software driver computes 10 GFLOP/s and more; its 4 GFLOP take 0.4 s.
pub(crate) fn flops_per_submit(gpu: &Gpu) -> u64 {
    match gpu.is_software() {
        true => 4_000_000_000,
        false => 40_000_000_000,
    }
}

/// Bytes that one submit of a training moves, for the same reason: 0.5 s at 20 GB/s, which the slowest
/// integrated GPUs have. A step of few rows moves more bytes than it has operations.
pub(crate) const BYTES_PER_SUBMIT: u64 = 10_000_000_000;

/// What one dispatch costs, by counting: nothing here is measured.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Floating-point operations of all invocations together.
    pub flops: u64,
    /// Loop iterations of the longest invocation; the look that ends a loop is one of them.
    pub iterations: u64,
    /// Bytes moved if each is moved once; `None` when that is all that is bound.
    pub bytes: Option<u64>,
}

/// Collects dispatches; [`finish`](Recorder::finish) makes their bind groups.
///
/// Nothing runs here: layers, losses and optimizers record, and [`Gpu`] alone submits.
#[derive(Debug)]
pub struct Recorder<'gpu> {
    gpu: &'gpu Gpu,
    pending: Vec<Pending>,
    uniforms: Vec<u8>,
    /// The first dispatch that does not fit its kernel.
    fault: Option<Error>,
}

#[derive(Debug)]
struct Pending {
    program: Program,
    uniform_offset: u64,
    tensors: Vec<Tensor>,
    workgroups: [u32; 2],
    cost: Cost,
}

impl Pending {
    fn contract(&self) -> &Contract {
        &self.program.contract
    }
}

impl<'gpu> Recorder<'gpu> {
    /// An empty recording for `gpu`.
    #[must_use]
    pub fn new(gpu: &'gpu Gpu) -> Self {
        Self {
            gpu,
            pending: Vec::new(),
            uniforms: Vec::new(),
            fault: None,
        }
    }

    /// The device recorded for.
    #[must_use]
    pub fn gpu(&self) -> &'gpu Gpu {
        self.gpu
    }

    /// Floating-point operations recorded so far.
    #[must_use]
    pub fn flops(&self) -> u64 {
        self.pending.iter().map(|pending| pending.cost.flops).sum()
    }

    /// Adds one dispatch of as many workgroups as there are, folded into two dimensions where one
    /// would be too long: shaders take `workgroup_id.x + workgroup_id.y * num_workgroups.x`.
    ///
    /// Where the tensors are not those of the kernel's contract, [`finish`](Self::finish) says so.
    pub fn dispatch<U: Pod>(
        &mut self,
        kernel: &'static Kernel<U>,
        uniform: U,
        tensors: &[&Tensor],
        workgroups: u64,
        cost: Cost,
    ) {
        self.dispatch_with(kernel, &[], uniform, tensors, workgroups, cost);
    }

    /// [`dispatch`](Self::dispatch) of a kernel that has constants, with their values.
    pub fn dispatch_with<U: Pod>(
        &mut self,
        kernel: &'static Kernel<U>,
        constants: &[u32],
        uniform: U,
        tensors: &[&Tensor],
        workgroups: u64,
        cost: Cost,
    ) {
        let program = Program {
            contract: kernel.contract(),
            values: constants.to_vec(),
        };
        let workgroups = self.check(&program, tensors, workgroups);
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
        self.uniforms
            .extend_from_slice(bytemuck::bytes_of(&uniform));
        self.pending.push(Pending {
            program,
            uniform_offset,
            tensors: tensors.iter().map(|&tensor| tensor.clone()).collect(),
            workgroups,
            cost,
        });
    }

    /// The workgroups of a dispatch in two dimensions, if it fits its kernel and this device.
    fn check(
        &self,
        program: &Program,
        tensors: &[&Tensor],
        workgroups: u64,
    ) -> Result<[u32; 2], Error> {
        let contract = &program.contract;
        let mistaken = |mistake| Error::Binding {
            kernel: contract.name(),
            mistake,
        };
        for tensor in tensors {
            tensor.check_gpu(self.gpu)?;
        }
        binding::check(contract, tensors).map_err(mistaken)?;
        let [expected, found] = [contract.constants.len(), program.values.len()];
        if expected != found {
            return Err(mistaken(BindingFault::Constants { expected, found }));
        }
        if workgroups == 0 {
            return Err(mistaken(BindingFault::NoWorkgroup));
        }
        let limit = self.gpu.limits().max_compute_workgroups_per_dimension;
        let most = MAX_WORKGROUPS.min(limit.into());
        fold(workgroups, most).ok_or_else(|| Error::Limit {
            what: format!("{}, in workgroups,", contract.name()),
            limit: "max_compute_workgroups_per_dimension, squared",
            needed: workgroups,
            available: most * most,
        })
    }

    /// Contracts of the kernels recorded so far, whether their dispatches fit them or not.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn contracts(&self) -> impl Iterator<Item = &Contract> {
        self.programs().map(|program| &program.contract)
    }

    /// The kernels recorded so far, with the values of their constants.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Program> {
        self.pending.iter().map(|pending| &pending.program)
    }

    /// [`dispatch`](Self::dispatch) with one invocation for each of `invocations`.
    pub fn dispatch_each<U: Pod>(
        &mut self,
        kernel: &'static Kernel<U>,
        uniform: U,
        tensors: &[&Tensor],
        invocations: usize,
        cost: Cost,
    ) {
        let per_workgroup = u64::from(kernel.contract().invocations().max(1));
        let workgroups = (invocations as u64).div_ceil(per_workgroup);
        self.dispatch(kernel, uniform, tensors, workgroups, cost);
    }

    /// Compiles what is not compiled yet, its kernels side by side, and makes the bind groups.
    ///
    /// # Errors
    /// [`Error::Binding`] when a dispatch does not fit its kernel: a mistake in the layer, loss or
    /// optimizer that recorded it. [`Error::OtherGpu`] when a tensor is another's. [`Error::Limit`] when a
    /// kernel needs more than the device allows, or would loop longer than the driver lets it,
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`], or [`Error::Gpu`] when the driver refuses a
    /// kernel.
    pub fn finish(mut self) -> Result<Plan, Error> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.gpu.is_software() {
            self.pending.iter().try_for_each(check_iterations)?;
        }
        if self.pending.is_empty() {
            return Ok(Plan {
                gpu: self.gpu.clone(),
                dispatches: Vec::new(),
            });
        }
        self.gpu.compile_all(self.programs())?;
        self.uniforms
            .resize(self.uniforms.len().next_multiple_of(16), 0);
        let uniforms = self
            .gpu
            .uniform_buffer("uniforms of a plan", &self.uniforms)?;
        let dispatches = self.pending.into_iter().map(|pending| {
            let pipeline = self.gpu.pipeline(&pending.program)?;
            let bind_group = self.gpu.guarded("making a bind group", || {
                bind(self.gpu, &pipeline, &uniforms, &pending)
            })?;
            Ok(Dispatch {
                name: pending.contract().name(),
                pipeline,
                bind_group,
                workgroups: pending.workgroups,
                shapes: describe(&pending),
                flops: pending.cost.flops,
                bytes: pending.cost.bytes.unwrap_or_else(|| bound(&pending)),
            })
        });
        Ok(Plan {
            gpu: self.gpu.clone(),
            dispatches: dispatches.collect::<Result<_, Error>>()?,
        })
    }
}

fn check_iterations(pending: &Pending) -> Result<(), Error> {
    if pending.cost.iterations <= SOFTWARE_ITERATIONS {
        return Ok(());
    }
    Err(Error::Limit {
        what: format!("{}, in loop iterations,", pending.contract().name()),
        limit: "iterations of a software driver",
        needed: pending.cost.iterations,
        available: SOFTWARE_ITERATIONS,
    })
}

/// In two dimensions of at most `most`, if it can be had.
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
            size: std::num::NonZeroU64::new(pending.contract().uniform_size as u64),
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
        label: Some(&pending.contract().name()),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    })
}

/// Bytes of all tensors bound.
fn bound(pending: &Pending) -> u64 {
    pending.tensors.iter().map(Tensor::bytes).sum()
}

fn describe(pending: &Pending) -> String {
    let shapes = pending.contract().bindings.iter().zip(&pending.tensors);
    let shapes = shapes.map(|(binding, tensor)| {
        format!("{} {}×{}", binding.name, tensor.rows(), tensor.columns())
    });
    shapes.collect::<Vec<_>>().join(", ")
}

/// One dispatch, ready to be encoded.
#[derive(Clone)]
struct Dispatch {
    name: String,
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    workgroups: [u32; 2],
    shapes: String,
    flops: u64,
    bytes: u64,
}

/// What is the same in every run.
impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatch")
            .field("name", &self.name)
            .field("workgroups", &self.workgroups)
            .field("shapes", &self.shapes)
            .finish_non_exhaustive()
    }
}

/// Dispatches in order. `Display` prints a line for each: shapes, FLOPs, bytes moved.
#[derive(Debug)]
pub struct Plan {
    gpu: Gpu,
    dispatches: Vec<Dispatch>,
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
    pub(crate) fn check_gpu(&self, gpu: &Gpu) -> Result<(), Error> {
        gpu.check_owner(&self.gpu, || {
            let names = self.dispatches.iter().map(|dispatch| &*dispatch.name);
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

    /// Floating-point operations of one execution.
    #[must_use]
    pub fn flops(&self) -> u64 {
        self.dispatches.iter().map(|dispatch| dispatch.flops).sum()
    }

    /// Bytes that one execution moves, if each dispatch touches each of its elements once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.dispatches.iter().map(|dispatch| dispatch.bytes).sum()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for dispatch in &self.dispatches {
            writeln!(
                f,
                "{:<42} {:>9} workgroups {:>12} FLOP {:>12} B  {}",
                dispatch.name,
                dispatch.workgroups[0] * dispatch.workgroups[1],
                dispatch.flops,
                dispatch.bytes,
                dispatch.shapes
            )?;
        }
        write!(
            f,
            "{} dispatches, {} FLOP, {} B",
            self.len(),
            self.flops(),
            self.bytes()
        )
    }
}
