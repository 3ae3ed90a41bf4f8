//! Runs the jobs with burn. Uses its tensors with automatic differentiation. SGD and Adam are written by hand, so that
//! the network need not be one of burn's modules.

#[path = "../../common.rs"]
mod common;

use std::time::Instant;

use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use common::{Args, Data, Result, Rng, ADAM_RATE, BETA, CHUNK, EPSILON, RATE, SIDE};

/// Test images per evaluated batch. It is small, because the outputs of the convolution take much more memory than the
/// images.
const EVALUATED: usize = 100;

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
    let warm_up = Network::new(&args, inputs, &device);
    let (warm_up, _) = run(&args, warm_up, &examples, args.warmup_steps())?;
    if args.is_convolutional() {
        run_forward(&args, &warm_up, &examples, args.warmup_steps())?;
    }
    let warmup_s = started.elapsed().as_secs_f64();
    let network = Network::new(&args, inputs, &device);
    device.sync()?;
    let started = Instant::now();
    let (network, loss) = run(&args, network, &examples, args.steps)?;
    let train_s = started.elapsed().as_secs_f64();
    let mut forward_s = None;
    if args.is_convolutional() {
        let started = Instant::now();
        run_forward(&args, &network, &examples, args.steps)?;
        forward_s = Some(started.elapsed().as_secs_f64());
    }

    let accuracy = test.accuracy(network.classes(&test, &device)?.into_iter());
    args.report(&name, train_s, warmup_s, accuracy, loss, forward_s)
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
    /// The images in device memory, (rows, pixels). `None` if minibatches are gathered on the host.
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

    /// Returns images and labels of a minibatch. `chosen` and `indices` are the same indices, on the host and on the
    /// device.
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

/// A parameter, and Adam's moments of its gradients (`None` for SGD).
struct Parameter<const D: usize> {
    value: Tensor<D>,
    moments: Option<[Tensor<D>; 2]>,
}

impl<const D: usize> Parameter<D> {
    fn new(args: &Args, value: Tensor<D>) -> Self {
        let zeros = || value.zeros_like();
        Self {
            moments: args.is_convolutional().then(|| [zeros(), zeros()]),
            value: value.autodiff().require_grad(),
        }
    }

    /// Returns the parameter after step `taken`, counted from 1.
    fn updated(self, gradients: &mut Gradients, taken: i32) -> Self {
        let gradient = self.value.grad_remove(gradients);
        let gradient = gradient.expect("every parameter has a gradient");
        let mut moments = None;
        let change = match self.moments {
            None => gradient * RATE,
            Some([m, v]) => {
                let m = m * BETA[0] + gradient.clone() * (1.0 - BETA[0]);
                let v = v * BETA[1] + gradient.clone() * gradient * (1.0 - BETA[1]);
                moments = Some([m.clone(), v.clone()]);
                // Both bias corrections are folded into two scalars, which saves passes over the tensors.
                let root = (1.0 - BETA[1].powi(taken)).sqrt();
                let rate = ADAM_RATE * root / (1.0 - BETA[0].powi(taken));
                m / (v.sqrt() + EPSILON * root) * rate
            }
        };
        Self {
            value: (self.value.inner() - change).autodiff().require_grad(),
            moments,
        }
    }
}

/// Filters and biases of the convolution, if there is one; then weights and biases of each dense layer.
struct Network {
    filters: Option<(Parameter<4>, Parameter<1>)>,
    dense: Vec<(Parameter<2>, Parameter<2>)>,
    taken: i32,
}

