//! Training in a browser tab: the JavaScript interface that the page's worker calls.
//!
//! A [`Device`] is the visitor's GPU through WebGPU, or the CPU. [`Data`] is either newly drawn digits ([`Digits`]) or
//! read from the files of a data set. A [`Session`] trains the network that [`Settings`] describe, or a network that
//! learns a [`Photo`].
//!
//! A method that returns a promise submits its work immediately. Its result therefore describes the training at the
//! time of the call, and training can continue before the promise resolves. Every error is a JavaScript `Error` whose
//! `name` is the variant of [`wgrad::Error`].

mod data;
mod device;
mod drawing;
mod engine;
mod error;
mod photo;
mod session;
mod settings;

pub use data::{Data, Digits};
pub use device::Device;
pub use drawing::as_mnist;
pub use photo::Photo;
pub use session::{Evaluation, Session};
pub use settings::Settings;
use wasm_bindgen::prelude::wasm_bindgen;

/// Reports panics to the page: a panic, which is always a bug, throws its message as a JavaScript exception.
#[wasm_bindgen(start)]
fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        wasm_bindgen::throw_str(&panic.to_string());
    }));
}
