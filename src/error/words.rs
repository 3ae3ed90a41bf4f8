//! Wording of messages.

/// Joins the lines of a driver's or wgpu's message into one line, without their indentation.
pub(super) fn on_one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

/// Formats a number for a message. Very large and very small numbers use an exponent.
pub(crate) fn number(value: f32) -> String {
    match value.abs() {
        1e-4..1e7 | 0.0 => value.to_string(),
        _ => format!("{value:e}"),
    }
}

/// Joins items for a message: `1, 4 and 7`.
pub(crate) fn joined(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Formats a number of steps for a message. `losses` has one loss per step.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn steps_taken(losses: &[f32]) -> String {
    match losses.len() {
        1 => "1 step".to_owned(),
        steps => format!("{steps} steps"),
    }
}

pub(super) fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
