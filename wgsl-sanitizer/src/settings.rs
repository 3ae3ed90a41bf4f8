//! Dispatches, bindings and settings.

use std::fmt::{self, Display, Formatter};
use std::ops::Range;

use fastrand::Rng;

/// A buffer, or a range of it, that is bound to a binding of the shader.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bound {
    /// The number of the binding's `@group`.
    pub group: u32,
    /// The number of the binding's `@binding`.
    pub binding: u32,
    /// Index of the buffer, in the buffers that [`sanitize`](crate::sanitize) takes.
    pub buffer: usize,
    /// The bound range of the buffer, in bytes; `None` binds the whole buffer.
    pub bytes: Option<Range<u64>>,
}

/// A dispatch: its number of workgroups, and its bindings.
///
/// Two bindings may share a buffer. A race between an access through one binding and an access through the other is
/// found too.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dispatch {
    /// Number of workgroups in x, y and z.
    pub workgroups: [u32; 3],
    /// The bound buffers.
    pub bindings: Vec<Bound>,
}

impl Dispatch {
    /// Creates a dispatch of this many workgroups in x, y and z, without bindings.
    #[must_use]
    pub const fn new(workgroups: [u32; 3]) -> Self {
        Self {
            workgroups,
            bindings: Vec::new(),
        }
    }

    /// Binds a whole buffer. `buffer` is its index in the buffers that [`sanitize`](crate::sanitize) takes.
    #[must_use]
    pub fn bind(self, group: u32, binding: u32, buffer: usize) -> Self {
        self.bound(group, binding, buffer, None)
    }

    /// Binds a range of a buffer, in bytes. Both ends of the range must be multiples of 4.
    #[must_use]
    pub fn bind_range(self, group: u32, binding: u32, buffer: usize, bytes: Range<u64>) -> Self {
        self.bound(group, binding, buffer, Some(bytes))
    }

    fn bound(mut self, group: u32, binding: u32, buffer: usize, bytes: Option<Range<u64>>) -> Self {
        self.bindings.push(Bound {
            group,
            binding,
            buffer,
            bytes,
        });
        self
    }
}

/// The order in which the interpreter runs the workgroups, and the invocations of a workgroup between two barriers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// In ascending order of their indices.
    Forward,
    /// In descending order of their indices.
    Backward,
    /// In a random order with this seed. The invocations are shuffled again after each barrier.
    Random(u64),
}

impl Display for Order {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward => f.write_str("forward"),
            Self::Backward => f.write_str("backward"),
            Self::Random(seed) => write!(f, "random:{seed}"),
        }
    }
}

/// How the results of float arithmetic are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rounding {
    /// Results are rounded to the nearest number, as in IEEE 754. Built-in functions are computed as exactly as `f32`
    /// allows.
    Nearest,
    /// Each result has a random error within the accuracy that WGSL requires of the operation (section "Floating
    /// Point Accuracy" of its specification). The value is the seed. Results that differ between several such runs
    /// may differ between two devices: this is stochastic arithmetic, by Vignes (1993) and Parker (1997).
    ///
    /// A sum, a difference or a product is the exact result if the type can represent it. Otherwise it is one of the
    /// two neighbors of the exact result. The same holds for each sum and product inside `dot`, `fma` and products of
    /// matrices. Every other built-in function of several steps, such as `mix`, gets one error for the whole result,
    /// measured in units in the last place of that result. Conversions round to nearest. A finite result never becomes
    /// infinite.
    ///
    /// Every order starts with the same seed, but the invocations then get different random numbers. The results of two
    /// orders would therefore differ because of the rounding, so the interpreter does not compare them.
    WithinAccuracy(u64),
}

