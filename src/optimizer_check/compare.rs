//! Compares a step on the GPU with the same step in the reference.

use ndarray::Array2;

use super::case::{Case, Kind, TILE, Values};
use super::on_gpu::Taken;
use super::twin::{Twin, When};
use super::{Check, Comparison, Pass};
use crate::check::{Numbers, ROUNDINGS, Worst};
use crate::error::{CheckError, OptimizerFault, UpdateSetting};
use crate::ops::Group;
use crate::reference::Float;

/// Number of trials per kind of operand if each element of a result depends only on its own operands: one up, one down.
const MOVES: u64 = 2;

/// Compares the steps of a case with the reference.
#[derive(Debug)]
pub(super) struct Compare<'a> {
    pub(super) twin: &'a Twin<'a>,
    pub(super) case: &'a Case,
    pub(super) tolerance: f64,
}

/// A step of the reference, with the operands of the GPU's step.
struct Expected {
    before: Values<f64>,
    after: Values<f64>,
    /// How far each result changes when the operands are perturbed by a few roundings.
    moved: Values<f64>,
}

/// Identifies a tensor of a step: the step's index, the tensor's kind, and the parameter's index.
#[derive(Debug, Clone, Copy)]
struct Of {
    step: usize,
    kind: Kind,
    parameter: usize,
}

