//! Logins at GitHub, for which a server stands in that lists what GitHub would.

use orlop_auth::ProviderKind;
use serde_json::{Value, json};

use crate::{
    browser::{Browser, parameter, place},
    openid::{provider, rig},
    provider::{Provider, percent_decoded},
    rig::{Answer, Rig},
};

async fn started(server: &Provider) -> Rig {
    let at = |path: &str| Some(format!("{}{path}", server.address));
    let kind = ProviderKind::GitHub { authorize: at("/authorize"), token: at("/token"), api: at("/api/v3") };
    rig(vec![provider("github", kind)], None).await
}

async fn log_in(rig: &Rig, browser: &mut Browser, server: &Provider) -> Answer {
    let answer = browser.send(rig, "GET", "/zot/auth/login?provider=github&callback_ui=/home", "").await.expect(302);
    let address = place(&answer).to_owned();
    assert!(address.starts_with(&format!("{}/authorize?", server.address)), "{address}");
    assert_eq!(parameter(&address, "scope").map(percent_decoded).as_deref(), Some("email groups"));
    let query = server.log_in(&address, json!({}));
    browser.send(rig, "GET", &format!("/zot/auth/callback/github?{query}"), "").await
}

fn email(address: &str, is_primary: bool, is_verified: bool) -> Value {
    json!({ "email": address, "primary": is_primary, "verified": is_verified })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verified_address_is_the_user_and_teams_are_groups() {
    let server = Provider::start().await;
    let rig = started(&server).await;
    let alice = email("alice@example.org", true, true);
    server.list("/api/v3/user/emails", vec![email("other@example.org", false, true), alice]);
    let teams = (0..250).map(|number| json!({ "slug": format!("team-{number}"), "organization": { "login": "acme" } }));
    let team = json!({ "slug": "dev", "organization": { "login": "acme" } });
    server.list("/api/v3/user/teams", teams.chain([team]).collect());
    let mut browser = Browser::new();
    let answer = log_in(&rig, &mut browser, &server).await.expect(302);
    assert_eq!((place(&answer), browser.cookies["user"].as_str()), ("/home", "alice@example.org"));
    assert_eq!(server.asked("/api/v3/user/teams"), 3, "page by page");
    assert_eq!(server.asked("/api/v3/user/orgs"), 1, "what may not be seen is not there");
    browser.ask(&rig, "POST", "/v2/team-a/x/blobs/uploads/").await.expect(202);
    // 251 groups are too many for the cookie, and known all the same.
    assert!(browser.cookies["session"].len() < 4096);
    assert_eq!(browser.ask(&rig, "POST", "/zot/auth/logout").await.expect(200).body, "{}");
    rig.stop().await;
}

/// S-128: an address that GitHub has not verified is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_verified_address_nobody_is_logged_in() {
    let server = Provider::start().await;
    let rig = started(&server).await;
    for emails in [
        None,
        Some(vec![]),
        Some(vec![email("alice@example.org", true, false)]),
        Some(vec![email("alice@example.org", false, true)]),
        Some(vec![json!({ "email": 7 })]),
    ] {
        if let Some(emails) = emails {
            server.list("/api/v3/user/emails", emails);
        }
        let mut browser = Browser::new();
        log_in(&rig, &mut browser, &server).await.expect(401);
        assert!(browser.cookies.is_empty(), "{browser:?}");
    }
    rig.stop().await;
}
