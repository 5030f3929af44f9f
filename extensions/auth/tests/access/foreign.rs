//! Tokens of a token server: keys and algorithms, what tokens allow, and what clients are told.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use aws_lc_rs::{hmac, signature::KeyPair as _};
use orlop_api::access::Subject;
use orlop_auth::{
    Options,
    bearer::{DistributionOptions, Expected, Foreign, ForeignOptions, Keys, Realm},
};
use serde_json::{Value, json};

use crate::{
    rig::{Rig, basic, document, login, policy, sha256},
    signer::{Signer, base64url, pem, soon},
};

const PATIENCE: Duration = Duration::from_secs(60);

const REALM: &str = "https://auth.example/token";

/// `openssl genrsa 1024`, its public half.
const SHORT: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCqhV19w+XVxWEhtgELWjiDF2be
JNMkO3LXy0NxsMg9ctSmjrZCyyYkQPhqhCKBy8ORlVvIAxl8dQkdFGhCVPsWsRKw
q1CRO043hFPWzO10ahtg74is02OgZ9vwLPmeqU1G9orhzjVPJySj0QjGDsv7Idqt
o4wyYzl3G/Dj8hGVgQIDAQAB
-----END PUBLIC KEY-----
";

fn options(keys: &Path, expected: Expected) -> ForeignOptions {
    ForeignOptions {
        realm: Some(Realm::new(REALM, "registry.example").expect("a realm")),
        distribution: Some(DistributionOptions { keys: keys.to_owned(), expected }),
        ..ForeignOptions::default()
    }
}

/// Takes the tokens that are signed with the keys of this text.
async fn takes(keys: &str, tokens: &[&str]) -> Vec<bool> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("keys");
    fs::write(&path, keys).expect("written");
    let foreign = Foreign::open(options(&path, Expected::default())).expect("usable");
    let mut taken = Vec::new();
    for token in tokens {
        taken.push(foreign.subject(token).await.is_some());
    }
    taken
}

fn claims() -> Value {
    json!({"sub": "alice", "exp": soon(600), "nbf": soon(0), "iat": soon(0), "iss": "i", "aud": "registry.example"})
}

fn access(name: &str, actions: &[&str]) -> Value {
    let mut claims = claims();
    claims["access"] = json!([{"type": "repository", "name": name, "actions": actions}]);
    claims
}

#[tokio::test]
async fn every_kind_of_key_in_every_form_takes_the_algorithms_that_are_for_it() {
    let signers = [Signer::rsa(), Signer::ec("P-256"), Signer::ec("P-384"), Signer::ec("P-521"), Signer::ed()];
    let other = Signer::rsa();
    for signer in &signers {
        let jwk = signer.jwk(json!({"kid": "k", "use": "sig"}));
        let mut forms = vec![signer.pem(), jwk.to_string(), json!({"keys": [jwk]}).to_string()];
        if let Signer::Rsa(_) = signer {
            forms.push(pem("RSA PUBLIC KEY", &signer.public()));
        }
        let several = json!({"keys": [
            {"kty": "oct", "k": "c2VjcmV0"}, 7, {"kty": "new"}, signer.jwk(json!({"use": "enc"})),
            other.jwk(json!({"kid": "other"})), signer.jwk(json!({"kid": "k"})),
        ]});
        forms.push(several.to_string());
        forms.push([other.pem(), signer.pem()].concat());
        for algorithm in signer.algorithms() {
            let good = signer.token(&json!({"alg": algorithm, "typ": "JWT", "kid": "k"}), &claims());
            let unnamed = signer.token(&json!({"alg": algorithm}), &claims());
            let broken = format!("{}A", &good[..good.len() - 1]);
            let broken = if broken == good { format!("{}Q", &good[..good.len() - 1]) } else { broken };
            for form in &forms {
                let taken = takes(form, &[&good, &unnamed, &broken]).await;
                assert_eq!(taken, [true, true, false], "{algorithm} with {form}");
            }
        }
    }
}