impl Compare<'_> {
    /// Returns one row per tensor, with the element that comes nearest to its bound in all steps.
    pub(super) fn rows(&self, taken: &[Taken]) -> Result<Vec<Comparison>, CheckError> {
        let mut worst: Vec<Option<Worst>> = Vec::new();
        for (step, taken) in taken.iter().enumerate() {
            let of_step = self.step(step, taken)?;
            worst.resize(of_step.len(), None);
            for (all, of_step) in worst.iter_mut().zip(of_step) {
                *all = Worst::of(all.iter().copied().chain(of_step));
            }
        }
        let names = self.names(taken.first());
        let rows = worst
            .iter()
            .zip(names)
            .filter_map(|(worst, (kind, parameter))| {
                let shape = self.case.specs[parameter].shape;
                let tensor = self.case.tensor(kind, parameter);
                let check = Check::Parity(Pass::Update);
                worst.map(|worst| worst.row(check, &tensor, shape, None))
            });
        Ok(rows.collect())
    }

    /// The tensors that are compared in every step, in order.
    fn names(&self, taken: Option<&Taken>) -> Vec<(Kind, usize)> {
        let kinds = taken.map_or_else(Vec::new, |taken| taken.before.kinds());
        let parameters = 0..self.case.specs.len();
        let of = |parameter| kinds.iter().map(move |&kind| (kind, parameter));
        parameters.flat_map(of).collect()
    }

    fn step(&self, step: usize, taken: &Taken) -> Result<Vec<Option<Worst>>, CheckError> {
        let when = When::from(&self.case.steps[step]);
        let groups = self.case.groups();
        let before = taken.before.cast::<f64>();
        let after = self.twin.step(when, &groups, &before, 1.0)?;
        self.case.check_numbers(step, &after, "the reference")?;
        let expected = Expected {
            moved: self.moved(when, &groups, &before, &after)?,
            before,
            after,
        };
        let single = self.twin.step(when, &groups, &taken.before, 1.0)?;
        let mut all = Vec::new();
        for (kind, parameter) in self.names(Some(taken)) {
            let of = Of {
                step,
                kind,
                parameter,
            };
            if self.is_unchanged(of, &expected) {
                all.push(None);
                continue;
            }
            self.check_single(of, &expected, &single)?;
            let worst = self.worst(of, &expected, &taken.after);
            if let Some(worst) = worst.filter(|worst| !worst.is_within()) {
                return Err(self.fault(of, &expected, taken, worst)?);
            }
            all.push(worst);
        }
        Ok(all)
    }

    /// Whether the tensor must not change in the step: a frozen parameter, or gradients that the rule does not change.
    /// An earlier check has already found the GPU's bits of this tensor unchanged.
    fn is_unchanged(&self, of: Of, expected: &Expected) -> bool {
        let [before, after] =
            [&expected.before, &expected.after].map(|values| values.of(of.kind, of.parameter));
        let is_frozen = self.case.specs[of.parameter].group.is_frozen();
        is_frozen || of.kind == Kind::Gradient && before == after
    }

    /// Returns the element of `found` that comes nearest to its bound.
    fn worst(&self, of: Of, expected: &Expected, found: &Values<f32>) -> Option<Worst> {
        let Of {
            kind, parameter, ..
        } = of;
        let found = found.of(kind, parameter).iter();
        let before = expected.before.of(kind, parameter);
        let after = expected.after.of(kind, parameter);
        let operands = before.iter().zip(expected.moved.of(kind, parameter));
        let elements = found.zip(after).zip(operands).enumerate();
        Worst::of(elements.map(|(at, ((&found, &after), (&before, &moved)))| {
            let change = (after - before).abs();
            Worst {
                at,
                found: found.into(),
                // The GPU's result is infinite if it exceeds the range of `f32`, so the expected result is infinite,
                // too.
                expected: if after.abs() > f64::from(f32::MAX) {
                    f32::from_f64(after).into()
                } else {
                    after
                },
                bound: if change.is_finite() && (change > 0.0 || moved > 0.0) {
                    self.tolerance * change + moved + f64::from(f32::MIN_POSITIVE)
                } else {
                    0.0
                },
            }
        }))
    }

    /// Checks that the `f32` reference matches the `f64` reference.
    fn check_single(
        &self,
        of: Of,
        expected: &Expected,
        single: &Values<f32>,
    ) -> Result<(), CheckError> {
        let worst = self.worst(of, expected, single);
        match worst.filter(|worst| !worst.is_within()) {
            None => Ok(()),
            Some(worst) => Err(OptimizerFault::Precision {
                at: self.case.place(of.step, of.kind, of.parameter, worst.at),
                single: worst.found,
                double: worst.expected,
                bound: worst.bound,
            }
            .into()),
        }
    }

    /// Computes how far each result changes when its operands are perturbed. In the first step, the operands of a large
    /// parameter repeat the same `TILE` numbers. As long as operands and results repeat like this, only one repetition
    /// is computed.
    fn moved(
        &self,
        when: When,
        groups: &[Group],
        before: &Values<f64>,
        after: &Values<f64>,
    ) -> Result<Values<f64>, CheckError> {
        if !self.case.is_tiled() {
            return self.moved_one_by_one(when, groups, before, after);
        }
        let of_first = |values: &Array2<f64>| {
            let mut first = values.iter().copied();
            Array2::from_shape_simple_fn((1, TILE), || first.next().unwrap_or(f64::NAN))
        };
        let mut tile = before.clone();
        for (kind, parameter) in each(before) {
            *tile.of_mut(kind, parameter) = of_first(before.of(kind, parameter));
        }
        let tile_after = self.twin.step(when, groups, &tile, 1.0)?;
        let is_of_tiles = |values: &Values<f64>, tile: &Values<f64>| {
            each(values).into_iter().all(|(kind, parameter)| {
                let tile = tile.of(kind, parameter).iter().cycle();
                values
                    .of(kind, parameter)
                    .iter()
                    .eq(tile.take(values.of(kind, parameter).len()))
            })
        };
        if !(is_of_tiles(before, &tile) && is_of_tiles(after, &tile_after)) {
            return self.moved_one_by_one(when, groups, before, after);
        }
        let of_tile = self.moved_one_by_one(when, groups, &tile, &tile_after)?;
        let mut moved = after.clone();
        for (kind, parameter) in each(after) {
            let tile = of_tile.of(kind, parameter).iter().cycle();
            let all = moved.of_mut(kind, parameter).iter_mut();
            all.zip(tile).for_each(|(value, moved)| *value = *moved);
        }
        Ok(moved)
    }

    /// Computes how far each result changes when its operands are perturbed. One kind of operand is perturbed at a
    /// time, and the changes are summed over all kinds.
    fn moved_one_by_one(
        &self,
        when: When,
        groups: &[Group],
        before: &Values<f64>,
        after: &Values<f64>,
    ) -> Result<Values<f64>, CheckError> {
        let elements: usize = before.parameters.iter().map(ndarray::ArrayBase::len).sum();
        let is_coupled = self.is_coupled(when, groups, before, after)?;
        let terms = if is_coupled { elements } else { 1 };
        // By chance, one random trial may change a sum over many elements only a little. A tiled parameter has so many
        // elements that this does not happen.
        let moves = if is_coupled && !self.case.is_tiled() {
            2 * MOVES
        } else {
            MOVES
        };
        let relative = ROUNDINGS * (terms as f64).sqrt();
        let mut sum = after.clone();
        for (kind, parameter) in each(after) {
            sum.of_mut(kind, parameter).fill(0.0);
        }
        let mut largest = sum.clone();
        for moving in after.kinds().into_iter().map(Some).chain([None]) {
            for (kind, parameter) in each(after) {
                largest.of_mut(kind, parameter).fill(0.0);
            }
            for number in 0..moves {
                let moved =
                    self.move_operand((moving, number), relative, (when, groups), before)?;
                for (kind, parameter) in each(after) {
                    let pairs = moved
                        .of(kind, parameter)
                        .iter()
                        .zip(after.of(kind, parameter));
                    let largest = largest.of_mut(kind, parameter).iter_mut();
                    for (largest, (moved, after)) in largest.zip(pairs) {
                        let by = (moved - after).abs();
                        *largest = largest.max(if by.is_finite() { by } else { 0.0 });
                    }
                }
            }
            for (kind, parameter) in each(after) {
                *sum.of_mut(kind, parameter) += largest.of(kind, parameter);
            }
        }
        Ok(sum)
    }

    /// Takes a step with one kind of operand perturbed; if `moving` is `None`, the learning rate is perturbed. Each
    /// value grows or shrinks at random; the trials with the numbers `2n` and `2n + 1` perturb it in opposite
    /// directions.
    fn move_operand(
        &self,
        (moving, number): (Option<Kind>, u64),
        relative: f64,
        (when, groups): (When, &[Group]),
        before: &Values<f64>,
    ) -> Result<Values<f64>, CheckError> {
        let mut numbers = Numbers::new(number / 2);
        let flipped = u32::from(number % 2 == 1);
        let mut side = || match (numbers.bits() ^ flipped) % 2 {
            0 => 1.0 + relative,
            _ => 1.0 - relative,
        };
        let Some(kind) = moving else {
            return self.twin.step(when, groups, before, side());
        };
        let mut operands = before.clone();
        for parameter in 0..groups.len() {
            let values = operands.of_mut(kind, parameter);
            values.mapv_inplace(|value| value * side());
        }
        self.twin.step(when, groups, &operands, 1.0)
    }

    /// Whether results depend on other elements, for example through a norm. This changes the elements with an even
    /// index, and returns whether an element with an odd index has changed.
    fn is_coupled(
        &self,
        when: When,
        groups: &[Group],
        before: &Values<f64>,
        after: &Values<f64>,
    ) -> Result<bool, CheckError> {
        let mut operands = before.clone();
        let is_odd = |index: usize, parameter: usize| (index + parameter) % 2 == 1;
        for parameter in 0..groups.len() {
            for kind in [Kind::Parameter, Kind::Gradient] {
                let values = operands.of_mut(kind, parameter).iter_mut().enumerate();
                let even = values.filter(|(index, _)| !is_odd(*index, parameter));
                even.for_each(|(_, value)| *value *= 2.0);
            }
        }
        let other = self.twin.step(when, groups, &operands, 1.0)?;
        Ok(each(after).into_iter().any(|(kind, parameter)| {
            let pairs = after
                .of(kind, parameter)
                .iter()
                .zip(other.of(kind, parameter));
            let mut odd = pairs
                .enumerate()
                .filter(|(index, _)| is_odd(*index, parameter));
            odd.any(|(_, (after, other))| after != other)
        }))
    }

    /// Returns the most specific fault that explains a wrong tensor.
    fn fault(
        &self,
        of: Of,
        expected: &Expected,
        taken: &Taken,
        worst: Worst,
    ) -> Result<CheckError, CheckError> {
        let at = self.case.place(of.step, of.kind, of.parameter, worst.at);
        let before = taken.before.of(of.kind, of.parameter).iter().nth(worst.at);
        let before = before.map(|&value| f64::from(value));
        if before == Some(worst.found) && of.kind != Kind::Gradient {
            return Ok(OptimizerFault::NotUpdated {
                at,
                found: worst.found,
                expected: worst.expected,
            }
            .into());
        }
        for (ignored, when, group) in self.ignored(of) {
            let mut groups = self.case.groups();
            groups[of.parameter] = group;
            let by_it = Expected {
                after: self.twin.step(when, &groups, &expected.before, 1.0)?,
                before: expected.before.clone(),
                moved: expected.moved.clone(),
            };
            let as_if = self.worst(of, &by_it, &taken.after);
            if as_if.is_some_and(|worst| worst.is_within()) {
                return Ok(OptimizerFault::Ignored {
                    at,
                    ignored,
                    found: worst.found,
                    expected: worst.expected,
                }
                .into());
            }
        }
        Ok(CheckError::Parity {
            at,
            found: worst.found,
            expected: worst.expected,
            bound: worst.bound,
        })
    }

    /// Lists settings that a kernel may have ignored in this parameter's step. For each one, returns the learning rate
    /// and the group with which the reference takes the step without this setting.
    fn ignored(&self, of: Of) -> Vec<(UpdateSetting, When, Group)> {
        let at = &self.case.steps[of.step];
        let group = self.case.specs[of.parameter].group;
        let when = When::from(at);
        let mut all = Vec::new();
        if when.rate != at.own_rate {
            let when = When {
                rate: at.own_rate,
                ..when
            };
            all.push((UpdateSetting::Coefficients, when, group));
        }
        let is_rate = group.rate_of() != 1.0;
        let decay = group.own_decay();
        let as_all = Group::new();
        if is_rate {
            all.push((UpdateSetting::Rate, when, group.rate(1.0)));
        }
        if let Some(decay) = decay {
            let by_default = as_all.rate(group.rate_of());
            all.push((UpdateSetting::WeightDecay, when, by_default));
            if decay != 0.0 {
                all.push((UpdateSetting::WeightDecay, when, group.weight_decay(0.0)));
            }
        }
        if is_rate && decay.is_some() {
            all.push((UpdateSetting::RateAndWeightDecay, when, as_all));
            all.push((
                UpdateSetting::RateAndWeightDecay,
                when,
                as_all.weight_decay(0.0),
            ));
        }
        all
    }
}

fn each(values: &Values<f64>) -> Vec<(Kind, usize)> {
    let kinds = values.kinds();
    let of = |parameter| kinds.clone().into_iter().map(move |kind| (kind, parameter));
    (0..values.parameters.len()).flat_map(of).collect()
}
