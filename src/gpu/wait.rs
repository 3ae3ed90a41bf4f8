//! Waiting until submitted work has ended: in the calling thread, or in a future.

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
    /// Blocks until the given submission has ended; with `None`, until all submitted work has ended.
    ///
    /// In a browser, which cannot block, this returns at once. Use [`wait_async`](Self::wait_async) or a readback
    /// instead.
    ///
    /// # Errors
    /// [`Error::Timeout`] when the work takes longer than the builder's timeout, [`Error::DeviceLost`] when the device
    /// is lost, or [`Error::Gpu`].
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

    /// Completes when all work submitted before this call has ended. The thread is not blocked.
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
        let done = self.signal_when_done();
        async move { gpu.watched(done?).await.map(|_| ()) }
    }

    /// Returns a handle for awaiting the end of `submission`, which must be the latest submission.
    ///
    /// # Errors
    /// An error that wgpu reported earlier and that no call has returned yet.
    pub(crate) fn finished(&self, submission: wgpu::SubmissionIndex) -> Result<Finished, Error> {
        Ok(Finished {
            gpu: self.clone(),
            submission,
            #[cfg(not(target_arch = "wasm32"))]
            told: self.signal_when_done()?,
        })
    }

    /// Returns a signal that wgpu sends when all work submitted before this call has ended. Some thread must poll the
    /// device.
    fn signal_when_done(&self) -> Result<Signal<Outcome>, Error> {
        let done = Signal::new();
        let sender = done.sender();
        self.guarded(WAITING, || {
            self.queue().on_submitted_work_done(move || {
                sender.send(Outcome::Done(Instant::now()));
            });
        })?;
        Ok(done)
    }

    /// Awaits a signal from wgpu. The device's watcher thread polls the device meanwhile; a browser needs no polling.
    async fn watched(&self, signal: Signal<Outcome>) -> Result<Instant, Error> {
        #[cfg(not(target_arch = "wasm32"))]
        self.watch(signal.sender())?;
        self.ended(signal.await)
    }

    /// Returns a handle that tells, without waiting, whether all work submitted before this call has ended.
    pub(crate) fn look_for_end(&self) -> Result<Completion, Error> {
        let signal = self.signal_when_done()?;
        #[cfg(not(target_arch = "wasm32"))]
        self.watch(signal.sender())?;
        let gpu = self.clone();
        Ok(Completion { gpu, signal })
    }

    /// Returns the time at which a submission ended, or the error for a failed wait.
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

    /// Waits until the previous submit has ended. So at most two submits are in flight: the device always has work, and
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

/// The end of a submission, as a future.
#[derive(Debug)]
pub(crate) struct Finished {
    gpu: Gpu,
    submission: wgpu::SubmissionIndex,
    #[cfg(not(target_arch = "wasm32"))]
    told: Signal<Outcome>,
}

impl Finished {
    /// Completes when the submission has ended. Returns the time at which the host noticed this. In a browser, it
    /// completes at once and returns no time, because only callbacks of the device report the end there.
    ///
    /// # Errors
    /// The errors of [`Gpu::wait`].
    pub(crate) async fn end(self) -> Result<Option<Instant>, Error> {
        #[cfg(not(target_arch = "wasm32"))]
        if !may_block() {
            let done = self.gpu.watched(self.told).await.map(Some);
            // Some drivers run the work during the submit, so there is nothing to wait for. Other tasks should still
            // run.
            yield_now().await;
            return done;
        }
        self.gpu.wait(Some(self.submission))?;
        Ok(now())
    }
}

/// The result of waiting for a submission.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The submission ended at this time.
    Done(Instant),
    /// The submission did not end within the device's timeout.
    #[cfg(not(target_arch = "wasm32"))]
    TimedOut,
    /// wgpu returned an error for the wait, or panicked.
    #[cfg(not(target_arch = "wasm32"))]
    Failed(String),
}

/// The end of submitted work, which the host checks without waiting.
#[derive(Debug)]
pub(crate) struct Completion {
    gpu: Gpu,
    signal: Signal<Outcome>,
}

impl Completion {
    /// Returns the time at which the host noticed that the work had ended, or `None` if the work is still running. Must
    /// not be called again after it has returned a time.
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

/// The current time; `None` in a browser.
fn now() -> Option<Instant> {
    (!cfg!(target_arch = "wasm32")).then(Instant::now)
}

#[cfg(not(target_arch = "wasm32"))]
thread_local! {
    /// Whether this thread is inside `block_on`, so that the future may block.
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Returns to the executor once, so that it can run other tasks.
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

/// Whether this thread runs inside `block_on`, so that a further wait may block this thread, too. Always false in a
/// browser.
pub(crate) fn may_block() -> bool {
    #[cfg(not(target_arch = "wasm32"))]
    return MAY_BLOCK.get();
    #[cfg(target_arch = "wasm32")]
    return false;
}

/// Runs a future of this crate and blocks until it has completed. The future waits in this thread and does not use the
/// watcher thread.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    /// Restores `MAY_BLOCK` when dropped, even if the future panics.
    struct Restored(bool);
    impl Drop for Restored {
        fn drop(&mut self) {
            MAY_BLOCK.set(self.0);
        }
    }
    let _restored = Restored(MAY_BLOCK.replace(true));
    pollster::block_on(future)
}
