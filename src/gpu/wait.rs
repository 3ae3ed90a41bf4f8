//! Waiting for submitted work: in the calling thread, or in a future.

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
    /// Blocks until a submission is done, or with `None` all submitted work.
    ///
    /// A browser cannot block: there this returns at once, and [`wait_async`](Self::wait_async) or a readback waits.
    ///
    /// # Errors
    /// [`Error::Timeout`] when the device does not finish in time, [`Error::DeviceLost`] when it is lost, or
    /// [`Error::Gpu`].
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

    /// Completes when all work submitted before this call is done, without blocking the thread.
    ///
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
    /// The errors of [`wait`](Self::wait).
    pub fn wait_async(&self) -> impl Future<Output = Result<(), Error>> + use<> {
        let gpu = self.clone();
        let done = self.told_of_end();
        async move { gpu.watched(done?).await.map(|_| ()) }
    }

    /// A handle to await the end of `submission`, which must be the last one, made right before this call.
    ///
    /// # Errors
    /// Any error that wgpu has reported since the last call.
    pub(crate) fn finished(&self, submission: wgpu::SubmissionIndex) -> Result<Finished, Error> {
        Ok(Finished {
            gpu: self.clone(),
            submission,
            #[cfg(not(target_arch = "wasm32"))]
            told: self.told_of_end()?,
        })
    }

    /// A signal that wgpu sends when all work submitted before this call is done, while any thread polls the device.
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

    /// Awaits a signal from wgpu while the device's watcher thread polls. A browser needs no polling.
    async fn watched(&self, signal: Signal<Outcome>) -> Result<Instant, Error> {
        #[cfg(not(target_arch = "wasm32"))]
        self.watch(signal.sender())?;
        self.ended(signal.await)
    }

    /// A handle to check without waiting whether all work submitted before this call is done.
    pub(crate) fn look_for_end(&self) -> Result<Completion, Error> {
        let signal = self.told_of_end()?;
        #[cfg(not(target_arch = "wasm32"))]
        self.watch(signal.sender())?;
        let gpu = self.clone();
        Ok(Completion { gpu, signal })
    }

    /// The time at which a submission was done, or the error with which waiting ended.
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

    /// Waits for the submit before this one. So two submits are in flight at a time: the device always has work, and
    /// the queue does not grow.
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

/// The end of a submission, to await.
#[derive(Debug)]
pub(crate) struct Finished {
    gpu: Gpu,
    submission: wgpu::SubmissionIndex,
    #[cfg(not(target_arch = "wasm32"))]
    told: Signal<Outcome>,
}

impl Finished {
    /// Completes when the submission is done, with the time at which that was seen. In a browser it completes at once,
    /// without a time: there only the device's callbacks report the end.
    ///
    /// # Errors
    /// The errors of [`Gpu::wait`].
    pub(crate) async fn end(self) -> Result<Option<Instant>, Error> {
        #[cfg(not(target_arch = "wasm32"))]
        if !may_block() {
            let done = self.gpu.watched(self.told).await.map(Some);
            // Some drivers run the work during the submit, so the wait ends at once. Other tasks still get their turn.
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
    /// The submission was done at this time.
    Done(Instant),
    /// The submission was not done within the device's timeout.
    #[cfg(not(target_arch = "wasm32"))]
    TimedOut,
    /// wgpu refused to wait, or panicked.
    #[cfg(not(target_arch = "wasm32"))]
    Failed(String),
}

/// The end of submitted work, to check without waiting.
#[derive(Debug)]
pub(crate) struct Completion {
    gpu: Gpu,
    signal: Signal<Outcome>,
}

impl Completion {
    /// The time at which the work was seen to be done, or `None` while it runs. Must not be called again after it
    /// returned a time.
    ///
    /// # Errors
    /// The errors of [`Gpu::wait`].
    pub(crate) fn seen(&mut self) -> Result<Option<Instant>, Error> {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.signal).poll(&mut context) {
            Poll::Pending => Ok(None),
            Poll::Ready(outcome) => self.gpu.ended(outcome).map(Some),
        }
    }
}

/// The current time; a browser has no such clock.
fn now() -> Option<Instant> {
    (!cfg!(target_arch = "wasm32")).then(Instant::now)
}

#[cfg(not(target_arch = "wasm32"))]
thread_local! {
    /// Whether this thread runs a future inside `block_on`, so that the future may block.
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

/// Whether this thread's caller blocks anyway, in `block_on`. In a browser it never does.
pub(crate) fn may_block() -> bool {
    #[cfg(not(target_arch = "wasm32"))]
    return MAY_BLOCK.get();
    #[cfg(target_arch = "wasm32")]
    return false;
}

/// Runs a future of this crate for a caller that blocks. The future waits in this thread, without the watcher thread.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    /// Restores the flag, even if the future panics.
    struct Restored(bool);
    impl Drop for Restored {
        fn drop(&mut self) {
            MAY_BLOCK.set(self.0);
        }
    }
    let _restored = Restored(MAY_BLOCK.replace(true));
    pollster::block_on(future)
}
