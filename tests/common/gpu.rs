//! Helpers to run kernels in tests: devices, tensors between guard bands, random numbers, and error bounds.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(dead_code, reason = "no test program uses all of it")]

#[cfg(not(target_arch = "wasm32"))]
#[path = "sanitized.rs"]
pub(crate) mod sanitized;

use std::cell::RefCell;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::OnceLock;
use std::time::Duration;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use pollster::block_on;
use wgrad::bytemuck::{Pod, cast_slice};
use wgrad::gpu::GpuBuilder;
use wgrad::plan::Recorder;
use wgrad::plumbing::guard::{Contents, GuardSpec, Guarded};
use wgrad::tensor::Tensor;
#[cfg(not(target_arch = "wasm32"))]
use wgrad::wgpu::{
    DeviceDescriptor, Instance, InstanceDescriptor, Limits, PowerPreference, RequestAdapterOptions,
};
use wgrad::{Gpu, TensorShape};

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::browser::block_on;

/// Returns the device that all tests of a program share. Without an adapter, the tests fail.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(open)
}

/// In a browser, a device belongs to one thread, so each thread has its own.
#[cfg(target_arch = "wasm32")]
pub(crate) fn gpu() -> &'static Gpu {
    std::thread_local! {
        static GPU: &'static Gpu = Box::leak(Box::new(open()));
    }
    GPU.with(|gpu| *gpu)
}

/// Maximum number of workgroups per dimension of a dispatch on [`folding_gpu`].
const IN_A_ROW: u32 = 4;

/// A number of elements for seven workgroups of 1,024 elements each. [`folding_gpu`] folds them into two rows of
/// workgroups. If a kernel confused the number of rows with the length of a row, it would not reach the last workgroup.
pub(crate) const FOLDED: usize = 6 * 1024 + 1;

/// Returns a device that folds a dispatch into two dimensions after a few workgroups. On an ordinary device, folding
/// needs more elements than a software driver can bind.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn folding_gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| folding_after(IN_A_ROW))
}

/// Returns a device that folds a dispatch into rows of this many workgroups.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn folding_after(workgroups: u32) -> Gpu {
    borrowed(Limits {
        max_compute_workgroups_per_dimension: workgroups,
        ..Limits::default()
    })
}

/// Returns a borrowed device. It has the limits that its owner requested.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn borrowed(required_limits: Limits) -> Gpu {
    borrowed_with(required_limits, Gpu::builder())
}

/// Returns a borrowed device with these limits and settings.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn borrowed_with(required_limits: Limits, settings: GpuBuilder) -> Gpu {
    let descriptor = InstanceDescriptor::new_without_display_handle();
    let options = RequestAdapterOptions {
        power_preference: PowerPreference::HighPerformance,
        ..Default::default()
    };
    let adapter = block_on(Instance::new(descriptor).request_adapter(&options)).unwrap();
    let descriptor = DeviceDescriptor {
        required_limits,
        ..Default::default()
    };
    let (device, queue) = block_on(adapter.request_device(&descriptor)).unwrap();
    settings.wrap(device, queue)
}

/// A browser raises limits that are below its own limits, so this device does not fold so early.
#[cfg(target_arch = "wasm32")]
pub(crate) fn folding_gpu() -> &'static Gpu {
    gpu()
}

#[cfg(target_arch = "wasm32")]
pub(crate) fn folding_after(_workgroups: u32) -> Gpu {
    open()
}

fn open() -> Gpu {
    request(Gpu::builder())
}

/// Returns a device with at most this many floating-point operations per dispatch.
pub(crate) fn dispatching(flops: u64) -> Gpu {
    request(Gpu::builder().flops_per_dispatch(flops))
}

fn request(builder: GpuBuilder) -> Gpu {
    // All tests of a program share one queue, so a test may wait for the work of all others.
    let builder = builder.timeout(Duration::from_secs(600));
    block_on(builder.request()).expect("these tests need a GPU or a software driver")
}

