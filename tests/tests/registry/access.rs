//! Users and policies of the real binary: its configuration, its audit log, and the clients that people log in with.

use std::{fs, path::Path};

use http::Method;
use orlop_tests::{
    Answer, Layout, Options, Registry,
    http::{empty, full, request_with},
    process::{PATIENCE, run, run_well},
    programs::{client, program},
    repository::IMAGE_INDEX,
};
use serde_json::{Value, json};

/// `alice` with bcrypt and `bob` with SHA crypt, as other tools made them.
const USERS: &str = "alice:$2a$05$CCCCCCCCCCCCCCCCCCCCC.0ZCmltPmFYn.Vq3Fu0Flw6HKr.62nye\n\
                     bob:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5\n";
const ALICE: &str = "Basic YWxpY2U6YSBwYXNzd29yZA==";
const ALICE_PASSWORD: &str = "a password";
const BOB: &str = "Basic Ym9iOkhlbGxvIHdvcmxkIQ==";

/// alice may do everything, bob pushes to `team/**`, and `open/**` can be read by everybody.
async fn start() -> Registry {
    let every = ["read", "create", "update", "delete"];
    let config = json!({
        "http": {
            "auth": { "htpasswd": { "path": "htpasswd" } },
            "accessControl": {
                "repositories": {
                    "open/**": { "anonymousPolicy": ["read"], "defaultPolicy": ["read"] },
                    "team/**": { "policies": [{ "users": ["bob"], "actions": ["read", "create"] }] },
                },
                "adminPolicy": { "users": ["alice"], "actions": every },
            },
        },
        "log": { "audit": "audit.log" },
    });
    // The file has to be there before the registry is; where it will be is known only once it is there.
    let mut registry = Registry::start(Options::default()).await;
    registry.stop();
    fs::write(directory(&registry).join("htpasswd"), USERS).expect("written");
    registry.reconfigure(config);
    registry.restart().await;
    registry
}

fn directory(registry: &Registry) -> std::path::PathBuf {
    registry.root().parent().expect("a directory").to_owned()
}

async fn ask(registry: &Registry, method: Method, path: &str, login: Option<&str>) -> Answer {
    let request = match login {
        Some(login) => request_with(method, path, ("authorization", login), empty()),
        None => orlop_tests::http::request(method, path, empty()),
    };
    registry.client().send(request).await
}

