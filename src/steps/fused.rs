//! The step in two dispatches: `shaders/fused_slices.wgsl` says how.

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

/// Linear layers that the kernels have room for.
const MAX_LAYERS: usize = 8;
/// Outputs of all layers of one row: `ROOM` of `shaders/fused_middle.wgsl`.
const MAX_COLUMNS: usize = 1800;
/// Rows of a workgroup of the middle: `MOST_ROWS` there.
const MAX_GROUP: usize = 32;
/// Minibatches chosen at a time, a power of two, and the most indices they may take.
const MINIBATCHES: usize = 256;
const MAX_INDICES: usize = 1 << 22;

/// A training that can be fused, with all that its kernels are told.
#[derive(Debug)]
pub(super) struct Network {
    mlp: Mlp,
    algorithm: Algorithm,
    minibatches: usize,
}

impl Network {
    /// Looks whether the steps of a training can be fused.
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
        // A row to a workgroup is the shortest wait, until there are twice as many as a large GPU has
        // multiprocessors; about half of the invocations having an output each is the most. A power of
        // two, as the kernel has shifts where there would be divisions.
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

    /// Elements of the parts of z₁, and their bytes.
    fn parts_len(&self) -> usize {
        let first = &self.layers()[0];
        let slices = (first.inputs as usize).div_ceil(self.algorithm.kernels().first[0]);
        slices * self.mlp.rows as usize * first.outputs as usize
    }

    /// This network, if its fused step is taken for the faster one. Sums of slices are traffic that
    /// costs what the dispatches saved; and every workgroup of `middle` reads all weights behind the
    /// first layer twice, and has few rows to use them for.
    ///
    /// | kernels | bytes of sums | weights | because |
    /// |---|---|---|---|
    /// | `Tiles` | 32 MiB | 32,768 | measured on an H200, batch 100: fused, 784→50→10 is 5 times as fast, 784→200→10 4.6 times, 784→128→64→10 2.8 times, 784→500→10, 784→1000→10 (19 MiB) and 784→256→64→10 (17,024 weights) 2.2 times; that it is no longer so at the bounds is estimated |
    /// | `Registers` | 4 MiB | 4,096 | measured on lavapipe: fused, 784→50→10 is 1.2 times as fast, 784→200→10 as fast, 784→100→50→10 (5,500 weights) 0.7 times, 784→500→10 0.7 times |
    /// | `Vectors` | 4 MiB | 4,096 | measured on SwiftShader: on a busy machine: fused, 784→50→10 is 1.4 times as fast, 784→200→10 1.07 times, 784→500→10 as fast, 784→100→50→10 0.96 times |
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

    /// Elements of those, of the outputs and δ of all layers, and of the losses, of all rows.
    fn scratch_len(&self) -> usize {
        self.parts_len() + self.mlp.rows as usize * (2 * self.mlp.columns as usize + 1)
    }

    fn layers(&self) -> &[LayerBlock] {
        &self.mlp.layer[..self.mlp.layers as usize]
    }

    /// Allocates what the steps need and records them.
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
        // Together, where each plan would wait for its own.
        let recorders = [&refill, &start, &step];
        gpu.compile_all(recorders.into_iter().flat_map(Recorder::contracts))?;
        let runner = Fused {
            refill: refill.finish()?,
            start: start.finish()?,
            step: step.finish()?,
            // The last step of a refill makes the forward pass of the one after it.
            reach: self.minibatches - 1,
            chosen: 0,
            is_started: false,
        };
        Ok(Steps::new(Fusion::Fused, runner))
    }

    /// The parts of z₁ of the next minibatch.
    fn record_forward(&self, recorder: &mut Recorder<'_>, buffers: &Buffers) {
        let tensors = [&buffers.minibatch, &buffers.scratch, &buffers.parameters];
        let kernel = self.algorithm.kernels().forward;
        let workgroups = self.workgroups_of_forward();
        let cost = self.cost_of_forward();
        self.dispatch(recorder, kernel, &tensors, workgroups, cost);
    }

    /// The two dispatches of a step.
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

/// What the kernels read and write; the shaders say the shapes.
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

/// The recorded plans, and how far they are good for.
#[derive(Debug)]
struct Fused {
    /// Chooses the minibatches of `reach` steps, whoever took those before.
    refill: Plan,
    /// Makes what the step before would have made: the first product of the next minibatch.
    start: Plan,
    step: Plan,
    reach: usize,
    /// Steps to come whose minibatches are chosen.
    chosen: usize,
    /// Whether the last step has made what `start` makes, with the present parameters.
    is_started: bool,
}

impl Runner for Fused {
    fn step(&self) -> &Plan {
        &self.step
    }

    fn plans(&self) -> Vec<&Plan> {
        vec![&self.refill, &self.start, &self.step]
    }

    /// Its learning rate is a setting of its kernels.
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

/// The linear layers of a network, each with the activation behind it, and how many there are.
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
        let of_use = match value.source {
            Source::Layer { layer, x } if is_next(layer, x) && !graph.uses[layer].is_repeated => {
                &graph.uses[layer]
            }
            _ => return Err(Unfused::Graph),
        };
        let layer = unwrapped(&*of_use.layer);
        let is_last = index + 1 == graph.values.len();
        let unfused = |expected| Unfused::Layer {
            index: before,
            name: of_use.layer.name(),
            expected,
        };
        let [inputs, outputs] = [before, index].map(|value| graph.values[value].shape.len());
        if layer.is::<Linear>() {
            let [weight, bias] = &tensors[of_use.parameters.clone()] else {
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
        } else if let (Some(before), Some(kind)) = (found.last_mut(), activation(of_use)) {
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

/// As the shaders number them.
fn activation(of_use: &Use) -> Option<u32> {
    let layer = unwrapped(&*of_use.layer);
    match () {
        () if layer.is::<Relu>() => Some(1),
        () if layer.is::<Sigmoid>() => Some(2),
        () => None,
    }
}

/// Where a parameter starts in the one buffer of all of them, in elements.
fn place(parameter: &Tensor) -> u32 {
    to_u32(usize::try_from(parameter.buffer().1 / 4).unwrap_or(usize::MAX))
}