/// Creates tensors between guard bands, runs a plan on them, and checks that the bands are unchanged (see
/// [`wgrad::plumbing::guard`]).
pub(crate) struct Bench<'gpu> {
    gpu: &'gpu Gpu,
    tensors: RefCell<Vec<Guarded>>,
}

impl<'gpu> Bench<'gpu> {
    pub(crate) fn new(gpu: &'gpu Gpu) -> Self {
        Self {
            gpu,
            tensors: RefCell::default(),
        }
    }

    /// Creates a tensor that must not change.
    pub(crate) fn input(
        &self,
        label: &str,
        shape: impl Into<TensorShape>,
        values: &[f32],
    ) -> Tensor {
        self.add(&GuardSpec::new(
            label,
            shape,
            Contents::Input(cast_slice(values)),
        ))
    }

    /// Creates a tensor of integers that must not change.
    pub(crate) fn input_u32(
        &self,
        label: &str,
        shape: impl Into<TensorShape>,
        values: &[u32],
    ) -> Tensor {
        self.add(&GuardSpec::new(label, shape, Contents::Input(values)).of_u32())
    }

    /// Creates a tensor filled with a poison value. Every element must be written.
    pub(crate) fn output(&self, label: &str, shape: impl Into<TensorShape>) -> Tensor {
        self.add(&GuardSpec::new(label, shape, Contents::Output))
    }

    /// Creates a tensor of integers filled with a poison value. Every element must be written.
    pub(crate) fn output_u32(&self, label: &str, shape: impl Into<TensorShape>) -> Tensor {
        self.add(&GuardSpec::new(label, shape, Contents::Output).of_u32())
    }

    /// Creates a tensor that may change.
    pub(crate) fn changed(
        &self,
        label: &str,
        shape: impl Into<TensorShape>,
        values: &[f32],
    ) -> Tensor {
        self.add(&GuardSpec::new(
            label,
            shape,
            Contents::Changed(cast_slice(values)),
        ))
    }

    /// Creates a tensor of integers that may change.
    pub(crate) fn changed_u32(
        &self,
        label: &str,
        shape: impl Into<TensorShape>,
        values: &[u32],
    ) -> Tensor {
        self.add(&GuardSpec::new(label, shape, Contents::Changed(values)).of_u32())
    }

    fn add(&self, spec: &GuardSpec<'_>) -> Tensor {
        let guarded = spec.place(self.gpu).unwrap();
        let tensor = guarded.tensor().clone();
        self.tensors.borrow_mut().push(guarded);
        tensor
    }

