//! Updates of parameters by their gradients.

mod kept;

use std::sync::Arc;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Zip};

use super::cores::for_each_part;
use super::network::named;
use super::passes::Passes;
use super::{Network, Pass, footprint};
use crate::error::Error;
use crate::network::{Groups, Parameters, Wanted};
use crate::ops::{Group, Optimizer, check_below_one, coefficients};
use crate::reference::{Float, Rule, UpdateStep};

#[cfg(not(target_arch = "wasm32"))]
pub(super) use kept::trained;

/// Names the optimizer's state in an error message about memory.
const KEPT: &str = "the optimizer's state";

/// An optimizer with its state for the parameters of one network. It does the last part of a training step; a [`Pass`]
/// does the other parts; its documentation has an example.
#[derive(Debug)]
pub struct Updater<F = f32> {
    optimizer: Arc<dyn Optimizer>,
    rule: Rule,
    groups: Groups,
    /// The optimizer's state: for every parameter, one matrix per name in [`Optimizer::state`].
    state: Vec<Vec<Array2<F>>>,
    /// Identifies the network: all copies of a network share these passes.
    passes: Arc<Passes>,
    average: Option<Average<F>>,
    steps_taken: u64,
    /// The step count at which the optimizer's state, or a new part of it, last started at zero.
    began: u64,
}

/// Moving averages of all parameters.
#[derive(Debug)]
struct Average<F> {
    decay: f32,
    values: Vec<Array2<F>>,
}

/// Maximum number of elements in a [`Piece`] of a parameter, unless one row has more.
const PIECE: usize = 1 << 13;
/// Minimum number of elements of all parameters for which several cores share an update. For fewer, one core is faster.
const SHARED: usize = 1 << 14;

/// Some rows of a parameter, with the gradient and the optimizer's state of the same rows: the unit of work of one
/// thread.
#[derive(Debug)]
struct Piece<'a, F> {
    at: UpdateStep<F>,
    parameter: ArrayViewMut2<'a, F>,
    gradient: ArrayView2<'a, F>,
    state: Vec<ArrayViewMut2<'a, F>>,
}

impl<'a, F: Float> Piece<'a, F> {
    /// Cuts a parameter into pieces of at most [`PIECE`] elements and adds them to `pieces`.
    fn cut(
        at: UpdateStep<F>,
        of: (
            ArrayViewMut2<'a, F>,
            ArrayView2<'a, F>,
            Vec<ArrayViewMut2<'a, F>>,
        ),
        pieces: &mut Vec<Self>,
    ) {
        let (mut parameter, mut gradient, mut state) = of;
        let rows = (PIECE / parameter.ncols().max(1)).max(1);
        while parameter.nrows() > rows {
            let halves = parameter.split_at(Axis(0), rows);
            let of_gradient = gradient.split_at(Axis(0), rows);
            let of_state = state.into_iter().map(|kept| kept.split_at(Axis(0), rows));
            let (first, rest) = of_state.unzip();
            pieces.push(Self {
                at,
                parameter: halves.0,
                gradient: of_gradient.0,
                state: first,
            });
            (parameter, gradient, state) = (halves.1, of_gradient.1, rest);
        }
        pieces.push(Self {
            at,
            parameter,
            gradient,
            state,
        });
    }
}

impl<F: Float> Updater<F> {
    /// Makes an updater for the parameters of `network`. The optimizer's state starts at zero.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting of the optimizer is invalid, [`Error::Memory`] when the host has too little
    /// memory for the optimizer's state.
    pub fn new(network: &Network<F>, optimizer: impl Optimizer + 'static) -> Result<Self, Error> {
        optimizer.check()?;
        let graph = network.graph();
        footprint::check_like_parameters::<F>(graph, KEPT, optimizer.state().len())?;
        let groups = Groups::new(graph);
        let optimizer: Arc<dyn Optimizer> = Arc::new(optimizer);
        let of_parameter = |parameter: &Array2<F>| {
            let names = optimizer.state().iter();
            names.map(|_| Array2::zeros(parameter.raw_dim())).collect()
        };
        Ok(Self {
            groups,
            state: network.parameters.iter().map(of_parameter).collect(),
            passes: Arc::clone(&network.passes),
            rule: optimizer.reference(),
            optimizer,
            average: None,
            steps_taken: 0,
            began: 0,
        })
    }

    /// Updates all trained parameters by the gradients of the pass's last [`backward`](Pass::backward).
    ///
    /// # Errors
    /// [`Error::Setting`] when `pass` or `network` belongs to another network than the updater, or the schedule gives a
    /// learning rate that is negative or not a number.
    pub fn update(&mut self, network: &mut Network<F>, pass: &mut Pass<F>) -> Result<(), Error> {
        pass.check_network(network)?;
        self.check_network(network)?;
        let coefficients = self.coefficients()?;
        self.apply(coefficients, network, &mut pass.work.gradients);
        Ok(())
    }

