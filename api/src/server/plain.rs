//! Requests so plain that any two servers read them alike.
//!
//! In: the begin of what a connection sent, or a request that hyper read. Out: what of it an answer can
//! depend on, or that it is not plain. Everything that frames a body, changes the protocol, carries
//! other credentials than a name and a password, asks for a part, or is merely unusual is not plain: such requests
//! are hyper's alone.
//! A request is never judged by halves: all of its head is there and was looked at, or nothing is said.

use std::fmt;

use http::{HeaderName, Method, Request, Version};

/// The longest head in bytes that is read here. Clients of registries send 200 to 700.
pub const PLAIN_HEAD_BYTES_MAX: usize = 4096;

/// The most header fields of a plain request.
const PLAIN_HEADERS_MAX: usize = 32;

/// The longest If-None-Match in bytes: an entity tag with a digest of 512 bits has 137.
const TAG_BYTES_MAX: usize = 160;

/// The longest Authorization field in bytes: room for a name and a password of some hundred.
const CREDENTIALS_BYTES_MAX: usize = 1024;

/// All that an answer may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plain<'a> {
    /// HEAD, otherwise GET.
    pub is_head: bool,
    /// Path and query, as they were sent.
    pub target: &'a [u8],
    /// The If-None-Match field; empty if there is none.
    pub none_match: &'a [u8],
    pub credentials: Credentials<'a>,
}

/// The Authorization field, if it is of the scheme Basic (RFC 7617); empty if there is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Credentials<'a>(pub &'a [u8]);

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "some" })
    }
}

/// What the begin of a connection's bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin<'a> {
    /// A plain request, and how many bytes it has; what follows is another one.
    Plain(Plain<'a>, usize),
    /// More bytes have to come before anything can be said.
    Partial,
    /// Not for us to judge, whatever follows.
    Other,
}

/// Looks at the begin of `bytes`. A head with more than `headers_max` fields is not plain.
pub fn begin(bytes: &[u8], headers_max: usize) -> Begin<'_> {
    // RFC 9112 section 2.2 lets a server skip empty lines before a request; that is left to hyper.
    if !b"GET /".starts_with(&bytes[..bytes.len().min(5)]) && !b"HEAD /".starts_with(&bytes[..bytes.len().min(6)]) {
        return Begin::Other;
    }
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; PLAIN_HEADERS_MAX];
    let mut head = httparse::Request::new(&mut []);
    let length = match head.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) if length <= PLAIN_HEAD_BYTES_MAX => length,
        Ok(httparse::Status::Partial) if bytes.len() < PLAIN_HEAD_BYTES_MAX => return Begin::Partial,
        _ => return Begin::Other,
    };
    if head.version != Some(1) || head.headers.len() > headers_max || !has_plain_lines(&bytes[..length]) {
        return Begin::Other;
    }
    let is_head = match head.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Begin::Other,
    };
    let target = head.path.unwrap_or_default().as_bytes();
    match fields_of(head.headers.iter().map(|field| (field.name, field.value))) {
        Some((none_match, credentials)) if is_plain_target(target) => {
            Begin::Plain(Plain { is_head, target, none_match, credentials }, length)
        }
        _ => Begin::Other,
    }
}

/// The values of a header field, in their order, of a head that is plain.
pub(super) fn values<'a>(head: &'a [u8], name: &str) -> Vec<&'a [u8]> {
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; PLAIN_HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, &mut fields) {
        Ok(_) => {
            let named = parsed.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
            named.map(|field| field.value).collect()
        }
        Err(_) => Vec::new(),
    }
}

impl<'a> Plain<'a> {
    /// The same judgement of a request that hyper read.
    pub(super) fn of<B>(request: &'a Request<B>) -> Option<Self> {
        let is_head = match *request.method() {
            Method::GET => false,
            Method::HEAD => true,
            _ => return None,
        };
        let uri = request.uri();
        if request.version() != Version::HTTP_11 || uri.scheme().is_some() || uri.authority().is_some() {
            return None;
        }
        let target = uri.path_and_query()?.as_str().as_bytes();
        let fields = request.headers().iter().map(|(name, value)| (HeaderName::as_str(name), value.as_bytes()));
        let (none_match, credentials) = fields_of(fields)?;
        is_plain_target(target).then_some(Plain { is_head, target, none_match, credentials })
    }
}

