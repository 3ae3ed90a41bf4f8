use std::sync::Arc;
use std::time::Duration;

use super::{Gpu, Settings};
use crate::error::Error;

/// A kind of adapter. It decides which variant of a kernel is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdapterKind {
    /// A GPU: thousands of invocations at once, fast workgroup memory.
    Hardware,
    /// A Vulkan driver that runs shaders on the CPU, such as lavapipe or SwiftShader.
    Software,
}

impl AdapterKind {
    pub(super) fn of(info: &wgpu::AdapterInfo) -> Self {
        match info.device_type {
            wgpu::DeviceType::Cpu => Self::Software,
            _ => Self::Hardware,
        }
    }
}

/// The driver that runs shaders on the CPU.
///
/// Each driver has its own kernels, because values that one driver keeps in registers are spilled to memory by the
/// other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SoftwareDriver {
    /// Mesa's driver. It unrolls loops of constant length and optimizes across iterations, so an invocation may keep
    /// hundreds of sums in registers.
    Lavapipe,
    /// Chromium's driver, and similar ones. Its vectors have four lanes. It compiles loops and arrays as they are
    /// written.
    SwiftShader,
}

impl SoftwareDriver {
    /// Determines the driver from the adapter's name and subgroup size.
    ///
    /// lavapipe's name contains `llvmpipe`, but a browser may hide it. An adapter without that name counts as
    /// `SwiftShader`, Chromium's fallback, if its subgroups have four lanes or the adapter states no subgroup size.
    /// `SwiftShader` has a `subgroupMinSize` of 4, and a browser that hides the size also states 4. lavapipe's
    /// subgroups are as wide as the processor's vectors: 8 or 16 lanes, except 4 on processors without AVX.
    ///
    /// WARP, the software driver of Windows, counts as `SwiftShader`. This choice is reasoned, not measured: its
    /// subgroups have four lanes, Direct3D checks each access, and shaders with hundreds of sums would compile to long
    /// code.
    pub(super) fn of(info: &wgpu::AdapterInfo) -> Self {
        let is_named = info.name.to_ascii_lowercase().contains("llvmpipe");
        if is_named || info.subgroup_min_size > 4 {
            Self::Lavapipe
        } else {
            Self::SwiftShader
        }
    }
}

/// Chooses an adapter and sets up its device. [`Gpu::builder`] creates it.
#[derive(Debug, Clone)]
pub struct GpuBuilder {
    backends: wgpu::Backends,
    name: Option<String>,
    hardware_only: bool,
    number: usize,
    kernels: Option<AdapterKind>,
    driver: Option<SoftwareDriver>,
    timeout: Duration,
    checks_bounds: bool,
    flops_per_dispatch: Option<u64>,
}

impl Default for GpuBuilder {
    fn default() -> Self {
        Self {
            backends: wgpu::Backends::PRIMARY,
            name: None,
            hardware_only: false,
            number: 0,
            kernels: None,
            driver: None,
            timeout: Duration::from_secs(60),
            checks_bounds: false,
            flops_per_dispatch: None,
        }
    }
}

impl GpuBuilder {
    /// Accepts only adapters of these backends. Default: Vulkan, Metal, DX12, and WebGPU in a browser.
    #[must_use]
    pub fn backends(mut self, backends: wgpu::Backends) -> Self {
        self.backends = backends;
        self
    }

    /// Accepts only adapters whose name contains this text, in upper or lower case.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Accepts no driver that runs shaders on the CPU.
    #[must_use]
    pub fn hardware_only(mut self) -> Self {
        self.hardware_only = true;
        self
    }

    /// Chooses adapter `number` among those that have the same kind and backend as the best one.
    ///
    /// Numbers start at 0 and wrap around at the number of such adapters. This serves processes that share a machine
    /// with several GPUs. Default: 0.
    #[must_use]
    pub fn number(mut self, number: usize) -> Self {
        self.number = number;
        self
    }

