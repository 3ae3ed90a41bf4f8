//! How parameters start.

use super::graph::{Graph, Parameter, Source};
use crate::init::Init;
use crate::ops::{ParameterSpec, Response};

impl Graph {
    /// By what follows a layer, where it leaves that open.
    pub(super) fn say_initial_values(&mut self) {
        let is_rectified = self.rectified();
        for of_use in self.uses.iter().filter(|of_use| !of_use.is_repeated) {
            let init = if is_rectified[of_use.value] {
                Init::HeNormal
            } else {
                Init::LecunNormal
            };
            let parameters = self.parameters[of_use.parameters.clone()].iter_mut();
            let all = parameters.chain(&mut self.state[of_use.state.clone()]);
            for parameter in all.filter(|parameter| matches!(parameter.spec.init, Init::Auto)) {
                parameter.spec.init = init.clone();
            }
        }
    }

    /// Of every value, whether a layer that rectifies takes it, at once or behind what only passes it on.
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

    /// Initial values of every parameter, row after row: a stream of random numbers each.
    pub(crate) fn initial_parameters(&self) -> impl Iterator<Item = (&Parameter, Vec<f32>)> {
        self.initial(&self.parameters, 0)
    }

    /// The same of the layers' state.
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
