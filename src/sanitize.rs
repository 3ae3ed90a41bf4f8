//! Plans, interpreted: every dispatch checked for data races, barriers that not all reach, accesses out of bounds
//! and reads of unwritten workgroup memory, without a GPU that shows them.
//!
//! A software driver runs the invocations of a workgroup in turns, so that a missing barrier changes nothing there. On a
//! GPU it is a wrong result once in a thousand steps. The interpreter of [`wgsl_sanitizer`] watches every access
//! instead. It starts each dispatch from what the device's tensors hold, binds exactly the elements of each tensor, so that
//! a read of its neighbour in the same buffer is out of bounds, and goes through invocations in several orders. Then
//! the device runs the dispatch, and what it has made is compared.
//!
//! # How far apart device and interpreter may be
//!
//! Integers are the same. For floats both compute the same formula, and may differ by what WGSL grants to each
//! operation, which nobody can derive from a result alone. So the dispatch is interpreted [four times more](RUNS), with every
//! operation off by a random part of what it is granted
//! ([`Rounding::Granted`](wgsl_sanitizer::Rounding::Granted)). An element may be off by
//!
//! - [eight times](SPREAD) what it moved by in the run that moved it most: of four runs, all within an eighth of the
//!   deviation that is usual happens to one element in a hundred thousand, and the next term covers that;
//! - 2⁻²⁰ of the largest magnitude in its tensor, for elements that happened to move little;
//! - the smallest normal number, as devices may take smaller ones for 0.
//!
//! Mistakes are much larger: a term that is left out of a sum is that term.
//!
//! # NaN
//!
//! A device may take a comparison with NaN either way ([`NanComparisons`]). Which way one device takes it says nothing
//! about others: with [`Sanitizer::nan_comparisons`] a plan is interpreted alone, each time with another way.

mod compare;
mod interpret;

use std::fmt;

use wgsl_sanitizer::{Block, Finding, NanComparisons, Order, Report};

use crate::error::Error;
use crate::gpu::Gpu;
use crate::plan::Plan;
pub use compare::Difference;
use interpret::Interpreter;

/// Runs with results that are off by a random part of what WGSL grants.
pub const RUNS: u64 = 4;
/// How much farther than those a device may be.
pub const SPREAD: f64 = 8.0;

/// Checks a plan as [`Sanitizer`] does by default.
///
/// ```
/// use wgrad::kernel::Element;
/// use wgrad::ops::{Forward, Layer, Mode, Relu};
/// use wgrad::plan::Recorder;
/// use wgrad::tensor::Tensor;
/// use wgrad::{Gpu, sanitize};
///
/// let gpu = Gpu::new()?;
/// let [x, y] = ["x", "y"].map(|label| Tensor::zeros(&gpu, label, [3, 7], Element::F32));
/// let (x, y) = (x?, y?);
/// let mut recorder = Recorder::new(&gpu);
/// Relu.forward(&mut recorder, Forward::new(&x, &[], &y, Mode::Evaluation))?;
/// let report = sanitize(&gpu, &recorder.finish()?)?;
/// assert!(report.is_clean(), "{report}");
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// # Errors
/// As [`Sanitizer::run`].
pub fn sanitize(gpu: &Gpu, plan: &Plan) -> Result<SanitizeReport, Error> {
    Sanitizer::default().run(gpu, plan)
}

/// How a plan is checked.
#[derive(Debug, Clone)]
pub struct Sanitizer {
    orders: Vec<Order>,
    files: Vec<(String, String)>,
    is_compared: bool,
    /// Where all is interpreted alone.
    nan_comparisons: Option<NanComparisons>,
}

impl Default for Sanitizer {
    fn default() -> Self {
        Self {
            orders: vec![Order::Forward, Order::Backward, Order::Random(0)],
            files: Vec::new(),
            is_compared: true,
            nan_comparisons: None,
        }
    }
}

impl Sanitizer {
    /// In which orders invocations take their turns. Default: forward, backward, and one at random.
    #[must_use]
    pub fn orders(mut self, orders: impl IntoIterator<Item = Order>) -> Self {
        self.orders = orders.into_iter().collect();
        self
    }

    /// Files that sources are put together from: names and texts. Where a source has the text of one in it, places
    /// are told by that file, and counted in it.
    #[must_use]
    pub fn files(mut self, files: impl IntoIterator<Item = (String, String)>) -> Self {
        self.files = files.into_iter().collect();
        self
    }

    /// Whether what the device makes is compared with what the interpreter makes, which takes
    /// [more runs](RUNS). Default: true.
    #[must_use]
    pub fn compared(mut self, is_compared: bool) -> Self {
        self.is_compared = is_compared;
        self
    }

    fn compares(&self) -> bool {
        self.is_compared && self.nan_comparisons.is_none()
    }

