//! Tokens of a provider that stand for users: keys that come from the provider, claims that become names and groups,
//! and the token endpoint.

use std::time::Duration;

use orlop_api::access::{Action, Actions};
use orlop_auth::{
    Options, Pattern, Policy, Rights, Rules,
    bearer::{Authorities, Foreign, ForeignOptions, Mapping, ProviderOptions, UpstreamOptions},
};
use serde_json::{Value, json};

use crate::{
    issuer::Issuer,
    rig::{Rig, basic, login},
    signer::{Signer, soon},
};

fn provider(issuer: &Issuer) -> ProviderOptions {
    ProviderOptions {
        issuer: issuer.url(),
        audiences: vec!["registry".to_owned()],
        mapping: Mapping::default(),
        authorities: Authorities::System,
        skip_issuer: false,
    }
}

fn open(options: ProviderOptions) -> Foreign {
    Foreign::open(ForeignOptions { providers: vec![options], ..ForeignOptions::default() }).expect("usable")
}

fn claims(issuer: &Issuer) -> Value {
    json!({"iss": issuer.url(), "sub": "job", "aud": ["other", "registry"], "exp": soon(600), "iat": soon(0)})
}

fn token(signer: &Signer, kid: &str, claims: &Value) -> String {
    signer.token(&json!({"alg": signer.algorithms()[0], "kid": kid}), claims)
}

async fn name(foreign: &Foreign, token: &str) -> Option<String> {
    foreign.subject(token).await.and_then(|subject| subject.name().map(str::to_owned))
}

#[tokio::test]
async fn keys_come_from_the_provider_when_they_are_needed_and_once() {
    let (issuer, first, second) = (Issuer::start().await, Signer::rsa(), Signer::ec("P-384"));
    let foreign = open(provider(&issuer));
    let of_first = token(&first, "1", &claims(&issuer));
    assert_eq!(issuer.requests().len(), 0, "nobody is asked before a token comes");
    // The provider knows nothing yet: its token is not taken, and it is not asked again at once.
    assert_eq!(name(&foreign, &of_first).await, None);
    assert_eq!(name(&foreign, &of_first).await, None);
    assert_eq!(issuer.requests().len(), 1);

    issuer.has_keys(&[first.jwk(json!({"kid": "1", "use": "sig"}))]);
    let foreign = open(provider(&issuer));
    let expected = Some(format!("{}/job", issuer.url()));
    let asked = async || name(&foreign, &of_first).await;
    let (a, b, c) = tokio::join!(asked(), asked(), asked());
    assert_eq!([a, b, c], [expected.clone(), expected.clone(), expected]);
    assert_eq!(issuer.requests().len(), 3, "of three one asked, for the document and for the keys");

    // A key that is not known is asked for, but not all the time: whoever makes names up would else ask for us.
    issuer.has_keys(&[first.jwk(json!({"kid": "1"})), second.jwk(json!({"kid": "2"}))]);
    for kid in ["2", "3", "../../dev/null", ""] {
        assert_eq!(name(&foreign, &token(&second, kid, &claims(&issuer))).await, None, "{kid}");
    }
    assert_eq!(issuer.requests().len(), 3);
    assert!(name(&foreign, &of_first).await.is_some(), "and those that are known are taken meanwhile");
}

