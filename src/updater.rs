//! Updating parameters by their gradients.

use std::sync::Arc;

use crate::checkpoint::AVERAGE;
use crate::error::Error;
use crate::gpu::Gpu;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::block_on;
use crate::kernel::Element;
use crate::latest::Latest;
use crate::model::{Model, Pass, like_parameters};
use crate::network::{Graph, Groups, Parameters, Wanted};
use crate::ops::metrics::HISTORY;
use crate::ops::{Group, Optimizer, Update, check_below_one, coefficients, metrics, mix};
use crate::plan::{Plan, Recorder};
use crate::tensor::{Arena, Tensor};

/// Coefficients are written for at least this many steps at once.
const ANNOUNCED: u64 = 256;

/// An optimizer with its state for the parameters of one model. An update ends a training step: before it, a [`Pass`]
/// computes the gradients. The documentation of [`Pass`] has an example.
#[derive(Debug)]
pub struct Updater {
    gpu: Gpu,
    graph: Arc<Graph>,
    /// The model's parameters.
    parameters: Arena,
    optimizer: Arc<dyn Optimizer>,
    groups: Groups,
    /// The optimizer's state: one arena for each name in [`Optimizer::state`].
    state: Vec<Arena>,
    average: Option<Average>,
    /// The optimizer's coefficients, of shape (slots, 4): see [`Update::coefficients`].
    coefficients: Tensor,
    /// Index of a step: the device has the coefficients of all earlier steps.
    written: u64,
    /// The number of steps taken, as the device counts them; a tensor of shape (1, 1).
    step_count: Tensor,
    steps_taken: u64,
    /// The step at which the optimizer's state was last zeroed.
    began: u64,
    /// Recorded updates for the four passes used last. The key is the pass's gradient arena.
    recorded: Latest<(Arena, Plan)>,
}

/// The changeable settings of an updater.
#[derive(Debug)]
pub(crate) struct Settings {
    optimizer: Arc<dyn Optimizer>,
    groups: Groups,
    state: Vec<Arena>,
    average: Option<Average>,
    began: u64,
}

/// A moving average of all parameters.
#[derive(Debug, Clone)]
struct Average {
    decay: f32,
    values: Arena,
}

impl Updater {
    /// Creates an updater whose state is zero.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting of the optimizer is invalid; [`Error::OutOfMemory`] or [`Error::Limit`] when
    /// the GPU has no memory for its state.
    pub fn new(model: &Model, optimizer: impl Optimizer + 'static) -> Result<Self, Error> {
        optimizer.check()?;
        let gpu = model.gpu();
        let groups = Groups::new(model.graph());
        let shape = [HISTORY, optimizer.coefficients(0).len()];
        let state = optimizer
            .state()
            .iter()
            .map(|role| model.like_parameters(role));
        Ok(Self {
            groups,
            state: state.collect::<Result<_, _>>()?,
            average: None,
            coefficients: Tensor::zeros(gpu, "coefficients of steps", shape, Element::F32)?,
            written: 0,
            step_count: Tensor::zeros(gpu, "step count", [1, 1], Element::U32)?,
            steps_taken: 0,
            began: 0,
            recorded: Latest::default(),
            gpu: gpu.clone(),
            graph: Arc::clone(model.graph()),
            parameters: model.parameter_arena().clone(),
            optimizer: Arc::new(optimizer),
        })
    }

    /// Updates all parameters by the gradients of the pass's last [`backward`](Pass::backward). Submits the update and
    /// returns at once. The dispatches are recorded once per pass; the recordings of the four passes used last are
    /// kept, and with them the memory of those passes' gradients.
    ///
    /// # Errors
    /// [`Error::Setting`] when the pass or the updater belongs to another model, or the schedule gives a learning rate
    /// that is negative or not a number; or an error of the device.
    pub fn update(&mut self, model: &mut Model, pass: &mut Pass) -> Result<(), Error> {
        let gpu = self.gpu.clone();
        self.step(model, pass, |plan| gpu.submit(plan, 1).map(drop))
    }

