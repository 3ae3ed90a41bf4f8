use std::sync::Arc;
use std::time::Duration;

use super::{Gpu, Settings};
use crate::error::Error;

/// What kind of machine executes the kernels; it decides which variant of a kernel runs.
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

/// Which driver runs shaders on the CPU: what one of them keeps in registers another spills, so that each has kernels of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SoftwareDriver {
    /// Mesa's: it unrolls loops of constant length and optimises across them, so that an invocation may hold hundreds of sums.
    Lavapipe,
    /// Chromium's, and those like it: four lanes, loops and arrays as they are written.
    SwiftShader,
}

impl SoftwareDriver {
    /// By what an adapter says of itself.
    ///
    /// lavapipe has its name where there are names. A browser need not give one. So what has subgroups of four lanes, or says
    /// nothing of them, is taken for `SwiftShader`, which is what Chromium falls back to; its `subgroupMinSize` is 4, which is
    /// also what a browser states that hides the size. lavapipe has as many lanes as the processor's vectors: 8 or 16, but on
    /// processors without AVX.
    ///
    /// Windows' own driver, WARP, comes out as `SwiftShader`, by reasoning and not by measurement: its subgroups have four lanes,
    /// Direct3D checks each access, and what is compiled there for blocks of hundreds of sums would be long.
    pub(super) fn of(info: &wgpu::AdapterInfo) -> Self {
        let is_named = info.name.to_ascii_lowercase().contains("llvmpipe");
        if is_named || info.subgroup_min_size > 4 {
            Self::Lavapipe
        } else {
            Self::SwiftShader
        }
    }
}

/// Chooses an adapter: [`Gpu::builder`].
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
    /// Only adapters of these backends. Default: Vulkan, Metal, DX12, and WebGPU in a browser.
    #[must_use]
    pub fn backends(mut self, backends: wgpu::Backends) -> Self {
        self.backends = backends;
        self
    }

    /// Only adapters whose name contains this text, in any case.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// No driver that runs shaders on the CPU.
    #[must_use]
    pub fn hardware_only(mut self) -> Self {
        self.hardware_only = true;
        self
    }

    /// Of several adapters as good as the best, on the same backend, the one of this number, from 0 and counted round: for
    /// processes that share a machine with several GPUs. Default: the first.
    #[must_use]
    pub fn number(mut self, number: usize) -> Self {
        self.number = number;
        self
    }

    /// Gives the device the kernels of this kind of adapter, whatever it is itself: a driver may not
    /// say what it is, and a measurement may want the others. Default: what the adapter says.
    #[must_use]
    pub fn kernels_for(mut self, kind: AdapterKind) -> Self {
        self.kernels = Some(kind);
        self
    }

    /// Gives the device the kernels for this software driver, whatever it is itself. Default: what the adapter says; on hardware
    /// with [`kernels_for`](Self::kernels_for) software those for lavapipe.
    #[must_use]
    pub fn kernels_for_driver(mut self, driver: SoftwareDriver) -> Self {
        self.kernels = Some(AdapterKind::Software);
        self.driver = Some(driver);
        self
    }

    /// How long to wait for the device before [`Error::Timeout`]. Default: 60 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Compiles this crate's kernels with the checks, too, that those from outside always have: whatever
    /// they are told, indices stay within their buffers and loops end. They are slower so, on a software
    /// driver half as fast; `cargo bench --bench dispatches` says by how much.
    #[must_use]
    pub fn bounds_checks(mut self) -> Self {
        self.checks_bounds = true;
        self
    }

    /// Floating-point operations that one dispatch may have, at least 1, so that none lasts until the operating system
    /// takes the GPU for hung, which is 2 s on Windows. [`Recorder::dispatch_in_parts`] makes several dispatches of what
    /// has more, as the products of `Linear` do; of other kernels it is refused.
    ///
    /// Default: 100 GFLOP on a discrete GPU, 40 GFLOP on any other adapter. The slowest integrated GPUs have a peak of
    /// 0.2 TFLOP/s, the slowest discrete ones 0.4. At a quarter of that, which kernels reach, this is 1 s and 0.8 s.
    ///
    /// [`Recorder::dispatch_in_parts`]: crate::plan::Recorder::dispatch_in_parts
    #[must_use]
    pub fn flops_per_dispatch(mut self, flops: u64) -> Self {
        self.flops_per_dispatch = Some(flops.max(1));
        self
    }

    /// Opens the best adapter that matches: discrete GPU, integrated GPU, others, software.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] when none matches, [`Error::NoDevice`] when it refuses.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn build(self) -> Result<Gpu, Error> {
        pollster::block_on(self.request())
    }

    /// [`build`](Self::build) for callers that must not block, as in a browser.
    ///
    /// # Errors
    /// As [`build`](Self::build).
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
        // Another backend would show the same adapters once more.
        adapters.retain(|adapter| is_alike(&adapter.get_info(), &best));
        let adapter = adapters.swap_remove(self.number % adapters.len());
        open(&adapter, self.settings(&adapter.get_info())).await
    }

    /// [`Gpu::from_wgpu`] with the time limit, the bounds checks, the kernels and the length of dispatches that were chosen
    /// here. The adapter is chosen.
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

/// Whether two adapters may take each other's place.
pub(crate) fn is_alike(one: &wgpu::AdapterInfo, other: &wgpu::AdapterInfo) -> bool {
    one.device_type == other.device_type && one.backend == other.backend
}

/// See [`GpuBuilder::flops_per_dispatch`].
fn flops_per_dispatch(info: &wgpu::AdapterInfo) -> u64 {
    match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 100_000_000_000,
        _ => 40_000_000_000,
    }
}

/// What every adapter of this machine says of itself, best first.
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

/// A browser offers one adapter on request and no list.
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
