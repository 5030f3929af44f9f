//! Every way a blob can come in.

use std::{ops::Range, time::Instant};

use http::Method;

use super::{
    Change, Content, Event, Key,
    facts::Session,
    worker::{SESSIONS_MAX, Step, Worker, choose_shared, repository},
};
use crate::{
    Answer,
    http::{full, request, request_with},
    process::PATIENCE,
    repository::with_query,
};

/// Says where the bytes of a chunk belong.
const PLACE: &str = "content-range";

impl Worker {
    /// `POST` without a digest, `PUT` with everything.
    pub(super) async fn push_by_session(&mut self) -> Step {
        let (repository, content) = (self.repository(), self.choose_content());
        let session = self.begin(&repository, content).await?;
        self.finish(&session, content, 0).await
    }

    /// `POST` with the digest and everything.
    pub(super) async fn push_at_once(&mut self) -> Step {
        let (repository, content) = (self.repository(), self.choose_content());
        let path = format!("/v2/{repository}/blobs/uploads/?digest={}", content.digest());
        let request = request(Method::POST, &path, full(content.bytes()));
        self.change(Change::Blob { repository, content }, request, &[201], &[]).await.map(drop)
    }

    /// `POST`, several `PATCH`es with or without their place, `PUT`.
    pub(super) async fn push_in_chunks(&mut self) -> Step {
        let (repository, content) = (self.repository(), self.choose_content());
        let session = self.begin(&repository, content).await?;
        let end = self.send_chunks(&session, content, content.length).await?;
        self.finish(&session, content, end).await
    }

    /// An upload that its client leaves in the middle.
    pub(super) async fn leave_open(&mut self) -> Step {
        let (repository, content) = (self.repository(), self.choose_content());
        let session = self.begin(&repository, content).await?;
        let end = self.random.below(content.length + 1);
        self.send_chunks(&session, content, end).await.map(drop)
    }

    /// Takes up an upload and brings it to its end.
    pub(super) async fn resume_any(&mut self) -> Step {
        let count = self.facts.sessions().len() as u64;
        let chosen = self.random.below(count.max(1)) as usize;
        let Some((path, session)) = self.facts.sessions().iter().nth(chosen) else { return Ok(()) };
        let (path, session) = (path.clone(), session.clone());
        // Without a crash it must be there, unless its last request may have ended it.
        self.resume(&path, &session, self.world.may_be_full || self.may_fail()).await
    }