    /// Records a plan with `record`, runs it `times` times, and checks every tensor of this bench.
    pub(crate) fn run(&self, case: &str, times: usize, record: impl FnOnce(&mut Recorder<'_>)) {
        let mut recorder = Recorder::new(self.gpu);
        record(&mut recorder);
        let plan = recorder.finish().unwrap();
        #[cfg(not(target_arch = "wasm32"))]
        sanitized::run(self.gpu, case, &plan, times);
        #[cfg(target_arch = "wasm32")]
        self.gpu.submit(&plan, times).unwrap();
        for guarded in self.tensors.borrow().iter() {
            if let Err(touch) = block_on(guarded.read(self.gpu)).unwrap() {
                let tensor = guarded.tensor();
                panic!("{case}: {touch} of {} ({})", tensor.label(), tensor.shape());
            }
        }
    }

    pub(crate) fn read(&self, tensor: &Tensor) -> Vec<f32> {
        self.read_as(tensor)
    }

    pub(crate) fn read_u32(&self, tensor: &Tensor) -> Vec<u32> {
        self.read_as(tensor)
    }

    fn read_as<T: Pod>(&self, tensor: &Tensor) -> Vec<T> {
        block_on(self.gpu.read_async(tensor)).unwrap()
    }
}

/// Asserts that each value is within its tolerance of the expected value.
pub(crate) fn assert_close(
    case: &str,
    found: &[f32],
    expected: impl IntoIterator<Item = f64>,
    tolerance: impl IntoIterator<Item = f64>,
) {
    let mut count = 0;
    let expected = expected.into_iter().zip(tolerance);
    for ((at, &found), (expected, tolerance)) in found.iter().enumerate().zip(expected) {
        // This comparison is also false if one of the numbers is NaN.
        let close = (f64::from(found) - expected).abs() <= tolerance;
        assert!(
            close,
            "{case}: element {at} is {found:e}, expected {expected:e} ± {tolerance:e}"
        );
        count += 1;
    }
    assert_eq!(count, found.len(), "{case}: number of elements");
}

/// The largest relative error of one rounding: half a unit in the last place of 1.
pub(crate) const ROUNDING: f64 = 1.0 / (1u64 << 24) as f64;
/// The largest relative size of one unit in the last place. WGSL states its accuracies in units in the last place
/// (ULP).
pub(crate) const ULP: f64 = 2.0 * ROUNDING;
/// The smallest normal number. Results below it may be flushed to 0.
pub(crate) const FLUSHED: f64 = f32::MIN_POSITIVE as f64;

/// Returns an error bound for a sum of `terms` products. `absolute` is the sum of the products' absolute values.
pub(crate) fn sum_error(terms: usize, absolute: f64) -> f64 {
    8.0 * (terms as f64).sqrt() * ROUNDING * absolute + 2.0 * terms as f64 * FLUSHED
}

/// The random number generator `SplitMix64`. Its numbers are the same on every machine.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.bits() % end as u64).unwrap()
    }

    /// Returns a random number that is uniform between −1 and 1.
    pub(crate) fn uniform(&mut self) -> f32 {
        self.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn fill(&mut self, count: usize, fill: Fill) -> Vec<f32> {
        (0..count).map(|_| fill.value(self)).collect()
    }
}

/// Returns the number of terms for a test of long loops. A loop over `terms` is about as long as Mesa's software driver
/// allows: it silently ends longer loops early. Browsers' drivers do not, so an eighth of the terms is enough there.
pub(crate) const fn longest(terms: usize) -> usize {
    if cfg!(target_arch = "wasm32") {
        terms / 8
    } else {
        terms
    }
}

/// A kind of tensor contents. All kinds contain exact zeros of both signs, and repeated numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Small integers: sums of their products are exact.
    Integers,
    /// Numbers between −1 and 1.
    Moderate,
    /// Numbers of all sizes, including very large and very small ones. A sum of 65,535 products does not overflow.
    Extreme,
}

impl Fill {
    pub(crate) const ALL: [Self; 3] = [Self::Integers, Self::Moderate, Self::Extreme];

    /// Returns the kinds of contents to test with shape number `index`: all kinds. In a browser, whose software driver
    /// is ten times slower, each shape is tested with one kind; the kinds alternate from shape to shape.
    pub(crate) fn of_shape(index: usize) -> &'static [Self] {
        let one = index % Self::ALL.len();
        if cfg!(target_arch = "wasm32") {
            &Self::ALL[one..=one]
        } else {
            &Self::ALL
        }
    }

    fn value(self, numbers: &mut Numbers) -> f32 {
        const REPEATED: [f32; 6] = [0.0, 0.0, -0.0, 1.0, -1.0, 2.0];
        const EXTREME: [f32; 6] = [1e16, -1e16, 1e-18, -1e-18, f32::MIN_POSITIVE, 16_777_215.0];
        match (self, numbers.below(4)) {
            (_, 0) => REPEATED[numbers.below(6)],
            (Self::Integers, _) => numbers.below(17) as f32 - 8.0,
            (Self::Extreme, 1) => EXTREME[numbers.below(6)],
            _ => numbers.uniform(),
        }
    }
}
