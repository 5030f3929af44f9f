//! The error answers of the protocol: a code, a status, a sentence, and their JSON body.
//!
//! Source: spec, "Error Codes". The codes of 4xx answers are those of the specification only; it
//! allows no others. What it has no code for (a bad tag, a range) uses the nearest one.

use http::StatusCode;
use serde::Serialize;

use super::{
    manifest::ManifestError, query::QueryError, reference::ReferenceError, route::RouteError,
    upload_range::UploadRangeError,
};

/// The longest message in bytes; what is longer is cut, so that an error never echoes a large
/// request.
pub const MESSAGE_BYTES_MAX: usize = 512;

/// The identifier of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    TooManyRequests,
    /// Ours, for 5xx answers: the registry cannot serve now; trying again later can help.
    Unavailable,
    /// Ours, for 5xx answers: the registry failed.
    Unknown,
}

impl ErrorCode {
    pub const ALL: [ErrorCode; 16] = [
        ErrorCode::BlobUnknown,
        ErrorCode::BlobUploadInvalid,
        ErrorCode::BlobUploadUnknown,
        ErrorCode::DigestInvalid,
        ErrorCode::ManifestBlobUnknown,
        ErrorCode::ManifestInvalid,
        ErrorCode::ManifestUnknown,
        ErrorCode::NameInvalid,
        ErrorCode::NameUnknown,
        ErrorCode::SizeInvalid,
        ErrorCode::Unauthorized,
        ErrorCode::Denied,
        ErrorCode::Unsupported,
        ErrorCode::TooManyRequests,
        ErrorCode::Unavailable,
        ErrorCode::Unknown,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorCode::BlobUnknown => "BLOB_UNKNOWN",
            ErrorCode::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            ErrorCode::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            ErrorCode::DigestInvalid => "DIGEST_INVALID",
            ErrorCode::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            ErrorCode::ManifestInvalid => "MANIFEST_INVALID",
            ErrorCode::ManifestUnknown => "MANIFEST_UNKNOWN",
            ErrorCode::NameInvalid => "NAME_INVALID",
            ErrorCode::NameUnknown => "NAME_UNKNOWN",
            ErrorCode::SizeInvalid => "SIZE_INVALID",
            ErrorCode::Unauthorized => "UNAUTHORIZED",
            ErrorCode::Denied => "DENIED",
            ErrorCode::Unsupported => "UNSUPPORTED",
            ErrorCode::TooManyRequests => "TOOMANYREQUESTS",
            ErrorCode::Unavailable => "UNAVAILABLE",
            ErrorCode::Unknown => "UNKNOWN",
        }
    }

    /// The status the code is answered with unless the case says otherwise.
    pub const fn status(self) -> StatusCode {
        match self {
            ErrorCode::BlobUnknown
            | ErrorCode::BlobUploadUnknown
            | ErrorCode::ManifestUnknown
            | ErrorCode::NameUnknown => StatusCode::NOT_FOUND,
            ErrorCode::BlobUploadInvalid
            | ErrorCode::DigestInvalid
            | ErrorCode::ManifestBlobUnknown
            | ErrorCode::ManifestInvalid
            | ErrorCode::NameInvalid
            | ErrorCode::SizeInvalid
            | ErrorCode::Unsupported => StatusCode::BAD_REQUEST,
            ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
            ErrorCode::Denied => StatusCode::FORBIDDEN,
            ErrorCode::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// One error answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.as_str())]
pub struct ProtocolError {
    pub code: ErrorCode,
    pub status: StatusCode,
    /// For people; at most `MESSAGE_BYTES_MAX` bytes.
    pub message: String,
    /// For programs: the digest, name or range the error is about.
    pub detail: Option<String>,
    /// Why it was refused, which is an object as the detail, in zot's form: `{"reason": "..."}`.
    pub reason: Option<String>,
}

impl ProtocolError {
    /// An error with the code's own status.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        let mut end = message.len().min(MESSAGE_BYTES_MAX);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        ProtocolError { code, status: code.status(), message, detail: None, reason: None }
    }

    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The JSON body.
    pub fn body(&self) -> Vec<u8> {
        body(std::slice::from_ref(self))
    }
}

/// The JSON body of several errors in one answer, such as one for each missing blob.
pub fn body(errors: &[ProtocolError]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        errors: Vec<Entry<'a>>,
    }
    #[derive(Serialize)]
    struct Entry<'a> {
        code: &'a str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<Detail<'a>>,
    }
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Detail<'a> {
        Text(&'a str),
        Object { reason: &'a str },
    }
    let entry = |error| {
        let ProtocolError { code, message, detail, reason, .. }: &ProtocolError = error;
        let detail = detail.as_deref().map(Detail::Text);
        let detail = detail.or_else(|| reason.as_deref().map(|reason| Detail::Object { reason }));
        Entry { code: code.as_str(), message, detail }
    };
    serde_json::to_vec(&Body { errors: errors.iter().map(entry).collect() })
        .expect("strings and lists always have a JSON form")
}

