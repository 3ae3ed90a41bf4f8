//! How parameters start.

use super::graph::{Graph, Parameter, Source};
use crate::init::Init;
use crate::ops::{ParameterSpec, Response};

impl Graph {
    /// By what follows a layer, where it leaves that open.
    pub(super) fn say_initial_values(&mut self) {
        for index in 0..self.uses.len() {
            let of_use = &self.uses[index];
            if of_use.is_repeated {
                continue;
            }
            let init = match self.is_rectified(of_use.value) {
                true => Init::HeNormal,
                false => Init::LecunNormal,
            };
            let auto = |parameter: &&mut Parameter| matches!(parameter.spec.init, Init::Auto);
            let parameters = self.parameters[of_use.parameters.clone()].iter_mut();
            parameters
                .filter(auto)
                .for_each(|parameter| parameter.spec.init = init.clone());
        }
    }

    /// Whether a layer that rectifies takes a value, at once or behind what only passes it on.
    fn is_rectified(&self, value: usize) -> bool {
        self.values[value]
            .readers
            .iter()
            .any(|&reader| match self.values[reader].source {
                Source::Layer { layer, .. } => match self.uses[layer].spec.response {
                    Response::Rectifies => true,
                    Response::PassesOn => self.is_rectified(reader),
                    Response::Any => false,
                },
                _ => self.is_rectified(reader),
            })
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
