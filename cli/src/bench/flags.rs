//! The flags of `orlop bench`; those that zb has mean the same.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{
    content::{GIB, KIB},
    pattern::Pattern,
    target::{Credentials, Target},
    tls::Trust,
};

/// More connections than any one process opens to one address.
const CONCURRENCY_MAX: u64 = 10_000;

const REQUESTS_MAX: u64 = 100_000_000;

/// A day.
const DURATION_SECONDS_MAX: f64 = 86_400.0;

#[derive(Debug, Args)]
pub struct Flags {
    /// The registry: http://HOST:PORT or https://HOST.
    #[arg(required_unless_present = "list_tests")]
    pub url: Option<Target>,

    /// Name and password for basic authentication.
    #[arg(short = 'A', long, value_name = "USER:PASSWORD")]
    pub auth_creds: Option<Credentials>,

    /// Certificates, as PEM: over https, one of them must be the registry's or have signed it.
    /// Without it, the system's are used.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub cacert: Option<PathBuf>,

    /// Take any certificate over https; only that the registry holds its key is verified.
    #[arg(short = 'k', long)]
    pub insecure: bool,

    /// Workers, each with one connection and one request at a time.
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=CONCURRENCY_MAX))]
    pub concurrency: u64,

    /// Requests of each workload, not under the concurrency; rounded down to a multiple of it.
    /// Without it, one for each worker.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=REQUESTS_MAX))]
    pub requests: Option<u64>,

    /// Instead of a number of requests: measure each workload for so many seconds; one that compares
    /// with idle times takes as long again for those.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "requests")]
    pub duration: Option<Duration>,

    /// What the names of all repositories begin with.
    #[arg(short, long, value_name = "PREFIX")]
    pub repo: Option<String>,

    /// How the result is written; `ci-cd` adds the file ci-cd.json to the text, as zb writes it.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output_format: Format,

    /// Where `ci-cd` writes its file.
    #[arg(long, value_name = "FILE", default_value = "ci-cd.json")]
    pub ci_cd_file: PathBuf,

    /// Run only the workloads whose name this matches; has letters . * ^ $ | and \.
    #[arg(short, long, value_name = "PATTERN")]
    pub test_regex: Option<String>,

    /// List the names of the workloads and end.
    #[arg(short, long)]
    pub list_tests: bool,

    /// Leave what was pushed.
    #[arg(long)]
    pub skip_cleanup: bool,

    /// The registry that the one under load copies from on demand; without it the workloads
    /// "On-demand Sync" are skipped.
    #[arg(short, long, value_name = "URL")]
    pub upstream_server_url: Option<Target>,

    /// Decides contents, names and every choice. Random without it; a seed that was used before
    /// pushes the same contents again.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Unique bytes that a workload of Orlop's own pushes at most; fewer requests are made then.
    #[arg(long, value_name = "BYTES", default_value_t = 4 * GIB, value_parser = clap::value_parser!(u64).range(1..))]
    pub unique_bytes_max: u64,

    /// How fast each upload of "orlop pull under slow pushes" goes, in bytes per second.
    #[arg(long, value_name = "BYTES", default_value_t = 64 * KIB, value_parser = clap::value_parser!(u64).range(1..=GIB))]
    pub slow_push_rate: u64,

    /// Show a line of progress every second, also when standard error is not a terminal.
    #[arg(long)]
    pub progress: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[value(alias = "stdout")]
    Text,
    Json,
    CiCd,
}

impl Flags {
    /// The pattern, parsed. Errors: it uses what is not supported.
    pub fn pattern(&self) -> Result<Option<Pattern>, String> {
        let parsed = self.test_regex.as_deref().map(str::parse::<Pattern>).transpose();
        parsed.map_err(|error| format!("--test-regex: {error}"))
    }

    pub fn trust(&self) -> Trust<'_> {
        match &self.cacert {
            Some(file) => Trust::File(file),
            None if self.insecure => Trust::Anyone,
            None => Trust::System,
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.trim_end_matches('s').parse().map_err(|_| "expected a number of seconds".to_owned())?;
    if !(number > 0.0 && number <= DURATION_SECONDS_MAX) {
        return Err(format!("expected more than 0 and at most {DURATION_SECONDS_MAX} seconds"));
    }
    Ok(Duration::from_secs_f64(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_positive_seconds() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(seconds("2s"), Ok(Duration::from_secs(2)));
        for text in ["0", "-1", "NaN", "inf", "86401", "1m", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
