//! Training in a browser tab: what the page's worker calls.
//!
//! A [`Device`] is the visitor's GPU through WebGPU, or the processor; [`Data`] is digits drawn on the spot
//! ([`Digits`]) or the files of a data set; a [`Session`] trains the network that [`Settings`] describe, or
//! one that learns a [`Photo`]. Methods that return a promise submit their work at once, so that what they tell is
//! of the time of the call, and training goes on while the promise waits. Every error is a JavaScript `Error` whose
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

/// A bug of ours reaches the page as an `Error` with its message.
#[wasm_bindgen(start)]
fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        wasm_bindgen::throw_str(&panic.to_string());
    }));
}
