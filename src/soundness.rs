//! Decides whether a loss shows that a training has diverged, for both engines.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::data::{Examples, Targets};
use crate::error::{Error, number};
use crate::ops::metrics::HISTORY;
use crate::ops::{Optimizer, TargetKind};

/// A loss that compares classes counts as divergence if it is at least this large. Neighboring `f32` values are 2 apart
/// at this size, so the loss cannot distinguish a probability from one that is e times larger. A divergence need not
/// overflow: if all rectifiers are dead, the last biases may oscillate forever while the loss stays finite.
pub(crate) const LARGEST_LOSS: f32 = 16_777_216.0;
/// Standardized columns rarely exceed this magnitude. If a column does, the error advises to scale it.
const SCALED: f32 = 5.0;

/// Records the losses of a trainer, and everything that is needed to explain a divergence.
#[derive(Debug, Clone)]
pub(crate) struct Soundness {
    rule: Rule,
    /// Earlier update rules, whose losses are still stored. Each has the step, counted from 0, before which it was
    /// replaced.
    before: Arc<VecDeque<(u64, Rule)>>,
    targets: TargetKind,
    /// The data set, if there is one.
    examples: Option<Examples>,
    /// Number of steps taken before the program last replaced the parameters.
    began_at: u64,
    /// How many losses were checked for divergence, and the first divergence. Futures that read losses share this
    /// `Found`. When the program replaces the parameters, a new `Found` replaces this one.
    found: Arc<Mutex<Found>>,
}

/// How many losses were checked for divergence, and the first divergence.
#[derive(Debug, Default)]
struct Found {
    divergence: Option<Divergence>,
    /// Index of a step, from 0: the losses of all earlier steps have been checked for divergence.
    judged: u64,
}

/// The rule by which parameters are updated: the optimizer and the settings of groups.
#[derive(Debug, Clone)]
struct Rule {
    optimizer: Arc<dyn Optimizer>,
    /// The factors by which groups multiply the learning rate.
    multiples: Vec<f32>,
}

/// The first loss that showed the divergence, and its step, counted from 1.
#[derive(Debug, Clone, Copy)]
struct Divergence {
    step: u64,
    loss: f32,
}

impl Soundness {
    pub(crate) fn new(
        optimizer: Arc<dyn Optimizer>,
        targets: TargetKind,
        examples: Option<Examples>,
    ) -> Self {
        Self {
            rule: Rule {
                optimizer,
                multiples: Vec::new(),
            },
            before: Arc::default(),
            targets,
            examples,
            began_at: 0,
            found: Arc::default(),
        }
    }

    /// Sets the update rule of all steps after the first `steps` steps. `multiples` are the factors by which groups
    /// multiply the learning rate.
    pub(crate) fn set_rule(
        &mut self,
        steps: u64,
        optimizer: Arc<dyn Optimizer>,
        multiples: Vec<f32>,
    ) {
        let rule = Rule {
            optimizer,
            multiples,
        };
        let rule = std::mem::replace(&mut self.rule, rule);
        // If the rule changes several times before the next step, no step has used the rules in between.
        if self.before.back().is_some_and(|(end, _)| *end >= steps) {
            return;
        }
        let before = Arc::make_mut(&mut self.before);
        before.push_back((steps, rule));
        // An update changes the loss of the next step, so a rule is kept one step longer than its losses.
        while before
            .front()
            .is_some_and(|(end, _)| end + (HISTORY as u64) < steps)
        {
            before.pop_front();
        }
    }

    /// The rule that updates the parameters in a step, counted from 0.
    fn rule_of(&self, step: u64) -> &Rule {
        let at = self.before.partition_point(|(end, _)| *end <= step);
        self.before.get(at).map_or(&self.rule, |(_, rule)| rule)
    }

    /// Called after the program has replaced the parameters, with the number of steps taken. Drops all earlier results.
    pub(crate) fn begin_anew(&mut self, steps: u64) {
        self.began_at = steps;
        self.before = Arc::default();
        self.found = Arc::new(Mutex::new(Found {
            divergence: None,
            judged: steps,
        }));
    }

    /// Number of steps whose losses have been checked for divergence. Later losses were not checked yet.
    pub(crate) fn judged(&self) -> u64 {
        self.found().judged
    }

    pub(crate) fn has_diverged(&self) -> bool {
        self.found().divergence.is_some()
    }

