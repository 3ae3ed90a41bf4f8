//! A training step in two dispatches ([`Fusion::Fused`]); `shaders/fused_slices.wgsl` describes the algorithm.

mod cost;
mod kernels;
#[cfg(test)]
mod tests;

use super::{Fusion, Minibatches, Rows, Runner, Steps, Training};
use crate::error::{Error, Unfused};
use crate::kernel::{Element, Kernel};
use crate::network::{Source, Use};
use crate::ops::{
    AdjustedCrossEntropy, Linear, Optimizer, Relu, Sgd, Sigmoid, SoftmaxCrossEntropy, gather,
    sample, to_u32, unwrapped, unwrapped_loss, unwrapped_optimizer,
};
use crate::plan::{Cost, Plan, Recorder, SOFTWARE_ITERATIONS};
use crate::tensor::Tensor;

pub(super) use kernels::{Algorithm, contracts};
use kernels::{Kernels, LayerBlock, Mlp};

/// Maximum number of linear layers: the length of the kernels' arrays.
const MAX_LAYERS: usize = 8;
/// Maximum number of outputs of all layers together: `ROOM` in `shaders/fused_middle.wgsl`.
const MAX_COLUMNS: usize = 1800;
/// Maximum number of rows per workgroup of the kernel `middle`: `MOST_ROWS` in the same shader.
const MAX_GROUP: usize = 32;
/// Maximum number of minibatches that are drawn at once; a power of two.
const MINIBATCHES: usize = 256;
/// Maximum number of examples in the minibatches that are drawn at once.
const MAX_INDICES: usize = 1 << 22;

/// A network whose training step can be fused, with all settings of the kernels.
#[derive(Debug)]
pub(super) struct Network {
    mlp: Mlp,
    algorithm: Algorithm,
    minibatches: usize,
}

impl Network {
    /// Checks that the steps of a training can be fused, and computes the settings of the kernels.
    pub(super) fn new(training: &Training<'_>, algorithm: Algorithm) -> Result<Self, Unfused> {
        let Rows::Minibatches(minibatches) = training.rows else {
            return Err(Unfused::Features);
        };
        let Minibatches {
            resident,
            batch,
            parts,
            ..
        } = minibatches;
        let loss = unwrapped_loss(training.loss);
        if loss.is::<AdjustedCrossEntropy>() {
            return Err(Unfused::AdjustedLoss);
        }
        if !loss.is::<SoftmaxCrossEntropy>() {
            return Err(Unfused::Loss);
        }
        if resident.features().element() == Element::F32 {
            return Err(Unfused::Features);
        }
        let sgd = unwrapped_optimizer(&**training.updater.optimizer()).downcast_ref::<Sgd>();
        let sgd = sgd.filter(|sgd| sgd.is_plain());
        let sgd = sgd.ok_or(Unfused::Optimizer)?;
        let is_averaged = training.updater.average_kept().is_some();
        if !training.updater.groups().is_default() || is_averaged || parts.of_step > 1 {
            return Err(Unfused::Steered);
        }
        if training.model.parameter_arena().blocks().len() != 1 {
            return Err(Unfused::Parameters);
        }
        let kernels = algorithm.kernels();
        kernels.check_limits(training.model.gpu())?;
        let (layer, layers) = layer_blocks(training, kernels)?;
        let last = layer[layers - 1];
        let columns = (last.column + last.outputs) as usize;
        if columns > MAX_COLUMNS {
            return Err(Unfused::Width {
                found: columns,
                most: MAX_COLUMNS,
            });
        }
        let widest = layer.iter().map(|layer| layer.outputs).max().unwrap_or(1) as usize;
        // One row per workgroup has the shortest latency, up to 256 workgroups, about twice the number of
        // multiprocessors of a large GPU. For larger minibatches, a workgroup takes several rows, but so few that at
        // most half of its invocations compute an output of a layer. The number of rows is a power of two, because the
        // kernel uses shifts instead of divisions.
        let group = (128 / widest).min(batch.div_ceil(256));
        let group = group.clamp(1, MAX_GROUP.min(MAX_COLUMNS / columns));
        let group = 1 << group.ilog2();
        let most = (MAX_INDICES / batch).max(2);
        let minibatches = MINIBATCHES.min(1 << most.ilog2());
        let mut network = Self {
            mlp: Mlp {
                rows: to_u32(batch),
                words: to_u32(resident.features().columns()),
                layers: to_u32(layers),
                columns: to_u32(columns),
                group: to_u32(group),
                list_mask: to_u32(minibatches - 1),
                capacity: to_u32(training.history.columns()),
                learning_rate: Optimizer::learning_rate(sgd),
                layer,
            },
            algorithm,
            minibatches,
        };
        let available = training.model.gpu().largest_binding();
        let minibatches = 8 * u64::from(network.mlp.rows) * u64::from(network.mlp.words);
        let needed = minibatches.max(4 * network.scratch_len() as u64);
        if needed > available {
            return Err(Unfused::Scratch { needed, available });
        }
        let costs = [network.cost_of_middle(), network.cost_of_backward()];
        let needed = costs.iter().map(|cost| cost.flops).max().unwrap_or(0);
        let available = training.model.gpu().flops_per_dispatch();
        if needed > available {
            return Err(Unfused::Long { needed, available });
        }
        let needed = costs
            .map(|cost| cost.iterations)
            .into_iter()
            .max()
            .unwrap_or(0);
        let available = SOFTWARE_ITERATIONS;
        if needed > available && training.model.gpu().is_software() {
            return Err(Unfused::Iterations { needed, available });
        }
        let start = to_u32(network.parts_len());
        let layers = &mut network.mlp.layer[..layers];
        layers.iter_mut().for_each(|l| l.start = start + l.column);
        Ok(network)
    }

