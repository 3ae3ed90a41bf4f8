//! The device: the only place that submits work or reads it back.

mod adapter;
mod buffer_fault;
mod faults;
mod readback;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytemuck::Pod;

use crate::error::Error;
use crate::kernel::{Block, Contract, Program, WORKGROUP_BYTES};
use crate::memory;
use crate::parallel;
use crate::plan::Plan;
use crate::tensor::Tensor;

pub use crate::error::BufferFault;
pub use adapter::{AdapterKind, GpuBuilder};
pub(crate) use buffer_fault::check_usage;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use faults::message_of;
use faults::{Fault, Faults};

/// A GPU device with its queue and compiled kernels. Cloning shares them.
///
/// ```no_run
/// let gpu = wgrad::Gpu::new()?;
/// println!("{}", gpu.description());
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Clone)]
pub struct Gpu {
    shared: Arc<Shared>,
}

/// The same for every device: a loss that holds one is known by this text in a
/// [checkpoint](crate::checkpoint), which may go on elsewhere.
impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu").finish_non_exhaustive()
    }
}

struct Shared {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    limits: wgpu::Limits,
    settings: Settings,
    pipelines: Mutex<HashMap<PipelineKey, wgpu::ComputePipeline>>,
    faults: Arc<Mutex<Faults>>,
}

/// What a builder decides besides the adapter.
#[derive(Debug, Clone, Copy)]
struct Settings {
    kind: AdapterKind,
    timeout: Duration,
    /// Whether kernels of this crate are compiled with bounds checks, too.
    checks_bounds: bool,
}

/// WGSL, entry point, values of constants, and whether bounds are checked: names of shaders need not be
/// unique.
type PipelineKey = (&'static str, &'static str, Vec<u32>, bool);

impl Gpu {
    /// The best adapter of this machine: a real GPU before a software driver.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] when there is none, [`Error::NoDevice`] when it refuses.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// Chooses by name, backend or kind.
    #[must_use]
    pub fn builder() -> GpuBuilder {
        GpuBuilder::default()
    }

