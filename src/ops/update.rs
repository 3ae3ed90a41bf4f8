//! Code that optimizers share: binding and dispatching an update, and checking hyperparameters.

use std::marker::PhantomData;

use bytemuck::Pod;

use super::Group;
use super::elementwise::{WORKGROUP_SIZE, record_elements};
use super::to_u32;
use crate::error::{Error, number};
use crate::kernel::{Binding, Block, Field, Kernel, Trust};
use crate::plan::Recorder;
use crate::tensor::{Arena, Tensor};

/// The tensors that an optimizer's update reads and writes.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Update<'a> {
    /// Parameters, which the update changes.
    pub parameters: &'a Arena,
    /// Gradients of the mean loss with respect to the parameters.
    pub gradients: &'a Arena,
    /// The group of each parameter. A group's weight decay is set only if it differs from the optimizer's.
    pub groups: &'a [Group],
    /// The optimizer's state, in the order of the names that [`Optimizer::state`](super::Optimizer::state) returns.
    /// Each arena is as large as the parameters, and is 0 before the first step.
    pub state: &'a [Arena],
    /// Coefficients, (slots, 4): row `t` modulo the number of slots holds the
    /// [`Optimizer::coefficients`](super::Optimizer::coefficients) of step `t`.
    pub coefficients: &'a Tensor,
    /// Number of steps before this one, (1, 1) of `u32`.
    pub step_count: &'a Tensor,
}

/// Consecutive parameters that have the same update settings, with their gradients and state. All tensors have the same
/// size.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct UpdatePart {
    /// Parameters, which the update changes.
    pub parameters: Tensor,
    /// Gradients with respect to the parameters.
    pub gradients: Tensor,
    /// The optimizer's state for these parameters, in the order of [`Update::state`].
    pub state: Vec<Tensor>,
    /// The factor that multiplies the learning rate.
    pub rate: f32,
    /// The parameters' weight decay; 0 for none.
    pub weight_decay: f32,
}

/// Bindings 1 to 4 of every update kernel. The bindings of the optimizer's state follow them.
pub(super) const UPDATE: [Binding; 4] = [
    Binding::read("gradients"),
    Binding::read("coefficients"),
    Binding::read("step_count").of_u32(),
    Binding::write("parameters"),
];

/// An elementwise update kernel with the entry point `update`.
pub(super) const fn kernel<U>(
    shader: &'static str,
    source: &'static str,
    bindings: &'static [Binding],
    fields: &'static [Field],
) -> Kernel<U> {
    Kernel {
        shader,
        source,
        entry: "update",
        bindings,
        fields,
        constants: &[],
        workgroup_size: WORKGROUP_SIZE,
        block: Block::Uniform,
        trust: Trust::PROVEN,
        uniform: PhantomData,
    }
}