    /// Number of partial sums of z₁, the first layer's outputs before its activation: one for each combination of a
    /// slice of inputs, a row and an output.
    fn parts_len(&self) -> usize {
        let first = &self.layers()[0];
        let slices = (first.inputs as usize).div_ceil(self.algorithm.kernels().first[0]);
        slices * self.mlp.rows as usize * first.outputs as usize
    }

    /// Returns this network if its fused step is estimated to be faster than layer by layer. Fusing saves dispatches,
    /// but it has two costs: writing and reading the partial sums takes time, and every workgroup of `middle` reads all
    /// weights after the first layer twice, for only a few rows. Each algorithm therefore has a limit on the bytes of
    /// the partial sums, and a limit on the number of weights after the first layer:
    ///
    /// - `Tiles`: 32 MiB and 32,768 weights, an estimate of where fusing no longer helps. Speedups by fusing on an
    ///   H200, with minibatches of 100 rows: 5 for 784→50→10, 4.6 for 784→200→10, 2.8 for 784→128→64→10, and 2.2 for
    ///   784→500→10, 784→1000→10 (19 MiB) and 784→256→64→10 (17,024 weights).
    /// - `Registers`: 4 MiB and 4,096 weights. Speedups on lavapipe: 1.2 for 784→50→10, 1 for 784→200→10, and 0.7 for
    ///   784→100→50→10 (5,500 weights) and 784→500→10.
    /// - `Vectors`: 4 MiB and 4,096 weights. Speedups on SwiftShader on a busy machine: 1.4 for 784→50→10, 1.07 for
    ///   784→200→10, 1 for 784→500→10, and 0.96 for 784→100→50→10.
    pub(super) fn if_faster(self) -> Result<Self, Unfused> {
        let weights = |l: &LayerBlock| u64::from(l.inputs) * u64::from(l.outputs);
        let later: u64 = self.layers()[1..].iter().map(weights).sum();
        let parts = self.parts_bytes();
        let (most_parts, most_later) = match self.algorithm {
            Algorithm::Tiles => (32 << 20, 1 << 15),
            Algorithm::Registers | Algorithm::Vectors => (4 << 20, 1 << 12),
        };
        if parts > most_parts || later > most_later {
            return Err(Unfused::Slower { parts, later });
        }
        Ok(self)
    }

    fn parts_bytes(&self) -> u64 {
        4 * self.parts_len() as u64
    }

    /// Number of elements in the scratch buffer: the partial sums of z₁, the outputs and deltas of all layers, and the
    /// losses, for all rows.
    fn scratch_len(&self) -> usize {
        self.parts_len() + self.mlp.rows as usize * (2 * self.mlp.columns as usize + 1)
    }

    fn layers(&self) -> &[LayerBlock] {
        &self.mlp.layer[..self.mlp.layers as usize]
    }

