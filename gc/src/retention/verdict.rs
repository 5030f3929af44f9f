//! What becomes of a name, and why.

use std::{fmt, time::Duration};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Keep(Kept),
    Drop(Dropped),
}

/// Why a name is kept. Policies and entries are numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// No policy is for this namespace.
    NoPolicy,
    /// The policy has no entries for names.
    AllNames { policy: usize },
    /// A rule of an entry holds.
    ByRule { policy: usize, entry: usize, rule: Rule },
}

/// The rule that keeps something, with what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The entry has no rules.
    Always,
    /// The `rank`-th of those pushed last, from 1; `count` are kept.
    PushedCount { rank: u64, count: u64 },
    /// The `rank`-th of those pulled last, from 1; `count` are kept.
    PulledCount { rank: u64, count: u64 },
    /// Pushed `age` ago, at most `within`.
    PushedWithin { age: Duration, within: Duration },
    /// Pulled or pushed `age` ago, at most `within`.
    PulledWithin { age: Duration, within: Duration },
}

/// Why a name is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dropped {
    /// No entry has a pattern that matches.
    NoEntry { policy: usize },
    /// Entries match, and none of their rules holds.
    NoRule { policy: usize, entries: Vec<usize> },
}

impl Verdict {
    pub fn keeps(&self) -> bool {
        matches!(self, Verdict::Keep(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Keep(kept) => kept.fmt(f),
            Verdict::Drop(dropped) => dropped.fmt(f),
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::NoPolicy => write!(f, "no policy is for it"),
            Kept::AllNames { policy } => write!(f, "policy {policy} keeps all names"),
            Kept::ByRule { policy, entry, rule } => write!(f, "policy {policy}, entry {entry}: {rule}"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Always => write!(f, "the pattern matches"),
            Rule::PushedCount { rank, count } => write!(f, "number {rank} of the last {count} pushed"),
            Rule::PulledCount { rank, count } => write!(f, "number {rank} of the last {count} pulled"),
            Rule::PushedWithin { age, within } => {
                write!(f, "pushed {} ago, kept for {}", Span(*age), Span(*within))
            }
            Rule::PulledWithin { age, within } => {
                write!(f, "pulled or pushed {} ago, kept for {}", Span(*age), Span(*within))
            }
        }
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dropped::NoEntry { policy } => write!(f, "policy {policy}: no pattern matches"),
            Dropped::NoRule { policy, entries } => {
                write!(f, "policy {policy}: no rule holds in {}", Entries(entries))
            }
        }
    }
}

struct Entries<'a>(&'a [usize]);

impl fmt::Display for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.len() == 1 { "entry " } else { "entries " })?;
        for (at, entry) in self.0.iter().enumerate() {
            write!(f, "{}{entry}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Prints a length of time in its two largest units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..60 => write!(f, "{seconds}s"),
            60..3600 => write!(f, "{}m{}s", seconds / 60, seconds % 60),
            3600..86_400 => write!(f, "{}h{}m", seconds / 3600, seconds % 3600 / 60),
            _ => write!(f, "{}d{}h", seconds / 86_400, seconds % 86_400 / 3600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_can_be_read() {
        let rule = Rule::PulledWithin { age: Duration::from_secs(90_000), within: Duration::from_secs(90) };
        let kept = Verdict::Keep(Kept::ByRule { policy: 0, entry: 2, rule });
        assert_eq!(kept.to_string(), "policy 0, entry 2: pulled or pushed 1d1h ago, kept for 1m30s");
        let dropped = Verdict::Drop(Dropped::NoRule { policy: 1, entries: vec![0, 3] });
        assert_eq!(dropped.to_string(), "policy 1: no rule holds in entries 0, 3");
        assert!(kept.keeps() && !dropped.keeps());
    }
}
