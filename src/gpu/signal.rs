//! What wgpu tells a callback, as a future.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::{Gpu, lock};
use crate::error::Error;

impl Gpu {
    /// Ready when all work submitted before this call is done: [`wait`](Self::wait) for a browser.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_async(&self) -> impl Future<Output = Result<(), Error>> + use<> {
        let (gpu, doing) = (self.clone(), "waiting for submitted work");
        let done = Signal::new();
        let done_sender = done.sender();
        let asked = self.guarded(doing, || {
            self.queue().on_submitted_work_done(move || done_sender(()));
        });
        async move {
            asked?;
            gpu.wait(None)?;
            done.await;
            gpu.guarded(doing, || ())
        }
    }
}

/// A future for what wgpu tells a callback.
#[derive(Debug)]
pub(crate) struct Signal<T> {
    state: Arc<Mutex<(Option<T>, Option<Waker>)>>,
}

impl<T> Signal<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new((None, None))),
        }
    }

    /// The callback's half.
    pub(crate) fn sender(&self) -> impl FnOnce(T) + use<T> {
        let state = Arc::clone(&self.state);
        move |value| {
            let mut state = lock(&state);
            state.0 = Some(value);
            if let Some(waker) = state.1.take() {
                waker.wake();
            }
        }
    }
}

impl<T> Future for Signal<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = lock(&self.state);
        match state.0.take() {
            Some(value) => Poll::Ready(value),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