    /// The session has an exact prefix of what was sent, or, if it may be lost, is unknown.
    pub(super) async fn resume(&mut self, path: &str, session: &Session, may_be_lost: bool) -> Step {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Some(offset) = self.when_free(path).await? else {
                if !may_be_lost {
                    return Err(self.broken(format!("{path} is lost, though nothing was the matter")));
                }
                self.note(Event::Ended { session: path.to_owned() });
                return Ok(());
            };
            // What was asked for here before and met the end of a chunk counts as sent.
            let sent = self.facts.sessions().get(path).map_or(session.sent, |known| known.sent);
            if offset > sent {
                return Err(self.broken(format!("{path}: {offset} bytes of {sent} that were sent")));
            }
            // `0-0` stands for none and for one. Of the two the wrong place is refused.
            let offsets: &[u64] = if offset == 1 { &[0, 1] } else { &[offset] };
            for offset in offsets {
                if self.finish_at(path, session.content, *offset).await? {
                    self.tally.resumed += 1;
                    return Ok(());
                }
            }
            if Instant::now() > deadline {
                return Err(self.broken(format!("{path} is never free")));
            }
        }
    }

    /// Sends the rest with its place; the digest proves the prefix. False if that is not the place any
    /// more: a chunk whose connection was cut has come in after all.
    async fn finish_at(&mut self, path: &str, content: Content, offset: u64) -> Step<bool> {
        let repository = self.facts.sessions()[path].repository.clone();
        self.sending(path, &repository, content, content.length);
        self.note(Event::Asked(Change::Blob { repository, content }));
        let close = with_query(path, &format!("digest={}", content.digest()));
        let rest = offset..content.length;
        let body = full(content.range(rest.clone()));
        let request = match rest.is_empty() {
            true => request(Method::PUT, &close, body),
            false => request_with(Method::PUT, &close, (PLACE, &place(rest)), body),
        };
        match self.kept.send(request).await {
            Ok(answer) if answer.status == 201 => {
                self.note(Event::Done);
                self.tally.acknowledged += 1;
                self.note(Event::Ended { session: path.to_owned() });
                Ok(true)
            }
            Ok(answer) if answer.status == 416 => {
                self.note(Event::Refused);
                Ok(false)
            }
            Ok(answer) => Err(self.unexpected(&format!("PUT {close}"), &answer)),
            Err(failure) if self.is_dying() => Err(self.no_answer(&close, &failure)),
            // It was refused before its body was taken.
            Err(_) => self.settle().await.map(|()| false),
        }
    }

    /// How far a session is as soon as nobody writes to it any more; `None` if it is unknown. While
    /// the registry still reads from a connection that was cut, it refuses others.
    async fn when_free(&mut self, path: &str) -> Step<Option<u64>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.send(request(Method::PATCH, path, full(""))).await?;
            match answer.status.as_u16() {
                202 => return self.received(path, &answer).map(Some),
                404 => return Ok(None),
                416 if Instant::now() < deadline => {}
                _ => return Err(self.unexpected(&format!("PATCH {path}"), &answer)),
            }
        }
    }

    /// Content of one of its repositories must be mountable into the other.
    pub(super) async fn mount_own(&mut self) -> Step {
        let Some((Key::Blob(from, digest), _)) = self.choose(|key| matches!(key, Key::Blob(..))) else { return Ok(()) };
        let to = self.repository();
        let content = self.facts.content(&digest).expect("what is present was pushed");
        self.mount(&to, content, &from, &[201], &[]).await
    }

    /// Whether content of somebody else's is there nobody knows here.
    pub(super) async fn mount_foreign(&mut self) -> Step {
        let content = choose_shared(self.world.seed, &mut self.random);
        let other = self.random.below(self.world.workers);
        let (to, from) = (self.repository(), repository(other, "a"));
        self.mount(&to, content, &from, &[201], &[202]).await
    }

    async fn mount(&mut self, to: &str, content: Content, from: &str, done: &[u16], refused: &[u16]) -> Step {
        let path = format!("/v2/{to}/blobs/uploads/?mount={}&from={from}", content.digest());
        let change = Change::Blob { repository: to.to_owned(), content };
        let answer = self.change(change, request(Method::POST, &path, full("")), done, refused).await?;
        if answer.status == 202 {
            // A session instead: the client is to push.
            let session = answer.location();
            self.sending(&session, to, content, 0);
            return self.finish(&session, content, 0).await;
        }
        self.read_blob(to, content).await
    }

    /// Opens a session; from then on it is known that it may be there.
    pub(super) async fn begin(&mut self, repository: &str, content: Content) -> Step<String> {
        let answer = self.call(Method::POST, &format!("/v2/{repository}/blobs/uploads/"), 202).await?;
        let session = answer.location();
        self.sending(&session, repository, content, 0);
        Ok(session)
    }

    pub(super) fn sending(&mut self, session: &str, repository: &str, content: Content, end: u64) {
        let (session, repository) = (session.to_owned(), repository.to_owned());
        self.note(Event::Sending { session, repository, content, end });
    }

    /// Sends the bytes up to `end` in pieces; half of the time it says where they belong.
    async fn send_chunks(&mut self, session: &str, content: Content, end: u64) -> Step<u64> {
        let repository = self.facts.sessions()[session].repository.clone();
        let says_place = self.random.below(2) == 0;
        let mut at = 0;
        while at < end {
            let length = (end - at).min(1 + self.random.below(end / 2 + 1));
            self.sending(session, &repository, content, at + length);
            let piece = full(content.range(at..at + length));
            let request = match says_place {
                true => request_with(Method::PATCH, session, (PLACE, &place(at..at + length)), piece),
                false => request(Method::PATCH, session, piece),
            };
            let answer = self.expect(request, 202).await?;
            at += length;
            if self.received(session, &answer)? != at {
                return Err(self.broken(format!("PATCH {session}: {at} bytes were sent: {answer:?}")));
            }
        }
        Ok(end)
    }

    /// Sends what is missing, with or without its place, and the digest.
    async fn finish(&mut self, session: &str, content: Content, sent: u64) -> Step {
        let repository = self.facts.sessions()[session].repository.clone();
        self.sending(session, &repository, content, content.length);
        let close = with_query(session, &format!("digest={}", content.digest()));
        let rest = sent..content.length;
        let body = full(content.range(rest.clone()));
        let request = match rest.is_empty() || self.random.below(2) == 0 {
            true => request(Method::PUT, &close, body),
            false => request_with(Method::PUT, &close, (PLACE, &place(rest)), body),
        };
        self.change(Change::Blob { repository, content }, request, &[201], &[]).await?;
        self.note(Event::Ended { session: session.to_owned() });
        Ok(())
    }

    /// Bytes that an answer says the session has. `0-0` stands for none and for one.
    pub(super) fn received(&self, path: &str, answer: &Answer) -> Step<u64> {
        let last = answer.header("range").strip_prefix("0-").and_then(|last| last.parse::<u64>().ok());
        match last {
            // One byte more than it says is never asked for: a place that is wrong gets 416.
            Some(0) => Ok(self.facts.sessions().get(path).map_or(0, |session| u64::from(session.sent == 1))),
            Some(last) => Ok(last + 1),
            None => Err(self.broken(format!("{path}: no range in {answer:?}"))),
        }
    }

    /// Gives up one upload.
    pub(super) async fn cancel(&mut self) -> Step {
        let repository = self.repository();
        let content = self.choose_content();
        let session = self.begin(&repository, content).await?;
        let end = self.random.below(content.length + 1);
        self.send_chunks(&session, content, end).await?;
        self.note(Event::Ended { session: session.clone() });
        self.call(Method::DELETE, &session, 204).await?;
        self.call(Method::GET, &session, 404).await.map(drop)
    }

    /// Whether another upload may be left open.
    pub(super) fn has_room_for_session(&self) -> bool {
        self.facts.sessions().len() < SESSIONS_MAX
    }

    /// Ends an upload whose fate does not matter any more.
    pub(super) async fn drop_session(&mut self, path: &str) -> Step {
        let answer = self.send(request(Method::DELETE, path, crate::http::empty())).await?;
        match answer.status.as_u16() {
            204 | 404 => {
                self.note(Event::Ended { session: path.to_owned() });
                Ok(())
            }
            // Somebody still reads from a connection that was cut.
            409 => Ok(()),
            _ => Err(self.unexpected(&format!("DELETE {path}"), &answer)),
        }
    }
}

/// The value of the header that says where a piece belongs.
fn place(range: Range<u64>) -> String {
    format!("{}-{}", range.start, range.end - 1)
}
