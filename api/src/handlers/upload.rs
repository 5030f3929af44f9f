//! Uploads of blobs (spec, "Pushing blobs"). In: the body of a request as it arrives. Out: a session
//! that holds an exact prefix, or a durable blob. Only a request that is a whole upload by itself
//! leaves nothing when it fails; every other one can be resumed from what the session reports.

use http::{
    HeaderMap, Response, StatusCode,
    header::{CONTENT_RANGE, LOCATION, RANGE},
};
use http_body_util::BodyExt;
use orlop_engine::{Algorithm, Digest, Error, Sealed, Upload, UploadId};

use super::{
    error_map::{Failure, Outcome},
    incoming::{self, Incoming},
    reply,
    scope::{self, Scope},
};
use crate::{
    body::ResponseBody,
    protocol::{
        ErrorCode, Query, Repository,
        query::Mount,
        upload_range::{self, UploadRangeError},
    },
};

/// Content of a size that nobody told has at least so many bytes, as far as quotas are concerned.
const UNKNOWN_BYTES_MIN: u64 = 1;

/// A stream whose length nobody told is compared with the quotas each time that so many bytes of it came.
const UNKNOWN_BYTES_STEP: u64 = 1 << 20;

/// `POST /v2/<name>/blobs/uploads/`: a mount, a whole upload, or a new session, as the query says.
pub async fn start(scope: &Scope<'_>, query: &Query<'_>, headers: &HeaderMap, body: &mut impl Incoming) -> Outcome {
    if let Some(mount) = query.mount()?
        && let Some(response) = take_over(scope, mount).await?
    {
        return Ok(response);
    }
    if let Some(digest) = query.digest()? {
        return monolithic(scope, digest, headers, body).await;
    }
    room_for(scope, UNKNOWN_BYTES_MIN, None).await?;
    let algorithm = query.algorithm()?.unwrap_or(Algorithm::Sha256);
    let id = scope.begin(algorithm).await?;
    Ok(progress(StatusCode::ACCEPTED, scope.repository, id, 0))
}

/// Makes a blob of another repository a member of this one. `None` if there is nothing to mount:
/// the spec wants a session then, so that the client can send the content. A repository that the
/// client may not read has nothing to mount, as far as he is told.
async fn take_over(scope: &Scope<'_>, mount: Mount) -> Outcome<Option<Response<ResponseBody>>> {
    let Mount { digest, from } = mount;
    let from = from.iter().map(scope::namespace).collect();
    let batch = scope.batch().mount(digest, from);
    match scope.engine.commit(batch).await {
        Ok(_receipt) => Ok(Some(created(scope.repository, &digest))),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(Failure::blob(error)),
    }
}

/// The whole upload in one request. Nothing of it is left unless all of it is right.
async fn monolithic(scope: &Scope<'_>, digest: Digest, headers: &HeaderMap, body: &mut impl Incoming) -> Outcome {
    let length = incoming::content_length(headers);
    room_for(scope, length.unwrap_or(UNKNOWN_BYTES_MIN), Some(&digest)).await?;
    let id = scope.begin(digest.algorithm()).await?;
    let upload = scope.engine.resume(scope.uploads(), id).await.map_err(Failure::blob)?;
    let mut whole = Whole(Some(upload));
    let upload = whole.upload();
    upload.announce(length, Some(digest)).await.map_err(Failure::blob)?;
    receive(scope, upload, body, length, Some(&digest)).await.map_err(Stop::failure)?;
    let sealed = whole.into_upload().seal(&digest).await.map_err(Failure::blob)?;
    store(scope, sealed, &digest).await
}

/// `PATCH <location>`: a chunk with its place, or a stream that continues where the session is.
pub async fn append(scope: &Scope<'_>, id: &str, headers: &HeaderMap, body: &mut impl Incoming) -> Outcome {
    let mut session = Session::take(scope, id).await?;
    // More may follow, but mostly a blob is one PATCH: its space is reserved in one piece.
    let total = incoming::content_length(headers).and_then(|length| session.upload.offset().checked_add(length));
    let expected = total.unwrap_or_else(|| session.upload.offset().saturating_add(UNKNOWN_BYTES_MIN));
    if let Err(failure) = room_for(scope, expected, None).await {
        let offset = session.upload.suspend();
        return Err(at(failure, scope.repository, session.id, offset));
    }
    session.upload.announce(total, None).await.map_err(Failure::blob)?;
    let received = session.receive(scope, headers, body, None).await;
    if let Err(Stop::Over(failure)) = received {
        session.upload.abandon().await.map_err(Failure::blob)?;
        return Err(failure);
    }
    // The session is put down first in every case: the answer below reports what is safe.
    let offset = session.upload.suspend();
    match received {
        Ok(()) => Ok(progress(StatusCode::ACCEPTED, scope.repository, session.id, offset)),
        Err(stop) => Err(at(stop.failure(), scope.repository, session.id, offset)),
    }
}

