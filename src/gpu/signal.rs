//! A future whose value comes from a callback, possibly in another thread.

use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

use super::lock;

/// A future that returns the value which a callback sends.
#[derive(Debug)]
pub(crate) struct Signal<T> {
    state: Arc<Mutex<State<T>>>,
}

/// Sends the value of a [`Signal`]. There may be several senders; the first value sent counts.
#[derive(Debug)]
pub(crate) struct Sender<T> {
    state: Weak<Mutex<State<T>>>,
}

#[derive(Debug)]
enum State<T> {
    Awaited(Option<Waker>),
    Told(T),
    Taken,
}

impl<T> Signal<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new(State::Awaited(None))),
        }
    }

    pub(crate) fn sender(&self) -> Sender<T> {
        Sender {
            state: Arc::downgrade(&self.state),
        }
    }
}

impl<T> Sender<T> {
    /// Sends the value to the future. Returns false if the future was dropped or already had a value.
    pub(crate) fn send(&self, value: T) -> bool {
        let Some(state) = self.state.upgrade() else {
            return false;
        };
        let waker = {
            let mut state = lock(&state);
            let State::Awaited(waker) = &mut *state else {
                return false;
            };
            let waker = waker.take();
            *state = State::Told(value);
            waker
        };
        // The lock is released before waking, because the executor may run the task at once.
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Whether the future still exists and has not received a value yet.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn is_awaited(&self) -> bool {
        let state = self.state.upgrade();
        state.is_some_and(|state| matches!(&*lock(&state), State::Awaited(_)))
    }
}

impl<T> Future for Signal<T> {
    type Output = T;

    /// # Panics
    /// If polled again after it returned its value.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, State::Taken) {
            State::Told(value) => Poll::Ready(value),
            State::Awaited(_) => {
                *state = State::Awaited(Some(context.waker().clone()));
                Poll::Pending
            }
            State::Taken => unreachable!("a future that was ready is not polled again"),
        }
    }
}
