//! Every limit of the server and of the protocol, declared once.
//!
//! The table below makes three things: the fields of [`Limits`], their defaults, and the rows that
//! `docs/limits.md` and the configuration keys are generated from. A limit that is not in the table
//! does not exist, so documentation and code cannot drift apart.

use std::{fmt::Write as _, time::Duration};

use crate::protocol::{
    json::{MEMBERS_MAX, NESTING_DEPTH_MAX},
    manifest::MANIFEST_BYTES_MAX,
    media_type::MEDIA_TYPE_BYTES_MAX,
    name::NAME_BYTES_MAX,
    query::{ARTIFACT_TYPES_MAX, LAST_BYTES_MAX, PAGE_ENTRIES_MAX, PARAMETERS_MAX, QUERY_BYTES_MAX, TAGS_MAX},
    range::{RANGE_HEADER_BYTES_MAX, RANGES_MAX},
    reference::TAG_BYTES_MAX,
    route::UPLOAD_ID_BYTES_MAX,
};

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Milliseconds,
    Count,
}

/// One row of the table: a limit as documentation and configuration see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The field of [`Limits`] and the configuration key.
    pub name: &'static str,
    pub default: u64,
    /// The smallest and the largest value that is accepted.
    pub min: u64,
    pub max: u64,
    pub unit: Unit,
    /// What is limited, and what happens beyond the limit.
    pub meaning: &'static str,
    /// Why the default is what it is.
    pub why: &'static str,
}

/// A limit that cannot be set as asked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LimitError {
    #[error("there is no limit named {name}; docs/limits.md lists them all")]
    Unknown { name: String },
    #[error("{name} is {value}; it must be between {min} and {max}")]
    OutOfRange { name: &'static str, value: u64, min: u64, max: u64 },
    #[error("{name} is {value}; it must not exceed {bound}, which is {max}")]
    Conflict { name: &'static str, value: u64, bound: &'static str, max: u64 },
}

/// Pairs of which the first must not exceed the second.
const PAIRS: [(&str, &str); 2] =
    [("header_bytes_max", "http1_buffer_bytes_max"), ("http2_stream_window_bytes", "http2_connection_window_bytes")];

/// A limit that is a constant of the protocol code: more would be an attack or a mistake, so there
/// is nothing to configure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    pub meaning: &'static str,
    pub value: u64,
    pub unit: Unit,
}

/// The fixed limits of what clients send, for the documentation.
pub const FIXED: &[Fixed] = &[
    fixed("A repository name", NAME_BYTES_MAX, Unit::Bytes),
    fixed("A tag", TAG_BYTES_MAX, Unit::Bytes),
    fixed("A media type", MEDIA_TYPE_BYTES_MAX, Unit::Bytes),
    fixed("The id of an upload in a path", UPLOAD_ID_BYTES_MAX, Unit::Bytes),
    fixed("A query string", QUERY_BYTES_MAX, Unit::Bytes),
    fixed("Parameters of a query string", PARAMETERS_MAX, Unit::Count),
    fixed("The `last` of a list", LAST_BYTES_MAX, Unit::Bytes),
    fixed("Tags one manifest push sets", TAGS_MAX, Unit::Count),
    fixed("Artifact types a referrers list is filtered by", ARTIFACT_TYPES_MAX, Unit::Count),
    fixed("Ranges in a Range header; the whole blob is sent beyond it", RANGES_MAX, Unit::Count),
    fixed("A Range header that is read", RANGE_HEADER_BYTES_MAX, Unit::Bytes),
    fixed("Nesting of a JSON document", NESTING_DEPTH_MAX, Unit::Count),
    fixed("Members of one JSON object", MEMBERS_MAX, Unit::Count),
];

const fn fixed(meaning: &'static str, value: usize, unit: Unit) -> Fixed {
    Fixed { meaning, value: value as u64, unit }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;

macro_rules! limits {
    ($( $name:ident = $default:expr, $min:expr => $max:expr, $unit:ident, $meaning:literal, $why:literal; )*) => {
        /// The limits one server runs with. `Default` gives the documented defaults.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits {
            $( #[doc = $meaning] pub $name: u64, )*
        }

        impl Default for Limits {
            fn default() -> Self {
                Limits { $( $name: $default, )* }
            }
        }

        impl Limits {
            /// Every limit there is, in the order of the documentation.
            pub const fn table() -> &'static [Limit] {
                &[ $( Limit {
                    name: stringify!($name),
                    default: $default,
                    min: $min,
                    max: $max,
                    unit: Unit::$unit,
                    meaning: $meaning,
                    why: $why,
                }, )* ]
            }

            /// The value of the limit called `name`.
            pub fn get(&self, name: &str) -> Option<u64> {
                match name {
                    $( stringify!($name) => Some(self.$name), )*
                    _ => None,
                }
            }

            fn field(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $( stringify!($name) => Some(&mut self.$name), )*
                    _ => None,
                }
            }
        }
    };
}

