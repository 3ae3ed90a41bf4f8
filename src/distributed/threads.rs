//! Distributed training by threads of one process; each thread may have its own GPU.

use std::fmt;
use std::panic;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::World;
use crate::error::Error;
use crate::gpu::lock;

/// The [`World`] of threads of this program that train together without MPI: for several GPUs in one machine, or for
/// tests. Each thread gets its own `Threads`.
pub struct Threads {
    rank: usize,
    meeting: Arc<Meeting>,
}

/// The memory in which the threads exchange messages. Each exchange is a meeting: it completes when every thread has
/// sent its message.
#[derive(Debug)]
struct Meeting {
    size: usize,
    state: Mutex<State>,
    changed: Condvar,
}

/// The message of one thread.
#[derive(Debug, Default)]
struct Sent {
    /// Whether the message has a separate part for each thread (`all_to_all`), or is for all threads (`all_gather`).
    is_in_parts: bool,
    numbers: Vec<u32>,
}

#[derive(Debug, Default)]
struct State {
    /// Each thread's message in the present meeting.
    sent: Vec<Arc<Sent>>,
    /// Each thread's message in the last completed meeting. The present meeting cannot complete before every thread
    /// has read it.
    seen: Vec<Arc<Sent>>,
    /// Number of threads that have arrived at the present meeting.
    come: usize,
    /// Number of completed meetings.
    meetings: u64,
    /// The first thread that has ended, so that no meeting can complete any more.
    left: Option<usize>,
}

impl Threads {
    /// Runs `work` in `count` threads and passes each thread its [`World`]. Returns the results in the order of the
    /// ranks.
    ///
    /// # Errors
    /// The error of the thread that failed first. Inside `work`, trainers return [`Error::Process`] when another thread
    /// has ended, and [`Error::Setting`] when the threads call different methods of their trainers.
    ///
    /// # Panics
    /// If `work` panics in a thread, or if `count` is 0.
    pub fn run<T: Send, E: Send>(
        count: usize,
        work: impl Fn(Self) -> Result<T, E> + Sync,
    ) -> Result<Vec<T>, E> {
        assert!(count > 0, "distributed::Threads: at least 1");
        let meeting = Arc::new(Meeting {
            size: count,
            state: Mutex::new(State {
                sent: vec![Arc::default(); count],
                ..State::default()
            }),
            changed: Condvar::new(),
        });
        let done: Vec<_> = thread::scope(|scope| {
            let spawned = (0..count).map(|rank| {
                let leaving = Leaving {
                    rank,
                    meeting: &meeting,
                };
                let world = Self {
                    rank,
                    meeting: Arc::clone(&meeting),
                };
                let work = &work;
                scope.spawn(move || {
                    let done = work(world);
                    drop(leaving);
                    done
                })
            });
            let spawned: Vec<_> = spawned.collect();
            spawned
                .into_iter()
                .map(thread::ScopedJoinHandle::join)
                .collect()
        });
        let done = done
            .into_iter()
            .map(|done| done.unwrap_or_else(|panic| panic::resume_unwind(panic)));
        let mut done: Vec<Result<T, E>> = done.collect();
        // Return the error of the thread that ended first: the other threads may have failed only because it ended.
        let first = lock(&meeting.state).left.unwrap_or_default();
        if done[first].is_err() {
            done.swap(0, first);
        }
        done.into_iter().collect()
    }
}

/// When dropped, tells the other threads that this thread has ended.
struct Leaving<'a> {
    rank: usize,
    meeting: &'a Meeting,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        lock(&self.meeting.state).left.get_or_insert(self.rank);
        self.meeting.changed.notify_all();
    }
}

impl Meeting {
    /// Sends this thread's message, waits for all other threads, and returns the messages of all threads.
    fn meet(&self, rank: usize, sent: Sent) -> Result<Vec<Arc<Sent>>, Error> {
        let sent = Arc::new(sent);
        let mut state = lock(&self.state);
        if let Some(left) = state.left {
            return Err(Error::Process { rank: left });
        }
        state.sent[rank] = sent;
        state.come += 1;
        let meeting = state.meetings;
        if state.come == self.size {
            (state.come, state.meetings) = (0, meeting + 1);
            state.seen = state.sent.clone();
            self.changed.notify_all();
        }
        while state.meetings == meeting {
            if let Some(left) = state.left {
                return Err(Error::Process { rank: left });
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        Ok(state.seen.clone())
    }
}

impl World for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.meeting.size
    }

    fn all_to_all(
        &self,
        sent: &[u32],
        received: &mut [u32],
        counts: &[usize],
    ) -> Result<(), Error> {
        let of_all = self.meeting.meet(
            self.rank,
            Sent {
                is_in_parts: true,
                numbers: sent.to_vec(),
            },
        )?;
        let mut left = received;
        for (rank, (of_one, &count)) in of_all.iter().zip(counts).enumerate() {
            if rank == self.rank {
                continue;
            }
            let is_same = of_one.is_in_parts && of_one.numbers.len() == count * of_all.len();
            check_call(rank, is_same)?;
            let (to, rest) = left.split_at_mut(count);
            to.copy_from_slice(&of_one.numbers[self.rank * count..][..count]);
            left = rest;
        }
        Ok(())
    }

    fn all_gather(&self, parts: &mut [u32]) -> Result<(), Error> {
        let part = parts.len() / self.size();
        let of_all = self.meeting.meet(
            self.rank,
            Sent {
                is_in_parts: false,
                numbers: parts[self.rank * part..][..part].to_vec(),
            },
        )?;
        for (rank, (to, of_one)) in parts.chunks_mut(part.max(1)).zip(&of_all).enumerate() {
            let is_same = !of_one.is_in_parts && of_one.numbers.len() == part;
            check_call(rank, is_same)?;
            to.copy_from_slice(&of_one.numbers);
        }
        Ok(())
    }
}

/// Returns an error unless `is_same`, which says whether thread `rank` has called the same method as this thread.
fn check_call(rank: usize, is_same: bool) -> Result<(), Error> {
    if is_same {
        return Ok(());
    }
    let expected = "the same as on the other processes: all processes call the same methods of their trainers, in the same order";
    let name = format!("call of process {rank}");
    Err(Error::setting(name, expected, "another call"))
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {} of {}", self.rank, self.meeting.size)
    }
}