    /// Checks that `network` is the network of this updater, or a copy of it.
    fn check_network(&self, network: &Network<F>) -> Result<(), Error> {
        if Arc::ptr_eq(&network.passes, &self.passes) {
            return Ok(());
        }
        let expected = "the network for which the updater was made, or a copy of it";
        Err(Error::setting(
            "network of an updater",
            expected,
            "another network",
        ))
    }

    /// Checks the learning rates that the schedule gives for the next `count` updates.
    ///
    /// # Errors
    /// [`Error::Setting`] when a learning rate is negative or not a number.
    pub(super) fn check_rates(&self, count: usize) -> Result<(), Error> {
        let mut steps = (self.steps_taken..).take(count);
        steps.try_for_each(|step| coefficients(&*self.optimizer, step, self.began).map(drop))
    }

    /// Computes the coefficients of the next update; the first one is the learning rate.
    ///
    /// # Errors
    /// [`Error::Setting`] when the schedule gives a learning rate that is negative or not a number.
    pub(super) fn coefficients(&self) -> Result<[f32; 4], Error> {
        coefficients(&*self.optimizer, self.steps_taken, self.began)
    }

    /// Updates the parameters by `gradients`, and then the moving average. The optimizer may first change the
    /// gradients, for example clip them.
    pub(super) fn apply(
        &mut self,
        [rate, ..]: [f32; 4],
        network: &mut Network<F>,
        gradients: &mut [Array2<F>],
    ) {
        let rule = F::rule(&self.rule);
        if !self.groups.is_default() {
            // Frozen parameters have a gradient of 0.
            let frozen = gradients.iter_mut().zip(self.groups.resolved());
            let frozen = frozen.filter(|(_, group)| group.is_frozen());
            frozen.for_each(|(gradient, _)| gradient.fill(F::zero()));
        }
        rule.prepare(gradients);
        let mut pieces = Vec::new();
        let parameters = network.parameters.iter_mut().zip(self.groups.resolved());
        let kept = gradients.iter().zip(&mut self.state);
        let mut elements = 0;
        for ((parameter, group), (gradient, state)) in parameters.zip(kept) {
            if group.is_frozen() {
                continue;
            }
            let at = UpdateStep {
                step: self.steps_taken - self.began,
                learning_rate: F::from_f64(f64::from(rate * group.rate_of())),
                weight_decay: group.own_decay().map(|decay| F::from_f64(decay.into())),
            };
            elements += parameter.len();
            let state = state.iter_mut().map(|kept| kept.view_mut()).collect();
            Piece::cut(
                at,
                (parameter.view_mut(), gradient.view(), state),
                &mut pieces,
            );
        }
        let update = |mut piece: Piece<'_, F>| {
            rule.update(piece.at, piece.parameter, piece.gradient, &mut piece.state);
        };
        for_each_part(pieces.into_iter(), elements >= SHARED, update);
        if let Some(Average { decay, values }) = &mut self.average {
            let share = F::from_f64(f64::from(1.0 - *decay));
            for (average, parameter) in values.iter_mut().zip(&network.parameters) {
                let follow = |own: &mut F, &other: &F| *own = *own + share * (other - *own);
                Zip::from(average).and(parameter).for_each(follow);
            }
        }
        self.steps_taken += 1;
    }

    /// Number of updates so far.
    #[must_use]
    pub fn steps_taken(&self) -> u64 {
        self.steps_taken
    }

    /// The step count at which the optimizer's state, or a new part of it, last started at zero.
    pub(super) fn began(&self) -> u64 {
        self.began
    }

    /// Sets the step count, and the step count at which the optimizer's state last started at zero.
    pub(super) fn count_from(&mut self, steps_taken: u64, began: u64) {
        (self.steps_taken, self.began) = (steps_taken, began);
    }

    /// The current optimizer.
    #[must_use]
    pub fn optimizer(&self) -> &Arc<dyn Optimizer> {
        &self.optimizer
    }

    /// Sets the learning rate. A schedule still applies to it.
    ///
    /// # Errors
    /// [`Error::Setting`] when the rate is not finite or not above 0.
    pub fn set_learning_rate(&mut self, learning_rate: f32) -> Result<(), Error> {
        self.set_optimizer(self.optimizer.with_learning_rate(learning_rate))
    }

    /// Replaces the optimizer. State arrays that both optimizers have under the same name keep their values; all other
    /// state starts at zero. The step count continues.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting of the optimizer is invalid, [`Error::Memory`] when the host has too little
    /// memory for the optimizer's state. After an error, nothing has changed.
    pub fn set_optimizer(&mut self, optimizer: impl Optimizer + 'static) -> Result<(), Error> {
        optimizer.check()?;
        let before = self.optimizer.state();
        let more = optimizer.state().len().saturating_sub(before.len());
        footprint::check_like_parameters::<F>(&self.passes.graph, KEPT, more)?;
        if optimizer.state().iter().any(|role| !before.contains(role)) {
            self.began = self.steps_taken;
        }
        for (parameter, state) in self.state.iter_mut().enumerate() {
            let mut old: Vec<_> = before.iter().zip(std::mem::take(state)).collect();
            let goes_on = optimizer.state().iter().map(|name| {
                let at = old.iter().position(|(of, _)| of == &name)?;
                Some(old.swap_remove(at).1)
            });
            let goes_on: Vec<_> = goes_on.collect();
            // Reuse matrices of the old optimizer for new state.
            let mut rooms = old.into_iter().map(|(_, room)| room);
            let mut begin = || {
                let room = rooms.next();
                let mut room = room.unwrap_or_else(|| self.passes.zeros_like(parameter));
                room.fill(F::zero());
                room
            };
            *state = goes_on
                .into_iter()
                .map(|of| of.unwrap_or_else(&mut begin))
                .collect();
        }
        self.rule = optimizer.reference();
        self.optimizer = Arc::new(optimizer);
        Ok(())
    }

    /// Which gradients an update reads: those of parameters that are not frozen.
    pub(super) fn wanted(&self) -> Wanted {
        self.groups.wanted()
    }

    /// The parameter groups that [`set_group`](Self::set_group) has assigned.
    pub(super) fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Replaces the groups of all parameters.
    pub(super) fn set_groups(&mut self, groups: Groups) {
        self.groups = groups;
    }

    /// Assigns parameters to a [`Group`]: it may have another learning rate or weight decay, or be frozen.
    ///
    /// `parameters` is a full name (`layers.0.weight`), the start of names up to a dot (`layers.0`), or a pattern in
    /// which `*` stands for any characters (`*.bias`).
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameter matches, all parameters would be frozen, or a setting of the group is
    /// invalid. After an error, nothing has changed.
    pub fn set_group(&mut self, parameters: &str, group: Group) -> Result<(), Error> {
        self.groups.set(parameters, group)
    }

    /// Freezes parameters: from now on, updates do not change them. `parameters` is a name or a pattern as in
    /// [`set_group`](Self::set_group).
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameter matches, or all parameters would be frozen.
    pub fn freeze(&mut self, parameters: &str) -> Result<(), Error> {
        self.groups.freeze(parameters, true)
    }

    /// From now on, updates change these frozen parameters again. `parameters` is a name or a pattern as in
    /// [`set_group`](Self::set_group).
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameter matches.
    pub fn unfreeze(&mut self, parameters: &str) -> Result<(), Error> {
        self.groups.freeze(parameters, false)
    }

    /// Starts a moving average of all parameters, at their present values.
    ///
    /// Each update then sets `average ← average + (1 − decay)·(parameter − average)`. The average often predicts better
    /// than the parameters themselves (Polyak, Juditsky, "Acceleration of stochastic approximation by averaging",
    /// 1992). If you set parameters of the network yourself, call this method again: otherwise the average still
    /// contains their old values.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `decay` is at least 0 and below 1, and when `network` belongs to another network than
    /// the updater; [`Error::Memory`] when the host has too little memory for the average.
    pub fn average(&mut self, network: &Network<F>, decay: f32) -> Result<(), Error> {
        self.check_network(network)?;
        check_below_one("decay of the moving average", decay)?;
        match &mut self.average {
            Some(average) => {
                average.decay = decay;
                average.values.clone_from(&network.parameters);
            }
            None => {
                footprint::check_like_parameters::<F>(network.graph(), "the moving average", 1)?;
                let values = network.parameters.clone();
                self.average = Some(Average { decay, values });
            }
        }
        Ok(())
    }

    /// Returns a copy of the parameters' moving average. `None` unless [`average`](Self::average) was called.
    ///
    /// # Errors
    /// [`Error::Setting`] when `network` belongs to another network than the updater, [`Error::Memory`] when the host
    /// has too little memory for the copy.
    pub fn averaged(&self, network: &Network<F>) -> Result<Option<Parameters<F>>, Error> {
        self.check_network(network)?;
        let Some(average) = &self.average else {
            return Ok(None);
        };
        let graph = network.graph();
        footprint::check_like_parameters::<F>(graph, "a copy of the moving average", 1)?;
        Ok(Some(named(&graph.parameters, &average.values)))
    }

    pub(super) fn decay_of_average(&self) -> Option<f32> {
        self.average.as_ref().map(|average| average.decay)
    }

    /// Resets the optimizer's state to zero, and restarts the moving average, if there is one, at the present
    /// parameters.
    pub(super) fn forget(&mut self, network: &Network<F>) {
        self.began = self.steps_taken;
        let kept = self.state.iter_mut().flatten();
        kept.for_each(|values| values.fill(F::zero()));
        self.begin_average(network, None);
    }

    /// Restarts the moving average at the present values of all parameters, or of only the parameter called `name`.
    pub(super) fn begin_average(&mut self, network: &Network<F>, name: Option<&str>) {
        let Some(average) = &mut self.average else {
            return;
        };
        let of_graph = &network.graph().parameters;
        let both = average.values.iter_mut().zip(&network.parameters);
        for (of, (average, present)) in of_graph.iter().zip(both) {
            if name.is_none_or(|name| name == of.name) {
                average.assign(present);
            }
        }
    }
}

#[cfg(test)]
impl<F> Updater<F> {
    /// Number of elements in the optimizer's state.
    pub(super) fn numbers(&self) -> usize {
        self.state.iter().flatten().map(Array2::len).sum()
    }
}
