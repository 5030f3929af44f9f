//! Other options while users are logged in: what they have goes on being good for as much as it says.

use http::{Request, header::AUTHORIZATION, request::Parts};
use orlop_api::access::{Access, Action, Subject};
use orlop_auth::{Auth, Options};

use crate::rig;

fn head(token: &str) -> Parts {
    let request = Request::get("/v2/").header(AUTHORIZATION, format!("Bearer {token}")).body(());
    request.expect("a request").into_parts().0
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
