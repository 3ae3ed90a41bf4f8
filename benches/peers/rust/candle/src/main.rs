//! candle: tensors with automatic differentiation, its own SGD.

#[path = "../../common.rs"]
mod common;

use std::time::Instant;

use candle_core::{Device, Tensor, Var};
use candle_nn::{loss::cross_entropy, Optimizer, SGD};
use common::{Args, Data, Result, Rng, CHUNK, RATE};

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
    run(
        &args,
        &Network::new(&args, train.width, &device)?,
        &x,
        &labels,
        args.warmup_steps(),
    )?;
    let warmup_s = started.elapsed().as_secs_f64();
    let network = Network::new(&args, train.width, &device)?;
    device.synchronize()?;
    let started = Instant::now();
    let loss = run(&args, &network, &x, &labels, args.steps)?;
    let train_s = started.elapsed().as_secs_f64();

    let predicted = network.forward(&upload(&test, &device)?)?.argmax(1)?;
    let predicted = predicted.to_vec1::<u32>()?.into_iter();
    let accuracy = test.accuracy(predicted.map(|class| class as usize));
    args.report(name, train_s, warmup_s, accuracy, loss)
}

fn upload(data: &Data, device: &Device) -> Result<Tensor> {
    Ok(Tensor::from_slice(
        &data.x,
        (data.rows, data.width),
        device,
    )?)
}

/// Weights and biases, layer after layer.
struct Network(Vec<(Var, Var)>);

impl Network {
    fn new(args: &Args, inputs: usize, device: &Device) -> Result<Self> {
        let mut layers = Vec::new();
        for (rows, columns, weights) in args.initial(inputs) {
            let w = Var::from_vec(weights, (rows, columns), device)?;
            layers.push((w, Var::from_vec(vec![0f32; columns], columns, device)?));
        }
        Ok(Self(layers))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut y = x.clone();
        for (i, (w, b)) in self.0.iter().enumerate() {
            y = y.matmul(w)?.broadcast_add(b)?;
            if i + 1 < self.0.len() {
                y = y.relu()?;
            }
        }
        Ok(y)
    }

    fn variables(&self) -> Vec<Var> {
        self.0
            .iter()
            .flat_map(|(w, b)| [w.clone(), b.clone()])
            .collect()
    }
}

/// The mean loss of the last steps.
fn run(args: &Args, network: &Network, x: &Tensor, labels: &Tensor, steps: usize) -> Result<f64> {
    let batch = args.batch();
    let indices = Tensor::from_vec(args.indices(steps, x.dim(0)?), (steps, batch), x.device())?;
    let mut optimizer = SGD::new(network.variables(), RATE)?;
    let (mut losses, mut mean) = (Vec::new(), f64::NAN);
    for step in 0..steps {
        let indices = indices.get(step)?;
        let (rows, label) = (
            x.index_select(&indices, 0)?,
            labels.index_select(&indices, 0)?,
        );
        let loss = cross_entropy(&network.forward(&rows)?, &label)?;
        optimizer.backward_step(&loss)?;
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
