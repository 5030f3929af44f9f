//! Policies that count only under conditions, over real sockets: what the expressions see, and that what cannot be
//! said does not count.

use std::time::Duration;

use orlop_api::{
    Policy as ApiPolicy,
    access::{Action, Actions, Subject},
    front::{Front, Proxies},
};
use orlop_auth::{Condition, Expression, Keys, Metrics, Options, Pattern, Policy, REQUEST, Rights, Rules};
use serde_json::{Value, json};

use crate::{
    browser::{Browser, INTERFACE},
    rig::{Answer, Rig, basic, document, line, login, sha256},
};

const FULL: Actions = Actions::FULL;

fn condition(expression: &str, message: &str) -> Condition {
    Condition {
        expression: Expression::compile(expression, &[REQUEST]).expect(expression),
        message: message.to_owned(),
    }
}

fn rights(user: &str, actions: Actions, conditions: Vec<Condition>) -> Rights {
    Rights { users: vec![user.to_owned()], actions, conditions, ..Rights::default() }
}

fn policy(policies: Vec<Rights>, admin: Rights) -> Policy {
    let open = Actions::of(&[Action::Read]);
    let rules = |policies| Rules { policies, ..Rules::default() };
    let pattern = |text: &str| Pattern::new(text).expect("a pattern");
    let groups = vec![("ops".to_owned(), vec!["alice".to_owned()])];
    let repositories = vec![
        (pattern("team-a/**"), rules(policies)),
        (pattern("open/**"), Rules { anonymous: open, ..rules(Vec::new()) }),
    ];
    Policy::new(repositories, admin, groups, Metrics::default())
}

async fn rig(policy: Policy) -> Rig {
    Rig::with(Some(policy), Duration::ZERO).await
}

/// Whether alice may read with this condition.
async fn reads(expression: &str) -> bool {
    let policies = vec![rights("alice", FULL, vec![condition(expression, "")])];
    let rig = rig(policy(policies, Rights::default())).await;
    let fields = format!(
        "{}user-agent: containerd/2.0\r\nx-forwarded-for: 10.0.0.1, 10.0.0.2\r\nx-forwarded-for: 10.0.0.3\r\n",
        login(Some("alice"))
    );
    let answer = rig.send("GET", "/v2/team-a/x/manifests/latest", &fields, "").await;
    rig.stop().await;
    match answer.status.as_u16() {
        404 => true,
        403 => false,
        _ => panic!("{expression}: {answer:?}"),
    }
}

#[tokio::test]
async fn expressions_see_the_request_as_zot_shows_it() {
    for expression in [
        "req.method == 'GET' && req.action == 'read' && req.repository == 'team-a/x'",
        "req.reference == 'latest' && req.referenceType == 'tag' && req.tag == 'latest' && req.digest == ''",
        "req.userAgent.startsWith('containerd/')",
        "req.user.username == 'alice' && 'ops' in req.user.groups && !req.auth.anonymous && !req.auth.admin",
        "req.client.ip == '127.0.0.1' && req.client.forwardedFor == ['10.0.0.1', '10.0.0.2', '10.0.0.3']",
        "!req.tls.enabled && req.tls.version == ''",
        "req.time > timestamp('2020-01-01T00:00:00Z') && req.time.getFullYear() >= 2025 && req.time.getHours('UTC') >= 0",
        "size(req.claims) == 0 && !has(req.claims.sub)",
    ] {
        assert!(reads(expression).await, "{expression}");
        assert!(!reads(&format!("!({expression})")).await, "not {expression}");
    }
}

#[tokio::test]
async fn what_cannot_be_said_does_not_count() {
    for expression in
        ["1", "'true'", "null", "req.claims.sub == 'x'", "req.nothing", "1 / 0 == 1", "req", "req.time + 1 > 0"]
    {
        assert!(!reads(expression).await, "{expression}");
        assert!(!reads(&format!("!({expression})")).await, "not {expression}");
    }
    // Whoever asks without a request, as a program inside of this one could, is not granted it.
    let policy = policy(vec![rights("alice", FULL, vec![condition("true", "")])], Rights::default());
    assert_eq!(policy.actions(&Subject::user("alice", Vec::new()), "team-a/x"), Actions::NONE);
}

