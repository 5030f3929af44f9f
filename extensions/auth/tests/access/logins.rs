//! Who somebody is: passwords, files of users that change, tokens, and clients with their habits.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};

use orlop_api::access::{Access, Subject, Unidentified};
use orlop_auth::{Auth, Options};

use crate::rig::{Rig, basic, line, login, password, policy};

/// A change of the file is noticed within a second; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

const DOCKER: &str = "user-agent: docker/27.1.1 go/go1.21 UpstreamClient(Docker-Client/27.1.1 (linux))\r\n";

/// Whom the file at this path knows, asked until it is so.
async fn until_known(auth: &Auth, user: &str, password: &str, is_known: bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let request =
            http::Request::get("/v2/").header("authorization", value(user, password)).body(()).expect("a request");
        let identified = auth.identify(&request.into_parts().0).await;
        if identified.is_ok() == is_known {
            assert!(!is_known || identified == Ok(Subject::user(user, Vec::new())));
            return;
        }
        assert!(Instant::now() < deadline, "{user} is known: {}, still", !is_known);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn value(user: &str, password: &str) -> String {
    basic(user, password).trim_end().trim_start_matches("authorization: ").to_owned()
}

fn open(path: &Path) -> Auth {
    Auth::open(Options { htpasswd: Some(path.to_owned()), ..Options::default() }).expect("usable")
}

#[tokio::test]
async fn a_changed_file_is_noticed_however_it_changes() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("htpasswd");
    fs::write(&path, line("alice")).expect("written");
    let auth = open(&path);
    until_known(&auth, "alice", &password("alice"), true).await;

    fs::write(&path, [line("alice"), line("bob")].concat()).expect("written in place");
    until_known(&auth, "bob", &password("bob"), true).await;
    let new = directory.path().join("new");
    fs::write(&new, line("carol")).expect("written");
    fs::rename(&new, &path).expect("replaced");
    until_known(&auth, "carol", &password("carol"), true).await;
    until_known(&auth, "alice", &password("alice"), false).await;

    // What cannot be used leaves the users as they were; the next usable one is taken.
    fs::write(&path, "carol:plain\n").expect("written");
    until_known(&auth, "carol", &password("carol"), true).await;
    fs::remove_file(&path).expect("removed");
    until_known(&auth, "carol", &password("carol"), true).await;
    fs::write(&path, line("dave")).expect("written");
    until_known(&auth, "dave", &password("dave"), true).await;
    until_known(&auth, "carol", &password("carol"), false).await;
}

/// Kubernetes keeps a mounted secret behind two links, and moves the inner one.
#[tokio::test]
async fn a_swapped_secret_is_noticed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    for (folder, user) in [("..1", "alice"), ("..2", "bob")] {
        fs::create_dir(path(folder)).expect("made");
        fs::write(path(folder).join("htpasswd"), line(user)).expect("written");
    }
    symlink("..1", path("..data")).expect("linked");
    symlink("..data/htpasswd", path("htpasswd")).expect("linked");
    let auth = open(&path("htpasswd"));
    until_known(&auth, "alice", &password("alice"), true).await;
    symlink("..2", path("..data_tmp")).expect("linked");
    fs::rename(path("..data_tmp"), path("..data")).expect("swapped");
    until_known(&auth, "bob", &password("bob"), true).await;
    until_known(&auth, "alice", &password("alice"), false).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_used_lets_nobody_in() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("htpasswd");
    let error = || {
        let opened = Auth::open(Options { htpasswd: Some(path.clone()), ..Options::default() });
        opened.map(drop).expect_err("refused").to_string()
    };
    assert!(error().contains("cannot be read"), "{}", error());
    fs::write(&path, "alice:secret\n").expect("written");
    assert!(error().contains("htpasswd -B") && !error().contains("secret"), "{}", error());
}

#[tokio::test]
async fn wrong_credentials_wait_and_no_others() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("htpasswd");
    fs::write(&path, line("alice")).expect("written");
    let delay = Duration::from_secs(2);
    let options = Options { htpasswd: Some(path), fail_delay: delay, ..Options::default() };
    let auth = Auth::open(options).expect("usable");
    let ask = async |value: Option<String>| {
        let request =
            value.into_iter().fold(http::Request::get("/v2/"), |request, value| request.header("authorization", value));
        let began = Instant::now();
        let identified = auth.identify(&request.body(()).expect("a request").into_parts().0).await;
        (identified, began.elapsed())
    };
    let (refused, waited) = ask(Some(value("alice", "wrong"))).await;
    assert!(refused == Err(Unidentified::Refused) && waited >= delay, "{waited:?}");
    let (refused, waited) = ask(Some("Basic".to_owned())).await;
    assert!(refused == Err(Unidentified::Refused) && waited >= delay, "{waited:?}");
    assert_eq!(ask(None).await.0, Ok(Subject::anonymous()));
    assert_eq!(ask(Some(value("alice", &password("alice")))).await.0, Ok(Subject::user("alice", Vec::new())));
}

