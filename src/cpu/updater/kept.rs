//! Access to the optimizer's state and the moving average: for checkpoints, and for averages over processes.

use ndarray::Array2;

use super::super::Network;
use super::Updater;
use crate::checkpoint::AVERAGE;
use crate::reference::Float;

impl<F: Float> Updater<F> {
    /// Names under which a checkpoint stores the state: the optimizer's names, then the name of the moving average.
    pub(in crate::cpu) fn roles(&self) -> Vec<&'static str> {
        let average = self.average.as_ref().map(|_| AVERAGE);
        self.optimizer
            .state()
            .iter()
            .copied()
            .chain(average)
            .collect()
    }

    /// Restores the state from a checkpoint. `kept` has one entry per name of [`roles`](Self::roles), in the same
    /// order. State whose entry is `None` restarts: the optimizer's state at zero, the moving average at the present
    /// parameters.
    pub(in crate::cpu) fn set_kept(
        &mut self,
        network: &Network<F>,
        kept: Vec<Option<Vec<Vec<f32>>>>,
    ) {
        self.forget(network);
        for (at, values) in kept.into_iter().enumerate() {
            let Some(values) = values else { continue };
            let to: Vec<&mut Array2<F>> = match &mut self.average {
                Some(average) if at == self.optimizer.state().len() => {
                    average.values.iter_mut().collect()
                }
                _ => self.state.iter_mut().map(|kept| &mut kept[at]).collect(),
            };
            for (to, values) in to.into_iter().zip(values) {
                let both = to.iter_mut().zip(values);
                both.for_each(|(to, value)| *to = F::from_f64(value.into()));
            }
        }
    }

    /// Whether each parameter is trained, that is, not frozen. Frozen parameters are equal in all processes, so they
    /// need no averaging.
    #[cfg(not(target_arch = "wasm32"))]
    pub(in crate::cpu) fn is_trained(&self) -> Vec<bool> {
        let groups = self.groups.resolved();
        groups.iter().map(|group| !group.is_frozen()).collect()
    }

    /// The state of all trained parameters: the optimizer's matrices, parameter by parameter, then the moving averages.
    #[cfg(not(target_arch = "wasm32"))]
    pub(in crate::cpu) fn kept_of_trained_mut(&mut self) -> impl Iterator<Item = &mut Array2<F>> {
        let is_trained = self.is_trained();
        let average = self.average.iter_mut().flat_map(|of| &mut of.values);
        let average = trained(average, is_trained.clone());
        trained(&mut self.state, is_trained)
            .flatten()
            .chain(average)
    }
}

impl Updater<f32> {
    /// Copies the state of all parameters: for each name of [`roles`](Self::roles), one vector per parameter.
    pub(in crate::cpu) fn kept(&self) -> impl Iterator<Item = (&'static str, Vec<Vec<f32>>)> {
        let values = |kept: &Array2<f32>| kept.iter().copied().collect();
        self.roles().into_iter().enumerate().map(move |(at, role)| {
            let of_parameters = match &self.average {
                Some(average) if at == self.optimizer.state().len() => {
                    average.values.iter().map(values).collect()
                }
                _ => self.state.iter().map(|kept| values(&kept[at])).collect(),
            };
            (role, of_parameters)
        })
    }
}

/// Selects the items of trained parameters from `all`, which has one item per parameter.
#[cfg(not(target_arch = "wasm32"))]
pub(in crate::cpu) fn trained<T>(
    all: impl IntoIterator<Item = T>,
    is_trained: Vec<bool>,
) -> impl Iterator<Item = T> {
    let all = all.into_iter().zip(is_trained);
    all.filter(|(_, is_trained)| *is_trained).map(|(of, _)| of)
}