/// S-59: nobody is asked for what a token says of itself, and what is not for here does not count.
#[tokio::test]
async fn only_tokens_of_the_provider_for_this_registry_are_taken() {
    let (issuer, other) = (Issuer::start().await, Issuer::start().await);
    let (signer, attacker) = (Signer::rsa(), Signer::rsa());
    issuer.has_keys(&[signer.jwk(json!({"kid": "1"}))]);
    other.has_keys(&[attacker.jwk(json!({"kid": "1"}))]);
    let foreign = open(provider(&issuer));
    let with = |name: &str, value: Value| {
        let mut claims = claims(&issuer);
        claims[name] = value;
        token(&signer, "1", &claims)
    };
    for (what, token) in [
        ("another issuer", with("iss", json!(other.url()))),
        ("another audience", with("aud", json!("other"))),
        ("no audience", with("aud", Value::Null)),
        ("over", with("exp", json!(soon(-1)))),
        ("not yet", with("nbf", json!(soon(600)))),
        ("no end", with("exp", Value::Null)),
        ("another key", token(&attacker, "1", &claims(&issuer))),
        ("no user", with("sub", json!(""))),
        ("a strange user", with("sub", json!("a\nb"))),
        (
            "a key of its own",
            attacker.token(
                &json!({"alg": "RS256", "jwk": attacker.jwk(json!({})), "jku": format!("{}/keys", other.url())}),
                &claims(&issuer),
            ),
        ),
        ("no signature", {
            let good = with("sub", json!("job"));
            format!("{}.", good.rsplit_once('.').expect("three parts").0)
        }),
    ] {
        assert_eq!(name(&foreign, &token).await, None, "{what}");
    }
    assert!(other.requests().is_empty());
    assert!(name(&foreign, &with("sub", json!("job"))).await.is_some());
    // Whatever the issuer is, if that is so wanted: the audience and the key count.
    let foreign = open(ProviderOptions { skip_issuer: true, ..provider(&issuer) });
    assert_eq!(
        name(&foreign, &with("iss", json!("https://elsewhere"))).await.as_deref(),
        Some("https://elsewhere/job")
    );
    assert_eq!(name(&foreign, &with("aud", json!("other"))).await, None);
}

#[tokio::test]
async fn a_provider_is_believed_about_itself_only() {
    let (issuer, other, signer) = (Issuer::start().await, Issuer::start().await, Signer::ed());
    let key = signer.jwk(json!({"kid": "1"}));
    other.has_keys(&[key]);
    let token = token(&signer, "1", &claims(&issuer));
    let document = |issuer: &str, keys: String| json!({"issuer": issuer, "jwks_uri": keys});
    let keys = format!("{}/keys", other.url());
    for answer in
        [document(&other.url(), keys.clone()), document(&issuer.url(), "no address".into()), json!([]), json!({})]
    {
        issuer.answers("/.well-known/openid-configuration", &answer);
        assert_eq!(name(&open(provider(&issuer)), &token).await, None, "{answer}");
    }
    issuer.answers_with("/.well-known/openid-configuration", &format!("302 Found\r\nlocation: {}", other.url()));
    assert_eq!(name(&open(provider(&issuer)), &token).await, None, "it does not send us elsewhere");
    assert!(other.requests().is_empty());
    issuer.answers("/.well-known/openid-configuration", &document(&issuer.url(), keys));
    assert!(name(&open(provider(&issuer)), &token).await.is_some(), "but it says itself where its keys are");
}

#[tokio::test]
async fn a_certificate_is_trusted_if_it_was_named() {
    let ((issuer, pem), signer) = (Issuer::start_tls().await, Signer::ec("P-256"));
    issuer.has_keys(&[signer.jwk(json!({"kid": "1"}))]);
    let token = token(&signer, "1", &claims(&issuer));
    assert_eq!(name(&open(provider(&issuer)), &token).await, None);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, &pem).expect("written");
    for authorities in [Authorities::Text(pem), Authorities::File(path)] {
        let foreign = open(ProviderOptions { authorities, ..provider(&issuer) });
        assert!(name(&foreign, &token).await.is_some());
    }
    let options = ProviderOptions { authorities: Authorities::Text("nothing".to_owned()), ..provider(&issuer) };
    let opened = Foreign::open(ForeignOptions { providers: vec![options], ..ForeignOptions::default() });
    let error = opened.map(drop).expect_err("refused").to_string();
    assert!(error.contains("certificateAuthority"), "{error}");
}

#[cfg(feature = "conditions")]
mod mapped {
    use orlop_auth::{Expression, bearer::Expressions};

    use super::*;

    fn expression(text: &str) -> Expression {
        Expression::compile(text, &orlop_auth::bearer::VARIABLES).expect(text)
    }

    fn mapping(validation: &str, username: &str, groups: &str) -> Mapping {
        let some = |text: &str| (!text.is_empty()).then(|| expression(text));
        Mapping {
            expressions: Expressions {
                variables: vec![
                    ("repo".to_owned(), expression("claims.sub.split(':')[1]")),
                    ("org".to_owned(), expression("vars.repo.split('/')[0]")),
                ],
                validations: vec![(expression(validation), "only of our organisation".to_owned())],
                username: some(username),
                groups: some(groups),
            },
        }
    }

