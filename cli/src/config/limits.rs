//! The limits of the API as configuration keys, and zot's two timeouts, which are limits as well.
//!
//! The API's table is the only list of them: a limit that is added there can be set here. A key is
//! the limit's name in the spelling of the other keys (`manifestBytesMax`); the table's own
//! spelling (`manifest_bytes_max`) is the same key.

use std::time::Duration;

use orlop_api::limits::{Limit, Limits};

use super::{
    Config,
    value::{Problem, Value},
};

/// The section that holds the limits.
pub const SECTION: &str = "http.limits";

/// What `http.readTimeout` sets. zot's covers a whole request and so cuts long uploads; this one
/// runs anew with every progress.
const READ_TIMEOUT: &str = "progress_window_ms";

/// What `http.writeTimeout` sets, for responses likewise.
const WRITE_TIMEOUT: &str = "stall_timeout_ms";

/// The limit that is set by the key `name` of the section.
pub fn find(name: &str) -> Option<&'static Limit> {
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    Limits::table().iter().find(|limit| plain(limit.name) == plain(name))
}

/// The full paths of all limits, in their documented spelling.
pub fn paths() -> impl Iterator<Item = String> {
    Limits::table().iter().map(path)
}

/// The full path of a limit, in its documented spelling.
pub fn path(limit: &Limit) -> String {
    format!("{SECTION}.{}", spelling(limit.name))
}

/// Sets a limit from its own key.
pub fn set(config: &mut Config, limit: &'static Limit, value: &Value) -> Result<(), Problem> {
    let number = value.whole("a whole number")?;
    if !(limit.min..=limit.max).contains(&number) {
        let reason = format!("{number} is out of range, expected {} to {}", limit.min, limit.max);
        return Err(Problem::Unusable(reason));
    }
    assign(config, limit.name, number)
}

/// Sets the time a client may take to send more of a request body. `None`: no limit.
pub fn set_read_timeout(config: &mut Config, time: Option<Duration>) -> Result<(), Problem> {
    set_timeout(config, "http.readTimeout", READ_TIMEOUT, time)
}

/// Sets the time a client may take to accept more of a response. `None`: no limit.
pub fn set_write_timeout(config: &mut Config, time: Option<Duration>) -> Result<(), Problem> {
    set_timeout(config, "http.writeTimeout", WRITE_TIMEOUT, time)
}

/// Nothing may wait for ever here, so that a wish for more than the limit's range is cut to it,
/// and said. That is never shorter for a client that makes any progress.
fn set_timeout(config: &mut Config, key: &str, name: &'static str, time: Option<Duration>) -> Result<(), Problem> {
    let limit = find(name).expect("a test looks both names up");
    let wanted = time.map_or(u64::MAX, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    if wanted > limit.max {
        let longest = Duration::from_millis(limit.max).as_secs();
        config
            .notes
            .push(format!("{key} is cut to {longest}s without progress; transfers that go on may take any time"));
    }
    assign(config, name, wanted.clamp(limit.min, limit.max))
}

/// Two keys for one limit would make the order of the file matter.
fn assign(config: &mut Config, name: &'static str, value: u64) -> Result<(), Problem> {
    if config.limits_set.contains(&name) {
        let reason = format!("another key has set the limit {} already; keep one of them", spelling(name));
        return Err(Problem::Unusable(reason));
    }
    config.limits_set.push(name);
    config.limits.set(name, value).map_err(|error| Problem::Unusable(error.to_string()))
}

/// `manifest_bytes_max` as `manifestBytesMax`.
fn spelling(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut key, part| {
        let (initial, rest) = part.split_at(part.len().min(1));
        key.push_str(&initial.to_ascii_uppercase());
        key.push_str(rest);
        key
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_found_by_both_spellings_and_no_other_limit_is() {
        for limit in Limits::table() {
            for name in [limit.name.to_owned(), spelling(limit.name), limit.name.to_uppercase()] {
                assert_eq!(find(&name).map(|found| found.name), Some(limit.name), "{name}");
            }
        }
        assert_eq!(spelling("manifest_bytes_max"), "manifestBytesMax");
        assert!(find("").is_none());
    }

    #[test]
    fn the_timeouts_of_zot_have_limits() {
        for name in [READ_TIMEOUT, WRITE_TIMEOUT] {
            assert!(find(name).is_some_and(|limit| limit.name == name), "{name}");
        }
    }
}
