//! The matrix of permissions: every route, every method, every kind of user, what is there and what is not, against
//! a table written by hand. What is refused is refused in the same words whether it is there or not.

use std::collections::{BTreeSet, HashMap};

use orlop_api::protocol::{Account, Route};

use crate::rig::{Answer, Rig, USERS, basic, document, login, sha256};

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"];

/// Fewer would mean that something fell out of the matrix.
const ASSERTIONS_MIN: usize = 3_800;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Base,
    Catalog,
    Extensions,
    Management,
    Tags,
    Manifest,
    Blob,
    UploadStart,
    Upload,
    Referrers,
    Health,
    Metrics,
    Token,
    Login,
    Logout,
    ApiKeys,
    Operators,
}

/// A route that is added does not compile here before it has a kind, and fails below until it has a path.
fn kind(route: &Route) -> Kind {
    match route {
        Route::Base => Kind::Base,
        Route::Catalog => Kind::Catalog,
        Route::Extensions => Kind::Extensions,
        Route::Management => Kind::Management,
        Route::Tags { .. } => Kind::Tags,
        Route::Manifest { .. } => Kind::Manifest,
        Route::Blob { .. } => Kind::Blob,
        Route::UploadStart { .. } => Kind::UploadStart,
        Route::Upload { .. } => Kind::Upload,
        Route::Referrers { .. } => Kind::Referrers,
        Route::Health(_) => Kind::Health,
        Route::Metrics => Kind::Metrics,
        Route::Token => Kind::Token,
        Route::Account(Account::Login | Account::Callback { .. }) => Kind::Login,
        Route::Account(Account::Logout) => Kind::Logout,
        Route::Account(Account::ApiKeys) => Kind::ApiKeys,
        Route::Collection | Route::Scrub => Kind::Operators,
    }
}

/// A path in a repository of somebody's. Where it is refused, all of one kind and one owner are answered alike.
struct Case {
    path: String,
    repository: &'static str,
    is_there: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Principal {
    Anonymous,
    User(&'static str),
    WrongPassword,
    UnknownUser,
    WrongToken,
    TwoHeaders,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Whatever the handler says.
    Answered,
    Unauthorized,
    Denied,
    NoSuchMethod,
}

/// r, c, u, d: as the policy of the rig says it.
fn rights(user: Option<&str>, repository: &str) -> &'static str {
    match (user, repository.split('/').next().unwrap_or_default()) {
        (Some("root"), _) | (Some("alice"), "team-a") | (Some("bob"), "team-b") => "rcud",
        (Some("carol"), "team-a") | (_, "open") => "r",
        (Some("dave"), "team-a") => "c",
        (Some("frank"), "team-a") => "u",
        _ => "",
    }
}

/// What a method takes; empty for one that the route does not know.
fn takes(kind: Kind, method: &str, case: &Case) -> &'static str {
    match (kind, method) {
        (Kind::Tags | Kind::Referrers | Kind::Manifest | Kind::Blob, "GET" | "HEAD") => "r",
        (Kind::Manifest, "PUT") if case.path.contains("sha256:") => "c",
        (Kind::Manifest, "PUT") => {
            if case.is_there {
                "u"
            } else {
                "c"
            }
        }
        (Kind::Manifest | Kind::Blob, "DELETE") => "d",
        (Kind::UploadStart, "POST") => "c",
        (Kind::Upload, "GET" | "HEAD" | "PATCH" | "PUT" | "DELETE") => "c",
        (_, "OPTIONS") | (Kind::Extensions | Kind::Management, "GET" | "HEAD") => "everybody",
        (Kind::Base | Kind::Catalog | Kind::Health | Kind::Metrics | Kind::Token, "GET" | "HEAD") => "everybody",
        (Kind::Login, "GET" | "HEAD") | (Kind::Logout, "POST") => "everybody",
        (Kind::Token, "POST") => "everybody",
        (Kind::ApiKeys, "GET" | "HEAD" | "POST" | "DELETE") => "users",
        (Kind::Operators, "GET" | "HEAD" | "POST") => "root",
        _ => "",
    }
}

