//! `orlop rebuild`: makes a lost index again from the journal and the files.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Instant,
};

use orlop_engine::rebuild::{Options, Phase, Progress, Report, rebuild};
use serde_json::{Value, json};

use crate::{
    args,
    config::Config,
    exit::{Exit, Failure},
    log, offline,
    progress::{LINE_PERIOD, TERMINAL_PERIOD},
};

/// Findings that the table shows; JSON has all that were kept.
const SHOWN_FINDINGS_MAX: usize = 50;

/// Prints what came back to standard output; progress goes to standard error. Out: [`Exit::Findings`] if
/// something did not come back. Errors: bad configuration; the store is in use, has an index or no
/// journal, or cannot be read or written.
pub async fn run(arguments: &args::Rebuild) -> Result<ExitCode, Failure> {
    let config = Config::load(arguments.config.as_deref(), arguments.flags())?;
    log::start_beside(&config.log)?;
    let root = &config.root;
    offline::require_root(root)?;
    let options = Options { replace: arguments.replace, partial: arguments.partial, verify: arguments.verify };
    let begun = Instant::now();
    let mut shown = Shown::new();
    let report = rebuild(root, options, &mut |progress| shown.show(progress)).await;
    shown.end();
    let report = report.map_err(|error| Failure::engine(root, &error))?;
    let seconds = begun.elapsed().as_secs_f64();
    let text = match arguments.json {
        true => format!("{:#}\n", document(&report, seconds)),
        false => table(&report, seconds),
    };
    offline::print(&text);
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { Exit::Findings.into() })
}

/// Progress on standard error: one line that changes, or a line now and then.
struct Shown {
    is_terminal: bool,
    at: Instant,
    phase: Option<Phase>,
}

impl Shown {
    fn new() -> Self {
        Shown { is_terminal: io::stderr().is_terminal(), at: Instant::now(), phase: None }
    }

    fn show(&mut self, progress: Progress) {
        let period = if self.is_terminal { TERMINAL_PERIOD } else { LINE_PERIOD };
        if self.phase == Some(progress.phase) && self.at.elapsed() < period {
            return;
        }
        self.at = Instant::now();
        self.phase = Some(progress.phase);
        let text = line(progress);
        let (before, after) = if self.is_terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        let _ = write!(io::stderr(), "{before}{text}{after}");
    }

    fn end(&self) {
        if self.is_terminal && self.phase.is_some() {
            let _ = writeln!(io::stderr());
        }
    }
}

fn line(Progress { phase, done, total }: Progress) -> String {
    let percent = (done * 100).checked_div(total).unwrap_or(0);
    match phase {
        Phase::Journal => format!("reading the journal: {percent} % of {total} bytes"),
        Phase::Contents => format!("comparing content with files: {percent} %"),
        Phase::Relations => format!("making derived tables: {done} rows"),
    }
}

/// Names and numbers of what is counted.
fn rows(report: &Report) -> [(&'static str, u64); 17] {
    [
        ("repositories", report.namespaces),
        ("blobs", report.blobs),
        ("blobBytes", report.bytes),
        ("members", report.members),
        ("tags", report.names),
        ("references", report.edges),
        ("damaged", report.damaged),
        ("adopted", report.adopted),
        ("unknownFiles", report.unknown_files),
        ("unknownBytes", report.unknown_bytes),
        ("membersLost", report.members_lost),
        ("tagsLost", report.names_lost),
        ("referencesLost", report.edges_lost),
        ("needsUnmet", report.needs_unmet),
        ("uploadsDropped", report.uploads_dropped),
        ("journalBytes", report.journal_bytes),
        ("lastChange", report.sequence),
    ]
}

fn document(report: &Report, seconds: f64) -> Value {
    let mut document: serde_json::Map<String, Value> =
        rows(report).into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect();
    document.insert("seconds".to_owned(), json!(seconds));
    document.insert("findings".to_owned(), json!(report.findings));
    document.insert("findingsMore".to_owned(), json!(report.findings_more));
    Value::Object(document)
}

fn table(report: &Report, seconds: f64) -> String {
    let mut text = String::new();
    for finding in report.findings.iter().take(SHOWN_FINDINGS_MAX) {
        text.push_str(&format!("{finding}\n"));
    }
    let more = report.findings.len().saturating_sub(SHOWN_FINDINGS_MAX) as u64 + report.findings_more;
    if more > 0 {
        text.push_str(&format!("... and {more} more findings\n"));
    }
    for (name, count) in rows(report) {
        text.push_str(&format!("{name:<16} {count:>16}\n"));
    }
    let rate = report.blobs as f64 / seconds.max(f64::MIN_POSITIVE);
    text.push_str(&format!("{:<16} {seconds:>16.1}\n{:<16} {rate:>16.0}\n", "seconds", "blobs a second"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_what_was_found_and_how_much_came_back() {
        let findings = (0..60).map(|number| format!("finding {number}")).collect();
        let report = Report { blobs: 1000, findings, findings_more: 5, ..Report::default() };
        let text = table(&report, 2.0);
        assert!(text.contains("finding 49\n... and 15 more findings\n"), "{text}");
        let last: Vec<&str> = text.lines().rev().take(2).collect();
        assert_eq!(last, ["blobs a second                500", "seconds                       2.0"]);
        let document = document(&report, 2.0);
        assert_eq!((&document["blobs"], &document["findingsMore"]), (&json!(1000), &json!(5)));
        assert_eq!(document["findings"].as_array().map(Vec::len), Some(60));
    }

    #[test]
    fn progress_is_a_part_of_what_is_known() {
        let of = |phase, done, total| line(Progress { phase, done, total });
        assert_eq!(of(Phase::Journal, 50, 200), "reading the journal: 25 % of 200 bytes");
        assert_eq!(of(Phase::Journal, 0, 0), "reading the journal: 0 % of 0 bytes");
        assert_eq!(of(Phase::Relations, 7, 0), "making derived tables: 7 rows");
    }
}
