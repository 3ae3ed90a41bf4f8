//! What an optimizer is.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use super::{Clipped, Schedule, Scheduled, Update};
use crate::error::{Error, number};
use crate::plan::Recorder;
use crate::reference;

/// A rule that changes parameters by their gradients.
pub trait Optimizer: Any + Debug + Send + Sync {
    /// Its name and all its settings, the same in every run, for example `Sgd { learning_rate: 0.1, momentum: 0.9 }`: a
    /// [checkpoint](crate::checkpoint) knows it by this text, and messages call it so.
    fn describe(&self) -> String;

    /// The learning rate, before any [`Schedule`].
    fn learning_rate(&self) -> f32;

    /// The same with another learning rate, before any [`Schedule`].
    fn with_learning_rate(&self, learning_rate: f32) -> Arc<dyn Optimizer>;

    /// Weight decay that takes `learning rate · decay` of every parameter in each step, whatever its gradient;
    /// 0 without it, and where it is scaled as part of the gradient, as by [`Adam`](super::Adam). An [`Error::Diverged`]
    /// names it where it is the cause.
    fn decay(&self) -> f32 {
        0.0
    }

    /// Whether it has a weight decay above 0, of [`decay`](Self::decay) or as part of the gradient. A
    /// [checkpoint](crate::checkpoint) then says which parameters decay by default.
    fn has_weight_decay(&self) -> bool {
        self.decay() > 0.0
    }

    /// Whether its settings make sense.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the one that does not.
    fn check(&self) -> Result<(), Error>;

    /// Names of what it keeps for every parameter from step to step: see [`Update::state`].
    fn state(&self) -> &'static [&'static str] {
        &[]
    }

    /// Numbers of a step, counted from 0, that change from step to step: first the learning rate, then
    /// whatever the update wants, such as the corrections of running means. The latter are asked for by the steps since
    /// what it keeps began with zeros. The host computes them for many steps at a time; an update reads the rate there,
    /// where [`Trainer::set_learning_rate`](crate::Trainer::set_learning_rate) changes it.
    fn coefficients(&self, step: u64) -> [f32; 4] {
        let _ = step;
        [self.learning_rate(), 0.0, 0.0, 0.0]
    }

    /// Records one update of all parameters.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] without room for what lies between its kernels.
    fn update(&self, recorder: &mut Recorder<'_>, pass: Update<'_>) -> Result<(), Error>;

    /// The same rule on ndarray.
    fn reference(&self) -> reference::Rule;

    /// The same with a learning rate that changes.
    fn scheduled(self, schedule: impl Into<Schedule>) -> Scheduled<Self>
    where
        Self: Sized,
    {
        Scheduled {
            optimizer: self,
            schedule: schedule.into(),
        }
    }

    /// The same on gradients whose norm, of those by all parameters together, is at most `max_norm`, as
    /// after `torch.nn.utils.clip_grad_norm_`: larger ones are scaled down.
    ///
    /// Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks", 2013.
    ///
    /// ```
    /// use wgrad::ops::{Adam, Optimizer, Schedule};
    ///
    /// let optimizer = Adam::new(1e-3).clip_norm(1.0).scheduled(Schedule::cosine(10_000));
    /// # assert!(optimizer.check().is_ok());
    /// ```
    fn clip_norm(self, max_norm: f32) -> Clipped<Self>
    where
        Self: Sized,
    {
        Clipped {
            optimizer: self,
            max_norm,
        }
    }
}

/// The coefficients of a step, counted from 0, where an update can be made with its learning rate. (An infinite one is an
/// overflow, and the divergence that it leads to says so.) What the optimizer keeps began with zeros at step `began`.
pub(crate) fn coefficients(
    optimizer: &dyn Optimizer,
    step: u64,
    began: u64,
) -> Result<[f32; 4], Error> {
    let rate = optimizer.coefficients(step)[0];
    let [_, first, second, third] = optimizer.coefficients(step.saturating_sub(began));
    let coefficients = [rate, first, second, third];
    if rate.is_nan() || rate < 0.0 {
        let name = format!("learning rate by the schedule at step {step}, counted from 0,");
        return Err(Error::setting(name, "a number, 0 or above", number(rate)));
    }
    Ok(coefficients)
}

macro_rules! forward_optimizer {
    ($pointer:ty) => {
        impl Optimizer for $pointer {
            fn describe(&self) -> String {
                (**self).describe()
            }

            fn learning_rate(&self) -> f32 {
                (**self).learning_rate()
            }

            fn with_learning_rate(&self, learning_rate: f32) -> Arc<dyn Optimizer> {
                (**self).with_learning_rate(learning_rate)
            }

            fn decay(&self) -> f32 {
                (**self).decay()
            }

            fn has_weight_decay(&self) -> bool {
                (**self).has_weight_decay()
            }

            fn check(&self) -> Result<(), Error> {
                (**self).check()
            }

            fn state(&self) -> &'static [&'static str] {
                (**self).state()
            }

            fn coefficients(&self, step: u64) -> [f32; 4] {
                (**self).coefficients(step)
            }

            fn update(&self, recorder: &mut Recorder<'_>, pass: Update<'_>) -> Result<(), Error> {
                (**self).update(recorder, pass)
            }

            fn reference(&self) -> reference::Rule {
                (**self).reference()
            }
        }
    };
}

// An optimizer that is chosen while the program runs.
forward_optimizer!(Box<dyn Optimizer>);
forward_optimizer!(Arc<dyn Optimizer>);

/// The optimizer within boxes and `Arc`s, as the type that it is.
pub(crate) fn unwrapped_optimizer(optimizer: &dyn Optimizer) -> &dyn Any {
    let any: &dyn Any = optimizer;
    if let Some(boxed) = any.downcast_ref::<Box<dyn Optimizer>>() {
        return unwrapped_optimizer(&**boxed);
    }
    match any.downcast_ref::<Arc<dyn Optimizer>>() {
        Some(shared) => unwrapped_optimizer(&**shared),
        None => any,
    }
}
