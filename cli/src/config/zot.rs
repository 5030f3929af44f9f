//! Files as zot's users have them: documents of our own with every key that zot's example configurations use.
//!
//! Each row has the keys in it that are not supported. Without any the file is taken as it is. Else it is refused by
//! the first one's name, and with `--ignore-unsupported` taken with a note for each, unless one of them keeps
//! somebody out. Whoever adds a feature takes its keys out of the rows.

use std::path::Path;

use super::{Config, keys};

struct Row {
    document: &'static str,
    missing: &'static [&'static str],
}

const ROWS: &[Row] = &[
    Row {
        document: r#"{
            "distSpecVersion": "1.1.1",
            "storage": {
                "rootDirectory": "/srv/registry", "dedupe": true, "commit": true,
                "gc": true, "gcDelay": "90m", "gcInterval": "12h", "gcTimeWindow": "23:00-05:30"
            },
            "http": {
                "address": "0.0.0.0", "port": "5050", "realm": "builds", "compat": ["docker2s2"],
                "readTimeout": "2m", "writeTimeout": "3m", "externalUrl": "https://builds.example.net"
            },
            "log": {"level": "warn", "output": "/var/log/builds.log", "audit": "/var/log/builds-audit.log"},
            "extensions": {}
        }"#,
        missing: &[],
    },
    Row {
        document: r#"{"storage": {"rootDirectory": "/srv/a", "gc": true, "retention": {
            "dryRun": false, "delay": "36h",
            "policies": [
                {"repositories": ["apps/**"], "deleteReferrers": true, "deleteUntagged": true,
                 "keepTags": [
                    {"patterns": ["^release-"]},
                    {"patterns": ["^nightly-"], "mostRecentlyPushedCount": 7, "mostRecentlyPulledCount": 3,
                     "pushedWithin": "336h", "pulledWithin": "168h"}
                 ],
                 "keepUntagged": {"mostRecentlyPushedCount": 2, "mostRecentlyPulledCount": 4,
                                  "pushedWithin": "48h", "pulledWithin": "24h"}},
                {"repositories": ["**"], "deleteReferrers": false}
            ]
        }}}"#,
        missing: &[],
    },
    Row { document: r#"{"storage": {"rootDirectory": "/srv/a", "dedupe": false}}"#, missing: &["storage.dedupe"] },
    Row { document: r#"{"storage": {"rootDirectory": "/srv/a", "commit": false}}"#, missing: &["storage.commit"] },
    Row {
        document: r#"{"storage": {"rootDirectory": "/srv/a", "gc": true, "subPaths": {
            "/tools": {
                "rootDirectory": "/srv/tools", "dedupe": true, "gc": true, "gcDelay": "2h", "gcInterval": "4h",
                "retention": {"policies": [{"repositories": ["tools/*"], "deleteReferrers": true}]}
            },
            "/models": {
                "rootDirectory": "/srv/models", "dedupe": false, "remoteCache": true,
                "storageDriver": {"name": "s3", "rootdirectory": "/models", "region": "eu-north-1",
                                  "bucket": "models", "forcepathstyle": true, "secure": true, "skipverify": false},
                "cacheDriver": {"name": "dynamodb", "endpoint": "http://127.0.0.1:4566", "region": "eu-north-1",
                                "cacheTablename": "Models"}
            }
        }}}"#,
        missing: &["storage.subPaths"],
    },
    Row {
        document: r#"{"storage": {
            "dedupe": true, "remoteCache": true,
            "storageDriver": {"name": "s3", "rootdirectory": "/all", "region": "eu-north-1", "bucket": "all",
                              "regionendpoint": "http://127.0.0.1:4566", "forcepathstyle": true, "secure": false,
                              "skipverify": true},
            "cacheDriver": {"name": "dynamodb", "endpoint": "http://127.0.0.1:4566", "region": "eu-north-1",
                            "cacheTablename": "A", "repoMetaTablename": "B", "repoBlobsInfoTablename": "C",
                            "imageMetaTablename": "D", "userDataTablename": "E", "versionTablename": "F",
                            "apiKeyTablename": "G"}
        }}"#,
        missing: &["storage.remoteCache", "storage.storageDriver", "storage.cacheDriver"],
    },
    Row {
        document: r#"{"storage": {"rootDirectory": "/srv/a",
            "storageDriver": {"name": "azure", "rootdirectory": "/all", "accountname": "builds", "container": "oci",
                              "credentials": {"type": "default_credentials"}},
            "cacheDriver": {"name": "redis", "url": "redis://127.0.0.1:6379", "keyprefix": "builds",
                "addr": ["127.0.0.1:7000"], "client_name": "c", "db": 1, "protocol": 3, "username": "u",
                "password": "p", "sentinel_username": "u", "sentinel_password": "p", "max_retries": 2,
                "min_retry_backoff": "1ms", "max_retry_backoff": "9ms", "dial_timeout": "2s", "read_timeout": "2s",
                "write_timeout": "2s", "context_timeout_enabled": true, "pool_fifo": true, "pool_size": 4,
                "pool_timeout": "4s", "min_idle_conns": 1, "max_idle_conns": 2, "max_active_conns": 3,
                "conn_max_idle_time": "5m", "conn_max_lifetime": "9m", "max_redirects": 2, "read_only": false,
                "route_by_latency": false, "route_randomly": false, "master_name": "m", "disable_identity": true,
                "identity_suffix": "s", "unstable_resp3": false}
        }}"#,
        missing: &["storage.storageDriver", "storage.cacheDriver"],
    },
    Row {
        document: r#"{"storage": {"rootDirectory": "/srv/a", "storageDriver": {"name": "gcs",
            "rootdirectory": "/all", "bucket": "all", "credentialsFile": "/etc/gcs.json"}}}"#,
        missing: &["storage.storageDriver"],
    },
    Row {
        document: r#"{"http": {"port": "8443", "tls": {"cert": "/etc/tls/a.pem", "key": "/etc/tls/a.key"}}}"#,
        missing: &[],
    },
    Row {
        document: r#"{"http": {"port": "8443", "tls": {"cert": "/etc/tls/a.pem", "key": "/etc/tls/a.key",
            "cacert": "/etc/tls/clients.pem"}}}"#,
        missing: &[],
    },
    Row {
        document: r#"{"http": {
            "tls": {"cert": "/etc/tls/a.pem", "key": "/etc/tls/a.key", "cacert": "/etc/tls/clients.pem"},
            "auth": {"mtls": {"identityAttributes": ["URI", "CommonName"], "uriSanPattern": "spiffe://[^/]+/(.*)"}}}}"#,
        missing: &[],
    },
    Row {
        document: r#"{"http": {"realm": "builds", "auth": {"htpasswd": {"path": "/etc/users"}, "failDelay": 4},
            "accessControl": {
                "groups": {"builders": {"users": ["ida", "jon"]}},
                "repositories": {
                    "apps/**": {
                        "policies": [{"users": ["kim"], "groups": ["builders"], "actions": ["read", "create"]}],
                        "defaultPolicy": ["read"], "anonymousPolicy": []
                    },
                    "**": {"anonymousPolicy": ["read"]}
                },
                "adminPolicy": {"users": ["root"], "groups": ["owners"],
                                "actions": ["read", "create", "update", "delete"]},
                "metrics": {"users": ["scraper"], "anonymousPolicy": ["read"]}
            }},
            "extensions": {"metrics": {"enable": true, "prometheus": {"path": "/metrics"}}}}"#,
        missing: &[],
    },
    Row {
        document: r#"{"http": {"auth": {"htpasswd": {"path": "/etc/users"}}, "accessControl": {"repositories": {
            "live/**": {"policies": [{"users": ["kim"], "actions": ["create"],
                "conditions": [{"expression": "req.reference.startsWith('v')", "message": "only versions"}]}]}
        }}}}"#,
        missing: &[],
    },
    Row {
        document: r#"{"http": {"auth": {"failDelay": 1, "ldap": {
            "address": "directory.example.net", "port": 636, "startTLS": false, "baseDN": "ou=people,dc=example",
            "userAttribute": "uid", "userGroupAttribute": "memberOf", "userFilter": "(active=TRUE)",
            "skipVerify": false, "subtreeSearch": true, "credentialsFile": "/etc/directory.json"
        }}}}"#,
        missing: &[],
    },
    Row {
        document: r#"{"http": {"auth": {"bearer": {"realm": "https://tokens.example.net/auth", "service": "builds",
            "cert": "/etc/tokens.pem"}}}}"#,
        missing: &[],
    },
    Row {
        document: r#"{"http": {"auth": {"bearer": {"realm": "https://tokens.example.net/auth", "service": "builds",
            "awsSecretsManager": {"region": "eu-north-1", "secretName": "keys", "refreshInterval": "1m"}}}}}"#,
        missing: &["http.auth.bearer.awsSecretsManager"],
    },
    Row {
        document: r#"{"http": {"auth": {"bearer": {"realm": "builds", "service": "builds", "oidc": [{
            "issuer": "https://issuer.example.net", "audiences": ["builds"],
            "claimMapping": {"username": "claims.sub"}}]}}}}"#,
        missing: &[],
    },
    Row {
        document: r#"{"http": {"externalUrl": "https://builds.example.net", "auth": {
            "openid": {
                "callbackAllowOrigins": ["https://ui.example.net"],
                "providers": {
                    "github": {"credentialsFile": "/etc/github.json", "keypath": "", "scopes": ["read:org"]},
                    "gitlab": {"credentialsFile": "/etc/gitlab.json", "issuer": "https://gitlab.com",
                               "scopes": ["openid"]},
                    "google": {"credentialsFile": "/etc/google.json", "issuer": "https://accounts.google.com",
                               "scopes": ["openid", "email"]},
                    "oidc": {"name": "Staff", "credentialsFile": "/etc/staff.json",
                             "issuer": "https://staff.example.net", "scopes": ["openid", "groups"],
                             "claimMapping": {"username": "preferred_username", "groups": "teams"}}
                }
            }
        }}}"#,
        missing: &[],
    },
    Row { document: r#"{"http": {"auth": {"htpasswd": {"path": "/etc/users"}, "apikey": true}}}"#, missing: &[] },
    Row {
        document: r#"{"http": {"auth": {"htpasswd": {"path": "/etc/users"}, "sessionKeysFile": "/etc/keys.json"}}}"#,
        missing: &[],
    },
    Row {
        document: r#"{"http": {"auth": {"htpasswd": {"path": "/etc/users"},
            "sessionDriver": {"name": "redis", "url": "redis://127.0.0.1:6379", "keyprefix": "builds"}}}}"#,
        missing: &["http.auth.sessionDriver"],
    },
    Row {
        document: r#"{"http": {"ratelimit": {"rate": 100, "methods": [{"method": "GET", "rate": 50}]}}}"#,
        missing: &[],
    },
    Row { document: r#"{"scheduler": {"numWorkers": 2}}"#, missing: &["scheduler"] },
    Row {
        document: r#"{"cluster": {"members": ["10.0.0.1:5000", "10.0.0.2:5000"], "hashKey": "0123456789abcdef",
            "tls": {"cacert": "/etc/tls/members.pem"}}}"#,
        missing: &["cluster"],
    },
    Row {
        document: r#"{"extensions": {
            "search": {"enable": true, "cve": {"updateInterval": "6h", "trivy": {
                "dbRepository": "db.example.net/trivy", "javaDBRepository": "db.example.net/java",
                "vulnSeveritySources": ["auto"], "sbom": {"enable": true, "format": "spdx"}}}},
            "ui": {"enable": true},
            "lint": {"enable": true, "mandatoryAnnotations": ["org.example.owner"]},
            "events": {"enable": true, "sinks": [{"type": "nats", "address": "nats://127.0.0.1:4222",
                                                  "channel": "pushes", "timeout": "3s"}]},
            "scrub": {"enable": true, "interval": "30h"},
            "metrics": {}
        }}"#,
        missing: &["extensions.search", "extensions.ui", "extensions.lint", "extensions.events"],
    },
    Row {
        document: r#"{"extensions": {"sync": {
            "enable": true, "credentialsFile": "/etc/sync.json", "downloadDir": "/srv/downloads",
            "registries": [{
                "urls": ["https://upstream.example.net"], "onDemand": true, "pollInterval": "3h", "tlsVerify": true,
                "certDir": "/etc/sync", "maxRetries": 2, "retryDelay": "4m", "maxRetryDelay": "9m",
                "onlySigned": false, "syncTimeout": "2h", "preserveDigest": true, "disableHTTP2": false,
                "maxIdleConnsPerHost": 5, "reqConcurrent": 3, "reqPerSec": 20, "credentialHelper": "ecr",
                "oauth2CredentialHelper": {"grantType": "client_credentials", "tokenURL": "https://t.example.net",
                    "clientID": "builds", "clientSecretFile": "/etc/secret", "assertionFile": "/etc/assertion",
                    "signingFile": "/etc/signing.json", "audience": "a", "scopes": ["pull"],
                    "requestedTokenType": "r", "subjectTokenType": "s", "username": "u"},
                "content": [{"prefix": "apps/**", "destination": "/mirror", "stripPrefix": true,
                             "tags": {"regex": "^v", "excludeRegex": "-rc", "semver": true}}]
            }]
        }}}"#,
        missing: &["extensions.sync"],
    },
];

