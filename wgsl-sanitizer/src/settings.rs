//! What is run, and how.

use std::fmt::{self, Display, Formatter};
use std::ops::Range;

use fastrand::Rng;

/// A binding and what is bound to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bound {
    /// `@group`.
    pub group: u32,
    /// `@binding`.
    pub binding: u32,
    /// Which of the buffers.
    pub buffer: usize,
    /// Which bytes of it; `None` is all.
    pub bytes: Option<Range<u64>>,
}

/// Numbers of workgroups, and what is bound.
///
/// Two bindings may have one buffer: what one writes and the other reads is watched as one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dispatch {
    /// Workgroups in x, y and z.
    pub workgroups: [u32; 3],
    /// What is bound.
    pub bindings: Vec<Bound>,
}

impl Dispatch {
    /// So many workgroups, with nothing bound.
    #[must_use]
    pub const fn new(workgroups: [u32; 3]) -> Self {
        Self {
            workgroups,
            bindings: Vec::new(),
        }
    }

    /// With a whole buffer, by its place among the buffers, at a binding.
    #[must_use]
    pub fn bind(self, group: u32, binding: u32, buffer: usize) -> Self {
        self.bound(group, binding, buffer, None)
    }

    /// With a range of bytes of a buffer at a binding. Both ends are multiples of 4.
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

/// In which order workgroups, and the invocations of a workgroup between two barriers, take their turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// The first to the last.
    Forward,
    /// The last to the first.
    Backward,
    /// By a seed, another order between each two barriers.
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

/// How results of float arithmetic are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rounding {
    /// To nearest, as IEEE has it; built-in functions as exactly as `f32` allows.
    Nearest,
    /// Off by a random part of what WGSL grants to an operation ("Floating Point Accuracy"), by a seed. What several
    /// such runs differ by is what two devices may differ by: stochastic arithmetic, as Vignes (1993) and Parker (1997)
    /// have it.
    ///
    /// A sum, a difference or a product is the exact result where that is a number of the type, else one of the two
    /// numbers beside it; so are those that `dot`, `fma` and products of matrices are made of. Other built-in functions
    /// of several steps, such as `mix`, are moved as a whole, by units in the last place of their result. Conversions
    /// are to nearest, and no result is moved to an infinity.
    ///
    /// Each order begins with the seed anew, and gives its random parts to other invocations: its results differ from
    /// those of the first order by rounding alone, so they are not compared with them.
    Granted(u64),
}

/// How comparisons of floats come out where an operand is NaN.
///
/// IEEE 754 says that all are false but `!=`. WGSL lets a compiler assume that there is no NaN and no infinity
/// ("Floating Point Evaluation"), so that a device may take any comparison with one either way:
/// `select(x, 0.0, x <= 0.0)` may become `max(x, 0.0)`, which is 0 where `x` is NaN. What is the same in several
/// [`ways`](Self::ways) depends on no such comparison; a kernel that must tell a NaN tells it by its bits.
///
/// What comes out otherwise is every comparison, `!=` among them, and those in the definitions of `min`, `max`,
/// `clamp`, `saturate`, `sign`, `step`, `smoothstep`, `faceForward`, `refract` and of `bool(x)`: `max(x, y)` is `y`
/// where `x < y`, else `x`, so that it is either operand in one of the two.
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
    /// As IEEE 754 has it; `min`, `max` and `clamp` take the operand that is a number.
    Ieee754,
    /// True.
    AllTrue,
    /// False.
    AllFalse,
    /// At each place of the source all true or all false, by a seed: a compiler decides place by place. What two
    /// comparisons decide together may be right where both come out alike, and wrong where they do not.
    ByPlace(u64),
}

impl NanComparisons {
    /// As IEEE 754 has it, all true, all false, and by place with so many seeds.
    pub fn ways(seeds: u64) -> impl Iterator<Item = Self> {
        let alike = [Self::Ieee754, Self::AllTrue, Self::AllFalse];
        alike.into_iter().chain((0..seeds).map(Self::ByPlace))
    }

    /// What they come out as at an instruction, where IEEE 754 does not say it.
    #[inline]
    pub(crate) fn outcome(self, place: usize) -> Option<bool> {
        match self {
            Self::Ieee754 => None,
            Self::AllTrue => Some(true),
            Self::AllFalse => Some(false),
            // Streams of seeds that are side by side begin alike, so each is taken apart from its neighbours.
            Self::ByPlace(seed) => {
                let place = (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let mut random = Rng::with_seed(seed.rotate_left(32) ^ place);
                random.u64(..);
                Some(random.bool())
            }
        }
    }
}

/// How a dispatch is interpreted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Whether workgroup memory starts as zeros, as WebGPU has it. Where a program turns that off
    /// (`zero_initialize_workgroup_memory: false` in wgpu), a read before the first write is reported. Default: true.
    pub zero_workgroup_memory: bool,
    /// The orders, each a run of its own. Default: forward, backward and one at random.
    pub orders: Vec<Order>,
    /// Loop iterations of one invocation, all its loops together, after which it is reported and ended.
    /// Default: 1,000,000.
    pub loop_budget: u64,
    /// How floats are rounded. Default: to nearest.
    pub rounding: Rounding,
    /// How comparisons with NaN come out. Default: as IEEE 754 has it.
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
    /// With workgroup memory that starts as zeros, or not.
    #[must_use]
    pub fn zero_workgroup_memory(self, zero_workgroup_memory: bool) -> Self {
        Self {
            zero_workgroup_memory,
            ..self
        }
    }

    /// In these orders.
    #[must_use]
    pub fn orders(self, orders: impl IntoIterator<Item = Order>) -> Self {
        Self {
            orders: orders.into_iter().collect(),
            ..self
        }
    }

    /// With so many loop iterations for an invocation.
    #[must_use]
    pub fn loop_budget(self, loop_budget: u64) -> Self {
        Self {
            loop_budget,
            ..self
        }
    }

    /// With floats rounded so.
    #[must_use]
    pub fn rounding(self, rounding: Rounding) -> Self {
        Self { rounding, ..self }
    }

    /// With comparisons with NaN that come out so.
    #[must_use]
    pub fn nan_comparisons(self, nan_comparisons: NanComparisons) -> Self {
        Self {
            nan_comparisons,
            ..self
        }
    }
}
