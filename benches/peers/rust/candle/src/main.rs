//! Runs the jobs with candle. Uses its tensors with automatic differentiation, and its `SGD` and `AdamW`.

#[path = "../../common.rs"]
mod common;

use std::time::Instant;

use candle_core::{Device, Tensor, Var};
use candle_nn::{loss::cross_entropy, AdamW, Optimizer, ParamsAdamW, SGD};
use common::{Args, Data, Result, Rng, ADAM_RATE, BETA, CHUNK, EPSILON, RATE, SIDE};

/// Test images per evaluated batch. It is small, because the outputs of the convolution take much more memory than the
/// images.
const EVALUATED: usize = 1000;

fn main() -> Result<()> {
    let args = Args::parse("cpu")?;
    let (device, name) = match args.device.as_str() {
        "cuda" => (Device::new_cuda(0)?, "candle-cuda"),
        _ => (Device::Cpu, "candle"),
    };
    if args.job == 3 {
        return common::matmuls(name, &args.shapes, |m, k, n| multiplier(m, k, n, &device));
    }
    let [train, test] = args.load()?;
    let x = upload(&train, &device)?;
    let labels: Vec<u32> = train.labels.iter().map(|&label| label.into()).collect();
    let labels = Tensor::from_vec(labels, train.rows, &device)?;

    let started = Instant::now();
    let warm_up = Network::new(&args, train.width, &device)?;
    run(&args, &warm_up, &x, &labels, args.warmup_steps())?;
    if args.is_convolutional() {
        run_forward(&args, &warm_up, &x, &labels, args.warmup_steps())?;
    }
    let warmup_s = started.elapsed().as_secs_f64();
    let network = Network::new(&args, train.width, &device)?;
    device.synchronize()?;
    let started = Instant::now();
    let loss = run(&args, &network, &x, &labels, args.steps)?;
    let train_s = started.elapsed().as_secs_f64();
    let mut forward_s = None;
    if args.is_convolutional() {
        let started = Instant::now();
        run_forward(&args, &network, &x, &labels, args.steps)?;
        forward_s = Some(started.elapsed().as_secs_f64());
    }

    let test_x = upload(&test, &device)?;
    let mut predicted = Vec::new();
    for first in (0..test.rows).step_by(EVALUATED) {
        let rows = test_x.narrow(0, first, EVALUATED.min(test.rows - first))?;
        predicted.extend(network.forward(&rows)?.argmax(1)?.to_vec1::<u32>()?);
    }
    let accuracy = test.accuracy(predicted.into_iter().map(|class| class as usize));
    args.report(name, train_s, warmup_s, accuracy, loss, forward_s)
}

fn upload(data: &Data, device: &Device) -> Result<Tensor> {
    Ok(Tensor::from_slice(
        &data.x,
        (data.rows, data.width),
        device,
    )?)
}

/// Filters and biases of the convolution, if there is one; then weights and biases of each dense layer.
struct Network {
    filters: Option<(Var, Var)>,
    dense: Vec<(Var, Var)>,
}

impl Network {
    fn new(args: &Args, inputs: usize, device: &Device) -> Result<Self> {
        let mut filters = None;
        if args.is_convolutional() {
            let (shape, weights) = args.initial_filters();
            let w = Var::from_vec(weights, &shape[..], device)?;
            filters = Some((w, Var::from_vec(vec![0f32; shape[0]], shape[0], device)?));
        }
        let mut dense = Vec::new();
        for (rows, columns, weights) in args.initial(inputs) {
            let w = Var::from_vec(weights, (rows, columns), device)?;
            dense.push((w, Var::from_vec(vec![0f32; columns], columns, device)?));
        }
        Ok(Self { filters, dense })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut y = x.clone();
        if let Some((w, b)) = &self.filters {
            let images = y.reshape(((), 1, SIDE, SIDE))?;
            let convolved = images.conv2d(w, 0, 1, 1, 1)?;
            let convolved = convolved
                .broadcast_add(&b.reshape((1, (), 1, 1))?)?
                .relu()?;
            y = convolved.max_pool2d(2)?.flatten_from(1)?;
        }
        for (i, (w, b)) in self.dense.iter().enumerate() {
            y = y.matmul(w)?.broadcast_add(b)?;
            if i + 1 < self.dense.len() {
                y = y.relu()?;
            }
        }
        Ok(y)
    }

    fn variables(&self) -> Vec<Var> {
        let layers = self.filters.iter().chain(&self.dense);
        layers.flat_map(|(w, b)| [w.clone(), b.clone()]).collect()
    }
}

/// Trains the network. Returns the mean loss of the last steps (at most `CHUNK`).
fn run(args: &Args, network: &Network, x: &Tensor, labels: &Tensor, steps: usize) -> Result<f64> {
    let variables = network.variables();
    if args.is_convolutional() {
        let settings = ParamsAdamW {
            lr: ADAM_RATE,
            beta1: BETA[0],
            beta2: BETA[1],
            eps: EPSILON,
            weight_decay: 0.0,
        };
        let mut optimizer = AdamW::new(variables, settings)?;
        return losses(args, network, x, labels, steps, |loss| {
            optimizer.backward_step(loss)
        });
    }
    let mut optimizer = SGD::new(variables, RATE)?;
    losses(args, network, x, labels, steps, |loss| {
        optimizer.backward_step(loss)
    })
}

/// Computes only the forward pass and the loss of each step. Returns the mean loss of the last steps.
fn run_forward(
    args: &Args,
    network: &Network,
    x: &Tensor,
    labels: &Tensor,
    steps: usize,
) -> Result<f64> {
    losses(args, network, x, labels, steps, |_| Ok(()))
}

/// Computes the loss of each minibatch and calls `update` with it. Returns the mean loss of the last steps, and reads
/// the losses back only once per `CHUNK` steps.
fn losses(
    args: &Args,
    network: &Network,
    x: &Tensor,
    labels: &Tensor,
    steps: usize,
    mut update: impl FnMut(&Tensor) -> candle_core::Result<()>,
) -> Result<f64> {
    let batch = args.batch();
    let indices = Tensor::from_vec(args.indices(steps, x.dim(0)?), (steps, batch), x.device())?;
    let mut losses = Vec::new();
    let mut mean = f64::NAN;
    for step in 0..steps {
        let indices = indices.get(step)?;
        let rows = x.index_select(&indices, 0)?;
        let label = labels.index_select(&indices, 0)?;
        let loss = cross_entropy(&network.forward(&rows)?, &label)?;
        update(&loss)?;
        losses.push(loss.detach());
        if losses.len() == CHUNK || step + 1 == steps {
            mean = Tensor::stack(&losses, 0)?
                .mean_all()?
                .to_scalar::<f32>()?
                .into();
            losses.clear();
        }
    }
    Ok(mean)
}

fn multiplier(
    m: usize,
    k: usize,
    n: usize,
    device: &Device,
) -> Result<impl FnMut(usize) -> Result<()>> {
    let mut rng = Rng(42);
    let a = Tensor::from_vec(rng.normals(m * k), (m, k), device)?;
    let b = Tensor::from_vec(rng.normals(k * n), (k, n), device)?;
    let device = device.clone();
    Ok(move |count| {
        for _ in 0..count {
            std::hint::black_box(a.matmul(&b)?);
        }
        Ok(device.synchronize()?)
    })
}
