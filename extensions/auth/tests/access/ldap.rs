//! Logins that a real directory knows.

use std::{
    fs,
    io::Read,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;
use orlop_api::access::{Access, Action, Actions, Subject, Unidentified};
use orlop_auth::{
    Auth, Keys, Options, Pattern, Policy, Rights, Rules,
    ldap::{CONNECTIONS_MAX, Ldap, LdapOptions, Security},
};

use crate::{
    rig::{Rig, basic, line},
    slapd::{ADMIN, ADMIN_PASSWORD, BASE, LOOKUP, Slapd, password},
};

const DEVELOPERS: &str = "cn=developers,ou=groups,dc=example,dc=org";

fn open(options: &LdapOptions) -> Arc<Ldap> {
    Ldap::open(options).expect("usable")
}

async fn log_in(ldap: &Arc<Ldap>, user: &str) -> Option<Subject> {
    ldap.user(user, &password(user)).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_says_who_somebody_is_and_of_which_groups() {
    let slapd = Slapd::start("");
    let ldap = open(&slapd.options());
    let alice = log_in(&ldap, "alice").await.expect("she is let in");
    assert_eq!(alice.name(), Some("alice"));
    let mut groups: Vec<&str> = alice.groups().iter().map(|group| &**group).collect();
    groups.sort_unstable();
    assert_eq!(groups, ["cn=admins,ou=groups,dc=example,dc=org", DEVELOPERS], "as they are written there");
    assert!(log_in(&ldap, "bob").await.is_some_and(|bob| bob.groups().is_empty()));
    for (user, password) in [("alice", "wrong"), ("alice", "bob"), ("nobody", "ydobon"), ("mute", "etum"), ("", "")] {
        assert_eq!(ldap.user(user, password).await, Ok(None), "{user}");
    }
    let without_groups = open(&LdapOptions { group_attribute: None, ..slapd.options() });
    assert!(log_in(&without_groups, "alice").await.is_some_and(|alice| alice.groups().is_empty()));
}

/// S-126, RFC 4513 section 5.1.2: directories let a name without a password in as nobody, which is a yes to who does
/// not look. This one does so, too.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_password_is_no_password() {
    let slapd = Slapd::start("");
    let ldap = open(&slapd.options());
    for user in ["alice", "nobody", "mute", "twin"] {
        assert_eq!(ldap.user(user, "").await, Ok(None), "{user}");
    }
}

/// S-126: names that mean something in a filter or in the name of an entry are names like any other.
#[tokio::test(flavor = "multi_thread")]
async fn no_name_is_more_than_a_name() {
    let slapd = Slapd::start("");
    let ldap = open(&slapd.options());
    for user in ["a*b", "c,d+e\"f\\g", "(h)=#"] {
        assert!(log_in(&ldap, user).await.is_some(), "{user}");
    }
    let attempts =
        ["*", "ali*", "alice)(uid=*", "*)(uid=*", "*))(|(uid=*", "a\\2ab", "a\\2a", "alice\\00", LOOKUP, "uid=alice"];
    for user in attempts {
        for password in ["ecila", "bob", "b*a"] {
            assert_eq!(ldap.user(user, password).await, Ok(None), "{user}");
        }
    }
    assert_eq!(ldap.user(&"a".repeat(256), "x").await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_entry_is_a_user() {
    let slapd = Slapd::start("");
    let ldap = open(&slapd.options());
    assert_eq!(log_in(&ldap, "twin").await, None, "two have the name and the password");
    assert!(log_in(&ldap, "deep").await.is_some());
    let level = open(&LdapOptions { subtree: false, ..slapd.options() });
    assert_eq!(log_in(&level, "deep").await, None, "it is further below");
    assert!(log_in(&level, "twin").await.is_some(), "one of the two is right below");
    let staff = open(&LdapOptions { user_filter: Some("employeeType=staff".to_owned()), ..slapd.options() });
    assert!(log_in(&staff, "alice").await.is_some());
    assert_eq!(log_in(&staff, "bob").await, None, "he is a guest");
}

/// A directory must not choose who is asked next, and so who sees a password.
#[tokio::test(flavor = "multi_thread")]
async fn referrals_are_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("bound");
    elsewhere.set_nonblocking(true).expect("set");
    let address = elsewhere.local_addr().expect("an address");
    let referral = format!(
        "dn: cn=elsewhere,{BASE}\nobjectClass: referral\nobjectClass: extensibleObject\ncn: elsewhere\n\
         ref: ldap://{address}/{BASE}\n\n"
    );
    let slapd = Slapd::start(&referral);
    let ldap = open(&slapd.options());
    assert!(log_in(&ldap, "alice").await.is_some(), "what is here counts");
    assert_eq!(log_in(&ldap, "carol").await, None);
    let moved = open(&LdapOptions { base: format!("cn=elsewhere,{BASE}"), ..slapd.options() });
    assert_eq!(moved.user("alice", "ecila").await, Err(Unidentified::Unavailable), "nobody can say");
    let error = elsewhere.accept().map(drop).expect_err("nobody was asked there");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_go_over_tls_to_who_is_believed() {
    let slapd = Slapd::start("");
    let [plain, tls] = slapd.ports;
    let trusting = LdapOptions { authorities: Some(slapd.path("ca.pem")), ..slapd.options() };
    for (security, port) in [(Security::Tls, tls), (Security::StartTls, plain)] {
        let options = LdapOptions { security, port, ..trusting.clone() };
        assert!(log_in(&open(&options), "alice").await.is_some(), "{security:?}");
        assert_eq!(open(&options).user("alice", "wrong").await, Ok(None), "{security:?}");
        let unknown = LdapOptions { authorities: None, ..options.clone() };
        assert_eq!(open(&unknown).user("alice", "ecila").await, Err(Unidentified::Unavailable), "{security:?}");
        let misnamed = LdapOptions { host: "127.0.0.1".to_owned(), ..options.clone() };
        assert_eq!(open(&misnamed).user("alice", "ecila").await, Err(Unidentified::Unavailable), "{security:?}");
        let careless = LdapOptions { skip_verify: true, ..misnamed };
        assert!(log_in(&open(&careless), "alice").await.is_some(), "{security:?}");
    }
}

/// The account's password is changed by replacing the file; and without the right one nobody can say who somebody is.
#[tokio::test(flavor = "multi_thread")]
async fn the_account_is_the_one_of_the_file() {
    let slapd = Slapd::start("");
    let ldap = open(&slapd.options());
    let right = fs::read_to_string(slapd.path("lookup.json")).expect("there");
    fs::write(slapd.path("lookup.json"), format!(r#"{{"bindDN": "{LOOKUP}", "bindPassword": "wrong"}}"#))
        .expect("written");
    assert_eq!(ldap.user("alice", "ecila").await, Err(Unidentified::Unavailable));
    fs::write(slapd.path("lookup.json"), "{").expect("written");
    assert_eq!(ldap.user("alice", "ecila").await, Err(Unidentified::Unavailable), "it stays as it was");
    fs::write(slapd.path("lookup.json"), right).expect("written");
    assert!(log_in(&ldap, "alice").await.is_some());
    let nobody = open(&LdapOptions { credentials: None, ..slapd.options() });
    assert_eq!(nobody.user("alice", "ecila").await, Err(Unidentified::Unavailable), "nobody may search here");
}

/// zot asks one after the other over one connection; and each request asks (zot issue 224).
#[tokio::test(flavor = "multi_thread")]
async fn many_log_in_at_once_and_are_remembered() {
    let mut slapd = Slapd::start("");
    let ldap = open(&slapd.remembering());
    let mut logins = tokio::task::JoinSet::new();
    for number in 0..4 * CONNECTIONS_MAX {
        let ldap = ldap.clone();
        logins.spawn(async move {
            let user = ["alice", "bob", "deep", "a*b"][number % 4];
            // Some of them wrong, which takes nothing from the others.
            let wrong = number % 3 == 0;
            let password = if wrong { format!("wrong {number}") } else { password(user) };
            (wrong, ldap.user(user, &password).await)
        });
    }
    while let Some(login) = logins.join_next().await {
        let (wrong, login) = login.expect("no panic");
        assert_eq!(login.expect("an answer").is_none(), wrong);
    }
    slapd.stop();
    assert!(log_in(&ldap, "alice").await.is_some(), "she is known for a while, with nobody to ask");
    assert_eq!(ldap.user("alice", "wrong").await, Err(Unidentified::Unavailable));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_is_forgotten_in_time() {
    let mut slapd = Slapd::start("");
    let ldap = open(&LdapOptions { remembered: Duration::from_millis(50), ..slapd.options() });
    assert!(log_in(&ldap, "alice").await.is_some());
    slapd.stop();
    let deadline = Instant::now() + Duration::from_secs(60);
    while ldap.user("alice", "ecila").await.is_ok() {
        assert!(Instant::now() < deadline, "she is known for ever");
        tokio::task::yield_now().await;
    }
}

/// A directory that takes connections and says nothing holds nobody for long, however many come.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_hangs_is_given_up_in_time() {
    let slapd = Slapd::start("");
    let silent = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = silent.local_addr().expect("an address").port();
    for security in [Security::Plain, Security::StartTls, Security::Tls] {
        let time_max = Duration::from_millis(300);
        let ldap = open(&LdapOptions { port, security, login_time_max: time_max, ..slapd.options() });
        let mut logins = tokio::task::JoinSet::new();
        let began = Instant::now();
        for number in 0..4 * CONNECTIONS_MAX {
            let ldap = ldap.clone();
            // The half of them are equal, and wait for each other.
            logins.spawn(async move { ldap.user("alice", &format!("{}", number.max(2 * CONNECTIONS_MAX))).await });
        }
        while let Some(login) = logins.join_next().await {
            assert_eq!(login.expect("no panic"), Err(Unidentified::Unavailable));
        }
        let (waited, one_after_the_other) = (began.elapsed(), time_max * 4 * CONNECTIONS_MAX as u32);
        assert!(waited < one_after_the_other / 2, "{waited:?}");
    }
}

/// What is no LDAP, or is cut, is no answer either, and stops nothing but the login that met it.
#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_no_answer() {
    let slapd = Slapd::start("");
    // Nothing; no BER; a message without an operation; an answer that nobody knows; one to a search that is a bind.
    let answers: [&[u8]; 5] =
        [b"", b"HTTP/1.1 400\r\n\r\n", b"\x30\x00", b"\x30\x05\x02\x01\x01\x7f\x00", b"\x30\x05\x02\x01\x01\x61\x00"];
    for answer in answers {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            // The begin of what it asks is enough.
            let _ = stream.read(&mut [0; 64]);
            let _ = std::io::Write::write_all(&mut stream, answer);
        });
        let options = LdapOptions { port, login_time_max: Duration::from_secs(2), ..slapd.options() };
        assert_eq!(open(&options).user("alice", "ecila").await, Err(Unidentified::Unavailable), "{answer:?}");
        serving.join().expect("no panic");
    }
}

/// Everything for one group, and reading for all users.
fn policy(group: &str) -> Policy {
    const READ: Actions = Actions::of(&[Action::Read]);
    let developers =
        Rights { users: Vec::new(), groups: vec![group.to_owned()], actions: Actions::FULL, ..Rights::default() };
    let team = Rules { policies: vec![developers], default: READ, ..Rules::default() };
    let repositories = vec![(Pattern::new("team/**").expect("a pattern"), team)];
    Policy::new(repositories, Rights::default(), Vec::new(), orlop_auth::Metrics::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_the_directory_are_groups_of_policies_and_the_file_comes_first() {
    let mut slapd = Slapd::start("");
    let directory = tempfile::tempdir().expect("a directory");
    let htpasswd = directory.path().join("htpasswd");
    fs::write(&htpasswd, line("carol")).expect("written");
    let ldap = Some(open(&slapd.options()));
    let auth =
        Auth::open(Options { htpasswd: Some(htpasswd), ldap, policy: Some(policy(DEVELOPERS)), ..Options::default() });
    let auth = auth.expect("usable");
    let identify = async |user: &str, password: &str| {
        let value = basic(user, password).trim_end().trim_start_matches("authorization: ").to_owned();
        let head = http::Request::get("/v2/").header("authorization", value).body(()).expect("a request");
        auth.identify(&head.into_parts().0).await
    };
    let alice = identify("alice", "ecila").await.expect("she is let in");
    let bob = identify("bob", "bob").await.expect("he is let in");
    assert!(auth.actions(&alice, "team/x").contains(Action::Create));
    assert_eq!(auth.actions(&bob, "team/x"), Actions::of(&[Action::Read]));
    assert_eq!(identify("alice", "wrong").await, Err(Unidentified::Refused));
    slapd.stop();
    assert!(identify("carol", "lorac").await.is_ok(), "who is in the file needs no directory");
    assert_eq!(identify("alice", "ecila").await, Err(Unidentified::Unavailable));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_directory_clients_are_told_to_come_again() {
    let mut slapd = Slapd::start("");
    let directory = tempfile::tempdir().expect("a directory");
    let open_to_all = Rules { anonymous: Actions::of(&[Action::Read]), ..Rules::default() };
    let repositories = vec![(Pattern::new("open/**").expect("a pattern"), open_to_all)];
    let policy = Policy::new(repositories, Rights::default(), Vec::new(), orlop_auth::Metrics::default());
    let options = Options { ldap: Some(open(&slapd.options())), policy: Some(policy), ..Options::default() };
    let rig = Rig::open(directory, options).await;
    let login = basic("alice", &password("alice"));
    rig.send("GET", "/v2/", &login, "").await.expect(200);
    rig.send("GET", "/v2/", &basic("alice", "wrong"), "").await.expect(401);

    // Docker's token stands for her with her groups.
    let docker = "user-agent: docker/27.1.1\r\n";
    let asked = rig.send("GET", "/v2/", docker, "").await.expect(401);
    assert!(asked.challenge().starts_with("Bearer "), "{asked:?}");
    let answer = rig.send("GET", "/zot/auth/token", &[docker, &login].concat(), "").await.expect(200);
    let document: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    let token = format!("{docker}authorization: Bearer {}\r\n", document["token"].as_str().expect("a token"));
    rig.send("GET", "/v2/", &token, "").await.expect(200);

    slapd.stop();
    let answer = rig.send("GET", "/v2/", &login, "").await.expect(503);
    assert!(answer.header("retry-after").is_some() && answer.challenge().is_empty(), "{answer:?}");
    assert_eq!(rig.send("GET", "/v2/", "", "").await.status, StatusCode::OK, "nobody is asked about nobody");
    rig.send("GET", "/v2/", &token, "").await.expect(200);
    rig.stop().await;
}

/// S-58, S-64: what the directory says of an owner counts for his keys, without his password.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_users_of_the_directory_end_with_them() {
    let mut slapd = Slapd::start("");
    let directory = tempfile::tempdir().expect("a directory");
    let keys = Some(Keys::of_store(&directory.path().join("root")));
    let ldap = LdapOptions { group_attribute: Some("employeeType".to_owned()), ..slapd.options() };
    let ldap = Some(open(&ldap));
    let rig = Rig::open(directory, Options { keys, ldap, policy: Some(policy("staff")), ..Options::default() }).await;
    let key = async |user: &str| {
        let answer = rig.send("POST", "/zot/auth/apikey", &basic(user, &password(user)), "{}").await.expect(201);
        let document: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        basic(user, document["apiKey"].as_str().expect("a key"))
    };
    let (alice, bob) = (key("alice").await, key("bob").await);
    rig.send("POST", "/v2/team/x/blobs/uploads/", &alice, "").await.expect(202);
    rig.send("POST", "/v2/team/x/blobs/uploads/", &bob, "").await.expect(403);

    let url = format!("ldap://127.0.0.1:{}", slapd.ports[0]);
    let (connection, mut admin) = ldap3::LdapConnAsync::new(&url).await.expect("connected");
    ldap3::drive!(connection);
    admin.simple_bind(ADMIN, ADMIN_PASSWORD).await.and_then(|bound| bound.success()).expect("bound");
    let change = vec![ldap3::Mod::Replace("employeeType", ["guest"].into())];
    let changed = admin.modify(&format!("uid=alice,{BASE}"), change).await;
    changed.and_then(|changed| changed.success()).expect("changed");
    rig.send("POST", "/v2/team/x/blobs/uploads/", &alice, "").await.expect(403);
    rig.send("GET", "/v2/team/x/tags/list", &alice, "").await.expect(404);
    let removed = admin.delete(&format!("uid=bob,{BASE}")).await;
    removed.and_then(|removed| removed.success()).expect("removed");
    rig.send("GET", "/v2/team/x/tags/list", &bob, "").await.expect(401);

    slapd.stop();
    rig.send("GET", "/v2/team/x/tags/list", &alice, "").await.expect(503);
    rig.stop().await;
}