limits! {
    // Connections.
    connections_max = 10_000, 1 => 1_000_000, Count,
        "Connections open at the same time. Further clients wait in the accept queue.",
        "Far below the usual 64 Ki descriptors, which uploads and open blobs need as well. Where the process may use less than 640 MiB the default is one for each 64 KiB.";
    accept_queue_max = 1_024, 1 => 65_535, Count,
        "Connections the kernel completes before the server accepts them.",
        "Absorbs the burst at the start of a CI run; the kernel caps it at net.core.somaxconn.";
    tls_handshake_timeout_ms = 10 * SECOND, 1 => HOUR, Milliseconds,
        "Time for a whole TLS handshake. The connection is closed beyond it.",
        "Two round trips on a bad link take about two seconds.";
    header_timeout_ms = 10 * SECOND, 1 => HOUR, Milliseconds,
        "Time for a whole HTTP/1 request head, from its first byte; also from connecting to the first byte. The connection is closed beyond it.",
        "A head is one or two packets; slower ones hold a connection on purpose.";
    idle_timeout_ms = 120 * SECOND, 1 => 24 * HOUR, Milliseconds,
        "Time a connection may stay open between requests. It is closed beyond it.",
        "Longer than the 90 s after which Go clients drop idle connections, so that the client closes first.";
    stall_timeout_ms = 60 * SECOND, 1 => HOUR, Milliseconds,
        "Time a client may take no byte of a response. The connection (HTTP/1) or stream (HTTP/2) is cut beyond it.",
        "Longer than any retransmission pause a working path shows.";
    progress_window_ms = 30 * SECOND, 1 => HOUR, Milliseconds,
        "Time the server waits for the next progress_bytes_min of a request body. The request fails beyond it.",
        "Measures progress, not duration: a large upload may take hours.";
    progress_bytes_min = KIB, 1 => MIB, Bytes,
        "Bytes of a request body that must arrive within each progress_window_ms.",
        "35 bytes a second is no upload; any real link is a thousand times faster.";
    drain_delay_ms = 0, 0 => HOUR, Milliseconds,
        "Time between readiness turning false and the end of accepting, at a stop.",
        "Set it to the probe interval behind a load balancer; nothing else needs it.";
    drain_timeout_ms = 30 * SECOND, 0 => 24 * HOUR, Milliseconds,
        "Time requests in flight get to finish at a stop. They are cut beyond it.",
        "Orchestrators kill after 30 s by default; interrupted uploads can be resumed.";
    unread_bytes_max = 8 * MIB, 0 => 64 * MIB, Bytes,
        "Bytes of a refused request body that are read and dropped so that the client sees the answer instead of a reset.",
        "Covers a manifest and what a client has in flight when it is refused.";

    // Request heads.
    headers_max = 100, 1 => 1_000, Count,
        "Header fields of an HTTP/1 request. 431 beyond it.",
        "Clients send about ten; proxies add about ten more.";
    header_bytes_max = 64 * KIB, 8 * KIB => MIB, Bytes,
        "Bytes of an HTTP/1 request head. 431 beyond it.",
        "Tokens of identity providers with many groups reach 16 KiB.";
    http1_buffer_bytes_max = 256 * KIB, 64 * KIB => 16 * MIB, Bytes,
        "Read and write buffer of an HTTP/1 connection.",
        "Large bodies move in fewer system calls; it grows to this size only under load. Where the process may use less than 1 GiB the default is less in proportion. More is no faster, and 256 uploads would hold it 256 times.";

    // HTTP/2.
    http2_streams_max = 128, 1 => 10_000, Count,
        "Requests in flight on one HTTP/2 connection. Further streams are refused.",
        "A client pulls a few layers at a time; 100 is the least RFC 9113 recommends.";
    http2_stream_window_bytes = 4 * MIB, 65_535 => 0x7fff_ffff, Bytes,
        "Request bytes one HTTP/2 stream may send ahead of the server.",
        "Fills 1 Gbit/s at 30 ms.";
    http2_connection_window_bytes = 16 * MIB, 65_535 => 0x7fff_ffff, Bytes,
        "Request bytes all streams of an HTTP/2 connection may send ahead of the server.",
        "Four streams at full speed; also the memory one connection can occupy.";
    http2_frame_bytes_max = 256 * KIB, 16 * KIB => 16 * MIB - 1, Bytes,
        "Largest HTTP/2 frame the server accepts.",
        "Saves the per-frame work of the 16 KiB default; larger frames gain nothing.";
    http2_header_bytes_max = 64 * KIB, 8 * KIB => MIB, Bytes,
        "Decoded bytes of an HTTP/2 request head. 431 beyond it.",
        "The same as header_bytes_max.";
    http2_send_buffer_bytes_max = MIB, 16 * KIB => 64 * MIB, Bytes,
        "Response bytes buffered for one HTTP/2 stream.",
        "One read of the engine ahead of the socket.";
    http2_pending_resets_max = 20, 1 => 10_000, Count,
        "Streams a client may open and reset before the server accepted them. The connection is closed beyond it.",
        "Stops rapid-reset floods (CVE-2023-44487).";
    http2_error_resets_max = 1_024, 1 => 100_000, Count,
        "Streams the server resets because of client errors. The connection is closed beyond it.",
        "Stops clients that make the server reset streams (CVE-2025-8671).";
    http2_control_frames_max = 10_000, 100 => 1_000_000, Count,
        "Control frames (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, unknown ones) a client may send at once; requests, bytes of answers and time allow more. Beyond it nothing is read, and the connection is closed after a second.",
        "A client needs a few for each request and for each 16 KiB of an answer; floods send millions (CVE-2019-9512).";
    http2_ping_interval_ms = 20 * SECOND, 1 => HOUR, Milliseconds,
        "Time between the pings that find a dead HTTP/2 peer.",
        "Shorter than the idle time-outs of common NAT devices.";
    http2_ping_timeout_ms = 20 * SECOND, 1 => HOUR, Milliseconds,
        "Time for the answer to such a ping. The connection is closed beyond it.",
        "A peer that cannot answer for 20 s has gone.";

    // The distribution protocol.
    uploads_max = 50_000, 1 => 10_000_000, Count,
        "Unfinished uploads of all repositories. 429 beyond it.",
        "At 2 KiB each they take at most 100 MiB of memory; those that nobody goes on with are collected.";
    uploads_per_repository_max = 10_000, 1 => 10_000_000, Count,
        "Unfinished uploads of one repository. 429 beyond it.",
        "A thousand machines that push ten layers each at once; no repository uses up what all have.";
    uploads_per_user_max = 10_000, 1 => 10_000_000, Count,
        "Unfinished uploads of one user, in all repositories. 429 beyond it.",
        "As for one repository; nobody uses up what all users have.";
    manifest_bytes_max = MANIFEST_BYTES_MAX as u64, KIB => MANIFEST_BYTES_MAX as u64, Bytes,
        "Bytes of a manifest. 413 beyond it.",
        "The least a registry should accept by the distribution specification, and what others cap at.";
    tags_page_max = PAGE_ENTRIES_MAX as u64, 1 => PAGE_ENTRIES_MAX as u64, Count,
        "Tags in one answer, whatever the client asks for. A Link header leads on.",
        "Most repositories fit.";
    catalog_page_max = PAGE_ENTRIES_MAX as u64, 1 => PAGE_ENTRIES_MAX as u64, Count,
        "Repositories in one catalog answer, whatever the client asks for. A Link header leads on.",
        "About 100 KiB of JSON.";
    referrers_page_max = PAGE_ENTRIES_MAX as u64, 1 => PAGE_ENTRIES_MAX as u64, Count,
        "Descriptors in one referrers answer. A Link header leads on.",
        "Together with referrers_bytes_max it keeps an answer within what clients accept.";
    referrers_bytes_max = 4 * MIB, 64 * KIB => 64 * MIB, Bytes,
        "Bytes of one referrers answer. A Link header leads on.",
        "Clients read it as a manifest and cap it at 4 MiB.";
}

