//! Distributed training steps, for the GPU engine and the CPU engine.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::exchange::{Averaged, Exchange, own};
use super::{Distribution, World, check_same, check_same_text, not_distributed};
use crate::clock::Instant;
use crate::error::Error;
use crate::memory::{self, bytes_of};
use crate::network::Graph;
use crate::ops::metrics::HISTORY;

/// One process's part of a distributed training.
#[derive(Debug)]
pub(crate) struct DataParallel {
    world: Arc<dyn World>,
    own: Range<usize>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Averages gradients in every step.
    Gradients(Exchange),
    /// Averages parameters after every `every` steps.
    Parameters {
        exchange: Exchange,
        every: usize,
        /// Number of steps since the last averaging.
        since: usize,
    },
}

impl DataParallel {
    /// Creates this process's part. `kept` is the number of state arrays per parameter: the optimizer's arrays, and the
    /// moving average. `shards` is the number of minibatches per step.
    ///
    /// # Errors
    /// [`Error::Setting`] when there are fewer shards than processes, a layer has state (for example, `BatchNorm`), the
    /// number of local steps is out of range or differs between processes, or local steps would give the processes
    /// different numbers of shards; [`Error::Memory`] when the host has too little memory for the exchanged values.
    pub(crate) fn new(
        distribution: Distribution,
        (graph, kept): (&Graph, usize),
        shards: usize,
    ) -> Result<Self, Error> {
        let Distribution { world, local_steps } = distribution;
        if let Some(state) = graph.state.first() {
            let expected = "none, because averaged gradients do not keep it the same on all processes: use LayerNorm \
                            in place of BatchNorm, for example";
            return Err(Error::setting("state of layers", expected, &state.name));
        }
        let of_gradients = Exchange::new(Arc::clone(&world), shards)?;
        let own = of_gradients.own();
        let kind = match local_steps {
            None => {
                check_memory(graph, "gradients", 1 + of_gradients.kept())?;
                Kind::Gradients(of_gradients)
            }
            Some(every) => {
                let every = check_local(every, shards, world.size())?;
                let exchange = Exchange::new(Arc::clone(&world), world.size())?;
                check_memory(graph, "values", (1 + kept) * (1 + exchange.kept()))?;
                Kind::Parameters {
                    exchange,
                    every,
                    since: 0,
                }
            }
        };
        check_same_text(
            &*world,
            "local steps",
            &match local_steps {
                None => "none".to_owned(),
                Some(steps) => steps.to_string(),
            },
        )?;
        Ok(Self { world, own, kind })
    }

    /// Called after all processes have resumed from the same file: the count of local steps since the last averaging
    /// restarts at 0.
    pub(crate) fn resumed(&mut self) {
        if let Kind::Parameters { since, .. } = &mut self.kind {
            *since = 0;
        }
    }

    /// The range of the step's shards that this process computes.
    pub(crate) fn own(&self) -> &Range<usize> {
        &self.own
    }

    /// Whether the processes average parameters after several [local steps](Distribution::local_steps), instead of
    /// gradients in each step.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.kind, Kind::Parameters { .. })
    }

    pub(crate) fn world(&self) -> &Arc<dyn World> {
        &self.world
    }

    /// Divides other work, for example evaluations, among the processes.
    pub(crate) fn partition(&self) -> Partition {
        Partition(Arc::clone(&self.world))
    }

    /// Whether this process has rank 0, which writes the files.
    pub(crate) fn leads(&self) -> bool {
        self.world.rank() == 0
    }

    /// Checks that all processes pass the same bytes: see [`check_same`].
    pub(crate) fn check_same(&self, what: &str, bytes: &[u8]) -> Result<(), Error> {
        check_same(&*self.world, what, bytes)
    }
}

/// Checks that the training is not distributed.
///
/// # Errors
/// [`Error::Setting`] when the training is distributed; it names `what`, a kind of call that a distributed training
/// does not support.
pub(crate) fn check_alone(of: Option<&DataParallel>, what: &str) -> Result<(), Error> {
    match of {
        None => Ok(()),
        Some(_) => Err(not_distributed(what)),
    }
}

