//! What clients do wrong, by mistake or on purpose: it must not change anything.

use http::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{
    Key,
    worker::{Step, Worker},
};
use crate::{
    http::{Failure, empty, full, request, request_with},
    repository::{IMAGE_MANIFEST, with_query},
    stream::sha256,
};

impl Worker {
    pub(super) async fn be_hostile(&mut self) -> Step {
        match self.random.below(6) {
            0 => self.lie_about_digest().await,
            1 => self.send_too_little().await,
            2 => self.cut_chunk().await,
            3 => self.leave_gap().await,
            4 => self.use_foreign_session().await,
            _ => self.name_what_is_not_there().await,
        }
    }

    /// Knowing or guessing a digest is no proof of having the bytes.
    async fn lie_about_digest(&mut self) -> Step {
        let (repository, content) = (self.repository(), self.choose_content());
        let claimed = sha256(format!("never pushed {} {}", self.number, self.operation).as_bytes());
        let path = format!("/v2/{repository}/blobs/uploads/?digest={claimed}");
        self.expect(request(Method::POST, &path, full(content.bytes())), 400).await?;
        self.call(Method::HEAD, &format!("/v2/{repository}/blobs/{claimed}"), 404).await?;
        // With a session it ends the session.
        let session = self.begin(&repository, content).await?;
        self.note(super::Event::Ended { session: session.clone() });
        let close = with_query(&session, &format!("digest={claimed}"));
        self.expect(request(Method::PUT, &close, full(content.bytes())), 400).await?;
        self.call(Method::HEAD, &format!("/v2/{repository}/blobs/{claimed}"), 404).await.map(drop)
    }

    /// A whole push whose connection breaks in the middle leaves nothing.
    async fn send_too_little(&mut self) -> Step {
        let (repository, content) = (self.repository(), self.choose_content());
        let digest = content.digest();
        let sent = content.length / 2;
        let head = format!(
            "POST /v2/{repository}/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: registry\r\ncontent-length: {}\r\n\r\n",
            content.length + 1
        );
        self.send_and_cut(&head, &content.range(0..sent)).await?;
        self.check(&Key::Blob(repository, digest)).await
    }

    /// A chunk whose connection breaks in the middle costs what had not arrived.
    async fn cut_chunk(&mut self) -> Step {
        if !self.has_room_for_session() {
            return Ok(());
        }
        let (repository, content) = (self.repository(), self.choose_content());
        let session = self.begin(&repository, content).await?;
        let sent = self.random.below(content.length + 1);
        self.sending(&session, &repository, content, sent);
        let length = content.length + 1;
        let head = format!("PATCH {session} HTTP/1.1\r\nhost: registry\r\ncontent-length: {length}\r\n\r\n");
        self.send_and_cut(&head, &content.range(0..sent)).await
    }

    async fn send_and_cut(&mut self, head: &str, bytes: &[u8]) -> Step {
        let sent = async {
            let mut stream = self.client.connect().await?;
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        match sent.await {
            Ok(()) => Ok(()),
            // A registry that is full may answer and close before it has taken everything.
            Err(_) if self.world.may_be_full || self.may_fail() => Ok(()),
            Err(error) => Err(self.no_answer(head.lines().next().unwrap_or_default(), &Failure::Io(error))),
        }
    }

    /// A chunk that is not the next one changes nothing.
    async fn leave_gap(&mut self) -> Step {
        let (repository, content) = (self.repository(), self.choose_content());
        let session = self.begin(&repository, content).await?;
        let request = request_with(Method::PATCH, &session, ("content-range", "5-9"), full("12345"));
        let answer = self.expect(request, 416).await?;
        if self.received(&session, &answer)? != 0 {
            return Err(self.broken(format!("PATCH {session} after a gap: {answer:?}")));
        }
        self.drop_session(&session).await
    }

    /// A session exists only in its repository.
    async fn use_foreign_session(&mut self) -> Step {
        let (repository, content) = (self.repository(), self.choose_content());
        let session = self.begin(&repository, content).await?;
        let foreign = session.replacen(&format!("/{repository}/"), "/verify/nobody/", 1);
        self.call(Method::GET, &foreign, 404).await?;
        self.expect(request(Method::PATCH, &foreign, full("bytes")), 404).await?;
        self.expect(request(Method::DELETE, &foreign, empty()), 404).await?;
        let close = with_query(&foreign, &format!("digest={}", content.digest()));
        self.expect(request(Method::PUT, &close, full(content.bytes())), 404).await?;
        self.drop_session(&session).await
    }

    /// A manifest does not bring in what the repository does not have.
    async fn name_what_is_not_there(&mut self) -> Step {
        let repository = self.repository();
        let Some(mut value) = self.image(&repository) else { return Ok(()) };
        let missing = sha256(format!("missing {} {}", self.number, self.operation).as_bytes());
        value["layers"] = json!([{ "mediaType": "application/octet-stream", "digest": missing, "size": 7 }]);
        let text = value.to_string();
        let path = format!("/v2/{repository}/manifests/{}", sha256(text.as_bytes()));
        let request = request_with(Method::PUT, &path, ("content-type", IMAGE_MANIFEST), full(text));
        self.expect(request, 400).await?;
        self.call(Method::GET, &path, 404).await.map(drop)
    }
}