impl Limits {
    /// Sets the limit called `name`.
    ///
    /// Errors: [`LimitError::Unknown`], [`LimitError::OutOfRange`].
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), LimitError> {
        let unknown = || LimitError::Unknown { name: name.to_owned() };
        let row = Self::table().iter().find(|row| row.name == name).ok_or_else(unknown)?;
        row.check(value)?;
        *self.field(name).ok_or_else(unknown)? = value;
        Ok(())
    }

    /// Checks every field against its range and against the fields it depends on. Call it once all
    /// limits are set.
    ///
    /// Errors: [`LimitError::OutOfRange`], [`LimitError::Conflict`].
    pub fn check(&self) -> Result<(), LimitError> {
        let value = |name| self.get(name).expect("table, pairs and fields use the same names");
        for row in Self::table() {
            row.check(value(row.name))?;
        }
        for (name, bound) in PAIRS {
            let (value, max) = (value(name), value(bound));
            if value > max {
                return Err(LimitError::Conflict { name, value, bound, max });
            }
        }
        Ok(())
    }

    /// The text of `docs/limits.md`.
    pub fn document() -> String {
        let mut text = String::from(
            "# Limits\n\n\
             Every queue, buffer, list and wait of the server has a limit. Each is a configuration key of\n\
             the same name. Times are in milliseconds, sizes in bytes. This page is generated from the\n\
             table in `api/src/limits.rs`; a test fails when the two differ.\n\n\
             | limit | default | accepted | meaning | why this default |\n\
             |---|---|---|---|---|\n",
        );
        for row in Self::table() {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "| `{}` | {} | {} to {} | {} | {} |",
                row.name,
                row.unit.show(row.default),
                row.unit.show(row.min),
                row.unit.show(row.max),
                row.meaning,
                row.why,
            );
        }
        text.push_str(
            "\n## Fixed limits\n\n\
             These follow from the protocol and cannot be configured.\n\n\
             | what | at most |\n\
             |---|---|\n",
        );
        for Fixed { meaning, value, unit } in FIXED {
            let _ = writeln!(text, "| {meaning} | {} |", unit.show(*value));
        }
        text
    }
}