/// Checks that all processes have the same parameters at present.
///
/// # Errors
/// [`Error::Setting`] when local steps were taken since the last averaging.
pub(crate) fn check_averaged(of: Option<&DataParallel>) -> Result<(), Error> {
    match of.map(|of| &of.kind) {
        Some(&Kind::Parameters { every, since, .. }) if since > 0 => {
            let expected = format!(
                "0 or a multiple of the {every} local steps, after which all processes have the same parameters"
            );
            let name = "local steps before this call";
            Err(Error::setting(name, expected, since))
        }
        _ => Ok(()),
    }
}

/// Checks that the number of local steps is in range, and that all processes get the same number of shards. Returns the
/// number of local steps.
fn check_local(steps: usize, shards: usize, processes: usize) -> Result<usize, Error> {
    if !(1..=HISTORY).contains(&steps) {
        let expected = format!("1 to {HISTORY}, the number of losses that are kept");
        return Err(Error::setting("local steps", expected, steps));
    }
    if !shards.is_multiple_of(processes) {
        let expected = format!(
            "a multiple of the {processes} processes, so that the local steps of all processes have equally many rows: \
            see accumulate"
        );
        return Err(Error::setting("minibatches of a step", expected, shards));
    }
    Ok(steps)
}

/// Checks that the host has enough memory for an exchange that stores `numbers` values per parameter element.
fn check_memory(graph: &Graph, of_what: &str, numbers: usize) -> Result<(), Error> {
    let parameters = graph
        .parameters
        .iter()
        .map(|of| of.spec.tensor_shape().len());
    let parameters: usize = parameters.sum();
    let what = || format!("{of_what} of {parameters} parameters that processes exchange");
    let all = (numbers as u64).saturating_mul(parameters as u64);
    memory::check(what, bytes_of::<f32>(all))
}

/// Divides items (for example, passes of an evaluation) among the processes.
#[derive(Debug, Clone)]
pub(crate) struct Partition(Arc<dyn World>);

impl Partition {
    /// The range of items of this process, out of `count` items.
    pub(crate) fn own(&self, count: usize) -> Range<usize> {
        own(self.0.rank(), self.0.size(), count)
    }

    /// Exchanges results: on return, `numbers` has the results of all items, in order, `width` values per item. On
    /// entry, it must have the results of this process's items at their place.
    pub(crate) fn gather(&self, numbers: &mut [u32], width: usize) -> Result<(), Error> {
        let world = &self.0;
        let size = world.size();
        let count = numbers.len() / width;
        let most = count.div_ceil(size) * width;
        let place = |rank| {
            let things = own(rank, size, count);
            things.start * width..things.end * width
        };
        let mut parts = vec![0; size * most];
        let own = &numbers[place(world.rank())];
        parts[world.rank() * most..][..own.len()].copy_from_slice(own);
        world.all_gather(&mut parts)?;
        for (rank, of_one) in parts.chunks(most.max(1)).enumerate() {
            let to = &mut numbers[place(rank)];
            to.copy_from_slice(&of_one[..to.len()]);
        }
        Ok(())
    }
}

/// A trainer whose steps can be distributed among processes.
pub(crate) trait Replica {
    fn data_parallel(&mut self) -> &mut Option<Box<DataParallel>>;

    fn steps_before(&self) -> u64;

    /// Called before every group of at most 16,384 steps: checks the learning rates of the next `steps` steps.
    fn begin(&mut self, steps: usize) -> Result<(), Error>;

    /// Computes a shard's gradients and returns its mean loss. Called for this process's shards in ascending order.
    fn compute(&mut self, shard: usize) -> Result<f32, Error>;

    /// The gradients of the latest shard. The vectors have the same lengths in every process.
    fn gradients(&mut self) -> Vec<&mut [f32]>;

    /// Ends a step: updates the parameters by [`gradients`](Self::gradients), which now have the mean over all shards.
    /// `loss` is the mean loss of the step.
    fn update(&mut self, loss: f32) -> Result<(), Error>;

    /// Takes `count` steps on only this process's shards; returns their losses. If the training diverges, the step
    /// count still grows by `count`.
    fn own_steps(&mut self, count: usize) -> Result<Vec<f32>, Error>;

    /// Passes all trained parameters, their optimizer state and their moving average to `average`, which overwrites
    /// them.
    fn average_values(
        &mut self,
        average: impl FnOnce(Vec<&mut [f32]>) -> Result<(), Error>,
    ) -> Result<(), Error>;

    fn is_sound(&self, loss: f32) -> bool;

    fn judge(&mut self, before: u64, losses: &[f32]) -> Result<(), Error>;
}

