//! Training by several processes: each computes the gradients of some minibatches of a step, and all of them update by
//! the same mean. [`Train::distribute`](crate::Train::distribute) starts it.
//!
//! The processes share the minibatches of a step, which [`accumulate`](crate::Train::accumulate)`(shards)` sets: each
//! minibatch is a shard. The shards are the same minibatches that a single process would draw, because sampling is a
//! function of seed, step and row. The host adds their gradients in pairs, in an order that depends only on the number
//! of shards. So 1, 2 and 4 processes on equal devices give the same bits, which `MPI_SUM` of floats would not.
//!
//! ```
//! use wgrad::data::{Sampling, synthetic};
//! use wgrad::distributed::{Distribution, Threads};
//! use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
//! use wgrad::{Device, Error, TwoLayerNet};
//!
//! // Threads of one process here: with the feature `mpi`, `mpi::run` gives the processes that `mpirun` has started.
//! let digits = synthetic::digits_of(1, 1000, 100)?;
//! let losses = Threads::run(2, |world| {
//!     let device = Device::cpu("an example");
//!     let (network, loss) = (TwoLayerNet::spec(784, 50, 10), SoftmaxCrossEntropy);
//!     let sampling = Sampling::Shuffled { seed: 1 };
//!     // 4 shards of 25 rows make a step of 100.
//!     let mut trainer =
//!         device.trainer(&network, loss, Sgd::new(0.1), &digits.train, 25, sampling)?;
//!     trainer.accumulate(4)?;
//!     trainer.distribute(Distribution::new(world))?;
//!     trainer.steps(20)
//! })?;
//! assert_eq!(losses[0], losses[1]); // both processes know the losses of the whole step
//! # Ok::<(), Error>(())
//! ```

mod data_parallel;
mod exchange;
#[cfg(all(feature = "mpi", unix))]
pub mod mpi;
mod threads;

use std::fmt::Debug;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::error::Error;

pub(crate) use data_parallel::{
    DataParallel, Replica, check_alone, check_averaged, distributed_steps, distributed_steps_within,
};
pub use threads::Threads;

/// The processes that train together, as one of them sees them. All processes must call the same methods in the same
/// order.
pub trait World: Debug + Send + Sync {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;

    /// The number of processes.
    fn size(&self) -> usize;

    /// Sends each other process its part of `sent`. All parts have the same length and lie in the order of ranks; this
    /// process's own part is not sent. `received` gets the parts from the other processes, in the same order:
    /// `counts[rank]` numbers from each, and 0 from this one.
    ///
    /// # Errors
    /// [`Error::Process`] when a process has left.
    fn all_to_all(&self, sent: &[u32], received: &mut [u32], counts: &[usize])
    -> Result<(), Error>;

    /// Collects the parts of all processes in the memory of each. All parts have the same length and lie in `parts` in
    /// the order of ranks. On entry, this process's part is in its place; on return, all parts are.
    ///
    /// # Errors
    /// [`Error::Process`] when a process has left.
    fn all_gather(&self, parts: &mut [u32]) -> Result<(), Error>;
}

/// How a training is divided among processes.
#[derive(Debug, Clone)]
pub struct Distribution {
    pub(crate) world: Arc<dyn World>,
    pub(crate) local_steps: Option<usize>,
}

impl Distribution {
    /// All processes update by the mean gradient of every step.
    pub fn new(world: impl World + 'static) -> Self {
        Self {
            world: Arc::new(world),
            local_steps: None,
        }
    }

    /// Averages parameters instead of gradients: each process takes `steps` steps by the gradients of its own shards.
    /// Then the parameters and the optimizer's state are averaged over the processes (Lin, Stich, Patel, Jaggi, "Don't
    /// use large mini-batches, use local SGD", 2018). This sends messages `steps` times less often. The training
    /// differs from that of one process, and its bits depend on the number of processes. Losses that `steps` returns
    /// are means over the processes; the losses that are kept ([`Train::losses`](crate::Train::losses)) are those of
    /// this process's shards. Frozen parameters are not sent.
    ///
    /// Post-local SGD of the same paper starts with averaged gradients, while parameters change the most:
    ///
    /// ```
    /// use wgrad::distributed::{Distribution, Threads};
    /// use wgrad::{Error, Train};
    ///
    /// fn train(trainer: &mut dyn Train, world: Threads) -> Result<(), Error> {
    ///     let all = Distribution::new(world);
    ///     trainer.distribute(all.clone())?;
    ///     trainer.steps(1000)?;
    ///     trainer.distribute(all.local_steps(20))?;
    ///     trainer.steps(9000).map(drop)
    /// }
    /// ```
    #[must_use]
    pub fn local_steps(self, steps: usize) -> Self {
        Self {
            local_steps: Some(steps),
            ..self
        }
    }
}

/// The error for a step that processes cannot share.
pub(crate) fn not_distributed(what: &str) -> Error {
    let expected = "one on a data set (steps, advance or advance_within), whose minibatches the processes share";
    Error::setting("step of a distributed training", expected, what)
}

/// Checks that all processes have the same bytes.
///
/// # Errors
/// [`Error::Setting`] on all processes; it names the first process whose bytes differ from those of process 0.
pub(crate) fn check_same(world: &dyn World, what: &str, bytes: &[u8]) -> Result<(), Error> {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let all: Vec<[u32; 8]> = gathered(world, bytemuck::cast(digest))?;
    let found = |rank: usize| {
        let beginning: String = all[rank]
            .iter()
            .take(2)
            .map(|word| format!("{word:08x}"))
            .collect();
        format!("one whose SHA-256 begins with {beginning}")
    };
    same(what, &all, found)
}

/// Checks that all processes say the same about something, in the first 256 bytes.
///
/// # Errors
/// The errors of [`check_same`].
pub(crate) fn check_told(world: &dyn World, what: &str, words: &str) -> Result<(), Error> {
    let mut own = [0u8; 256];
    let length = words.len().min(own.len());
    own[..length].copy_from_slice(&words.as_bytes()[..length]);
    let all: Vec<[u32; 64]> = gathered(world, bytemuck::cast(own))?;
    let found = |rank: usize| {
        let bytes: &[u8] = bytemuck::cast_slice(&all[rank]);
        let end = bytes.iter().position(|&byte| byte == 0);
        String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
    };
    same(what, &all, found)
}

/// What all processes have, in the order of their ranks.
fn gathered<const N: usize>(world: &dyn World, own: [u32; N]) -> Result<Vec<[u32; N]>, Error> {
    let mut all = vec![[0; N]; world.size()];
    all[world.rank()] = own;
    world.all_gather(all.as_flattened_mut())?;
    Ok(all)
}

fn same<T: PartialEq>(what: &str, all: &[T], found: impl Fn(usize) -> String) -> Result<(), Error> {
    match all.iter().position(|of_one| *of_one != all[0]) {
        None => Ok(()),
        Some(rank) => {
            let expected = format!("the same as that of process 0, {}", found(0));
            let name = format!("{what} of process {rank}");
            Err(Error::setting(name, expected, found(rank)))
        }
    }
}
