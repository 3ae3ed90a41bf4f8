//! Measures how fast a layer multiplies matrices: `y = x·w + b` on random numbers. The result is checked against `f64`
//! before the measurement.
//!
//! ```text
//! cargo run --release --example matmul
//! cargo run --release --example matmul -- --device cpu --shapes 256x256x256 100x784x50
//! cargo run --release --example matmul -- --shapes 2048x2048x2048 --variants tiles medium large
//! ```
//!
//! Prints one line per shape, with `key=value` pairs separated by spaces:
//!
//! ```text
//! device=… variant=… shape=MxKxN gflops=… ms=… repeats=…
//! ```
//!
//! `x` has M rows and K columns, and `w` has K rows and N columns. `variant` names the GPU kernel. `ms` is the time per
//! product in milliseconds, the median of the repeats. Each repeat computes as many products as take at least 50 ms. On
//! a GPU, a repeat ends when its last product is done.

#[path = "common/output.rs"]
mod output;

use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rand_distr::{Distribution as _, StandardNormal};
use wgrad::kernel::Element;
use wgrad::ndarray::Array2;
use wgrad::plan::{Plan, Recorder};
use wgrad::plumbing::Variant;
use wgrad::reference::{self, Layer as _};
use wgrad::tensor::Tensor;
use wgrad::{Error, Gpu};

use output::{Failure, line};

/// Minimum duration of a repeat. It is long compared with the clock's resolution and the cost of a submit.
const REPEAT: Duration = Duration::from_millis(50);
/// Maximum number of products per submit.
const SUBMIT: usize = 1000;
/// Approximate number of elements of each result that are compared with sums in `f64`.
const CHECKED: usize = 200;

/// Measures the matrix products of a linear layer.
#[derive(Debug, Parser)]
#[command(name = "matmul", version)]
struct Args {
    /// Device: any Vulkan, Metal or DX12 adapter, or the CPU with ndarray
    #[arg(long, value_enum, default_value_t = DeviceChoice::Gpu)]
    device: DeviceChoice,

    /// Shapes: rows of the left matrix, its columns, columns of the right matrix
    #[arg(long, value_name = "MxKxN", num_args = 1..,
          default_values = ["256x256x256", "512x512x512", "1024x1024x1024", "100x784x50", "784x100x50"])]
    shapes: Vec<Shape>,

    /// GPU kernels to measure: tiles, deep, medium, large, registers [default: the layer's choice]
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = variant)]
    variants: Vec<Variant>,

    /// Number of repeats; their median is reported
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    repeats: u16,

    /// Seed of the random numbers
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