    /// Returns the error if a divergence was found before.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let known = self.found().divergence;
        known.map_or(Ok(()), |found| Err(self.error(found, Vec::new())))
    }

    /// Returns the error if a loss shows that the parameters after `steps` steps have diverged.
    pub(crate) fn check_saving(&self, steps: u64) -> Result<(), Error> {
        match self.found().divergence {
            Some(Divergence { step, .. }) if step <= steps + 1 => Err(Error::NotSaved { step }),
            _ => Ok(()),
        }
    }

    /// [`judge`](Self::judge) for the last stored losses. Earlier losses that were not judged are lost.
    pub(crate) fn judge_last(&self, before: u64, losses: &[f32]) -> Result<(), Error> {
        let mut found = self.found();
        found.judged = found.judged.max(before);
        drop(found);
        self.judge(before, losses)
    }

    /// Returns an error at the first loss that shows a divergence, and stores the divergence. `before` is the number of
    /// steps before the first loss. Losses of parameters that the program has replaced since are ignored.
    pub(crate) fn judge(&self, before: u64, losses: &[f32]) -> Result<(), Error> {
        let end = before + losses.len() as u64;
        let is_old = |at: usize| before + (at as u64) < self.began_at;
        let unsound = |(at, &loss): (usize, &f32)| !is_old(at) && !self.is_sound(loss);
        let mut found = self.found();
        if before <= found.judged {
            found.judged = found.judged.max(end);
        }
        let Some(at) = losses.iter().enumerate().position(unsound) else {
            return Ok(());
        };
        let step = before + at as u64 + 1;
        let loss = losses[at];
        let here = Divergence { step, loss };
        if found.divergence.is_none_or(|known| step < known.step) {
            found.divergence = Some(here);
        }
        drop(found);
        Err(self.error(here, losses[..at].to_vec()))
    }

    /// A loss that compares values has no upper bound, because it may be as large as the values. It only must be
    /// finite.
    pub(crate) fn is_sound(&self, loss: f32) -> bool {
        loss.is_finite() && (self.targets != TargetKind::Classes || loss < LARGEST_LOSS)
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, Divergence { step, loss }: Divergence, losses: Vec<f32>) -> Error {
        let at = self.last_update(step).unwrap_or(step.saturating_sub(1));
        Error::Diverged {
            step,
            loss,
            learning_rate: self.rule_of(at).optimizer.coefficients(at)[0],
            losses,
            remedy: self.remedy(step),
        }
    }

    /// Returns the index, from 0, of the last step whose update affects the loss of step `step`, counted from 1.
    fn last_update(&self, step: u64) -> Option<u64> {
        step.checked_sub(2).filter(|_| step > self.began_at + 1)
    }

    /// Returns advice against the divergence that the loss of this step shows. The advice names only causes that can
    /// have affected this loss.
    fn remedy(&self, step: u64) -> String {
        let scaling = self
            .scaling()
            .map_or(String::new(), |it| format!(", or {it}"));
        let Some(last) = self.last_update(step) else {
            let start = "No update was made before this loss: start from smaller parameters";
            return format!("{start}{scaling}");
        };
        let Rule {
            optimizer,
            multiples,
        } = self.rule_of(last);
        let rate = optimizer.learning_rate();
        let used = optimizer.coefficients(last)[0];
        let is_raised = used > rate;
        let from = number(rate);
        let to = number(used);
        let by_schedule = if from == to {
            String::new()
        } else {
            format!(", and {to} by its schedule")
        };
        let multiples: Vec<_> = multiples.iter().copied().map(number).collect();
        let in_groups = if multiples.is_empty() {
            String::new()
        } else {
            format!(
                "; parameter groups multiply it by {}",
                multiples.join(" and ")
            )
        };
        let rate = format!("the learning rate (it is {from}{by_schedule}{in_groups})");
        let decay = optimizer.decay();
        match used * decay {
            2.0.. => format!(
                "Lower the weight decay (it is {}) or {rate}: their product is {}, and at 2 or above the weight decay \
                 alone makes parameters grow",
                number(decay),
                number(used * decay)
            ),
            1.0.. => format!(
                "Lower {rate} or the weight decay (it is {}){scaling}",
                number(decay)
            ),
            _ if is_raised => format!(
                "The schedule has raised the learning rate from {from} to {to}{in_groups}: use a factor below 1{scaling}"
            ),
            _ => format!("Lower {rate}{scaling}"),
        }
    }

    /// Returns advice to scale large features or targets of a table. Bytes need no scaling: the network reads them as 0
    /// to 1.
    fn scaling(&self) -> Option<String> {
        let Some(Examples::Table(table)) = &self.examples else {
            return None;
        };
        let reach = |values: &[f32]| {
            values
                .iter()
                .fold(0.0f32, |most, value| most.max(value.abs()))
        };
        let targets = match table.targets() {
            Targets::Classes(_) => 0.0,
            Targets::Values { values, .. } => reach(values),
        };
        let kinds = [("features", reach(table.features())), ("targets", targets)];
        let large = kinds.into_iter().filter(|(_, reach)| *reach > SCALED);
        let (names, reached): (Vec<_>, Vec<_>) = large
            .map(|(name, reach)| (name, format!("{name} reach {}", number(reach))))
            .unzip();
        let names = names.join(" and ");
        let reached = reached.join(", ");
        (!names.is_empty()).then(|| format!("scale {names} to about −1…1 ({reached})"))
    }
}

#[cfg(test)]
mod tests;