fn expected(case: &Case, method: &str, principal: Principal) -> Expected {
    let kind = kind(&Route::parse(&case.path).expect("a route"));
    let takes = takes(kind, method, case);
    if takes.is_empty() {
        return Expected::NoSuchMethod;
    }
    let user = match principal {
        _ if method == "OPTIONS" => return Expected::Answered,
        _ if matches!(kind, Kind::Health | Kind::Login | Kind::Logout | Kind::Management) => return Expected::Answered,
        Principal::Anonymous => None,
        Principal::User(user) => Some(user),
        _ => return Expected::Unauthorized,
    };
    let is_allowed = match kind {
        Kind::Metrics | Kind::Operators => user == Some("root"),
        Kind::ApiKeys => user.is_some(),
        Kind::Base
        | Kind::Catalog
        | Kind::Extensions
        | Kind::Management
        | Kind::Health
        | Kind::Token
        | Kind::Login
        | Kind::Logout => true,
        _ => rights(user, case.repository).contains(takes),
    };
    match user {
        _ if is_allowed => Expected::Answered,
        None => Expected::Unauthorized,
        Some(_) => Expected::Denied,
    }
}

/// Every route, in repositories of three owners, with what is there and what is not.
async fn cases(rig: &Rig) -> Vec<Case> {
    let mut cases = Vec::new();
    let plain = [
        "/v2/",
        "/v2/_catalog",
        "/v2/_oci/ext/discover",
        "/v2/_zot/ext/mgmt",
        "/livez",
        "/readyz",
        "/startupz",
        "/metrics",
        "/zot/auth/token",
        "/zot/auth/login",
        "/zot/auth/callback/oidc",
        "/zot/auth/logout",
        "/zot/auth/apikey",
        "/v2/_orlop/gc",
        "/v2/_orlop/scrub",
    ];
    for path in plain {
        cases.push(Case { path: path.into(), repository: "", is_there: true });
    }
    for (there, absent) in [("team-a/x", "team-a/none"), ("team-b/x", "team-b/none"), ("open/x", "open/none")] {
        let blob = rig.push_blob("root", there, &format!("a blob of {there}")).await;
        let (digest, answer) = rig.push("root", there, "latest", there).await;
        answer.expect(201);
        let begun = rig.as_user("root", "POST", &format!("/v2/{there}/blobs/uploads/"), "").await.expect(202);
        let upload = begun.header("location").expect("a place").rsplit('/').next().expect("an id").to_owned();
        for repository in [there, absent] {
            for (kind, known, unknown) in [
                ("tags", "list", "list"),
                ("manifests", "latest", "other"),
                ("manifests", digest.as_str(), sha256("none").as_str()),
                ("blobs", blob.as_str(), sha256("none").as_str()),
                ("blobs/uploads", "", ""),
                ("blobs/uploads", upload.as_str(), "0123456789abcdef"),
                ("referrers", digest.as_str(), sha256("none").as_str()),
            ] {
                for object in BTreeSet::from([known, unknown]) {
                    let path = format!("/v2/{repository}/{kind}/{object}");
                    let is_there = repository == there && object == known;
                    cases.push(Case { path, repository, is_there });
                }
            }
        }
    }
    cases
}

fn fields(principal: Principal, case: &Case) -> String {
    let credentials = match principal {
        Principal::Anonymous => String::new(),
        Principal::User(user) => login(Some(user)),
        Principal::WrongPassword => basic("alice", "wrong"),
        Principal::UnknownUser => basic("mallory", "wrong"),
        Principal::WrongToken => "authorization: Bearer eyJhbGciOiJub25lIn0.e30.\r\n".to_owned(),
        Principal::TwoHeaders => [login(Some("alice")), login(Some("root"))].concat(),
    };
    match case.path.contains("/manifests/") {
        true => format!("{credentials}content-type: {}\r\n", crate::rig::INDEX),
        false => credentials,
    }
}