    /// Uses the kernels for this kind of adapter, whatever the adapter reports.
    ///
    /// Use it for drivers that do not report their kind, and for measurements. Default: the kind that the adapter
    /// reports.
    #[must_use]
    pub fn kernels_for(mut self, kind: AdapterKind) -> Self {
        self.kernels = Some(kind);
        self
    }

    /// Uses the kernels for this software driver, whatever the adapter reports.
    ///
    /// Default: the driver that the adapter reports. On hardware with
    /// [`kernels_for(AdapterKind::Software)`](Self::kernels_for), the default is lavapipe.
    #[must_use]
    pub fn kernels_for_driver(mut self, driver: SoftwareDriver) -> Self {
        self.kernels = Some(AdapterKind::Software);
        self.driver = Some(driver);
        self
    }

    /// Sets the maximum time to wait for submitted work; longer waits return [`Error::Timeout`]. Default: 60 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Compiles this crate's kernels with bounds checks. Users' kernels always have them.
    ///
    /// With bounds checks, indices stay within their buffers and loops end, whatever settings a kernel receives. The
    /// kernels become slower; on a software driver they run at half the speed. Measure this with
    /// `cargo bench --bench dispatches`.
    #[must_use]
    pub fn bounds_checks(mut self) -> Self {
        self.checks_bounds = true;
        self
    }

    /// Sets the maximum number of floating-point operations per dispatch; 0 counts as 1.
    ///
    /// The limit keeps each dispatch short: if a dispatch takes too long (on Windows, 2 s), the operating system
    /// assumes that the GPU hangs. [`Recorder::dispatch_in_parts`] splits longer dispatches, for example the matrix
    /// products of `Linear`. Other dispatches above the limit are refused.
    ///
    /// Default: 100 GFLOP on a discrete GPU, 40 GFLOP on any other adapter. The slowest discrete GPUs have a peak of
    /// 0.4 TFLOP/s, the slowest integrated ones 0.2 TFLOP/s. Kernels reach a quarter of the peak, so dispatches at the
    /// limit take 1 s and 0.8 s.
    ///
    /// [`Recorder::dispatch_in_parts`]: crate::plan::Recorder::dispatch_in_parts
    #[must_use]
    pub fn flops_per_dispatch(mut self, flops: u64) -> Self {
        self.flops_per_dispatch = Some(flops.max(1));
        self
    }

    /// Opens the best adapter that matches all settings. Order, best first: discrete GPU, integrated GPU, other kinds,
    /// software driver.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] when no adapter matches, [`Error::NoDevice`] when the adapter opens no device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn build(self) -> Result<Gpu, Error> {
        pollster::block_on(self.request())
    }

    /// [`build`](Self::build) for callers that must not block, for example in a browser.
    ///
    /// # Errors
    /// The errors of [`build`](Self::build).
    pub async fn request(self) -> Result<Gpu, Error> {
        let instance = instance(self.backends);
        let adapters = enumerate(&instance, self.backends).await;
        let found = adapters
            .iter()
            .map(|adapter| describe(&adapter.get_info()))
            .collect();
        let mut adapters = adapters;
        adapters.retain(|adapter| self.accepts(&adapter.get_info()));
        adapters.sort_by_key(|adapter| rank(adapter.get_info().device_type));
        let Some(best) = adapters.first().map(wgpu::Adapter::get_info) else {
            let wanted = self.wanted();
            return Err(Error::NoAdapter { wanted, found });
        };
        // Keep only one backend, because another one would list the same adapters again.
        adapters.retain(|adapter| is_alike(&adapter.get_info(), &best));
        let adapter = adapters.swap_remove(self.number % adapters.len());
        open(&adapter, self.settings(&adapter.get_info())).await
    }

    /// [`Gpu::from_wgpu`] with this builder's timeout, bounds checks, choice of kernels and dispatch limit.
    ///
    /// The settings that choose an adapter have no effect: the device is already open.
    #[must_use]
    pub fn wrap(self, device: wgpu::Device, queue: wgpu::Queue) -> Gpu {
        let settings = self.settings(&device.adapter_info());
        Gpu::with_faults(device, queue, settings, Arc::default())
    }

    fn settings(&self, info: &wgpu::AdapterInfo) -> Settings {
        let by_default = || flops_per_dispatch(info);
        let of_adapter = AdapterKind::of(info);
        let driver = match of_adapter {
            AdapterKind::Software => SoftwareDriver::of(info),
            AdapterKind::Hardware => SoftwareDriver::Lavapipe,
        };
        let driver = self.driver.unwrap_or(driver);
        let kind = self.kernels.unwrap_or(of_adapter);
        Settings {
            kind,
            driver: (kind == AdapterKind::Software).then_some(driver),
            timeout: self.timeout,
            checks_bounds: self.checks_bounds,
            flops_per_dispatch: self.flops_per_dispatch.unwrap_or_else(by_default),
        }
    }

    fn accepts(&self, info: &wgpu::AdapterInfo) -> bool {
        let name_matches = self.name.as_ref().is_none_or(|name| {
            info.name
                .to_ascii_lowercase()
                .contains(&name.to_ascii_lowercase())
        });
        let hardware = AdapterKind::of(info) == AdapterKind::Hardware;
        name_matches && (hardware || !self.hardware_only)
    }

    fn wanted(&self) -> String {
        let kind = if self.hardware_only {
            "a hardware adapter"
        } else {
            "any adapter"
        };
        match &self.name {
            Some(name) => format!("{kind} with \"{name}\" in its name ({:?})", self.backends),
            None => format!("{kind} ({:?})", self.backends),
        }
    }
}