    /// [`new`](Self::new) without blocking, for the web.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub async fn request() -> Result<Self, Error> {
        Self::builder().request().await
    }

    /// All adapters of this machine, best first.
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub fn adapters() -> Vec<wgpu::AdapterInfo> {
        pollster::block_on(adapter::list())
    }

    /// Works inside a device that the calling program owns: wrapped once, and cloned where it is needed, as
    /// tensors are those of the `Gpu` that made them. Its error handlers stay as they are;
    /// errors of wgrad's own commands are caught in error scopes.
    ///
    /// Its limits are those that the program asked for. `wgpu::Limits::default()`, which every browser
    /// grants, is enough for all kernels; a device with less has [`Error::Limit`] name the kernel that needs
    /// more, and [`StepPlan::Auto`](crate::StepPlan) takes steps that it can run.
    #[must_use]
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let settings = Settings {
            kind: AdapterKind::of(&device.adapter_info()),
            timeout: Duration::from_secs(60),
            checks_bounds: false,
        };
        Self::with_faults(device, queue, settings, Arc::default())
    }

    /// A device that nobody else has: its error handlers are ours to set.
    fn own(device: wgpu::Device, queue: wgpu::Queue, settings: Settings) -> Self {
        let faults: Arc<Mutex<Faults>> = Arc::default();
        let on_error = Arc::clone(&faults);
        device.on_uncaptured_error(Arc::new(move |error| {
            lock(&on_error).uncaptured.get_or_insert(Fault::of(&error));
        }));
        let on_loss = Arc::clone(&faults);
        device.set_device_lost_callback(move |reason, message| {
            let reason = format!("{reason:?} {message}").trim().to_owned();
            lock(&on_loss).lost.get_or_insert(reason);
        });
        Self::with_faults(device, queue, settings, faults)
    }

    fn with_faults(
        device: wgpu::Device,
        queue: wgpu::Queue,
        settings: Settings,
        faults: Arc<Mutex<Faults>>,
    ) -> Self {
        let shared = Shared {
            info: device.adapter_info(),
            limits: device.limits(),
            settings,
            pipelines: Mutex::default(),
            device,
            queue,
            faults,
        };
        // In a browser nothing is shared between threads.
        #[cfg_attr(target_arch = "wasm32", allow(clippy::arc_with_non_send_sync))]
        let shared = Arc::new(shared);
        Self { shared }
    }

    /// The device itself.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        &self.shared.device
    }

    /// Its queue.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        &self.shared.queue
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> &wgpu::Limits {
        &self.shared.limits
    }

    /// What the adapter says of itself.
    #[must_use]
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.shared.info
    }

    /// Whose kernels it gets: what the adapter is, unless [`GpuBuilder::kernels_for`] said otherwise.
    #[must_use]
    pub fn kind(&self) -> AdapterKind {
        self.shared.settings.kind
    }

    /// Whether the adapter runs shaders on the CPU, whatever its kernels are.
    pub(crate) fn is_software(&self) -> bool {
        AdapterKind::of(&self.shared.info) == AdapterKind::Software
    }

    /// Whether the host has so many bytes for copies, beside what a software driver takes of its memory.
    ///
    /// # Errors
    /// [`Error::Memory`] when it has not.
    pub(crate) fn check_host(
        &self,
        what: impl FnOnce() -> String,
        needed: u64,
    ) -> Result<(), Error> {
        match self.is_software() {
            true => memory::check_in_driver(what, needed),
            false => memory::check(what, needed),
        }
    }

    /// Name, backend and driver on one line.
    #[must_use]
    pub fn description(&self) -> String {
        adapter::describe(&self.shared.info)
    }

    /// Bytes of the largest buffer that a kernel can bind.
    #[must_use]
    pub fn largest_binding(&self) -> u64 {
        let limits = self.limits();
        limits
            .max_storage_buffer_binding_size
            .min(limits.max_buffer_size)
    }

    /// Whether `what` `owner` has made may be used here. wgpu tells devices apart by numbers, which
    /// start anew with each instance: it would take another's buffer for one of this device.
    pub(crate) fn check_owner(
        &self,
        owner: &Self,
        what: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        match Arc::ptr_eq(&self.shared, &owner.shared) {
            true => Ok(()),
            false => Err(Error::OtherGpu { what: what() }),
        }
    }

    /// Copies values into a tensor before the next submitted work runs.
    ///
    /// # Errors
    /// [`Error::Setting`] when a `T` is not as large as an element, [`Error::Count`] when there are not as many values
    /// as the tensor has elements, [`Error::OtherGpu`] when it is another's, [`Error::Buffer`] when its buffer has no
    /// `COPY_DST`, is destroyed or mapped.
    pub fn write<T: Pod>(&self, tensor: &Tensor, values: &[T]) -> Result<(), Error> {
        tensor.check_gpu(self)?;
        let size = size_of::<T>();
        if size != 4 {
            return Err(Error::setting(
                format!("bytes of a value for {}", tensor.label()),
                "4, as its elements have",
                size,
            ));
        }
        if values.len() != tensor.len() {
            let [rows, columns] = tensor.shape();
            return Err(Error::Count {
                what: format!("values for {} ({rows} × {columns})", tensor.label()),
                expected: tensor.len(),
                found: values.len(),
            });
        }
        self.write_packed(tensor, bytemuck::cast_slice(values))
    }

    /// The same of bytes, four in an element.
    pub(crate) fn write_packed(&self, tensor: &Tensor, bytes: &[u8]) -> Result<(), Error> {
        assert_eq!(bytes.len() as u64, tensor.bytes(), "{}", tensor.label());
        let (buffer, offset) = tensor.buffer();
        let doing = format!("writing {}", tensor.label());
        check_usage(tensor.label(), buffer, wgpu::BufferUsages::COPY_DST, &doing)?;
        let written = self.guarded(&doing, || {
            self.queue().write_buffer(buffer, offset, bytes);
        });
        written.map_err(|error| error.of_tensor(tensor))
    }

    /// The same for some rows of a tensor, from `first` on.
    pub(crate) fn write_rows<T: Pod>(
        &self,
        tensor: &Tensor,
        first: usize,
        values: &[T],
    ) -> Result<(), Error> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let start = 4 * (first * tensor.columns()) as u64;
        assert!(
            start + bytes.len() as u64 <= tensor.bytes(),
            "{}: rows from {first} on",
            tensor.label()
        );
        let (buffer, offset) = tensor.buffer();
        self.guarded("writing a buffer", || {
            self.queue().write_buffer(buffer, offset + start, bytes);
        })
    }

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

    /// Submits what was written and nothing else, so that the copies that wgpu keeps until then are freed.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.guarded("submitting what was written", || {
            self.queue().submit([]);
        })
    }

    /// Waits for the submit before this one: two are under way at a time, so that the device has work
    /// and no queue grows.
    pub(crate) fn wait_in_turn(
        &self,
        before: &mut Option<wgpu::SubmissionIndex>,
        submitted: wgpu::SubmissionIndex,
    ) -> Result<(), Error> {
        match before.replace(submitted) {
            Some(before) => self.wait(Some(before)),
            None => Ok(()),
        }
    }

    /// Waits until submitted work is done. In a browser there is nothing to wait with, and
    /// reading back waits instead.
    ///
    /// # Errors
    /// [`Error::Timeout`] when the device does not finish, [`Error::DeviceLost`] when it is gone.
    pub fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<(), Error> {
        let doing = "waiting for submitted work";
        let timeout = self.shared.settings.timeout;
        let wait = wgpu::PollType::Wait {
            submission_index: submission,
            timeout: Some(timeout),
        };
        match self.guarded(doing, || self.device().poll(wait))? {
            Ok(_) => Ok(()),
            Err(wgpu::PollError::Timeout) => Err(Error::Timeout {
                doing: "submitted work".to_owned(),
                after: timeout,
            }),
            Err(error) => Err(self.explained(Fault::Other(error.to_string()).into_error(doing))),
        }
    }

    pub(crate) fn buffer(&self, label: &str, size: u64) -> Result<wgpu::Buffer, Error> {
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        self.allocate(label, size, usage)
    }

    pub(crate) fn uniform_buffer(&self, label: &str, bytes: &[u8]) -> Result<wgpu::Buffer, Error> {
        let usage = wgpu::BufferUsages::UNIFORM
            | wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_DST;
        let buffer = self.allocate(label, bytes.len() as u64, usage)?;
        self.guarded("writing uniforms", || {
            self.queue().write_buffer(&buffer, 0, bytes);
        })?;
        Ok(buffer)
    }

    fn allocate(
        &self,
        label: &str,
        size: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, Error> {
        self.guarded(&format!("allocating {label} ({size} bytes)"), || {
            self.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation: false,
            })
        })
    }

    /// Compiles the kernels that are not compiled yet, side by side.
    ///
    /// Where several fail, the error is that of the first of them.
    pub(crate) fn compile_all<'a>(
        &self,
        programs: impl IntoIterator<Item = &'a Program>,
    ) -> Result<(), Error> {
        let mut known: HashSet<_> = lock(&self.shared.pipelines).keys().cloned().collect();
        let is_new = |program: &&Program| known.insert(self.key(program));
        let programs: Vec<_> = programs.into_iter().filter(is_new).collect();
        let compiled = parallel::map(&programs, |program| self.pipeline(program).map(drop));
        compiled.into_iter().collect()
    }

    /// The pipeline of a kernel, compiled at its first use.
    pub(crate) fn pipeline(&self, program: &Program) -> Result<wgpu::ComputePipeline, Error> {
        let key = self.key(program);
        if let Some(pipeline) = lock(&self.shared.pipelines).get(&key) {
            return Ok(pipeline.clone());
        }
        if let Some(shortage) = self.shortage(&program.contract) {
            return Err(shortage.into());
        }
        let name = program.contract.name();
        let compile = || self.compile(program);
        let pipeline = self.guarded(&format!("compiling {name}"), compile)?;
        lock(&self.shared.pipelines).insert(key, pipeline.clone());
        Ok(pipeline)
    }

    fn key(&self, program: &Program) -> PipelineKey {
        let Program { contract, values } = program;
        let is_checked = self.checks_bounds_of(contract);
        (contract.source, contract.entry, values.clone(), is_checked)
    }

    fn checks_bounds_of(&self, contract: &Contract) -> bool {
        self.shared.settings.checks_bounds || !contract.trust.is_proven
    }

    /// The first need of a kernel that the device does not meet, apart from the size of its tensors.
    /// The limits of a borrowed device are its owner's, and wgpu does not look at all of them.
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
        // Tests hold that the crate's own need no more than this: their WGSL is not parsed once more.
        let is_granted = contract.trust.is_proven && workgroup_memory >= WORKGROUP_BYTES;
        let workgroup_bytes = match is_granted {
            true => 0,
            false => contract.workgroup_bytes(),
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

    fn compile(&self, program: &Program) -> wgpu::ComputePipeline {
        let Program { contract, values } = program;
        let (name, is_checked) = (contract.name(), self.checks_bounds_of(contract));
        let values = values.iter().map(|&value| f64::from(value));
        let constants: Vec<_> = contract.constants.iter().copied().zip(values).collect();
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(contract.shader),
            source: wgpu::ShaderSource::Wgsl(contract.source.into()),
        };
        // Bounds checks and loop counters halve the speed of a matrix kernel on a software driver.
        let checks = match is_checked {
            true => wgpu::ShaderRuntimeChecks::checked(),
            false => wgpu::ShaderRuntimeChecks::unchecked(),
        };
        #[allow(unsafe_code)]
        // SAFETY: only this crate can mark a kernel as proven. Tests run each of these between guard
        // bands at shapes around every block edge, which show a stray write, and a stray read whose
        // value counts; the drivers bind the tensors that the shader's comments say.
        let module = unsafe {
            self.device()
                .create_shader_module_trusted(descriptor, checks)
        };
        self.device()
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&name),
                layout: None,
                module: &module,
                entry_point: Some(contract.entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &constants,
                    // The crate's own write all of it that they read.
                    zero_initialize_workgroup_memory: is_checked,
                },
                cache: None,
            })
    }
}

/// What a kernel needs, and a device has less of.
#[derive(Debug)]
pub(crate) struct Shortage {
    pub(crate) kernel: String,
    /// For example `bytes of workgroup memory`.
    pub(crate) what: &'static str,
    /// As `wgpu::Limits` spells it.
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

/// A panic elsewhere must not turn into one here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
