//! Failed logins of one address, and all others.

use orlop_api::{
    Policy as ApiPolicy,
    front::{Front, Proxies},
};
use orlop_auth::Options;

use crate::rig::{Answer, Rig, basic, login, password, policy};

const FAILURES_MAX: u32 = 5;

/// More than anybody mistypes, and enough for the wait to be longer than the test.
const GUESSES: usize = 40;

async fn start(failures_max: Option<u32>) -> Rig {
    let proxies = Proxies { trusted: vec!["127.0.0.1".parse().expect("an address")], ..Proxies::default() };
    let options = Options { policy: Some(policy()), failures_max, ..Options::default() };
    Rig::serve(options, Front { proxies, ..Front::default() }, ApiPolicy::default()).await
}

async fn come(rig: &Rig, address: &str, credentials: &str) -> Answer {
    rig.send("GET", "/v2/team-a/x/tags/list", &format!("x-forwarded-for: {address}\r\n{credentials}"), "").await
}

async fn guess(rig: &Rig, address: &str, user: &str) -> Vec<u16> {
    let mut answers = Vec::new();
    for number in 0..GUESSES {
        let answer = come(rig, address, &basic(user, &format!("guess {number}"))).await;
        if answer.status.as_u16() == 429 {
            let wait: u32 = answer.header("retry-after").and_then(|value| value.parse().ok()).expect("seconds");
            assert!((1..=64).contains(&wait), "{answer:?}");
            assert!(answer.body.contains("\"TOOMANYREQUESTS\"") && answer.challenge().is_empty(), "{answer:?}");
        }
        answers.push(answer.status.as_u16());
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_waits_and_nobody_else_does() {
    let rig = start(Some(FAILURES_MAX)).await;
    // Somebody who is logged in already, behind the same address.
    come(&rig, "192.0.2.1", &login(Some("carol"))).await.expect(404);
    let answers = guess(&rig, "192.0.2.1", "alice").await;
    assert!(answers.iter().take(FAILURES_MAX as usize).all(|status| *status == 401), "{answers:?}");
    assert!(answers.contains(&429) && answers.iter().all(|status| matches!(status, 401 | 429)), "{answers:?}");

    // The right password from elsewhere, and whoever has none or is in already from here.
    come(&rig, "192.0.2.2", &login(Some("alice"))).await.expect(404);
    come(&rig, "192.0.2.1", "").await.expect(401);
    come(&rig, "192.0.2.1", &login(Some("carol"))).await.expect(404);
    rig.stop().await;
}

/// An address that waits learns nothing: the right password of the user it tried is refused in the words of a wrong one.
#[tokio::test(flavor = "multi_thread")]
async fn a_guess_that_is_right_is_not_told_from_one_that_is_wrong() {
    let rig = start(Some(1)).await;
    come(&rig, "192.0.2.2", &login(Some("alice"))).await.expect(404);
    // Until the wait is so long that nothing below ends it.
    let mut seconds = 0;
    while seconds < 16 {
        let answer = come(&rig, "192.0.2.1", &basic("alice", "wrong")).await;
        seconds = answer.header("retry-after").and_then(|value| value.parse().ok()).unwrap_or(0);
        if seconds > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    let words = |answer: Answer| (answer.status.as_u16(), answer.body);
    let wrong = words(come(&rig, "192.0.2.1", &basic("alice", "wrong again")).await);
    let right = words(come(&rig, "192.0.2.1", &basic("alice", &password("alice"))).await);
    assert_eq!((right.0, &right), (429, &wrong));
    come(&rig, "192.0.2.2", &login(Some("alice"))).await.expect(404);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_turned_off() {
    let rig = start(None).await;
    assert!(guess(&rig, "192.0.2.1", "alice").await.iter().all(|status| *status == 401));
    rig.stop().await;
}
