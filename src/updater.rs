//! Parameters that change by their gradients.

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

/// Steps whose coefficients are written at a time, at the least.
const ANNOUNCED: u64 = 256;

/// An optimizer with what it keeps from step to step, for the parameters of one model: the last part of a step. The
/// others are those of a [`Pass`], where there is an example.
#[derive(Debug)]
pub struct Updater {
    gpu: Gpu,
    graph: Arc<Graph>,
    /// Those of the model.
    parameters: Arena,
    optimizer: Arc<dyn Optimizer>,
    groups: Groups,
    /// What the optimizer keeps, an arena for each of its names.
    state: Vec<Arena>,
    average: Option<Average>,
    /// (slots, 4): see [`Update::coefficients`].
    coefficients: Tensor,
    /// Steps up to here have their coefficients on the device.
    written: u64,
    /// (1, 1): steps taken, as the device counts them.
    step_count: Tensor,
    steps_taken: u64,
    /// The step at which what the optimizer keeps began with zeros.
    began: u64,
    /// The updates by the gradients of the passes that came last.
    recorded: Latest<(Arena, Plan)>,
}

/// How an updater updates.
#[derive(Debug)]
pub(crate) struct Settings {
    optimizer: Arc<dyn Optimizer>,
    groups: Groups,
    state: Vec<Arena>,
    average: Option<Average>,
    began: u64,
}

/// Moving averages of all parameters.
#[derive(Debug, Clone)]
struct Average {
    decay: f32,
    values: Arena,
}

impl Updater {
    /// With nothing kept yet.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting of the optimizer makes no sense, [`Error::OutOfMemory`] or [`Error::Limit`] when
    /// the GPU has no room for what it keeps.
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

    /// Changes all parameters by the gradients of the last [`backward`](Pass::backward) of a pass. Submits, and returns
    /// at once. What it submits is recorded once for each pass, and kept for the last four, with
    /// their gradients.
    ///
    /// # Errors
    /// [`Error::Setting`] when the pass is of another model, or the schedule gives a learning rate that is negative or not
    /// a number; or an error of the device.
    pub fn update(&mut self, model: &mut Model, pass: &mut Pass) -> Result<(), Error> {
        let gpu = self.gpu.clone();
        self.step(model, pass, |plan| gpu.submit(plan, 1).map(drop))
    }

    /// [`update`](Self::update) within the caller's own compute pass. It counts as made once it is recorded: submit it
    /// before any others of this updater.
    ///
    /// # Errors
    /// As [`update`](Self::update).
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

    /// Whether a model is the one that this is for.
    fn check_model(&self, model: &Model) -> Result<(), Error> {
        if model.parameter_arena().is_same(&self.parameters) {
            return Ok(());
        }
        let expected = "the model for which the updater was made: its state belongs to the parameters of that model";
        Err(Error::setting(
            "model of an updater",
            expected,
            "another model",
        ))
    }

    /// Runs the update by the gradients of a pass, which is recorded unless it was before.
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

    /// Records an update of a model, which does not count the step.
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

    /// Writes the coefficients of the next `count` steps, if they are not there: of many steps at a time. What was
    /// submitted before still sees the old values.
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
                    // Nobody has asked for it yet.
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

    /// So many more steps were submitted, which the device counts.
    pub(crate) fn advance(&mut self, count: usize) {
        self.steps_taken += count as u64;
    }

    /// The step at which what the optimizer keeps began with zeros.
    pub(crate) fn began(&self) -> u64 {
        self.began
    }

    /// Counts on from another step, with what is kept since `began`.
    pub(crate) fn count_from(&mut self, steps_taken: u64, began: u64) -> Result<(), Error> {
        #[expect(clippy::cast_possible_truncation, reason = "wraps, as on a GPU")]
        self.gpu.write(&self.step_count, &[steps_taken as u32])?;
        (self.steps_taken, self.written, self.began) = (steps_taken, 0, began);
        Ok(())
    }

    /// Updates made so far.
    #[must_use]
    pub fn steps_taken(&self) -> u64 {
        self.steps_taken
    }

    /// (1, 1): the same on the device.
    pub(crate) fn step_count(&self) -> &Tensor {
        &self.step_count
    }

    /// The optimizer as it is now.
    #[must_use]
    pub fn optimizer(&self) -> &Arc<dyn Optimizer> {
        &self.optimizer
    }

    /// Goes on with another learning rate, before any schedule.
    ///
    /// # Errors
    /// [`Error::Setting`] when it is no finite number above 0.
    pub fn set_learning_rate(&mut self, learning_rate: f32) -> Result<(), Error> {
        let optimizer = self.optimizer.with_learning_rate(learning_rate);
        optimizer.check()?;
        self.optimizer = optimizer;
        // The kernels read the rate among the coefficients.
        self.written = 0;
        Ok(())
    }

