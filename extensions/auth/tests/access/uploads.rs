//! Whose an upload is: one user's, or nobody's.

use orlop_api::{Policy as ApiPolicy, front::Front};
use orlop_auth::Options;

use crate::rig::{Answer, Rig, login, policy, sha256};

const CONTENT: &str = "what is uploaded";

async fn begin(rig: &Rig, user: Option<&str>, repository: &str) -> String {
    let answer = rig.send("POST", &format!("/v2/{repository}/blobs/uploads/"), &login(user), "").await.expect(202);
    answer.header("location").expect("a place").to_owned()
}

/// Every request that an upload knows, by somebody who may push to its repository.
async fn requests(rig: &Rig, user: Option<&str>, upload: &str) -> Vec<Answer> {
    let put = format!("{upload}?digest={}", sha256(CONTENT));
    let mut answers = Vec::new();
    for (method, target, body) in [
        ("GET", upload, ""),
        ("PATCH", upload, "poison"),
        ("PUT", put.as_str(), CONTENT),
        ("DELETE", upload, ""),
        ("GET", upload, ""),
    ] {
        answers.push(rig.send(method, target, &login(user), body).await);
    }
    answers
}

/// Quay CVE-2026-32589, within a repository: to another user who may push there an upload is one that does not exist.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_exists_for_whoever_began_it() {
    let rig = Rig::start().await;
    let owners = [None, Some("alice"), Some("bob"), Some("root")];
    for owner in owners {
        let upload = begin(&rig, owner, "drop/x").await;
        for other in owners.into_iter().filter(|other| *other != owner) {
            let absent = format!("/v2/drop/x/blobs/uploads/{}", "0".repeat(32));
            let answers = requests(&rig, other, &upload).await;
            for answer in &answers {
                assert_eq!(answer.status.as_u16(), 404, "{owner:?} {other:?} {answer:?}");
            }
            assert_eq!(answers, requests(&rig, other, &absent).await, "{owner:?} {other:?}");
        }
        let status = rig.send("GET", &upload, &login(owner), "").await.expect(204);
        assert_eq!(status.header("range"), Some("0-0"), "unharmed");
        rig.send("PATCH", &upload, &login(owner), CONTENT).await.expect(202);
        let put = format!("{upload}?digest={}", sha256(CONTENT));
        rig.send("PUT", &put, &login(owner), "").await.expect(201);
    }
    rig.stop().await;
}

/// A repository that both may push to, by the policy and as an administrator.
#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_goes_on_with_nobody_elses_upload() {
    let rig = Rig::start().await;
    let upload = begin(&rig, Some("dave"), "team-a/x").await;
    for other in ["alice", "root"] {
        rig.as_user(other, "GET", &upload, "").await.expect(404);
        rig.as_user(other, "DELETE", &upload, "").await.expect(404);
    }
    rig.as_user("carol", "GET", &upload, "").await.expect(403);
    rig.as_user("dave", "DELETE", &upload, "").await.expect(204);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_shared_where_that_is_asked_for() {
    let options = Options { policy: Some(policy()), ..Options::default() };
    let shared = ApiPolicy { shared_uploads: true, ..ApiPolicy::default() };
    let rig = Rig::serve(options, Front::default(), shared).await;
    let upload = begin(&rig, Some("dave"), "team-a/x").await;
    rig.as_user("alice", "PATCH", &upload, CONTENT).await.expect(202);
    rig.as_user("carol", "GET", &upload, "").await.expect(403);
    let put = format!("{upload}?digest={}", sha256(CONTENT));
    rig.as_user("dave", "PUT", &put, "").await.expect(201);
    rig.stop().await;
}