/// Whether every line of a head ends with CRLF. Parsers may take a bare LF for one, and some do not.
fn has_plain_lines(head: &[u8]) -> bool {
    !head.starts_with(b"\n") && head.windows(2).all(|pair| pair[1] != b'\n' || pair[0] == b'\r')
}

/// Visible ASCII in origin form, and nothing of it a fragment.
fn is_plain_target(target: &[u8]) -> bool {
    target.starts_with(b"/") && target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#')
}

/// The If-None-Match and the Authorization of a request all of whose fields are plain, empty if it has none.
fn fields_of<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Option<(&'a [u8], Credentials<'a>)> {
    let mut hosts = 0;
    let mut tag: Option<&[u8]> = None;
    let mut credentials: Option<&[u8]> = None;
    for (name, value) in fields {
        match kind(name)? {
            Field::Inert => {}
            Field::Host => hosts += 1,
            Field::Connection if value.eq_ignore_ascii_case(b"keep-alive") => {}
            Field::NoneMatch if tag.is_none() && !value.is_empty() && value.len() <= TAG_BYTES_MAX => tag = Some(value),
            Field::Authorization if credentials.is_none() && is_basic(value) => credentials = Some(value),
            Field::Connection | Field::NoneMatch | Field::Authorization => return None,
        }
    }
    // RFC 9112 section 3.2: exactly one.
    (hosts == 1).then(|| (tag.unwrap_or_default(), Credentials(credentials.unwrap_or_default())))
}

/// Whether a field has a name and a password, as far as that can be seen without decoding them.
fn is_basic(value: &[u8]) -> bool {
    let is_text = value.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    let scheme = value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "));
    scheme && is_text && value.len() <= CREDENTIALS_BYTES_MAX
}

enum Field {
    Host,
    Connection,
    NoneMatch,
    Authorization,
    /// No answer of this server depends on it, and no server frames messages by it.
    Inert,
}

