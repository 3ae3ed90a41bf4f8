//! The recorded steps of a training.

use super::Trainer;
use crate::error::Unfused;
use crate::plan::{Listing, Plan};
#[cfg(not(target_arch = "wasm32"))]
use crate::steps::Shards;
use crate::steps::{Fusion, Steps};

impl Trainer {
    /// Lists the dispatches of one step, for printing. The list is empty if rows are passed to each step. If several
    /// [processes](Self::distribute) share the steps, it has the dispatches of this process.
    #[must_use]
    pub fn plan(&self) -> Listing {
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(shards) = self.source.shards() {
            return Listing::of_all(shards.plans().map(Plan::listing));
        }
        self.source
            .steps()
            .map_or_else(Listing::default, |steps| steps.step().listing().clone())
    }

    /// The plan of one step, exactly as it runs.
    pub(crate) fn step_plan(&self) -> Option<&Plan> {
        self.source.steps().map(Steps::step)
    }

    /// All recorded plans: those of the steps, and those of the evaluations requested so far.
    pub(crate) fn plans(&self) -> Vec<&Plan> {
        let mut plans = self.source.steps().map_or_else(Vec::new, Steps::plans);
        #[cfg(not(target_arch = "wasm32"))]
        plans.extend(self.source.shards().into_iter().flat_map(Shards::plans));
        plans.extend(self.data_sets.plans());
        plans
    }

    /// How the recorded steps are fused: [`Fusion::Layers`], [`Fusion::Fused`] or [`Fusion::Head`].
    #[must_use]
    pub fn fusion(&self) -> Fusion {
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(shards) = self.source.shards() {
            return shards.fusion();
        }
        self.source.steps().map_or(Fusion::Layers, Steps::fusion)
    }

    /// The reason why [`Fusion::Auto`] did not fuse the steps; otherwise `None`.
    #[must_use]
    pub fn unfused(&self) -> Option<&Unfused> {
        self.source.steps().and_then(Steps::unfused)
    }
}
