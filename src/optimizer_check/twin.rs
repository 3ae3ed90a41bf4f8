//! The reference of an optimizer: its steps, and the tests of the properties of every optimizer.

use ndarray::{Array2, s};

use super::case::{At, Case, Kind, Values};
use crate::check::caught;
use crate::error::{CheckError, OptimizerFault};
use crate::ops::{Group, Optimizer};
use crate::reference::{Float, Rule, UpdateStep};
use crate::shape::TensorShape;

/// A weight decay that is no optimizer's default.
const DECAY: f32 = 0.125;

/// The reference of an optimizer, and the reference of the same optimizer with another learning rate.
#[derive(Debug)]
pub(super) struct Twin<'a> {
    name: &'a str,
    rules: [Rule; 2],
    /// Number of state values per element of a parameter.
    states: usize,
}

/// A step's index and learning rate, and which of the two references of a [`Twin`] takes the step.
#[derive(Debug, Clone, Copy)]
pub(super) struct When {
    pub(super) step: u64,
    pub(super) rate: f32,
    /// Whether the reference with the other learning rate takes the step.
    pub(super) is_other: bool,
}

impl From<&At> for When {
    fn from(at: &At) -> Self {
        Self {
            step: at.step,
            rate: at.coefficients[0],
            is_other: at.is_other,
        }
    }
}

impl<'a> Twin<'a> {
    pub(super) fn new(
        name: &'a str,
        [own, other]: [&dyn Optimizer; 2],
    ) -> Result<Self, CheckError> {
        let of = |optimizer: &dyn Optimizer| {
            caught(name, "Optimizer::reference", || optimizer.reference())
        };
        let rules = [of(own)?, of(other)?];
        Ok(Self {
            name,
            rules,
            states: own.state().len(),
        })
    }

    /// Returns the gradients as the rule changes them before a step. Gradients of frozen parameters count as zeros for
    /// the rule and are returned unchanged.
    pub(super) fn prepared<F: Float>(
        &self,
        when: When,
        groups: &[Group],
        gradients: &[Array2<F>],
    ) -> Result<Vec<Array2<F>>, CheckError> {
        let frozen = |index: &usize| groups[*index].is_frozen();
        let mut prepared = gradients.to_vec();
        for index in (0..groups.len()).filter(frozen) {
            prepared[index].fill(F::zero());
        }
        let rule = F::rule(&self.rules[usize::from(when.is_other)]);
        caught(self.name, "the reference's prepare", || {
            rule.prepare(&mut prepared);
        })?;
        for index in (0..groups.len()).filter(frozen) {
            prepared[index].clone_from(&gradients[index]);
        }
        for (before, after) in gradients.iter().zip(&prepared) {
            if before.dim() != after.dim() {
                let found = [before, after].map(|of| format!("{} × {}", of.nrows(), of.ncols()));
                let what = "the shape of gradient after the reference's prepare";
                let remedy = "Write into the given arrays";
                return Err(OptimizerFault::stated(self.name, what, found, remedy).into());
            }
        }
        Ok(prepared)
    }

    /// Takes a step from these values, with the learning rate multiplied by `factor`.
    pub(super) fn step<F: Float>(
        &self,
        when: When,
        groups: &[Group],
        before: &Values<F>,
        factor: F,
    ) -> Result<Values<F>, CheckError> {
        self.step_by_rows(when, groups, before, factor, usize::MAX)
    }

    /// Takes a step from these values, passing `at_once` rows of a parameter per call.
    fn step_by_rows<F: Float>(
        &self,
        when: When,
        groups: &[Group],
        before: &Values<F>,
        factor: F,
        at_once: usize,
    ) -> Result<Values<F>, CheckError> {
        let rule = F::rule(&self.rules[usize::from(when.is_other)]);
        let mut after = before.clone();
        after.gradients = self.prepared(when, groups, &before.gradients)?;
        let Values {
            parameters,
            gradients,
            state,
        } = &mut after;
        let all = parameters.iter_mut().zip(gradients).zip(state).zip(groups);
        for (((parameter, gradient), state), group) in all {
            if group.is_frozen() {
                continue;
            }
            let rate = f64::from(when.rate * group.rate_of());
            let mut at = UpdateStep::new(when.step, F::from_f64(rate) * factor);
            at.weight_decay = group.own_decay().map(|decay| F::from_f64(decay.into()));
            let [rows, columns] = [parameter.nrows(), parameter.ncols()];
            let shape = TensorShape::from([rows, columns]);
            let what = format!("the reference's update ({shape} parameters)");
            for first in (0..rows).step_by(at_once.min(rows)) {
                let part = s![first..rows.min(first.saturating_add(at_once)), ..];
                let mut state: Vec<_> = state.iter_mut().map(|kept| kept.slice_mut(part)).collect();
                caught(self.name, &what, || {
                    let parameter = parameter.slice_mut(part);
                    rule.update(at, parameter, gradient.slice(part), &mut state);
                })?;
            }
        }
        Ok(after)
    }

    /// Checks that the same operands give the same bits when the step is repeated, and when it is taken row by row.
    pub(super) fn check_repeatable(&self, case: &Case) -> Result<(), CheckError> {
        let groups = case.groups();
        let before = case.start().cast::<f64>();
        let when = When::from(&case.steps[0]);
        let step = || self.step(when, &groups, &before, 1.0);
        let [first, second] = [step()?, step()?];
        check_same(case, [&first, &second], "the reference")?;
        let by_rows = self.step_by_rows(when, &groups, &before, 1.0, 1)?;
        check_same(case, [&first, &by_rows], "the reference").map_err(|_| {
            let what = "a step of the reference on one row of a parameter at a time";
            let found = ["the same as on all rows at once", "another result"].map(str::to_owned);
            let remedy = "Change each element only by its own gradient and state";
            OptimizerFault::stated(self.name, what, found, remedy).into()
        })
    }