    /// Encodes [`update`](Self::update) into the caller's own compute pass. The update counts as made once it is
    /// encoded, so submit the pass before any other update of this updater.
    ///
    /// # Errors
    /// The errors of [`update`](Self::update).
    pub fn encode(
        &mut self,
        model: &mut Model,
        pass: &mut Pass,
        compute_pass: &mut wgpu::ComputePass<'_>,
    ) -> Result<(), Error> {
        self.step(model, pass, |plan| {
            plan.encode(compute_pass);
            Ok(())
        })
    }

    /// Checks that this updater belongs to the model.
    fn check_model(&self, model: &Model) -> Result<(), Error> {
        if model.parameter_arena().is_same(&self.parameters) {
            return Ok(());
        }
        let expected = "the model that was passed to Updater::new: the optimizer's state belongs to its parameters";
        Err(Error::setting(
            "model of an updater",
            expected,
            "another model",
        ))
    }

    /// Runs the update by the gradients of a pass. Records the update first, unless it is already recorded.
    fn step(
        &mut self,
        model: &Model,
        pass: &Pass,
        run: impl FnOnce(&Plan) -> Result<(), Error>,
    ) -> Result<(), Error> {
        pass.check_model(model)?;
        self.check_model(model)?;
        self.announce(1)?;
        let gradients = pass.gradient_arena();
        let mut recorded = std::mem::take(&mut self.recorded);
        let make = || {
            let mut recorder = Recorder::new(&self.gpu);
            self.record(&mut recorder, model, gradients)?;
            metrics::count_step(&mut recorder, &self.step_count);
            Ok((gradients.clone(), recorder.finish()?))
        };
        let is_it = |(of, _): &(Arena, Plan)| of.is_same(gradients);
        let update = recorded.find_or_make(is_it, make);
        let done = update.and_then(|(_, plan)| run(plan));
        self.recorded = recorded;
        done?;
        self.steps_taken += 1;
        Ok(())
    }

    /// Records an update of the model, without the dispatch that counts the step.
    pub(crate) fn record(
        &self,
        recorder: &mut Recorder<'_>,
        model: &Model,
        gradients: &Arena,
    ) -> Result<(), Error> {
        let parameters = model.parameter_arena();
        let tensors = [parameters, gradients];
        let update = Update::new(
            tensors,
            self.groups.resolved(),
            &self.coefficients,
            &self.step_count,
        );
        let update = update.with_state(&self.state);
        let who = || format!("the optimizer {}", self.optimizer.describe());
        recorder.watched(who, |recorder| self.optimizer.update(recorder, update))?;
        if let Some(Average { decay, values }) = &self.average {
            for (average, parameters) in values.blocks().iter().zip(parameters.blocks()) {
                mix::record(recorder, parameters, average, 1.0 - decay);
            }
        }
        Ok(())
    }

    /// Makes sure that the device has the coefficients of the next `count` steps. If some are missing, writes those of
    /// many steps at once. Work submitted before still reads the old values.
    pub(crate) fn announce(&mut self, count: usize) -> Result<(), Error> {
        let needed = self.steps_taken + count as u64;
        if needed <= self.written {
            return Ok(());
        }
        let from = self.written.max(self.steps_taken);
        let most = self.steps_taken + HISTORY as u64;
        let mut until = needed.max(most.min(from + ANNOUNCED));
        let mut next = from;
        while next < until {
            #[expect(clippy::cast_possible_truncation, reason = "below HISTORY")]
            let row = (next % HISTORY as u64) as usize;
            let end = until.min(next + (HISTORY - row) as u64);
            let mut values = Vec::new();
            for step in next..end {
                match coefficients(&*self.optimizer, step, self.began) {
                    Ok(of_step) => values.push(of_step),
                    Err(error) if step < needed => return Err(error),
                    // The caller did not request this step, so its invalid learning rate is no error yet.
                    Err(_) => {
                        until = step;
                        break;
                    }
                }
            }
            self.gpu.write_rows(&self.coefficients, row, &values)?;
            next = end;
        }
        self.written = until;
        Ok(())
    }

