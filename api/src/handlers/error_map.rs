//! The one table from what went wrong to what the client is told. In: an engine error with the kind
//! of content that was asked for, or a protocol error. Out: a [`Failure`], which becomes an answer
//! with the error body of the distribution specification ("Error Codes").
//!
//! | engine error          | status | code                                        |
//! |-----------------------|--------|---------------------------------------------|
//! | `NotFound` blob       | 404    | `BLOB_UNKNOWN` or `MANIFEST_UNKNOWN`        |
//! | `NotFound` name       | 404    | `MANIFEST_UNKNOWN`                          |
//! | `NotFound` upload     | 404    | `BLOB_UPLOAD_UNKNOWN`                       |
//! | `NotFound` namespace  | 404    | `NAME_UNKNOWN`                              |
//! | `DigestMismatch`      | 400    | `DIGEST_INVALID`                            |
//! | `OutOfOrder`, `Busy`  | 416    | `BLOB_UPLOAD_INVALID`; 409 for a cancel     |
//! | `TooLarge`            | 413    | `SIZE_INVALID`                              |
//! | `Missing`             | 400    | `MANIFEST_BLOB_UNKNOWN`                     |
//! | `WrongSize`           | 400    | `MANIFEST_INVALID`                          |
//! | `Needed`              | 405    | `DENIED`                                    |
//! | `Damaged`             | 404    | as `NotFound` blob: a new push heals it     |
//! | `Forbidden`           | 403    | `DENIED`; 409 for a manifest with several tags, see zot's collisions |
//! | `NoSpace`             | 507    | `UNAVAILABLE`; reads and deletes still work |
//! | `Stopped`             | 503    | `UNAVAILABLE`, with `Retry-After`           |
//! | `InDoubt`             | 503    | the same; only the next start shows whether the change was made |
//! | `TooManyUploads`      | 429    | `TOOMANYREQUESTS`, with `Retry-After`       |
//! | no descriptor, memory | 503    | `UNAVAILABLE`, with `Retry-After`           |
//! | everything else       | 500    | `UNKNOWN`; the text stays in the log        |

use std::{io, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{ALLOW, RETRY_AFTER},
};
use orlop_engine::{Error, What};
use rustix::io::Errno;

use super::reply;
use crate::{
    access,
    body::ResponseBody,
    front::TooMany,
    protocol::error::{ErrorCode, ProtocolError},
};

/// What a client is told to wait, in seconds, while the store accepts no changes. An operator has
/// to reopen the store, which takes at least this long.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("30");

/// What a client is told to wait, in seconds, for what other clients give back.
pub const RETRY_SOON_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// Whole seconds (RFC 9110 section 10.2.3), and not before it is worth it.
fn seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_millis().div_ceil(1000).clamp(1, u128::from(u32::MAX)) as u64)
}

/// What a digest stood for in the request: it decides the code of "not found".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Blob,
    Manifest,
}

impl Kind {
    /// The methods that are left for content that cannot be deleted: a 405 says which
    /// (RFC 9110 section 15.5.6).
    pub fn remaining(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Kind::Blob => "GET, HEAD",
            Kind::Manifest => "GET, HEAD, PUT",
        })
    }

    pub fn unknown(self) -> Failure {
        match self {
            Kind::Blob => {
                Failure::new(StatusCode::NOT_FOUND, ErrorCode::BlobUnknown, "the repository has no such blob")
            }
            Kind::Manifest => {
                Failure::new(StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown, "the repository has no such manifest")
            }
        }
    }
}

/// An answer that is not a success. Boxed: the successes should not carry its size.
#[derive(Debug)]
pub struct Failure(Box<Parts>);

#[derive(Debug)]
struct Parts {
    error: ProtocolError,
    headers: HeaderMap,
}

pub type Outcome<T = Response<ResponseBody>> = Result<T, Failure>;

