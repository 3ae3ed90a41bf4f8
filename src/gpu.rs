//! The GPU device: the only place that submits work or reads results back.

mod adapter;
mod buffer_fault;
mod faults;
mod pipelines;
mod signal;
#[cfg(test)]
mod tests;
mod wait;
#[cfg(not(target_arch = "wasm32"))]
mod watcher;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Error;
use crate::memory;

pub use crate::error::BufferFault;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use adapter::is_alike;
pub use adapter::{AdapterKind, GpuBuilder, SoftwareDriver};
pub(crate) use buffer_fault::check_usage;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use faults::message_of;
use faults::{Fault, Faults};
use pipelines::PipelineKey;
pub(crate) use pipelines::Shortage;
pub(crate) use signal::{Sender, Signal};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use wait::block_on;
pub(crate) use wait::{Completion, Finished, may_block};
#[cfg(not(target_arch = "wasm32"))]
use watcher::Watcher;

/// A GPU device with its queue and compiled kernels. Clones share them.
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
    #[cfg(not(target_arch = "wasm32"))]
    watcher: Watcher,
    /// Number of submits of plans.
    #[cfg(test)]
    submits: std::sync::atomic::AtomicUsize,
}

/// What a builder decides besides the adapter.
#[derive(Debug, Clone, Copy)]
struct Settings {
    kind: AdapterKind,
    /// `None` with the kernels for hardware.
    driver: Option<SoftwareDriver>,
    timeout: Duration,
    /// Whether this crate's own kernels are compiled with bounds checks too.
    checks_bounds: bool,
    flops_per_dispatch: u64,
}

impl Gpu {
    /// Opens the best adapter of this machine: a hardware GPU before a software driver.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] when there is no adapter, [`Error::NoDevice`] when it refuses to open a device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// Chooses an adapter by name, backend or kind.
    #[must_use]
    pub fn builder() -> GpuBuilder {
        GpuBuilder::default()
    }

    /// [`new`](Self::new) without blocking, for the web.
    ///
    /// # Errors
    /// The errors of [`new`](Self::new).
    pub async fn request() -> Result<Self, Error> {
        Self::builder().request().await
    }

    /// All adapters of this machine, best first.
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub fn adapters() -> Vec<wgpu::AdapterInfo> {
        pollster::block_on(adapter::list())
    }

    /// Wraps a device that the calling program owns. Wrap it once and clone the `Gpu` where you need it: tensors belong
    /// to the `Gpu` that made them. The device's error handlers stay unchanged; errors of wgrad's own commands are
    /// caught in error scopes.
    ///
    /// The limits are those that the program asked for. `wgpu::Limits::default()`, which every browser grants, is
    /// enough for all kernels. On a device with lower limits, [`Error::Limit`] names the kernel that needs more, and
    /// [`Fusion::Auto`](crate::Fusion) chooses steps that the device can run. [`GpuBuilder::wrap`] does the same with
    /// other settings.
    #[must_use]
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        Self::builder().wrap(device, queue)
    }

    /// A device that this crate has opened for itself, so that it may set the error handlers.
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
            #[cfg(not(target_arch = "wasm32"))]
            watcher: Watcher::default(),
            #[cfg(test)]
            submits: Default::default(),
        };
        // A browser shares nothing between threads.
        #[cfg_attr(target_arch = "wasm32", allow(clippy::arc_with_non_send_sync))]
        let shared = Arc::new(shared);
        Self { shared }
    }

    /// The device itself.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        &self.shared.device
    }

    /// The device's queue.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        &self.shared.queue
    }

    /// The device's limits.
    #[must_use]
    pub fn limits(&self) -> &wgpu::Limits {
        &self.shared.limits
    }

    /// What the adapter says about itself.
    #[must_use]
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.shared.info
    }

    /// The kind of adapter that kernels are chosen for: the adapter's own, unless [`GpuBuilder::kernels_for`] set
    /// another.
    #[must_use]
    pub fn kind(&self) -> AdapterKind {
        self.shared.settings.kind
    }

    /// The software driver that kernels are chosen for; `None` for the kernels for hardware.
    #[must_use]
    pub fn software_driver(&self) -> Option<SoftwareDriver> {
        self.shared.settings.driver
    }

    /// The most floating-point operations of one dispatch: see [`GpuBuilder::flops_per_dispatch`].
    #[must_use]
    pub fn flops_per_dispatch(&self) -> u64 {
        self.shared.settings.flops_per_dispatch
    }

    /// Whether the adapter runs shaders on the CPU, whichever kernels it gets.
    pub(crate) fn is_software(&self) -> bool {
        AdapterKind::of(&self.shared.info) == AdapterKind::Software
    }

    /// Checks that the host has so many bytes for copies, besides the memory that a software driver takes.
    ///
    /// # Errors
    /// [`Error::Memory`] when it does not.
    pub(crate) fn check_host(
        &self,
        what: impl FnOnce() -> String,
        needed: u64,
    ) -> Result<(), Error> {
        if self.is_software() {
            memory::check_in_driver(what, needed)
        } else {
            memory::check(what, needed)
        }
    }

    /// Adds to the number of submits of plans, and returns the number before.
    #[cfg(test)]
    pub(crate) fn count_submits(&self, more: usize) -> usize {
        let submits = &self.shared.submits;
        submits.fetch_add(more, std::sync::atomic::Ordering::Relaxed)
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

    /// Checks that a thing that `owner` has made may be used here. wgpu identifies objects by numbers that start anew
    /// in each instance, so it would mistake another device's buffer for one of this device.
    pub(crate) fn check_owner(
        &self,
        owner: &Self,
        what: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        if Arc::ptr_eq(&self.shared, &owner.shared) {
            Ok(())
        } else {
            Err(Error::OtherGpu { what: what() })
        }
    }

    /// Submits pending writes and nothing else: this frees the copies that wgpu keeps until a submit.
    pub(crate) fn flush(&self) -> Result<wgpu::SubmissionIndex, Error> {
        self.guarded("submitting written data", || self.queue().submit([]))
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

    pub(crate) fn allocate(
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
}

/// Locks a mutex, even after a panic elsewhere, which must not cause one here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