fn reason(answer: &Answer) -> String {
    let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    body["errors"][0]["detail"]["reason"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn who_is_refused_by_a_condition_is_told_so() {
    let create = Actions::of(&[Action::Create]);
    let versions = "req.referenceType != 'tag' || req.tag.matches('^v[0-9]+$')";
    let policies = vec![
        rights("alice", create, vec![condition("true", "not this"), condition(versions, "tags are versions")]),
        rights("bob", create, vec![condition("req.claims.none == 1", "a mistake is for the log")]),
        rights("carol", create, vec![condition("req.repository.endsWith('/x')", "only x")]),
        rights("carol", Actions::of(&[Action::Read]), Vec::new()),
    ];
    let rig = rig(policy(policies, Rights::default())).await;
    let put = async |user: &str, tag: &str| rig.push(user, "team-a/x", tag, "a").await.1;
    put("alice", "v1").await.expect(201);
    let refused = put("alice", "latest").await.expect(403);
    assert_eq!(reason(&refused), "tags are versions");
    assert!(refused.body.contains("\"DENIED\""), "{refused:?}");
    // What exists makes no difference to the answer: alice may not read, whether there is something or not.
    let there = rig.as_user("alice", "GET", "/v2/team-a/x/manifests/v1", "").await.expect(403);
    let absent = rig.as_user("alice", "GET", "/v2/team-a/x/manifests/v2", "").await.expect(403);
    assert_eq!((&there.body, reason(&there)), (&absent.body, String::new()));
    assert_eq!(reason(&put("bob", "v1").await.expect(403)), "");
    assert_eq!(reason(&rig.push("carol", "team-a/y", "v1", "a").await.1.expect(403)), "only x");
    assert_eq!(reason(&rig.push("dave", "team-a/x", "v1", "a").await.1.expect(403)), "", "it is not about him");
    rig.as_user("carol", "GET", "/v2/team-a/y/tags/list", "").await.expect(404);
    rig.stop().await;
}

/// A mount, the catalog, and the tags of one push ask about another repository or name than the path has.
#[tokio::test]
async fn conditions_count_wherever_rights_are_asked_for() {
    let only_x = || vec![condition("req.repository == 'team-a/x' || req.action == 'create'", "only x")];
    let policies = vec![rights("alice", FULL, only_x()), rights("bob", FULL, Vec::new())];
    let rig = rig(policy(policies, Rights::default())).await;
    let (in_x, in_y) = (rig.push_blob("bob", "team-a/x", "x").await, rig.push_blob("bob", "team-a/y", "y").await);
    for repository in ["team-a/x", "team-a/y"] {
        rig.push("bob", repository, "latest", "a").await.1.expect(201);
    }
    let mount = async |digest: &str, from: &str| {
        let path = format!("/v2/team-a/z/blobs/uploads/?mount={digest}&from={from}");
        rig.as_user("alice", "POST", &path, "").await.status.as_u16()
    };
    assert_eq!((mount(&in_x, "team-a/x").await, mount(&in_y, "team-a/y").await), (201, 202));
    let catalog = rig.as_user("alice", "GET", "/v2/_catalog", "").await.expect(200);
    assert_eq!(catalog.body, r#"{"repositories":["team-a/x"]}"#);
    // In y she may make tags, and move none.
    rig.push("alice", "team-a/y", "new", "b").await.1.expect(201);
    rig.push("alice", "team-a/y", "latest", "b").await.1.expect(403);
    rig.push("alice", "team-a/x", "latest", "b").await.1.expect(201);
    let digest = sha256(&document("b"));
    rig.as_user("alice", "DELETE", &format!("/v2/team-a/y/manifests/{digest}"), "").await.expect(403);
    rig.as_user("alice", "DELETE", &format!("/v2/team-a/x/manifests/{digest}"), "").await.expect(202);
    rig.stop().await;
}

#[tokio::test]
async fn administrators_can_be_conditional_too() {
    let admin = |expression: &str| rights("root", FULL, vec![condition(expression, "from the office only")]);
    for (expression, status) in [("req.auth.admin && req.client.ip == '127.0.0.1'", 404), ("req.tls.enabled", 403)] {
        let rig = rig(policy(Vec::new(), admin(expression))).await;
        let answer = rig.as_user("root", "GET", "/v2/any/manifests/latest", "").await.expect(status);
        let told = if status == 403 { "from the office only" } else { "" };
        assert_eq!(reason(&answer), told);
        let operators = rig.as_user("root", "GET", "/v2/_orlop/gc", "").await.status.as_u16();
        assert_eq!(operators == 403, status == 403, "{operators}");
        rig.stop().await;
    }
}

/// Answers to requests without credentials are kept and given again (decision 11): they are for everybody, and no
/// condition is asked about them.
#[tokio::test]
async fn what_everybody_may_do_depends_on_no_condition() {
    let never = || vec![condition("false", "never")];
    let policies = vec![Rights { groups: vec![String::new()], ..rights("", FULL, never()) }];
    let admin = rights("", FULL, never());
    let rig = rig(policy(policies, admin)).await;
    let policy = policy(vec![rights("bob", FULL, Vec::new())], rights("root", FULL, Vec::new()));
    assert_eq!(policy.actions(&Subject::anonymous(), "open/x"), Actions::of(&[Action::Read]));
    for agent in ["a", "b", "a"] {
        let fields = format!("user-agent: {agent}\r\nx-forwarded-for: {agent}\r\n");
        rig.send("GET", "/v2/open/x/manifests/latest", &fields, "").await.expect(404);
        rig.send("GET", "/v2/team-a/x/manifests/latest", &fields, "").await.expect(401);
    }
    rig.stop().await;
}

/// What a trusted proxy says of the client is what conditions see, and nothing of the proxy's own connection.
#[tokio::test]
async fn behind_a_trusted_proxy_conditions_see_the_client() {
    let told = "req.client.ip == '192.0.2.1' && req.tls.enabled && req.tls.version == ''";
    let policies = vec![rights("alice", FULL, vec![condition(told, "")])];
    for (trusted, status) in [("127.0.0.1", 404), ("192.0.2.7", 403)] {
        let proxies = Proxies { trusted: vec![trusted.parse().expect("an address")], ..Proxies::default() };
        let options = Options { policy: Some(policy(policies.clone(), Rights::default())), ..Options::default() };
        let rig = Rig::serve(options, Front { proxies, ..Front::default() }, ApiPolicy::default()).await;
        let come = async |fields: &str| {
            let fields = format!("{}{fields}", login(Some("alice")));
            rig.send("GET", "/v2/team-a/x/tags/list", &fields, "").await.status.as_u16()
        };
        assert_eq!(come("x-forwarded-for: 192.0.2.1\r\nx-forwarded-proto: https\r\n").await, status, "{trusted}");
        assert_eq!(come("x-forwarded-for: 192.0.2.2\r\nx-forwarded-proto: https\r\n").await, 403);
        assert_eq!(come("x-forwarded-for: 192.0.2.1\r\nx-forwarded-proto: http\r\n").await, 403);
        rig.stop().await;
    }
}

/// With conditions everybody has evidence; somebody of the file of users is still of the file of users.
#[tokio::test]
async fn sessions_tokens_and_keys_of_the_file_are_under_its_conditions_and_end_with_it() {
    let agent = "req.userAgent == 'good'";
    let policies = vec![rights("alice", FULL, vec![condition(agent, "")])];
    let rig = Rig::of_users(|htpasswd| Options {
        keys: Some(Keys::of_store(&htpasswd.parent().expect("a directory").join("root"))),
        htpasswd: Some(htpasswd),
        policy: Some(policy(policies, Rights::default())),
        ..Options::default()
    })
    .await;
    let text = |answer: &Answer, name: &str| {
        let document: Value = serde_json::from_str(&answer.body).expect("JSON");
        document[name].as_str().expect("a text").to_owned()
    };
    let password = login(Some("alice"));
    let mut browser = Browser::new();
    browser.send(&rig, "GET", "/v2/", &format!("{INTERFACE}{password}")).await.expect(200);
    let cookie = format!("{INTERFACE}cookie: session={}\r\n", browser.cookies["session"]);
    let answer = rig.send("GET", "/zot/auth/token?service=a", &password, "").await.expect(200);
    let token = format!("authorization: Bearer {}\r\n", text(&answer, "token"));
    let wish = json!({ "label": "ci", "scopes": [], "expirationDate": "" }).to_string();
    let answer = rig.send("POST", "/zot/auth/apikey", &password, &wish).await.expect(201);
    let key = basic("alice", &text(&answer, "apiKey"));
    let come = async |credentials: &str, agent: &str| {
        let fields = format!("{credentials}user-agent: {agent}\r\n");
        rig.send("GET", "/v2/team-a/x/tags/list", &fields, "").await.status.as_u16()
    };
    let all = [("password", &password), ("session", &cookie), ("token", &token), ("key", &key)];
    for (name, credentials) in all {
        assert_eq!((come(credentials, "good").await, come(credentials, "bad").await), (404, 403), "{name}");
    }
    // Another file, and she is not in it.
    let other = rig.directory.path().join("other");
    std::fs::write(&other, line("bob")).expect("written");
    std::fs::rename(&other, rig.htpasswd()).expect("replaced");
    for (name, credentials) in all {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while come(credentials, "good").await != 401 {
            assert!(std::time::Instant::now() < deadline, "{name} is good without her");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    rig.stop().await;
}