    /// Adds `count` submitted steps to the host's step count; the device has its own.
    pub(crate) fn advance(&mut self, count: usize) {
        self.steps_taken += count as u64;
    }

    /// The step at which the optimizer's state was last zeroed.
    pub(crate) fn began(&self) -> u64 {
        self.began
    }

    /// Sets the step count, and the step at which the optimizer's state was last zeroed.
    pub(crate) fn count_from(&mut self, steps_taken: u64, began: u64) -> Result<(), Error> {
        #[expect(clippy::cast_possible_truncation, reason = "wraps, as on a GPU")]
        self.gpu.write(&self.step_count, &[steps_taken as u32])?;
        (self.steps_taken, self.written, self.began) = (steps_taken, 0, began);
        Ok(())
    }

    /// Number of updates made.
    #[must_use]
    pub fn steps_taken(&self) -> u64 {
        self.steps_taken
    }

    /// The number of updates, as the device counts them; a tensor of shape (1, 1).
    pub(crate) fn step_count(&self) -> &Tensor {
        &self.step_count
    }

    /// The current optimizer.
    #[must_use]
    pub fn optimizer(&self) -> &Arc<dyn Optimizer> {
        &self.optimizer
    }

    /// Sets the learning rate, to which a schedule still applies.
    ///
    /// # Errors
    /// [`Error::Setting`] when the rate is not finite or not above 0.
    pub fn set_learning_rate(&mut self, learning_rate: f32) -> Result<(), Error> {
        let optimizer = self.optimizer.with_learning_rate(learning_rate);
        optimizer.check()?;
        self.optimizer = optimizer;
        // The kernels read the learning rate from the coefficients, which must be written again.
        self.written = 0;
        Ok(())
    }

    /// Replaces the optimizer. State that has the same name in both optimizers is kept; all other state starts at zero.
    /// The step count continues.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting of the optimizer is invalid; [`Error::OutOfMemory`] or [`Error::Limit`] when
    /// the GPU has no memory for its state. After an error, nothing is changed.
    pub fn set_optimizer(&mut self, optimizer: impl Optimizer + 'static) -> Result<(), Error> {
        optimizer.check()?;
        let before = self.optimizer.state();
        let is_new = |role: &&str| !before.contains(role);
        let began = if optimizer.state().iter().any(is_new) {
            self.steps_taken
        } else {
            self.began
        };
        let state =
            optimizer
                .state()
                .iter()
                .map(|role| match before.iter().position(|of| of == role) {
                    Some(at) => Ok(self.state[at].clone()),
                    None => like_parameters(&self.gpu, &self.graph, role),
                });
        self.state = state.collect::<Result<_, _>>()?;
        self.optimizer = Arc::new(optimizer);
        (self.began, self.written) = (began, 0);
        self.recorded.forget();
        Ok(())
    }

