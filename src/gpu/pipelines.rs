//! Kernels compiled for the device, and the device limits that they need.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Gpu, lock};
use crate::error::Error;
use crate::kernel::{Block, Contract, WORKGROUP_BYTES};
use crate::parallel;

/// Identifies a compiled kernel by its contents. Two shaders may have the same name, and the address of a text made at
/// run time may later belong to another text, so neither a name nor an address identifies a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PipelineKey {
    source: Arc<str>,
    entry: String,
    /// Names of the constants, each with the bits of its `f64` value.
    constants: Vec<(String, u64)>,
    is_checked: bool,
}

/// Names and values of the kernel's constants.
fn values(kernel: &Contract) -> impl Iterator<Item = (&str, f64)> {
    let constants = kernel.constants.iter();
    constants.filter_map(|constant| Some((&*constant.name, constant.value?)))
}

impl Gpu {
    /// Compiles those of the kernels that are not compiled yet, in parallel.
    ///
    /// If several fail, returns the error of the failing kernel that comes first in `kernels`.
    pub(crate) fn compile_all<'a>(
        &self,
        kernels: impl IntoIterator<Item = &'a Contract>,
    ) -> Result<(), Error> {
        let mut known: HashSet<_> = lock(&self.shared.pipelines).keys().cloned().collect();
        let is_new = |kernel: &&Contract| known.insert(self.key(kernel));
        let kernels: Vec<_> = kernels.into_iter().filter(is_new).collect();
        let compiled = parallel::map(&kernels, |kernel| self.pipeline(kernel).map(drop));
        compiled.into_iter().collect()
    }

    /// Returns the pipeline of a kernel. The kernel is compiled at its first use.
    pub(crate) fn pipeline(&self, kernel: &Contract) -> Result<wgpu::ComputePipeline, Error> {
        let key = self.key(kernel);
        if let Some(pipeline) = lock(&self.shared.pipelines).get(&key) {
            return Ok(pipeline.clone());
        }
        if let Some(shortage) = self.shortage(kernel) {
            return Err(shortage.into());
        }
        let name = kernel.name();
        let compile = || self.compile(kernel);
        let pipeline = self.guarded(&format!("compiling {name}"), compile);
        #[cfg(wgrad_faults)]
        if let Err(Error::Gpu { message, .. }) = &pipeline {
            crate::kernel::fault::refused(&kernel.source, message);
        }
        let pipeline = pipeline?;
        lock(&self.shared.pipelines).insert(key, pipeline.clone());
        Ok(pipeline)
    }

    fn key(&self, kernel: &Contract) -> PipelineKey {
        PipelineKey {
            source: Arc::clone(&kernel.source),
            entry: kernel.entry.clone(),
            constants: values(kernel)
                .map(|(name, value)| (name.to_owned(), value.to_bits()))
                .collect(),
            is_checked: self.checks_bounds_of(kernel),
        }
    }

    fn checks_bounds_of(&self, contract: &Contract) -> bool {
        self.shared.settings.checks_bounds || !contract.trust.is_proven
    }

    /// Returns the first limit of the device that a kernel exceeds; `None` if there is none. The sizes of the kernel's
    /// tensors are not checked here. This check is needed because the owner of a borrowed device chooses the device's
    /// limits, and wgpu does not check all of them.
    pub(crate) fn shortage(&self, contract: &Contract) -> Option<Shortage> {
        let limits = self.limits();
        let [x, y, z] = contract.workgroup_size;
        let buffers = u32::try_from(contract.bindings.len()).unwrap_or(u32::MAX);
        let block = u64::try_from(contract.uniform_size).unwrap_or(u64::MAX);
        let (in_storage, in_uniform) = match contract.block {
            Block::Uniform => (0, block),
            Block::Storage => (1, 0),
        };
        let workgroup_memory = limits.max_compute_workgroup_storage_size;
        // Tests ensure that the crate's own kernels need at most `WORKGROUP_BYTES`, so their WGSL need not be parsed.
        let is_granted = contract.trust.is_proven && workgroup_memory >= WORKGROUP_BYTES;
        let workgroup_bytes = if is_granted {
            0
        } else {
            contract.workgroup_bytes()
        };
        let needs: [(_, _, u64, u64); 7] = [
            (
                "storage buffers",
                "max_storage_buffers_per_shader_stage",
                buffers.saturating_add(in_storage).into(),
                limits.max_storage_buffers_per_shader_stage.into(),
            ),
            (
                "bytes of settings",
                "max_uniform_buffer_binding_size",
                in_uniform,
                limits.max_uniform_buffer_binding_size,
            ),
            (
                "bytes of workgroup memory",
                "max_compute_workgroup_storage_size",
                workgroup_bytes.into(),
                workgroup_memory.into(),
            ),
            (
                "invocations in a workgroup",
                "max_compute_invocations_per_workgroup",
                contract.invocations().into(),
                limits.max_compute_invocations_per_workgroup.into(),
            ),
            (
                "invocations along x of a workgroup",
                "max_compute_workgroup_size_x",
                x.into(),
                limits.max_compute_workgroup_size_x.into(),
            ),
            (
                "invocations along y of a workgroup",
                "max_compute_workgroup_size_y",
                y.into(),
                limits.max_compute_workgroup_size_y.into(),
            ),
            (
                "invocations along z of a workgroup",
                "max_compute_workgroup_size_z",
                z.into(),
                limits.max_compute_workgroup_size_z.into(),
            ),
        ];
        let mut missed = needs.into_iter();
        let missed = missed.find(|(.., needed, available)| needed > available);
        missed.map(|(what, limit, needed, available)| Shortage {
            kernel: contract.name(),
            what,
            limit,
            needed,
            available,
        })
    }

    fn compile(&self, contract: &Contract) -> wgpu::ComputePipeline {
        let name = contract.name();
        let is_checked = self.checks_bounds_of(contract);
        let constants: Vec<_> = values(contract).collect();
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(&contract.shader),
            source: wgpu::ShaderSource::Wgsl((*contract.source).into()),
        };
        // On a software driver, bounds checks and loop counters halve the speed of a matrix kernel.
        let checks = if is_checked {
            wgpu::ShaderRuntimeChecks::checked()
        } else {
            wgpu::ShaderRuntimeChecks::unchecked()
        };
        #[allow(unsafe_code)]
        // SAFETY: only this crate can mark a kernel as proven. Tests run each of these kernels between guard bands, at
        // shapes around every block edge. This catches every stray write, and every stray read that influences a
        // result. The Rust code that records a kernel binds tensors of the shapes in the shader's comments.
        let module = unsafe {
            self.device()
                .create_shader_module_trusted(descriptor, checks)
        };
        self.device()
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&name),
                layout: None,
                module: &module,
                entry_point: Some(&contract.entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &constants,
                    // The crate's own kernels read workgroup memory only after they have written it.
                    zero_initialize_workgroup_memory: is_checked,
                },
                cache: None,
            })
    }
}

/// A limit of a device that a kernel exceeds.
#[derive(Debug)]
pub(crate) struct Shortage {
    pub(crate) kernel: String,
    /// Name of the quantity, for example `bytes of workgroup memory`.
    pub(crate) what: &'static str,
    /// Name of the limit in `wgpu::Limits`.
    pub(crate) limit: &'static str,
    pub(crate) needed: u64,
    pub(crate) available: u64,
}

impl From<Shortage> for Error {
    fn from(shortage: Shortage) -> Self {
        Self::Limit {
            what: format!("{}, in {},", shortage.kernel, shortage.what),
            limit: shortage.limit,
            needed: shortage.needed,
            available: shortage.available,
        }
    }
}