    /// Checks that a learning rate of 0 changes no parameter, if the state is 0 and there is no weight decay. (A decay
    /// need not depend on the learning rate.)
    pub(super) fn check_rate_of_zero(&self, case: &Case) -> Result<(), CheckError> {
        let groups = vec![Group::new().weight_decay(0.0); case.specs.len()];
        let before = case.start().cast::<f64>();
        let when = When {
            step: 0,
            rate: 0.0,
            is_other: false,
        };
        let after = self.step(when, &groups, &before, 1.0)?;
        for parameter in 0..groups.len() {
            let [from, to] = [&before, &after].map(|values| &values.parameters[parameter]);
            let moves = from.iter().zip(to).map(|(from, to)| (to - from).abs());
            let moved = moves.enumerate().filter(|(_, by)| *by != 0.0);
            if let Some((at, _)) = moved.max_by(|(_, a), (_, b)| a.total_cmp(b)) {
                let of = |values: &Array2<f64>| values.iter().nth(at).copied().unwrap_or(f64::NAN);
                let place = case.place(0, Kind::Parameter, parameter, at);
                return Err(OptimizerFault::RateZero {
                    at: place,
                    before: of(from),
                    after: of(to),
                }
                .into());
            }
        }
        Ok(())
    }

    /// Returns whether the rule has a weight decay that a group can set. Also checks that the optimizer describes this
    /// correctly.
    pub(super) fn check_decay(
        &self,
        case: &Case,
        optimizer: &dyn Optimizer,
    ) -> Result<bool, CheckError> {
        let before = case.start().cast::<f64>();
        let when = When {
            step: 0,
            rate: optimizer.learning_rate(),
            is_other: false,
        };
        let after = |group| {
            let groups = vec![group; case.specs.len()];
            let after = self.step(when, &groups, &before, 1.0)?;
            Ok::<_, CheckError>(after.parameters)
        };
        let by_default = after(Group::new())?;
        let none = after(Group::new().weight_decay(0.0))?;
        let takes = none != after(Group::new().weight_decay(DECAY))?;
        let decays = by_default != none;
        let says = optimizer.has_weight_decay();
        if says && !takes {
            let what = "a step of the reference with another UpdateStep::weight_decay";
            let found = ["a different step", "the same"].map(str::to_owned);
            let remedy = "Use UpdateStep::decay, which is the parameter's own weight decay or else the optimizer's";
            return Err(OptimizerFault::stated(self.name, what, found, remedy).into());
        }
        if decays != says {
            let what = "has_weight_decay(), or decay() above 0,";
            let found = [format!("{decays}, as in the reference"), says.to_string()];
            let remedy = "A checkpoint records by it which parameters decay";
            return Err(OptimizerFault::stated(self.name, what, found, remedy).into());
        }
        Ok(takes)
    }

    /// Returns `Σ p²/2` before and after `steps` steps. The gradient of this sum is `p`.
    pub(super) fn check_descent(&self, steps: u64, rate: f32) -> Result<[f64; 2], CheckError> {
        let parameters = Array2::from_shape_fn((3, 4), |(row, column)| {
            let value = 1.0 + (4 * row + column) as f64 / 4.0;
            if (row + column) % 2 == 0 {
                value
            } else {
                -value
            }
        });
        let sum = |of: &Array2<f64>| of.mapv(|p| p * p / 2.0).sum();
        let before = sum(&parameters);
        let groups = [Group::new().weight_decay(0.0)];
        let mut values = Values {
            state: vec![vec![Array2::zeros(parameters.raw_dim()); self.states]],
            gradients: vec![parameters.clone()],
            parameters: vec![parameters],
        };
        for step in 0..steps {
            let when = When {
                step,
                rate,
                is_other: false,
            };
            values = self.step(when, &groups, &values, 1.0)?;
            values.gradients.clone_from(&values.parameters);
        }
        let after = sum(&values.parameters[0]);
        if after < before {
            Ok([before, after])
        } else {
            Err(OptimizerFault::Uphill {
                name: self.name.to_owned(),
                steps,
                learning_rate: rate,
                before,
                after,
            }
            .into())
        }
    }
}

/// Checks that two runs of the first step gave the same bits.
pub(super) fn check_same<F: Float>(
    case: &Case,
    [first, second]: [&Values<F>; 2],
    by: &'static str,
) -> Result<(), CheckError> {
    for parameter in 0..case.specs.len() {
        for kind in first.kinds() {
            let [first, second] = [first, second].map(|values| values.of(kind, parameter));
            let bits = |value: F| value.into_f64().to_bits();
            let mut pairs = first.iter().zip(second);
            if let Some(at) = pairs.position(|(&a, &b)| bits(a) != bits(b)) {
                let of = |values: &Array2<F>| {
                    let value = values.iter().nth(at).copied();
                    value.map_or(f64::NAN, F::into_f64)
                };
                return Err(OptimizerFault::NotRepeatable {
                    at: case.place(0, kind, parameter, at),
                    by,
                    first: of(first),
                    second: of(second),
                }
                .into());
            }
        }
    }
    Ok(())
}