    /// The changeable settings. Their state arenas are those of this updater, not copies.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            optimizer: Arc::clone(&self.optimizer),
            groups: self.groups.clone(),
            state: self.state.clone(),
            average: self.average.clone(),
            began: self.began,
        }
    }

    /// Restores earlier settings, after a change has failed.
    pub(crate) fn restore(&mut self, settings: Settings) {
        (self.optimizer, self.groups) = (settings.optimizer, settings.groups);
        (self.state, self.average) = (settings.state, settings.average);
        (self.began, self.written) = (settings.began, 0);
        self.recorded.forget();
    }

    /// The groups of the parameters, which [`set_group`](Self::set_group) sets.
    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The gradients that an update reads.
    pub(crate) fn wanted(&self) -> Wanted {
        self.groups.wanted()
    }

    /// Assigns parameters to a group, whose settings change how the optimizer updates them. `parameters` is a full name
    /// (`layers.0.weight`), the beginning of names up to a dot (`layers.0`), or a pattern in which `*` stands for any
    /// characters (`*.bias`).
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameter matches, no trained parameter would remain, or a setting of the group is
    /// invalid. After an error, nothing is changed.
    pub fn set_group(&mut self, parameters: &str, group: Group) -> Result<(), Error> {
        self.groups.set(parameters, group)?;
        self.recorded.forget();
        Ok(())
    }

    /// Freezes parameters: updates no longer change their values. `parameters` names them as in
    /// [`set_group`](Self::set_group).
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameter matches, or no trained parameter would remain.
    pub fn freeze(&mut self, parameters: &str) -> Result<(), Error> {
        self.groups.freeze(parameters, true)?;
        self.recorded.forget();
        Ok(())
    }

    /// Updates frozen parameters again. `parameters` names them as in [`set_group`](Self::set_group).
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameter matches.
    pub fn unfreeze(&mut self, parameters: &str) -> Result<(), Error> {
        self.groups.freeze(parameters, false)?;
        self.recorded.forget();
        Ok(())
    }

    /// Keeps a moving average of all parameters. It starts at their current values. After each update,
    /// `average ← average + (1 − decay)·(parameter − average)`. The average often predicts better than the parameters
    /// themselves (Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992). If the program
    /// replaces parameters, call this method again: the average would otherwise continue from the old ones.
    ///
    /// # Errors
    /// [`Error::Setting`] when `model` is not the updater's model, or unless 0 ≤ `decay` < 1; [`Error::OutOfMemory`]
    /// when the GPU has no memory for the average.
    pub fn average(&mut self, model: &Model, decay: f32) -> Result<(), Error> {
        self.check_model(model)?;
        check_below_one("decay of the moving average", decay)?;
        let values = model.copied_parameters(AVERAGE)?;
        self.average = Some(Average { decay, values });
        self.recorded.forget();
        Ok(())
    }

    /// Reads the moving average; `None` if [`average`](Self::average) was never called.
    ///
    /// # Errors
    /// [`Error::Setting`] when `model` is not the updater's model, and the errors of
    /// [`Gpu::read_async`](crate::Gpu::read_async).
    pub fn averaged_async(
        &self,
        model: &Model,
    ) -> impl Future<Output = Result<Option<Parameters>, Error>> + use<> {
        let checked = self.check_model(model);
        let average = self.average.as_ref();
        let read = average.map(|average| model.read_like_parameters(&average.values));
        async move {
            checked?;
            match read {
                Some(read) => Ok(Some(read.await?)),
                None => Ok(None),
            }
        }
    }

    /// Reads the moving average; `None` if [`average`](Self::average) was never called.
    ///
    /// # Errors
    /// The errors of [`averaged_async`](Self::averaged_async).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn averaged(&self, model: &Model) -> Result<Option<Parameters>, Error> {
        block_on(self.averaged_async(model))
    }

    /// The decay and the values of the moving average, if one is kept.
    pub(crate) fn average_kept(&self) -> Option<(f32, &Arena)> {
        let average = self.average.as_ref()?;
        Some((average.decay, &average.values))
    }

    /// The arenas of the optimizer's state and of the moving average, each with its name in a checkpoint.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (&'static str, &Arena)> {
        let of_optimizer = self.optimizer.state().iter().copied().zip(&self.state);
        let average = self.average.as_ref().map(|of| (AVERAGE, &of.values));
        of_optimizer.chain(average)
    }

    /// Zeroes the optimizer's state, and restarts a moving average at the current parameters.
    pub(crate) fn forget(&mut self, model: &Model) -> Result<(), Error> {
        (self.began, self.written) = (self.steps_taken, 0);
        for block in self.state.iter().flat_map(Arena::blocks) {
            self.gpu.write(block, &vec![0.0f32; block.len()])?;
        }
        self.begin_average(model, None)
    }

    /// Restarts a moving average at the current parameters: at all of them, or only at the parameter called `name`.
    pub(crate) fn begin_average(&self, model: &Model, name: Option<&str>) -> Result<(), Error> {
        match (&self.average, name) {
            (None, _) => Ok(()),
            (Some(average), None) => model.copy_parameters_to(&average.values),
            (Some(average), Some(name)) => model.copy_parameter_to(name, &average.values),
        }
    }
}
