//! Wording of memory limits and numbers of bytes in messages.

pub(crate) const MACHINE: &str = "free memory and swap of this machine";
pub(crate) const ALLOCATOR: &str = "memory that the allocator provides";

/// Says what a user can do about a memory limit, other than using less memory.
pub(crate) fn remedy(limit: &str) -> &'static str {
    match limit {
        MACHINE | ALLOCATOR => "close other programs",
        _ => "raise that limit",
    }
}

/// Formats a number of bytes with a decimal unit, for example `1.5 MB`.
pub(crate) fn readable(bytes: u64) -> String {
    const UNITS: [(&str, f64); 3] = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let bytes_f64 = bytes as f64;
    match UNITS.iter().find(|(_, unit)| bytes_f64 >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes_f64 / unit),
        None => format!("{bytes} bytes"),
    }
}