    /// Allocates the buffers and records the plans.
    pub(super) fn record(&self, training: &Training<'_>) -> Result<Steps, Error> {
        let Rows::Minibatches(minibatches) = training.rows else {
            return Err(Error::Plan(Unfused::Features));
        };
        let Minibatches {
            resident, sampling, ..
        } = minibatches;
        let gpu = training.model.gpu();
        let [rows, words] = [self.mlp.rows as usize, self.mlp.words as usize];
        let zeros = |label, shape, element| Tensor::zeros(gpu, label, shape, element);
        let step_count = training.updater.step_count();
        let Some(parameters) = training.model.parameter_arena().blocks().first() else {
            return Err(Error::Plan(Unfused::Parameters));
        };
        let buffers = Buffers {
            parameters: parameters.clone(),
            list: zeros(
                "indices of minibatches",
                [self.minibatches, rows],
                Element::U32,
            )?,
            labels: zeros(
                "labels of minibatches",
                [self.minibatches, rows],
                Element::U32,
            )?,
            step_count: step_count.clone(),
            bytes: resident.features().clone(),
            scratch: zeros(
                "sums, outputs, deltas",
                [1, self.scratch_len()],
                Element::F32,
            )?,
            minibatch: zeros("next minibatch and this", [2 * rows, words], Element::U32)?,
            history: training.history.clone(),
        };
        let mut refill = Recorder::new(gpu);
        let total = resident.len();
        sample::minibatches(&mut refill, sampling, total, step_count, &buffers.list)?;
        gather::classes(&mut refill, resident, (&buffers.list, 0), &buffers.labels);

        let mut start = Recorder::new(gpu);
        let indices = zeros("indices of the first minibatch", [1, rows], Element::U32)?;
        let labels = zeros("labels of the first minibatch", [1, rows], Element::U32)?;
        sample::minibatches(&mut start, sampling, total, step_count, &indices)?;
        let next = buffers.minibatch.first_rows(rows);
        gather::batch(&mut start, resident, (&indices, 0), &next, &labels);
        self.record_forward(&mut start, &buffers);

        let mut step = Recorder::new(gpu);
        self.record_step(&mut step, &buffers);
        // Compile the kernels of all plans in parallel: `finish` would compile them plan by plan.
        let recorders = [&refill, &start, &step];
        gpu.compile_all(recorders.into_iter().flat_map(Recorder::contracts))?;
        let runner = Fused {
            refill: refill.finish()?,
            start: start.finish()?,
            step: step.finish()?,
            // One less than the number of drawn minibatches, because the last step also starts the forward pass of the
            // next minibatch.
            reach: self.minibatches - 1,
            chosen: 0,
            is_started: false,
        };
        Ok(Steps::new(Fusion::Fused, runner))
    }

    /// Records the dispatch that computes the partial sums of z₁ for the next minibatch.
    fn record_forward(&self, recorder: &mut Recorder<'_>, buffers: &Buffers) {
        let tensors = [&buffers.minibatch, &buffers.scratch, &buffers.parameters];
        let kernel = self.algorithm.kernels().forward;
        let workgroups = self.workgroups_of_forward();
        let cost = self.cost_of_forward();
        self.dispatch(recorder, kernel, &tensors, workgroups, cost);
    }

    /// Records the two dispatches of a step.
    fn record_step(&self, recorder: &mut Recorder<'_>, buffers: &Buffers) {
        let Buffers {
            parameters,
            list,
            labels,
            step_count,
            bytes,
            scratch,
            minibatch,
            history,
        } = buffers;
        let kernels = self.algorithm.kernels();
        let tensors = [
            parameters, list, labels, step_count, bytes, scratch, minibatch,
        ];
        let workgroups = self.workgroups_of_middle();
        let cost = self.cost_of_middle();
        self.dispatch(recorder, kernels.middle, &tensors, workgroups, cost);
        let tensors = [minibatch, scratch, parameters, history, step_count];
        let workgroups = self.workgroups_of_backward();
        let cost = self.cost_of_backward();
        let kernel = kernels.backward_forward;
        self.dispatch(recorder, kernel, &tensors, workgroups, cost);
    }

    fn dispatch(
        &self,
        recorder: &mut Recorder<'_>,
        kernel: &'static Kernel<Mlp>,
        tensors: &[&Tensor],
        workgroups: u64,
        cost: Cost,
    ) {
        let constants = self.mlp.constants(kernel);
        let kernel = kernel.constants(&constants);
        recorder.dispatch(&kernel, self.mlp, tensors, workgroups, cost);
    }
}

/// The buffers of the kernels. The comments in the shaders describe their layouts.
#[derive(Debug)]
struct Buffers {
    parameters: Tensor,
    list: Tensor,
    labels: Tensor,
    step_count: Tensor,
    bytes: Tensor,
    scratch: Tensor,
    minibatch: Tensor,
    history: Tensor,
}

