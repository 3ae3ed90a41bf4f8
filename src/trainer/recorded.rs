//! What a training has recorded.

use super::Trainer;
use crate::error::Unfused;
use crate::plan::{Listing, Plan};
#[cfg(not(target_arch = "wasm32"))]
use crate::steps::Shards;
use crate::steps::{Fusion, Steps};

impl Trainer {
    /// What one step does, dispatch by dispatch, to be printed; nothing where rows are given to each step. Of several
    /// [processes](Self::distribute), what this one does.
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

    /// The plan of one step, as it runs.
    pub(crate) fn step_plan(&self) -> Option<&Plan> {
        self.source.steps().map(Steps::step)
    }

    /// All plans that are recorded: of steps, and of evaluations that were asked for.
    pub(crate) fn plans(&self) -> Vec<&Plan> {
        let mut plans = self.source.steps().map_or_else(Vec::new, Steps::plans);
        #[cfg(not(target_arch = "wasm32"))]
        plans.extend(self.source.shards().into_iter().flat_map(Shards::plans));
        plans.extend(self.data_sets.plans());
        plans
    }

    /// Which dispatches make a step: [`Fusion::Layers`], [`Fusion::Fused`] or [`Fusion::Head`].
    #[must_use]
    pub fn fusion(&self) -> Fusion {
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(shards) = self.source.shards() {
            return shards.fusion();
        }
        self.source.steps().map_or(Fusion::Layers, Steps::fusion)
    }

    /// Why [`Fusion::Auto`] did not fuse the steps.
    #[must_use]
    pub fn unfused(&self) -> Option<&Unfused> {
        self.source.steps().and_then(Steps::unfused)
    }
}