    /// Goes on with another optimizer. What both keep under the same name goes on; all else that it keeps begins with
    /// zeros. The steps count on.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting of it makes no sense, [`Error::OutOfMemory`] or [`Error::Limit`] when the GPU has
    /// no room for what it keeps; then nothing is changed.
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

    /// What can be changed of it; what is kept from step to step is shared.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            optimizer: Arc::clone(&self.optimizer),
            groups: self.groups.clone(),
            state: self.state.clone(),
            average: self.average.clone(),
            began: self.began,
        }
    }

    /// Goes on as it was when it had these settings.
    pub(crate) fn restore(&mut self, settings: Settings) {
        (self.optimizer, self.groups) = (settings.optimizer, settings.groups);
        (self.state, self.average) = (settings.state, settings.average);
        (self.began, self.written) = (settings.began, 0);
        self.recorded.forget();
    }

    /// The groups of the parameters: [`set_group`](Self::set_group) says which is in which.
    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The gradients that an update reads.
    pub(crate) fn wanted(&self) -> Wanted {
        self.groups.wanted()
    }

    /// Updates parameters in another way than the optimizer says: the one of this name (`layers.0.weight`), those whose
    /// names begin so up to a point (`layers.0`), or those that a pattern fits, in which `*` stands for any characters
    /// (`*.bias`).
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameter is meant, none would be trained, or a number of the group makes no sense;
    /// then nothing is changed.
    pub fn set_group(&mut self, parameters: &str, group: Group) -> Result<(), Error> {
        self.groups.set(parameters, group)?;
        self.recorded.forget();
        Ok(())
    }

    /// Leaves parameters as they are from now on; they are named as in [`set_group`](Self::set_group).
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameter is meant, or none would be trained.
    pub fn freeze(&mut self, parameters: &str) -> Result<(), Error> {
        self.groups.freeze(parameters, true)?;
        self.recorded.forget();
        Ok(())
    }

    /// Goes on with frozen parameters.
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameter is meant.
    pub fn unfreeze(&mut self, parameters: &str) -> Result<(), Error> {
        self.groups.freeze(parameters, false)?;
        self.recorded.forget();
        Ok(())
    }

    /// Keeps a moving average of all parameters from now on, which begins with the present ones: behind each update
    /// `average ← average + (1 − decay)·(parameter − average)`. It often gives better predictions than the parameters
    /// themselves (Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992). Whoever sets the
    /// parameters from outside calls it again, so that it does not go on from those before.
    ///
    /// # Errors
    /// [`Error::Setting`] when `decay` is not at least 0 and below 1; [`Error::OutOfMemory`] without room for it.
    pub fn average(&mut self, model: &Model, decay: f32) -> Result<(), Error> {
        self.check_model(model)?;
        check_below_one("decay of the moving average", decay)?;
        let values = model.copied_parameters(AVERAGE)?;
        self.average = Some(Average { decay, values });
        self.recorded.forget();
        Ok(())
    }

    /// Reads the moving average, if one is kept.
    ///
    /// # Errors
    /// [`Error::Setting`] when the model is another than that of this updater; else as
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

    /// Reads the moving average, if one is kept.
    ///
    /// # Errors
    /// As [`averaged_async`](Self::averaged_async).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn averaged(&self, model: &Model) -> Result<Option<Parameters>, Error> {
        block_on(self.averaged_async(model))
    }

    /// The decay of the moving average, if one is kept, and its values.
    pub(crate) fn average_kept(&self) -> Option<(f32, &Arena)> {
        let average = self.average.as_ref()?;
        Some((average.decay, &average.values))
    }

    /// What is kept from step to step, by the names that a checkpoint has for it.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (&'static str, &Arena)> {
        let of_optimizer = self.optimizer.state().iter().copied().zip(&self.state);
        let average = self.average.as_ref().map(|of| (AVERAGE, &of.values));
        of_optimizer.chain(average)
    }

    /// Forgets what the optimizer keeps; a moving average begins with the present parameters.
    pub(crate) fn forget(&mut self, model: &Model) -> Result<(), Error> {
        (self.began, self.written) = (self.steps_taken, 0);
        for block in self.state.iter().flat_map(Arena::blocks) {
            self.gpu.write(block, &vec![0.0f32; block.len()])?;
        }
        self.begin_average(model, None)
    }

    /// Has the moving average begin anew with the present parameters, or with the one of a name.
    pub(crate) fn begin_average(&self, model: &Model, name: Option<&str>) -> Result<(), Error> {
        match (&self.average, name) {
            (None, _) => Ok(()),
            (Some(average), None) => model.copy_parameters_to(&average.values),
            (Some(average), Some(name)) => model.copy_parameter_to(name, &average.values),
        }
    }
}
