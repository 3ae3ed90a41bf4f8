//! The learning rate scheduler of a golden training. Its settings have PyTorch's names.

use std::f64::consts::PI;
use std::num::NonZero;

use wgrad::ops::Schedule;

use crate::file::{File, Refusal};

/// A PyTorch scheduler that is advanced after each step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scheduler {
    /// PyTorch's `StepLR`.
    Step { step_size: NonZero<u64>, gamma: f64 },
    /// PyTorch's `CosineAnnealingLR`, after `warm_up` steps of a `LinearLR` that starts at 1/`warm_up` of the learning
    /// rate.
    Cosine { t_max: NonZero<u64>, warm_up: u64 },
}

impl Scheduler {
    /// Reads the scheduler. Returns `None` if the learning rate is constant.
    pub(crate) fn read(file: &File) -> Result<Option<Self>, Refusal> {
        let missing = |key: &str| file.failed(format!("metadata key \"{key}\" is missing"));
        Ok(Some(match file.find("scheduler") {
            None => return Ok(None),
            Some("step_lr") => Self::Step {
                step_size: file
                    .number("step_size")?
                    .ok_or_else(|| missing("step_size"))?,
                gamma: file.number("gamma")?.ok_or_else(|| missing("gamma"))?,
            },
            Some("cosine_annealing_lr") => Self::Cosine {
                t_max: file.number("T_max")?.ok_or_else(|| missing("T_max"))?,
                warm_up: file.number("warm_up")?.unwrap_or(0),
            },
            Some(other) => return Err(file.unknown("scheduler", other)),
        }))
    }

    /// Returns the factor of the learning rate at a step, which is counted from 0, by PyTorch's formulas.
    pub(crate) fn factor(self, step: u64) -> f64 {
        match self {
            Self::Step { step_size, gamma } => (0..step / step_size).map(|_| gamma).product(),
            Self::Cosine { warm_up, .. } if step < warm_up => (step + 1) as f64 / warm_up as f64,
            Self::Cosine { t_max, warm_up } => {
                let part = (step - warm_up) as f64 / t_max.get() as f64;
                0.5 + 0.5 * (PI * part).cos()
            }
        }
    }

    /// Returns the crate's schedule with these settings.
    pub(crate) fn build(self) -> Schedule {
        match self {
            Self::Step { step_size, gamma } => Schedule::step(step_size.get(), gamma),
            Self::Cosine { t_max, warm_up } => Schedule::cosine(t_max.get()).warm_up(warm_up),
        }
    }
}
