//! Chooses how many cores share a training step, so that steps are as short as possible at the moment. More cores are
//! not always faster: each core waits for the slowest one, so if another program keeps one of two cores busy, two cores
//! can be slower than one.
//!
//! The choice depends only on measured durations of steps. From time to time there is a trial: some steps use another
//! number of cores. If they are faster, later steps use this number, too. After a trial that fails, the delay until the
//! next trial is proportional to the time that the trial lost, and doubles with each failure. So all trials together
//! cost about 1 % of the time. No result depends on the number of cores.

use std::time::Instant;

use super::cores;
#[cfg(not(target_arch = "wasm32"))]
use super::team::Team;

/// Minimum duration in seconds of a window: consecutive steps that are measured together.
const WINDOW: f64 = 0.002;
/// The delay until the next trial, as a multiple of the time that the last trial lost. The multiple starts at the first
/// factor, and doubles with each failed trial up to the second factor. After a failed trial with fewer cores, it is the
/// second factor.
const PATIENCE: [f64; 2] = [8.0, 128.0];
/// Minimum delay until the next trial of another number of cores, in seconds.
const LEAST_REST: f64 = 0.05;
/// A number of cores in trial is chosen if its steps are shorter by at least this fraction.
const GAIN: f64 = 0.05;
/// A trial starts immediately if steps have become longer by more than this fraction.
const SLOWED: f64 = 0.25;

/// Chooses the number of cores for the steps of one training.
#[derive(Debug)]
pub(super) struct Sharing {
    /// Numbers of cores to choose from, in decreasing order.
    widths: Vec<usize>,
    /// Index of the number of cores in use between trials.
    home: usize,
    /// Index of the number of cores in trial.
    trial: Option<usize>,
    /// Whether the next trial uses fewer cores.
    fewer: bool,
    /// Number of steps recorded in the present [`WINDOW`], and their total duration in seconds.
    window: (u32, f64),
    /// Typical seconds per step on the number of cores in use between trials; `None` before the first measurement.
    usual: Option<f64>,
    /// Seconds until the next trial of another number of cores.
    rest: f64,
    patience: f64,
    /// The threads that share the work of a step.
    #[cfg(not(target_arch = "wasm32"))]
    team: Option<Team>,
}

impl Default for Sharing {
    fn default() -> Self {
        Self::of(1)
    }
}

impl Sharing {
    /// Runs a training step on the chosen number of cores, and records its duration.
    pub(super) fn take<R>(&mut self, step: impl FnOnce() -> R) -> R {
        let cores = cores::threads();
        // Only tests change the number of cores.
        if self.widths[0] != cores {
            *self = Self::of(cores);
        }
        if cores == 1 {
            return step();
        }
        let start = Instant::now();
        let result = self.take_with(self.width(), step);
        self.took(start.elapsed().as_secs_f64());
        result
    }

