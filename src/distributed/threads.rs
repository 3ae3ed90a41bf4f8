//! Threads of one process that train together: each may have a GPU of its own.

use std::fmt;
use std::panic;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::World;
use crate::error::Error;
use crate::gpu::lock;

/// One of several threads of this program that train together, without MPI: on the GPUs of one machine, or in tests.
pub struct Threads {
    rank: usize,
    meeting: Arc<Meeting>,
}

/// Where all of them meet.
#[derive(Debug)]
struct Meeting {
    size: usize,
    state: Mutex<State>,
    changed: Condvar,
}

/// What one of them has sent.
#[derive(Debug, Default)]
struct Sent {
    /// A part for each of them, where it is not the same for all.
    is_in_parts: bool,
    numbers: Vec<u32>,
}

#[derive(Debug, Default)]
struct State {
    /// What each has sent to the present meeting.
    sent: Vec<Arc<Sent>>,
    /// What each had sent to the one before: nobody comes to the end of the present one who has not seen it.
    seen: Vec<Arc<Sent>>,
    /// How many have come to the present meeting.
    come: usize,
    /// Meetings so far.
    meetings: u64,
    /// One that will come to none any more.
    left: Option<usize>,
}

impl Threads {
    /// Runs `work` in `count` threads, each with its place among them; what each gives, in turn.
    ///
    /// # Errors
    /// The first that one of them gives. When one leaves, by an error or a panic, the others get [`Error::Process`];
    /// when they call different methods of their trainers, [`Error::Setting`].
    ///
    /// # Panics
    /// As `work`, or when there is to be no thread.
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
        // The others may have failed for want of the one that left first.
        let first = lock(&meeting.state).left.unwrap_or_default();
        if done[first].is_err() {
            done.swap(0, first);
        }
        done.into_iter().collect()
    }
}

/// Tells the others when a thread ends.
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
    /// Gives and gets what all give.
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
            let is_same = of_one.is_in_parts && of_one.numbers.len() == count * of_all.len();
            check_call(rank, is_same)?;
            let (to, rest) = left.split_at_mut(count);
            to.copy_from_slice(&of_one.numbers[self.rank * count..][..count]);
            left = rest;
        }
        Ok(())
    }

    fn all_gather(&self, sent: &[u32], received: &mut [u32]) -> Result<(), Error> {
        let of_all = self.meeting.meet(
            self.rank,
            Sent {
                is_in_parts: false,
                numbers: sent.to_vec(),
            },
        )?;
        let to = received.chunks_mut(sent.len().max(1));
        for (rank, (to, of_one)) in to.zip(&of_all).enumerate() {
            let is_same = !of_one.is_in_parts && of_one.numbers.len() == sent.len();
            check_call(rank, is_same)?;
            to.copy_from_slice(&of_one.numbers);
        }
        Ok(())
    }
}

/// Whether a process has called the same method as this one.
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
