//! The processes that `mpirun` has started, of which the first one speaks.

use std::time::Duration;
use std::{env, process, thread};

use wgrad::{Error, Train};

use crate::args::Args;
#[cfg(all(feature = "mpi", unix))]
use crate::args::setting;
use crate::common::Failure;
#[cfg(all(feature = "mpi", unix))]
use crate::common::output::INTERRUPTED;
use crate::common::output::complain;

#[cfg(all(feature = "mpi", unix))]
use crate::interruption;

#[cfg(all(feature = "mpi", unix))]
use wgrad::distributed::{Distribution, World, mpi::Mpi};

/// This process among them; or none, where `--mpi` was left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Processes {
    #[cfg(all(feature = "mpi", unix))]
    world: Option<Mpi>,
}

/// How long a process that has failed waits for the first one, which may have failed by the same and says why: when that
/// ends, `mpirun` ends all of them, which takes it a second or two.
#[cfg(all(feature = "mpi", unix))]
const FOR_THE_FIRST: Duration = Duration::from_secs(8);

/// The same of one that was interrupted: the first one was, too.
#[cfg(all(feature = "mpi", unix))]
const WHEN_INTERRUPTED: Duration = Duration::from_secs(60);

/// Runs the program, in all processes at once where that is asked for.
pub(crate) fn run(
    args: Args,
    work: impl FnOnce(&Args, &Processes) -> Result<(), Failure>,
) -> Result<(), Failure> {
    #[cfg(all(feature = "mpi", unix))]
    if args.mpi {
        return wgrad::distributed::mpi::run(|world| {
            if world.leads() {
                return work(&args, &Processes { world: Some(world) });
            }
            interruption::be_silent();
            let rank = world.rank();
            let done = work(&args.silent(), &Processes { world: Some(world) });
            done.map_err(|failure| {
                let text = match failure {
                    // So was the first one, which says what is kept.
                    Failure::Interrupted(_) => {
                        thread::sleep(WHEN_INTERRUPTED);
                        process::exit(INTERRUPTED.into());
                    }
                    Failure::Message(text) | Failure::Output(text) => text,
                };
                thread::sleep(FOR_THE_FIRST);
                Failure::Message(format!("process {rank}: {text}"))
            })
        });
    }
    if let Some((0, count @ 2..)) = place() {
        let how = if cfg!(feature = "mpi") {
            "to train together, add --mpi"
        } else {
            "to train together, build with --features mpi and add --mpi"
        };
        complain(&format!(
            "warning: {count} processes were started, but each trains by itself: {how}"
        ));
    }
    work(&args, &Processes::default())
}

/// Which of the processes that `mpirun` has started this is, and how many there are: for what is said before they meet.
fn place() -> Option<(usize, usize)> {
    // As Open MPI, and MPICH and its kin, tell each of them.
    let variables = [
        ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
        ("PMI_SIZE", "PMI_RANK"),
    ];
    let number = |name| env::var(name).ok()?.parse().ok();
    let mut places = variables.into_iter();
    places.find_map(|(size, rank)| Some((number(rank)?, number(size)?)))
}

/// A command line that cannot be understood is told by the first process alone.
pub(crate) fn refuse(error: &clap::Error) -> ! {
    if place().is_some_and(|(rank, _)| rank > 0) {
        // `mpirun` ends the first one when this one ends.
        thread::sleep(Duration::from_secs(1));
        process::exit(error.exit_code());
    }
    error.exit()
}

#[cfg(all(feature = "mpi", unix))]
impl Processes {
    /// Whether this is the process that prints and saves.
    pub(crate) fn leads(&self) -> bool {
        self.world.as_ref().is_none_or(Mpi::leads)
    }

    /// Which of those on this machine it is, and how many there are.
    pub(crate) fn of_host(&self) -> (usize, usize) {
        self.world.as_ref().map_or((0, 1), Mpi::of_host)
    }

    /// What the first process says.
    pub(crate) fn agree(&self, number: usize) -> Result<usize, Error> {
        Ok(self.all(number)?[0])
    }

    /// Whether any of them says so.
    pub(crate) fn any(&self, flag: bool) -> Result<bool, Error> {
        Ok(self.all(usize::from(flag))?.contains(&1))
    }

    /// What all say, in turn.
    fn all(&self, number: usize) -> Result<Vec<usize>, Error> {
        let Some(world) = &self.world else {
            return Ok(vec![number]);
        };
        let own = [u32::try_from(number).unwrap_or(u32::MAX)];
        let mut all = vec![0; world.size()];
        world.all_gather(&own, &mut all)?;
        Ok(all.into_iter().map(|number| number as usize).collect())
    }

    /// Whether all have the same of those options that say when all of them meet.
    pub(crate) fn check_options(&self, args: &Args) -> Result<(), Error> {
        let options = [
            ("--steps", args.steps()),
            ("--eval-every", args.eval_every),
            ("--patience", args.patience.unwrap_or_default()),
            ("--local-after", args.local_after),
            ("--resume", usize::from(args.resume.is_some())),
        ];
        for (option, own) in options {
            let all = self.all(own)?;
            if let Some(rank) = all.iter().position(|&of_one| of_one != all[0]) {
                let name = format!("{option} of process {rank}");
                let expected = "the same as on process 0, where both have it".to_owned();
                return Err(setting(&name, expected, "another"));
            }
        }
        Ok(())
    }

    /// Shares the steps of a training out, behind so many.
    pub(crate) fn share(
        &self,
        engine: &mut dyn Train,
        args: &Args,
        taken: usize,
    ) -> Result<(), Error> {
        let Some(world) = &self.world else {
            return Ok(());
        };
        let all = Distribution::new(world.clone());
        let Some(steps) = args.local_steps else {
            return engine.distribute(all);
        };
        if taken == 0 || taken >= args.local_after {
            engine.distribute(all.clone().local_steps(steps))?;
        }
        // What is wrong with local steps was told before the first step.
        if taken < args.local_after {
            engine.distribute(all)
        } else {
            Ok(())
        }
    }

    /// Among how many that is, and how.
    pub(crate) fn description(&self, args: &Args) -> Option<String> {
        let count = self.world.as_ref()?.size();
        let shards = args.shards;
        let of_gradients = format!("gradients of {shards} shards are averaged after every step");
        let steps = match args.local_steps {
            None | Some(1) => "step".to_owned(),
            Some(steps) => format!("{steps} steps"),
        };
        let words = match (args.local_steps, args.local_after) {
            (None, _) => of_gradients,
            (Some(_), 0) => format!("parameters are averaged after every {steps}"),
            (Some(_), first) => {
                format!("{of_gradients}, and from step {first} on parameters after every {steps}")
            }
        };
        Some(format!("processes: {count}; {words}"))
    }
}

#[cfg(not(all(feature = "mpi", unix)))]
#[expect(
    clippy::unused_self,
    clippy::unnecessary_wraps,
    reason = "as with the feature `mpi`"
)]
impl Processes {
    pub(crate) fn leads(&self) -> bool {
        true
    }

    pub(crate) fn of_host(&self) -> (usize, usize) {
        (0, 1)
    }

    pub(crate) fn agree(&self, number: usize) -> Result<usize, Error> {
        Ok(number)
    }

    pub(crate) fn any(&self, flag: bool) -> Result<bool, Error> {
        Ok(flag)
    }

    pub(crate) fn check_options(&self, _: &Args) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn share(&self, _: &mut dyn Train, _: &Args, _: usize) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn description(&self, _: &Args) -> Option<String> {
        None
    }
}