fn check(case: &Case, method: &str, principal: Principal, expected: Expected, answer: &Answer) -> usize {
    let what = || format!("{method} {} by {principal:?}: {answer:?}", case.path);
    let status = answer.status.as_u16();
    let has_body = method != "HEAD";
    match expected {
        Expected::Answered => assert!(!matches!(status, 401 | 403 | 405 | 500..), "{}", what()),
        Expected::NoSuchMethod => assert_eq!(status, 405, "{}", what()),
        Expected::Unauthorized => {
            assert_eq!(status, 401, "{}", what());
            assert_eq!(answer.body.contains("\"UNAUTHORIZED\""), has_body, "{}", what());
        }
        Expected::Denied => {
            assert_eq!(status, 403, "{}", what());
            assert_eq!(answer.body.contains("\"DENIED\""), has_body, "{}", what());
        }
    }
    // RFC 9110 section 11.6.1: a 401 says how; nothing else asks a user who has shown who he is.
    let is_asked = !answer.challenge().is_empty();
    let may_be_asked = expected == Expected::Unauthorized || case.path == "/v2/" && principal == Principal::Anonymous;
    assert!(is_asked || expected != Expected::Unauthorized, "{}", what());
    assert!(!is_asked || may_be_asked, "{}", what());
    2
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_do_what_the_table_says_and_nothing_else() {
    let rig = Rig::start().await;
    let cases = cases(&rig).await;
    let kinds: BTreeSet<Kind> = cases.iter().map(|case| kind(&Route::parse(&case.path).expect("a route"))).collect();
    assert_eq!(kinds.len(), 17, "every kind of route is there: {kinds:?}");
    let principals = USERS.map(Principal::User).into_iter().chain([
        Principal::Anonymous,
        Principal::WrongPassword,
        Principal::UnknownUser,
        Principal::WrongToken,
        Principal::TwoHeaders,
    ]);
    let mut refused = Vec::new();
    let mut answered = Vec::new();
    for principal in principals {
        for case in &cases {
            for method in METHODS {
                let expected = expected(case, method, principal);
                let list = if expected == Expected::Answered { &mut answered } else { &mut refused };
                list.push((case, method, principal, expected));
            }
        }
    }
    let mut assertions = 0;
    // What is refused first: all of it must still be there afterwards.
    let mut words: HashMap<(Kind, &str, String), Answer> = HashMap::new();
    for (case, method, principal, expected) in &refused {
        let body = if *method == "PUT" { document("intruder") } else { String::new() };
        let answer = rig.send(method, &case.path, &fields(*principal, case), &body).await;
        assertions += check(case, method, *principal, *expected, &answer);
        let owner = case.repository.split('/').next().unwrap_or_default();
        let kind = kind(&Route::parse(&case.path).expect("a route"));
        let first = words.entry((kind, *method, format!("{owner} {principal:?}"))).or_insert_with(|| answer.clone());
        assert_eq!(&answer, first, "{method} {} by {principal:?}", case.path);
        assertions += 1;
    }
    for case in
        cases.iter().filter(|case| case.is_there && case.path.contains("/x/") && !case.path.ends_with("uploads/"))
    {
        rig.as_user("root", "HEAD", &case.path, "").await.expect(if case.path.contains("uploads") { 204 } else { 200 });
    }
    // Those first to whom it matters what others have pushed and deleted meanwhile.
    answered.sort_by_key(|(_, _, principal, _)| !["frank", "dave"].map(Principal::User).contains(principal));
    for (case, method, principal, expected) in &answered {
        let body = if *method == "PUT" && case.path.contains("/manifests/") { document("new") } else { String::new() };
        let answer = rig.send(method, &case.path, &fields(*principal, case), &body).await;
        assertions += check(case, method, *principal, *expected, &answer);
        // All of them are root's: for others who may push there they do not exist. A PUT is wrong before that.
        let is_upload = kind(&Route::parse(&case.path).expect("a route")) == Kind::Upload && *method != "OPTIONS";
        if is_upload && *principal != Principal::User("root") {
            assert_eq!(answer.status.as_u16(), if *method == "PUT" { 400 } else { 404 }, "{method} {answer:?}");
            assertions += 1;
        }
    }
    assert!(assertions >= ASSERTIONS_MIN, "only {assertions}");
    rig.stop().await;
}