/// All documents.
pub fn documents() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.document)
}

fn read(document: &str, ignore_unsupported: bool) -> Result<Config, String> {
    Config::parse(Path::new("c.json"), document.as_bytes(), ignore_unsupported).map_err(|error| error.to_string())
}

#[test]
fn every_key_of_zots_examples_is_taken_or_refused_by_name() {
    for Row { document, missing } in ROWS {
        match (read(document, false), missing.first()) {
            (Ok(_), None) => {}
            (Ok(_), Some(key)) => panic!("accepted although {key} is missing: {document}"),
            (Err(error), None) => panic!("refused: {error}\n{document}"),
            (Err(error), Some(key)) => {
                let is_named = error.contains(&format!("{key:?} is not supported by this version"));
                assert!(is_named && !error.contains("cannot be ignored"), "{error}");
            }
        }
    }
}

#[test]
fn what_is_missing_can_be_ignored_unless_it_keeps_somebody_out() {
    for Row { document, missing } in ROWS {
        let protective = missing.iter().find(|key| keys::is_protective(key));
        match (read(document, true), protective) {
            (Ok(config), None) => {
                let ignored = config.notes.iter().filter(|note| note.contains("is ignored")).count();
                assert_eq!(ignored, missing.len(), "{:?}", config.notes);
                for key in *missing {
                    let is_named =
                        |note: &String| note.starts_with(&format!("{key:?} is ignored: it is not supported"));
                    assert!(config.notes.iter().any(is_named), "{key} is not in {:?}", config.notes);
                }
            }
            (Ok(_), Some(key)) => panic!("{key} was ignored: {document}"),
            (Err(error), None) => panic!("refused: {error}\n{document}"),
            (Err(error), Some(key)) => {
                assert!(error.contains(&format!("{key:?} is not supported")), "{error}");
                assert!(error.contains("cannot be ignored: more would be allowed than the file says"), "{error}");
            }
        }
    }
}

