//! The bodies of requests. In: frames from the connection. Out: bounded bytes, or a failure the
//! client can act on. Reading into an upload is in `upload`; this is what all bodies share.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, RETRY_AFTER},
};
use http_body::Body;
use http_body_util::BodyExt;

use super::error_map::{Failure, Outcome, RETRY_SOON_SECONDS};
use crate::{
    pressure::{Pressure, Sender, Share},
    protocol::ErrorCode,
    server::RequestBodyError,
};

/// How long a body nobody wants is read away.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// A request body as the operations see it: the connection's, or one made in memory.
pub trait Incoming: Body<Data = Bytes, Error = RequestBodyError> + Unpin + Send {}

impl<B: Body<Data = Bytes, Error = RequestBodyError> + Unpin + Send> Incoming for B {}

/// The announced length in bytes; `None` for a body that is streamed without one.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Refuses encoded bodies (RFC 9110 section 8.4): digests are of the bytes that were sent, and what is
/// never decoded cannot swell. The answer says what is taken instead (section 12.5.3).
pub fn require_plain(headers: &HeaderMap) -> Outcome<()> {
    let is_plain = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().all(is_plain) {
        return Ok(());
    }
    let message = "encoded bodies are not taken; send the bytes as they are, without Content-Encoding";
    let failure = Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::Unsupported, message);
    Err(failure.with(ACCEPT_ENCODING, HeaderValue::from_static("identity")))
}

/// Refuses what brings bytes while memory is nearly used up.
pub fn require_memory(pressure: &Pressure) -> Outcome<()> {
    if pressure.is_high() { Err(too_much()) } else { Ok(()) }
}

/// Refuses pulls while memory is used up but for what those under way may still take.
pub fn require_memory_to_pull(pressure: &Pressure) -> Outcome<()> {
    if pressure.is_highest() { Err(too_much()) } else { Ok(()) }
}

/// Leave to read a body, to be held until it was read. Refused when memory is nearly used up or promised to others.
pub fn require_turn<'a>(pressure: &'a Pressure, body: &impl Incoming) -> Outcome<Option<Sender<'a>>> {
    require_memory(pressure)?;
    match body.is_end_stream() {
        true => Ok(None),
        false => pressure.try_send().map(Some).ok_or_else(too_much),
    }
}

fn too_much() -> Failure {
    let message = "the registry has too much in memory at once; try again soon";
    let failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message);
    // Who waits for his next try with an open connection still holds its buffers.
    failure.with(RETRY_AFTER, RETRY_SOON_SECONDS).with(CONNECTION, HeaderValue::from_static("close"))
}

/// The whole body, up to `bytes_max`, and its share of the memory for documents, to be held until they are
/// answered. A longer one is refused before it is in memory, and any when memory is nearly used up or
/// promised to others.
pub async fn collect<'a>(
    headers: &HeaderMap,
    body: &mut impl Incoming,
    bytes_max: usize,
    pressure: &'a Pressure,
) -> Outcome<(Bytes, Share<'a>)> {
    let announced = content_length(headers);
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut share = Share::default();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if first.len() + rest.len() + data.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        require_memory(pressure)?;
        if !pressure.take(&mut share, data.len()) {
            return Err(too_much());
        }
        // Most documents arrive in one frame, which is taken as it is.
        if first.is_empty() && rest.is_empty() {
            first = data;
            continue;
        }
        if rest.is_empty() {
            let expected = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
            rest.reserve(expected.max(first.len() + data.len()));
            rest.extend_from_slice(&std::mem::take(&mut first));
        }
        rest.extend_from_slice(&data);
    }
    Ok((if rest.is_empty() { first } else { rest.freeze() }, share))
}

/// Reads away what is left of a body after its answer was decided, up to `bytes_max`. Clients that
/// send before they listen lose an early answer if the connection is closed on them. A client that
/// waits for leave to send (`Expect: 100-continue`) has sent nothing and is not asked to.
pub async fn drain(headers: &HeaderMap, body: &mut impl Incoming, bytes_max: u64, pressure: &Pressure) {
    let too_long = content_length(headers).is_some_and(|length| length > bytes_max);
    if body.is_end_stream() || too_long || headers.contains_key(EXPECT) {
        return;
    }
    let reading = async {
        // A crowd that is refused would take as many buffers as one that is not.
        let _turn = pressure.send().await;
        let mut drained: u64 = 0;
        while let Some(Ok(frame)) = body.frame().await {
            drained += frame.data_ref().map_or(0, |data| data.len() as u64);
            if drained > bytes_max {
                return;
            }
        }
    };
    // Running out of time is no failure: the answer is sent either way.
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, reading).await;
}

/// The body stopped before its end. Unless it was only too slow, nobody is there to read this.
pub fn broken(error: RequestBodyError) -> Failure {
    let status = match error {
        RequestBodyError::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
        RequestBodyError::Aborted(_) => StatusCode::BAD_REQUEST,
    };
    Failure::new(status, ErrorCode::BlobUploadInvalid, error.to_string())
        // RFC 9110 section 15.5.9: what is left of the request cannot be told from the next one.
        .with(CONNECTION, HeaderValue::from_static("close"))
}

fn too_large(bytes_max: usize) -> Failure {
    Failure::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::SizeInvalid,
        format!("a body here is limited to {bytes_max} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tokio::time::Instant;

    use super::*;

    /// So much memory that it is never nearly used up, and connections that take more than that.
    fn one_at_a_time() -> Pressure {
        Pressure::new(Some(1 << 50), 1 << 50)
    }

    fn body(content: &'static [u8]) -> impl Incoming {
        Full::new(Bytes::from_static(content)).map_err(|never| match never {})
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_nobody_wants_is_read_away_in_its_turn() {
        let (pressure, begin) = (one_at_a_time(), Instant::now());
        let mut other = body(b"content");
        let turn = require_turn(&pressure, &other).unwrap();
        let mut unwanted = body(b"content");
        assert!(require_turn(&pressure, &unwanted).is_err(), "there are as many as may be");
        let drained = async {
            drain(&HeaderMap::new(), &mut unwanted, 100, &pressure).await;
            begin.elapsed()
        };
        let given_back = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(turn);
            let _ = other.frame().await;
        };
        let (waited, ()) = tokio::join!(drained, given_back);
        assert_eq!(waited, Duration::from_secs(1));
        assert!(unwanted.is_end_stream(), "it was read");
        assert!(pressure.try_send().is_some(), "the turn was given back");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_turn_to_read_away_is_answered_in_time() {
        let (pressure, begin) = (one_at_a_time(), Instant::now());
        let _turn = pressure.try_send().unwrap();
        let mut unwanted = body(b"content");
        drain(&HeaderMap::new(), &mut unwanted, 100, &pressure).await;
        assert_eq!(begin.elapsed(), DRAIN_TIME_MAX);
        assert!(!unwanted.is_end_stream(), "it was left");
    }

    #[tokio::test(start_paused = true)]
    async fn what_need_not_be_read_away_waits_for_nobody() {
        let (pressure, begin) = (one_at_a_time(), Instant::now());
        let _turn = pressure.try_send().unwrap();
        let header = |name, value| HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
        for (headers, content) in [
            (HeaderMap::new(), &b""[..]),
            (header(CONTENT_LENGTH, "101"), b"content"),
            (header(EXPECT, "100-continue"), b"content"),
        ] {
            drain(&headers, &mut body(content), 100, &pressure).await;
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert!(require_turn(&pressure, &body(b"")).unwrap().is_none(), "nothing is to be read");
    }
}
