//! Every rule of the configuration by example: what is accepted, and the error for what is not.

use std::time::Duration;

use orlop_engine::io::Backend;

use super::*;

fn parse(text: &str) -> Result<Config, String> {
    let mut config = Config::default();
    parse::apply(&mut config, text.as_bytes()).map(|()| config).map_err(|error| error.to_string())
}

#[track_caller]
fn accepted(text: &str) -> Config {
    parse(text).unwrap_or_else(|error| panic!("refused: {error}"))
}

/// The document is refused, in one line that has every one of `parts`.
#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    let Err(error) = parse(text) else {
        panic!("accepted: {text}");
    };
    assert_eq!(error.lines().count(), 1, "{error:?} is not one line");
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

#[test]
fn nothing_given_means_the_documented_defaults() {
    let config = Config::load(None, Flags::default()).expect("defaults");
    assert_eq!(config.root, Path::new("orlop-data"));
    assert_eq!(config.address.to_string(), "127.0.0.1:8080");
    assert_eq!(config.engine.backend, Backend::Auto);
    assert_eq!(config.engine.inline_bytes_max, 64 << 10);
    assert_eq!(config.log.level, LevelFilter::INFO);
    assert_eq!(config.log.output, None);
    assert!(config.tls.files().is_none());
    assert!(config.notes.is_empty());
}

#[test]
fn a_plain_file_of_zot_is_taken_over() {
    let config = accepted(
        r#"{
            "distSpecVersion": "1.1.1",
            "storage": {"rootDirectory": "/tmp/zot", "dedupe": true, "commit": true},
            "http": {"address": "0.0.0.0", "port": "5000", "compat": ["docker2s2"]},
            "log": {"level": "debug", "output": "/var/log/orlop.log"}
        }"#,
    );
    assert_eq!(config.root, Path::new("/tmp/zot"));
    assert_eq!(config.address.to_string(), "0.0.0.0:5000");
    assert_eq!(config.log.level, LevelFilter::DEBUG);
    assert_eq!(config.log.output.as_deref(), Some(Path::new("/var/log/orlop.log")));
    assert!(config.notes.is_empty(), "{:?}", config.notes);
}

