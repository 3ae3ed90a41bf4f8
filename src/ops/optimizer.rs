//! The trait for optimizers.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use super::{Clipped, Schedule, Scheduled, Update};
use crate::error::{Error, number};
use crate::plan::Recorder;
use crate::reference;

/// An optimizer: a rule that updates parameters from their gradients.
pub trait Optimizer: Any + Debug + Send + Sync {
    /// Returns the optimizer's name and all its settings, for example `Sgd { learning_rate: 0.1, momentum: 0.9 }`. The
    /// text is the same in every run: a [checkpoint](crate::checkpoint) identifies the optimizer by it, and messages
    /// use it.
    fn describe(&self) -> String;

    /// Returns the learning rate, before any [`Schedule`] is applied.
    fn learning_rate(&self) -> f32;

    /// Returns the same optimizer with another learning rate. A [`Schedule`] still multiplies this learning rate.
    fn with_learning_rate(&self, learning_rate: f32) -> Arc<dyn Optimizer>;

    /// Returns the decoupled weight decay: each step subtracts `learning rate · decay · parameter`, independently of
    /// the gradient. It is 0 for an optimizer without weight decay, and for one that adds the decay to the gradient,
    /// such as [`Adam`](super::Adam). If this decay makes a training diverge, [`Error::Diverged`] says so.
    fn decay(&self) -> f32 {
        0.0
    }

    /// Returns whether there is a weight decay above 0: either [`decay`](Self::decay), or one that is added to the
    /// gradient. If so, a [checkpoint](crate::checkpoint) records which parameters decay by default.
    fn has_weight_decay(&self) -> bool {
        self.decay() > 0.0
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Setting`] if a setting is invalid. The error names the setting.
    fn check(&self) -> Result<(), Error>;

    /// Returns the names of the optimizer's state tensors. They store numbers for every parameter from step to step,
    /// such as running means. See [`Update::state`].
    fn state(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns four numbers that may change from step to step. Steps are counted from 0.
    ///
    /// The first number is the learning rate. The optimizer defines the other three, for example as corrections of
    /// running means; for these, `step` is the number of steps since the optimizer's state was zero. The host computes
    /// the numbers for many steps in advance. An update must read its learning rate from here, because
    /// [`Trainer::set_learning_rate`](crate::Trainer::set_learning_rate) changes it here.
    fn coefficients(&self, step: u64) -> [f32; 4] {
        let _ = step;
        [self.learning_rate(), 0.0, 0.0, 0.0]
    }

    /// Records one update of all parameters.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the GPU has no memory for the update's temporary tensors.
    fn update(&self, recorder: &mut Recorder<'_>, pass: Update<'_>) -> Result<(), Error>;

    /// Returns the reference implementation of the update, which computes with ndarray.
    fn reference(&self) -> reference::Rule;

    /// Returns the same optimizer with a learning rate that follows a schedule.
    fn scheduled(self, schedule: impl Into<Schedule>) -> Scheduled<Self>
    where
        Self: Sized,
    {
        Scheduled {
            optimizer: self,
            schedule: schedule.into(),
        }
    }

    /// Returns the same optimizer with gradient clipping: the gradients are scaled down if their norm, over all
    /// parameters together, is above `max_norm`, like `torch.nn.utils.clip_grad_norm_`.
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

/// Returns the coefficients of a step, for an optimizer whose state was zero at step `began`. Steps are counted from 0.
/// A learning rate that is NaN or negative is an error. An infinite learning rate is accepted here: the training then
/// diverges, and [`Error::Diverged`] reports it.
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

// For an optimizer that is chosen at run time.
forward_optimizer!(Box<dyn Optimizer>);
forward_optimizer!(Arc<dyn Optimizer>);

/// Returns the optimizer inside any boxes and `Arc`s, so that it can be downcast to its own type.
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