impl Args {
    /// Returns the variants to measure. `None` stands for the variant that the layer chooses for the shape.
    fn variants(&self) -> Vec<Option<Variant>> {
        match &self.variants[..] {
            [] => vec![None],
            named => named.iter().copied().map(Some).collect(),
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DeviceChoice {
    Gpu,
    Cpu,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    m: usize,
    k: usize,
    n: usize,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sizes: Result<Vec<u16>, _> = text.split('x').map(str::parse).collect();
        match sizes.as_deref() {
            Ok(&[m, k, n]) if m.min(k).min(n) > 0 => Ok(Self {
                m: m.into(),
                k: k.into(),
                n: n.into(),
            }),
            _ => Err("expected three sizes of 1 to 65535 such as 100x784x50".to_owned()),
        }
    }
}

fn variant(name: &str) -> Result<Variant, String> {
    let mut all = Variant::OF_FLOATS.into_iter();
    all.find(|variant| format!("{variant:?}").eq_ignore_ascii_case(name))
        .ok_or_else(|| {
            format!(
                "expected one of {:?}, in upper or lower case",
                Variant::OF_FLOATS
            )
        })
}

fn main() -> ExitCode {
    let args = Args::parse();
    output::run(|| measure(&args))
}

fn measure(args: &Args) -> Result<(), Failure> {
    let gpu = match args.device {
        DeviceChoice::Gpu => Some(Gpu::new()?),
        DeviceChoice::Cpu if args.variants.is_empty() => None,
        DeviceChoice::Cpu => {
            let message = "--variants names GPU kernels; leave out --device cpu";
            return Err(Failure::Message(message.to_owned()));
        }
    };
    for &shape in &args.shapes {
        let operands = Operands::random(shape, args.seed);
        let Some(gpu) = &gpu else {
            let mut product = OnCpu::new(&operands);
            report(args, shape, "device=cpu", &operands, &mut product)?;
            continue;
        };
        for variant in args.variants() {
            let mut product = OnGpu::new(gpu, &operands, variant)?;
            let what = product.description();
            report(args, shape, &what, &operands, &mut product)?;
        }
    }
    Ok(())
}

/// Computes a product, checks the result, measures the time, and prints a line of results.
fn report(
    args: &Args,
    Shape { m, k, n }: Shape,
    what: &str,
    operands: &Operands,
    product: &mut dyn Product,
) -> Result<(), Failure> {
    product.compute(1)?;
    operands.check(&product.result()?)?;
    let seconds = median_seconds(product, args.repeats)?;
    line(format!(
        "{what} shape={m}x{k}x{n} gflops={:.1} ms={:.4} repeats={}",
        2e-9 * (m * k * n) as f64 / seconds,
        1e3 * seconds,
        args.repeats
    ))
}

fn median_seconds(product: &mut dyn Product, repeats: u16) -> Result<f64, Error> {
    let mut take = |count: usize| {
        let started = Instant::now();
        product.compute(count)?;
        Ok::<_, Error>(started.elapsed())
    };
    let mut count = 1;
    while take(count)? < REPEAT {
        count *= 2;
    }
    let mut seconds = Vec::new();
    for _ in 0..repeats {
        seconds.push(take(count)?.as_secs_f64() / count as f64);
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}

/// Random operands. They are not zero, because a processor needs less power to multiply zeros and might run faster.
struct Operands {
    x: Array2<f32>,
    parameters: [Array2<f32>; 2],
}

impl Operands {
    fn random(shape: Shape, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut matrix = |shape: [usize; 2]| {
            Array2::from_shape_simple_fn(shape, || StandardNormal.sample(&mut rng))
        };
        let Shape { m, k, n } = shape;
        Self {
            x: matrix([m, k]),
            parameters: [matrix([k, n]), matrix([1, n])],
        }
    }

    fn output_shape(&self) -> [usize; 2] {
        [self.x.nrows(), self.parameters[0].ncols()]
    }

    /// Compares some elements, spread evenly over `y`, with sums in `f64`.
    fn check(&self, y: &[f32]) -> Result<(), Failure> {
        let [w, b] = &self.parameters;
        let columns = w.ncols();
        let stride = (y.len() / CHECKED).max(1) | 1;
        for at in (0..y.len()).step_by(stride).chain([y.len() - 1]) {
            let row = at / columns;
            let column = at % columns;
            let products = self.x.row(row).into_iter().zip(w.column(column));
            let terms = products.map(|(&x, &w)| f64::from(x) * f64::from(w));
            let terms = terms.chain([f64::from(b[[0, column]])]);
            let (sum, absolute) = terms.fold((0.0, 0.0), |(sum, absolute), term| {
                (sum + term, absolute + term.abs())
            });
            // Upper bound on the rounding error of a sum in `f32`, for any order of summation.
            let tolerance = (w.nrows() + 2) as f64 * f64::from(f32::EPSILON) * absolute;
            let difference = (f64::from(y[at]) - sum).abs();
            // A NaN difference must fail, so test for `<=` and not for its opposite.
            let is_right = difference <= tolerance;
            if !is_right {
                return Err(Failure::Message(format!(
                    "row {row}, column {column} is {}, but {sum:.6} in f64: the kernel or the \
                     driver is wrong; update the driver",
                    y[at]
                )));
            }
        }
        Ok(())
    }
}

/// A product that can be computed repeatedly.
trait Product {
    /// Computes the product `count` times and waits for the last one.
    fn compute(&mut self, count: usize) -> Result<(), Error>;

    fn result(&self) -> Result<Vec<f32>, Error>;
}

struct OnGpu<'a> {
    gpu: &'a Gpu,
    variant: Variant,
    plan: Plan,
    y: Tensor,
}

impl<'a> OnGpu<'a> {
    /// Without a variant, uses the variant that the layer chooses for this shape.
    fn new(gpu: &'a Gpu, operands: &Operands, variant: Option<Variant>) -> Result<Self, Error> {
        let upload = |label: &str, matrix: &Array2<f32>| {
            let shape = [matrix.nrows(), matrix.ncols()];
            let tensor = Tensor::zeros(gpu, label, shape, Element::F32)?;
            let values: Vec<f32> = matrix.iter().copied().collect();
            gpu.write(&tensor, &values)?;
            Ok::<_, Error>(tensor)
        };
        let x = upload("x", &operands.x)?;
        let [w, b] = &operands.parameters;
        let parameters = [upload("w", w)?, upload("b", b)?];
        let y = Tensor::zeros(gpu, "y", operands.output_shape(), Element::F32)?;
        let chosen = Variant::choose(gpu, &x, y.dims(), x.columns());
        let variant = variant.unwrap_or(chosen);
        let mut recorder = Recorder::new(gpu);
        variant.forward(&mut recorder, &x, &parameters, &y);
        let plan = recorder.finish()?;
        Ok(Self {
            gpu,
            variant,
            plan,
            y,
        })
    }

    fn description(&self) -> String {
        let words: Vec<_> = self.gpu.info().name.split_whitespace().collect();
        format!("device={} variant={:?}", words.join("_"), self.variant)
    }
}

impl Product for OnGpu<'_> {
    fn compute(&mut self, count: usize) -> Result<(), Error> {
        // Split the products into submits of at most SUBMIT dispatches, because each dispatch costs more in a larger
        // submit. At most two submits are in flight.
        let mut before = None;
        for first in (0..count).step_by(SUBMIT) {
            let submission = self.gpu.submit(&self.plan, SUBMIT.min(count - first))?;
            if let Some(before) = before.replace(submission) {
                self.gpu.wait(Some(before))?;
            }
        }
        self.gpu.wait(before)
    }

    fn result(&self) -> Result<Vec<f32>, Error> {
        self.gpu.read(&self.y)
    }
}

struct OnCpu<'a> {
    operands: &'a Operands,
    inputs: wgrad::Shape,
    y: Array2<f32>,
}

impl<'a> OnCpu<'a> {
    fn new(operands: &'a Operands) -> Self {
        Self {
            operands,
            inputs: operands.x.ncols().into(),
            y: Array2::zeros(operands.output_shape()),
        }
    }
}

impl Product for OnCpu<'_> {
    fn compute(&mut self, count: usize) -> Result<(), Error> {
        for _ in 0..count {
            let Operands { x, parameters } = self.operands;
            let x = (x.view(), self.inputs);
            let mode = reference::Mode::Evaluation;
            let pass = reference::Forward::new(x, parameters, self.y.view_mut(), mode);
            reference::Linear.forward(pass);
        }
        Ok(())
    }

    fn result(&self) -> Result<Vec<f32>, Error> {
        Ok(self.y.iter().copied().collect())
    }
}