/// Whether two adapters have the same kind and the same backend, so that processes may use either.
pub(crate) fn is_alike(one: &wgpu::AdapterInfo, other: &wgpu::AdapterInfo) -> bool {
    one.device_type == other.device_type && one.backend == other.backend
}

/// The default of [`GpuBuilder::flops_per_dispatch`].
fn flops_per_dispatch(info: &wgpu::AdapterInfo) -> u64 {
    match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 100_000_000_000,
        _ => 40_000_000_000,
    }
}

/// Describes all adapters of this machine, best first.
#[cfg(not(target_arch = "wasm32"))]
pub(super) async fn list() -> Vec<wgpu::AdapterInfo> {
    let backends = wgpu::Backends::PRIMARY;
    let adapters = enumerate(&instance(backends), backends).await;
    let mut infos: Vec<_> = adapters.iter().map(wgpu::Adapter::get_info).collect();
    infos.sort_by_key(|info| rank(info.device_type));
    infos
}

/// Name, backend and driver of an adapter on one line.
pub(super) fn describe(info: &wgpu::AdapterInfo) -> String {
    let driver = format!("{} {}", info.driver, info.driver_info);
    format!("{} ({:?}, {})", info.name, info.backend, driver.trim())
}

fn instance(backends: wgpu::Backends) -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
}

/// Lists all adapters of the backends. A browser has no such list; it offers one adapter on request.
async fn enumerate(instance: &wgpu::Instance, backends: wgpu::Backends) -> Vec<wgpu::Adapter> {
    #[cfg(not(target_arch = "wasm32"))]
    {
        instance.enumerate_adapters(backends).await
    }
    #[cfg(target_arch = "wasm32")]
    {
        let _ = backends;
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        instance
            .request_adapter(&options)
            .await
            .into_iter()
            .collect()
    }
}

fn rank(device_type: wgpu::DeviceType) -> u8 {
    match device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

async fn open(adapter: &wgpu::Adapter, settings: Settings) -> Result<Gpu, Error> {
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("wgrad"),
        required_limits: adapter.limits(),
        ..Default::default()
    };
    match adapter.request_device(&descriptor).await {
        Ok((device, queue)) => Ok(Gpu::own(device, queue, settings)),
        Err(error) => Err(Error::NoDevice {
            adapter: describe(&adapter.get_info()),
            reason: error.to_string().trim_end_matches('.').to_owned(),
        }),
    }
}
