//! Training in a browser tab: the interface for the page's worker.
//!
//! A [`Device`] is the visitor's GPU through WebGPU, or the CPU. [`Data`] is either newly drawn digits ([`Digits`]) or
//! read from the files of a data set. A [`Session`] trains the network that [`Settings`] describe, or a network that
//! learns a [`Photo`]. A method that returns a promise submits its work immediately: its result describes the time of
//! the call, and training goes on while the promise waits. Every error is a JavaScript `Error` whose `name` is the
//! variant of [`wgrad::Error`].

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

/// Passes a panic, which is a bug, to the page as an `Error` with the panic's message.
#[wasm_bindgen(start)]
fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        wasm_bindgen::throw_str(&panic.to_string());
    }));
}