    #[tokio::test]
    async fn claims_become_names_and_groups_or_nobody() {
        let (issuer, signer) = (Issuer::start().await, Signer::rsa());
        issuer.has_keys(&[signer.jwk(json!({"kid": "1"}))]);
        let mut claims = claims(&issuer);
        claims["sub"] = json!("repo:acme/app:ref:refs/heads/main");
        claims["teams"] = json!(["a", "b"]);
        claims["n"] = json!(3);
        let token = token(&signer, "1", &claims);
        let subject = async |mapping: Mapping| {
            let foreign = open(ProviderOptions { mapping, ..provider(&issuer) });
            foreign.subject(&token).await
        };
        let found = subject(mapping("vars.org == 'acme'", "'gh:' + vars.repo", "claims.teams")).await.expect("a user");
        assert_eq!((found.name(), found.groups()), (Some("gh:acme/app"), &["a".into(), "b".into()][..]));
        let found = subject(mapping("true", "", "vars.org")).await.expect("a user");
        let expected = format!("{}/repo:acme/app:ref:refs/heads/main", issuer.url());
        assert_eq!((found.name(), found.groups()), (Some(&*expected), &["acme".into()][..]));
        for (validation, username, groups) in [
            ("vars.org == 'other'", "vars.repo", ""),
            ("claims.missing == 'x'", "vars.repo", ""),
            ("'yes'", "vars.repo", ""),
            ("true", "claims.missing", ""),
            ("true", "claims.n", ""),
            ("true", "''", ""),
            ("true", "'a\\nb'", ""),
            ("true", "vars.repo", "claims.missing"),
            ("true", "vars.repo", "claims.n"),
            ("true", "vars.repo", "[1]"),
            ("true", "vars.repo", "['']"),
        ] {
            assert_eq!(subject(mapping(validation, username, groups)).await, None, "{validation} {username} {groups}");
        }
    }
}

/// A registry where `builders` push to `app`, everybody reads `open`, and alice has a password.
async fn rig(issuer: &Issuer, upstream: Option<&Issuer>) -> Rig {
    const READ: Actions = Actions::of(&[Action::Read]);
    let rights = |user: String| Rights { users: vec![user], actions: Actions::FULL, ..Rights::default() };
    let rules = |policies| Rules { policies, ..Rules::default() };
    let pattern = |text: &str| Pattern::new(text).expect("a pattern");
    let policy = Policy::new(
        vec![
            (pattern("app/**"), rules(vec![rights(format!("{}/job", issuer.url())), rights("alice".to_owned())])),
            (pattern("open/**"), Rules { default: READ, anonymous: READ, ..Rules::default() }),
        ],
        Rights { users: vec!["root".to_owned()], actions: Actions::FULL, ..Rights::default() },
        Vec::new(),
        orlop_auth::Metrics::default(),
    );
    let upstream = upstream.map(|server| {
        let realm = format!("{}/token?fixed=1", server.url());
        UpstreamOptions::new(&realm, Some("behind".to_owned()), true).expect("an address")
    });
    let foreign = ForeignOptions { providers: vec![provider(issuer)], upstream, ..ForeignOptions::default() };
    let foreign = Some(Foreign::open(foreign).expect("usable"));
    Rig::of_users(|htpasswd| Options {
        htpasswd: Some(htpasswd),
        policy: Some(policy),
        fail_delay: Duration::ZERO,
        foreign,
        #[cfg(feature = "openid")]
        providers: Some(staff()),
        ..Options::default()
    })
    .await
}