impl Limit {
    fn check(&self, value: u64) -> Result<(), LimitError> {
        if (self.min..=self.max).contains(&value) {
            return Ok(());
        }
        Err(LimitError::OutOfRange { name: self.name, value, min: self.min, max: self.max })
    }
}

impl Unit {
    /// A value with its unit, in the largest unit that divides it.
    fn show(self, value: u64) -> String {
        let divides = |unit: u64| value != 0 && value.is_multiple_of(unit);
        match self {
            Unit::Count => value.to_string(),
            Unit::Bytes if divides(MIB) => format!("{} MiB", value / MIB),
            Unit::Bytes if divides(KIB) => format!("{} KiB", value / KIB),
            Unit::Bytes => format!("{value} B"),
            Unit::Milliseconds if divides(HOUR) => format!("{} h", value / HOUR),
            Unit::Milliseconds if divides(SECOND) => format!("{} s", value / SECOND),
            Unit::Milliseconds => format!("{value} ms"),
        }
    }
}

/// A limit in milliseconds as a duration.
pub(crate) const fn milliseconds(limit: u64) -> Duration {
    Duration::from_millis(limit)
}

/// A limit as a size in memory. The table keeps every size and count below 2^32.
pub(crate) fn size(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// A limit as the 32-bit number an HTTP/2 setting is.
pub(crate) fn setting(limit: u64) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_within_its_range() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn every_row_can_be_set_and_read_back() {
        for row in Limits::table() {
            let mut limits = Limits::default();
            limits.set(row.name, row.max).unwrap();
            assert_eq!(limits.get(row.name), Some(row.max), "{}", row.name);
        }
    }

    #[test]
    fn unknown_names_and_values_out_of_range_are_refused() {
        let mut limits = Limits::default();
        let unknown = limits.set("no_such_limit", 1).unwrap_err();
        assert_eq!(unknown, LimitError::Unknown { name: "no_such_limit".into() });
        let outside = limits.set("connections_max", 0).unwrap_err();
        assert!(matches!(outside, LimitError::OutOfRange { name: "connections_max", value: 0, .. }));
        assert_eq!(limits, Limits::default());

        limits.http2_frame_bytes_max = 1;
        assert!(limits.check().is_err());
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused() {
        for (name, bound) in PAIRS {
            let mut limits = Limits::default();
            let least = Limits::table().iter().find(|row| row.name == bound).unwrap().min;
            limits.set(bound, least).unwrap();
            limits.set(name, least + 1).unwrap();
            let conflict = LimitError::Conflict { name, value: least + 1, bound, max: least };
            assert_eq!(limits.check(), Err(conflict));
        }
    }
}
