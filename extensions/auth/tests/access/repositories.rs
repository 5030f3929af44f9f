//! What depends on what is stored: mounts, new and old tags, lists.

use crate::rig::{INDEX, Rig, document, login, sha256};

async fn mount(rig: &Rig, user: &str, to: &str, digest: &str, from: &str) -> u16 {
    let target = format!("/v2/{to}/blobs/uploads/?mount={digest}{from}");
    rig.as_user(user, "POST", &target, "").await.status.as_u16()
}

/// zot CVE-2024-39897: who may not read a blob learns nothing of it by a mount, and gets nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_mount_takes_from_where_its_user_may_read() {
    let rig = Rig::start().await;
    let secret = rig.push_blob("alice", "team-a/secret", "a secret").await;
    let absent = sha256("never pushed");
    for from in ["&from=team-a/secret", "&from=team-a/none", "&from=team-b/none", ""] {
        for digest in [&secret, &absent] {
            assert_eq!(mount(&rig, "bob", "team-b/x", digest, from).await, 202, "{from}");
            rig.as_user("bob", "HEAD", &format!("/v2/team-b/x/blobs/{digest}"), "").await.expect(404);
        }
    }
    // The head of the answer to what is there and to what is not: alike but for the upload that was begun.
    let shape = async |digest: &str| {
        let target = format!("/v2/team-b/x/blobs/uploads/?mount={digest}&from=team-a/secret");
        let answer = rig.as_user("bob", "POST", &target, "").await.expect(202);
        let names = answer.head.iter().map(|line| line.split(':').next().expect("a name").to_owned());
        (names.collect::<Vec<_>>(), answer.body)
    };
    assert_eq!(shape(&secret).await, shape(&absent).await);

    rig.as_user("carol", "POST", &format!("/v2/team-b/x/blobs/uploads/?mount={secret}&from=team-a/secret"), "")
        .await
        .expect(403);
    assert_eq!(mount(&rig, "alice", "team-a/y", &secret, "&from=team-a/secret").await, 201, "the control");
    assert_eq!(mount(&rig, "alice", "team-a/z", &secret, "").await, 201, "without a source, from what she may read");
    // What is in a repository that he may read can be taken from there, wherever else it is.
    rig.push_blob("root", "open/x", "a secret").await;
    assert_eq!(mount(&rig, "bob", "team-b/x", &secret, "&from=team-a/secret").await, 202);
    assert_eq!(mount(&rig, "bob", "team-b/x", &secret, "").await, 201);
    rig.stop().await;
}

/// zot CVE-2026-31801: who may push new tags moves no old ones.
#[tokio::test(flavor = "multi_thread")]
async fn new_tags_take_create_and_old_ones_update() {
    let rig = Rig::start().await;
    let (first, answer) = rig.push("dave", "team-a/x", "one", "first").await;
    answer.expect(201);
    for note in ["first", "second"] {
        rig.push("dave", "team-a/x", "one", note).await.1.expect(403);
    }
    // By digest it is new, but its tags count each by itself.
    let document = document("second");
    let digest = sha256(&document);
    let put = async |user: &str, tags: &str| {
        let fields = format!("{}content-type: {INDEX}\r\n", login(Some(user)));
        rig.send("PUT", &format!("/v2/team-a/x/manifests/{digest}{tags}"), &fields, &document).await.status.as_u16()
    };
    assert_eq!(put("dave", "?tag=two&tag=one").await, 403);
    assert_eq!(put("frank", "?tag=two&tag=one").await, 403);
    rig.as_user("alice", "HEAD", "/v2/team-a/x/manifests/two", "").await.expect(404);
    rig.as_user("alice", "HEAD", &format!("/v2/team-a/x/manifests/{digest}"), "").await.expect(404);
    assert_eq!(put("frank", "").await, 403, "without a tag it is new");
    assert_eq!(put("dave", "").await, 201);
    assert_eq!(put("frank", "?tag=one").await, 201, "he may move what is there");
    let resolved = rig.as_user("carol", "HEAD", "/v2/team-a/x/manifests/one", "").await.expect(200);
    assert_eq!(resolved.header("docker-content-digest"), Some(digest.as_str()));
    assert_ne!(first, digest);
    rig.stop().await;
}

/// Two who may only create push one new tag at once: one of them has made it, and it stays his.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_create_a_tag_one_does() {
    let rig = Rig::start().await;
    for round in 0..20 {
        let tag = format!("t{round}");
        let (a, b) = tokio::join!(rig.push("dave", "team-a/x", &tag, "a"), rig.push("dave", "team-a/x", &tag, "b"));
        let statuses = [a.1.status.as_u16(), b.1.status.as_u16()];
        assert!(statuses == [201, 403] || statuses == [403, 201], "{statuses:?}");
        let winner = if statuses[0] == 201 { a.0 } else { b.0 };
        let found = rig.as_user("carol", "HEAD", &format!("/v2/team-a/x/manifests/{tag}"), "").await.expect(200);
        assert_eq!(found.header("docker-content-digest"), Some(winner.as_str()));
    }
    rig.stop().await;
}