/// Where browsers log in; nobody does here.
#[cfg(feature = "openid")]
fn staff() -> orlop_auth::Providers {
    use orlop_auth::{Claims, Outbound, ProviderKind, ProviderOptions, Providers};

    let kind = ProviderKind::OpenId { issuer: "https://staff.example.org".to_owned(), claims: Claims::default() };
    let options = ProviderOptions {
        name: "oidc".to_owned(),
        label: String::new(),
        client_id: "registry".to_owned(),
        client_secret: None,
        scopes: Vec::new(),
        kind,
    };
    Providers::open(vec![options], &[], Outbound::new(None).expect("a client")).expect("usable")
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

fn document(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{body}: {error}"))
}

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

#[tokio::test]
async fn a_token_of_a_provider_has_the_rights_of_its_user() {
    let (issuer, signer) = (Issuer::start().await, Signer::ec("P-256"));
    issuer.has_keys(&[signer.jwk(json!({"kid": "1"}))]);
    let rig = rig(&issuer, None).await;
    let job = bearer(&token(&signer, "1", &claims(&issuer)));
    let mut others = claims(&issuer);
    others["sub"] = json!("other");
    let other = bearer(&token(&signer, "1", &others));
    rig.send("POST", "/v2/app/x/blobs/uploads/", &job, "").await.expect(202);
    rig.send("POST", "/v2/app/x/blobs/uploads/", &other, "").await.expect(403);
    rig.send("POST", "/v2/other/blobs/uploads/", &job, "").await.expect(403);
    rig.send("GET", "/v2/", &other, "").await.expect(200);
    rig.push("root", "open/x", "latest", "o").await.1.expect(201);
    rig.send("GET", "/v2/open/x/manifests/latest", &other, "").await.expect(200);
    rig.send("GET", "/v2/open/x/manifests/latest", "", "").await.expect(200);
    rig.send("GET", "/v2/", &bearer("a.b.c"), "").await.expect(401);
    let asked = rig.send("GET", "/v2/", "", "").await.expect(401);
    assert_eq!(asked.challenge(), r#"Bearer realm="http://a/zot/auth/token",service="a""#);
    let asked = rig.send("GET", "/v2/app/x/tags/list", "", "").await.expect(401);
    let expected = r#"Bearer realm="http://a/zot/auth/token",service="a",scope="repository:app/x:pull""#;
    assert_eq!(asked.challenge(), expected);
    assert_eq!(issuer.requests().len(), 2, "one look at the keys for all of it");
    rig.stop().await;
}

#[tokio::test]
async fn the_token_endpoint_takes_tokens_for_passwords_and_passwords_for_tokens() {
    let (issuer, signer) = (Issuer::start().await, Signer::ec("P-256"));
    issuer.has_keys(&[signer.jwk(json!({"kid": "1"}))]);
    let rig = rig(&issuer, None).await;
    let token = token(&signer, "1", &claims(&issuer));
    let path = "/zot/auth/token?service=a&scope=repository:app/x:pull";
    let as_password = rig.send("GET", path, &basic("oidc", &token), "").await.expect(200);
    assert_eq!(as_password.header("cache-control"), Some("no-store"));
    assert_eq!(as_password.header("pragma"), Some("no-cache"));
    let answer = document(&as_password.body);
    assert_eq!((&answer["token"], &answer["access_token"]), (&json!(token), &json!(token)));
    assert!(answer["expires_in"].as_u64().is_some_and(|seconds| (500..=600).contains(&seconds)), "{answer}");
    assert!(answer["issued_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{answer}");
    for field in ["password", "id_token", "access_token", "refresh_token", "token"] {
        let form = format!("grant_type=password&username=x&service=a&{field}={token}");
        let answer = rig.send("POST", "/zot/auth/token", FORM, &form).await.expect(200);
        assert_eq!(document(&answer.body)["token"], json!(token), "{field}");
    }
    // A password becomes a token that stands for its user.
    for answer in [
        rig.send("GET", path, &login(Some("alice")), "").await,
        rig.send("POST", "/zot/auth/token", FORM, "grant_type=password&username=alice&password=ecila").await,
    ] {
        let own = document(&answer.expect(200).body)["token"].as_str().expect("a token").to_owned();
        rig.send("GET", "/v2/app/none/tags/list", &bearer(&own), "").await.expect(404);
        rig.send("GET", "/v2/other/tags/list", &bearer(&own), "").await.expect(403);
        rig.send("GET", path, &bearer(&own), "").await.expect(401);
    }
    // Nobody gets a token for what is open.
    let own = document(&rig.send("GET", path, "", "").await.expect(200).body)["token"].as_str().map(bearer);
    let own = own.expect("a token");
    rig.send("GET", "/v2/", &own, "").await.expect(200);
    rig.send("GET", "/v2/app/none/tags/list", &own, "").await.expect(401);
    rig.stop().await;
}

#[tokio::test]
async fn the_token_endpoint_gives_nothing_for_what_is_not_right() {
    let (issuer, signer) = (Issuer::start().await, Signer::ec("P-256"));
    issuer.has_keys(&[signer.jwk(json!({"kid": "1"}))]);
    let server = Issuer::start().await;
    server.answers("/token", &json!({"token": "t"}));
    let (rig, with_server) = (rig(&issuer, None).await, rig(&issuer, Some(&server)).await);
    let mut over = claims(&issuer);
    over["exp"] = json!(soon(-10));
    let over = token(&signer, "1", &over);
    for rig in [&rig, &with_server] {
        let answer = rig.send("GET", "/zot/auth/token", &basic("oidc", &over), "").await.expect(401);
        assert!(answer.challenge().starts_with("Basic realm="), "{answer:?}");
        rig.send("POST", "/zot/auth/token", FORM, &format!("id_token={over}")).await.expect(401);
        rig.send("GET", "/zot/auth/token", &bearer(&over), "").await.expect(401);
        rig.send("POST", "/zot/auth/token", "", "token=x").await.expect(400);
        rig.send("POST", "/zot/auth/token", FORM, "token=%").await.expect(400);
        rig.send("POST", "/zot/auth/token", FORM, &format!("token={}", "a".repeat(64 << 10))).await.expect(413);
        rig.send("PUT", "/zot/auth/token", FORM, "token=x").await.expect(405);
    }
    assert!(server.requests().is_empty(), "what is meant for here is shown to nobody else");
    rig.send("GET", "/zot/auth/token", &basic("alice", "wrong"), "").await.expect(401);
    rig.send("POST", "/zot/auth/token", FORM, "username=alice&password=wrong").await.expect(401);
    with_server.stop().await;
    rig.stop().await;
}

#[tokio::test]
async fn what_is_not_known_here_is_asked_for_behind() {
    let (issuer, server) = (Issuer::start().await, Issuer::start().await);
    let rig = rig(&issuer, Some(&server)).await;
    server.answers("/token", &json!({"token": "of the other"}));
    let path = "/zot/auth/token?service=a&scope=repository:app/x:pull";
    let answer = rig.send("GET", path, &basic("bob", "unknown"), "").await.expect(200);
    assert_eq!(answer.body, r#"{"token":"of the other"}"#);
    let sent = server.requests().pop().expect("a request");
    let line = "GET /token?fixed=1&scope=repository%3Aapp%2Fx%3Apull&service=behind HTTP/1.1";
    assert_eq!(sent.lines().next(), Some(line));
    assert!(sent.contains(basic("bob", "unknown").trim_end()), "{sent}");
    rig.send("POST", path, FORM, "service=a&username=bob&password=x%26y").await.expect(200);
    let sent = server.requests().pop().expect("a request");
    assert!(sent.starts_with("POST /token?fixed=1&scope=") && !sent.contains("service=a"), "{sent}");
    assert!(sent.ends_with("username=bob&password=x%26y&service=behind"), "{sent}");
    // A user of this registry is not shown to the other.
    let count = server.requests().len();
    rig.send("GET", path, &login(Some("alice")), "").await.expect(200);
    assert_eq!(server.requests().len(), count);
    // Nor is what a browser's provider has said of somebody.
    #[cfg(feature = "openid")]
    {
        let token = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL3N0YWZmLmV4YW1wbGUub3JnIn0.c2ln";
        rig.send("GET", path, &basic("bob", token), "").await.expect(401);
        assert_eq!(server.requests().len(), count);
    }
    for (status, expected) in [
        ("401 Unauthorized", 401),
        ("403 Forbidden", 401),
        ("302 Found\r\nlocation: http://127.0.0.1:1/", 502),
        ("500 Internal Server Error", 502),
    ] {
        server.answers_with("/token", status);
        rig.send("GET", path, &basic("bob", "unknown"), "").await.expect(expected);
    }
    rig.stop().await;
}