#[test]
fn keys_have_no_case() {
    let config = accepted(r#"{"STORAGE": {"rootdirectory": "/r", "IO": "Threads"}, "Http": {"PORT": "1"}}"#);
    assert_eq!(config.root, Path::new("/r"));
    assert_eq!(config.engine.backend, Backend::Threads);
    assert_eq!(config.address.port, 1);
}

#[test]
fn orlops_own_storage_keys_are_set() {
    let config = accepted(
        r#"{"storage": {"io": "ring", "inlineBytesMax": 4096, "blobBytesMax": 1000, "cacheBytes": 33554432, "hotBytes": 16777216, "uploadMemoryBytes": 67108864, "readerMemoryBytes": 33554432}}"#,
    );
    assert_eq!(config.engine.backend, Backend::Ring);
    assert_eq!(config.engine.inline_bytes_max, 4096);
    assert_eq!(config.engine.blob_bytes_max, 1000);
    assert_eq!(config.engine.cache_bytes, 32 << 20);
    assert_eq!(config.engine.hot_bytes_max, 16 << 20);
    assert_eq!(config.engine.upload_memory_bytes_max, 64 << 20);
    assert_eq!(config.engine.reader_memory_bytes_max, 32 << 20);
}

#[test]
fn collection_has_zots_keys_and_defaults() {
    use std::time::Duration;

    use orlop_gc::Runs;

    let hour = Duration::from_secs(3600);
    let default = accepted("{}").collection;
    assert_eq!(default.schedule().runs, Runs::Every(hour));
    assert_eq!((default.delay, default.clock().epoch()), (hour, hour / 8));

    let config = accepted(r#"{"storage": {"gc": true, "gcDelay": "2h", "gcInterval": "24h", "gcLease": "10m"}}"#);
    assert_eq!(config.collection.schedule().runs, Runs::Every(24 * hour));
    assert_eq!(config.collection.clock().epoch(), Duration::from_secs(75));
    assert_eq!(config.collection.options(&config.retention).delay, 2 * 3600 / 75 + 1);

    // Zero: one run after the start. A short delay does not make pushes unsafe by itself.
    let config = accepted(r#"{"storage": {"gcDelay": "0s", "gcInterval": "0"}}"#);
    assert_eq!(config.collection.schedule().runs, Runs::Once);
    assert_eq!(
        (config.collection.options(&config.retention).delay, config.collection.clock().epoch() * 8),
        (0, hour / 12)
    );

    let config = accepted(r#"{"storage": {"gcDelay": "2h", "gcLease": "10m", "retention": {"delay": "150s"}}}"#);
    let options = config.collection.options(&config.retention);
    assert_eq!((options.delay, options.document_delay), (2 * 3600 / 75 + 1, 150 / 75 + 1), "of blobs, of manifests");

    let policies = r#""retention": {"policies": [{"repositories": ["**"]}]}"#;
    for (is_on, notes) in [(true, 0), (false, 1)] {
        let config = accepted(&format!(r#"{{"storage": {{"gc": {is_on}, {policies}}}}}"#));
        assert_eq!(config.notes.len(), notes, "{:?}", config.notes);
    }

    assert_eq!(accepted(r#"{"storage": {"gc": false}}"#).collection.schedule().runs, Runs::Never);
    refused(r#"{"storage": {"gcDelay": "-1s"}}"#, &["\"storage.gcDelay\"", "below zero"]);
    refused(r#"{"storage": {"gcInterval": 3600}}"#, &["\"storage.gcInterval\"", "duration"]);
    refused(r#"{"storage": {"gcLease": "10ms"}}"#, &["\"storage.gcLease\"", "1s or more"]);
}

#[test]
fn the_time_window_is_zots() {
    let window = |text: &str| accepted(&format!(r#"{{"storage": {{"gcTimeWindow": "{text}"}}}}"#)).collection.window;
    assert_eq!(window(""), None);
    for (text, shown) in [
        ("01:00-08:00", "01:00-08:00"),
        ("22:30-4:05", "22:30-04:05"),
        (" 1:00 - 08:00 ", "01:00-08:00"),
        ("00:00-23:59", "00:00-23:59"),
    ] {
        let window = window(text).expect("a window");
        assert_eq!(window.to_string(), shown);
        let schedule = Collection { window: Some(window), ..Collection::default() }.schedule();
        assert_eq!(schedule.window, Some(window));
    }
    for text in [
        "01:00",
        "01:00-",
        "-",
        "1-2",
        "01:00-01:00",
        "24:00-01:00",
        "921173185:00-01:00",
        "01:60-02:00",
        "01:0-02:00",
        "+1:00-02:00",
        "a:00-b:00",
    ] {
        let problem = format!("\"{text}\"");
        refused(
            &format!(r#"{{"storage": {{"gcTimeWindow": "{text}"}}}}"#),
            &["\"storage.gcTimeWindow\"", &problem, "expected a part of the day in UTC such as \"01:00-08:00\""],
        );
    }
    refused(r#"{"storage": {"gcTimeWindow": 8}}"#, &["\"storage.gcTimeWindow\""]);
}

#[test]
fn operators_come_from_the_machine_itself_unless_asked_otherwise() {
    use orlop_api::Operators;

    assert_eq!(accepted("{}").policy.operators, Operators::Loopback);
    assert_eq!(accepted(r#"{"http": {"operators": "anywhere"}}"#).policy.operators, Operators::Anywhere);
    assert_eq!(accepted(r#"{"http": {"operators": "Nowhere"}}"#).policy.operators, Operators::Nowhere);
    refused(r#"{"http": {"operators": "everyone"}}"#, &["\"http.operators\"", "loopback"]);
}

#[test]
fn limits_are_set_in_either_spelling() {
    let config = accepted(r#"{"http": {"limits": {"manifestBytesMax": 1048576, "connections_max": 7}}}"#);
    assert_eq!(config.limits.manifest_bytes_max, 1 << 20);
    assert_eq!(config.limits.connections_max, 7);
    let defaults = Limits::default();
    assert_eq!(config.limits.headers_max, defaults.headers_max);
    refused(
        r#"{"http": {"limits": {"connectionsMax": 7, "connections_max": 8}}}"#,
        &["\"http.limits.connections_max\"", "already"],
    );
}

#[test]
fn timeouts_are_limits_on_waiting_for_progress() {
    let config = accepted(r#"{"http": {"readTimeout": "1m30s", "writeTimeout": "500ms"}}"#);
    assert_eq!(config.limits.progress_window_ms, 90_000);
    assert_eq!(config.limits.stall_timeout_ms, 500);
    assert!(config.notes.is_empty(), "{:?}", config.notes);

    // "No limit" and longer than the longest wait are the longest wait, and said.
    let config = accepted(r#"{"http": {"readTimeout": "0", "writeTimeout": "25h"}}"#);
    assert_eq!(config.limits.check(), Ok(()));
    assert_eq!(config.limits.progress_window_ms, 3_600_000);
    assert_eq!(config.limits.stall_timeout_ms, 3_600_000);
    assert_eq!(config.notes.len(), 2, "{:?}", config.notes);

    let both = r#"{"http": {"readTimeout": "1m", "limits": {"progressWindowMs": 1}}}"#;
    refused(both, &["\"http.limits.progressWindowMs\"", "another key has set"]);
}

#[test]
fn sparse_manifests_are_off_unless_asked_for() {
    assert!(!accepted("{}").policy.sparse_manifests);
    assert!(accepted(r#"{"storage": {"sparseManifests": true}}"#).policy.sparse_manifests);
}

#[test]
fn retention_has_zots_keys_and_meaning() {
    assert!(accepted("{}").retention.policies.is_empty());
    let config = accepted(
        r#"{"storage": {"Retention": {
            "dryRun": true,
            "delay": "24h",
            "policies": [
                {"repositories": ["infra/*", "prod/*"], "deleteReferrers": true, "deleteUntagged": false},
                {
                    "repositories": ["tmp/**"],
                    "keepTags": [
                        {"patterns": ["v2.*", ".*-prod"]},
                        {
                            "patterns": ["v3.*"],
                            "mostRecentlyPushedCount": 10,
                            "mostRecentlyPulledCount": 0,
                            "pulledWithin": "720h",
                            "pushedWithin": "1h30m"
                        }
                    ],
                    "keepUntagged": {"mostRecentlyPulledCount": 5}
                }
            ]
        }}}"#,
    );
    let retention = config.retention;
    assert!(retention.dry_run);
    assert_eq!(retention.delay, Some(Duration::from_secs(86_400)));
    let [infra, tmp] = retention.policies.as_slice() else { panic!("two policies: {:?}", retention.policies) };
    assert!(infra.delete_referring && !infra.delete_unnamed && infra.keep_names.is_empty());
    assert!(infra.keep_unnamed.is_none());
    assert!(!tmp.delete_referring && tmp.delete_unnamed, "the defaults");
    assert_eq!(tmp.namespaces[0].as_str(), "tmp/**");
    assert_eq!(tmp.keep_names[0].patterns[1].as_str(), ".*-prod");
    assert!(tmp.keep_names[0].rules.is_empty());
    let rules = tmp.keep_names[1].rules;
    assert_eq!((rules.pushed_count, rules.pulled_count), (Some(10), None), "zero is no rule");
    assert_eq!(rules.pulled_within, Some(Duration::from_secs(720 * 3600)));
    assert_eq!(rules.pushed_within, Some(Duration::from_secs(5400)));
    assert_eq!(tmp.keep_unnamed.map(|rules| rules.pulled_count), Some(Some(5)));
}

#[test]
fn quotas_and_the_number_of_repositories_are_limits_of_the_store() {
    let config = accepted(
        r#"{"storage": {"maxRepos": 7, "quotas": [{"prefix": "", "bytes": 9}, {"prefix": "team/a", "bytes": 0}]}}"#,
    );
    assert_eq!(config.engine.namespaces_max, Some(7));
    let quotas: Vec<_> = config.engine.quotas.iter().map(|quota| (quota.prefix.as_str(), quota.bytes)).collect();
    assert_eq!(quotas, [("", 9), ("team/a", 0)]);
    assert_eq!(accepted(r#"{"storage": {"maxRepos": 0}}"#).engine.namespaces_max, None);
    assert!(accepted("{}").engine.quotas.is_empty());
    for (text, part) in [
        (r#"{"prefix": "a", "bytes": 1}"#, "\"storage.quotas\" must be a list of quotas"),
        (r#"[{"prefix": "a"}]"#, "\"storage.quotas[0]\": a quota needs"),
        (r#"[{"prefix": "a/", "bytes": 1}]"#, "\"storage.quotas[0].prefix\": \"a/\" is not"),
        (r#"[{"prefix": "a", "bytes": "1G"}]"#, "must be a whole number of bytes"),
        (r#"[{"prefix": "a", "bytes": 1}, {"prefix": "a", "bytes": 2}]"#, "two quotas"),
        (r#"[{"prefix": "a", "byte": 1}]"#, "the nearest known key is \"storage.quotas[0].bytes\""),
    ] {
        refused(&format!(r#"{{"storage": {{"quotas": {text}}}}}"#), &[part]);
    }
}

#[test]
fn mistakes_in_retention_are_told_with_their_place() {
    let cases = [
        (r#""x""#, "\"storage.retention\" must be an object, found a string"),
        (r#"{"dryrun": true, "dryRun": true}"#, "duplicate key \"storage.retention.dryRun\""),
        (r#"{"delay": "-1h"}"#, "\"storage.retention.delay\": a delay cannot be negative"),
        (r#"{"policies": {}}"#, "\"storage.retention.policies\" must be a list of policies, found an object"),
        (r#"{"policy": []}"#, "the nearest known key is \"storage.retention.policies\""),
        (r#"{"policies": [{}]}"#, "\"storage.retention.policies[0]\": it has no \"repositories\""),
        (r#"{"policies": [{"repositories": []}]}"#, "it would never apply"),
        (
            r#"{"policies": [{"repositories": ["a["]}]}"#,
            "policies[0].repositories[0]\": \"a[\": a bracket is not closed",
        ),
        (
            r#"{"policies": [{"repositories": ["a"]}, {"repositories": ["b"], "keepTag": []}]}"#,
            "unknown key \"storage.retention.policies[1].keepTag\"; the nearest known key is \"storage.retention.policies[1].keepTags\"",
        ),
        (
            r#"{"policies": [{"repositories": ["a"], "keepTags": [{"patterns": ["("]}]}]}"#,
            "policies[0].keepTags[0].patterns[0]\": \"(\": not a regular expression: unclosed group",
        ),
        (
            r#"{"policies": [{"repositories": ["a"], "keepTags": [{"mostRecentlyPushedCount": -1}]}]}"#,
            "keepTags[0].mostRecentlyPushedCount\" must be a whole number, found a negative",
        ),
        (
            r#"{"policies": [{"repositories": ["a"], "keepTags": [{"pushedWithin": "0s"}]}]}"#,
            "keepTags[0].pushedWithin\": it would keep nothing",
        ),
        (
            r#"{"policies": [{"repositories": ["a"], "keepTags": [{"pulledWithin": "30d"}]}]}"#,
            "keepTags[0].pulledWithin\": \"30d\" has a unit other than",
        ),
        (
            r#"{"policies": [{"repositories": ["a"], "keepUntagged": {"patterns": []}}]}"#,
            "unknown key \"storage.retention.policies[0].keepUntagged.patterns\"",
        ),
        (r#"{"policies": [{"repositories": ["a"], "deleteUntagged": "no"}]}"#, "must be true or false, found a string"),
    ];
    for (text, part) in cases {
        refused(&format!(r#"{{"storage": {{"retention": {text}}}}}"#), &[part]);
    }
    let many = vec![r#"{"repositories": ["a"]}"#; Retention::POLICIES_MAX + 1].join(",");
    refused(
        &format!(r#"{{"storage": {{"retention": {{"policies": [{many}]}}}}}}"#),
        &["1001 elements", "at most 1000"],
    );
    refused(r#"{"storage": {"retentions": {}}}"#, &["\"storage.retention\""]);
}

#[test]
fn a_port_is_a_string_or_a_number() {
    for (port, expected) in [("\"8081\"", 8081), ("8081", 8081), ("\"\"", 0), ("\"0\"", 0), ("0", 0), ("65535", 65535)]
    {
        let config = accepted(&format!(r#"{{"http": {{"port": {port}}}}}"#));
        assert_eq!(config.address.port, expected, "{port}");
    }
    for port in ["65536", "\"65536\"", "\"http\"", "\" 80\"", "\"+80\""] {
        refused(&format!(r#"{{"http": {{"port": {port}}}}}"#), &["\"http.port\"", "0 (any free port) to 65535"]);
    }
    for port in ["-1", "80.5", "null", "[80]"] {
        refused(&format!(r#"{{"http": {{"port": {port}}}}}"#), &["\"http.port\" must be a port as a string or number"]);
    }
}

#[test]
fn levels_have_zots_names() {
    let names = [
        ("trace", LevelFilter::TRACE),
        ("debug", LevelFilter::DEBUG),
        ("info", LevelFilter::INFO),
        ("warn", LevelFilter::WARN),
        ("warning", LevelFilter::WARN),
        ("error", LevelFilter::ERROR),
        ("fatal", LevelFilter::ERROR),
        ("panic", LevelFilter::ERROR),
    ];
    for (name, level) in names {
        assert_eq!(accepted(&format!(r#"{{"log": {{"level": "{name}"}}}}"#)).log.level, level, "{name}");
    }
    refused(r#"{"log": {"level": "loud"}}"#, &["\"log.level\"", "\"loud\" is not known", "\"info\""]);
}

#[test]
fn an_empty_log_output_is_standard_output() {
    assert_eq!(accepted(r#"{"log": {"output": ""}}"#).log.output, None);
}

#[test]
fn the_audit_log_is_a_file_or_off() {
    assert_eq!(accepted("{}").log.audit, None);
    assert_eq!(accepted(r#"{"log": {"audit": ""}}"#).log.audit, None);
    let config = accepted(r#"{"log": {"audit": "/var/log/orlop-audit.log"}}"#);
    assert_eq!(config.log.audit.as_deref(), Some(Path::new("/var/log/orlop-audit.log")));
    refused(r#"{"log": {"audit": true}}"#, &["\"log.audit\"", "a path as a string"]);
}

#[test]
fn tls_needs_both_files() {
    let config = accepted(r#"{"http": {"tls": {"cert": "c.pem", "key": "k.pem"}}}"#);
    assert_eq!(config.tls.files(), Some((Path::new("c.pem"), Path::new("k.pem"))));
    refused(r#"{"http": {"tls": {"cert": "c.pem"}}}"#, &["\"http.tls.cert\" needs \"http.tls.key\""]);
    refused(r#"{"http": {"tls": {"key": "k.pem"}}}"#, &["\"http.tls.key\" needs \"http.tls.cert\""]);
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_known_one() {
    refused(r#"{"http": {"prot": "80"}}"#, &["unknown key \"http.prot\"", "\"http.port\""]);
    refused(r#"{"storage": {"root": "/r"}}"#, &["unknown key \"storage.root\"", "\"storage.rootDirectory\""]);
    refused(r#"{"htpt": {}}"#, &["unknown key \"htpt\"", "\"http\""]);
    refused(r#"{"http": {"tls": {"certs": "c"}}}"#, &["unknown key \"http.tls.certs\"", "\"http.tls.cert\""]);
    refused(
        r#"{"http": {"limits": {"manifestByteMax": 1}}}"#,
        &["\"http.limits.manifestByteMax\"", "\"http.limits.manifestBytesMax\""],
    );
}

#[test]
fn odd_key_names_are_unknown_and_stay_on_one_line() {
    refused(r#"{"http.port": "80"}"#, &["unknown key \"http.port\""]);
    refused(r#"{"": 1}"#, &["unknown key \"\""]);
    refused(r#"{"http": {"": 1}}"#, &["unknown key \"http.\""]);
    refused("{\"a\\nb\\u001b\": 1}", &["unknown key \"a\\nb\\u{1b}\""]);
}

#[test]
fn a_duplicate_key_is_refused_in_any_case() {
    refused(r#"{"http": {"port": "1", "port": "1"}}"#, &["duplicate key \"http.port\""]);
    refused(r#"{"http": {"port": "1", "Port": "2"}}"#, &["duplicate key \"http.Port\""]);
    refused(r#"{"log": {}, "http": {}, "log": {}}"#, &["duplicate key \"log\""]);
}

#[test]
fn a_wrong_type_says_what_was_expected() {
    let cases = [
        (r#"[]"#, "must be an object, found a list"),
        (r#"{"http": "x"}"#, "\"http\" must be an object, found a string"),
        (r#"{"http": null}"#, "\"http\" must be an object, found null"),
        (r#"{"http": {"tls": true}}"#, "\"http.tls\" must be an object, found a boolean"),
        (
            r#"{"http": {"address": 1}}"#,
            "\"http.address\" must be a host name or IP address as a string, found a number",
        ),
        (r#"{"http": {"compat": "docker2s2"}}"#, "\"http.compat\" must be a list"),
        (r#"{"http": {"realm": 1}}"#, "\"http.realm\" must be a string"),
        (r#"{"http": {"readTimeout": 60}}"#, "\"http.readTimeout\" must be a duration such as \"90s\""),
        (r#"{"storage": {"rootDirectory": 1}}"#, "\"storage.rootDirectory\" must be a path as a string"),
        (
            r#"{"storage": {"cacheBytes": "1G"}}"#,
            "\"storage.cacheBytes\" must be a whole number of bytes, found a string",
        ),
        (r#"{"storage": {"cacheBytes": -1}}"#, "must be a whole number of bytes, found a negative"),
        (r#"{"storage": {"cacheBytes": 1.5}}"#, "must be a whole number of bytes, found a negative, fractional"),
        (r#"{"storage": {"io": 1}}"#, "\"storage.io\" must be \"auto\", \"ring\" or \"threads\""),
        (r#"{"storage": {"dedupe": "true"}}"#, "\"storage.dedupe\" must be true or false"),
        (r#"{"distSpecVersion": 1.1}"#, "\"distSpecVersion\" must be a string"),
        (r#"{"log": {"output": false}}"#, "\"log.output\" must be a path as a string"),
        (
            r#"{"http": {"limits": {"connectionsMax": "many"}}}"#,
            "\"http.limits.connectionsMax\" must be a whole number",
        ),
    ];
    for (text, part) in cases {
        refused(text, &[part]);
    }
}

#[test]
fn a_bad_value_says_what_was_expected() {
    let cases = [
        (r#"{"http": {"address": ""}}"#, "0.0.0.0"),
        (r#"{"http": {"address": "http://x"}}"#, "is not a host name"),
        (r#"{"http": {"compat": ["docker2s3"]}}"#, "\"docker2s3\" is not known"),
        (r#"{"http": {"readTimeout": "60"}}"#, "has a number without a unit; expected a duration"),
        (r#"{"http": {"writeTimeout": "1 minute"}}"#, "expected a duration"),
        (r#"{"storage": {"rootDirectory": ""}}"#, "the path is empty"),
        (r#"{"storage": {"rootDirectory": "a\u0000b"}}"#, "NUL"),
        (
            r#"{"http": {"limits": {"connectionsMax": 0}}}"#,
            "\"http.limits.connectionsMax\": 0 is out of range, expected 1 to",
        ),
        (r#"{"storage": {"inlineBytesMax": 1048577}}"#, "1048577 is out of range, expected 0 to 1048576"),
        (r#"{"storage": {"blobBytesMax": 0}}"#, "expected 1 or more"),
        (r#"{"storage": {"io": "fast"}}"#, "\"fast\" is not known, expected \"auto\""),
    ];
    for (text, part) in cases {
        refused(text, &[part]);
    }
}

#[test]
fn zots_keys_for_missing_features_are_refused_by_name() {
    for (path, feature) in keys::UNSUPPORTED {
        let mut text = "{}".to_owned();
        for name in path.rsplit('.') {
            text = format!(r#"{{"{name}": {text}}}"#);
        }
        refused(&text, &[&format!("\"{path}\" is not supported by this version"), feature]);
    }
    refused(r#"{"storage": {"dedupe": false}}"#, &["\"storage.dedupe\" is not supported", "cannot be false"]);
    refused(r#"{"storage": {"commit": false}}"#, &["\"storage.commit\" is not supported", "cannot be false"]);
}

#[test]
fn no_key_is_both_known_and_unsupported() {
    for key in keys::KEYS {
        let clash = keys::UNSUPPORTED.iter().find(|(path, _)| path.eq_ignore_ascii_case(key.path));
        assert!(clash.is_none(), "{} is listed twice", key.path);
    }
}

#[test]
fn syntax_errors_say_where() {
    refused("{\n  \"http\": }", &["not valid JSON", "line 2"]);
    refused("", &["the configuration is empty"]);
    refused("http:\n  port: 80\n", &["not valid JSON", "line 1"]);
    refused("{} {}", &["not valid JSON"]);
}

#[test]
fn scrub_is_off_without_its_section_and_has_zots_interval() {
    const HOUR_S: u64 = 3600;
    assert_eq!(accepted("{}").scrub.options().interval, None, "only on request");
    let scrub = |section: &str| accepted(&format!(r#"{{"extensions": {{"scrub": {section}}}}}"#));
    for (section, interval_h, rate) in [
        ("{}", Some(24), Some(32 << 20)),
        (r#"{"enable": true, "interval": "36h", "rate": 65536}"#, Some(36), Some(65_536)),
        (r#"{"Enable": false, "rate": 0}"#, None, None),
        (r#"{"interval": "1h"}"#, Some(2), Some(32 << 20)),
    ] {
        let config = scrub(section);
        let options = config.scrub.options();
        assert_eq!(options.interval.map(|interval| interval.as_secs()), interval_h.map(|h| h * HOUR_S), "{section}");
        assert_eq!(options.rate_bytes_max, rate, "{section}");
        assert_eq!(config.notes.len(), usize::from(section.contains("1h")), "{:?}", config.notes);
    }
    assert_eq!(accepted(r#"{"extensions": {}}"#).scrub.options().interval, None);
    for (section, parts) in [
        (r#"{"scrub": {"rate": 1000}}"#, &["extensions.scrub.rate", "65536"][..]),
        (r#"{"scrub": {"rate": "fast"}}"#, &["extensions.scrub.rate", "whole number"]),
        (r#"{"scrub": {"interval": "-1h"}}"#, &["extensions.scrub.interval", "below zero"]),
        (r#"{"scrub": {"intervall": "1h"}}"#, &["extensions.scrub.intervall", "extensions.scrub.interval"]),
        (r#"{"scrub": true}"#, &["extensions.scrub", "object"]),
        (r#"{"scrubs": {}}"#, &["extensions.scrubs", "extensions.scrub"]),
        (r#"{"search": {}}"#, &["extensions.search"]),
    ] {
        refused(&format!(r#"{{"extensions": {section}}}"#), parts);
    }
}

#[test]
fn what_has_no_effect_is_noted() {
    let config = accepted(r#"{"distSpecVersion": "1.0.1", "http": {"realm": "zot"}}"#);
    assert_eq!(config.notes.len(), 2);
    assert!(config.notes[0].contains("1.0.1"), "{:?}", config.notes);
    assert!(config.notes[1].contains("realm"), "{:?}", config.notes);
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let file = directory.path().join("c.json");
    std::fs::write(&file, r#"{"storage": {"rootDirectory": "/file"}, "http": {"port": "81"}}"#).expect("written");

    let config = Config::load(Some(&file), Flags::default()).expect("accepted");
    assert_eq!(config.root, Path::new("/file"));
    assert_eq!(config.address.to_string(), "127.0.0.1:81");

    let flags = Flags {
        root: Some("/flag".into()),
        address: Some("[::1]:82".parse().expect("an address")),
        ..Flags::default()
    };
    let config = Config::load(Some(&file), flags).expect("accepted");
    assert_eq!(config.root, Path::new("/flag"));
    assert_eq!(config.address.to_string(), "[::1]:82");
}

#[test]
fn errors_name_the_file() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let missing = directory.path().join("missing.json");
    let Err(error) = Config::load(Some(&missing), Flags::default()) else { panic!("accepted") };
    assert!(error.to_string().starts_with(&format!("{}: cannot read", missing.display())), "{error}");

    let Err(error) = Config::load(Some(directory.path()), Flags::default()) else { panic!("accepted") };
    assert!(matches!(error.kind, ErrorKind::Unreadable(_)), "{error}");

    let large = directory.path().join("large.json");
    std::fs::write(&large, vec![b' '; FILE_BYTES_MAX as usize + 1]).expect("written");
    let Err(error) = Config::load(Some(&large), Flags::default()) else { panic!("accepted") };
    assert!(matches!(error.kind, ErrorKind::TooLarge { .. }), "{error}");
}

#[test]
fn every_example_is_accepted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the examples") {
        let path = entry.expect("an entry").path();
        if let Err(error) = Config::load(Some(&path), Flags::default()) {
            panic!("{error}");
        }
        count += 1;
    }
    assert!(count >= 4, "only {count} examples");
}

#[test]
#[cfg(all(feature = "ldap", feature = "openid", feature = "bearer", feature = "conditions"))]
fn every_way_to_log_in_has_a_commented_example() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for (name, key) in [
        ("htpasswd", "http.auth.htpasswd.path"),
        ("ldap", "http.auth.ldap"),
        ("openid", "http.auth.openid.providers.oidc.issuer"),
        ("github", "http.auth.openid.providers.github"),
        ("api-keys", "http.auth.apikey"),
        ("bearer", "http.auth.bearer.realm"),
        ("workload-identity", "http.auth.bearer.oidc"),
        ("client-certificates", "http.auth.mtls"),
        ("access-control", "http.accessControl.repositories"),
        ("conditions", "http.accessControl.adminPolicy.conditions"),
        ("proxy", "http.basePath"),
    ] {
        let path = folder.join(name).with_extension("yaml");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let comments = text.lines().filter(|line| line.trim_start().starts_with("# ")).count();
        assert!(text.starts_with("# ") && comments > 3, "{name} says too little");
        let config = Config::load(Some(&path), Flags::default()).unwrap_or_else(|error| panic!("{error}"));
        assert!(config.notes.is_empty(), "{name}: {:?}", config.notes);
        let found = key.split('.').try_fold(&config.document, |value, name| {
            value.object().ok()?.iter().find(|(key, _)| key == name).map(|(_, value)| value)
        });
        assert!(found.is_some(), "{name} has no {key}");
    }
}