/// `None` for every field that is not known to be harmless.
fn kind(name: &str) -> Option<Field> {
    const INERT: [&str; 16] = [
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "forwarded",
        "traceparent",
        "tracestate",
        "user-agent",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-real-ip",
        "x-request-id",
    ];
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    match name.len() {
        4 if is("host") => Some(Field::Host),
        10 if is("connection") => Some(Field::Connection),
        13 if is("if-none-match") => Some(Field::NoneMatch),
        13 if is("authorization") => Some(Field::Authorization),
        _ => INERT.iter().any(|inert| is(inert)).then_some(Field::Inert),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(head: &str) -> Begin<'_> {
        begin(head.as_bytes(), 100)
    }

    #[test]
    fn what_clients_send_is_plain() {
        let head = "GET /v2/a/manifests/b?x=1 HTTP/1.1\r\nhost: a\r\nUser-Agent: x\r\nAccept: a/b\r\nAccept: c/d\r\n\
                    Connection: Keep-Alive\r\nIf-None-Match: \"sha256:00\"\r\n\r\n";
        let (target, none_match) = (b"/v2/a/manifests/b?x=1", b"\"sha256:00\"");
        let plain = Plain { is_head: false, target, none_match, credentials: Credentials::default() };
        assert_eq!(judged(head), Begin::Plain(plain, head.len()));
        let two = format!("{head}HEAD / HTTP/1.1\r\nHost: b\r\n\r\n");
        assert_eq!(judged(&two), Begin::Plain(plain, head.len()));
        for length in 0..head.len() {
            assert_eq!(judged(&head[..length]), Begin::Partial, "{length}");
        }
    }

    #[test]
    fn everything_else_is_not_for_us() {
        let of_fields = |fields: &str| format!("GET /v2/ HTTP/1.1\r\n{fields}\r\n");
        for head in [
            "\r\nGET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "get /v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "POST /v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET http://a/v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /v2/#a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /v2/ HTTP/1.0\r\nHost: a\r\n\r\n".to_owned(),
            "GET /v2/ HTTP/1.1\nHost: a\r\n\r\n".to_owned(),
            "GET /v2/ HTTP/1.1\r\nHost: a\n\r\n".to_owned(),
            "GET /v2/ HTTP/1.1\r\nHost: a\r\n\n".to_owned(),
            of_fields(""),
            of_fields("Host: a\r\nHost: a\r\n"),
            of_fields("Host : a\r\n"),
            of_fields("Host: a\r\nAccept: a\r\n folded\r\n"),
            of_fields("Host: a\r\nAccept: \0\r\n"),
            of_fields("Host: a\r\nContent-Length: 0\r\n"),
            of_fields("Host: a\r\nTransfer-Encoding: chunked\r\n"),
            of_fields("Host: a\r\nTransfer-Encoding\t: chunked\r\n"),
            of_fields("Host: a\r\nExpect: 100-continue\r\n"),
            of_fields("Host: a\r\nUpgrade: h2c\r\n"),
            of_fields("Host: a\r\nConnection: close\r\n"),
            of_fields("Host: a\r\nConnection: keep-alive, Accept\r\n"),
            of_fields("Host: a\r\nRange: bytes=0-1\r\n"),
            of_fields("Host: a\r\nIf-Range: a\r\n"),
            of_fields("Host: a\r\nAuthorization: Bearer eA==\r\n"),
            of_fields("Host: a\r\nAuthorization: Basic\r\n"),
            of_fields("Host: a\r\nAuthorization: Basic\teA==\r\n"),
            of_fields("Host: a\r\nAuthorization: Basic eA==\r\nAuthorization: Basic eA==\r\n"),
            of_fields(&format!("Host: a\r\nAuthorization: Basic {}\r\n", "a".repeat(CREDENTIALS_BYTES_MAX))),
            of_fields("Host: a\r\nCookie: a=b\r\n"),
            of_fields("Host: a\r\nX-Unknown: a\r\n"),
            of_fields("Host: a\r\nIf-None-Match: \"a\"\r\nIf-None-Match: \"b\"\r\n"),
            of_fields(&format!("Host: a\r\nIf-None-Match: {}\r\n", "a".repeat(TAG_BYTES_MAX + 1))),
            of_fields(&format!("Host: a\r\nAccept: {}\r\n", "a".repeat(PLAIN_HEAD_BYTES_MAX))),
            of_fields(&format!("Host: a\r\n{}", "Accept: a\r\n".repeat(PLAIN_HEADERS_MAX))),
        ] {
            assert_eq!(judged(&head), Begin::Other, "{head:?}");
        }
        assert_eq!(begin(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: b\r\n\r\n", 1), Begin::Other, "the server's own limit");
    }

    #[test]
    fn a_name_and_a_password_are_plain_and_not_shown() {
        let head = "GET /v2/ HTTP/1.1\r\nHost: a\r\nauthorization: bAsIc  c2VjcmV0\r\n\r\n";
        let Begin::Plain(plain, length) = judged(head) else { panic!("{:?}", judged(head)) };
        assert_eq!((plain.credentials.0, length), (&b"bAsIc  c2VjcmV0"[..], head.len()));
        assert!(!format!("{plain:?}").contains("c2Vj"), "{plain:?}");
    }

    #[test]
    fn a_head_that_is_never_complete_is_given_up() {
        let head = format!("GET /{}", "a".repeat(PLAIN_HEAD_BYTES_MAX));
        assert_eq!(judged(&head[..PLAIN_HEAD_BYTES_MAX - 1]), Begin::Partial);
        assert_eq!(judged(&head[..PLAIN_HEAD_BYTES_MAX]), Begin::Other);
    }
}