impl<'a> Update<'a> {
    /// Creates an update of `parameters` by `gradients`, for an optimizer without state.
    #[must_use]
    pub fn new(
        [parameters, gradients]: [&'a Arena; 2],
        groups: &'a [Group],
        coefficients: &'a Tensor,
        step_count: &'a Tensor,
    ) -> Self {
        Self {
            parameters,
            gradients,
            groups,
            state: &[],
            coefficients,
            step_count,
        }
    }

    /// Sets the optimizer's state.
    #[must_use]
    pub fn with_state(self, state: &'a [Arena]) -> Self {
        Self { state, ..self }
    }

    /// Splits the parameters into the fewest parts in which all parameters have the same settings. `weight_decay` is
    /// the optimizer's weight decay, 0 if it has none. Frozen parameters are in no part.
    #[must_use]
    pub fn parts(&self, weight_decay: f32) -> Vec<UpdatePart> {
        let key = |index: usize| {
            let group = &self.groups[index];
            let decay = group.own_decay().unwrap_or(weight_decay);
            (!group.is_frozen()).then_some((group.rate_of(), decay))
        };
        let of = |arena: &Arena| arena.parts(key);
        let mut state: Vec<_> = self.state.iter().map(|kept| of(kept).into_iter()).collect();
        let both = of(self.parameters).into_iter().zip(of(self.gradients));
        let parts = both.map(|((parameters, key), (gradients, _))| {
            let state = state.iter_mut().filter_map(Iterator::next);
            let state = state.map(|(kept, _)| kept).collect();
            key.map(|(rate, weight_decay)| UpdatePart {
                parameters,
                gradients,
                state,
                rate,
                weight_decay,
            })
        });
        parts.flatten().collect()
    }

    /// Records an elementwise kernel for each part of the parameters. Its bindings are [`UPDATE`], followed by the
    /// state. `settings` makes the uniform block for a part.
    pub(super) fn record<U: Pod>(
        &self,
        recorder: &mut Recorder<'_>,
        kernel: &'static Kernel<U>,
        flops_per_element: u64,
        weight_decay: f32,
        settings: impl Fn(Part) -> U,
    ) {
        let slots = to_u32(self.coefficients.rows());
        for part in self.parts(weight_decay) {
            let parameters = &part.parameters;
            let gradients = &part.gradients;
            let mut tensors = vec![gradients, self.coefficients, self.step_count, parameters];
            tensors.extend(&part.state);
            let elements = parameters.len();
            for tensor in tensors.iter().skip(3).chain([&gradients]) {
                let label = tensor.label();
                assert_eq!(tensor.len(), elements, "{}: {label}", kernel.shader);
            }
            let settings = settings(Part {
                elements: to_u32(elements),
                slots,
                rate: part.rate,
                weight_decay: part.weight_decay,
            });
            record_elements(
                recorder,
                kernel,
                settings,
                &tensors,
                elements,
                flops_per_element,
            );
        }
    }
}

/// The size and the settings of a part, for a kernel's uniform block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) elements: u32,
    pub(super) slots: u32,
    pub(super) rate: f32,
    pub(super) weight_decay: f32,
}

pub(super) fn check_learning_rate(learning_rate: f32) -> Result<(), Error> {
    check_above_zero("learning rate", learning_rate)
}

pub(super) fn check_above_zero(name: &str, value: f32) -> Result<(), Error> {
    if value.is_finite() && value > 0.0 {
        check_not_subnormal(name, "", value)
    } else {
        Err(Error::setting(
            name,
            "a finite number above 0",
            number(value),
        ))
    }
}

pub(super) fn check_weight_decay(value: f32) -> Result<(), Error> {
    let name = "weight decay";
    if value.is_finite() && value >= 0.0 {
        check_not_subnormal(name, "0 or ", value)
    } else {
        let expected = "a finite number, 0 or above";
        Err(Error::setting(name, expected, number(value)))
    }
}

/// Checks that a setting is not subnormal. GPUs may treat subnormal numbers as 0, unlike the CPU: a subnormal epsilon
/// would then no longer prevent 0/0.
pub(super) fn check_not_subnormal(name: &str, or: &str, value: f32) -> Result<(), Error> {
    if !value.is_subnormal() {
        return Ok(());
    }
    let least = f32::MIN_POSITIVE;
    let expected = format!(
        "{or}at least {}, because GPUs treat smaller numbers as 0",
        number(least)
    );
    Err(Error::setting(name, expected, number(value)))
}

/// Checks the decay rate of a running mean. With 1, the mean would never change.
pub(crate) fn check_below_one(name: &str, value: f32) -> Result<(), Error> {
    if (0.0..1.0).contains(&value) {
        Ok(())
    } else {
        Err(Error::setting(
            name,
            "at least 0 and below 1",
            number(value),
        ))
    }
}

/// `1 − value`, rounded to `f32` once.
pub(super) fn one_minus(value: f32) -> f32 {
    to_f32(1.0 - f64::from(value))
}

pub(super) fn to_f32(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
    let value = value as f32;
    value
}

#[cfg(test)]
mod tests;
