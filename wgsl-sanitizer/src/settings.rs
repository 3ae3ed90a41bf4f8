//! What is run, and how.

use std::fmt::{self, Display, Formatter};
use std::ops::Range;

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
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            zero_workgroup_memory: true,
            orders: vec![Order::Forward, Order::Backward, Order::Random(0)],
            loop_budget: 1_000_000,
            rounding: Rounding::Nearest,
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
}
