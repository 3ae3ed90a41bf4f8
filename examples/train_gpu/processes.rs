//! The processes that `mpirun` has started. Only the first process prints and saves.

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

/// The processes that train together, as seen by this process. Without `--mpi`, there is only this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Processes {
    #[cfg(all(feature = "mpi", unix))]
    world: Option<Mpi>,
}

/// How long a failed process other than the first one waits before it ends. When one process ends, `mpirun` ends all of
/// them. The first process often fails for the same reason, and this delay lets it print the reason first.
#[cfg(all(feature = "mpi", unix))]
const FOR_THE_FIRST: Duration = Duration::from_secs(8);

/// How long an interrupted process other than the first one waits before it ends. The first process is interrupted,
/// too, and saves the training during this time.
#[cfg(all(feature = "mpi", unix))]
const WHEN_INTERRUPTED: Duration = Duration::from_secs(60);

/// Runs `work`. With `--mpi`, all processes run it together.
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
                    // The first process was interrupted, too, and prints which file has the training.
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

/// Returns the index of this process among those that `mpirun` has started, and their number. Works before MPI is
/// initialized. Returns `None` without `mpirun`.
fn place() -> Option<(usize, usize)> {
    // Environment variables of Open MPI, and of MPICH and its derivatives.
    let variables = [
        ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
        ("PMI_SIZE", "PMI_RANK"),
    ];
    let number = |name| env::var(name).ok()?.parse().ok();
    let mut places = variables.into_iter();
    places.find_map(|(size, rank)| Some((number(rank)?, number(size)?)))
}

/// Ends this process because the command line is invalid. Only the first process prints the error.
pub(crate) fn refuse(error: &clap::Error) -> ! {
    if place().is_some_and(|(rank, _)| rank > 0) {
        // When this process ends, `mpirun` also ends the first process. Let the first process print the error before.
        thread::sleep(Duration::from_secs(1));
        process::exit(error.exit_code());
    }
    error.exit()
}

#[cfg(all(feature = "mpi", unix))]
impl Processes {
    /// Whether this process prints and saves.
    pub(crate) fn leads(&self) -> bool {
        self.world.as_ref().is_none_or(Mpi::leads)
    }

    /// Returns the index of this process among the processes on this machine, and their number.
    pub(crate) fn of_host(&self) -> (usize, usize) {
        self.world.as_ref().map_or((0, 1), Mpi::of_host)
    }

    /// Returns in all processes the `number` that the first process passes.
    pub(crate) fn agree(&self, number: usize) -> Result<usize, Error> {
        Ok(self.all(number)?[0])
    }

    /// Whether `flag` is true in at least one process.
    pub(crate) fn any(&self, flag: bool) -> Result<bool, Error> {
        Ok(self.all(usize::from(flag))?.contains(&1))
    }

    /// Returns the `number` that each process passes, in the order of their ranks.
    fn all(&self, number: usize) -> Result<Vec<usize>, Error> {
        let Some(world) = &self.world else {
            return Ok(vec![number]);
        };
        let own = u32::try_from(number).unwrap_or(u32::MAX);
        let mut all = vec![own; world.size()];
        world.all_gather(&mut all)?;
        Ok(all.into_iter().map(|number| number as usize).collect())
    }

    /// Checks that all processes have the same values of the options on which the points of communication depend.
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
                let expected = "the same value as in process 0".to_owned();
                return Err(setting(&name, expected, "another"));
            }
        }
        Ok(())
    }

    /// Sets how the processes share the steps of a training that has taken `taken` steps: by averaging gradients, or by
    /// local steps between averages of the parameters.
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
        // The call above also happens before the first step if gradients are averaged first. So invalid local steps are
        // reported before any step is taken.
        if taken < args.local_after {
            engine.distribute(all)
        } else {
            Ok(())
        }
    }

    /// Describes the number of processes, and whether they average gradients or parameters. `None` without `--mpi`.
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