/// What another library makes of the same keys: PKCS 8 as OpenSSL writes it, and its own encoder.
#[tokio::test]
async fn tokens_of_another_library_are_taken() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    for (kind, algorithm) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::ES256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, Algorithm::ES384),
        (&rcgen::PKCS_ED25519, Algorithm::EdDSA),
    ] {
        let pair = rcgen::KeyPair::generate_for(kind).expect("a key");
        let private = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_der(&pair.serialize_der()),
            _ => EncodingKey::from_ec_der(&pair.serialize_der()),
        };
        let token = encode(&Header::new(algorithm), &claims(), &private).expect("a token");
        let certificate = rcgen::CertificateParams::new(vec!["auth.example".to_owned()]);
        let certificate = certificate.and_then(|params| params.self_signed(&pair)).expect("a certificate");
        assert_eq!(takes(&pair.public_key_pem(), &[&token]).await, [true], "{algorithm:?}");
        assert_eq!(takes(&certificate.pem(), &[&token]).await, [true], "{algorithm:?}, with a certificate");
    }
}

/// S-59: CVE-2025-24976 (distribution), CVE-2026-33322 (MinIO), CVE-2015-9235 (`none`), CVE-2016-10555 (a public key as a secret), CVE-2018-0114 (a key that the token
/// brings), CVE-2022-39227 and their like.
#[tokio::test]
async fn a_token_chooses_neither_its_key_nor_its_algorithm() {
    let (signer, attacker) = (Signer::rsa(), Signer::rsa());
    let named = json!({"keys": [signer.jwk(json!({"kid": "k", "alg": "RS256"}))]}).to_string();
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    let unsigned = |algorithm: &str| format!("{}.{}.", part(&json!({"alg": algorithm})), part(&claims()));
    let by_secret = |secret: &[u8]| {
        let signed = format!("{}.{}", part(&json!({"alg": "HS256"})), part(&claims()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        format!("{signed}.{}", base64url(tag.as_ref()))
    };
    let with = |header: Value| attacker.token(&header, &claims());
    let own = |header: Value| signer.token(&header, &claims());
    let mut tokens = ["none", "None", "NONE", "nOnE", "", "RS256"].map(unsigned).to_vec();
    tokens.extend([by_secret(signer.pem().as_bytes()), by_secret(&signer.public()), by_secret(b"")]);
    tokens.extend([
        with(json!({"alg": "RS256"})),
        with(json!({"alg": "RS256", "jwk": attacker.jwk(json!({}))})),
        with(json!({"alg": "RS256", "jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/c"})),
        with(json!({"alg": "RS256", "kid": "../../dev/null"})),
        own(json!({"alg": "RS256", "kid": "../../dev/null"})),
        own(json!({"alg": "RS256", "kid": "k' OR '1'='1"})),
        own(json!({"alg": "RS256", "crit": ["exp"], "exp": 1})),
        own(json!({"alg": "RS256", "crit": []})),
        own(json!({"alg": "PS256"})),
        own(json!({"alg": "RS512"})),
        own(json!({"alg": "ES256"})),
        own(json!({"alg": ["RS256"]})),
        own(json!({"typ": "JWT"})),
        format!("{}.", own(json!({"alg": "RS256"}))),
        format!(" {}", own(json!({"alg": "RS256"}))),
        ".".repeat(1000),
        "a".repeat(1 << 20),
    ]);
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    assert_eq!(takes(&named, &tokens).await, vec![false; tokens.len()]);
    assert_eq!(takes(&named, &[&own(json!({"alg": "RS256"}))]).await, [true], "and this one is right");
    // A key of one curve is not taken for one of another, nor its point for a secret.
    let (p256, p384) = (Signer::ec("P-256"), Signer::ec("P-384"));
    let tokens = [p256.token(&json!({"alg": "ES384"}), &claims()), p384.token(&json!({"alg": "ES256"}), &claims())];
    for keys in [p256.pem(), p384.pem()] {
        assert_eq!(takes(&keys, &[&tokens[0], &tokens[1], &by_secret(&p256.public())]).await, [false; 3]);
    }
    let Signer::Ec(pair, _) = &p256 else { panic!("a key of a curve") };
    let garbage = [pair.public_key().as_ref(), &[0; 31]].concat();
    assert_eq!(takes(&p256.pem(), &[&format!("{}.{}", tokens[0], base64url(&garbage))]).await, [false]);
}

/// S-59: the time of a token, its issuer and its audience. zot looks at neither of the last two here.
#[tokio::test]
async fn a_token_has_its_time_and_what_was_asked_of_it() {
    let signer = Signer::ec("P-256");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("key.pem");
    fs::write(&path, signer.pem()).expect("written");
    let expected = Expected { issuer: Some("i".into()), audiences: vec!["registry.example".into()] };
    let foreign = Foreign::open(options(&path, expected)).expect("usable");
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        match value {
            Value::Null => drop(claims.as_object_mut().expect("an object").remove(name)),
            value => claims[name] = value,
        }
        signer.token(&json!({"alg": "ES256"}), &claims)
    };
    assert_eq!(foreign.subject(&with("exp", json!(soon(60)))).await, Some(Subject::user("alice", Vec::new())));
    for (name, value) in [
        ("exp", json!(soon(-1))),
        ("exp", Value::Null),
        ("exp", json!("never")),
        ("nbf", json!(soon(600))),
        ("iat", json!(soon(600))),
        ("iss", json!("j")),
        ("iss", Value::Null),
        ("aud", json!("other.example")),
        ("aud", Value::Null),
    ] {
        let token = with(name, value.clone());
        assert_eq!(foreign.subject(&token).await, None, "{name}: {value}");
        assert_eq!(foreign.subject(&token).await, None, "nor the second time");
    }
    for (name, subject) in [(json!(""), Subject::anonymous()), (json!("a\nb"), Subject::anonymous())] {
        assert_eq!(foreign.subject(&with("sub", name)).await, Some(subject));
    }
}

#[test]
fn keys_that_nobody_should_use_are_refused_with_the_reason() {
    let private = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    let many = json!({"keys": vec![Signer::ed().jwk(json!({})); 65]}).to_string();
    for (text, part) in [
        ("", "no key"),
        ("{}", "no key"),
        (r#"{"keys": []}"#, "no key"),
        (r#"{"keys": {}}"#, "not a list"),
        (r#"{"kty": "oct", "k": "c2VjcmV0"}"#, "no key"),
        ("{", "neither PEM nor JSON"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "key 1: PUBLIC KEY cannot be read"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "key 1: CERTIFICATE cannot be read"),
        (SHORT, "an RSA key of 1024 bits"),
        (private.as_str(), "private key"),
        (many.as_str(), "65 keys"),
    ] {
        let error = Keys::parse(text.as_bytes()).expect_err(part).to_string();
        assert!(error.contains(part) && error.lines().count() == 1, "{part:?} is not in: {error}");
    }
}

#[tokio::test]
async fn a_changed_file_of_keys_is_noticed_and_what_it_took_before_is_forgotten() {
    let (old, new) = (Signer::ed(), Signer::ed());
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("keys");
    fs::write(&path, old.pem()).expect("written");
    let foreign = Foreign::open(options(&path, Expected::default())).expect("usable");
    let token = |signer: &Signer| signer.token(&json!({"alg": "EdDSA"}), &claims());
    let (of_old, of_new) = (token(&old), token(&new));
    assert!(foreign.subject(&of_old).await.is_some() && foreign.subject(&of_new).await.is_none());
    let deadline = Instant::now() + PATIENCE;
    for (text, takes_old, takes_new) in [
        (json!({"keys": [old.jwk(json!({})), new.jwk(json!({}))]}).to_string(), true, true),
        (new.pem(), false, true),
        ("not a key".to_owned(), false, true),
    ] {
        let other = directory.path().join("other");
        fs::write(&other, text).expect("written");
        fs::rename(&other, &path).expect("replaced");
        while foreign.subject(&of_old).await.is_some() != takes_old
            || foreign.subject(&of_new).await.is_some() != takes_new
        {
            assert!(Instant::now() < deadline, "the change is not noticed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A registry that takes tokens of a token server, and passwords.
struct World {
    rig: Rig,
    signer: Signer,
}

impl World {
    async fn start() -> Self {
        let signer = Signer::ec("P-256");
        let keys = tempfile::NamedTempFile::new().expect("a file");
        fs::write(keys.path(), signer.pem()).expect("written");
        let foreign = Foreign::open(options(keys.path(), Expected::default())).expect("usable");
        let rig = Rig::of_users(|htpasswd| Options {
            htpasswd: Some(htpasswd),
            policy: Some(policy()),
            foreign: Some(foreign),
            ..Options::default()
        });
        World { rig: rig.await, signer }
    }

    fn token(&self, claims: &Value) -> String {
        format!("authorization: Bearer {}\r\n", self.signer.token(&json!({"alg": "ES256"}), claims))
    }
}

fn challenge(rest: &str) -> String {
    format!("Bearer realm=\"{REALM}\",service=\"registry.example\"{rest}")
}

#[tokio::test]
async fn clients_are_told_which_token_they_need() {
    let World { rig, signer } = &World::start().await;
    let digest = sha256("none");
    for (method, path, scope) in [
        ("GET", "/v2/", ""),
        ("GET", "/v2/team-a/x/manifests/latest", ",scope=\"repository:team-a/x:pull\""),
        ("HEAD", "/v2/team-a/x/manifests/latest", ",scope=\"repository:team-a/x:pull\""),
        ("PUT", "/v2/team-a/x/manifests/latest", ",scope=\"repository:team-a/x:pull,push\""),
        ("POST", "/v2/team-a/x/blobs/uploads/", ",scope=\"repository:team-a/x:pull,push\""),
        ("DELETE", &format!("/v2/team-a/x/blobs/{digest}"), ",scope=\"repository:team-a/x:delete\""),
    ] {
        let answer = rig.send(method, path, "", "").await.expect(401);
        assert_eq!(answer.challenge(), challenge(scope), "{method} {path}");
        let wrong = "authorization: Bearer eyJhbGciOiJub25lIn0.e30.\r\n";
        let answer = rig.send(method, path, wrong, "").await.expect(401);
        assert_eq!(answer.challenge(), challenge(&format!("{scope},error=\"invalid_token\"")), "{method} {path}");
        let narrow = signer.token(&json!({"alg": "ES256"}), &access("team-b/x", &["*"]));
        let narrow = format!("authorization: Bearer {narrow}\r\n");
        let answer = rig.send(method, path, &narrow, "").await;
        match path {
            // It needs a token, and no more.
            "/v2/" => assert_eq!(answer.status, 200),
            _ => {
                let answer = answer.expect(401);
                assert_eq!(answer.challenge(), challenge(&format!("{scope},error=\"insufficient_scope\"")), "{path}");
            }
        }
    }
    // Passwords work for those who send them, and who sent a wrong one is asked for a right one.
    rig.as_user("alice", "GET", "/v2/", "").await.expect(200);
    let answer = rig.send("GET", "/v2/", &basic("alice", "wrong"), "").await.expect(401);
    assert!(answer.challenge().starts_with("Basic realm="), "{}", answer.challenge());
}

/// Web interfaces and zot's own client look there for how to log in (zot's mgmt extension).
#[tokio::test]
async fn the_management_endpoint_tells_where_tokens_are() {
    let World { rig, .. } = &World::start().await;
    let answer = rig.send("GET", "/v2/_zot/ext/mgmt", "", "").await.expect(200);
    let document: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(document["http"]["auth"]["bearer"], json!({"realm": REALM, "service": "registry.example"}));
}

/// S-60, CVE-2025-68944 (Gitea): what a token says is what it allows, and nothing near it.
#[tokio::test]
async fn a_token_allows_what_it_says_and_nothing_else() {
    let world = World::start().await;
    let rig = &world.rig;
    let blob = rig.push_blob("root", "team-a/x", "a blob").await;
    let (digest, answer) = rig.push("root", "team-a/x", "latest", "a").await;
    answer.expect(201);
    rig.push("root", "team-b/x", "latest", "b").await.1.expect(201);
    let pull = world.token(&access("team-a/x", &["pull"]));
    let manifest = "/v2/team-a/x/manifests/latest";
    for path in [manifest, &format!("/v2/team-a/x/blobs/{blob}"), &format!("/v2/team-a/x/referrers/{digest}")] {
        rig.send("GET", path, &pull, "").await.expect(200);
    }
    let kind = "content-type: application/vnd.oci.image.index.v1+json\r\n";
    for (method, path) in [
        ("PUT", manifest),
        ("DELETE", manifest),
        ("DELETE", &*format!("/v2/team-a/x/blobs/{blob}")),
        ("POST", "/v2/team-a/x/blobs/uploads/"),
        ("GET", "/v2/team-a/x2/manifests/latest"),
        ("GET", "/v2/team-a/x/y/manifests/latest"),
        ("GET", "/v2/team-a/manifests/latest"),
        ("GET", "/v2/team-b/x/manifests/latest"),
        ("GET", "/v2/_orlop/gc"),
        ("GET", "/metrics"),
        // Whoever may pull for alice must not make himself a key that may do all that she may.
        ("POST", "/zot/auth/apikey"),
        ("GET", "/zot/auth/token"),
    ] {
        rig.send(method, path, &format!("{pull}{kind}"), &document("intruder")).await.expect(401);
    }
    let catalog = rig.send("GET", "/v2/_catalog", &pull, "").await.expect(200);
    assert_eq!(catalog.body, r#"{"repositories":["team-a/x"]}"#);
    // Policies do not count, neither for nor against it: erin may do nothing with her password.
    let mut erins = access("team-a/x", &["push", "pull"]);
    erins["sub"] = json!("erin");
    let push = format!("{}{kind}", world.token(&erins));
    rig.send("PUT", "/v2/team-a/x/manifests/latest", &push, &document("new")).await.expect(201);
    rig.send("PUT", "/v2/team-a/x/manifests/new", &push, &document("new")).await.expect(201);
    rig.send("DELETE", "/v2/team-a/x/manifests/new", &push, "").await.expect(401);
    rig.as_user("erin", "GET", manifest, "").await.expect(403);
    // But what is fixed stays, whoever says so.
    let all = format!("{}{kind}", world.token(&access("team-a/x", &["*"])));
    rig.send("PUT", "/v2/team-a/x/manifests/v1", &all, &document("v1")).await.expect(201);
    rig.send("PUT", "/v2/team-a/x/manifests/v1", &all, &document("v2")).await.expect(403);
    rig.send("DELETE", "/v2/team-a/x/manifests/new", &all, "").await.expect(202);
    world.rig.stop().await;
}

/// S-60: mounting takes `pull` where the blob is and `push` where it shall be.
#[tokio::test]
async fn a_mount_takes_both_rights() {
    let world = World::start().await;
    let rig = &world.rig;
    let blob = rig.push_blob("root", "team-a/x", "a blob").await;
    let path = format!("/v2/team-b/y/blobs/uploads/?mount={blob}&from=team-a/x");
    let mut both = access("team-b/y", &["push"]);
    let entry = json!({"type": "repository", "name": "team-a/x", "actions": ["pull"]});
    rig.send("POST", &path, &world.token(&both), "").await.expect(202);
    both["access"].as_array_mut().expect("a list").push(entry);
    rig.send("POST", &path, &world.token(&both), "").await.expect(201);
    let answer = rig.send("POST", &path, &world.token(&access("team-a/x", &["pull"])), "").await.expect(401);
    let scope = ",scope=\"repository:team-b/y:pull,push repository:team-a/x:pull\",error=\"insufficient_scope\"";
    assert_eq!(answer.challenge(), challenge(scope));
    world.rig.stop().await;
}

#[tokio::test]
async fn what_is_open_stays_open_without_a_token() {
    let world = World::start().await;
    let rig = &world.rig;
    rig.push("root", "open/x", "latest", "open").await.1.expect(201);
    for fields in [String::new(), login(Some("alice"))] {
        rig.send("GET", "/v2/open/x/manifests/latest", &fields, "").await.expect(200);
    }
    assert_eq!(rig.send("GET", "/v2/_catalog", "", "").await.expect(200).body, r#"{"repositories":["open/x"]}"#);
    // A token that says less allows less; without one there is what everybody may do.
    let narrow = world.token(&access("team-a/x", &["pull"]));
    rig.send("GET", "/v2/open/x/manifests/latest", &narrow, "").await.expect(401);
    assert_eq!(rig.send("GET", "/v2/", "", "").await.status, 401, "so that clients fetch tokens");
    world.rig.stop().await;
}
