//! What is run, and with which settings.

use std::fmt::{self, Display, Formatter};
use std::ops::Range;

use fastrand::Rng;

/// A binding, and the buffer that is bound to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bound {
    /// `@group`.
    pub group: u32,
    /// `@binding`.
    pub binding: u32,
    /// Index of the buffer, in the buffers that [`sanitize`](crate::sanitize) takes.
    pub buffer: usize,
    /// The bound range of the buffer, in bytes; `None` binds the whole buffer.
    pub bytes: Option<Range<u64>>,
}

/// One dispatch: its number of workgroups, and its bindings.
///
/// Two bindings may share a buffer. A race is found across both.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dispatch {
    /// Workgroups in x, y and z.
    pub workgroups: [u32; 3],
    /// Buffers that are bound.
    pub bindings: Vec<Bound>,
}

impl Dispatch {
    /// A dispatch of this many workgroups in x, y and z, with nothing bound.
    #[must_use]
    pub const fn new(workgroups: [u32; 3]) -> Self {
        Self {
            workgroups,
            bindings: Vec::new(),
        }
    }

    /// Binds a whole buffer, by its index among the buffers.
    #[must_use]
    pub fn bind(self, group: u32, binding: u32, buffer: usize) -> Self {
        self.bound(group, binding, buffer, None)
    }

    /// Binds a range of a buffer, in bytes. Both ends must be multiples of 4.
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

/// The order in which workgroups run, and in which the invocations of a workgroup run between two barriers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// From the first to the last.
    Forward,
    /// From the last to the first.
    Backward,
    /// A random order with this seed; the invocations are shuffled again after each barrier.
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
    /// To nearest, as in IEEE 754. Built-in functions are as exact as `f32` allows.
    Nearest,
    /// Each result has a random error within the accuracy that WGSL requires of the operation (section "Floating
    /// Point Accuracy" of its specification). The value is the seed. Results that differ between several such runs
    /// may differ between two devices: this is stochastic arithmetic, by Vignes (1993) and Parker (1997).
    ///
    /// A sum, a difference or a product is the exact result if the type can represent it, and otherwise one of the
    /// two nearest numbers. The same holds for each sum and product inside `dot`, `fma` and products of matrices.
    /// Another built-in function of several steps, such as `mix`, gets one error for the whole result, in units in
    /// the last place of the result. Conversions round to nearest. A finite result never becomes infinite.
    ///
    /// Every order starts again from the seed, but its random numbers go to other invocations. Its results therefore
    /// differ from the first order's by rounding alone, so they are not compared.
    Granted(u64),
}

/// The result of a comparison of floats when an operand is NaN.
///
/// In IEEE 754, every such comparison is false, except `!=`. WGSL lets a compiler assume that there is no NaN and no
/// infinity (section "Floating Point Evaluation"), so a device may take such a comparison either way: `select(x,
/// 0.0, x <= 0.0)` may become `max(x, 0.0)`, which is 0 where `x` is NaN. A result that is the same in all
/// [`ways`](Self::ways) depends on no such comparison. A kernel that must recognize a NaN has to test its bits.
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
    /// As in IEEE 754; `min`, `max` and `clamp` prefer the operand that is not NaN.
    Ieee754,
    /// Every comparison with NaN is true.
    AllTrue,
    /// Every comparison with NaN is false.
    AllFalse,
    /// All true or all false at each place of the source, by this seed: a compiler decides each place on its own. A
    /// kernel that needs two comparisons may be right when both have the same result, and wrong when their results
    /// differ.
    ByPlace(u64),
}

impl NanComparisons {
    /// Settings to try in turn: IEEE 754, all true, all false, and by place with the seeds 0 to `seeds` − 1.
    pub fn ways(seeds: u64) -> impl Iterator<Item = Self> {
        let alike = [Self::Ieee754, Self::AllTrue, Self::AllFalse];
        alike.into_iter().chain((0..seeds).map(Self::ByPlace))
    }

    /// The result of a comparison with NaN at the instruction `place`; `None` means as in IEEE 754.
    #[inline]
    pub(crate) fn outcome(self, place: usize) -> Option<bool> {
        match self {
            Self::Ieee754 => None,
            Self::AllTrue => Some(true),
            Self::AllFalse => Some(false),
            // Neighboring seeds start similar random streams: spread the seed's bits, and skip the first number.
            Self::ByPlace(seed) => {
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
    /// Whether workgroup memory starts as zeros, as in WebGPU. Set it to false where a program turns this off
    /// (`zero_initialize_workgroup_memory: false` in wgpu): a read before the first write is then reported. Default:
    /// true.
    pub zero_workgroup_memory: bool,
    /// Orders of the invocations; the dispatch is run once in each. Default: forward, backward and `random:0`.
    pub orders: Vec<Order>,
    /// The most loop iterations of one invocation, over all its loops. An invocation that exceeds them is reported,
    /// and the run ends. Default: 1,000,000.
    pub loop_budget: u64,
    /// How floats are rounded. Default: to nearest.
    pub rounding: Rounding,
    /// The result of comparisons with NaN. Default: as in IEEE 754.
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
    /// Sets whether workgroup memory starts as zeros.
    #[must_use]
    pub fn zero_workgroup_memory(self, zero_workgroup_memory: bool) -> Self {
        Self {
            zero_workgroup_memory,
            ..self
        }
    }

    /// Sets the orders.
    #[must_use]
    pub fn orders(self, orders: impl IntoIterator<Item = Order>) -> Self {
        Self {
            orders: orders.into_iter().collect(),
            ..self
        }
    }

    /// Sets the most loop iterations of an invocation.
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

    /// Sets the result of comparisons with NaN.
    #[must_use]
    pub fn nan_comparisons(self, nan_comparisons: NanComparisons) -> Self {
        Self {
            nan_comparisons,
            ..self
        }
    }
}
