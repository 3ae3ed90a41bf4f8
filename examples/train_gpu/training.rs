use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use wgrad::data::Split;
use wgrad::{Confusion, EarlyStopping, Error, Metric, Train};

use crate::args::Args;
use crate::common::{Failure, line};
use crate::interruption;
use crate::log::{LogFile, Record, decimals};
use crate::losses::LossFile;
use crate::plot::Plot;
use crate::processes::Processes;
use crate::samples::Samples;
use crate::saving::quoted;

/// Seconds between two updates of the progress bar. Signals are handled at the same times. The interval is not shorter,
/// because it ends with a readback of the losses, which delays the next steps. An interval has at least one step, even
/// if the step takes longer.
const SECONDS: f64 = 0.1;

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Steps taken, including those before a resume.
    pub(crate) steps: usize,
    /// Steps taken in this run.
    pub(crate) taken: usize,
    /// Seconds that the steps took.
    pub(crate) train_s: f64,
    /// Accuracy on the training examples after the last step, 0 to 1.
    pub(crate) train_accuracy: Option<f64>,
    /// Accuracy on the test examples after the last step, 0 to 1.
    pub(crate) test_accuracy: Option<f64>,
}

/// The output files of a run. A file that was not requested is `None`.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) losses: Option<LossFile>,
    pub(crate) log: Option<LogFile>,
    pub(crate) plot: Option<Plot>,
    pub(crate) samples: Option<Samples>,
}

/// A run: training steps, and evaluations between them.
pub(crate) struct Training<'a> {
    args: &'a Args,
    processes: &'a Processes,
    engine: Box<dyn Train>,
    split: &'a Split,
    files: Files,
    /// Decides at each evaluation whether the run ends early, for `--patience`. `is_early` is its last decision.
    stopping: Option<EarlyStopping>,
    is_early: bool,
    bar: ProgressBar,
    /// Steps taken before this run.
    before: usize,
    /// Steps taken, including those before this run.
    taken: usize,
    /// Whether the run takes no more steps.
    is_done: bool,
    /// The last file to which the training was saved or from which it was resumed, and the step of the training in that
    /// file.
    saved: Option<(&'a Path, usize)>,
    spent: Duration,
    /// Seconds per step in the last interval between two readbacks. `None` before the first interval.
    pace: Option<f64>,
    /// Sum of the losses since the last evaluation, and number of these losses.
    recent: (f64, usize),
}

impl<'a> Training<'a> {
    pub(crate) fn new(
        (args, processes): (&'a Args, &'a Processes),
        engine: Box<dyn Train>,
        split: &'a Split,
        mut files: Files,
        before: usize,
    ) -> Result<Self, Failure> {
        if let Some(losses) = &mut files.losses {
            losses.begin(before)?;
        }
        if let Some(log) = &mut files.log {
            log.begin(before, args.eval_every)?;
        }
        let mut training = Self {
            bar: progress_bar(args),
            args,
            processes,
            engine,
            split,
            files,
            stopping: args
                .patience
                .map(|patience| EarlyStopping::new(Metric::Accuracy, patience)),
            is_early: false,
            before,
            taken: before,
            is_done: false,
            saved: args.resume.as_deref().map(|path| (path, before)),
            spent: Duration::ZERO,
            pace: None,
            recent: (0.0, 0),
        };
        interruption::remember(training.saved());
        if args
            .local_after()
            .is_some_and(|first| (1..=before).contains(&first))
        {
            training.share()?;
        }
        Ok(training)
    }

    /// Takes all steps, evaluates between them, and writes the requested output at the end.
    pub(crate) fn run(&mut self) -> Result<Outcome, Failure> {
        let outcome = self.train();
        self.bar.finish_and_clear();
        let outcome = outcome?;
        if let Some(plot) = &mut self.files.plot {
            plot.draw()?;
        }
        self.show_predictions()?;
        Ok(outcome)
    }

    /// Adds to a failure the step at which the run ended, and which file has the training. Saves the training first,
    /// unless the training itself has failed.
    pub(crate) fn explain(&mut self, failure: Failure) -> Failure {
        let place = self.place();
        let failed = matches!(failure, Failure::Message(_));
        let kept = if failed {
            Ok(String::new())
        } else {
            self.keep()
        };
        if matches!(&failure, Failure::Interrupted(why) if why.is_empty()) {
            // All processes handle the signal. When one process ends, `mpirun` ends the others. So wait until all
            // processes are here, after the training is saved.
            let _ = self.processes.any(false);
        }
        match (failure, kept) {
            (Failure::Message(message), _) => Failure::Message(message + &self.saved()),
            (Failure::Output(message), Ok(kept)) => {
                Failure::Output(format!("{message}; ended {place}; {kept}"))
            }
            (Failure::Interrupted(why), Ok(kept)) => {
                Failure::Interrupted(format!(" {place}{why}; {kept}"))
            }
            (failure, Err(error)) => {
                let ended = match failure {
                    Failure::Message(text) | Failure::Output(text) => {
                        format!("{text}; ended {place}")
                    }
                    Failure::Interrupted(why) => format!("interrupted {place}{why}"),
                };
                let saved = self.saved();
                Failure::Message(format!(
                    "{ended}; the training could not be saved: {error}{saved}"
                ))
            }
        }
    }

