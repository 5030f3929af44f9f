//! Other options while users are logged in: what they have goes on being good for as much as it says.

use std::{path::PathBuf, sync::Arc};

use http::{
    HeaderMap, Request, StatusCode,
    header::{AUTHORIZATION, COOKIE, SET_COOKIE},
    request::Parts,
    uri::Scheme,
};
use orlop_api::{
    access::{Access, Action, Subject, Unidentified},
    protocol::Account,
    server::Peer,
};
use orlop_auth::{Auth, Evidence, Options, Sealer, Sessions, Source};

use crate::rig;

/// Where the operator's key of sessions is read anew with each configuration.
const SESSION_KEY: &str = "a key of the operator that is long enough";

fn head(token: &str) -> Parts {
    with(&[(AUTHORIZATION.as_str(), &format!("Bearer {token}"))])
}

fn with(fields: &[(&str, &str)]) -> Parts {
    let request = fields.iter().fold(Request::get("/v2/"), |request, (name, value)| request.header(*name, *value));
    request.body(()).expect("a request").into_parts().0
}

/// A request from this address with a name and a password, of the web interface.
fn login(address: [u8; 4], user: &str, password: &str) -> Parts {
    let basic = format!("Basic {}", rig::base64(format!("{user}:{password}").as_bytes()));
    let mut head = with(&[(AUTHORIZATION.as_str(), &basic), ("x-zot-api-client", "zot-ui")]);
    let address = (address, 4000).into();
    let (scheme, certificate, tls_version) = (Scheme::HTTP, None, None);
    head.extensions.insert(Peer { address, client: address.ip(), scheme, certificate, tls_version });
    head
}

/// What the browser of somebody sends who has just logged in like this.
fn session(auth: &Auth, subject: &Subject) -> Parts {
    let mut answer = HeaderMap::new();
    auth.settle(subject, &login([192, 0, 2, 1], "x", "y"), StatusCode::OK, &mut answer);
    let cookies = answer.get_all(SET_COOKIE).iter().map(|cookie| cookie.to_str().expect("ASCII"));
    let pairs: Vec<&str> = cookies.map(|cookie| cookie.split(';').next().expect("a pair")).collect();
    with(&[(COOKIE.as_str(), &pairs.join("; ")), ("x-zot-api-client", "zot-ui")])
}

/// Somebody of a directory, as he is known after his password was right there.
fn of_directory() -> Subject {
    let evidence = Evidence { source: Source::Directory, ..Evidence::default() };
    Subject::user("dora", Vec::new()).with_evidence(Arc::new(evidence))
}

async fn name(auth: &Auth, head: &Parts) -> Option<String> {
    auth.identify(head).await.ok().and_then(|subject| subject.name().map(str::to_owned))
}

/// A file of users in a directory, and options with it.
fn users() -> (tempfile::TempDir, impl Fn() -> Options) {
    let directory = tempfile::tempdir().expect("a directory");
    let file: PathBuf = directory.path().join("htpasswd");
    std::fs::write(&file, [rig::line("alice"), rig::line("bob")].concat()).expect("written");
    let options = move || Options { htpasswd: Some(file.clone()), policy: Some(rig::policy()), ..Options::default() };
    (directory, options)
}

fn sessions() -> Option<Arc<Sessions>> {
    Some(Arc::new(Sessions::with(Sealer::of(SESSION_KEY, "").expect("a key"))))
}

#[tokio::test]
async fn tokens_and_users_stay_when_the_options_change() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("htpasswd");
    std::fs::write(&file, rig::line("alice")).expect("written");
    let options = |realm: &str| Options {
        htpasswd: Some(file.clone()),
        policy: Some(rig::policy()),
        realm: Some(realm.to_owned()),
        ..Options::default()
    };
    let auth = Auth::open(options("old")).expect("usable");
    let document = auth.token(&Subject::user("alice", Vec::new())).expect("a registry that is partly open has tokens");
    let document: serde_json::Value = serde_json::from_str(&document).expect("JSON");
    let head = head(document["token"].as_str().expect("a text"));

    // The file is gone: whoever is known from it is known still.
    std::fs::remove_file(&file).expect("removed");
    let renewed = auth.renewed(options("new")).expect("the same file of users");
    let subject = renewed.identify(&head).await.expect("the token is good");
    assert_eq!(subject.name(), Some("alice"));
    assert!(renewed.actions(&subject, "team-a/x").contains(Action::Delete));
    let challenges = renewed.challenges(&Request::get("/v2/").body(()).expect("a request").into_parts().0);
    assert!(challenges[0].to_str().is_ok_and(|text| text.contains("new")), "{challenges:?}");

    let other = Auth::open(Options { htpasswd: None, ..options("x") }).expect("without users");
    assert!(other.renewed(options("x")).is_err(), "another file has to be there");
}

