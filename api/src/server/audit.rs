//! Requests that change something, for who wants to know who did what.
//!
//! One event of the target [`TARGET`] for each POST, PUT, PATCH and DELETE that succeeded, failed in
//! the server, or was cut off before its answer: the last two may have taken effect. What was refused
//! changed nothing and is in the access log only, so that nobody fills a log with nonsense.

use std::net::IpAddr;

use http::{Method, StatusCode, Uri};

use crate::access::SubjectSlot;

/// Events of this target carry `subject`, `action`, `object`, `result`, `status` and `clientIP`.
const TARGET: &str = "orlop_api::audit";

/// Whoever has not said who he is.
const ANONYMOUS: &str = "anonymous";

/// Bytes of a path and query that are kept.
const OBJECT_BYTES_MAX: usize = 1024;

/// Parameters of queries whose values say what was changed. Others have no meaning here, and what clients put there
/// by mistake, such as a password, is nobody's to read.
const SHOWN: [&str; 6] = ["digest", "digest-algorithm", "from", "id", "mount", "tag"];

/// What stands for the values of others.
const HIDDEN: &str = "***";

/// A request under way that may change something. Says so once: when it is answered, or when it is
/// dropped without an answer.
pub(super) struct Audited {
    action: &'static str,
    object: String,
    client: IpAddr,
    /// Filled when it is known who sent the request.
    subject: SubjectSlot,
    is_told: bool,
}

impl Audited {
    /// `None` for methods that change nothing, and while nobody listens.
    pub(super) fn begin(method: &Method, uri: &Uri, client: IpAddr) -> Option<Self> {
        let action = match *method {
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            _ => return None,
        };
        if !tracing::enabled!(target: TARGET, tracing::Level::INFO) {
            return None;
        }
        let object = object(uri);
        let object = String::from_utf8_lossy(&object.as_bytes()[..object.len().min(OBJECT_BYTES_MAX)]).into_owned();
        Some(Audited { action, object, client, subject: SubjectSlot::default(), is_told: false })
    }

    /// Where it is to be written down who sent the request.
    pub(super) fn subject(&self) -> SubjectSlot {
        self.subject.clone()
    }

    pub(super) fn answered(mut self, status: StatusCode) {
        self.is_told = true;
        let result = match status {
            status if status.is_success() => "done",
            status if status.is_server_error() => "failed",
            _ => return,
        };
        self.tell(result, Some(status));
    }

    fn tell(&self, result: &'static str, status: Option<StatusCode>) {
        let Audited { action, object, client, .. } = self;
        let subject = self.subject.get();
        tracing::info!(
            target: TARGET,
            subject = subject.name().unwrap_or(ANONYMOUS),
            action,
            object,
            reason = "request",
            result,
            status = status.map(|status| u64::from(status.as_u16())),
            clientIP = %client,
        );
    }
}

/// Path and query, with the values that say something.
fn object(uri: &Uri) -> String {
    let mut object = uri.path().to_owned();
    for (index, parameter) in uri.query().into_iter().flat_map(|query| query.split('&')).enumerate() {
        object.push(if index == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, _)) if !SHOWN.contains(&name) => object.extend([name, "=", HIDDEN]),
            // What has no name may be a value.
            None if !parameter.is_empty() => object.push_str(HIDDEN),
            _ => object.push_str(parameter),
        }
        if object.len() > OBJECT_BYTES_MAX {
            break;
        }
    }
    object
}

impl Drop for Audited {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell("aborted", None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fmt,
        sync::{Arc, Mutex},
    };

    use tracing::{
        Event, Metadata, Subscriber,
        field::{Field, Visit},
        span,
    };

    use super::*;
    use crate::access::Subject;

    /// Keeps the fields of events as text.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    #[derive(Default)]
    struct Fields(String);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0 += &format!("{}={value:?} ", field.name());
        }
    }

    impl Subscriber for Kept {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            self.0.lock().expect("no panic").push(fields.0);
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn what_changes_something_or_may_have_is_told_once() {
        let kept = Kept::default();
        let begin = |method: Method, uri: &str| {
            Audited::begin(&method, &uri.parse().expect("a URI"), IpAddr::from([192, 0, 2, 1]))
        };
        tracing::subscriber::with_default(kept.clone(), || {
            let audited = |method| begin(method, "/v2/a/manifests/x?tag=y").expect("it may change something");
            audited(Method::PUT).answered(StatusCode::CREATED);
            audited(Method::DELETE).answered(StatusCode::NOT_FOUND);
            audited(Method::POST).answered(StatusCode::FORBIDDEN);
            audited(Method::PATCH).answered(StatusCode::INTERNAL_SERVER_ERROR);
            let named = audited(Method::DELETE);
            named.subject().set(&Subject::user("alice\n", Vec::new()));
            drop(named);
            assert!(begin(Method::GET, "/v2/").is_none() && begin(Method::HEAD, "/v2/").is_none());
            let long = begin(Method::PUT, &format!("/v2/{}", "a".repeat(5000))).expect("it may change something");
            assert_eq!(long.object.len(), OBJECT_BYTES_MAX);
            long.answered(StatusCode::NOT_FOUND);
        });
        for (uri, shown) in [
            ("/v2/a/blobs/uploads/?digest=sha256:00&password=x", "/v2/a/blobs/uploads/?digest=sha256:00&password=***"),
            ("/v2/a/blobs/uploads/?a:secret&from=b", "/v2/a/blobs/uploads/?***&from=b"),
            ("/v2/a?&tag=", "/v2/a?&tag="),
        ] {
            assert_eq!(object(&uri.parse().expect("a URI")), shown);
        }
        let kept = kept.0.lock().expect("no panic").clone();
        let expected = [
            ("anonymous", "PUT", "done", "status=201 "),
            ("anonymous", "PATCH", "failed", "status=500 "),
            ("alice\n", "DELETE", "aborted", ""),
        ];
        let expected = expected.map(|(subject, action, result, status)| {
            format!(
                "subject={subject:?} action=\"{action}\" object=\"/v2/a/manifests/x?tag=y\" reason=\"request\" \
                 result=\"{result}\" {status}clientIP=192.0.2.1 "
            )
        });
        assert_eq!(kept, expected);
        assert!(begin(Method::PUT, "/").is_none(), "nobody listens any more");
    }
}