/// zot issues 2928 and 3538: Docker sends its password only if it was asked for it, and nothing at all if it was asked
/// for one and has none.
#[tokio::test(flavor = "multi_thread")]
async fn docker_pulls_without_a_password_and_pushes_with_one() {
    let rig = Rig::start().await;
    let open = rig.push_blob("root", "open/x", "open to all").await;
    let secret = rig.push_blob("alice", "team-a/x", "a secret").await;
    let asked = rig.send("GET", "/v2/", DOCKER, "").await.expect(401);
    assert_eq!(asked.challenge(), r#"Bearer realm="http://a/zot/auth/token",service="a""#);

    let token = async |login: &str| {
        let answer =
            rig.send("GET", "/zot/auth/token?service=a&scope=x", &[login, DOCKER].concat(), "").await.expect(200);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let document: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        format!("{DOCKER}authorization: Bearer {}\r\n", document["token"].as_str().expect("a token"))
    };
    let (open, secret) = (format!("/v2/open/x/blobs/{open}"), format!("/v2/team-a/x/blobs/{secret}"));
    let nobody = token("").await;
    rig.send("GET", "/v2/", &nobody, "").await.expect(200);
    rig.send("GET", &open, &nobody, "").await.expect(200);
    let refused = rig.send("GET", &secret, &nobody, "").await.expect(401);
    assert!(refused.challenge().starts_with("Bearer "), "{refused:?}");
    let alice = token(&login(Some("alice"))).await;
    rig.send("GET", &secret, &alice, "").await.expect(200);
    rig.send("POST", "/v2/team-a/x/blobs/uploads/", &alice, "").await.expect(202);
    rig.send("POST", "/v2/team-b/x/blobs/uploads/", &alice, "").await.expect(403);

    // At the token endpoint it is a password that is asked for.
    let refused =
        rig.send("GET", "/zot/auth/token", &[&basic("alice", "wrong"), DOCKER].concat(), "").await.expect(401);
    assert!(refused.challenge().starts_with("Basic "), "{refused:?}");
    rig.send("GET", &open, &format!("{DOCKER}authorization: Bearer 00\r\n"), "").await.expect(401);

    // Whoever has a token cannot make it last.
    rig.send("GET", "/zot/auth/token", &alice, "").await.expect(401);

    // A token ends with its user.
    fs::write(rig.htpasswd(), [line("root"), line("bob")].concat()).expect("written");
    let deadline = Instant::now() + PATIENCE;
    while rig.send("GET", &secret, &alice, "").await.status != 401 {
        assert!(Instant::now() < deadline, "the token of a user who is gone is good for ever");
    }
    rig.send("GET", &secret, &login(Some("alice")), "").await.expect(401);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_come_in_where_it_is_open_and_are_told_how_to_log_in() {
    let rig = Rig::start().await;
    for fields in ["", "user-agent: containerd/2.0\r\n", "authorization: Basic Og==\r\n"] {
        let answer = rig.send("GET", "/v2/", fields, "").await.expect(200);
        assert_eq!(answer.challenge(), r#"Basic realm="Authorization Required""#);
    }
    assert_eq!(rig.as_user("alice", "GET", "/v2/", "").await.expect(200).challenge(), "");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_policies_users_may_do_everything_and_others_nothing() {
    let rig = Rig::with(None, Duration::ZERO).await;
    for fields in ["", DOCKER] {
        let asked = rig.send("GET", "/v2/", fields, "").await.expect(401);
        assert!(asked.challenge().starts_with("Basic "), "there is nothing to have a token for: {asked:?}");
    }
    for path in ["/v2/_catalog", "/metrics", "/v2/a/tags/list", "/v2/_orlop/gc"] {
        rig.send("GET", path, "", "").await.expect(401);
    }
    rig.send("GET", "/zot/auth/token", &login(Some("alice")), "").await.expect(404);
    let digest = rig.push_blob("erin", "any/where", "content").await;
    rig.as_user("bob", "GET", &format!("/v2/any/where/blobs/{digest}"), "").await.expect(200);
    rig.as_user("bob", "DELETE", &format!("/v2/any/where/blobs/{digest}"), "").await.expect(202);
    rig.as_user("bob", "GET", "/metrics", "").await.expect(200);
    rig.stop().await;
}

/// Nobody can log in, so that what everybody may do is all there is.
#[tokio::test]
async fn without_users_everybody_is_nobody() {
    let auth = Auth::open(Options { policy: Some(policy()), ..Options::default() }).expect("no file");
    let request =
        http::Request::get("/v2/").header("authorization", value("root", "toor")).body(()).expect("a request");
    assert_eq!(auth.identify(&request.into_parts().0).await, Ok(Subject::anonymous()));
}
