//! The list of manifests that refer to a subject.

mod support;

use orlop_api::{Policy, limits::Limits};
use orlop_engine::Digest;
use serde_json::{Value, json};
use support::{Answer, CONFIG, INDEX, MANIFEST, TestRegistry, descriptor, error, image, index, sha256};

const SBOM: &str = "application/vnd.example.sbom.v1";
const SIGNATURE: &str = "application/vnd.example.signature.v1";

fn about(subject: &Digest, artifact_type: Option<&str>, note: &str) -> String {
    let artifact_type = artifact_type.map(|kind| format!(r#","artifactType":"{kind}""#)).unwrap_or_default();
    let subject = descriptor(MANIFEST, subject, 99);
    format!(r#"{artifact_type},"subject":{subject},"annotations":{{"note":"{note}"}}"#)
}

async fn with_limit(name: &str, value: u64) -> TestRegistry {
    let mut limits = Limits::default();
    limits.set(name, value).expect("a valid limit");
    TestRegistry::with(limits, Policy::default()).await
}

fn entries(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), INDEX);
    let json = answer.json();
    assert_eq!((&json["schemaVersion"], &json["mediaType"]), (&json!(2), &json!(INDEX)));
    json["manifests"].as_array().expect("a list").clone()
}

/// Follows the links to the end; gives the digests of each page.
async fn pages(registry: &TestRegistry, target: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next = Some(target.to_owned());
    while let Some(target) = next {
        let answer = registry.get(&target).await;
        let digest = |entry: &Value| entry["digest"].as_str().expect("a digest").to_owned();
        pages.push(entries(&answer).iter().map(digest).collect());
        let link = answer.header("link");
        next = (!link.is_empty()).then(|| {
            let target = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
            target.expect("a link to the next page").to_owned()
        });
    }
    pages
}

#[tokio::test]
async fn referrers_are_listed_with_what_they_say() {
    let registry = TestRegistry::new().await;
    let config = registry.push_blob("a", b"{}").await;
    let subject = sha256(b"pushed later or never");
    let typed = image(&[(CONFIG, &config, 2)], &about(&subject, Some(SBOM), "one"));
    let untyped = image(&[(CONFIG, &config, 2)], &about(&subject, None, "two"));
    let list = index(&[], &about(&subject, None, "three"));
    let other = index(&[], &about(&sha256(b"other"), None, "four"));
    let mut expected = Vec::new();
    for (media_type, content, artifact_type, note) in [
        (MANIFEST, &typed, Some(SBOM), "one"),
        (MANIFEST, &untyped, Some(CONFIG), "two"),
        (INDEX, &list, None, "three"),
    ] {
        let digest = registry.push_manifest("a", "latest", media_type, content).await;
        let mut entry = json!({
            "mediaType": media_type,
            "digest": digest.to_string(),
            "size": content.len(),
            "annotations": { "note": note },
        });
        if let Some(artifact_type) = artifact_type {
            entry["artifactType"] = json!(artifact_type);
        }
        expected.push(entry);
    }
    registry.push_manifest("a", "other", INDEX, &other).await;
    let answer = registry.get(&format!("/v2/a/referrers/{subject}")).await;
    assert!(!answer.headers.contains_key("oci-filters-applied"));
    let found = entries(&answer);
    assert_eq!(found.len(), 3);
    for entry in expected {
        assert!(found.contains(&entry), "{entry} is not in {found:?}");
    }
    // Another repository has none of them.
    assert!(entries(&registry.get(&format!("/v2/b/referrers/{subject}")).await).is_empty());
}

#[tokio::test]
async fn filters_leave_what_matches() {
    let registry = TestRegistry::new().await;
    let subject = sha256(b"subject");
    for (kind, note) in [(SBOM, "one"), (SBOM, "two"), (SIGNATURE, "three")] {
        registry.push_manifest("a", "latest", INDEX, &index(&[], &about(&subject, Some(kind), note))).await;
    }
    for (query, count) in [
        (format!("artifactType={SBOM}"), 2),
        (format!("artifactType={SIGNATURE}"), 1),
        (format!("artifactType={SBOM}&artifactType={SIGNATURE}"), 3),
        ("artifactType=application%2Fnone".to_owned(), 0),
    ] {
        let answer = registry.get(&format!("/v2/a/referrers/{subject}?{query}")).await;
        assert_eq!(entries(&answer).len(), count, "{query}");
        assert_eq!(answer.header("oci-filters-applied"), "artifactType");
    }
}

#[tokio::test]
async fn nothing_refers_to_the_unknown() {
    let registry = TestRegistry::new().await;
    let answer = registry.get(&format!("/v2/never/pushed/referrers/{}", sha256(b"x"))).await;
    assert!(entries(&answer).is_empty());
    assert_eq!(registry.get("/v2/a/referrers/sha256:abc").await.error(), error(400, "DIGEST_INVALID"));
    let target = format!("/v2/a/referrers/{}?last=abc", sha256(b"x"));
    assert_eq!(registry.get(&target).await.error(), error(400, "DIGEST_INVALID"));
}

#[tokio::test]
async fn a_deleted_referrer_is_not_listed() {
    let registry = TestRegistry::new().await;
    let subject = sha256(b"subject");
    let digest = registry.push_manifest("a", "latest", INDEX, &index(&[], &about(&subject, None, "one"))).await;
    assert_eq!(registry.delete(&format!("/v2/a/manifests/{digest}")).await.status, 202);
    assert!(entries(&registry.get(&format!("/v2/a/referrers/{subject}")).await).is_empty());
}

#[tokio::test]
async fn pages_hold_every_match_once_and_are_full() {
    let registry = with_limit("referrers_page_max", 4).await;
    let subject = sha256(b"subject");
    let mut expected = [Vec::new(), Vec::new()];
    for at in 0..20 {
        let which = usize::from(at % 2 == 0);
        let content = index(&[], &about(&subject, Some([SIGNATURE, SBOM][which]), &at.to_string()));
        expected[which].push(registry.push_manifest("a", "latest", INDEX, &content).await.to_string());
    }
    let [signatures, sboms] = &mut expected;
    sboms.sort();
    let filtered = pages(&registry, &format!("/v2/a/referrers/{subject}?artifactType={SBOM}")).await;
    assert_eq!(filtered.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
    assert_eq!(&filtered.concat(), sboms);
    let mut all = [signatures.as_slice(), sboms.as_slice()].concat();
    all.sort();
    let pages = pages(&registry, &format!("/v2/a/referrers/{subject}")).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 4, 4, 4]);
    assert_eq!(pages.concat(), all);
}

#[tokio::test]
async fn pages_have_a_size_limit_but_always_lead_on() {
    let registry = with_limit("referrers_bytes_max", 64 << 10).await;
    let subject = sha256(b"subject");
    for at in 0..5 {
        let content = index(&[], &about(&subject, None, &format!("{at}{}", "x".repeat(30 << 10))));
        registry.push_manifest("a", "latest", INDEX, &content).await;
    }
    let larger_than_a_page = index(&[], &about(&subject, None, &"y".repeat(100 << 10)));
    registry.push_manifest("a", "latest", INDEX, &larger_than_a_page).await;
    let pages = pages(&registry, &format!("/v2/a/referrers/{subject}")).await;
    assert_eq!(pages.concat().len(), 6);
    assert!(pages.iter().all(|page| (1..=2).contains(&page.len())), "{pages:?}");
}
