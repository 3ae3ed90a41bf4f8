use clap::ValueEnum;
use wgrad::Error;
use wgrad::ops::{AdaGrad, Adam, AdamW, Optimizer, RmsProp, Schedule, Sgd};

use crate::args::{number, shown, whole, with_option};

/// The options of the optimizer.
#[derive(Debug, clap::Args)]
pub(crate) struct OptimizerArgs {
    /// Update rule of the parameters; `momentum` and `nesterov` are `sgd` with a momentum of 0.9. Default: `sgd` for
    /// `--network two-layer`, `adam` for the others
    #[arg(long, value_enum)]
    optimizer: Option<Kind>,

    /// Learning rate. Default: 0.1 for `sgd`, 0.05 for `momentum` and `nesterov`, 0.01 for `adagrad`,
    /// 0.001 for `rmsprop`, `adam` and `adamw`
    #[arg(long, value_name = "RATE", allow_hyphen_values = true, value_parser = number::<f32>)]
    learning_rate: Option<f32>,

    /// Weight decay. Default: 0.01 for `adamw`, where it is decoupled from the gradient, otherwise 0
    #[arg(long, value_name = "X", allow_hyphen_values = true, value_parser = number::<f32>)]
    weight_decay: Option<f32>,

    /// Scale all gradients down if their common norm is larger than this
    #[arg(long, value_name = "X", allow_hyphen_values = true, value_parser = number::<f32>)]
    clip_norm: Option<f32>,

    /// How the learning rate changes: `step` multiplies it by `--schedule-factor` every `--schedule-every` steps,
    /// `cosine` lowers it to 0 over `--steps` steps
    #[arg(long, value_enum, default_value_t = Shape::Constant)]
    schedule: Shape,

    /// Steps between two changes of the learning rate by `--schedule step`
    #[arg(long, value_name = "STEPS", value_parser = whole::<u64>)]
    schedule_every: Option<u64>,

    /// Factor by which `--schedule step` multiplies the learning rate. Default: 0.1
    #[arg(long, value_name = "X", allow_hyphen_values = true, value_parser = number::<f64>)]
    schedule_factor: Option<f64>,

    /// Number of steps at the beginning in which the learning rate rises linearly
    #[arg(long, value_name = "STEPS", default_value_t = 0, value_parser = whole::<usize>)]
    warm_up: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Sgd,
    Momentum,
    Nesterov,
    #[value(name = "adagrad")]
    AdaGrad,
    #[value(name = "rmsprop")]
    RmsProp,
    Adam,
    #[value(name = "adamw")]
    AdamW,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shape {
    Constant,
    Step,
    Cosine,
}

/// Pairs of a setting's name in errors of the library, and the option that sets it.
const OPTIONS: [(&str, &str); 5] = [
    ("learning rate", "--learning-rate"),
    ("weight decay", "--weight-decay"),
    ("largest norm of the gradient", "--clip-norm"),
    ("number of steps of a schedule", "--schedule-every"),
    ("factor of a schedule", "--schedule-factor"),
];

/// The default of `--schedule-factor`, as in PyTorch's `StepLR`.
const FACTOR: f64 = 0.1;

impl OptimizerArgs {
    /// Selects Adam if `--optimizer` was left out.
    pub(crate) fn default_to_adam(&mut self) {
        self.optimizer.get_or_insert(Kind::Adam);
    }

    fn kind(&self) -> Kind {
        self.optimizer.unwrap_or(Kind::Sgd)
    }

    /// Checks that the options are valid for a training of `steps` steps.
    pub(crate) fn check(&self, steps: usize) -> Result<(), Error> {
        if self.warm_up >= steps {
            return Err(Error::Setting {
                name: "--warm-up".to_owned(),
                expected: format!("below --steps, which is {steps}"),
                found: self.warm_up.to_string(),
            });
        }
        self.check_schedule()?;
        let checked = self.build(steps).check();
        checked.map_err(|error| with_option(error, &OPTIONS))
    }

    /// Checks that the options of `--schedule step` are given where they are needed, and are left out otherwise.
    fn check_schedule(&self) -> Result<(), Error> {
        let must_be = |option: &str, expected: &str, found: String| {
            Err(Error::Setting {
                name: option.to_owned(),
                expected: expected.to_owned(),
                found,
            })
        };
        let expected = "left out, or given together with --schedule step";
        match (self.schedule, self.schedule_every, self.schedule_factor) {
            (Shape::Step, None, _) => {
                let expected = "a number of steps with --schedule step";
                must_be("--schedule-every", expected, "left out".to_owned())
            }
            (Shape::Step, Some(_), _) | (_, None, None) => Ok(()),
            (_, Some(every), _) => must_be("--schedule-every", expected, every.to_string()),
            (_, None, Some(factor)) => must_be("--schedule-factor", expected, shown(factor)),
        }
    }