/// The result of a comparison of floats when an operand is NaN.
///
/// In IEEE 754, every such comparison is false, except `!=`. WGSL lets a compiler assume that there is no NaN and no
/// infinity (section "Floating Point Evaluation"), so a device may take such a comparison either way: `select(x, 0.0, x
/// <= 0.0)` may become `max(x, 0.0)`, which is 0 where `x` is NaN. If a result is the same with all settings of
/// [`ways`](Self::ways), it depends on no such comparison. A kernel that must recognize a NaN has to test its bits.
///
/// The setting applies to every comparison, including `!=`, and to the comparisons that define `min`, `max`,
/// `clamp`, `saturate`, `sign`, `step`, `smoothstep`, `faceForward`, `refract` and `bool(x)`. For example, `max(x,
/// y)` is `y` where `x < y`, else `x`: with a NaN, it is `y` under [`AllTrue`](Self::AllTrue) and `x` under
/// [`AllFalse`](Self::AllFalse).
///
/// ```
/// use wgsl_sanitizer::{Buffer, Dispatch, Error, NanComparisons, Settings, Shader, sanitize};
///
/// let run = |relu: &str, comparisons| -> Result<f32, Error> {
///     let text = format!("
///         @group(0) @binding(0) var<storage, read_write> x: array<f32>;
///         @compute @workgroup_size(1) fn relu() {{ x[0] = {relu}; }}");
///     let kernel = Shader::parse("relu.wgsl", &text)?.kernel("relu", &[])?;
///     let mut buffers = [Buffer::from_f32s(&[f32::NAN])];
///     let settings = Settings::default().nan_comparisons(comparisons);
///     sanitize(&kernel, &Dispatch::new([1, 1, 1]).bind(0, 0, 0), &mut buffers, &settings)?;
///     Ok(buffers[0].f32s()[0])
/// };
/// let relu = "select(x[0], 0.0, x[0] <= 0.0)";
/// assert!(run(relu, NanComparisons::Ieee754)?.is_nan());
/// assert_eq!(run(relu, NanComparisons::AllTrue)?, 0.0);
///
/// let by_bits = "select(x[0], 0.0, x[0] <= 0.0 && (bitcast<u32>(x[0]) & 0x7fffffffu) <= 0x7f800000u)";
/// for comparisons in NanComparisons::ways(8) {
///     assert!(run(by_bits, comparisons)?.is_nan());
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NanComparisons {
    /// As in IEEE 754. If one operand of `min`, `max` or `clamp` is NaN, the result is the other operand.
    Ieee754,
    /// Every comparison with NaN is true.
    AllTrue,
    /// Every comparison with NaN is false.
    AllFalse,
    /// At each place in the source, all comparisons with NaN are true or all are false. The seed decides for each
    /// place, as a compiler may decide differently for each place. With this setting, a kernel with two comparisons is
    /// also tested with different results of the two.
    RandomPerPlace(u64),
}

impl NanComparisons {
    /// Iterates over settings to try one after the other: [`Ieee754`](Self::Ieee754), [`AllTrue`](Self::AllTrue),
    /// [`AllFalse`](Self::AllFalse), and [`RandomPerPlace`](Self::RandomPerPlace) with the seeds 0 to `seeds` − 1.
    pub fn ways(seeds: u64) -> impl Iterator<Item = Self> {
        let alike = [Self::Ieee754, Self::AllTrue, Self::AllFalse];
        alike
            .into_iter()
            .chain((0..seeds).map(Self::RandomPerPlace))
    }

    /// Returns the result of a comparison with NaN at the instruction with index `place`. `None` means as in IEEE 754.
    #[inline]
    pub(crate) fn outcome(self, place: usize) -> Option<bool> {
        match self {
            Self::Ieee754 => None,
            Self::AllTrue => Some(true),
            Self::AllFalse => Some(false),
            // Consecutive seeds begin with similar random numbers. So spread the bits of the seed, and skip the first
            // number.
            Self::RandomPerPlace(seed) => {
                let place = (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let mut random = Rng::with_seed(seed.rotate_left(32) ^ place);
                random.u64(..);
                Some(random.bool())
            }
        }
    }
}

/// How to interpret a dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Whether workgroup memory is zero at the start of a workgroup, as in WebGPU. Set this to false if the program
    /// turns the zeros off (`zero_initialize_workgroup_memory: false` in wgpu): a read before the first write is then
    /// reported. Default: true.
    pub zero_workgroup_memory: bool,
    /// Orders of the invocations. The dispatch is run once in each order. Default: forward, backward and random with
    /// seed 0.
    pub orders: Vec<Order>,
    /// The maximum number of loop iterations of an invocation, summed over all its loops. An invocation that exceeds
    /// this number is reported, and the run ends. Default: 1,000,000.
    pub loop_budget: u64,
    /// How floats are rounded. Default: to nearest.
    pub rounding: Rounding,
    /// The results of comparisons with NaN. Default: as in IEEE 754.
    pub nan_comparisons: NanComparisons,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            zero_workgroup_memory: true,
            orders: vec![Order::Forward, Order::Backward, Order::Random(0)],
            loop_budget: 1_000_000,
            rounding: Rounding::Nearest,
            nan_comparisons: NanComparisons::Ieee754,
        }
    }
}

impl Settings {
    /// Sets whether workgroup memory is zero at the start of a workgroup.
    #[must_use]
    pub fn zero_workgroup_memory(self, zero_workgroup_memory: bool) -> Self {
        Self {
            zero_workgroup_memory,
            ..self
        }
    }

    /// Sets the orders of the invocations.
    #[must_use]
    pub fn orders(self, orders: impl IntoIterator<Item = Order>) -> Self {
        Self {
            orders: orders.into_iter().collect(),
            ..self
        }
    }

    /// Sets the maximum number of loop iterations of an invocation.
    #[must_use]
    pub fn loop_budget(self, loop_budget: u64) -> Self {
        Self {
            loop_budget,
            ..self
        }
    }

    /// Sets the rounding of floats.
    #[must_use]
    pub fn rounding(self, rounding: Rounding) -> Self {
        Self { rounding, ..self }
    }

    /// Sets the results of comparisons with NaN.
    #[must_use]
    pub fn nan_comparisons(self, nan_comparisons: NanComparisons) -> Self {
        Self {
            nan_comparisons,
            ..self
        }
    }
}
