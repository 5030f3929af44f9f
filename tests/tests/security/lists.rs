//! Lists of tags and repositories: what can be asked for, and what is answered while they change.

use http::Method;
use orlop_tests::{
    http::{empty, full, request, request_with},
    repository::{IMAGE_MANIFEST, with_query},
};
use serde_json::json;

use crate::common::{connections, resident_bytes, start};

/// Entries of one page, as `docs/limits.md` has it.
const PAGE_ENTRIES_MAX: usize = 1_000;

/// distribution CVE-2023-2253: `n` was taken for the size of an allocation.
#[tokio::test(flavor = "multi_thread")]
async fn the_wish_for_a_page_allocates_nothing() {
    const GROWTH_BYTES_MAX: u64 = 8 << 20;
    let registry = start().await;
    let repository = registry.repository("pages");
    repository.push_image("v1", "layer").await;
    let client = registry.client();
    let lists = ["/v2/_catalog".to_owned(), repository.path("tags/list")];
    client.get(&lists[0]).await.expect(200);
    let before = resident_bytes(registry.process_id());
    for list in &lists {
        for n in ["1000", "2147483647", "9000000000000000000", "18446744073709551616", "99999999999999999999999999"] {
            client.get(&format!("{list}?n={n}")).await.expect(200);
        }
        client.get(&format!("{list}?n=0")).await.expect(200);
        for query in ["n=-1", "n=abc", "n=1&n=2", "n=", "n=1e9", "n=0x10", "n=+1", "n=%201", "last=a&last=b"] {
            client.get(&format!("{list}?{query}")).await.expect(400);
        }
    }
    let growth = resident_bytes(registry.process_id()).saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes");
    registry.finish();
}

/// A long list comes in pages; what was there throughout is in them once, in order, while others come
/// and go.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_is_true_while_it_changes() {
    let registry = start().await;
    let repository = registry.repository("tags");
    let image = repository.push_image("t000000", "layer").await;
    let tags = connections(2_200);
    let tag = |number: usize| format!("t{number:06}");
    let numbers: Vec<usize> = (1..tags).collect();
    for chunk in numbers.chunks(64) {
        let query: Vec<String> = chunk.iter().map(|number| format!("tag={}", tag(*number))).collect();
        let path = with_query(&repository.manifest_path(&image.digest), &query.join("&"));
        let put = request_with(Method::PUT, &path, ("content-type", IMAGE_MANIFEST), full(image.bytes.clone()));
        repository.client.send(put).await.expect(201);
    }
    let plain = repository.client.get(&repository.path("tags/list")).await.expect(200);
    assert_eq!(plain.json()["tags"].as_array().expect("tags").len(), PAGE_ENTRIES_MAX.min(tags), "bounded by itself");
    let mut found = Vec::new();
    let mut next = Some(repository.path("tags/list?n=100"));
    let mut page = 0;
    while let Some(path) = next {
        // Between two pages a tag comes and another goes, both of another kind.
        repository.put_manifest(&format!("t{page:06}x"), IMAGE_MANIFEST, image.bytes.clone()).await.expect(201);
        if page > 0 {
            let old = repository.manifest_path(&format!("t{:06}x", page - 1));
            repository.client.send(request(Method::DELETE, &old, empty())).await.expect(202);
        }
        page += 1;
        let answer = repository.client.get(&path).await.expect(200);
        let names = answer.json()["tags"].as_array().expect("tags").clone();
        assert!(names.len() <= 100);
        found.extend(names.iter().map(|name| name.as_str().expect("a tag").to_owned()));
        next = answer.header("link").split(['<', '>']).nth(1).map(str::to_owned);
    }
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "in order, each once");
    found.retain(|name| !name.ends_with('x'));
    assert_eq!(json!(found), json!((0..tags).map(tag).collect::<Vec<_>>()));
    registry.finish();
}
