//! burn: tensors with automatic differentiation; SGD by hand, which spares its module machinery.

#[path = "../../common.rs"]
mod common;

use std::time::Instant;

use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{Args, Data, Result, Rng, CHUNK, RATE};

fn main() -> Result<()> {
    let args = Args::parse("flex")?;
    let device = open(&args.device)?;
    let name = format!("burn-{}", args.device);
    if args.job == 3 {
        return common::matmuls(&name, &args.shapes, |m, k, n| {
            Ok(multiplier(m, k, n, &device))
        });
    }
    let [train, test] = args.load()?;
    let examples = Examples::new(&args, train, &device);

    let started = Instant::now();
    let inputs = examples.data.width;
    run(
        &args,
        Network::new(&args, inputs, &device),
        &examples,
        args.warmup_steps(),
    )?;
    let warmup_s = started.elapsed().as_secs_f64();
    let network = Network::new(&args, inputs, &device);
    device.sync()?;
    let started = Instant::now();
    let (network, loss) = run(&args, network, &examples, args.steps)?;
    let train_s = started.elapsed().as_secs_f64();

    let logits = network.forward(upload(&test, &device)).inner();
    let predicted = logits.argmax(1).into_data_as::<i64>().try_to_vec::<i64>()?;
    let accuracy = test.accuracy(predicted.into_iter().map(|class| class as usize));
    args.report(&name, train_s, warmup_s, accuracy, loss)
}

fn open(name: &str) -> Result<Device> {
    Ok(match name {
        #[cfg(feature = "flex")]
        "flex" => Device::flex(),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::wgpu(Default::default()),
        #[cfg(feature = "vulkan")]
        "vulkan" => Device::vulkan(Default::default()),
        #[cfg(feature = "cuda")]
        "cuda" => Device::cuda(0),
        _ => return Err(format!("this build has no backend {name}").into()),
    })
}

fn upload(data: &Data, device: &Device) -> Tensor<2> {
    Tensor::from_data(
        TensorData::new(data.x.clone(), [data.rows, data.width]),
        device,
    )
}

struct Examples {
    data: Data,
    labels: Tensor<1, Int>,
    /// Absent where minibatches are gathered on the host.
    x: Option<Tensor<2>>,
}

impl Examples {
    fn new(args: &Args, data: Data, device: &Device) -> Self {
        let labels: Vec<i32> = data.labels.iter().map(|&label| label.into()).collect();
        Self {
            labels: Tensor::from_data(TensorData::new(labels, [data.rows]), device),
            x: (!args.host_rows).then(|| upload(&data, device)),
            data,
        }
    }

    /// The same indices, on the host and on the device.
    fn minibatch(&self, chosen: &[u32], indices: Tensor<1, Int>) -> (Tensor<2>, Tensor<1, Int>) {
        let rows = match &self.x {
            Some(x) => x.clone().select(0, indices.clone()),
            None => {
                let width = self.data.width;
                let row = |&index: &u32| &self.data.x[index as usize * width..][..width];
                let values: Vec<f32> = chosen.iter().flat_map(row).copied().collect();
                let values = TensorData::new(values, [chosen.len(), width]);
                Tensor::from_data(values, &self.labels.device())
            }
        };
        (rows, self.labels.clone().select(0, indices))
    }
}

/// Weights and biases, layer after layer.
struct Network(Vec<(Tensor<2>, Tensor<2>)>);

impl Network {
    fn new(args: &Args, inputs: usize, device: &Device) -> Self {
        let layer = |(rows, columns, weights)| {
            let w = Tensor::from_data(TensorData::new(weights, [rows, columns]), device);
            let b = Tensor::zeros([1, columns], device);
            (w.autodiff().require_grad(), b.autodiff().require_grad())
        };
        Self(args.initial(inputs).into_iter().map(layer).collect())
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let mut y = x;
        for (i, (w, b)) in self.0.iter().enumerate() {
            y = y.matmul(w.clone()) + b.clone();
            if i + 1 < self.0.len() {
                y = relu(y);
            }
        }
        y
    }

    fn step(self, x: Tensor<2>, labels: Tensor<1, Int>) -> (Self, Tensor<1>) {
        let log_p = log_softmax(self.forward(x), 1);
        let loss = log_p.gather(1, labels.unsqueeze_dim(1)).mean().neg();
        let mut gradients = loss.backward();
        let mut update = |p: Tensor<2>| {
            let gradient = p.grad_remove(&mut gradients);
            let gradient = gradient.expect("every parameter has a gradient");
            (p.inner() - gradient * RATE).autodiff().require_grad()
        };
        let layers = self.0.into_iter().map(|(w, b)| (update(w), update(b)));
        (Self(layers.collect()), loss.inner())
    }
}

/// The trained network and the mean loss of the last steps.
fn run(
    args: &Args,
    mut network: Network,
    examples: &Examples,
    steps: usize,
) -> Result<(Network, f64)> {
    let batch = args.batch();
    let chosen = args.indices(steps, examples.data.rows);
    let indices: Vec<i32> = chosen.iter().map(|&index| index as i32).collect();
    let data = TensorData::new(indices, [steps * batch]);
    let indices = Tensor::<1, Int>::from_data(data, &examples.labels.device());
    let (mut sum, mut mean) = (None::<Tensor<1>>, f64::NAN);
    for step in 0..steps {
        let range = step * batch..(step + 1) * batch;
        let on_device = indices.clone().slice([range.clone()]);
        let (rows, label) = examples.minibatch(&chosen[range], on_device);
        let loss;
        (network, loss) = network.step(rows, label);
        sum = Some(match sum {
            Some(sum) => sum + loss,
            None => loss,
        });
        let taken = step % CHUNK + 1;
        if taken == CHUNK || step + 1 == steps {
            let total: f32 = sum.take().map_or(f32::NAN, Tensor::into_scalar);
            mean = f64::from(total) / taken as f64;
        }
    }
    Ok((network, mean))
}

fn multiplier(m: usize, k: usize, n: usize, device: &Device) -> impl FnMut(usize) -> Result<()> {
    let mut rng = Rng(42);
    let a = Tensor::<2>::from_data(TensorData::new(rng.normals(m * k), [m, k]), device);
    let b = Tensor::<2>::from_data(TensorData::new(rng.normals(k * n), [k, n]), device);
    let device = device.clone();
    move |count| {
        for _ in 0..count {
            std::hint::black_box(a.clone().matmul(b.clone()));
        }
        Ok(device.sync()?)
    }
}
