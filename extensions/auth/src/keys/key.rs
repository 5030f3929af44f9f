//! One key: what its owner holds, and what is kept of it.

use std::{
    fmt,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::scope::{self, ScopeError};
use crate::{evidence::Scopes, logins::random_key};

/// What every key begins with, as in zot.
const PREFIX: &str = "zak_";

/// Lower case hexadecimal digits after that: 128 random bits.
const DIGITS: usize = 32;

/// "Never" as zot writes it, which is the first moment that Go's time has.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// What stands for a key without giving it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark([u8; 32]);

impl Mark {
    /// The mark of what somebody shows, if it has the form of a key.
    pub fn of(password: &str) -> Option<Self> {
        let digits = password.strip_prefix(PREFIX)?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let has_form = digits.len() == DIGITS && digits.bytes().all(is_digit);
        // As in zot without what all of them begin with. One pass of SHA-256 is enough: nobody tries 128 bits.
        has_form.then(|| Mark(Sha256::digest(digits).into()))
    }
}

/// A new key, as it is shown once.
pub fn generate() -> String {
    format!("{PREFIX}{}", hexadecimal(&random_key()[..DIGITS / 2]))
}

/// A random identifier (RFC 9562 section 5.4).
pub fn identifier() -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&random_key()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hexadecimal(&bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Who vouched for the owner when the key was made, and has to go on doing so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Voucher {
    /// The file of users.
    File,
    /// The LDAP directory.
    Directory,
    /// Somebody who cannot be asked without the owner, such as a provider of logins.
    Elsewhere,
}

/// What is kept of a key on disk. Times are seconds since 1970.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// SHA-256 of the key's digits, in lower case hexadecimal digits.
    pub mark: String,
    pub uuid: String,
    pub label: String,
    pub scopes: Vec<String>,
    pub voucher: Voucher,
    pub created: i64,
    pub expires: Option<i64>,
    pub last_used: Option<i64>,
    pub creator: String,
}

/// A key that is known.
pub struct Key {
    mark: Mark,
    owner: Box<str>,
    scopes: Option<Arc<Scopes>>,
    /// Seconds since 1970; 0 is never.
    last_used: AtomicI64,
    record: Record,
}

/// Why a record is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the mark of a key of {owner:?} is no SHA-256")]
    Mark { owner: String },
    #[error("a key of {owner:?}: {error}")]
    Scope { owner: String, error: ScopeError },
}

impl Key {
    /// Takes a record. Errors: it means nothing.
    pub fn new(owner: &str, record: Record) -> Result<Self, RecordError> {
        let mark = mark(&record.mark).ok_or_else(|| RecordError::Mark { owner: owner.to_owned() })?;
        let scopes = scope::read(&record.scopes);
        let scopes = scopes.map_err(|error| RecordError::Scope { owner: owner.to_owned(), error })?.map(Arc::new);
        let last_used = AtomicI64::new(record.last_used.unwrap_or(0));
        Ok(Key { mark, owner: owner.into(), scopes, last_used, record })
    }

    pub fn mark(&self) -> Mark {
        self.mark
    }

    pub fn owner(&self) -> &str {
        &self.owner
    }

    pub fn uuid(&self) -> &str {
        &self.record.uuid
    }

    pub fn voucher(&self) -> Voucher {
        self.record.voucher
    }

    /// `None`: everything that the owner may do.
    pub fn scopes(&self) -> Option<&Arc<Scopes>> {
        self.scopes.as_ref()
    }

    pub fn is_expired(&self, now: i64) -> bool {
        self.record.expires.is_some_and(|expires| expires <= now)
    }

    /// Remembers a use; whether it is news.
    pub fn used(&self, now: i64) -> bool {
        self.last_used.fetch_max(now, Ordering::Relaxed) < now
    }

    /// What is to be kept of it.
    pub fn record(&self) -> Record {
        let last_used = Some(self.last_used.load(Ordering::Relaxed)).filter(|used| *used != 0);
        Record { last_used, ..self.record.clone() }
    }

    /// As zot describes a key to its owner. The key itself is not known any more.
    pub fn details(&self, now: i64) -> Value {
        let Record { label, scopes, uuid, created, expires, last_used, creator, .. } = self.record();
        json!({
            "createdAt": date(Some(created)),
            "expirationDate": date(expires),
            "isExpired": self.is_expired(now),
            "creatorUa": creator,
            "generatedBy": "manual",
            "lastUsed": date(last_used),
            "label": label,
            "scopes": scopes,
            "uuid": uuid,
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("owner", &self.owner).field("uuid", &self.uuid()).finish_non_exhaustive()
    }
}

/// The mark of a new key as it is written down.
pub fn written(mark: Mark) -> String {
    hexadecimal(&mark.0)
}

fn mark(text: &str) -> Option<Mark> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; 32];
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok().filter(|_| !pair.starts_with('+'))?;
    }
    Some(Mark(bytes))
}

/// RFC 3339, and [`NEVER`].
fn date(seconds: Option<i64>) -> String {
    let moment = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| NEVER.to_owned())
}

/// The seconds since 1970 of a date of RFC 3339; `Some(None)` for never, which is also empty.
pub fn read_date(text: &str) -> Option<Option<i64>> {
    if text.is_empty() || text == NEVER {
        return Some(None);
    }
    OffsetDateTime::parse(text, &Rfc3339).ok().map(|moment| Some(moment.unix_timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_form_and_are_all_different() {
        let key = generate();
        assert!(Mark::of(&key).is_some() && Mark::of(&key) != Mark::of(&generate()));
        for text in ["", "zak_", &key[4..], &key[..35], &format!("{key}0"), &key.to_uppercase(), &format!(" {key}")] {
            assert_eq!(Mark::of(text), None, "{text}");
        }
        // What zot would have in its own database for it.
        let mark = Mark::of("zak_00000000000000000000000000000000").expect("a key");
        assert_eq!(written(mark), "84e0c0eafaa95a34c293f278ac52e45ce537bab5e752a00e6959a13ae103b65a");
        assert_eq!(super::mark(&written(mark)), Some(mark));
        for text in ["", "00", &"g".repeat(64), &"+1".repeat(32), &"\u{e4}".repeat(32)] {
            assert_eq!(super::mark(text), None, "{text}");
        }
    }

    #[test]
    fn identifiers_are_those_of_the_rfc() {
        let uuid = identifier();
        assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(uuid[14..].starts_with('4') && "89ab".contains(&uuid[19..20]), "{uuid}");
    }

    #[test]
    fn dates_are_those_of_zot() {
        assert_eq!(date(None), NEVER);
        assert_eq!(date(Some(1_700_000_000)), "2023-11-14T22:13:20Z");
        assert_eq!(read_date("2023-11-14T23:13:20.5+01:00"), Some(Some(1_700_000_000)));
        assert_eq!((read_date(""), read_date(NEVER)), (Some(None), Some(None)));
        for text in ["tomorrow", "2023-11-14", "2023-11-14T22:13:20", "1700000000"] {
            assert_eq!(read_date(text), None, "{text}");
        }
    }
}
