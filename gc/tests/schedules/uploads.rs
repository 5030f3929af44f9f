//! Writers of uploads: one at a time, whoever else would like to.

use std::time::Duration;

use bytes::Bytes;
use orlop_engine::{Algorithm, Batch, Engine, Error, Namespace, UploadId};

use crate::{common::*, stage::*};

/// Content of so many bytes.
fn long(length: usize) -> Bytes {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// What writers of one upload may meet.
fn is_expected(error: &Error) -> bool {
    matches!(error, Error::Busy | Error::NotFound { .. } | Error::DigestMismatch { .. })
}

/// Brings an upload to its end from where it stands, or says why not.
async fn finish(engine: &Engine, ns: &Namespace, id: UploadId, content: &[u8]) -> Result<(), Error> {
    let mut upload = engine.resume(ns, id).await?;
    let offset = usize::try_from(upload.offset()).expect("no more than was sent");
    upload.append(&content[offset..]).await?;
    let sealed = upload.seal(&digest_of(content)).await?;
    engine.commit(Batch::new(ns.clone()).blob(sealed)).await.map(drop)
}

/// Two writers and one who gives it up meet at an upload: one of them gets it, and no byte is mixed.
pub async fn writers(seed: u64) -> Turn {
    let parts = ground(seed);
    let engine = open(&parts).await?;
    let (ns, whole) = (namespace("a"), content(1));
    let id = engine.begin(&ns, Algorithm::Sha256).await.map_err(|error| error.to_string())?;
    let writer = |first: usize| {
        let (engine, ns, whole) = (engine.clone(), ns.clone(), whole.clone());
        async move {
            // A piece first, whose client then goes away.
            match engine.resume(&ns, id).await {
                Ok(mut upload) => {
                    let offset = upload.offset() as usize;
                    let end = (offset + first).min(whole.len());
                    upload.append(&whole[offset..end]).await.map_err(|error| format!("a piece: {error}"))?;
                    upload.suspend();
                }
                Err(error) if is_expected(&error) => {}
                Err(error) => return Err(format!("resuming: {error}")),
            }
            match finish(&engine, &ns, id, &whole).await {
                Ok(()) => match pull(&engine, &ns, &digest_of(&whole)).await {
                    Ok(pulled) if pulled == whole => Ok(()),
                    other => Err(format!("it was taken and is {other:?}")),
                },
                Err(Error::DigestMismatch { .. }) => Err("bytes of two writers were mixed".to_owned()),
                Err(error) if is_expected(&error) => Ok(()),
                Err(error) => Err(format!("finishing: {error}")),
            }
        }
    };
    let cancelling = {
        let (engine, ns) = (engine.clone(), ns.clone());
        async move {
            match engine.cancel(&ns, id).await {
                Ok(()) => Ok(()),
                Err(error) if is_expected(&error) => Ok(()),
                Err(error) => Err(format!("cancelling: {error}")),
            }
        }
    };
    together(vec![part(writer(3)), part(writer(200)), part(cancelling)]).await?;
    match finish(&engine, &ns, id, &whole).await {
        Ok(()) | Err(Error::NotFound { .. }) => {}
        Err(error) => return Err(format!("nobody writes any more: {error}")),
    }
    if engine.uploads_open() != 0 {
        return Err(format!("{} uploads are left", engine.uploads_open()));
    }
    end(&parts, engine).await
}

/// Three clients push the same content at the same time, to two namespaces: there is one file, and all have it.
pub async fn same_content(seed: u64) -> Turn {
    let parts = ground(seed);
    let engine = open(&parts).await?;
    let client = |number: u64| {
        let (engine, ns) = (engine.clone(), namespace(if number == 0 { "a" } else { "b" }));
        async move {
            let digest = digest_of(&content(1));
            let pushed = if number == 1 {
                // Without having said what will come.
                let id = engine.begin(&ns, Algorithm::Sha256).await.map_err(|error| error.to_string())?;
                finish(&engine, &ns, id, &content(1)).await
            } else {
                push(&engine, &ns, &content(1)).await.map(drop)
            };
            pushed.map_err(|error| format!("client {number}: {error}"))?;
            match pull(&engine, &ns, &digest).await {
                Ok(pulled) if pulled == content(1) => Ok(()),
                other => Err(format!("client {number} pushed it, and it is {other:?}")),
            }
        }
    };
    together((0..3).map(client).collect()).await?;
    let stored = engine.statistics().blobs_stored;
    if stored != 1 {
        return Err(format!("{stored} files were placed for one content"));
    }
    end(&parts, engine).await
}

/// An upload is written down, and perhaps given up, while its client comes back to it.
pub async fn quiet(seed: u64) -> Turn {
    let mut parts = ground(seed);
    parts.options.upload_settle = Duration::ZERO;
    parts.options.checkpoint_bytes = 5000;
    let engine = open(&parts).await?;
    let (ns, whole) = (namespace("a"), long(9000));
    let id = engine.begin(&ns, Algorithm::Sha256).await.map_err(|error| error.to_string())?;
    let client = {
        let (engine, ns, whole) = (engine.clone(), ns.clone(), whole.clone());
        async move {
            for sent in [100, 6000] {
                match engine.resume(&ns, id).await {
                    Ok(mut upload) => {
                        let offset = upload.offset() as usize;
                        upload.append(&whole[offset..sent]).await.map_err(|error| format!("a piece: {error}"))?;
                        upload.suspend();
                    }
                    Err(Error::NotFound { .. }) => return Ok(()),
                    Err(error) => return Err(format!("resuming: {error}")),
                }
                match engine.upload_status(&ns, id).await {
                    Ok(status) if status.offset == sent as u64 => {}
                    Err(Error::NotFound { .. }) => return Ok(()),
                    other => return Err(format!("{sent} bytes were taken, it says {other:?}")),
                }
            }
            match finish(&engine, &ns, id, &whole).await {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(format!("finishing: {error}")),
            }
        }
    };
    let discarding = {
        let engine = engine.clone();
        async move {
            advance(&engine, 2).await;
            for upload in engine.quiet_uploads(0) {
                engine.discard_quiet_upload(upload.id, 0).await.map_err(|error| format!("discarding: {error}"))?;
            }
            Ok(())
        }
    };
    together(vec![part(client), part(discarding)]).await?;
    if let Ok(pulled) = pull(&engine, &ns, &digest_of(&whole)).await
        && pulled != whole
    {
        return Err("it was taken, and has wrong bytes".to_owned());
    }
    end(&parts, engine).await
}

pub fn quiet_boxed(seed: u64) -> Part {
    Box::pin(quiet(seed))
}

/// Uploads are hashed by two threads, in pieces, and some clients go away in the middle.
pub async fn hash_threads(seed: u64) -> Turn {
    let mut parts = ground(seed);
    parts.options.hash_threads = 2;
    parts.options.checkpoint_bytes = 30_000;
    let engine = open(&parts).await?;
    let client = |number: usize| {
        let engine = engine.clone();
        async move {
            let (ns, whole) = (namespace("a"), long(70_000 + number));
            let begun = engine.begin(&ns, Algorithm::Sha256).await;
            let id = begun.map_err(|error| error.to_string())?;
            let mut upload = engine.resume(&ns, id).await.map_err(|error| error.to_string())?;
            for piece in whole[..40_000].chunks(20_000) {
                upload.append(piece).await.map_err(|error| format!("a piece: {error}"))?;
            }
            let taken = upload.offset();
            // Its client is gone, while threads hash what it sent.
            drop(upload);
            let status = engine.upload_status(&ns, id).await.map_err(|error| error.to_string())?;
            if status.offset != taken {
                return Err(format!("{taken} bytes were taken, it says {}", status.offset));
            }
            finish(&engine, &ns, id, &whole).await.map_err(|error| format!("client {number}: {error}"))?;
            match pull(&engine, &ns, &digest_of(&whole)).await {
                Ok(pulled) if pulled == whole => Ok(()),
                other => Err(format!("client {number} pushed it, and it is {:?}", other.map(|bytes| bytes.len()))),
            }
        }
    };
    together((0..2).map(client).collect()).await?;
    end(&parts, engine).await
}
