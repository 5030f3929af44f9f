//! Keys that users make: zot's documents, what a key may do, and how it ends.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::rig::{Answer, Rig, basic, line, login};

const PATH: &str = "/zot/auth/apikey";

/// Longer than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the registry says to `user` about a wish.
async fn wish(rig: &Rig, user: &str, wish: &Value) -> Answer {
    let fields = format!("{}user-agent: a client\r\n", login(Some(user)));
    rig.send("POST", PATH, &fields, &wish.to_string()).await
}

/// A key of `user` as the value of a header, and its uuid.
async fn key(rig: &Rig, user: &str, scopes: &[&str]) -> (String, String) {
    let answer = wish(rig, user, &json!({ "label": "ci", "scopes": scopes, "expirationDate": "" })).await.expect(201);
    let document: Value = serde_json::from_str(&answer.body).expect("JSON");
    let text = |name: &str| document[name].as_str().expect("a text").to_owned();
    (basic(user, &text("apiKey")), text("uuid"))
}

async fn listed(rig: &Rig, user: &str) -> Vec<Value> {
    let answer = rig.as_user(user, "GET", PATH, "").await.expect(200);
    let document: Value = serde_json::from_str(&answer.body).expect("JSON");
    document["apiKeys"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_are_those_of_zot() {
    let rig = Rig::with_keys().await;
    let asked = json!({ "label": "ci", "scopes": ["read"], "expirationDate": "2999-01-31T13:00:00+01:00" });
    let answer = wish(&rig, "alice", &asked).await.expect(201);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let made: Value = serde_json::from_str(&answer.body).expect("JSON");
    let text = made["apiKey"].as_str().expect("a key");
    assert!(text.len() == 36 && text.starts_with("zak_"), "{text}");
    assert_eq!(made["expirationDate"], "2999-01-31T12:00:00Z");
    for (name, value) in [
        ("label", json!("ci")),
        ("scopes", json!(["read"])),
        ("isExpired", json!(false)),
        ("creatorUa", json!("a client")),
        ("generatedBy", json!("manual")),
        ("lastUsed", json!("0001-01-01T00:00:00Z")),
    ] {
        assert_eq!(made[name], value, "{name}");
    }
    rig.send("GET", "/v2/", &basic("alice", text), "").await.expect(200);
    let mut all = listed(&rig, "alice").await;
    let used = all[0]["lastUsed"].as_str().expect("a date").to_owned();
    assert!(used.starts_with("20"), "{used}");
    all[0]["lastUsed"] = made["lastUsed"].clone();
    let mut known = made.clone();
    known.as_object_mut().expect("an object").remove("apiKey").expect("it is shown once");
    assert_eq!(all, [known]);

    // All that zot's own clients leave out.
    let answer = wish(&rig, "alice", &json!({})).await.expect(201);
    let least: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!((&least["label"], &least["scopes"]), (&json!(""), &json!([])));
    assert_eq!(least["expirationDate"], "0001-01-01T00:00:00Z");
    wish(&rig, "alice", &json!({ "label": "a", "scopes": null })).await.expect(201);
    rig.stop().await;
}

/// S-67: what is not understood is refused, and not left out.
#[tokio::test(flavor = "multi_thread")]
async fn wishes_that_mean_nothing_are_refused() {
    let rig = Rig::with_keys().await;
    for body in [
        json!({ "label": "a", "admin": true }),
        json!({ "label": "a", "groups": ["admins"] }),
        json!({ "label": "a", "uuid": "1" }),
        json!({ "label": 1 }),
        json!({ "label": "a\nb" }),
        json!({ "label": "a".repeat(300) }),
        json!({ "scopes": ["everything"] }),
        json!({ "scopes": "read" }),
        json!({ "scopes": vec!["read"; 65] }),
        json!({ "expirationDate": "tomorrow" }),
        json!({ "expirationDate": "2020-01-01T00:00:00Z" }),
        json!([]),
    ] {
        let answer = wish(&rig, "alice", &body).await.expect(400);
        assert!(answer.body.contains("errors"), "{answer:?}");
    }
    let refused = wish(&rig, "alice", &json!({ "scopes": ["everything"] })).await.expect(400);
    assert!(refused.body.contains("repository:PATTERN:ACTIONS"), "{refused:?}");
    rig.as_user("alice", "POST", PATH, "{").await.expect(400);
    rig.as_user("alice", "POST", PATH, "").await.expect(400);
    wish(&rig, "alice", &json!({ "label": "a".repeat(8 << 10) })).await.expect(413);
    for query in ["", "?id=", "?uuid=1", "?id=1&id=2"] {
        rig.as_user("alice", "DELETE", &format!("{PATH}{query}"), "").await.expect(400);
    }
    assert!(listed(&rig, "alice").await.is_empty());
    for method in ["GET", "POST", "DELETE"] {
        rig.send(method, PATH, "", "").await.expect(401);
    }
    rig.stop().await;
}

/// S-60, S-64: a key may do what its scopes and its owner's policies both allow, also by detours.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_do_what_it_was_made_for() {
    let rig = Rig::with_keys().await;
    let digest = rig.push_blob("alice", "team-a/x", "content").await;
    rig.push_blob("alice", "team-a/y", "other content").await;
    let (reader, _) = key(&rig, "alice", &["repository:team-a/x:read"]).await;
    let (writer, _) = key(&rig, "alice", &["repository:team-a/y:read,create"]).await;
    let (whole, _) = key(&rig, "alice", &[]).await;
    let (beyond, _) = key(&rig, "carol", &["read", "create", "repository:team-b/**:*"]).await;
    let blob = format!("/v2/team-a/x/blobs/{digest}");
    for (fields, method, target, status) in [
        (&reader, "GET", &*blob, 200),
        (&reader, "GET", "/v2/", 200),
        (&reader, "DELETE", &blob, 403),
        (&reader, "POST", "/v2/team-a/x/blobs/uploads/", 403),
        (&reader, "GET", "/v2/team-a/x2/tags/list", 403),
        (&reader, "GET", "/v2/team-a/x/y/tags/list", 403),
        (&reader, "GET", "/v2/team-a/y/tags/list", 403),
        (&reader, "GET", "/metrics", 403),
        (&reader, "GET", "/v2/_orlop/gc", 403),
        (&writer, "POST", "/v2/team-a/y/blobs/uploads/", 202),
        (&writer, "GET", &blob, 403),
        // What may not be read may not be mounted from: an upload like any other.
        (&writer, "POST", &format!("/v2/team-a/y/blobs/uploads/?mount={digest}&from=team-a/x"), 202),
        (&whole, "POST", "/v2/team-a/x/blobs/uploads/", 202),
        (&whole, "POST", &format!("/v2/team-a/y/blobs/uploads/?mount={digest}&from=team-a/x"), 201),
        (&beyond, "GET", &blob, 200),
        (&beyond, "POST", "/v2/team-a/x/blobs/uploads/", 403),
        (&beyond, "GET", "/v2/team-b/x/tags/list", 403),
    ] {
        let answer = rig.send(method, target, fields, "").await;
        assert_eq!(answer.status.as_u16(), status, "{method} {target}: {answer:?}");
    }
    let catalog = rig.send("GET", "/v2/_catalog", &reader, "").await.expect(200);
    assert!(catalog.body.contains("team-a/x") && !catalog.body.contains("team-a/y"), "{catalog:?}");
    let (roots, _) = key(&rig, "root", &["read"]).await;
    rig.send("GET", "/metrics", &roots, "").await.expect(403);
    let (roots, _) = key(&rig, "root", &[]).await;
    rig.send("GET", "/metrics", &roots, "").await.expect(200);

    // A key makes no keys, and a token for a key is no more than the key.
    for fields in [&reader, &whole] {
        rig.send("POST", PATH, fields, "{}").await.expect(403);
        rig.send("GET", PATH, fields, "").await.expect(403);
        rig.send("DELETE", &format!("{PATH}?id=1"), fields, "").await.expect(403);
    }
    let answer = rig.send("GET", "/zot/auth/token", &reader, "").await.expect(200);
    let document: Value = serde_json::from_str(&answer.body).expect("JSON");
    let token = format!("authorization: Bearer {}\r\n", document["token"].as_str().expect("a token"));
    rig.send("GET", &blob, &token, "").await.expect(200);
    rig.send("POST", "/v2/team-a/x/blobs/uploads/", &token, "").await.expect(403);
    rig.send("POST", PATH, &token, "{}").await.expect(403);
    rig.stop().await;
}

/// S-64: taken back, of a user who is gone, or shown by somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_at_once() {
    let rig = Rig::with_keys().await;
    let (one, uuid) = key(&rig, "alice", &[]).await;
    let (two, _) = key(&rig, "alice", &[]).await;
    let answer = rig.send("GET", "/zot/auth/token", &one, "").await.expect(200);
    let document: Value = serde_json::from_str(&answer.body).expect("JSON");
    let token = format!("authorization: Bearer {}\r\n", document["token"].as_str().expect("a token"));
    for fields in [&one, &two, &token] {
        rig.send("GET", "/v2/team-a/x/tags/list", fields, "").await.expect(404);
    }
    rig.as_user("alice", "DELETE", &format!("{PATH}?id={uuid}"), "").await.expect(200);
    for fields in [&one, &token] {
        rig.send("GET", "/v2/team-a/x/tags/list", fields, "").await.expect(401);
    }
    rig.send("GET", "/v2/team-a/x/tags/list", &two, "").await.expect(404);
    fs::write(rig.htpasswd(), [line("root"), line("bob")].concat()).expect("written");
    let deadline = Instant::now() + PATIENCE;
    while rig.send("GET", "/v2/team-a/x/tags/list", &two, "").await.status != 401 {
        assert!(Instant::now() < deadline, "the key of a user who is gone is good for ever");
    }
    rig.stop().await;
}

/// S-68: what is somebody else's is as if it were not there.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_others_are_not_there() {
    let rig = Rig::with_keys().await;
    let (one, uuid) = key(&rig, "alice", &[]).await;
    assert!(listed(&rig, "bob").await.is_empty());
    let absent = rig.as_user("bob", "DELETE", &format!("{PATH}?id=00000000-0000-4000-8000-000000000000"), "").await;
    let others = rig.as_user("bob", "DELETE", &format!("{PATH}?id={uuid}"), "").await;
    assert_eq!(absent.expect(200), others);
    rig.send("GET", "/v2/team-a/x/tags/list", &one, "").await.expect(404);
    let text = one.trim_end().rsplit(' ').next().expect("credentials").to_owned();
    let decoded = String::from_utf8(orlop_api::protocol::base64::decode(&text).expect("base64")).expect("text");
    let password = decoded.strip_prefix("alice:").expect("hers");
    for user in ["bob", "root", "nobody"] {
        rig.send("GET", "/v2/", &basic(user, password), "").await.expect(401);
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_there_are_no_keys() {
    let rig = Rig::start().await;
    for method in ["GET", "POST", "DELETE"] {
        rig.as_user("alice", method, PATH, "").await.expect(404);
    }
    rig.stop().await;
}