impl From<RouteError> for ProtocolError {
    fn from(error: RouteError) -> Self {
        let code = match &error {
            RouteError::NotARoute => ErrorCode::NameUnknown,
            RouteError::NameInvalid(_) => ErrorCode::NameInvalid,
            RouteError::DigestInvalid(_) => ErrorCode::DigestInvalid,
            RouteError::TagInvalid(_) => ErrorCode::ManifestInvalid,
            RouteError::UploadUnknown => ErrorCode::BlobUploadUnknown,
        };
        ProtocolError::new(code, error.to_string())
    }
}

impl From<ReferenceError> for ProtocolError {
    fn from(error: ReferenceError) -> Self {
        let code = match &error {
            ReferenceError::Tag(_) => ErrorCode::ManifestInvalid,
            ReferenceError::Digest(_) => ErrorCode::DigestInvalid,
        };
        ProtocolError::new(code, error.to_string())
    }
}

impl From<QueryError> for ProtocolError {
    fn from(error: QueryError) -> Self {
        let (code, status) = match &error {
            QueryError::Parameters | QueryError::Length { .. } | QueryError::Values { .. } => {
                (ErrorCode::Unsupported, StatusCode::URI_TOO_LONG)
            }
            QueryError::Encoding(_)
            | QueryError::Repeated { .. }
            | QueryError::Number { .. }
            | QueryError::Value { .. }
            | QueryError::Missing { .. } => (ErrorCode::Unsupported, StatusCode::BAD_REQUEST),
            QueryError::Digest { .. } => (ErrorCode::DigestInvalid, StatusCode::BAD_REQUEST),
            QueryError::Name { .. } => (ErrorCode::NameInvalid, StatusCode::BAD_REQUEST),
            QueryError::Tag(_) => (ErrorCode::ManifestInvalid, StatusCode::BAD_REQUEST),
        };
        ProtocolError::new(code, error.to_string()).with_status(status)
    }
}

impl From<UploadRangeError> for ProtocolError {
    fn from(error: UploadRangeError) -> Self {
        let status = match error {
            UploadRangeError::Syntax => StatusCode::BAD_REQUEST,
            UploadRangeError::Order | UploadRangeError::Length => StatusCode::RANGE_NOT_SATISFIABLE,
        };
        ProtocolError::new(ErrorCode::BlobUploadInvalid, error.to_string()).with_status(status)
    }
}

impl From<ManifestError> for ProtocolError {
    fn from(error: ManifestError) -> Self {
        let status = match &error {
            ManifestError::Length { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        ProtocolError::new(ErrorCode::ManifestInvalid, error.to_string()).with_status(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_upper_case_and_distinct() {
        let codes: HashSet<_> = ErrorCode::ALL.into_iter().map(ErrorCode::as_str).collect();
        assert_eq!(codes.len(), ErrorCode::ALL.len());
        assert!(codes.iter().all(|code| code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')));
        assert!(
            ErrorCode::ALL.into_iter().all(|code| code.status().is_client_error() || code.status().is_server_error())
        );
    }

    #[test]
    fn body_has_the_form_of_the_specification() {
        let error = ProtocolError::new(ErrorCode::NameInvalid, "no \"A\"\n<b>\u{1b}");
        assert_eq!(
            String::from_utf8(error.body()).as_deref(),
            Ok(r#"{"errors":[{"code":"NAME_INVALID","message":"no \"A\"\n<b>\u001b"}]}"#)
        );
        let error = error.with_detail("x").with_status(StatusCode::NOT_FOUND);
        let two: serde_json::Value = serde_json::from_slice(&body(&[error.clone(), error])).unwrap();
        assert_eq!(two["errors"].as_array().map(Vec::len), Some(2));
        assert_eq!(two["errors"][1]["detail"], "x");
        let refused = ProtocolError { reason: Some("y".to_owned()), ..ProtocolError::new(ErrorCode::Denied, "z") };
        let expected = r#"{"errors":[{"code":"DENIED","message":"z","detail":{"reason":"y"}}]}"#;
        assert_eq!(String::from_utf8(refused.body()).as_deref(), Ok(expected));
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let error = ProtocolError::new(ErrorCode::Unsupported, "\u{20ac}".repeat(MESSAGE_BYTES_MAX));
        assert_eq!(error.message.len(), MESSAGE_BYTES_MAX / 3 * 3);
    }
}
