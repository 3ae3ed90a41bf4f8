//! Waiting in a browser test: the browser suspends the test's WebAssembly until a promise is fulfilled (WebAssembly
//! JavaScript Promise Integration). So a test can block, and the same test functions run natively and in a browser.
#![allow(
    unsafe_code,
    reason = "imports and exports that wasm-bindgen must not wrap"
)]

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};

use wasm_bindgen::prelude::*;

#[link(wasm_import_module = "./suspend.js")]
unsafe extern "C" {
    /// Blocks until the next call of [`wake`]. Returns at once if `wake` was called since the last call of `sleep`.
    safe fn sleep();
    safe fn wake();
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console)]
    fn error(message: &str);
}

struct Alarm;

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        wake();
    }
}

/// Blocks until a future is ready, and returns its output.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Arc::new(Alarm).into();
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => sleep(),
        }
    }
}

/// Runs the test with the index `number`. If the test fails, it writes its message to the console and ends the
/// WebAssembly instance.
#[unsafe(no_mangle)]
extern "C" fn run(number: usize) {
    std::panic::set_hook(Box::new(|panic| error(&panic.to_string())));
    crate::CASES.concat()[number].1();
}

/// Names of all tests, in the order of their indices.
#[wasm_bindgen]
#[must_use]
pub fn names() -> Vec<String> {
    let cases = crate::CASES.concat().into_iter();
    cases.map(|(name, _)| name.to_owned()).collect()
}