/// The gradients and the mean loss of a shard, which are averaged together.
struct Gradients<'a, T> {
    replica: &'a mut T,
    loss: [f32; 1],
}

impl<T: Replica> Averaged for Gradients<'_, T> {
    fn compute(&mut self, shard: usize) -> Result<(), Error> {
        self.loss = [self.replica.compute(shard)?];
        Ok(())
    }

    fn vectors(&mut self) -> Vec<&mut [f32]> {
        let mut vectors = self.replica.gradients();
        vectors.push(&mut self.loss);
        vectors
    }
}

/// Vectors that each process has already computed: each process counts as one shard.
struct OwnVectors<'a>(Vec<&'a mut [f32]>);

impl Averaged for OwnVectors<'_> {
    fn compute(&mut self, _: usize) -> Result<(), Error> {
        Ok(())
    }

    fn vectors(&mut self) -> Vec<&mut [f32]> {
        self.0.iter_mut().map(|vector| &mut **vector).collect()
    }
}

/// Takes `count` steps together with the other processes. Returns the mean loss of each step.
pub(crate) fn distributed_steps<T: Replica>(
    training: &mut T,
    count: usize,
) -> Result<Vec<f32>, Error> {
    let Some(mut shared) = training.data_parallel().take() else {
        unreachable!("it is shared");
    };
    // Remove the distribution from the trainer during the call, so that local steps run as in a training that is not
    // distributed.
    let taken = take_steps(training, &mut shared.kind, count);
    *training.data_parallel() = Some(shared);
    taken
}

fn take_steps<T: Replica>(
    training: &mut T,
    kind: &mut Kind,
    count: usize,
) -> Result<Vec<f32>, Error> {
    let first = training.steps_before();
    let mut losses = Vec::with_capacity(count.min(HISTORY));
    while losses.len() < count {
        let before = losses.len();
        let left = count - before;
        match kind {
            Kind::Gradients(exchange) => {
                if before.is_multiple_of(HISTORY) {
                    training.begin(left.min(HISTORY))?;
                }
                let mut gradients = Gradients {
                    replica: &mut *training,
                    loss: [0.0],
                };
                exchange.average(&mut gradients)?;
                let [loss] = gradients.loss;
                training.update(loss)?;
                losses.push(loss);
            }
            Kind::Parameters {
                exchange,
                every,
                since,
            } => {
                let steps = left.min(*every - *since);
                losses.extend(local_steps(training, exchange, steps)?);
                *since += steps;
                let is_sound = |&loss: &f32| training.is_sound(loss);
                if *since == *every && losses[before..].iter().all(is_sound) {
                    training.average_values(|values| exchange.average(&mut OwnVectors(values)))?;
                }
                *since %= *every;
            }
        }
        if !losses[before..].iter().all(|&loss| training.is_sound(loss)) {
            break;
        }
    }
    training.judge(first, &losses)?;
    Ok(losses)
}

/// Takes `steps` steps on only this process's shards. Returns the losses, averaged over all processes.
fn local_steps<T: Replica>(
    training: &mut T,
    exchange: &mut Exchange,
    steps: usize,
) -> Result<Vec<f32>, Error> {
    let mut own = match training.own_steps(steps) {
        // Send a NaN, so that the mean is NaN in all processes. A loss that is only large might give a mean that counts
        // as sound.
        Err(Error::Diverged { losses, .. }) => {
            let mut own = losses;
            own.push(f32::NAN);
            own
        }
        losses => losses?,
    };
    own.resize(steps, f32::NAN);
    exchange.average(&mut OwnVectors(vec![&mut own]))?;
    Ok(own)
}

/// Takes steps for about `time`, by the clock of process 0. Returns the number of steps.
pub(crate) fn distributed_steps_within<T: Replica>(
    training: &mut T,
    time: Duration,
) -> Result<usize, Error> {
    let start = Instant::now();
    let mut taken = 0;
    loop {
        taken += distributed_steps(training, 1)?.len();
        let goes_on = u32::from(start.elapsed() < time);
        let Some(shared) = training.data_parallel() else {
            unreachable!("it is shared");
        };
        let world = shared.world();
        let mut of_each = vec![goes_on; world.size()];
        world.all_gather(&mut of_each)?;
        if of_each[0] == 0 {
            return Ok(taken);
        }
    }
}
