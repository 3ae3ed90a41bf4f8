//! Waiting for submitted work: in the thread that asks, or in a future.

#[cfg(not(target_arch = "wasm32"))]
use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::faults::Fault;
use super::{Gpu, Signal};
use crate::clock::Instant;
use crate::error::Error;

const WAITING: &str = "waiting for submitted work";

impl Gpu {
    /// Waits until submitted work is done. In a browser there is nothing to wait with, and
    /// reading back waits instead.
    ///
    /// # Errors
    /// [`Error::Timeout`] when the device does not finish, [`Error::DeviceLost`] when it is gone.
    pub fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<(), Error> {
        let wait = wgpu::PollType::Wait {
            submission_index: submission,
            timeout: Some(self.shared.settings.timeout),
        };
        match self.guarded(WAITING, || self.device().poll(wait))? {
            Ok(_) => Ok(()),
            Err(wgpu::PollError::Timeout) => Err(self.timed_out()),
            Err(error) => Err(self.explained(Fault::Other(error.to_string()).into_error(WAITING))),
        }
    }

    fn timed_out(&self) -> Error {
        Error::Timeout {
            doing: "submitted work".to_owned(),
            after: self.shared.settings.timeout,
        }
    }

    /// Ready when all work submitted before this call is done: [`wait`](Self::wait) without blocking the thread.
    /// The time limit of [`GpuBuilder::timeout`](super::GpuBuilder::timeout) begins when the future is first polled.
    ///
    /// ```
    /// # let task = async {
    /// let gpu = wgrad::Gpu::request().await?;
    /// gpu.wait_async().await?;
    /// # Ok::<(), wgrad::Error>(())
    /// # };
    /// # pollster::block_on(task)?;
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_async(&self) -> impl Future<Output = Result<(), Error>> + use<> {
        let gpu = self.clone();
        let done = self.told_of_end();
        async move { gpu.watched(done?).await.map(|_| ()) }
    }

    /// The end of the last submission, made right before this call.
    ///
    /// # Errors
    /// What wgpu has told of since the last call.
    pub(crate) fn finished(&self, submission: wgpu::SubmissionIndex) -> Result<Finished, Error> {
        Ok(Finished {
            gpu: self.clone(),
            submission,
            #[cfg(not(target_arch = "wasm32"))]
            told: self.told_of_end()?,
        })
    }

    /// Told by wgpu, whoever polls the device, when all that was submitted before this call is done.
    fn told_of_end(&self) -> Result<Signal<Outcome>, Error> {
        let done = Signal::new();
        let sender = done.sender();
        self.guarded(WAITING, || {
            self.queue().on_submitted_work_done(move || {
                sender.send(Outcome::Done(Instant::now()));
            });
        })?;
        Ok(done)
    }

    /// What becomes of a signal that wgpu tells, while the device's thread polls; a browser needs none.
    async fn watched(&self, signal: Signal<Outcome>) -> Result<Instant, Error> {
        #[cfg(not(target_arch = "wasm32"))]
        self.watch(signal.sender())?;
        self.ended(signal.await)
    }

    /// Looks for the end of all that was submitted before this call, without waiting for it.
    pub(crate) fn look_for_end(&self) -> Result<Completion, Error> {
        let signal = self.told_of_end()?;
        #[cfg(not(target_arch = "wasm32"))]
        self.watch(signal.sender())?;
        let gpu = self.clone();
        Ok(Completion { gpu, signal })
    }

    /// When a submission was done, if it was.
    fn ended(&self, outcome: Outcome) -> Result<Instant, Error> {
        match outcome {
            Outcome::Done(at) => self.guarded(WAITING, || at),
            #[cfg(not(target_arch = "wasm32"))]
            Outcome::TimedOut => Err(self.timed_out()),
            #[cfg(not(target_arch = "wasm32"))]
            Outcome::Failed(message) => {
                Err(self.explained(Fault::Other(message).into_error(WAITING)))
            }
        }
    }

    /// Waits for the submit before this one: two are under way at a time, so that the device has work
    /// and no queue grows.
    pub(crate) fn wait_in_turn(
        &self,
        before: &mut Option<wgpu::SubmissionIndex>,
        submitted: wgpu::SubmissionIndex,
    ) -> Result<(), Error> {
        match before.replace(submitted) {
            Some(before) => self.wait(Some(before)),
            None => Ok(()),
        }
    }
}

/// The end of a submission, to be awaited.
#[derive(Debug)]
pub(crate) struct Finished {
    gpu: Gpu,
    submission: wgpu::SubmissionIndex,
    #[cfg(not(target_arch = "wasm32"))]
    told: Signal<Outcome>,
}

impl Finished {
    /// Ready when it is done, with the time at which it was seen to be. In a browser at once and without one: there the
    /// device's callbacks say so.
    ///
    /// # Errors
    /// As [`Gpu::wait`].
    pub(crate) async fn end(self) -> Result<Option<Instant>, Error> {
        #[cfg(not(target_arch = "wasm32"))]
        if !may_block() {
            let done = self.gpu.watched(self.told).await.map(Some);
            // A driver that runs work while it is submitted is done at once: other tasks have their turn all the same.
            yield_now().await;
            return done;
        }
        self.gpu.wait(Some(self.submission))?;
        Ok(now())
    }
}

/// How waiting for a submission ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was done at this time.
    Done(Instant),
    /// It was not done in the time that the device has.
    #[cfg(not(target_arch = "wasm32"))]
    TimedOut,
    /// wgpu refused to wait, or panicked.
    #[cfg(not(target_arch = "wasm32"))]
    Failed(String),
}

/// The end of what was submitted, to be looked for.
#[derive(Debug)]
pub(crate) struct Completion {
    gpu: Gpu,
    signal: Signal<Outcome>,
}

impl Completion {
    /// When it was seen to be done, if it was; to be asked until it was.
    ///
    /// # Errors
    /// As [`Gpu::wait`].
    pub(crate) fn seen(&mut self) -> Result<Option<Instant>, Error> {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.signal).poll(&mut context) {
            Poll::Pending => Ok(None),
            Poll::Ready(outcome) => self.gpu.ended(outcome).map(Some),
        }
    }
}

/// A browser has no such clock.
fn now() -> Option<Instant> {
    (!cfg!(target_arch = "wasm32")).then(Instant::now)
}

#[cfg(not(target_arch = "wasm32"))]
thread_local! {
    /// Whether the thread polls for a caller that it blocks anyway.
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Lets other tasks of the executor run.
#[cfg(not(target_arch = "wasm32"))]
async fn yield_now() {
    let mut is_first = true;
    std::future::poll_fn(move |context| {
        if std::mem::take(&mut is_first) {
            context.waker().wake_by_ref();
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}

/// Whether the caller of this thread is one that waits anyway. A browser has none.
pub(crate) fn may_block() -> bool {
    #[cfg(not(target_arch = "wasm32"))]
    return MAY_BLOCK.get();
    #[cfg(target_arch = "wasm32")]
    return false;
}

/// Runs a future of this crate for a caller that blocks: it waits in this thread, which saves the way over another.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    /// Also where the future panics.
    struct Restored(bool);
    impl Drop for Restored {
        fn drop(&mut self) {
            MAY_BLOCK.set(self.0);
        }
    }
    let _restored = Restored(MAY_BLOCK.replace(true));
    pollster::block_on(future)
}
