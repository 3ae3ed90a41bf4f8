//! Initial values of parameters and of the layers' state.

use super::graph::{Graph, Parameter, Source};
use crate::init::Init;
use crate::ops::{ParameterSpec, Response};

impl Graph {
    /// Replaces [`Init::Auto`] of every parameter by a distribution. The distribution depends on which layers read the
    /// output of the parameter's layer.
    pub(super) fn resolve_auto_init(&mut self) {
        let is_rectified = self.rectified();
        for layer_use in self.uses.iter().filter(|layer_use| !layer_use.is_repeated) {
            let init = if is_rectified[layer_use.value] {
                Init::HeNormal
            } else {
                Init::LecunNormal
            };
            let parameters = self.parameters[layer_use.parameters.clone()].iter_mut();
            let all = parameters.chain(&mut self.state[layer_use.state.clone()]);
            for parameter in all.filter(|parameter| matches!(parameter.spec.init, Init::Auto)) {
                parameter.spec.init = init.clone();
            }
        }
    }

    /// For each value: whether a rectifying layer such as `Relu` reads it, directly or after sums, concatenations and
    /// layers whose response is [`Response::PassesOn`].
    fn rectified(&self) -> Vec<bool> {
        let mut rectified = vec![false; self.values.len()];
        for (index, value) in self.values.iter().enumerate().rev() {
            rectified[index] = value.readers.iter().any(|&reader| {
                let response = match self.values[reader].source {
                    Source::Layer { layer, .. } => self.uses[layer].spec.response,
                    _ => Response::PassesOn,
                };
                match response {
                    Response::Rectifies => true,
                    Response::PassesOn => rectified[reader],
                    Response::Any => false,
                }
            });
        }
        rectified
    }

    /// The initial values of every parameter, in row-major order. Each parameter has its own stream of random numbers.
    pub(crate) fn initial_parameters(&self) -> impl Iterator<Item = (&Parameter, Vec<f32>)> {
        self.initial(&self.parameters, 0)
    }

    /// The initial values of the layers' state, in row-major order. Each array of the state has its own stream of
    /// random numbers.
    pub(crate) fn initial_state(&self) -> impl Iterator<Item = (&Parameter, Vec<f32>)> {
        self.initial(&self.state, 1 << 32)
    }

    fn initial<'a>(
        &self,
        all: &'a [Parameter],
        first_stream: u64,
    ) -> impl Iterator<Item = (&'a Parameter, Vec<f32>)> + use<'a> {
        let seed = self.seed;
        (first_stream..).zip(all).map(move |(stream, parameter)| {
            let ParameterSpec {
                shape, fans, init, ..
            } = &parameter.spec;
            (parameter, init.values(shape, *fans, seed, stream))
        })
    }
}
