//! How a test waits in a browser: its WebAssembly is suspended until a promise is fulfilled (WebAssembly JavaScript
//! Promise Integration). Therefore the tests are the same functions as in native builds.
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
    /// Returns after the next [`wake`], or at once if `wake` was called since the last `sleep`.
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

/// Waits for a future and returns its result.
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

/// Runs a test. A failing test writes its message to the console and ends the instance.
#[unsafe(no_mangle)]
extern "C" fn run(number: usize) {
    std::panic::set_hook(Box::new(|panic| error(&panic.to_string())));
    crate::CASES.concat()[number].1();
}

/// The names of all tests, in the order of their numbers.
#[wasm_bindgen]
#[must_use]
pub fn names() -> Vec<String> {
    let cases = crate::CASES.concat().into_iter();
    cases.map(|(name, _)| name.to_owned()).collect()
}