    /// Runs a training step on only this thread: for a step so short that other threads would not start in time.
    pub(super) fn take_alone<R>(&mut self, step: impl FnOnce() -> R) -> R {
        self.take_with(1, step)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn take_with<R>(&mut self, width: usize, step: impl FnOnce() -> R) -> R {
        let cores = self.widths[0];
        self.team.get_or_insert_with(|| Team::of(cores));
        cores::with(width, &mut self.team, step)
    }

    /// Runs the step: in a browser's worker, there is one core.
    #[cfg(target_arch = "wasm32")]
    fn take_with<R>(&mut self, _: usize, step: impl FnOnce() -> R) -> R {
        step()
    }

    /// Makes a value that chooses among numbers of cores from 1 to `cores`.
    fn of(cores: usize) -> Self {
        let mut widths = vec![cores, cores - 1, cores.div_ceil(2), 1];
        widths.retain(|width| (1..=cores).contains(width));
        widths.sort_unstable_by(|a, b| b.cmp(a));
        widths.dedup();
        Self {
            widths,
            home: 0,
            trial: None,
            fewer: true,
            window: (0, 0.0),
            usual: None,
            rest: 0.0,
            patience: PATIENCE[0],
            #[cfg(not(target_arch = "wasm32"))]
            team: None,
        }
    }

    /// Number of cores for the next step.
    fn width(&self) -> usize {
        self.widths[self.trial.unwrap_or(self.home)]
    }

    /// Records the duration of a step. When steps of at least [`WINDOW`] seconds in total are recorded, decides the
    /// number of cores for the next steps.
    fn took(&mut self, seconds: f64) {
        self.window.0 += 1;
        self.window.1 += seconds;
        let (steps, seconds) = self.window;
        if seconds < WINDOW {
            return;
        }
        self.window = (0, 0.0);
        let mean = seconds / f64::from(steps);
        match self.trial.take() {
            Some(trial) => self.judge(trial, mean, f64::from(steps)),
            None => self.go_on(mean, seconds),
        }
    }

    /// Decides at the end of a trial: keeps the number of cores in trial if its steps were shorter.
    fn judge(&mut self, trial: usize, mean: f64, steps: f64) {
        let usual = self.usual.unwrap_or(mean);
        if mean < usual * (1.0 - GAIN) {
            (self.home, self.usual) = (trial, Some(mean));
            self.patience = PATIENCE[0];
            self.rest = LEAST_REST;
            return;
        }
        // After a failed trial with fewer cores, wait longest: if steps become longer, a trial starts immediately
        // anyway.
        let patience = if trial > self.home {
            PATIENCE[1]
        } else {
            self.patience
        };
        self.rest = LEAST_REST.max(patience * steps * (mean - usual));
        self.patience = PATIENCE[1].min(2.0 * self.patience);
    }

    /// Called when a [`WINDOW`] of steps without a trial was measured. May start a trial of another number of cores.
    fn go_on(&mut self, mean: f64, seconds: f64) {
        let usual = self.usual.unwrap_or(mean);
        if mean > usual * (1.0 + SLOWED) {
            self.usual = Some(mean);
            self.patience = PATIENCE[0];
            self.rest = 0.0;
            self.fewer = true;
        } else {
            self.usual = Some(mean.min(0.9 * usual + 0.1 * mean));
            self.rest -= seconds;
        }
        if self.rest <= 0.0 {
            let last = self.widths.len() - 1;
            let next = match (self.home, self.fewer) {
                (0, _) => 1,
                (home, true) if home < last => home + 1,
                (home, _) => home - 1,
            };
            self.fewer = !self.fewer;
            self.trial = Some(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sharing;

    /// Simulates `steps` steps and returns their total seconds. `step` returns the seconds of one step on a number of
    /// cores.
    fn run(sharing: &mut Sharing, steps: usize, step: impl Fn(usize) -> f64) -> f64 {
        let took = (0..steps).map(|_| {
            let seconds = step(sharing.width());
            sharing.took(seconds);
            seconds
        });
        took.sum()
    }

    /// On two cores a step takes 60 µs, or 1 ms while another program uses one of them; on one core it takes 100 µs.
    #[test]
    fn a_step_costs_what_the_better_number_of_cores_makes_it() {
        let quiet = |width| if width == 2 { 60e-6 } else { 100e-6 };
        let busy = |width| if width == 2 { 1e-3 } else { 100e-6 };
        let mut sharing = Sharing::of(2);
        for _ in 0..3 {
            assert!(run(&mut sharing, 100_000, quiet) < 100_000.0 * 60e-6 * 1.02);
            assert_eq!(sharing.widths[sharing.home], 2);
            assert!(run(&mut sharing, 100_000, busy) < 100_000.0 * 100e-6 * 1.03);
            assert_eq!(sharing.widths[sharing.home], 1);
            // The choice returns to two cores within a second.
            run(&mut sharing, 10_000, quiet);
        }
    }

    /// Here, a step takes at least 50 ms. So each single step is longer than [`WINDOW`](super::WINDOW), and is measured
    /// alone.
    #[test]
    fn long_steps_are_tried_seldom() {
        let quiet = |width| if width == 2 { 0.05 } else { 0.1 };
        let busy = |width| if width == 2 { 0.15 } else { 0.1 };
        let mut sharing = Sharing::of(2);
        assert!(run(&mut sharing, 1000, quiet) < 1000.0 * 0.05 * 1.02);
        assert!(run(&mut sharing, 1000, busy) < 1000.0 * 0.1 * 1.03);
        run(&mut sharing, 200, quiet);
        assert_eq!(sharing.widths[sharing.home], 2);
    }

    #[test]
    fn of_many_cores_one_or_half_may_be_left_out() {
        let mut sharing = Sharing::of(16);
        assert_eq!(sharing.widths, [16, 15, 8, 1]);
        let step = |width: usize| {
            if width > 15 {
                1e-3
            } else {
                1e-3 / width as f64
            }
        };
        run(&mut sharing, 20_000, step);
        assert_eq!(sharing.widths[sharing.home], 15);
        assert_eq!(Sharing::of(1).widths, [1]);
        assert_eq!(Sharing::of(3).widths, [3, 2, 1]);
    }
}
