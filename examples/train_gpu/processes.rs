//! The processes that `mpirun` has started, of which the first one speaks.

use std::env;

use wgrad::{Error, Train};

use crate::args::Args;
use crate::common::Failure;
use crate::common::output::complain;

#[cfg(all(feature = "mpi", unix))]
use crate::interruption;
#[cfg(all(feature = "mpi", unix))]
use std::{thread, time::Duration};

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
const FOR_THE_FIRST: Duration = Duration::from_secs(5);

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
                thread::sleep(FOR_THE_FIRST);
                let of_process = |text| format!("process {rank}: {text}");
                match failure {
                    Failure::Message(text) => Failure::Message(of_process(text)),
                    Failure::Output(text) => Failure::Output(of_process(text)),
                    Failure::Interrupted(text) => Failure::Interrupted(text),
                }
            })
        });
    }
    if let Some(count) = started_beside_others() {
        let how = match cfg!(feature = "mpi") {
            true => "with --mpi they train together",
            false => "built with --features mpi, and with --mpi, they train together",
        };
        complain(&format!(
            "warning: {count} processes were started, and each trains by itself: {how}"
        ));
    }
    work(&args, &Processes::default())
}

/// How many processes `mpirun` has started, if there are several and this is the first.
fn started_beside_others() -> Option<usize> {
    // As Open MPI, and MPICH and its kin, tell each of them.
    let variables = [
        ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
        ("PMI_SIZE", "PMI_RANK"),
    ];
    let number = |name| env::var(name).ok()?.parse::<usize>().ok();
    variables
        .into_iter()
        .filter(|(_, rank)| number(*rank) == Some(0))
        .find_map(|(size, _)| number(size).filter(|&size| size > 1))
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
        engine.distribute(match args.local_steps {
            Some(steps) if taken >= args.local_after => all.local_steps(steps),
            _ => all,
        })
    }

    /// Among how many that is, and how.
    pub(crate) fn description(&self, args: &Args) -> Option<String> {
        let count = self.world.as_ref()?.size();
        let shards = args.shards;
        let of_gradients = format!("gradients of {shards} shards are averaged behind every step");
        let steps = match args.local_steps {
            None | Some(1) => "step".to_owned(),
            Some(steps) => format!("{steps} steps"),
        };
        let words = match (args.local_steps, args.local_after) {
            (None, _) => of_gradients,
            (Some(_), 0) => format!("parameters are averaged behind every {steps}"),
            (Some(_), first) => {
                format!("{of_gradients}, and behind step {first} parameters, behind every {steps}")
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

    pub(crate) fn share(&self, _: &mut dyn Train, _: &Args, _: usize) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn description(&self, _: &Args) -> Option<String> {
        None
    }
}
