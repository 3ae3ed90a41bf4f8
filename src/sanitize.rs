//! Interprets the dispatches of a plan. Checks them for data races, barriers that not all invocations reach, accesses
//! out of bounds, and reads of unwritten workgroup memory, even if such errors have no effect on this device.
//!
//! A software driver runs the invocations of a workgroup one after another, so a missing barrier has no effect there.
//! On a GPU, it may give a wrong result once in a thousand steps. The interpreter of [`wgsl_sanitizer`] therefore
//! tracks every access. Each dispatch starts with the contents of the device's tensors. The interpreter binds exactly
//! the elements of each tensor, so a read from a neighboring tensor of the same buffer is out of bounds. It runs the
//! invocations in several orders. After that, the device runs the dispatch, and the results are compared.
//!
//! # Allowed difference between device and interpreter
//!
//! Integers must be equal. For floats, both compute the same formula and may differ by the error that WGSL allows for
//! each operation. The result does not tell how large that error is. So the dispatch is interpreted [four more
//! times](RUNS), with a random part of the allowed error added to every operation
//! ([`Rounding::WithinAccuracy`](wgsl_sanitizer::Rounding::WithinAccuracy)). An element may be off by the sum of
//!
//! - [eight times](SPREAD) its largest change in these runs. In one element out of a hundred thousand, all four changes
//!   are smaller than an eighth of the usual deviation; the next term covers that case.
//! - 2⁻²⁰ of the largest magnitude in its tensor, for elements that changed little by chance.
//! - the smallest normal number, because devices may treat smaller numbers as 0.
//!
//! Mistakes are much larger: a term that is missing from a sum is an error of its full size.
//!
//! # NaN
//!
//! A device may treat a comparison with NaN as true or as false ([`NanComparisons`]), and another device may do
//! otherwise. With [`Sanitizer::nan_comparisons`], a plan is only interpreted; run the sanitizer once for each
//! behavior.

mod compare;
mod interpret;

use std::fmt;

use wgsl_sanitizer::{Block, Finding, NanComparisons, Order, Report};

use crate::error::Error;
use crate::gpu::Gpu;
use crate::plan::Plan;
pub use compare::Difference;
use interpret::Interpreter;

/// Number of runs in which a random part of the error that WGSL allows is added to every operation.
pub const RUNS: u64 = 4;
/// A device's result may be off by this factor times its largest change in the [`RUNS`] runs.
pub const SPREAD: f64 = 8.0;

/// Checks a plan with the default settings of [`Sanitizer`].
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
/// The errors of [`Sanitizer::run`].
pub fn sanitize(gpu: &Gpu, plan: &Plan) -> Result<SanitizeReport, Error> {
    Sanitizer::default().run(gpu, plan)
}

/// Settings of the sanitizer.
#[derive(Debug, Clone)]
pub struct Sanitizer {
    orders: Vec<Order>,
    files: Vec<(String, String)>,
    is_compared: bool,
    /// If set, plans are only interpreted, and comparisons with NaN behave in this way.
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
    /// Sets the orders in which the invocations run. Default: forward, backward, and one random order.
    #[must_use]
    pub fn orders(mut self, orders: impl IntoIterator<Item = Order>) -> Self {
        self.orders = orders.into_iter().collect();
        self
    }

    /// Sets the names and texts of the files from which sources are assembled. If a source contains the text of a file,
    /// findings in this part are reported with the file's name and line.
    #[must_use]
    pub fn files(mut self, files: impl IntoIterator<Item = (String, String)>) -> Self {
        self.files = files.into_iter().collect();
        self
    }

    /// Sets whether the results of device and interpreter are compared, which takes [more runs](RUNS). Default: true.
    #[must_use]
    pub fn compared(mut self, is_compared: bool) -> Self {
        self.is_compared = is_compared;
        self
    }

    fn compares(&self) -> bool {
        self.is_compared && self.nan_comparisons.is_none()
    }

    /// Only interprets plans, with this behavior of comparisons with NaN. The device runs nothing, and nothing is
    /// compared; the tensors receive the interpreter's results. Default: comparisons follow IEEE 754, and the device
    /// runs the plan.
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

    /// Interprets all dispatches of a plan, and runs those without findings on the device. It stops after the first
    /// dispatch in which the interpreter finds something. That dispatch does not run on the device. Afterwards, the
    /// tensors contain the results of one run of all dispatches before it, or of the whole plan if nothing is found.
    ///
    /// # Errors
    /// - [`Error::Sanitize`] when a kernel contains a construct that the interpreter does not support. No tensor has
    ///   changed then.
    /// - [`Error::Setting`] when the list of orders is empty.
    /// - [`Error::OtherGpu`] when the plan belongs to another device.
    /// - The errors of [`Gpu::read`], [`Gpu::write`] and [`Gpu::submit`].
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
        // All kernels are parsed first: if one cannot be interpreted, no part of the plan must run.
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

/// The findings in one dispatch.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Sanitized {
    /// Name of the kernel: `shader::entry`.
    pub kernel: String,
    /// The kernel's basic blocks, in the order of [`Report::reached`].
    pub blocks: Vec<Block>,
    /// The interpreter's report.
    pub report: Report,
    /// One entry per tensor that the kernel may write: for floats, the element that comes nearest to its bound; for
    /// integers, the first element that differs.
    pub differences: Vec<Difference>,
}

impl Sanitized {
    /// Whether nothing was found and the device's results match the interpreter's.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.report.is_clean() && self.differences.iter().all(Difference::is_within)
    }
}

/// The findings in a plan. `Display` prints all of them.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SanitizeReport {
    /// The dispatches in order, up to the first one in which the interpreter finds something.
    pub dispatches: Vec<Sanitized>,
}

impl SanitizeReport {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.dispatches.iter().all(Sanitized::is_clean)
    }

    /// All findings, each with the name of its kernel.
    pub fn findings(&self) -> impl Iterator<Item = (&str, &Finding)> {
        self.dispatches.iter().flat_map(|dispatch| {
            let findings = dispatch.report.findings.iter();
            findings.map(|finding| (&*dispatch.kernel, finding))
        })
    }

    /// Number of operations that the interpreter ran.
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
