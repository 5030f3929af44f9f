//! How answers about content can be given again. In: an answer, and what it rested on. Out: the same answer,
//! which says that it holds as long as the engine still knows the same, and what giving it again entails.
//!
//! The handlers decide what is answered, here is only how long. Whoever adds a condition to an answer that can
//! change without a change in the engine must not let it repeat, or ask for the condition in [`Again::again`].

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use orlop_engine::{Blob, Bookmark, Digest, Engine, Grounds, Namespace};

use super::scope::Scope;
use crate::{
    body::ResponseBody,
    pressure::Pressure,
    server::{Repeat, Repeatable, Repeated},
};

/// What is sent again.
pub enum Content {
    /// Nothing but the head.
    None(Grounds),
    Memory(Grounds, Bytes),
    /// What is read from memory, or from the file where it has left that.
    File(Bookmark),
}

impl Content {
    /// The head of an answer about a blob, if it may repeat.
    pub fn none(scope: &Scope<'_>, blob: &Blob) -> Option<Self> {
        scope.holders.is_some().then(|| Content::None(blob.grounds().clone()))
    }

    /// All of a blob, if it may repeat and sending it would begin at once.
    pub fn of(scope: &Scope<'_>, blob: &Blob) -> Option<Self> {
        scope.holders.as_ref()?;
        match blob.inline() {
            Some(bytes) => Some(Content::Memory(blob.grounds().clone(), bytes.clone())),
            None => blob.begins_in_memory().then(|| Content::File(blob.bookmark())),
        }
    }
}

struct Again {
    engine: Engine,
    pressure: Arc<Pressure>,
    content: Content,
    /// The document whose pull is counted.
    pulled: Option<(Namespace, Digest)>,
}

impl Repeat<ResponseBody> for Again {
    fn again(&self) -> Option<Repeated<ResponseBody>> {
        let body = match &self.content {
            Content::None(grounds) => self.engine.still_holds(grounds, 0).then(|| Repeated::Memory(Bytes::new())),
            Content::Memory(grounds, bytes) => {
                self.engine.still_holds(grounds, bytes.len() as u64).then(|| Repeated::Memory(bytes.clone()))
            }
            // Each of these holds what its client is slow to take; of the others all share one.
            Content::File(_) if self.pressure.is_highest() => None,
            Content::File(bookmark) => {
                self.engine.open_again(bookmark).and_then(ResponseBody::blob_in_memory).map(Repeated::Stream)
            }
        };
        if let (Some(_), Some((namespace, digest))) = (&body, &self.pulled) {
            self.engine.note_pull(namespace, digest);
        }
        body
    }

    fn bytes_kept(&self) -> usize {
        match &self.content {
            Content::Memory(_, bytes) => bytes.len(),
            Content::None(_) | Content::File(_) => 0,
        }
    }
}

/// An answer without a body.
pub fn bodiless(scope: &Scope<'_>, response: Response<ResponseBody>, grounds: &Grounds) -> Response<ResponseBody> {
    if scope.holders.is_none() {
        return response;
    }
    repeatable(scope, response, Content::None(grounds.clone()), None)
}

/// An answer with all of a blob.
pub fn whole(scope: &Scope<'_>, response: Response<ResponseBody>, content: Option<Content>) -> Response<ResponseBody> {
    match content {
        Some(content) => repeatable(scope, response, content, None),
        None => response,
    }
}

/// An answer to the pull of a document, which counts each time.
pub fn pull(
    scope: &Scope<'_>,
    response: Response<ResponseBody>,
    digest: &Digest,
    content: Option<Content>,
) -> Response<ResponseBody> {
    match content {
        Some(content) => repeatable(scope, response, content, Some((scope.namespace.clone(), *digest))),
        None => response,
    }
}

fn repeatable(
    scope: &Scope<'_>,
    mut response: Response<ResponseBody>,
    content: Content,
    pulled: Option<(Namespace, Digest)>,
) -> Response<ResponseBody> {
    let again = Again { engine: scope.engine.clone(), pressure: scope.pressure.clone(), content, pulled };
    if let Some(holders) = scope.holders.clone() {
        response.extensions_mut().insert(holders);
        response.extensions_mut().insert(Repeatable::<ResponseBody>(Arc::new(again)));
    }
    response
}
