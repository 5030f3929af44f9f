//! `extensions.scrub`: zot's keys, and a bound on bytes in a second that zot does not have.

use std::time::Duration;

use orlop_gc::ScrubOptions;

use super::{
    Config,
    duration::{self, GoDuration},
    error::ErrorKind,
    tree::Node,
    value::Value,
};

pub const KEY: &str = "extensions.scrub";

/// zot's default.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// zot's least value; a shorter one becomes this.
const INTERVAL_MIN: Duration = Duration::from_secs(2 * 3600);

/// Bytes in a second: a tebibyte takes nine hours and one fortieth of a processor.
const RATE_DEFAULT: u64 = 32 << 20;

/// The least rate: more than half a day for each blob of 4 GiB.
const RATE_MIN: u64 = 64 << 10;

/// When and how fast everything that is stored is read and compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrub {
    /// Whether passes begin by themselves.
    pub is_on: bool,
    /// From the end of a pass to the next one.
    pub interval: Duration,
    /// Bytes in a second; `None`: no limit.
    pub rate_bytes_max: Option<u64>,
}

impl Default for Scrub {
    fn default() -> Self {
        Scrub { is_on: false, interval: INTERVAL_DEFAULT, rate_bytes_max: Some(RATE_DEFAULT) }
    }
}

impl Scrub {
    /// What the background is told.
    pub fn options(&self) -> ScrubOptions {
        ScrubOptions { interval: self.is_on.then_some(self.interval), rate_bytes_max: self.rate_bytes_max }
    }
}

/// Sets the section. One that is there without `enable` is on, as in zot.
pub fn set(config: &mut Config, path: &str, value: &Value) -> Result<(), ErrorKind> {
    let mut scrub = Scrub { is_on: true, ..Scrub::default() };
    let mut is_raised = false;
    Node::new(path, value).each_key(&["enable", "interval", "rate"], |key, node| {
        match key {
            "enable" => scrub.is_on = node.bool()?,
            "interval" => {
                let interval = interval(&node)?;
                is_raised = interval < INTERVAL_MIN;
                scrub.interval = interval.max(INTERVAL_MIN);
            }
            _ => scrub.rate_bytes_max = rate(&node)?,
        }
        Ok(())
    })?;
    if is_raised {
        config.notes.push(format!("{KEY}.interval is shorter than 2h and becomes 2h, as in zot"));
    }
    config.scrub = scrub;
    Ok(())
}

fn interval(node: &Node<'_>) -> Result<Duration, ErrorKind> {
    let text = node.text(duration::EXPECTED)?;
    let expected = |reason: String| node.unusable(format!("{reason}; expected {}", duration::EXPECTED));
    let interval = GoDuration::parse(text).map_err(expected)?;
    interval.not_negative().ok_or_else(|| expected(format!("{text:?} is below zero")))
}

fn rate(node: &Node<'_>) -> Result<Option<u64>, ErrorKind> {
    match node.whole("a whole number of bytes in a second, 0 for no limit")? {
        0 => Ok(None),
        rate if rate < RATE_MIN => {
            let range = format!("expected 0 for no limit, or {RATE_MIN} or more");
            Err(node.unusable(format!("{rate} bytes in a second would never come to an end, {range}")))
        }
        rate => Ok(Some(rate)),
    }
}
