//! `/zot/auth/apikey`: a user makes keys, looks at them, and takes them back. The documents are zot's.
//!
//! | request | answer |
//! |---|---|
//! | `POST` with `{"label", "scopes", "expirationDate"}` | 201: the key, shown this once, and what is known of it |
//! | `GET` | 200 `{"apiKeys": [...]}`, his own and no others |
//! | `DELETE ?id=UUID` | 200, also if he has no such key, so that nobody learns of others' |

use http::{Method, Response, StatusCode, header::USER_AGENT};
use orlop_api::access::AccountCall;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ChangeError, Keys, Voucher,
    key::{self, Key, Mark, Record},
    now, scope,
};

/// The longest body of a request, in bytes, as in zot.
const BODY_BYTES_MAX: usize = 8 << 10;

/// The longest label in bytes.
const LABEL_BYTES_MAX: usize = 256;

/// Bytes of the client's own name that are kept with a key.
const CREATOR_BYTES_MAX: usize = 256;

/// What somebody asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    label: String,
    #[serde(default)]
    scopes: Option<Vec<String>>,
    #[serde(default, rename = "expirationDate")]
    expiration_date: Option<String>,
}

/// Answers the owner of keys; `voucher` says who knows him.
pub async fn answer(keys: &Keys, call: &AccountCall<'_>, owner: &str, voucher: Voucher) -> Response<String> {
    match call.head.method {
        Method::POST => make(keys, call, owner, voucher).await,
        Method::DELETE => take_back(keys, call, owner).await,
        _ => {
            let now = now();
            let all: Vec<Value> = keys.of_user(owner).iter().map(|key| key.details(now)).collect();
            document(StatusCode::OK, json!({ "apiKeys": all }))
        }
    }
}

/// Who has come with a key, or with less than his own credentials.
pub fn refuse() -> Response<String> {
    let message = "keys are made and deleted with a login of one's own, not with a key or a token";
    error(StatusCode::FORBIDDEN, "DENIED", message)
}

async fn make(keys: &Keys, call: &AccountCall<'_>, owner: &str, voucher: Voucher) -> Response<String> {
    if call.body.len() > BODY_BYTES_MAX {
        let message = format!("the request has more than {BODY_BYTES_MAX} bytes");
        return error(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", &message);
    }
    let agent = call.head.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let text = key::generate();
    let key = match read(&call.body, &text, agent, voucher)
        .and_then(|record| Key::new(owner, record).map_err(|error| error.to_string()))
    {
        Ok(key) => key,
        Err(reason) => return error(StatusCode::BAD_REQUEST, "UNSUPPORTED", &reason),
    };
    let mut details = key.details(now());
    // Groups are kept of whom nobody can be asked about; the others' are looked up with each use.
    let groups = if voucher == Voucher::Elsewhere { call.subject.groups() } else { &[] };
    match keys.add(key, groups).await {
        Ok(()) => {
            details["apiKey"] = Value::String(text);
            document(StatusCode::CREATED, details)
        }
        Err(failure) => failed(&failure),
    }
}

/// What is to be kept of the key `text`. Errors: what the client got wrong.
fn read(body: &[u8], text: &str, agent: &str, voucher: Voucher) -> Result<Record, String> {
    let expected = "expected {\"label\": \"...\", \"scopes\": [...], \"expirationDate\": \"...\"}";
    // The parser would take a list for the values in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(expected.to_owned());
    }
    let wish: Wish = serde_json::from_slice(body).map_err(|error| format!("{expected}: {error}"))?;
    if wish.label.len() > LABEL_BYTES_MAX || wish.label.chars().any(char::is_control) {
        return Err(format!("the label has more than {LABEL_BYTES_MAX} bytes, or control characters"));
    }
    let scopes = wish.scopes.unwrap_or_default();
    scope::read(&scopes).map_err(|error| error.to_string())?;
    let date = wish.expiration_date.unwrap_or_default();
    let expires = key::read_date(&date)
        .ok_or("the expirationDate is no date of RFC 3339; expected such as 2030-01-31T12:00:00Z, or \"\" for never")?;
    let now = now();
    if expires.is_some_and(|expires| expires <= now) {
        return Err("the expirationDate is not in the future".to_owned());
    }
    let mark = Mark::of(text).ok_or("a new key has another form")?;
    Ok(Record {
        mark: key::written(mark),
        uuid: key::identifier(),
        label: wish.label,
        scopes,
        voucher,
        created: now,
        expires,
        last_used: None,
        creator: agent.chars().take(CREATOR_BYTES_MAX).collect(),
    })
}

async fn take_back(keys: &Keys, call: &AccountCall<'_>, owner: &str) -> Response<String> {
    let mut ids = call.head.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("id="));
    // Of two it would be anybody's guess which is meant.
    let (Some(id), None) = (ids.next().filter(|id| !id.is_empty()), ids.next()) else {
        let message = "expected the uuid of a key: DELETE /zot/auth/apikey?id=UUID";
        return error(StatusCode::BAD_REQUEST, "UNSUPPORTED", message);
    };
    match keys.remove(owner, id).await {
        Ok(()) => answer_with(StatusCode::OK, String::new()),
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &ChangeError) -> Response<String> {
    match failure {
        ChangeError::TooManyOfUser | ChangeError::TooMany => {
            error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", &failure.to_string())
        }
        ChangeError::Io(_) => {
            tracing::error!(error = %failure, "API keys");
            error(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "the keys cannot be written; nothing has changed")
        }
    }
}

/// An error in the form of the distribution specification.
fn error(status: StatusCode, code: &str, message: &str) -> Response<String> {
    document(status, json!({ "errors": [{ "code": code, "message": message }] }))
}

fn document(status: StatusCode, value: Value) -> Response<String> {
    answer_with(status, value.to_string())
}

fn answer_with(status: StatusCode, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
