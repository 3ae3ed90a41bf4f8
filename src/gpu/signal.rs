//! What another thread tells, as a future.

use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

use super::lock;

/// A future for what a callback is told.
#[derive(Debug)]
pub(crate) struct Signal<T> {
    state: Arc<Mutex<State<T>>>,
}

/// The callback's half. Several may be made: the first to tell is heard.
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
    /// Tells the future; whether it still was there and had been told nothing.
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
        // Without the lock: an executor may run the task at once.
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Whether a value would reach somebody.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn is_awaited(&self) -> bool {
        let state = self.state.upgrade();
        state.is_some_and(|state| matches!(&*lock(&state), State::Awaited(_)))
    }
}

impl<T> Future for Signal<T> {
    type Output = T;

    /// # Panics
    /// Polled again after it was ready, as every future may.
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