    /// Describes in words how many steps the training has taken.
    fn place(&self) -> String {
        match self.taken {
            0 => "before the first step".to_owned(),
            taken => format!("after step {taken}"),
        }
    }

    /// Returns the end of a message, which names the last file that has the training.
    fn saved(&self) -> String {
        match self.saved {
            Some((path, step)) if path.is_file() => {
                format!("; {} has the training after step {step}", path.display())
            }
            // In other processes, print nothing: the first process may have saved the training.
            _ if !self.processes.leads() => String::new(),
            _ => "; this training was not saved".to_owned(),
        }
    }

    /// Saves a training that ends early, if `--save` is given. Returns a message that says how to continue it.
    fn keep(&mut self) -> Result<String, Error> {
        let is_done = self.is_done || self.taken == self.args.steps();
        let Some(path) = self.args.save.as_deref() else {
            return Ok(if is_done {
                "no step was left to take, and nothing was saved, because --save was left out"
            } else {
                "nothing was saved: with --save FILE.safetensors, a training can go on"
            }
            .to_owned());
        };
        if self.taken_here() == 0 {
            return Ok("nothing was saved, because this run has taken no step".to_owned());
        }
        self.save()?;
        Ok(if is_done {
            let path = path.display();
            format!("no step was left to take, and the training was saved to {path}")
        } else {
            format!(
                "the training was saved: run the same command {}",
                self.go_on(path)
            )
        })
    }

    /// Describes how to change the command line to continue the training from the file `saved`.
    fn go_on(&self, saved: &Path) -> String {
        let mut changes = match &self.args.resume {
            None => format!("with --resume {}", quoted(saved)),
            Some(old) if old == saved => "again".to_owned(),
            Some(old) => format!(
                "with --resume {} in place of --resume {}",
                quoted(saved),
                quoted(old)
            ),
        };
        let losses = self.files.losses.as_ref();
        if let Some(step) = losses.and_then(LossFile::is_behind) {
            changes += &format!(
                ", and with another file for --losses, because that one ends with step {step},"
            );
        }
        changes + " to go on"
    }

    /// Prints the confusion matrix and draws the samples, if they were requested.
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

    fn train(&mut self) -> Result<Outcome, Failure> {
        if self.args.eval_every > 0 {
            self.evaluate()?;
        }
        loop {
            let next = self.next_evaluation();
            while self.taken < next {
                self.heed_signals()?;
                let count = self.processes.agree(self.chunk())?;
                self.take(count.min(self.next_change(next) - self.taken))?;
                if self.args.local_after() == Some(self.taken) {
                    self.share()?;
                }
            }
            let outcome = self.evaluate()?;
            self.save()
                .map_err(|error| Failure::Message(format!("{error}; ended {}", self.place())))?;
            self.is_done = self.taken == self.args.steps() || self.is_early;
            if self.is_done {
                self.say_early()?;
                return Ok(outcome);
            }
        }
    }

    /// Returns the step of the next evaluation. It is the same whether or not the training was resumed since the last
    /// evaluation.
    fn next_evaluation(&self) -> usize {
        let steps = self.args.steps();
        let every = self.args.eval_every;
        match self.taken.checked_div(every) {
            None => steps,
            Some(done) => (done + 1).saturating_mul(every).min(steps),
        }
    }

    /// Returns the step at which the processes change from averaging gradients to local steps, or `next` if that comes
    /// first.
    fn next_change(&self, next: usize) -> usize {
        let change = self.args.local_after();
        change.map_or(next, |change| {
            if self.taken < change {
                next.min(change)
            } else {
                next
            }
        })
    }

    /// Sets how the processes share the next steps: see [`Processes::share`].
    fn share(&mut self) -> Result<(), Error> {
        let Self { engine, args, .. } = self;
        self.processes.share(&mut **engine, args, self.taken)
    }

    /// Prints a line if `--patience` has ended the run early.
    fn say_early(&self) -> Result<(), Failure> {
        let is_told = self.is_early && self.taken < self.args.steps() && !self.args.quiet;
        match (&self.stopping, self.args.patience) {
            (Some(stopping), Some(patience)) if is_told => {
                let text = format!(
                    "stopped early at step {}: test accuracy has not risen above {} in {patience} evaluations",
                    self.taken,
                    decimals(stopping.best())
                );
                self.bar.suspend(|| line(text))
            }
            _ => Ok(()),
        }
    }

    /// Saves the training to the file of `--save`, unless that file already has the training after this step.
    fn save(&mut self) -> Result<(), Error> {
        let Some(path) = &self.args.save else {
            return Ok(());
        };
        let saved = Some((path.as_path(), self.taken));
        if self.saved != saved {
            self.engine.save(path)?;
            self.saved = saved;
            interruption::remember(self.saved());
        }
        Ok(())
    }

