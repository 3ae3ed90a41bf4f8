//! The measured speed of training steps.

use std::time::Duration;

/// Factor for the earlier sums when a new measurement is added. If the host notices the end of one submit late, the
/// measured time of this submit is too long and that of the next too short; the sum over several submits is nearly
/// right.
const KEPT: f64 = 0.75;

/// The duration of a step, measured from submits with a known number of steps.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// Sum of the steps of past submits; older submits have less weight.
    steps: f64,
    seconds: f64,
}

impl Pace {
    /// Records that the device took the time `took` for `steps` steps.
    pub(crate) fn record(&mut self, steps: usize, took: Duration) {
        if steps == 0 {
            return;
        }
        self.steps = KEPT * self.steps + steps as f64;
        self.seconds = KEPT * self.seconds + took.as_secs_f64();
    }

    /// The number of whole steps that fit in `time`; `None` before the first measurement.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what is too large becomes the largest number"
    )]
    pub(crate) fn steps_within(&self, time: Duration) -> Option<usize> {
        self.share_within(time).map(|steps| steps as usize)
    }

    /// [`steps_within`](Self::steps_within), including fractions of a step.
    pub(crate) fn share_within(&self, time: Duration) -> Option<f64> {
        let is_known = self.steps > 0.0 && self.seconds > 0.0;
        is_known.then(|| self.steps * time.as_secs_f64() / self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Pace;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn nothing_is_known_before_a_measurement() {
        let mut pace = Pace::default();
        assert_eq!(pace.steps_within(SECOND), None);
        pace.record(0, SECOND);
        assert_eq!(pace.steps_within(SECOND), None);
        let mut at_once = Pace::default();
        at_once.record(10, Duration::ZERO);
        assert_eq!(at_once.steps_within(SECOND), None);
    }

    #[test]
    fn steps_fit_a_time_by_what_they_took() {
        let mut pace = Pace::default();
        pace.record(100, SECOND / 2);
        assert_eq!(pace.steps_within(SECOND), Some(200));
        assert_eq!(pace.steps_within(SECOND / 4), Some(50));
        assert_eq!(pace.steps_within(SECOND / 1000), Some(0));
        assert_eq!(pace.share_within(SECOND / 1000), Some(0.2));
        assert_eq!(pace.steps_within(Duration::MAX), Some(usize::MAX));
    }

    /// If another program slows the device down, the measured speed follows within a few submits.
    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut pace = Pace::default();
        for _submit in 0..20 {
            pace.record(100, SECOND / 10);
        }
        for _submit in 0..20 {
            pace.record(100, SECOND);
        }
        let steps = pace.steps_within(SECOND);
        assert!(
            (100..=102).contains(&steps.unwrap_or_default()),
            "{steps:?}"
        );
    }

    #[test]
    fn a_completion_seen_late_changes_little() {
        let mut pace = Pace::default();
        for _pair in 0..20 {
            pace.record(100, 15 * SECOND / 10);
            pace.record(100, 5 * SECOND / 10);
        }
        let steps = pace.steps_within(SECOND).unwrap_or_default();
        assert!((95..=120).contains(&steps), "{steps}");
    }
}