#[test]
fn mistakes_are_not_ignored() {
    for (document, part) in [
        (r#"{"extensions": {"serch": {}}}"#, "unknown key"),
        (r#"{"http": {"auth": {"ldpa": {}}}}"#, "unknown key"),
        (r#"{"scheduler": {}, "Scheduler": {}}"#, "duplicate key"),
        (r#"{"storage": {"dedupe": "no"}}"#, "must be true or false"),
        (r#"{"http": {"tls": {"cert": "a"}}}"#, "needs \"http.tls.key\""),
    ] {
        let Err(error) = read(document, true) else { panic!("accepted: {document}") };
        assert!(error.contains(part), "{error}");
    }
}

/// What zot reads as YAML or TOML is the same here.
#[test]
fn the_same_in_every_format() {
    let yaml = "
distSpecVersion: 1.1.1
storage:
  rootDirectory: /srv/registry
  retention:
    policies:
      - repositories: [\"apps/**\"]
        keepTags:
          - patterns: [^v]
            mostRecentlyPushedCount: 3
http: &http
  address: 0.0.0.0
  port: 5050
  auth: {htpasswd: {path: /etc/users}, failDelay: 4}
  accessControl:
    repositories:
      \"**\":
        anonymousPolicy: [read]
        policies:
          - users: [ida, no, \"17\"]
            actions: &all [read, create, update, delete]
    adminPolicy: {users: [root], actions: *all}
log: {level: debug}
";
    let toml = "
distSpecVersion = \"1.1.1\"
[storage]
rootDirectory = \"/srv/registry\"
[[storage.retention.policies]]
repositories = [\"apps/**\"]
[[storage.retention.policies.keepTags]]
patterns = [\"^v\"]
mostRecentlyPushedCount = 3
[http]
address = \"0.0.0.0\"
port = \"5050\"
[http.auth]
htpasswd.path = \"/etc/users\"
failDelay = 4
[http.accessControl.repositories.\"**\"]
anonymousPolicy = [\"read\"]
policies = [{ users = [\"ida\", \"no\", \"17\"], actions = [\"read\", \"create\", \"update\", \"delete\"] }]
[http.accessControl.adminPolicy]
users = [\"root\"]
actions = [\"read\", \"create\", \"update\", \"delete\"]
[log]
level = \"debug\"
";
    for (name, text) in [("c.yaml", yaml), ("c.toml", toml), ("c", yaml), ("c", toml)] {
        let config = Config::parse(Path::new(name), text.as_bytes(), false);
        let config = config.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(config.root, Path::new("/srv/registry"));
        assert_eq!(config.address.to_string(), "0.0.0.0:5050");
        assert_eq!(config.retention.policies[0].keep_names[0].rules.pushed_count, Some(3));
        let options = config.access.options;
        assert_eq!(options.htpasswd.as_deref(), Some(Path::new("/etc/users")));
        assert_eq!(options.fail_delay.as_secs(), 4);
        let policy = options.policy.expect("a policy");
        for (user, may_delete) in [("ida", true), ("no", true), ("17", true), ("root", true), ("jon", false)] {
            let actions = policy.actions(&orlop_api::access::Subject::user(user, Vec::new()), "a");
            assert_eq!(actions.contains(orlop_api::access::Action::Delete), may_delete, "{user}");
        }
    }
    let mistakes = [
        ("c.yaml", "http:\n  prot: 1\n", "unknown key \"http.prot\""),
        ("c.toml", "[http]\nprot = 1\n", "unknown key \"http.prot\""),
        ("c.yaml", "http:\n  port: 1\n  Port: 2\n", "duplicate key \"http.Port\""),
        ("c.toml", "[http]\nport = 1\nPort = 2\n", "duplicate key \"http.port\""),
        ("c.yaml", "storage:\n  gc: yes\n", "\"storage.gc\" must be true or false, found a string"),
        ("c.yaml", "http:\n", "\"http\" must be an object, found null"),
    ];
    for (name, text, part) in mistakes {
        let Err(error) = Config::parse(Path::new(name), text.as_bytes(), false) else { panic!("accepted: {text}") };
        assert!(error.to_string().contains(part), "{error}");
    }
}
