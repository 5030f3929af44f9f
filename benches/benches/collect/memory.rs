//! How much memory this process takes, and took at most.

use std::fs;

use crate::Outcome;

/// Written to `/proc/self/clear_refs`, it makes the peak begin anew (proc(5)).
const RESET_PEAK: &str = "5";

/// Begins a new peak. Gives the resident bytes now.
pub fn begin() -> Outcome<u64> {
    fs::write("/proc/self/clear_refs", RESET_PEAK)?;
    status("VmRSS:")
}

/// The most resident bytes since the peak began.
pub fn peak() -> Outcome<u64> {
    status("VmHWM:")
}

fn status(name: &str) -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
    Ok(kibibytes.ok_or_else(|| format!("/proc has no {name}"))?.parse::<u64>()? << 10)
}