/// `PUT <location>?digest=`: the last bytes, if there are any, and the proof.
pub async fn finish(
    scope: &Scope<'_>,
    id: &str,
    query: &Query<'_>,
    headers: &HeaderMap,
    body: &mut impl Incoming,
) -> Outcome {
    let digest = query.digest()?.ok_or_else(|| {
        Failure::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::DigestInvalid,
            "the request that ends an upload needs the blob's digest: add ?digest=ALGORITHM:HEX",
        )
    })?;
    let mut session = Session::take(scope, id).await?;
    let total = incoming::content_length(headers).and_then(|length| session.upload.offset().checked_add(length));
    if let Err(failure) = room_for(scope, total.unwrap_or(session.upload.offset()), Some(&digest)).await {
        // As when the commit refuses it: the session is over, and its space is free.
        session.upload.abandon().await.map_err(Failure::blob)?;
        return Err(failure);
    }
    session.upload.announce(total, Some(digest)).await.map_err(Failure::blob)?;
    match session.receive(scope, headers, body, Some(&digest)).await {
        Ok(()) => {}
        Err(Stop::Over(failure)) => {
            session.upload.abandon().await.map_err(Failure::blob)?;
            return Err(failure);
        }
        Err(Stop::Broken(failure)) => {
            let offset = session.upload.suspend();
            return Err(at(failure, scope.repository, session.id, offset));
        }
    }
    let sealed = session.upload.seal(&digest).await.map_err(Failure::blob)?;
    store(scope, sealed, &digest).await
}

/// `GET <location>`: how far the session is.
pub async fn status(scope: &Scope<'_>, id: &str) -> Outcome {
    let id = parse(id)?;
    let status = scope.engine.upload_status(scope.uploads(), id).await.map_err(Failure::blob)?;
    Ok(progress(StatusCode::NO_CONTENT, scope.repository, id, status.offset))
}

/// `DELETE <location>`: the client gives up; the space is returned.
pub async fn cancel(scope: &Scope<'_>, id: &str) -> Outcome {
    let id = parse(id)?;
    match scope.engine.cancel(scope.uploads(), id).await {
        Ok(()) => Ok(reply::empty(StatusCode::NO_CONTENT)),
        Err(error @ Error::Busy) => {
            Err(Failure::new(StatusCode::CONFLICT, ErrorCode::BlobUploadInvalid, error.to_string()))
        }
        Err(error) => Err(Failure::blob(error)),
    }
}

/// A session with this request as its only writer.
struct Session {
    id: UploadId,
    upload: Upload,
}

impl Session {
    async fn take(scope: &Scope<'_>, id: &str) -> Outcome<Self> {
        let id = parse(id)?;
        match scope.engine.resume(scope.uploads(), id).await {
            Ok(upload) => Ok(Session { id, upload }),
            Err(Error::Busy) => {
                let status = scope.engine.upload_status(scope.uploads(), id).await.map_err(Failure::blob)?;
                Err(at(Failure::blob(Error::Busy), scope.repository, id, status.offset))
            }
            Err(error) => Err(Failure::blob(error)),
        }
    }

    /// Takes the body in, after checking that its announced place is the next one.
    async fn receive(
        &mut self,
        scope: &Scope<'_>,
        headers: &HeaderMap,
        body: &mut impl Incoming,
        digest: Option<&Digest>,
    ) -> Result<(), Stop> {
        let bytes = self.announced(headers)?;
        receive(scope, &mut self.upload, body, bytes, digest).await
    }

    /// The length of the body, if headers tell it. Errors: they name another place than the next one.
    fn announced(&self, headers: &HeaderMap) -> Outcome<Option<u64>> {
        let length = incoming::content_length(headers);
        let Some(range) = headers.get(CONTENT_RANGE) else { return Ok(length) };
        let range = range.to_str().map_err(|_| UploadRangeError::Syntax)?;
        let range = upload_range::parse_with_length(range, length)?;
        let offset = self.upload.offset();
        match range.start == offset {
            true => Ok(Some(range.len())),
            false => Err(Failure::blob(Error::OutOfOrder { expected: offset, found: range.start })),
        }
    }
}