    /// Number of steps taken in this run.
    fn taken_here(&self) -> usize {
        self.taken - self.before
    }

    /// Returns the number of steps until the next readback. At first, this is the smallest possible number, because the
    /// time per step is not known yet.
    fn chunk(&self) -> usize {
        let local = self.args.local_steps(self.taken);
        let Some(pace) = self.pace else { return local };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float saturates"
        )]
        let steps = (SECONDS / pace) as usize;
        // Rounded up to a multiple of the local steps, so that all processes have the same parameters at the readback.
        steps.clamp(1, 1 << 30).next_multiple_of(local)
    }

    /// Returns [`Failure::Interrupted`] if a signal has asked any of the processes to end.
    fn heed_signals(&self) -> Result<(), Failure> {
        if self.processes.any(interruption::is_requested())? {
            Err(Failure::Interrupted(String::new()))
        } else {
            Ok(())
        }
    }

    fn take(&mut self, count: usize) -> Result<(), Failure> {
        let started = Instant::now();
        let taken = self.engine.steps(count);
        let elapsed = started.elapsed();
        self.spent += elapsed;
        self.pace = Some(elapsed.as_secs_f64() / count as f64);
        let losses = match taken {
            Ok(losses) => losses,
            Err(error) => return Err(self.failed(error)),
        };
        let sum: f64 = losses.iter().copied().map(f64::from).sum();
        self.recent = (self.recent.0 + sum, self.recent.1 + count);
        self.taken += count;
        if let Some(file) = &mut self.files.losses {
            file.add(&losses)?;
        }
        let rate = self.taken_here() as f64 / self.spent.as_secs_f64();
        let loss = losses[count - 1];
        self.bar
            .set_message(format!("{rate:.0} steps/s loss {loss:.4}"));
        self.bar.set_position(self.taken as u64);
        Ok(())
    }

    /// Returns the failure for an error of the steps. If the training diverged, writes the losses of the steps before
    /// the divergence to the file of `--losses`.
    fn failed(&mut self, error: Error) -> Failure {
        let Error::Diverged {
            step, loss, losses, ..
        } = error
        else {
            return error.into();
        };
        let written = self.files.losses.as_mut().map(|file| file.add(&losses));
        let diverged = self.diverged(&format!("the loss of step {step} is {loss:e}"));
        match written {
            Some(Err(unwritten)) => Failure::Message(format!("{diverged}; {unwritten}")),
            _ => Failure::Message(diverged),
        }
    }

    /// Returns the message that the training has diverged, with advice to the user. `what` says how it was found.
    fn diverged(&self, what: &str) -> String {
        let anew = match self.args.resume {
            Some(_) => "start again without --resume, and ",
            None => "",
        };
        let remedy = self.args.optimizer.remedy(self.args.steps());
        format!("training diverged: {what}; {anew}{remedy}")
    }

    /// Evaluates the training and the test data, and adds the result to the outputs. Fails if a loss is not finite;
    /// then nothing is saved.
    fn evaluate(&mut self) -> Result<Outcome, Failure> {
        let (sum, count) = std::mem::take(&mut self.recent);
        let train = self.engine.evaluate(&self.split.train)?;
        // Handle signals only if the loss is finite: an interruption saves the training, and a diverged training must
        // not be saved.
        if train.loss.is_finite() {
            self.heed_signals()?;
        }
        let record = Record {
            step: self.taken,
            loss: (count > 0).then(|| sum / count as f64),
            train,
            test: self.engine.evaluate(&self.split.test)?,
            seconds: self.spent.as_secs_f64(),
        };
        let logged = self
            .files
            .log
            .as_mut()
            .map_or(Ok(()), |log| log.add(&record));
        let losses = [("training", record.train.loss), ("test", record.test.loss)];
        if let Some((data, loss)) = losses.into_iter().find(|(_, loss)| !loss.is_finite()) {
            let what = format!(
                "after step {}, the loss over the {data} data is {loss}",
                self.taken
            );
            return Err(Failure::Message(self.diverged(&what)));
        }
        if !self.args.quiet {
            self.bar.suspend(|| line(record.line()))?;
        }
        logged?;
        if let Some(plot) = &mut self.files.plot {
            plot.add(&record);
        }
        if let Some(stopping) = &mut self.stopping {
            let accuracy = record.test.accuracy.unwrap_or(f64::NAN);
            self.is_early = !stopping.observe(accuracy)?;
        }
        Ok(Outcome {
            steps: self.taken,
            taken: self.taken_here(),
            train_s: record.seconds,
            train_accuracy: record.train.accuracy,
            test_accuracy: record.test.accuracy,
        })
    }
}

/// A progress bar on standard error. It is drawn only on a terminal.
fn progress_bar(args: &Args) -> ProgressBar {
    if args.quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(args.steps() as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ETA {eta}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
