//! Distributed training by MPI: processes that `mpirun` has started.
//!
//! ```no_run
//! use wgrad::data::{Sampling, synthetic};
//! use wgrad::distributed::{Distribution, mpi};
//! use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
//! use wgrad::{Device, Error, TwoLayerNet};
//!
//! // mpirun -n 2 target/release/my_program
//! fn main() -> Result<(), Error> {
//!     mpi::run(|world| {
//!         let (digits, leads) = (synthetic::digits(1), world.leads());
//!         let (network, loss) = (TwoLayerNet::spec(784, 50, 10), SoftmaxCrossEntropy);
//!         let sampling = Sampling::Shuffled { seed: 1 };
//!         let mut trainer = Device::auto()
//!             .trainer(&network, loss, Sgd::new(0.1), &digits.train, 25, sampling)?;
//!         trainer.accumulate(4)?;
//!         trainer.distribute(Distribution::new(world))?;
//!         let losses = trainer.steps(600)?;
//!         if leads {
//!             println!("loss {}", losses[599]);
//!         }
//!         Ok(())
//!     })
//! }
//! ```

use std::mem::ManuallyDrop;
use std::sync::Mutex;

use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::request;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Destination, Source};

use super::World;
use crate::error::Error;
use crate::gpu::lock;

/// Locked during each MPI call: only one thread at a time may call MPI.
static CALLS: Mutex<()> = Mutex::new(());

/// The [`World`] of all processes that one `mpirun` has started. A program started without `mpirun` has one process.
#[derive(Debug, Clone)]
pub struct Mpi {
    rank: usize,
    size: usize,
    /// This process's rank among the processes on its host, and the number of processes on that host.
    of_host: (usize, usize),
}

/// Initializes MPI, runs `work` in this process and returns its result.
///
/// If `work` fails or panics, the other processes are not notified. Return the error from `main`: then `mpirun` ends
/// all processes. If the process instead continued or ended normally, the other processes would wait forever for its
/// gradients. So return every error of the training. The only error that does not affect the other processes is a
/// failed save, because only the process with rank 0 saves.
///
/// If a process dies, MPI itself ends the program.
///
/// # Errors
/// The errors of `work`, and [`Error::Setting`] when MPI was already initialized, or when the MPI library does not
/// support calls from different threads (`MPI_THREAD_SERIALIZED`).
pub fn run<T, E: From<Error>>(work: impl FnOnce(Mpi) -> Result<T, E>) -> Result<T, E> {
    let Some((universe, threading)) = mpi::initialize_with_threading(Threading::Serialized) else {
        let expected = "started by mpi::run, once in each process";
        return Err(Error::setting("MPI", expected, "already started").into());
    };
    // Dropping `universe` waits for all processes. After an error in `work`, that would be a deadlock.
    let universe = ManuallyDrop::new(universe);
    if threading < Threading::Serialized {
        let expected = "a library that allows calls from any thread, one at a time";
        return Err(Error::setting("MPI", expected, format!("{threading:?}")).into());
    }
    let world = universe.world();
    let host = world.split_shared(world.rank());
    let done = work(Mpi {
        rank: number(world.rank()),
        size: number(world.size()),
        of_host: (number(host.rank()), number(host.size())),
    })?;
    drop(host);
    drop(ManuallyDrop::into_inner(universe));
    Ok(done)
}

impl Mpi {
    /// Whether this process has rank 0, which should print and save.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.rank == 0
    }

    /// This process's rank among the processes on its host, from 0, and the number of processes on that host: for
    /// example, to choose a GPU for each process.
    #[must_use]
    pub fn of_host(&self) -> (usize, usize) {
        self.of_host
    }
}

/// Converts a rank or count from MPI's type; it is never negative.
fn number(count: i32) -> usize {
    usize::try_from(count).unwrap_or_default()
}

/// Converts a number of elements into MPI's type.
fn count(numbers: usize) -> Result<i32, Error> {
    i32::try_from(numbers).map_err(|_| {
        let expected = "at most 2³¹ − 1, the limit of MPI: use a smaller network";
        Error::setting("number of values in an MPI message", expected, numbers)
    })
}

/// Computes the index at which each part of a message starts.
fn starts(counts: &[i32]) -> Result<Vec<i32>, Error> {
    let mut next = 0usize;
    let starts = counts.iter().map(|&of_one| {
        let start = count(next);
        next += number(of_one);
        start
    });
    starts.collect()
}

impl World for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_to_all(
        &self,
        sent: &[u32],
        received: &mut [u32],
        counts: &[usize],
    ) -> Result<(), Error> {
        let part = count(sent.len() / self.size)?;
        let mut of_sent = vec![part; self.size];
        let starts_of_sent = starts(&of_sent)?;
        of_sent[self.rank] = 0;
        let of_received = counts.iter().map(|&of_one| count(of_one));
        let of_received = of_received.collect::<Result<Vec<_>, _>>()?;
        let sent = Partition::new(sent, of_sent, starts_of_sent);
        let starts = starts(&of_received)?;
        let mut received = PartitionMut::new(received, of_received, starts);
        let _alone = lock(&CALLS);
        SimpleCommunicator::world().all_to_all_varcount_into(&sent, &mut received);
        Ok(())
    }

    /// Each process sends a message to each other process. MPI's own all-gather is not used, because it copies this
    /// process's part as well, unless it works in place, which the crate `mpi` does not offer.
    fn all_gather(&self, parts: &mut [u32]) -> Result<(), Error> {
        count(parts.len())?;
        let part = parts.len() / self.size;
        if part == 0 {
            return Ok(());
        }
        let (before, rest) = parts.split_at_mut(self.rank * part);
        let (own, after) = rest.split_at_mut(part);
        let own = &*own;
        let of_others = before.chunks_mut(part).chain(after.chunks_mut(part));
        let _alone = lock(&CALLS);
        let world = SimpleCommunicator::world();
        let others = (0..world.size()).filter(|&rank| number(rank) != self.rank);
        request::multiple_scope(2 * self.size, |scope, requests| {
            for (rank, to) in others.clone().zip(of_others) {
                let process = world.process_at_rank(rank);
                requests.add(process.immediate_receive_into(scope, to));
            }
            for rank in others {
                let process = world.process_at_rank(rank);
                requests.add(process.immediate_send(scope, own));
            }
            requests.wait_all(&mut Vec::new());
        });
        Ok(())
    }
}
