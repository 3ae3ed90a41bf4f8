//! Data-parallel training by several processes. In each step, every process computes the gradients of some minibatches.
//! Then all processes update their parameters by the mean gradient. [`Train::distribute`](crate::Train::distribute)
//! starts it.
//!
//! [`accumulate`](crate::Train::accumulate)`(shards)` sets the number of minibatches per step. Here, each minibatch is
//! called a shard, and each process computes some of the shards. They are the same minibatches that a single process
//! would draw, because sampling depends only on seed, step and row. The host adds the shards' gradients in pairs, in an
//! order that depends only on the number of shards. Therefore 1, 2 and 4 processes on equal devices give the same bits.
//! `MPI_SUM` of floats would not.
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

/// Communication of one process with all processes that train together. All processes must call the same methods in the
/// same order.
pub trait World: Debug + Send + Sync {
    /// This process's rank: its number among the processes, from 0.
    fn rank(&self) -> usize;

    /// The number of processes.
    fn size(&self) -> usize;

    /// Sends a part of `sent` to each other process and receives a part from each other process, like `MPI_Alltoallv`.
    /// `sent` has one part per process, in the order of the ranks; all these parts have the same length. This process's
    /// own part is not sent. `received` gets the other processes' parts, in the order of the ranks: `counts[rank]`
    /// elements from each. The count of this process itself is 0.
    ///
    /// # Errors
    /// [`Error::Process`] when another process has ended.
    fn all_to_all(&self, sent: &[u32], received: &mut [u32], counts: &[usize])
    -> Result<(), Error>;

    /// Collects the parts of all processes in each of them, like `MPI_Allgather` in place. `parts` has one part per
    /// process, in the order of the ranks; all parts have the same length. On entry, this process has written its own
    /// part; on return, all parts are there.
    ///
    /// # Errors
    /// [`Error::Process`] when another process has ended.
    fn all_gather(&self, parts: &mut [u32]) -> Result<(), Error>;
}

/// Settings of a distributed training: the processes, and whether they average gradients or parameters.
#[derive(Debug, Clone)]
pub struct Distribution {
    pub(crate) world: Arc<dyn World>,
    pub(crate) local_steps: Option<usize>,
}

impl Distribution {
    /// Averages gradients: in each step, all processes update by the mean gradient over all shards.
    pub fn new(world: impl World + 'static) -> Self {
        Self {
            world: Arc::new(world),
            local_steps: None,
        }
    }

    /// Averages parameters instead of gradients (local SGD). Each process takes `steps` steps by the gradients of its
    /// own shards. Then the processes average their parameters and optimizer states (Lin, Stich, Patel, Jaggi, "Don't
    /// use large mini-batches, use local SGD", 2018). So they exchange messages only every `steps` steps.
    ///
    /// The results differ from the training by one process, and depend on the number of processes.
    /// [`Train::steps`](crate::Train::steps) returns losses that are means over all processes.
    /// [`Train::losses`](crate::Train::losses) returns the losses of this process's shards only. Frozen parameters are
    /// not exchanged.
    ///
    /// The same paper's post-local SGD begins with averaged gradients, while the parameters change fastest:
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

/// The error for a kind of step, `what`, that cannot be distributed among processes.
pub(crate) fn not_distributed(what: &str) -> Error {
    let expected = "one on a data set (steps, advance or advance_within), whose minibatches the processes share";
    Error::setting("step of a distributed training", expected, what)
}

/// Checks that all processes pass the same `bytes`, by comparing SHA-256 hashes. `what` names the bytes in the error.
///
/// # Errors
/// [`Error::Setting`] in all processes. It names the first process whose bytes differ from those of process 0.
pub(crate) fn check_same(world: &dyn World, what: &str, bytes: &[u8]) -> Result<(), Error> {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let all: Vec<[u32; 8]> = gathered(world, bytemuck::cast(digest))?;
    let found = |rank: usize| {
        let beginning: String = all[rank]
            .iter()
            .take(2)
            .map(|word| format!("{word:08x}"))
            .collect();
        format!("data whose SHA-256 begins with {beginning}")
    };
    same(what, &all, found)
}

/// Checks that all processes pass the same text in `words`; only its first 256 bytes are compared. `what` names the
/// text in the error.
///
/// # Errors
/// The errors of [`check_same`].
pub(crate) fn check_same_text(world: &dyn World, what: &str, words: &str) -> Result<(), Error> {
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

/// Collects `own` from all processes, in the order of their ranks.
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