    /// The settings of `--schedule step`: its interval in steps, and its factor.
    fn every_and_factor(&self) -> (u64, f64) {
        let factor = self.schedule_factor.unwrap_or(FACTOR);
        (self.schedule_every.unwrap_or(0), factor)
    }

    /// Builds the optimizer for a training of `steps` steps.
    pub(crate) fn build(&self, steps: usize) -> Box<dyn Optimizer> {
        let mut rule = self.rule();
        if let Some(max_norm) = self.clip_norm {
            rule = Box::new(rule.clip_norm(max_norm));
        }
        // Add a schedule only if it is needed: an optimizer with any schedule, even a constant one, has no fused plan.
        match self.schedule(steps) {
            Some(schedule) => Box::new(rule.scheduled(schedule)),
            None => rule,
        }
    }

    fn rule(&self) -> Box<dyn Optimizer> {
        let rate = self.rate();
        let decay = self.weight_decay;
        let sgd = Sgd::new(rate).weight_decay(decay.unwrap_or(0.0));
        match self.kind() {
            Kind::Sgd => Box::new(sgd),
            Kind::Momentum => Box::new(sgd.momentum(0.9)),
            Kind::Nesterov => Box::new(sgd.momentum(0.9).nesterov()),
            Kind::AdaGrad => Box::new(AdaGrad::new(rate).weight_decay(decay.unwrap_or(0.0))),
            Kind::RmsProp => Box::new(RmsProp::new(rate).weight_decay(decay.unwrap_or(0.0))),
            Kind::Adam => Box::new(Adam::new(rate).weight_decay(decay.unwrap_or(0.0))),
            Kind::AdamW => Box::new(match decay {
                Some(decay) => AdamW::new(rate).weight_decay(decay),
                None => AdamW::new(rate),
            }),
        }
    }

    fn rate(&self) -> f32 {
        self.learning_rate.unwrap_or(match self.kind() {
            Kind::Sgd => 0.1,
            Kind::Momentum | Kind::Nesterov => 0.05,
            Kind::AdaGrad => 0.01,
            Kind::RmsProp | Kind::Adam | Kind::AdamW => 0.001,
        })
    }

    /// Whether the schedule depends on `--steps`. If so, a resumed training must have the same `--steps`.
    pub(crate) fn is_bound_to_steps(&self) -> bool {
        matches!(self.schedule, Shape::Cosine)
    }

    /// Returns advice for a training of `steps` steps that has diverged.
    pub(crate) fn remedy(&self, steps: usize) -> String {
        let rate = self.rate();
        let decay = self.build(steps).decay();
        let lower = format!(
            "lower the learning rate with --learning-rate (it is {})",
            shown(rate)
        );
        match self.schedule_factor {
            _ if rate * decay >= 2.0 => format!(
                "lower the weight decay with --weight-decay (it is {}), or {lower}: their product is {}, and at 2 or \
                 above the weight decay alone makes parameters grow",
                shown(decay),
                shown(rate * decay)
            ),
            Some(factor) if factor > 1.0 => {
                format!(
                    "{lower}, or --schedule-factor, by which it grows (it is {})",
                    shown(factor)
                )
            }
            _ => lower,
        }
    }

    fn schedule(&self, steps: usize) -> Option<Schedule> {
        let warm_up = self.warm_up as u64;
        let shape = match self.schedule {
            Shape::Constant if warm_up == 0 => return None,
            Shape::Constant => Schedule::constant(),
            // `Step` and `Cosine` count their steps from the end of the warm-up.
            Shape::Step => {
                let (every, factor) = self.every_and_factor();
                Schedule::step(every, factor)
            }
            Shape::Cosine => Schedule::cosine((steps as u64).saturating_sub(warm_up)),
        };
        Some(shape.warm_up(warm_up))
    }

    /// Describes the optimizer and its settings in one line.
    pub(crate) fn description(&self, steps: usize) -> String {
        let name = self.kind().to_possible_value();
        let name = name.as_ref().map_or("", |value| value.get_name());
        let mut parts = vec![format!("optimizer: {name}, learning rate {}", self.rate())];
        match self.schedule {
            Shape::Constant => {}
            Shape::Step => {
                let (every, factor) = self.every_and_factor();
                parts.push(format!("times {factor} every {every} steps"));
            }
            Shape::Cosine => parts.push(format!("cosine decay to 0 at step {steps}")),
        }
        if self.warm_up > 0 {
            parts.push(format!("warm-up of {} steps", self.warm_up));
        }
        if let Some(decay) = self.weight_decay {
            parts.push(format!("weight decay {decay}"));
        }
        if let Some(max_norm) = self.clip_norm {
            parts.push(format!("gradients clipped to a norm of {max_norm}"));
        }
        parts.join(", ")
    }
}
