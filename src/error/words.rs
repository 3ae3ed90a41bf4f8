//! Wording of messages.

/// Joins the lines of a message of a driver or of wgpu, which may be indented over several lines.
pub(super) fn on_one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

/// A number in a message. Very large and very small numbers use an exponent.
pub(crate) fn number(value: f32) -> String {
    match value.abs() {
        1e-4..1e7 | 0.0 => value.to_string(),
        _ => format!("{value:e}"),
    }
}

/// Items in a message: `1, 4 and 7`.
pub(crate) fn joined(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Number of steps in a message; `losses` has one loss per step.
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
