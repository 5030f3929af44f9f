//! Answers that are given again to who shows the same name and password: only to him, and only while both are right
//! and nothing else decides.

use std::time::{Duration, Instant};

use orlop_api::{
    Policy as ApiPolicy,
    access::Actions,
    front::{Front, Proxies},
};
use orlop_auth::{Keys, Options};
use serde_json::{Value, json};

use crate::rig::{Rig, basic, line, login, password, policy};

const PATIENCE: Duration = Duration::from_secs(60);

const TAG: &str = "/v2/team-a/x/manifests/latest";

/// With an image of alice's that carol may read as well, and erin not.
async fn pushed(rig: &Rig) {
    rig.push("alice", "team-a/x", "latest", "x").await.1.expect(201);
}

/// How many answers were given again so far.
async fn repeated(rig: &Rig) -> u64 {
    let text = rig.as_user("root", "GET", "/metrics", "").await.expect(200).body;
    let line = text.lines().find_map(|line| line.strip_prefix("orlop_http_repeated_total "));
    line.and_then(|count| count.parse().ok()).expect("the metric")
}

/// What a client is told that asks over one connection, as often as there are fields.
async fn ask(rig: &Rig, fields: &[&str]) -> Vec<u16> {
    rig.pipeline(TAG, fields).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_for_who_has_the_same_password() {
    let rig = Rig::start().await;
    pushed(&rig).await;
    let (alice, carol, erin) = (login(Some("alice")), login(Some("carol")), login(Some("erin")));
    let wrong = basic("alice", &password("carol"));
    for user in [alice.as_str(), &carol] {
        until_repeated(&rig, user).await;
    }
    let mixed = [&alice, "", &wrong, &alice, &erin, &carol, "authorization: Bearer x\r\n", &alice];
    for _ in 0..4 {
        assert_eq!(ask(&rig, &mixed).await, [200, 401, 401, 200, 403, 200, 401, 200]);
    }
    // The same bytes, and not others that mean the same or nearly the same.
    let shouted = alice.replace("Basic", "BASIC");
    let twice = [alice.as_str(), &alice].concat();
    assert_eq!(ask(&rig, &[&alice, &shouted, &twice, &alice]).await, [200, 200, 401, 200]);
    rig.stop().await;
}

/// Asks until the third answer of ten and all after it are given again. Not always the first time: once a second the file
/// is looked at, and then the answers have to be made anew.
async fn until_repeated(rig: &Rig, credentials: &str) {
    const ROUNDS_MAX: usize = 4;
    for _ in 0..ROUNDS_MAX {
        let before = repeated(rig).await;
        assert_eq!(ask(rig, &[credentials; 10]).await, [200; 10]);
        if repeated(rig).await >= before + 7 {
            return;
        }
    }
    panic!("answers are not given again");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_the_password_and_with_the_user() {
    let rig = Rig::start().await;
    pushed(&rig).await;
    let (alice, carol) = (login(Some("alice")), login(Some("carol")));
    let changed = basic("alice", "changed");
    for user in [alice.as_str(), &carol] {
        assert_eq!(ask(&rig, &[user; 4]).await, [200; 4]);
    }
    let other = rig.directory.path().join("other");
    let hash = bcrypt::hash("changed", 4).expect("a hash");
    std::fs::write(&other, [format!("alice:{hash}\n"), line("root")].concat()).expect("written");
    std::fs::rename(&other, rig.htpasswd()).expect("replaced");
    // Nobody else comes and has the file looked at; and without a pause, so that there is always an answer to be given.
    let deadline = Instant::now() + PATIENCE;
    while ask(&rig, &[&alice]).await != [401] {
        assert!(Instant::now() < deadline, "the old password is still good");
    }
    until_repeated(&rig, &changed).await;
    assert_eq!(ask(&rig, &[&alice, &carol]).await, [401, 401]);
    rig.stop().await;
}

/// S-63: who guesses waits, also with a password that was right and whose answer is kept.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_has_to_wait_gets_nothing_again() {
    let proxies = Proxies { trusted: vec!["127.0.0.1".parse().expect("an address")], ..Proxies::default() };
    let options = Options { policy: Some(policy()), failures_max: Some(1), ..Options::default() };
    let rig = Rig::serve(options, Front { proxies, ..Front::default() }, ApiPolicy::default()).await;
    pushed(&rig).await;
    let from = |address: &str, credentials: &str| format!("x-forwarded-for: {address}\r\n{credentials}");
    let alice = login(Some("alice"));
    for address in ["192.0.2.1", "192.0.2.2"] {
        assert_eq!(ask(&rig, &[&from(address, &alice); 6].map(String::as_str)).await, [200; 6]);
    }
    let guess = from("192.0.2.1", &basic("alice", "wrong"));
    let deadline = Instant::now() + PATIENCE;
    while ask(&rig, &[&guess]).await != [429] {
        assert!(Instant::now() < deadline, "nobody has to wait");
    }
    // Each on a connection of its own, whose first request is looked for among the answers.
    assert_eq!(ask(&rig, &[&from("192.0.2.1", &alice)]).await, [429], "right or wrong");
    assert_eq!(ask(&rig, &[&guess]).await, [429]);
    assert_eq!(ask(&rig, &[&from("192.0.2.2", &alice)]).await, [200]);
    rig.stop().await;
}

/// S-64: a key is looked at each time: it may be revoked, and that it was used is written down.
#[tokio::test(flavor = "multi_thread")]
async fn answers_to_keys_are_not_given_again() {
    let rig = Rig::of_users(|htpasswd| Options {
        keys: Some(Keys::of_store(&htpasswd.parent().expect("a directory").join("root"))),
        htpasswd: Some(htpasswd),
        policy: Some(policy()),
        ..Options::default()
    })
    .await;
    pushed(&rig).await;
    let wish = json!({ "label": "ci", "scopes": [], "expirationDate": "" }).to_string();
    let answer = rig.send("POST", "/zot/auth/apikey", &login(Some("alice")), &wish).await.expect(201);
    let made: Value = serde_json::from_str(&answer.body).expect("JSON");
    let (key, id) = (basic("alice", made["apiKey"].as_str().expect("a key")), made["uuid"].as_str().expect("an id"));
    let before = repeated(&rig).await;
    assert_eq!(ask(&rig, &[key.as_str(); 10]).await, [200; 10]);
    assert_eq!(repeated(&rig).await, before);
    rig.as_user("alice", "DELETE", &format!("/zot/auth/apikey?id={id}"), "").await.expect(200);
    assert_eq!(ask(&rig, &[&key]).await, [401]);
    rig.stop().await;
}

/// What a condition looks at is in fields that answers otherwise do not depend on.
#[cfg(feature = "conditions")]
#[tokio::test(flavor = "multi_thread")]
async fn where_conditions_decide_each_request_is_asked_for_itself() {
    use orlop_auth::{Condition, Expression, Metrics, Pattern, Policy, REQUEST, Rights, Rules};
    let expression = Expression::compile("req.userAgent != 'bad'", &[REQUEST]).expect("an expression");
    let conditions = vec![Condition { expression, message: String::new() }];
    let rights = |user: &str, conditions| Rights {
        users: vec![user.to_owned()],
        actions: Actions::FULL,
        conditions,
        ..Rights::default()
    };
    let rules = Rules { policies: vec![rights("alice", conditions)], ..Rules::default() };
    let repositories = vec![(Pattern::new("team-a/**").expect("a pattern"), rules)];
    let metrics = Metrics { users: vec!["root".into()], ..Metrics::default() };
    let policy = Policy::new(repositories, rights("root", Vec::new()), Vec::new(), metrics);
    let rig = Rig::with(Some(policy), Duration::ZERO).await;
    pushed(&rig).await;
    let (good, bad) = (login(Some("alice")), format!("user-agent: bad\r\n{}", login(Some("alice"))));
    let before = repeated(&rig).await;
    for _ in 0..4 {
        assert_eq!(ask(&rig, &[&good, &good, &good, &bad, &good]).await, [200, 200, 200, 403, 200]);
    }
    assert_eq!(repeated(&rig).await, before);
    rig.stop().await;
}