impl Network {
    fn new(args: &Args, inputs: usize, device: &Device) -> Self {
        let layer = |(rows, columns, weights)| {
            let w = Tensor::from_data(TensorData::new(weights, [rows, columns]), device);
            let b = Tensor::zeros([1, columns], device);
            (Parameter::new(args, w), Parameter::new(args, b))
        };
        let convolution = || {
            let (shape, weights) = args.initial_filters();
            let w = Tensor::from_data(TensorData::new(weights, shape), device);
            let b = Tensor::zeros([shape[0]], device);
            (Parameter::new(args, w), Parameter::new(args, b))
        };
        Self {
            filters: args.is_convolutional().then(convolution),
            dense: args.initial(inputs).into_iter().map(layer).collect(),
            taken: 0,
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let mut y = x;
        if let Some((w, b)) = &self.filters {
            let images = y.reshape([-1, 1, SIDE as i32, SIDE as i32]);
            let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
            let w = w.value.clone();
            let b = Some(b.value.clone());
            let convolved = relu(conv2d(images, w, b, options));
            y = max_pool2d(convolved, MaxPoolOptions::new([2, 2])).flatten(1, 3);
        }
        for (i, (w, b)) in self.dense.iter().enumerate() {
            y = y.matmul(w.value.clone()) + b.value.clone();
            if i + 1 < self.dense.len() {
                y = relu(y);
            }
        }
        y
    }

    fn loss(&self, x: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let log_p = log_softmax(self.forward(x), 1);
        log_p.gather(1, labels.unsqueeze_dim(1)).mean().neg()
    }

    fn step(self, x: Tensor<2>, labels: Tensor<1, Int>) -> (Self, Tensor<1>) {
        let loss = self.loss(x, labels);
        let mut gradients = loss.backward();
        let found = &mut gradients;
        let taken = self.taken + 1;
        let filters = self.filters;
        let filters = filters.map(|(w, b)| (w.updated(found, taken), b.updated(found, taken)));
        let dense = self.dense.into_iter();
        let dense = dense.map(|(w, b)| (w.updated(found, taken), b.updated(found, taken)));
        let updated = Self {
            filters,
            dense: dense.collect(),
            taken,
        };
        (updated, loss.inner())
    }

    fn classes(&self, data: &Data, device: &Device) -> Result<Vec<usize>> {
        let mut found = Vec::new();
        for rows in data.x.chunks(EVALUATED * data.width) {
            let shape = [rows.len() / data.width, data.width];
            let x = Tensor::from_data(TensorData::new(rows.to_vec(), shape), device);
            let logits = self.forward(x).inner();
            let classes = logits.argmax(1).into_data_as::<i64>().try_to_vec::<i64>()?;
            found.extend(classes.into_iter().map(|class| class as usize));
        }
        Ok(found)
    }
}

/// Trains the network. Returns it, and the mean loss of the last steps (at most `CHUNK`).
fn run(args: &Args, network: Network, examples: &Examples, steps: usize) -> Result<(Network, f64)> {
    // `None` only during a step, which takes the network by value.
    let mut network = Some(network);
    let mean = losses(args, examples, steps, |rows, label| {
        let (updated, loss) = network.take().expect("a network").step(rows, label);
        network = Some(updated);
        loss
    })?;
    Ok((network.expect("a network"), mean))
}

/// Computes only the forward pass and the loss of each step. Returns the mean loss of the last steps.
fn run_forward(args: &Args, network: &Network, examples: &Examples, steps: usize) -> Result<f64> {
    losses(args, examples, steps, |rows, label| {
        network.loss(rows, label).inner()
    })
}

/// Calls `step` for each minibatch; `step` returns the minibatch's loss. Returns the mean loss of the last steps, and
/// reads the losses back only once per `CHUNK` steps.
fn losses(
    args: &Args,
    examples: &Examples,
    steps: usize,
    mut step: impl FnMut(Tensor<2>, Tensor<1, Int>) -> Tensor<1>,
) -> Result<f64> {
    let batch = args.batch();
    let chosen = args.indices(steps, examples.data.rows);
    let indices: Vec<i32> = chosen.iter().map(|&index| index as i32).collect();
    let data = TensorData::new(indices, [steps * batch]);
    let indices = Tensor::<1, Int>::from_data(data, &examples.labels.device());
    let (mut sum, mut mean) = (None::<Tensor<1>>, f64::NAN);
    for at in 0..steps {
        let range = at * batch..(at + 1) * batch;
        let on_device = indices.clone().slice([range.clone()]);
        let (rows, label) = examples.minibatch(&chosen[range], on_device);
        let loss = step(rows, label);
        sum = Some(match sum {
            Some(sum) => sum + loss,
            None => loss,
        });
        let taken = at % CHUNK + 1;
        if taken == CHUNK || at + 1 == steps {
            let total: f32 = sum.take().map_or(f32::NAN, Tensor::into_scalar);
            mean = f64::from(total) / taken as f64;
        }
    }
    Ok(mean)
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