/// PROJQUAY-10504: a tag that never changes, whoever asks and however.
#[tokio::test(flavor = "multi_thread")]
async fn fixed_tags_stay() {
    let rig = Rig::start().await;
    let (digest, answer) = rig.push("alice", "team-a/x", "v1", "first").await;
    answer.expect(201);
    rig.push("alice", "team-a/x", "loose", "first").await.1.expect(201);
    for user in ["alice", "root"] {
        rig.push(user, "team-a/x", "v1", "second").await.1.expect(403);
        rig.as_user(user, "DELETE", "/v2/team-a/x/manifests/v1", "").await.expect(403);
        rig.as_user(user, "DELETE", "/v2/team-a/x/manifests/v9", "").await.expect(403);
        rig.as_user(user, "DELETE", &format!("/v2/team-a/x/manifests/{digest}"), "").await.expect(403);
        for tag in ["v1", "loose"] {
            let found = rig.as_user(user, "HEAD", &format!("/v2/team-a/x/manifests/{tag}"), "").await.expect(200);
            assert_eq!(found.header("docker-content-digest"), Some(digest.as_str()));
        }
    }
    rig.as_user("alice", "DELETE", "/v2/team-a/x/manifests/loose", "").await.expect(202);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_by_digest_does_not_take_several_tags_if_that_is_to_be_noticed() {
    let rig = Rig::start().await;
    for repository in ["team-a/careful", "team-a/x"] {
        for tag in ["one", "two"] {
            rig.push("alice", repository, tag, "same").await.1.expect(201);
        }
    }
    let digest = sha256(&document("same"));
    let path = |repository: &str| format!("/v2/{repository}/manifests/{digest}");
    let refused = rig.as_user("alice", "DELETE", &path("team-a/careful"), "").await.expect(409);
    assert!(refused.body.contains("MANIFEST_INVALID"), "{refused:?}");
    rig.as_user("alice", "DELETE", "/v2/team-a/careful/manifests/one", "").await.expect(202);
    rig.as_user("alice", "DELETE", &path("team-a/careful"), "").await.expect(202);
    rig.as_user("alice", "DELETE", &path("team-a/x"), "").await.expect(202);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_shows_what_may_be_read() {
    let rig = Rig::start().await;
    for repository in ["open/a", "open/b", "team-a/a", "team-a/b", "team-b/a"] {
        rig.push_blob("root", repository, repository).await;
    }
    let list = async |user: Option<&str>, query: &str| {
        let answer = rig.send("GET", &format!("/v2/_catalog{query}"), &login(user), "").await.expect(200);
        let names: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        let names = names["repositories"].as_array().expect("a list").iter();
        let names: Vec<String> = names.map(|name| name.as_str().expect("a name").to_owned()).collect();
        (names.join(" "), answer.header("link").map(str::to_owned))
    };
    assert_eq!(list(None, "").await.0, "open/a open/b");
    assert_eq!(list(Some("erin"), "").await.0, "open/a open/b");
    assert_eq!(list(Some("bob"), "").await.0, "open/a open/b team-b/a");
    assert_eq!(list(Some("dave"), "").await.0, "open/a open/b", "who may only push sees nothing of it");
    assert_eq!(list(Some("root"), "").await.0, "open/a open/b team-a/a team-a/b team-b/a");
    // Pages are of what may be read, and no link names anything else.
    let (names, link) = list(Some("bob"), "?n=2").await;
    assert_eq!(names, "open/a open/b");
    assert!(link.is_some_and(|link| link.contains("last=open%2Fb") || link.contains("last=open/b")));
    assert_eq!(list(Some("bob"), "?n=2&last=open/b").await, ("team-b/a".to_owned(), None));
    assert_eq!(list(Some("bob"), "?n=1&last=team-a/a").await, ("team-b/a".to_owned(), None));
    assert_eq!(list(None, "?n=2").await, ("open/a open/b".to_owned(), None), "nothing more that may be read");
    rig.stop().await;
}

/// What was answered to somebody is not given to somebody else, however often it is asked.
#[tokio::test(flavor = "multi_thread")]
async fn answers_given_again_are_for_those_who_may_have_them() {
    let rig = Rig::start().await;
    let secret = rig.push_blob("alice", "team-a/x", "a secret").await;
    let open = rig.push_blob("root", "open/x", "open to all").await;
    let (_, answer) = rig.push("alice", "team-a/x", "latest", "a secret").await;
    answer.expect(201);
    for path in [format!("/v2/team-a/x/blobs/{secret}"), "/v2/team-a/x/manifests/latest".to_owned()] {
        for _ in 0..4 {
            rig.as_user("alice", "GET", &path, "").await.expect(200);
            rig.send("GET", &path, "", "").await.expect(401);
            rig.as_user("bob", "GET", &path, "").await.expect(403);
            rig.send("HEAD", &path, "", "").await.expect(401);
        }
    }
    let path = format!("/v2/open/x/blobs/{open}");
    let first = rig.send("GET", &path, "", "").await.expect(200);
    for _ in 0..4 {
        assert_eq!(rig.send("GET", &path, "", "").await, first);
        rig.send("GET", &path, &crate::rig::basic("alice", "wrong"), "").await.expect(401);
    }
    rig.stop().await;
}

/// CVE-2024-41110: what is refused is refused by its head, whatever the body is or announces.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_does_not_wait_for_the_body() {
    let rig = Rig::start().await;
    let (_, answer) = rig.push("alice", "team-a/x", "latest", "first").await;
    answer.expect(201);
    for fields in [
        "expect: 100-continue\r\ncontent-length: 1000000\r\n",
        "transfer-encoding: chunked\r\n",
        "content-length: 9999999999\r\n",
    ] {
        for (path, method) in [("/v2/team-a/x/manifests/latest", "PUT"), ("/v2/team-a/x/blobs/uploads/", "POST")] {
            let mut stream = tokio::net::TcpStream::connect(rig.address).await.expect("accepted");
            let login = login(Some("bob"));
            let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{login}content-type: {INDEX}\r\n{fields}\r\n");
            tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.expect("sent");
            let mut begin = [0; 12];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut begin).await.expect("an answer to the head alone");
            assert_eq!(&begin, b"HTTP/1.1 403", "{method} {fields}");
        }
    }
    rig.stop().await;
}
