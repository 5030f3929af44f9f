//! Sessions of browsers that log in with a password, and what browsers of other pages are kept from.

use std::sync::Arc;

use orlop_api::Cors;
use orlop_auth::{Options, Sealer, Sessions};

use crate::{
    browser::{Browser, INTERFACE},
    rig::{Rig, basic, line, login, policy},
};

/// Logs in with a password, as the web interface does.
async fn logged_in(rig: &Rig, user: &str) -> Browser {
    let mut browser = Browser::new();
    let fields = format!("{INTERFACE}{}", login(Some(user)));
    browser.send(rig, "GET", "/v2/", &fields).await.expect(200);
    assert_eq!(browser.cookies.get("user").map(String::as_str), Some(user));
    browser
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_begins_a_session_that_a_logout_ends() {
    let rig = Rig::start().await;
    rig.push("alice", "team-a/x", "latest", "x").await.1.expect(201);
    let mut browser = logged_in(&rig, "alice").await;
    browser.ask(&rig, "GET", "/v2/team-a/x/manifests/latest").await.expect(200);
    browser.ask(&rig, "GET", "/v2/team-b/x/tags/list").await.expect(403);
    let mut stolen = browser.clone();
    let answer = browser.ask(&rig, "POST", "/zot/auth/logout").await.expect(200);
    assert_eq!((answer.body.as_str(), answer.header("cache-control")), ("{}", Some("no-store")));
    assert!(browser.cookies.is_empty(), "{browser:?}");
    // S-65: it is over on the side of the server, too.
    stolen.ask(&rig, "GET", "/v2/team-a/x/manifests/latest").await.expect(401);
    assert!(stolen.cookies.is_empty(), "a browser is told to forget what is over: {stolen:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_web_interface_gets_a_session_and_only_for_a_right_password() {
    let rig = Rig::start().await;
    let mut browser = Browser::new();
    browser.send(&rig, "GET", "/v2/", &login(Some("alice"))).await.expect(200);
    let other = format!("x-zot-api-client: other\r\n{}", login(Some("alice")));
    browser.send(&rig, "GET", "/v2/", &other).await.expect(200);
    let wrong = format!("{INTERFACE}{}", basic("alice", "wrong"));
    let answer = browser.send(&rig, "GET", "/v2/", &wrong).await.expect(401);
    assert!(browser.cookies.is_empty(), "{browser:?}");
    assert_eq!(answer.challenge(), "", "the page asks for a password, not the browser");
    browser.ask(&rig, "GET", "/v2/_zot/ext/mgmt").await.expect(200);
    assert!(browser.cookies.is_empty(), "{browser:?}");
    rig.stop().await;
}

/// S-65, CVE-2019-19025: a page of somebody else makes a browser send what it keeps.
#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_alone_changes_nothing() {
    let rig = Rig::start().await;
    rig.push("alice", "team-a/x", "latest", "x").await.1.expect(201);
    let mut browser = logged_in(&rig, "alice").await;
    for (method, target) in [
        ("DELETE", "/v2/team-a/x/manifests/latest"),
        ("POST", "/v2/team-a/x/blobs/uploads/"),
        ("PUT", "/v2/team-a/x/manifests/latest"),
        ("POST", "/zot/auth/logout"),
        ("DELETE", "/v2/open/x/manifests/latest"),
    ] {
        let origin = "origin: https://evil.example\r\ncontent-type: text/plain\r\n";
        for fields in ["", origin, "x-zot-api-client: x\r\n"] {
            let answer = browser.send(&rig, method, target, fields).await.expect(403);
            assert!(answer.body.contains("DENIED"), "{answer:?}");
        }
    }
    // Reading without the field is reading as nobody: the answer is not his.
    browser.send(&rig, "GET", "/v2/team-a/x/manifests/latest", "").await.expect(401);
    browser.ask(&rig, "GET", "/v2/team-a/x/manifests/latest").await.expect(200);
    browser.ask(&rig, "DELETE", "/v2/team-a/x/manifests/latest").await.expect(202);
    rig.stop().await;
}

/// S-65, session fixation: the session that a browser had before is not the one it has after a login.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_changes_the_session() {
    let rig = Rig::start().await;
    let mut planted = logged_in(&rig, "erin").await;
    let mut victim = planted.clone();
    let fields = format!("{INTERFACE}{}", login(Some("alice")));
    victim.send(&rig, "GET", "/v2/", &fields).await.expect(200);
    assert_ne!(victim.cookies["session"], planted.cookies["session"]);
    victim.ask(&rig, "GET", "/v2/team-a/none/tags/list").await.expect(404);
    planted.ask(&rig, "GET", "/v2/team-a/none/tags/list").await.expect(401);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_was_tampered_with_is_nobody() {
    let rig = Rig::start().await;
    let browser = logged_in(&rig, "erin").await;
    let session = &browser.cookies["session"];
    let at = session.len() / 2;
    let turned = if session.as_bytes()[at] == b'A' { "B" } else { "A" };
    for value in [
        format!("{}{turned}{}", &session[..at], &session[at + 1..]),
        session[..at].to_owned(),
        format!("{session}; session={session}"),
        String::new(),
        "alice".to_owned(),
        "A".repeat(20_000),
    ] {
        let mut tampered = Browser::new();
        tampered.cookies.insert("session".to_owned(), value);
        tampered.ask(&rig, "GET", "/v2/team-a/x/tags/list").await.expect(401);
    }
    // The name that scripts can read says nothing to the server.
    let mut other = browser.clone();
    other.cookies.insert("user".to_owned(), "alice".to_owned());
    other.ask(&rig, "GET", "/v2/team-a/x/tags/list").await.expect(403);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_password() {
    let rig = Rig::start().await;
    let mut browser = logged_in(&rig, "alice").await;
    browser.ask(&rig, "GET", "/v2/team-a/none/tags/list").await.expect(404);
    std::fs::write(rig.htpasswd(), line("bob")).expect("written");
    // A change of the file is noticed within a second; a busy machine takes longer.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while browser.ask(&rig, "GET", "/v2/team-a/none/tags/list").await.status != 401 {
        assert!(std::time::Instant::now() < deadline, "a user who is gone has a session, still");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_go_on_with_a_key_that_stays() {
    let options = || {
        let sessions = Sessions::with(Sealer::of("a key of the operator", "").expect("a key"));
        Options { policy: Some(policy()), sessions: Some(Arc::new(sessions)), ..Options::default() }
    };
    let (first, second) = (Rig::of(options(), None).await, Rig::of(options(), None).await);
    let mut browser = logged_in(&first, "bob").await;
    // The same password with another hash is another one, as far as anybody knows here.
    browser.clone().ask(&second, "GET", "/v2/team-b/none/tags/list").await.expect(401);
    std::fs::copy(first.htpasswd(), second.htpasswd()).expect("copied");
    first.stop().await;
    // A change of the file is noticed within a second; a busy machine takes longer.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while browser.clone().ask(&second, "GET", "/v2/team-b/none/tags/list").await.status != 404 {
        assert!(std::time::Instant::now() < deadline, "the session is not known to the other registry");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    browser.ask(&second, "GET", "/v2/team-a/none/tags/list").await.expect(403);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_named_origins_may_read_and_no_others() {
    let cors = Cors::new("https://ui.example", true).expect("an origin");
    let rig = Rig::of(Options { policy: Some(policy()), ..Options::default() }, Some(cors)).await;
    let ask = async |method: &str, origin: &str| rig.send(method, "/v2/", &format!("origin: {origin}\r\n"), "").await;
    let answer = ask("OPTIONS", "https://ui.example").await.expect(204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://ui.example"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("Authorization,content-type,X-ZOT-API-CLIENT"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    let answer = ask("GET", "https://ui.example").await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://ui.example"));
    for method in ["GET", "OPTIONS"] {
        let answer = ask(method, "https://evil.example").await;
        assert!(answer.head.iter().all(|line| !line.starts_with("access-control-")), "{answer:?}");
        assert_eq!(answer.header("vary"), Some("origin"));
    }
    // Answers that are given again are the same for all: none of them is for one origin only.
    let plain = rig.send("GET", "/v2/", "", "").await.expect(200);
    assert_eq!(plain.header("access-control-allow-origin"), None);
    rig.stop().await;
}
