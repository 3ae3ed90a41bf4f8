//! The optimizer of a golden training. The file's hyperparameters have PyTorch's names. If one is missing, it has
//! PyTorch's default.

use wgrad::ops::{AdaGrad, Adam, AdamW, Group, Optimizer, RmsProp, Sgd};
use wgrad::reference::{self, Rule};

use crate::file::{File, Refusal};
use crate::scheduler::Scheduler;

/// The update method, the maximum gradient norm if gradients are clipped, and the scheduler if there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OptimizerSpec {
    method: Method,
    max_norm: Option<f64>,
    scheduler: Option<Scheduler>,
}

/// The update method, with all hyperparameters in `f64`.
#[derive(Debug, Clone, Copy)]
enum Method {
    Sgd(reference::Sgd),
    Adam(reference::Adam),
    AdaGrad(reference::AdaGrad),
    RmsProp(reference::RmsProp),
}

/// Keys of PyTorch features that the crate does not support. Only values that switch the feature off are accepted.
const OFF: [&str; 7] = [
    "dampening",
    "maximize",
    "amsgrad",
    "centered",
    "lr_decay",
    "initial_accumulator_value",
    "momentum",
];

impl OptimizerSpec {
    pub(crate) fn read(file: &File) -> Result<Self, Refusal> {
        let number = |key: &str, default: f64| Ok(file.number(key)?.unwrap_or(default));
        let name = file.key("optimizer")?;
        let default_decay = if name == "adamw" { 0.01 } else { 0.0 };
        let weight_decay = number("weight_decay", default_decay)?;
        let method = match name {
            "sgd" => Method::Sgd(reference::Sgd {
                momentum: number("momentum", 0.0)?,
                is_nesterov: is_true(file, "nesterov")?,
                weight_decay,
            }),
            "adam" | "adamw" => Method::Adam(reference::Adam {
                betas: betas(file)?,
                epsilon: number("eps", 1e-8)?,
                weight_decay,
                is_decoupled: name == "adamw",
                is_lazy: false,
            }),
            "adagrad" => Method::AdaGrad(reference::AdaGrad {
                epsilon: number("eps", 1e-10)?,
                weight_decay,
            }),
            "rmsprop" => Method::RmsProp(reference::RmsProp {
                alpha: number("alpha", 0.99)?,
                epsilon: number("eps", 1e-8)?,
                weight_decay,
            }),
            other => return Err(file.unknown("optimizer", other)),
        };
        for key in OFF {
            match file.find(key) {
                Some(_) if key == "momentum" && name == "sgd" => {}
                Some(value) if !is_off(value) => return Err(file.unknown(key, value)),
                _ => {}
            }
        }
        let max_norm = file.number("max_norm")?;
        let scheduler = Scheduler::read(file)?;
        Ok(Self {
            method,
            max_norm,
            scheduler,
        })
    }

    /// Returns whether the learning rate is the only hyperparameter.
    pub(crate) fn is_plain(&self) -> bool {
        let is_plain = matches!(
            self.method,
            Method::Sgd(sgd) if sgd.momentum == 0.0 && sgd.weight_decay == 0.0
        );
        is_plain && self.max_norm.is_none() && self.scheduler.is_none()
    }

    /// Returns a group in which weight decay applies to all parameters, as in PyTorch. In the crate's default, it
    /// applies only to weights.
    pub(crate) fn group(&self) -> Group {
        let weight_decay = match self.method {
            Method::Sgd(asked) => asked.weight_decay,
            Method::Adam(asked) => asked.weight_decay,
            Method::AdaGrad(asked) => asked.weight_decay,
            Method::RmsProp(asked) => asked.weight_decay,
        };
        if weight_decay == 0.0 {
            Group::new()
        } else {
            Group::new().weight_decay(single(weight_decay))
        }
    }

    /// Returns the factor of the learning rate at a step.
    pub(crate) fn factor(&self, step: u64) -> f64 {
        let scheduler = self.scheduler;
        scheduler.map_or(1.0, |scheduler| scheduler.factor(step))
    }

