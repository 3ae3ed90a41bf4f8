//! Converts errors of the library to JavaScript errors.

use wasm_bindgen::JsValue;
use wgrad::Error;

/// Converts an error to a JavaScript `Error` whose `name` is the variant of [`Error`].
pub(crate) fn thrown(error: impl Into<Error>) -> JsValue {
    let error = error.into();
    let thrown = js_sys::Error::new(&error.to_string());
    thrown.set_name(name(&error));
    thrown.into()
}

fn name(error: &Error) -> &'static str {
    match error {
        Error::Data(_) => "Data",
        Error::Checkpoint(_) => "Checkpoint",
        Error::NoAdapter { .. } => "NoAdapter",
        Error::NoDevice { .. } => "NoDevice",
        Error::Limit { .. } => "Limit",
        Error::Memory { .. } => "Memory",
        Error::OutOfMemory { .. } => "OutOfMemory",
        Error::DeviceLost { .. } => "DeviceLost",
        Error::Timeout { .. } => "Timeout",
        Error::Setting { .. } => "Setting",
        Error::Shape { .. } => "Shape",
        Error::Count { .. } => "Count",
        Error::Targets { .. } => "Targets",
        Error::Plan(_) => "Plan",
        Error::Diverged { .. } | Error::NotSaved { .. } => "Diverged",
        _ => "Gpu",
    }
}