    /// Interprets alone, with comparisons with NaN that come out so: the device runs nothing and nothing is compared;
    /// tensors hold what the interpreter makes. Default: comparisons are IEEE 754's, and the device runs the plan.
    ///
    /// ```
    /// use wgrad::kernel::Element;
    /// use wgrad::ops::{Forward, Layer, Mode, Sigmoid};
    /// use wgrad::plan::Recorder;
    /// use wgrad::tensor::Tensor;
    /// use wgrad::wgsl_sanitizer::NanComparisons;
    /// use wgrad::{Gpu, Sanitizer};
    ///
    /// let gpu = Gpu::new()?;
    /// let [x, y] = ["x", "y"].map(|label| Tensor::zeros(&gpu, label, [1, 2], Element::F32));
    /// let (x, y) = (x?, y?);
    /// gpu.write(&x, &[f32::NAN, 0.0])?;
    /// let mut recorder = Recorder::new(&gpu);
    /// Sigmoid.forward(&mut recorder, Forward::new(&x, &[], &y, Mode::Evaluation))?;
    /// let plan = recorder.finish()?;
    /// for comparisons in NanComparisons::ways(8) {
    ///     let sanitizer = Sanitizer::default().nan_comparisons(comparisons);
    ///     assert!(sanitizer.run(&gpu, &plan)?.is_clean());
    ///     let y = gpu.read::<f32>(&y)?;
    ///     assert!(y[0].is_nan() && y[1] == 0.5);
    /// }
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    #[must_use]
    pub fn nan_comparisons(mut self, nan_comparisons: NanComparisons) -> Self {
        self.nan_comparisons = Some(nan_comparisons);
        self
    }

    /// Interprets all dispatches of a plan, and runs those in which nothing was found on the device. Afterwards tensors
    /// hold what the plan makes of them once, up to the first dispatch with a finding.
    ///
    /// # Errors
    /// [`Error::Sanitize`] when the interpreter does not know something that a kernel does: tensors are then what they
    /// were. [`Error::Setting`] when there is no order; [`Error::OtherGpu`] when the plan is another's; or as
    /// [`Gpu::read`], [`Gpu::write`] and [`Gpu::submit`].
    pub fn run(&self, gpu: &Gpu, plan: &Plan) -> Result<SanitizeReport, Error> {
        plan.check_gpu(gpu)?;
        if self.orders.is_empty() {
            return Err(Error::Setting {
                name: "orders".to_owned(),
                expected: "at least one order of invocations".to_owned(),
                found: "none".to_owned(),
            });
        }
        let mut interpreter = Interpreter::new(self);
        // Nothing is run of what cannot be interpreted to its end.
        let kernels = plan.recorded().map(|recorded| interpreter.kernel(recorded));
        let kernels: Vec<_> = kernels.collect::<Result<_, _>>()?;
        let mut dispatches = Vec::new();
        let all = plan.recorded().zip(plan.singles());
        for ((recorded, single), kernel) in all.zip(&kernels) {
            let before = interpret::contents(gpu, recorded)?;
            let interpreted = interpreter.run(recorded, kernel, &before)?;
            let mut dispatch = Sanitized {
                kernel: recorded.contract.name(),
                blocks: interpreted.blocks,
                report: interpreted.report,
                differences: Vec::new(),
            };
            let is_clean = dispatch.report.is_clean();
            if is_clean && self.nan_comparisons.is_some() {
                interpret::write(gpu, recorded, &interpreted.after)?;
            } else if is_clean {
                gpu.submit(&single, 1)?;
            }
            if is_clean && self.compares() {
                let after = interpret::contents(gpu, recorded)?;
                dispatch.differences =
                    compare::differences(recorded, &after, &interpreted.after, &interpreted.moved);
            }
            dispatches.push(dispatch);
            if !is_clean {
                break;
            }
        }
        Ok(SanitizeReport { dispatches })
    }
}

/// What was found in one dispatch.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Sanitized {
    /// Shader and entry point.
    pub kernel: String,
    /// Its basic blocks, in the order of [`Report::reached`].
    pub blocks: Vec<Block>,
    /// What the interpreter says.
    pub report: Report,
    /// Of each tensor of floats that it writes, the element that comes nearest to its bound; of integers the first that is not
    /// the same.
    pub differences: Vec<Difference>,
}

impl Sanitized {
    /// Whether nothing was found, and the device made what the interpreter did.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.report.is_clean() && self.differences.iter().all(Difference::is_within)
    }
}

/// What was found in a plan; `Display` prints it all.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SanitizeReport {
    /// The dispatches in order, up to the first in which the interpreter found something.
    pub dispatches: Vec<Sanitized>,
}

impl SanitizeReport {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.dispatches.iter().all(Sanitized::is_clean)
    }

    /// Everything that was found, with the kernel that it was found in.
    pub fn findings(&self) -> impl Iterator<Item = (&str, &Finding)> {
        self.dispatches.iter().flat_map(|dispatch| {
            let findings = dispatch.report.findings.iter();
            findings.map(|finding| (&*dispatch.kernel, finding))
        })
    }

    /// Instructions that the interpreter ran.
    #[must_use]
    pub fn operations(&self) -> u64 {
        let operations = self.dispatches.iter();
        operations.map(|dispatch| dispatch.report.operations).sum()
    }
}

impl fmt::Display for SanitizeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for dispatch in &self.dispatches {
            let Sanitized { kernel, report, .. } = dispatch;
            writeln!(f, "{kernel}: {report}")?;
            for difference in &dispatch.differences {
                writeln!(f, "  {difference}")?;
            }
        }
        let verdict = if self.is_clean() {
            "clean"
        } else {
            "not clean"
        };
        write!(
            f,
            "{} dispatches, {} operations: {verdict}",
            self.dispatches.len(),
            self.operations()
        )
    }
}
