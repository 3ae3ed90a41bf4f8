use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use wgrad::data::Split;
use wgrad::{Confusion, Error};

use crate::args::Args;
use crate::common::{Failure, line};
use crate::engine::Engine;
use crate::interruption;
use crate::log::{LogFile, Record};
use crate::losses::LossFile;
use crate::patience::Patience;
use crate::plot::Plot;
use crate::samples::Samples;

/// Steps between two movements of the progress bar: at least so many, and as many as last so long. Each
/// ends with a readback, for which the next ones wait.
const FEW: usize = 200;
const SECONDS: f64 = 0.1;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Steps taken, of those before a resume too.
    pub(crate) steps: usize,
    /// Steps taken in this run.
    pub(crate) taken: usize,
    /// Seconds that the steps took.
    pub(crate) train_s: f64,
    /// Share of the training examples, 0 to 1.
    pub(crate) train_accuracy: Option<f64>,
    /// Share of the test examples, 0 to 1.
    pub(crate) test_accuracy: Option<f64>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum End {
    /// All was done.
    Finished(Outcome),
    /// By the user, after so many steps.
    Interrupted(usize),
}

/// What a run writes while it goes on, where that was asked for.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) losses: Option<LossFile>,
    pub(crate) log: Option<LogFile>,
    pub(crate) plot: Option<Plot>,
    pub(crate) samples: Option<Samples>,
}

/// A run: steps, and evaluations between them.
pub(crate) struct Training<'a> {
    args: &'a Args,
    engine: Box<dyn Engine>,
    split: &'a Split,
    files: Files,
    patience: Patience,
    bar: ProgressBar,
    /// Steps taken before this run.
    before: usize,
    /// Steps taken, with those.
    taken: usize,
    spent: Duration,
    /// Sum and number of the losses since the last evaluation.
    recent: (f64, usize),
}

impl<'a> Training<'a> {
    pub(crate) fn new(
        args: &'a Args,
        engine: Box<dyn Engine>,
        split: &'a Split,
        mut files: Files,
        before: usize,
    ) -> Result<Self, Failure> {
        if let Some(losses) = &mut files.losses {
            losses.begin(before)?;
        }
        if let Some(log) = &mut files.log {
            log.begin(before)?;
        }
        Ok(Self {
            bar: progress_bar(args),
            args,
            engine,
            split,
            files,
            patience: Patience::new(args.patience),
            before,
            taken: before,
            spent: Duration::ZERO,
            recent: (0.0, 0),
        })
    }

    /// All steps and evaluations.
    pub(crate) fn run(mut self) -> Result<End, Failure> {
        let end = self.train();
        self.bar.finish_and_clear();
        let end = end?;
        if let Some(plot) = &mut self.files.plot {
            plot.draw()?;
        }
        self.show_predictions()?;
        Ok(end)
    }

    /// What the network makes of the test examples, where that was asked for.
    fn show_predictions(&mut self) -> Result<(), Failure> {
        let Self { args, files, .. } = self;
        if !args.confusion && files.samples.is_none() {
            return Ok(());
        }
        let test = &self.split.test;
        let predictions = self.engine.predictions(test)?;
        if args.confusion {
            line(Confusion::new(test.labels(), &predictions)?)?;
        }
        if let Some(samples) = &mut files.samples {
            let drawn = samples.draw(test, &predictions)?;
            if !args.quiet {
                line(drawn)?;
            }
        }
        Ok(())
    }

    fn train(&mut self) -> Result<End, Failure> {
        if self.args.eval_every > 0 {
            self.evaluate()?;
        }
        loop {
            let next = self.next_evaluation();
            while self.taken < next {
                if interruption::is_requested() {
                    return self.interrupted();
                }
                self.take(self.chunk().min(next - self.taken))?;
            }
            let outcome = self.evaluate()?;
            self.save()?;
            if self.taken == self.args.steps || self.ends_early()? {
                return Ok(End::Finished(outcome));
            }
        }
    }

    /// At the same steps whether or not the training was resumed between them.
    fn next_evaluation(&self) -> usize {
        let (steps, every) = (self.args.steps, self.args.eval_every);
        match self.taken.checked_div(every) {
            None => steps,
            Some(done) => (done + 1).saturating_mul(every).min(steps),
        }
    }

    fn ends_early(&self) -> Result<bool, Failure> {
        let Some(reason) = self.patience.at_end() else {
            return Ok(false);
        };
        if !self.args.quiet {
            let text = format!("stopped early at step {}: {reason}", self.taken);
            self.bar.suspend(|| line(text))?;
        }
        Ok(true)
    }

    fn interrupted(&mut self) -> Result<End, Failure> {
        self.save()?;
        Ok(End::Interrupted(self.taken))
    }

    fn save(&self) -> Result<(), Failure> {
        if let Some(path) = &self.args.save {
            self.engine.save(path)?;
        }
        Ok(())
    }

    /// Steps of this run.
    fn taken_here(&self) -> usize {
        self.taken - self.before
    }

    fn chunk(&self) -> usize {
        let spent = self.spent.as_secs_f64();
        if spent == 0.0 {
            return FEW;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float saturates"
        )]
        let steps = (self.taken_here() as f64 / spent * SECONDS) as usize;
        steps.max(FEW)
    }

    fn take(&mut self, count: usize) -> Result<(), Failure> {
        let started = Instant::now();
        let taken = self.engine.steps(count);
        self.spent += started.elapsed();
        if let (Err(Error::Diverged { losses, .. }), Some(file)) = (&taken, &mut self.files.losses)
        {
            file.add(losses)?;
        }
        let losses = taken?;
        if let Some(file) = &mut self.files.losses {
            file.add(&losses)?;
        }
        let sum: f64 = losses.iter().copied().map(f64::from).sum();
        self.recent = (self.recent.0 + sum, self.recent.1 + count);
        self.taken += count;
        let rate = self.taken_here() as f64 / self.spent.as_secs_f64();
        let loss = losses[count - 1];
        self.bar
            .set_message(format!("{rate:.0} steps/s loss {loss:.4}"));
        self.bar.set_position(self.taken as u64);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<Outcome, Failure> {
        let (sum, count) = std::mem::take(&mut self.recent);
        let record = Record {
            step: self.taken,
            loss: (count > 0).then(|| sum / count as f64),
            train: self.engine.evaluate(&self.split.train)?,
            test: self.engine.evaluate(&self.split.test)?,
            seconds: self.spent.as_secs_f64(),
        };
        if !self.args.quiet {
            self.bar.suspend(|| line(record.line()))?;
        }
        if let Some(log) = &mut self.files.log {
            log.add(&record)?;
        }
        if let Some(plot) = &mut self.files.plot {
            plot.add(&record);
        }
        self.patience.see(record.test.accuracy);
        Ok(Outcome {
            steps: self.taken,
            taken: self.taken_here(),
            train_s: record.seconds,
            train_accuracy: record.train.accuracy,
            test_accuracy: record.test.accuracy,
        })
    }
}

/// On standard error, and only where that is a terminal.
fn progress_bar(args: &Args) -> ProgressBar {
    if args.quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(args.steps as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ETA {eta}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