fn audited(path: &Path, object: &str) -> Option<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
    let mut lines = complete.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.find(|line| line["object"] == object)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_says_who_and_no_log_has_a_password() {
    let mut registry = start().await;
    let document = r#"{"schemaVersion":2,"manifests":[]}"#;
    let put = async |path: &str, login: &str| {
        let mut request = request_with(Method::PUT, path, ("authorization", login), full(document));
        request.headers_mut().insert("content-type", IMAGE_INDEX.parse().expect("a type"));
        registry.client().send(request).await
    };
    put("/v2/team/app/manifests/one", BOB).await.expect(201);
    put("/v2/team/app/manifests/one", BOB).await.expect_error(403, "DENIED");
    put("/v2/open/app/manifests/one", BOB).await.expect_error(403, "DENIED");
    put("/v2/open/app/manifests/two", ALICE).await.expect(201);
    ask(&registry, Method::DELETE, "/v2/open/app/manifests/two", None).await.expect_error(401, "UNAUTHORIZED");
    ask(&registry, Method::GET, "/v2/open/app/manifests/two", None).await.expect(200);
    ask(&registry, Method::GET, "/v2/team/app/manifests/one", None).await.expect_error(401, "UNAUTHORIZED");
    ask(&registry, Method::GET, "/metrics", Some(BOB)).await.expect_error(403, "DENIED");
    ask(&registry, Method::POST, "/v2/_orlop/gc", Some(BOB)).await.expect_error(403, "DENIED");
    ask(&registry, Method::POST, "/v2/_orlop/gc", Some(ALICE)).await.expect(202);

    let path = directory(&registry).join("audit.log");
    let seen = async {
        loop {
            if let (Some(bobs), Some(alices)) =
                (audited(&path, "/v2/team/app/manifests/one"), audited(&path, "/v2/open/app/manifests/two"))
            {
                return (bobs, alices);
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let (bobs, alices) = tokio::time::timeout(PATIENCE, seen).await.expect("both lines come");
    assert_eq!((&bobs["subject"], &bobs["action"]), (&json!("bob"), &json!("PUT")), "{bobs}");
    assert_eq!((&alices["subject"], &alices["result"]), (&json!("alice"), &json!("done")), "{alices}");
    assert!(audited(&path, "/v2/open/app/manifests/one").is_none(), "what was refused has changed nothing");

    let logs = [registry.output(), fs::read_to_string(&path).expect("there")].concat();
    for secret in [ALICE_PASSWORD, "Hello world!", &ALICE[6..], &BOB[6..], "saltstring", "$2a$"] {
        assert!(!logs.contains(secret), "{secret:?} is in a log");
    }
    registry.stop();
    registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_whose_users_cannot_be_read_does_not_start() {
    let mut registry = start().await;
    registry.stop();
    for (text, part) in [("alice:secret\n", "htpasswd -B"), ("alice\n", "line 1")] {
        fs::write(directory(&registry).join("htpasswd"), text).expect("written");
        let ended = run(&mut registry.serve_command());
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(part) && !ended.stderr.contains("secret"), "{}", ended.stderr);
    }
    fs::remove_file(directory(&registry).join("htpasswd")).expect("removed");
    let ended = run(&mut registry.serve_command());
    assert!(ended.status.code() == Some(2) && ended.stderr.contains("http.auth.htpasswd.path"), "{}", ended.stderr);
    registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_pushes_with_a_password_and_pulls_without() {
    let registry = start().await;
    let fixture = Layout::fixture();
    let (from, creds) = (format!("oci:{}:amd64", fixture.path().display()), format!("alice:{ALICE_PASSWORD}"));
    let remote = |repository: &str| format!("docker://{}/{repository}:amd64", registry.address());
    let push = |repository: &str, creds: Option<&str>| {
        let mut push = program(&registry, "skopeo");
        push.args(["copy", "--preserve-digests", "--dest-tls-verify=false"]);
        push.args(creds.map(|creds| format!("--dest-creds={creds}")));
        run(push.arg(&from).arg(remote(repository)))
    };
    assert!(!push("open/image", None).status.success(), "nobody may push");
    assert!(!push("open/image", Some("alice:wrong")).status.success());
    for repository in ["open/image", "team/image"] {
        let pushed = push(repository, Some(&creds));
        assert!(pushed.status.success(), "{}", pushed.stderr);
    }
    let pull = |repository: &str, creds: Option<&str>, to: &Path| {
        let mut pull = program(&registry, "skopeo");
        pull.args(["copy", "--preserve-digests", "--src-tls-verify=false"]);
        pull.args(creds.map(|creds| format!("--src-creds={creds}")));
        run(pull.arg(remote(repository)).arg(format!("oci:{}:amd64", to.display())))
    };
    let pulled = registry.scratch("pulled");
    assert!(!pull("team/image", None, &pulled).status.success(), "nobody may pull it");
    let open = pull("open/image", None, &pulled);
    assert!(open.status.success(), "{}", open.stderr);
    fixture.assert_same("amd64", &Layout::at(&pulled), "amd64");
    assert!(pull("team/image", Some("bob:Hello world!"), &registry.scratch("pulled-by-bob")).status.success());
    registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn crane_and_oras_log_in() {
    let registry = start().await;
    let fixture = Layout::fixture();
    let address = registry.address().to_string();
    let image = format!("{address}/open/image:amd64");
    let single = fixture.only("amd64", &registry.scratch("from"));
    assert!(!run(client(&registry, "crane").arg("push").arg(single.path()).arg(&image)).status.success());
    let mut login = client(&registry, "crane");
    run_well(login.args(["auth", "login", &address, "--username", "alice", "--password", ALICE_PASSWORD]));
    run_well(client(&registry, "crane").arg("push").arg(single.path()).arg(&image));
    run_well(client(&registry, "crane").args(["copy", &image, &format!("{address}/open/copy:amd64")]));
    let mut logout = client(&registry, "crane");
    run_well(logout.args(["auth", "logout", &address]));
    let digest = run_well(client(&registry, "crane").args(["digest", &image])).stdout;
    assert_eq!(digest.trim(), fixture.digest_of("amd64"));

    let mut pull = client(&registry, "oras");
    pull.args(["copy", "--to-oci-layout", "--from-plain-http", &image]);
    let pulled = registry.scratch("oras");
    run_well(pull.arg(format!("{}:amd64", pulled.display())));
    fixture.assert_same("amd64", &Layout::at(&pulled), "amd64");
    let mut push = client(&registry, "oras");
    push.args(["copy", "--from-oci-layout", "--to-plain-http", "--to-username=bob", "--to-password=Hello world!"]);
    run_well(push.arg(format!("{}:amd64", fixture.path().display())).arg(format!("{address}/team/oras:amd64")));
    registry.finish();
}

/// Podman keeps the password of a login and brings it to each request.
#[tokio::test(flavor = "multi_thread")]
async fn podman_logs_in_and_out() {
    let registry = start().await;
    let (fixture, address) = (Layout::fixture(), registry.address());
    let image = format!("{address}/team/image:amd64");
    let mut push = program(&registry, "skopeo");
    push.args(["copy", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds=bob:Hello world!"]);
    run_well(push.arg(format!("oci:{}:amd64", fixture.path().display())).arg(format!("docker://{image}")));

    let scratch = registry.scratch("podman");
    // Podman takes none with more than 50 characters.
    let run_root = tempfile::Builder::new().prefix("podman").tempdir_in("/tmp").expect("a directory");
    let podman = |arguments: &[&str]| {
        let mut command = program(&registry, "podman");
        command.arg("--root").arg(scratch.join("root")).arg("--runroot").arg(run_root.path());
        command.args(["--storage-driver", "vfs"]).args(arguments);
        command
    };
    let address = address.to_string();
    let pull = || run(&mut podman(&["pull", "--quiet", "--tls-verify=false", &image]));
    assert!(!pull().status.success(), "nobody may pull it");
    let login = |password: &str| {
        run(&mut podman(&["login", "--tls-verify=false", "--username", "bob", "--password", password, &address]))
    };
    let wrong = login("wrong");
    assert!(!wrong.status.success() && wrong.stderr.contains("invalid username/password"), "{}", wrong.stderr);
    let right = login("Hello world!");
    assert!(right.status.success(), "{}", right.stderr);
    let pulled = pull();
    assert!(pulled.status.success(), "{}", pulled.stderr);
    let digest = run_well(&mut podman(&["image", "inspect", "--format", "{{.Digest}}", &image])).stdout;
    assert_eq!(digest.trim(), fixture.digest_of("amd64"));
    run_well(&mut podman(&["logout", &address]));
    run_well(&mut podman(&["rmi", &image]));
    assert!(!pull().status.success(), "what it kept is gone");
    registry.finish();
}

/// Files that Apache's htpasswd makes: bcrypt and the SHA crypts are taken, its default is refused with what to do.
#[tokio::test(flavor = "multi_thread")]
async fn users_are_those_that_htpasswd_writes() {
    let mut registry = start().await;
    let path = directory(&registry).join("htpasswd");
    let htpasswd = |way: &str, user: &str| {
        let mut command = program(&registry, "htpasswd");
        run_well(command.args([way, user, "a password"])).stdout.trim().to_owned()
    };
    let lines = [htpasswd("-nbB", "alice"), htpasswd("-nb2", "carol"), htpasswd("-nb5", "dave")];
    let weak = htpasswd("-nb", "erin");
    assert!(weak.starts_with("erin:$apr1$"), "{weak}");
    registry.stop();
    fs::write(&path, lines.join("\n")).expect("written");
    registry.restart().await;
    for user in ["alice", "carol", "dave"] {
        for (password, expected) in [("a password", "200"), ("another", "401")] {
            let mut curl = program(&registry, "curl");
            curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]);
            curl.args(["--user", &format!("{user}:{password}"), &format!("http://{}/v2/", registry.address())]);
            assert_eq!(run_well(&mut curl).stdout, expected, "{user}");
        }
    }
    registry.stop();
    fs::write(&path, format!("{}\n{weak}\n", lines[0])).expect("written");
    let ended = run(&mut registry.serve_command());
    assert!(ended.status.code() == Some(2) && ended.stderr.contains("htpasswd -B"), "{}", ended.stderr);
    registry.finish();
}