/// S-65: what a logout ended stays so, although the key of sessions is read again.
#[tokio::test]
async fn a_session_that_was_ended_stays_ended() {
    let (_directory, options) = users();
    let auth = Auth::open(Options { sessions: sessions(), ..options() }).expect("usable");
    let (mut ended, going_on) =
        (session(&auth, &Subject::user("alice", Vec::new())), session(&auth, &Subject::user("bob", Vec::new())));
    assert_eq!(name(&auth, &ended).await.as_deref(), Some("alice"));
    ended.uri = "/zot/auth/logout".parse().expect("a path");
    let nobody = Subject::anonymous();
    let (account, body) = (&Account::Logout, bytes::Bytes::new());
    let call = orlop_api::access::AccountCall { account, subject: &nobody, head: &ended, body };
    assert_eq!(auth.account(call).await.expect("an answer").status(), 200);
    assert_eq!(name(&auth, &ended).await, None);

    let renewed = auth.renewed(Options { sessions: sessions(), ..options() }).expect("usable");
    assert_eq!(name(&renewed, &ended).await, None);
    assert_eq!(name(&renewed, &going_on).await.as_deref(), Some("bob"), "and no other");
    let other = Sessions::with(Sealer::of("another key of the operator, as long", "").expect("a key"));
    let rekeyed = auth.renewed(Options { sessions: Some(Arc::new(other)), ..options() }).expect("usable");
    assert_eq!(name(&rekeyed, &going_on).await, None, "with another key all end");
}

#[tokio::test]
async fn an_address_that_waits_goes_on_waiting() {
    let (_directory, options) = users();
    let limited = |failures_max| Options { failures_max, ..options() };
    let auth = Auth::open(limited(Some(3))).expect("usable");
    for number in 0..20 {
        let guess = login([192, 0, 2, 7], "alice", &format!("guess {number}"));
        assert!(auth.identify(&guess).await.is_err());
    }
    let right = login([192, 0, 2, 7], "alice", &rig::password("alice"));
    let waits = async |auth: &Auth| matches!(auth.identify(&right).await, Err(Unidentified::Throttled(_)));
    assert!(waits(&auth).await);
    let same = auth.renewed(limited(Some(3))).expect("usable");
    assert!(waits(&same).await, "nobody gets new guesses by waiting for a change");
    let other = auth.renewed(limited(Some(4))).expect("usable");
    assert_eq!(name(&other, &right).await.as_deref(), Some("alice"), "another limit counts anew");
    let without = auth.renewed(limited(None)).expect("usable");
    assert_eq!(name(&without, &right).await.as_deref(), Some("alice"));
}

#[cfg(feature = "ldap")]
#[tokio::test]
async fn who_a_directory_has_let_in_goes_with_it() {
    use orlop_auth::ldap::{Ldap, LdapOptions, Security};
    let (_directory, options) = users();
    // Nobody is asked: what is looked at here is who counts without asking.
    let directory = Ldap::open(&LdapOptions {
        host: "192.0.2.9".to_owned(),
        port: 389,
        security: Security::Plain,
        authorities: None,
        skip_verify: false,
        credentials: None,
        base: "dc=example".to_owned(),
        subtree: false,
        user_attribute: "uid".to_owned(),
        user_filter: None,
        group_attribute: None,
        remembered: std::time::Duration::ZERO,
        login_time_max: std::time::Duration::from_millis(1),
    });
    let directory = directory.expect("usable");
    let with_directory = || Options { ldap: Some(directory.clone()), sessions: sessions(), ..options() };
    let auth = Auth::open(with_directory()).expect("usable");
    let token = auth.token(&of_directory()).expect("a registry that is partly open has tokens");
    let token: serde_json::Value = serde_json::from_str(&token).expect("JSON");
    let token = head(token["token"].as_str().expect("a text"));
    let (hers, of_file) = (session(&auth, &of_directory()), session(&auth, &Subject::user("alice", Vec::new())));
    let same = auth.renewed(with_directory()).expect("usable");
    for auth in [&auth, &same] {
        assert_eq!(name(auth, &hers).await.as_deref(), Some("dora"));
        assert_eq!(name(auth, &token).await.as_deref(), Some("dora"));
    }
    let without = same.renewed(Options { sessions: sessions(), ..options() }).expect("usable");
    assert_eq!(name(&without, &hers).await, None);
    assert_eq!(name(&without, &token).await, None);
    assert_eq!(name(&without, &of_file).await.as_deref(), Some("alice"), "and nobody else");
}
