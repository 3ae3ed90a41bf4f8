//! How many cores a training asks for: as many as make its steps shortest at the moment. Whoever is done first waits for
//! the others, so that a core which another program keeps busy may make two cores slower than one.
//!
//! Nothing is known of other programs; the steps tell. Now and then some are taken with another number of cores, and the
//! shorter ones go on. A trial that was lost is repeated the later the more often it was lost, and the more time it took,
//! so that all of them together cost about a hundredth of the time. No result depends on the number of cores.

use std::time::Instant;

use super::cores;
#[cfg(not(target_arch = "wasm32"))]
use super::team::Team;

/// Steps that are measured together take at least this long.
const WINDOW: f64 = 0.002;
/// The time until the next trial, in times of what the last one cost, is doubled from the first up to the second.
const PATIENCE: [f64; 2] = [8.0, 128.0];
/// And is at least so long.
const LEAST_REST: f64 = 0.05;
/// Another number of cores is taken where its steps are shorter by this share,
const GAIN: f64 = 0.05;
/// and tried at once where the steps have become longer by this share.
const SLOWED: f64 = 0.25;

/// The choice of a training.
#[derive(Debug)]
pub(super) struct Sharing {
    /// Numbers of cores to choose from, in decreasing order.
    widths: Vec<usize>,
    /// The one that is in use, or is gone back to if a trial is lost.
    home: usize,
    /// The one that is tried.
    trial: Option<usize>,
    /// Whether the next trial is of fewer cores.
    fewer: bool,
    /// Steps that are being measured, and their seconds.
    window: (u32, f64),
    /// Seconds of a step at home; none are known at first.
    usual: Option<f64>,
    /// Seconds until the next trial.
    rest: f64,
    patience: f64,
    /// Threads for short work.
    #[cfg(not(target_arch = "wasm32"))]
    team: Option<Team>,
}

impl Default for Sharing {
    fn default() -> Self {
        Self::of(1)
    }
}

impl Sharing {
    /// Takes a step.
    pub(super) fn take<R>(&mut self, step: impl FnOnce() -> R) -> R {
        let cores = cores::threads();
        // Tests come with another number.
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

    /// Takes a small step, which is done before another thread would have begun it.
    pub(super) fn take_alone<R>(&mut self, step: impl FnOnce() -> R) -> R {
        self.take_with(1, step)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn take_with<R>(&mut self, width: usize, step: impl FnOnce() -> R) -> R {
        let cores = self.widths[0];
        self.team.get_or_insert_with(|| Team::of(cores));
        cores::with(width, &mut self.team, step)
    }

    /// For whom there is one core.
    #[cfg(target_arch = "wasm32")]
    fn take_with<R>(&mut self, _: usize, step: impl FnOnce() -> R) -> R {
        step()
    }

    /// A choice of at most so many cores.
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

    /// Cores of the next step.
    fn width(&self) -> usize {
        self.widths[self.trial.unwrap_or(self.home)]
    }

    /// Takes notice of the seconds of a step.
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

    /// After a trial.
    fn judge(&mut self, trial: usize, mean: f64, steps: f64) {
        let usual = self.usual.unwrap_or(mean);
        if mean < usual * (1.0 - GAIN) {
            (self.home, self.usual) = (trial, Some(mean));
            self.patience = PATIENCE[0];
            self.rest = LEAST_REST;
            return;
        }
        // Fewer cores are tried again at once where steps become longer: else seldom.
        let patience = if trial > self.home {
            PATIENCE[1]
        } else {
            self.patience
        };
        self.rest = LEAST_REST.max(patience * steps * (mean - usual));
        self.patience = PATIENCE[1].min(2.0 * self.patience);
    }

    /// After steps at home.
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

    /// Seconds that a machine takes for a number of steps, where each takes what `step` says of so many cores.
    fn run(sharing: &mut Sharing, steps: usize, step: impl Fn(usize) -> f64) -> f64 {
        let took = (0..steps).map(|_| {
            let seconds = step(sharing.width());
            sharing.took(seconds);
            seconds
        });
        took.sum()
    }

    /// Two cores: shared, a step takes 60 µs, or 1 ms while another program has one of them; alone it takes 100 µs.
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
            // It comes back within a second.
            run(&mut sharing, 10_000, quiet);
        }
    }

    /// One step of 50 ms is a window of its own.
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