impl Failure {
    pub fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        ProtocolError::new(code, message).with_status(status).into()
    }

    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.error.detail = Some(detail.into());
        self
    }

    /// With what a program finds as `detail.reason`.
    pub fn with_reason(mut self, reason: String) -> Self {
        self.0.error.reason = Some(reason);
        self
    }

    pub fn with_headers(mut self, change: impl FnOnce(&mut HeaderMap)) -> Self {
        change(&mut self.0.headers);
        self
    }

    /// More requests than the client may send. The two fields with an X are zot's.
    pub(crate) fn too_many(TooMany { rate, wait }: TooMany) -> Self {
        const LIMIT: HeaderName = HeaderName::from_static("x-rate-limit-limit");
        const DURATION: HeaderName = HeaderName::from_static("x-rate-limit-duration");
        let rate = rate.requests_per_second();
        let message = format!("{rate} requests a second are taken from one client; send fewer, or at longer intervals");
        let failure = Failure::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, message);
        failure
            .with(RETRY_AFTER, seconds(wait))
            .with(LIMIT, reply::text(format!("{rate}.00")))
            .with(DURATION, HeaderValue::from_static("1"))
    }

    /// Logins of the client have failed too often.
    pub(crate) fn too_many_failures(wait: Duration) -> Self {
        let message = "too many logins from this address have failed; try again later";
        let failure = Failure::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, message);
        failure.with(RETRY_AFTER, seconds(wait))
    }

    /// The table above. `kind` is what the digests of the request stood for.
    pub fn of(kind: Kind, error: Error) -> Self {
        use ErrorCode as Code;
        let (status, code) = match &error {
            Error::NotFound { what: What::Blob } | Error::Damaged { .. } => return kind.unknown(),
            Error::NotFound { what: What::Name } => return Kind::Manifest.unknown(),
            Error::NotFound { what: What::Upload } => (StatusCode::NOT_FOUND, Code::BlobUploadUnknown),
            Error::NotFound { what: What::Namespace } => (StatusCode::NOT_FOUND, Code::NameUnknown),
            Error::DigestMismatch { .. } => (StatusCode::BAD_REQUEST, Code::DigestInvalid),
            Error::OutOfOrder { .. } | Error::Busy => (StatusCode::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid),
            Error::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid),
            Error::Missing { .. } => (StatusCode::BAD_REQUEST, Code::ManifestBlobUnknown),
            Error::WrongSize { .. } => (StatusCode::BAD_REQUEST, Code::ManifestInvalid),
            Error::Needed { .. } => (StatusCode::METHOD_NOT_ALLOWED, Code::Denied),
            Error::Forbidden { .. } => return access::denied(),
            Error::OverQuota { prefix, used, added, max } => return over_quota(prefix, *used, *added, *max),
            Error::TooManyNamespaces { max } => return too_many_repositories(*max),
            Error::TooManyUploads { .. } => {
                let failure =
                    Failure::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, error.to_string());
                return failure.with(RETRY_AFTER, RETRY_SOON_SECONDS);
            }
            Error::Io { source, .. } if is_exhaustion(source) => {
                tracing::warn!(%error, "refused: the process has no more descriptors or memory");
                let message = "the registry has too much to do at once; try again soon";
                return Failure::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message)
                    .with(RETRY_AFTER, RETRY_SOON_SECONDS);
            }
            Error::NoSpace => (StatusCode::INSUFFICIENT_STORAGE, Code::Unavailable),
            Error::Stopped { .. } | Error::InDoubt { .. } => {
                tracing::error!(%error, "refused: the store accepts no changes");
                let message = match error {
                    Error::InDoubt { .. } => {
                        "the disk failed while the change was written; whether it was made shows after the registry's next start"
                    }
                    _ => "the store accepts no changes until the registry is started again; this one was not made",
                };
                return Failure::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message)
                    .with(RETRY_AFTER, RETRY_AFTER_SECONDS);
            }
            // Paths and system messages are for the operator, not for the client.
            _ => {
                tracing::error!(%error, "the engine failed");
                return Failure::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    Code::Unknown,
                    "the registry could not complete the request; see its log",
                );
            }
        };
        let failure = Failure::new(status, code, error.to_string());
        if matches!(error, Error::NoSpace) {
            tracing::warn!("refused: the store is full");
        }
        if status == StatusCode::METHOD_NOT_ALLOWED { failure.with(ALLOW, kind.remaining()) } else { failure }
    }

    pub fn blob(error: Error) -> Self {
        Failure::of(Kind::Blob, error)
    }

    pub fn manifest(error: Error) -> Self {
        Failure::of(Kind::Manifest, error)
    }

    pub fn into_response(self) -> Response<ResponseBody> {
        let Parts { error, headers } = *self.0;
        let mut response = reply::json(error.status, error.body());
        response.headers_mut().extend(headers);
        response
    }
}

/// Whether the system lacks what other requests will give back.
fn is_exhaustion(source: &io::Error) -> bool {
    matches!(Errno::from_io_error(source), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// The numbers are for people in the message and for programs in the detail.
fn over_quota(prefix: &str, used: u64, added: u64, max: u64) -> Failure {
    let of = if prefix.is_empty() { "the registry".to_owned() } else { format!("repositories below {prefix:?}") };
    let message = format!(
        "the quota of {of} is used up: {used} of {max} bytes are used, {added} more do not fit; \
         delete something, or ask for a larger quota"
    );
    let failure = Failure::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message);
    failure.with_detail(format!("prefix={prefix} used={used} added={added} limit={max}"))
}

/// As zot answers, which calls it `maxRepos`.
fn too_many_repositories(max: u64) -> Failure {
    let message = format!("the registry has {max} repositories already, which is its limit; use one of them");
    let failure = Failure::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, message);
    failure.with_detail(format!("limit={max}"))
}