/// The recorded plans, and which of them the next step needs.
#[derive(Debug)]
struct Fused {
    /// Draws the minibatches of the next `reach` steps. It reads the step counter on the device, so it is right
    /// whatever code took the steps before.
    refill: Plan,
    /// Computes the first layer's partial sums for the next minibatch. Usually the previous step computes them.
    start: Plan,
    step: Plan,
    reach: usize,
    /// Number of future steps whose minibatches are already drawn.
    chosen: usize,
    /// Whether the first layer's partial sums of the next minibatch are already computed with the present parameters.
    is_started: bool,
}

impl Runner for Fused {
    fn step(&self) -> &Plan {
        &self.step
    }

    fn plans(&self) -> Vec<&Plan> {
        vec![&self.refill, &self.start, &self.step]
    }

    /// Returns false: the kernels have the learning rate in their uniform block.
    fn reads_coefficients(&self) -> bool {
        false
    }

    fn next(&mut self, most: usize) -> (Vec<(&Plan, usize)>, usize) {
        let refill = Some(&self.refill).filter(|_| self.chosen == 0);
        let start = Some(&self.start).filter(|_| !self.is_started);
        let chosen = match self.chosen {
            0 => self.reach,
            chosen => chosen,
        };
        let now = most.min(chosen);
        (self.chosen, self.is_started) = (chosen - now, true);
        let once = refill.into_iter().chain(start).map(|plan| (plan, 1));
        (once.chain([(&self.step, now)]).collect(), now)
    }

    fn parameters_changed(&mut self) {
        self.is_started = false;
    }

    fn step_count_changed(&mut self) {
        self.chosen = 0;
        self.is_started = false;
    }
}

/// Returns the settings of the network's linear layers, each with the activation after it, and the number of these
/// layers.
fn layer_blocks(
    training: &Training<'_>,
    kernels: &Kernels,
) -> Result<([LayerBlock; MAX_LAYERS], usize), Unfused> {
    let graph = training.model.graph();
    let tensors = training.model.parameter_arena().tensors();
    let mut found: Vec<LayerBlock> = Vec::new();
    let mut expects_linear = true;
    for (index, value) in graph.values.iter().enumerate().skip(1) {
        let before = index - 1;
        let is_next = |layer, x| layer == before && x == before && graph.inputs == 1;
        let layer_use = match value.source {
            Source::Layer { layer, x } if is_next(layer, x) && !graph.uses[layer].is_repeated => {
                &graph.uses[layer]
            }
            _ => return Err(Unfused::Graph),
        };
        let layer = unwrapped(&*layer_use.layer);
        let is_last = index + 1 == graph.values.len();
        let unfused = |expected| Unfused::Layer {
            index: before,
            name: layer_use.layer.name(),
            expected,
        };
        let [inputs, outputs] = [before, index].map(|value| graph.values[value].shape.len());
        if layer.is::<Linear>() {
            let [weight, bias] = &tensors[layer_use.parameters.clone()] else {
                return Err(unfused("a Linear with a bias"));
            };
            let column = found.last().map_or(0, |l| l.column + l.outputs);
            found.push(LayerBlock {
                inputs: to_u32(inputs),
                outputs: to_u32(outputs),
                weight: place(weight),
                bias: place(bias),
                column,
                tiles: kernels.tiles(inputs, outputs, found.is_empty()),
                ..LayerBlock::default()
            });
            expects_linear = false;
        } else if is_last || expects_linear {
            return Err(unfused("a Linear"));
        } else if let (Some(before), Some(kind)) = (found.last_mut(), activation(layer_use)) {
            before.activation = kind;
            expects_linear = true;
        } else {
            return Err(unfused("a Linear, Relu or Sigmoid"));
        }
    }
    let count = found.len();
    if count > MAX_LAYERS {
        return Err(Unfused::Depth {
            found: count,
            most: MAX_LAYERS,
        });
    }
    found.resize(MAX_LAYERS, LayerBlock::default());
    let mut blocks = [LayerBlock::default(); MAX_LAYERS];
    blocks.copy_from_slice(&found);
    Ok((blocks, count))
}

/// Returns the number that stands for an activation in the shaders.
fn activation(layer_use: &Use) -> Option<u32> {
    let layer = unwrapped(&*layer_use.layer);
    match () {
        () if layer.is::<Relu>() => Some(1),
        () if layer.is::<Sigmoid>() => Some(2),
        () => None,
    }
}

/// Returns the index of a parameter's first element in the buffer of all parameters.
fn place(parameter: &Tensor) -> u32 {
    to_u32(usize::try_from(parameter.buffer().1 / 4).unwrap_or(usize::MAX))
}