    /// Returns the reference with these hyperparameters, and its number of state values per parameter.
    pub(crate) fn rule(&self) -> (Rule, usize) {
        let (rule, kept) = match self.method {
            Method::Sgd(sgd) => (Rule::of(sgd), usize::from(sgd.momentum != 0.0)),
            Method::Adam(adam) => (Rule::of(adam), 2),
            Method::AdaGrad(ada_grad) => (Rule::of(ada_grad), 1),
            Method::RmsProp(rms_prop) => (Rule::of(rms_prop), 1),
        };
        let rule = match self.max_norm {
            Some(max_norm) => Rule::of(reference::Clipped { rule, max_norm }),
            None => rule,
        };
        (rule, kept)
    }

    /// Returns the crate's optimizer with these hyperparameters, rounded to `f32`.
    pub(crate) fn build(&self, learning_rate: f32) -> Box<dyn Optimizer> {
        let optimizer = self.method.build(learning_rate);
        let optimizer = match self.max_norm {
            Some(max_norm) => Box::new(optimizer.clip_norm(single(max_norm))),
            None => optimizer,
        };
        match self.scheduler {
            Some(scheduler) => Box::new(optimizer.scheduled(scheduler.build())),
            None => optimizer,
        }
    }
}

fn single(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "the crate's own type")]
    let value = value as f32;
    value
}

impl Method {
    fn build(self, learning_rate: f32) -> Box<dyn Optimizer> {
        match self {
            Self::Sgd(asked) => {
                let sgd = Sgd::new(learning_rate)
                    .momentum(single(asked.momentum))
                    .weight_decay(single(asked.weight_decay));
                Box::new(if asked.is_nesterov {
                    sgd.nesterov()
                } else {
                    sgd
                })
            }
            Self::Adam(asked) if asked.is_decoupled => Box::new(
                AdamW::new(learning_rate)
                    .betas(single(asked.betas[0]), single(asked.betas[1]))
                    .epsilon(single(asked.epsilon))
                    .weight_decay(single(asked.weight_decay)),
            ),
            Self::Adam(asked) => Box::new(
                Adam::new(learning_rate)
                    .betas(single(asked.betas[0]), single(asked.betas[1]))
                    .epsilon(single(asked.epsilon))
                    .weight_decay(single(asked.weight_decay)),
            ),
            Self::AdaGrad(asked) => Box::new(
                AdaGrad::new(learning_rate)
                    .epsilon(single(asked.epsilon))
                    .weight_decay(single(asked.weight_decay)),
            ),
            Self::RmsProp(asked) => Box::new(
                RmsProp::new(learning_rate)
                    .alpha(single(asked.alpha))
                    .epsilon(single(asked.epsilon))
                    .weight_decay(single(asked.weight_decay)),
            ),
        }
    }
}

fn is_off(value: &str) -> bool {
    value.trim().parse() == Ok(0.0) || value.trim().eq_ignore_ascii_case("false")
}

fn is_true(file: &File, key: &str) -> Result<bool, Refusal> {
    match file.find(key) {
        None => Ok(false),
        Some(value) if is_off(value) => Ok(false),
        Some(value) if value.trim().eq_ignore_ascii_case("true") || value.trim() == "1" => Ok(true),
        Some(value) => Err(file.unknown(key, value)),
    }
}

/// Reads the two betas of Adam: from one key (`0.9,0.999`, with or without brackets) or from two separate keys.
fn betas(file: &File) -> Result<[f64; 2], Refusal> {
    let Some(text) = file.find("betas") else {
        let [first, second] = [file.number("beta1")?, file.number("beta2")?];
        return Ok([first.unwrap_or(0.9), second.unwrap_or(0.999)]);
    };
    let numbers = text.trim_matches(['(', ')', '[', ']', ' ']).split(',');
    let numbers: Result<Vec<f64>, _> = numbers.map(|number| number.trim().parse()).collect();
    match numbers.as_deref() {
        Ok(&[first, second]) => Ok([first, second]),
        _ => Err(file.unknown("betas", text)),
    }
}