impl<E: Into<ProtocolError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure(Box::new(Parts { error: error.into(), headers: HeaderMap::new() }))
    }
}

#[cfg(test)]
mod tests {
    use orlop_engine::{Algorithm, Digest};

    use super::*;

    #[test]
    fn every_engine_error_has_its_answer() {
        let digest = Digest::of(Algorithm::Sha256, b"");
        let not_found = |what| Error::NotFound { what };
        let damaged = || Error::Damaged { digest, offset: 0, expected: 0, found: 1 };
        for (kind, error, status, code) in [
            (Kind::Blob, not_found(What::Blob), 404, "BLOB_UNKNOWN"),
            (Kind::Manifest, not_found(What::Blob), 404, "MANIFEST_UNKNOWN"),
            (Kind::Blob, damaged(), 404, "BLOB_UNKNOWN"),
            (Kind::Manifest, damaged(), 404, "MANIFEST_UNKNOWN"),
            (Kind::Manifest, not_found(What::Name), 404, "MANIFEST_UNKNOWN"),
            (Kind::Blob, not_found(What::Upload), 404, "BLOB_UPLOAD_UNKNOWN"),
            (Kind::Blob, not_found(What::Namespace), 404, "NAME_UNKNOWN"),
            (Kind::Blob, Error::DigestMismatch { expected: digest, found: digest }, 400, "DIGEST_INVALID"),
            (Kind::Blob, Error::OutOfOrder { expected: 1, found: 2 }, 416, "BLOB_UPLOAD_INVALID"),
            (Kind::Blob, Error::Busy, 416, "BLOB_UPLOAD_INVALID"),
            (Kind::Blob, Error::TooLarge { what: "content", max: 1 }, 413, "SIZE_INVALID"),
            (Kind::Manifest, Error::Missing { digest }, 400, "MANIFEST_BLOB_UNKNOWN"),
            (Kind::Manifest, Error::WrongSize { digest, expected: 1, found: 2 }, 400, "MANIFEST_INVALID"),
            (Kind::Blob, Error::Needed { digest, by: digest }, 405, "DENIED"),
            (Kind::Manifest, Error::Forbidden { name: "a".into() }, 403, "DENIED"),
            (Kind::Blob, Error::OverQuota { prefix: "a".into(), used: 1, added: 2, max: 2 }, 403, "DENIED"),
            (Kind::Blob, Error::TooManyNamespaces { max: 1 }, 429, "TOOMANYREQUESTS"),
            (Kind::Blob, Error::TooManyUploads { max: 1 }, 429, "TOOMANYREQUESTS"),
            (Kind::Blob, Error::io("opening", Errno::MFILE.into()), 503, "UNAVAILABLE"),
            (Kind::Blob, Error::NoSpace, 507, "UNAVAILABLE"),
            (Kind::Blob, Error::Stopped { reason: "a sync".into() }, 503, "UNAVAILABLE"),
            (Kind::Blob, Error::InDoubt { reason: "a sync".into() }, 503, "UNAVAILABLE"),
            (Kind::Blob, Error::InUse { path: "/secret".into() }, 500, "UNKNOWN"),
            (Kind::Blob, Error::Store { path: "/secret".into(), reason: "secret".into() }, 500, "UNKNOWN"),
            (Kind::Blob, Error::io("secret", io::ErrorKind::TimedOut.into()), 500, "UNKNOWN"),
        ] {
            let case = format!("{error:?}");
            let response = Failure::of(kind, error);
            assert_eq!((response.0.error.status.as_u16(), response.0.error.code.as_str()), (status, code), "{case}");
            let response = response.into_response();
            let is_passing = status == 503 || case.contains("TooManyUploads");
            assert_eq!(response.headers().contains_key(RETRY_AFTER), is_passing, "{case}");
            assert_eq!(response.headers().contains_key(ALLOW), status == 405, "{case}");
        }
    }

    #[test]
    fn clients_learn_nothing_of_the_machine() {
        let error = Error::Store { path: "/secret".into(), reason: "secret".into() };
        assert!(!Failure::blob(error).0.error.message.contains("secret"));
    }
}