/// Why a body was not taken to its end.
enum Stop {
    /// What came before it can be gone on from.
    Broken(Failure),
    /// There is no room for what came, or it is lost, and so nothing can follow: the session is over.
    Over(Failure),
}

impl Stop {
    fn failure(self) -> Failure {
        match self {
            Stop::Broken(failure) | Stop::Over(failure) => failure,
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Broken(failure)
    }
}

/// Appends the body to the upload, frame by frame, without holding more than one. Every byte that
/// was appended stays, whatever happens after it. `announced` is the length of this body in bytes; one of
/// unknown length is cut when what came of it has no room.
async fn receive(
    scope: &Scope<'_>,
    upload: &mut Upload,
    body: &mut impl Incoming,
    announced: Option<u64>,
    digest: Option<&Digest>,
) -> Result<(), Stop> {
    let mut received: u64 = 0;
    let mut next_look = UNKNOWN_BYTES_STEP;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(incoming::broken)?.into_data() else { continue };
        received += data.len() as u64;
        if announced.is_some_and(|announced| received > announced) {
            return Err(wrong_length().into());
        }
        if let Err(error) = upload.append(&data).await {
            let failure = Failure::blob(error);
            return Err(if upload.is_broken() { Stop::Over(failure) } else { Stop::Broken(failure) });
        }
        if announced.is_none() && received >= next_look {
            next_look = received + UNKNOWN_BYTES_STEP;
            room_for(scope, upload.offset(), digest).await.map_err(Stop::Over)?;
        }
    }
    match announced {
        Some(announced) if announced != received => Err(wrong_length().into()),
        _ => Ok(()),
    }
}

fn wrong_length() -> Failure {
    Failure::new(
        StatusCode::BAD_REQUEST,
        ErrorCode::SizeInvalid,
        "the body does not have the announced length; ask for the upload's status and resume from there",
    )
}

/// A whole upload in one request: discarded unless it is taken out. Dropping the request's future,
/// which is what a closed connection does, must not leave a session that nobody knows of.
struct Whole(Option<Upload>);

impl Whole {
    fn upload(&mut self) -> &mut Upload {
        self.0.as_mut().expect("taken only by into_upload, which consumes self")
    }

    fn into_upload(mut self) -> Upload {
        self.0.take().expect("taken only here, and self is consumed")
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        let Some(upload) = self.0.take() else { return };
        // Without a runtime the process is ending, and the next start discards the session.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = upload.abandon().await {
                    tracing::warn!(%error, "a failed upload could not be discarded; it will expire");
                }
            });
        }
    }
}

/// Refuses what will not fit before the client sends it. Whether it fits is decided by the commit.
async fn room_for(scope: &Scope<'_>, bytes: u64, digest: Option<&Digest>) -> Outcome<()> {
    scope.engine.room_for(&scope.namespace, bytes, digest).await.map_err(Failure::blob)
}

async fn store(scope: &Scope<'_>, sealed: Sealed, digest: &Digest) -> Outcome {
    let batch = scope.batch().blob(sealed);
    let _receipt = scope.engine.commit(batch).await.map_err(Failure::blob)?;
    Ok(created(scope.repository, digest))
}

fn created(repository: &Repository, digest: &Digest) -> Response<ResponseBody> {
    let mut response = reply::empty(StatusCode::CREATED);
    response.headers_mut().insert(LOCATION, reply::text(format!("/v2/{repository}/blobs/{digest}")));
    response.headers_mut().insert(reply::DOCKER_CONTENT_DIGEST, reply::digest(digest));
    response
}

/// Where the upload goes on and how far it is.
fn progress(status: StatusCode, repository: &Repository, id: UploadId, offset: u64) -> Response<ResponseBody> {
    let mut response = reply::empty(status);
    describe(response.headers_mut(), repository, id, offset);
    response
}

fn at(failure: Failure, repository: &Repository, id: UploadId, offset: u64) -> Failure {
    failure.with_headers(|headers| describe(headers, repository, id, offset))
}

fn describe(headers: &mut HeaderMap, repository: &Repository, id: UploadId, offset: u64) {
    headers.insert(LOCATION, reply::text(format!("/v2/{repository}/blobs/uploads/{id}")));
    headers.insert(RANGE, reply::text(upload_range::received(offset)));
    headers.insert(reply::DOCKER_UPLOAD_UUID, reply::text(id.to_string()));
}

fn parse(id: &str) -> Outcome<UploadId> {
    id.parse().map_err(|_| {
        Failure::new(
            StatusCode::NOT_FOUND,
            ErrorCode::BlobUploadUnknown,
            "the repository has no such upload; begin one with POST",
        )
    })
}
