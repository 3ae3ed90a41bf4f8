//! Bytes and memory limits in messages.

pub(crate) const MACHINE: &str = "free memory and swap of this machine";
pub(crate) const ALLOCATOR: &str = "what the allocator grants";

/// What to do about a limit, other than using less memory.
pub(crate) fn remedy(limit: &str) -> &'static str {
    match limit {
        MACHINE | ALLOCATOR => "close other programs",
        _ => "raise that limit",
    }
}

/// A number of bytes, in a readable unit.
pub(crate) fn readable(bytes: u64) -> String {
    const UNITS: [(&str, f64); 3] = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let bytes_f64 = bytes as f64;
    match UNITS.iter().find(|(_, unit)| bytes_f64 >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes_f64 / unit),
        None => format!("{bytes} bytes"),
    }
}
