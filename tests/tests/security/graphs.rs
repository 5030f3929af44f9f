//! Documents that refer to documents, by the thousand: walks that must not recurse, lists that must
//! not grow without end.

use std::collections::BTreeSet;

use orlop_tests::{
    Options, Registry,
    repository::{IMAGE_INDEX, IMAGE_MANIFEST, Manifest, image_config},
};
use serde_json::{Value, json};

use crate::common::{connections, metric, start};

/// Bytes of one page of referrers, as `docs/limits.md` has it.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// A chain of indexes, each the only child of the next: pushed, collected as a whole, and no thread's
/// stack has noticed.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_chain_of_indexes_is_collected() {
    let config = json!({ "storage": { "gcDelay": "0s", "gcInterval": "50ms", "gcLease": "1s" } });
    let mut registry = Registry::start(Options { config: Some(config), ..Options::default() }).await;
    let repository = registry.repository("chain");
    let length = connections(400);
    let mut link = repository.push_image("base", "layer").await;
    let mut media_type = IMAGE_MANIFEST;
    for _ in 0..length {
        let manifests = json!([link.descriptor(media_type)]);
        let next = Manifest::new(&json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": manifests }));
        repository.put_manifest("top", IMAGE_INDEX, next.bytes.clone()).await.expect(201);
        (link, media_type) = (next, IMAGE_INDEX);
    }
    // Needed by the one above it, all the way down.
    repository.client.delete(&repository.manifest_path("base")).await.expect(202);
    repository.manifest(&link.digest).await.expect(200);
    repository.client.delete(&repository.manifest_path("top")).await.expect(202);
    let members = length as u64 + 3;
    metric(&registry, "orlop_members_collected_total", |collected| collected >= members).await;
    repository.manifest(&link.digest).await.expect(404);
    registry.stop();
    registry.restart().await;
    registry.finish();
}

/// Every referrer of a crowd is listed once, in pages of bounded size, and filters come before pages.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_referrers_is_listed_in_pages() {
    let registry = start().await;
    let repository = registry.repository("crowd");
    let config = image_config("crowd");
    repository.push(config.clone()).await;
    let subject = repository.push_image("subject", "layer").await;
    let referrers = connections(1_300);
    let mut expected = BTreeSet::new();
    // A few large ones, so that pages end by their bytes as well.
    let annotation = |number: usize| if number < 12 { "x".repeat(1 << 20) } else { number.to_string() };
    for number in 0..referrers {
        let kind = if number % 100 == 0 { "text/x-rare" } else { "text/x-common" };
        let further = json!({ "subject": subject.descriptor(IMAGE_MANIFEST), "artifactType": kind,
            "annotations": { "number": annotation(number) } });
        let note = Manifest::image(&config, &[], &further);
        repository.put_manifest(&note.digest, IMAGE_MANIFEST, note.bytes).await.expect(201);
        expected.insert(note.digest);
    }
    let first = repository.path(&format!("referrers/{}", subject.digest));
    let mut found = Vec::new();
    let mut next = Some(first.clone());
    while let Some(path) = next {
        let answer = registry.client().get(&path).await.expect(200);
        assert!(answer.body.len() <= PAGE_BYTES_MAX, "{} bytes", answer.body.len());
        let page = answer.json();
        let page = page["manifests"].as_array().expect("a list").clone();
        found.extend(page.iter().map(|entry: &Value| entry["digest"].as_str().expect("a digest").to_owned()));
        next = answer.header("link").split(['<', '>']).nth(1).map(str::to_owned);
    }
    assert_eq!(found.len(), expected.len(), "each is listed once");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    let rare = registry.client().get(&format!("{first}?artifactType=text/x-rare&n=5")).await.expect(200);
    assert_eq!(rare.json()["manifests"].as_array().expect("a list").len(), 5, "a page of what was asked for");
    registry.finish();
}
