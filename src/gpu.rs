//! The GPU device. Only this module submits work and reads buffers back.

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

/// A GPU device with its queue and its compiled kernels. Clones share all three.
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
    /// Number of submits that contained plans.
    #[cfg(test)]
    submits: std::sync::atomic::AtomicUsize,
}

/// The settings of a [`GpuBuilder`], without those that choose the adapter.
#[derive(Debug, Clone, Copy)]
struct Settings {
    kind: AdapterKind,
    /// `None` when the kernels for hardware are used.
    driver: Option<SoftwareDriver>,
    timeout: Duration,
    /// Whether this crate's own kernels are compiled with bounds checks, too, as users' kernels always are.
    checks_bounds: bool,
    flops_per_dispatch: u64,
}

impl Gpu {
    /// Opens the best adapter of this machine. Any hardware GPU is better than a software driver.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] when there is no adapter, [`Error::NoDevice`] when the adapter cannot open a device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// Returns a builder, which chooses an adapter by name, backend or kind.
    #[must_use]
    pub fn builder() -> GpuBuilder {
        GpuBuilder::default()
    }

    /// [`new`](Self::new) without blocking, for a browser.
    ///
    /// # Errors
    /// The errors of [`new`](Self::new).
    pub async fn request() -> Result<Self, Error> {
        Self::builder().request().await
    }

    /// Lists all adapters of this machine, best first.
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub fn adapters() -> Vec<wgpu::AdapterInfo> {
        pollster::block_on(adapter::list())
    }

    /// Wraps a device that the calling program owns. Wrap it only once, and clone the `Gpu` where you need it: a tensor
    /// works only with the `Gpu` that made it, or a clone of it. The device's error handlers stay unchanged; errors of
    /// wgrad's own commands are caught in error scopes.
    ///
    /// The limits are those that the program requested. `wgpu::Limits::default()`, which every browser grants, is
    /// enough for all kernels. On a device with lower limits, [`Error::Limit`] names the kernel that needs more, and
    /// [`Fusion::Auto`](crate::Fusion) chooses steps that the device can run. [`GpuBuilder::wrap`] does the same with
    /// other settings.
    #[must_use]
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        Self::builder().wrap(device, queue)
    }

    /// Makes a `Gpu` from a device that this crate has opened. No program owns this device, so the `Gpu` sets its error
    /// handlers.
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
        // In a browser, these types need not be `Send`, because no other thread uses them.
        #[cfg_attr(target_arch = "wasm32", allow(clippy::arc_with_non_send_sync))]
        let shared = Arc::new(shared);
        Self { shared }
    }

    /// The wgpu device.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        &self.shared.device
    }

    /// The queue of the device.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        &self.shared.queue
    }

    /// The limits of the device.
    #[must_use]
    pub fn limits(&self) -> &wgpu::Limits {
        &self.shared.limits
    }

    /// The adapter's name, backend, driver and device type.
    #[must_use]
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.shared.info
    }

    /// The kind of adapter for which kernels are chosen. It is the adapter's own kind, unless
    /// [`GpuBuilder::kernels_for`] sets another.
    #[must_use]
    pub fn kind(&self) -> AdapterKind {
        self.shared.settings.kind
    }

    /// The software driver for which kernels are chosen; `None` when the kernels for hardware are used.
    #[must_use]
    pub fn software_driver(&self) -> Option<SoftwareDriver> {
        self.shared.settings.driver
    }

    /// The maximum number of floating-point operations per dispatch: see [`GpuBuilder::flops_per_dispatch`].
    #[must_use]
    pub fn flops_per_dispatch(&self) -> u64 {
        self.shared.settings.flops_per_dispatch
    }

    /// Whether the adapter runs shaders on the CPU, whatever kernels are chosen for it.
    pub(crate) fn is_software(&self) -> bool {
        AdapterKind::of(&self.shared.info) == AdapterKind::Software
    }

    /// Checks that the host has `needed` bytes for copies, in addition to the memory of a software driver.
    ///
    /// # Errors
    /// [`Error::Memory`] when the host has fewer bytes.
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

    /// Adds `more` to the number of submits of plans. Returns the number before.
    #[cfg(test)]
    pub(crate) fn count_submits(&self, more: usize) -> usize {
        let submits = &self.shared.submits;
        submits.fetch_add(more, std::sync::atomic::Ordering::Relaxed)
    }

    /// Name, backend and driver of the adapter, on one line.
    #[must_use]
    pub fn description(&self) -> String {
        adapter::describe(&self.shared.info)
    }

    /// Size in bytes of the largest buffer that a kernel can bind.
    #[must_use]
    pub fn largest_binding(&self) -> u64 {
        let limits = self.limits();
        limits
            .max_storage_buffer_binding_size
            .min(limits.max_buffer_size)
    }

    /// Checks that an object made by the device `owner` may be used on this device. wgpu numbers its objects anew in
    /// each instance, so it would mistake another device's buffer for one of this device.
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

    /// Submits pending writes without other commands. This frees the copies that wgpu keeps until the next submit.
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

/// Locks a mutex. If another thread has panicked while it held the lock, this thread does not panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
