//! Lists of tags and repositories, and their pages.

mod support;

use orlop_api::{Policy, limits::Limits};
use support::{INDEX, TestRegistry, error, index};

async fn tagged(tags: &[&str]) -> TestRegistry {
    let registry = TestRegistry::new().await;
    for tag in tags {
        registry.push_manifest("a/b", tag, INDEX, &index(&[], "")).await;
    }
    registry
}

#[tokio::test]
async fn tags_are_listed_in_byte_order() {
    let registry = tagged(&["b", "a", "B", "_", "1.10", "1.9"]).await;
    let answer = registry.get("/v2/a/b/tags/list").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.text(), r#"{"name":"a/b","tags":["1.10","1.9","B","_","a","b"]}"#);
    assert!(!answer.headers.contains_key("link"));
    let head = registry.head("/v2/a/b/tags/list").await;
    assert_eq!((head.body.len(), head.header("content-length")), (0, answer.body.len().to_string().as_str()));
}

#[tokio::test]
async fn pages_of_tags_lead_on() {
    let registry = tagged(&["a", "b", "c"]).await;
    for (query, tags, link) in [
        ("n=2", r#"["a","b"]"#, "</v2/a/b/tags/list?n=2&last=b>; rel=\"next\""),
        ("n=2&last=b", r#"["c"]"#, ""),
        ("n=3", r#"["a","b","c"]"#, ""),
        ("n=0", "[]", ""),
        ("n=1&last=aa", r#"["b"]"#, "</v2/a/b/tags/list?n=1&last=b>; rel=\"next\""),
        ("last=gone", "[]", ""),
        ("last=b", r#"["c"]"#, ""),
        ("n=99999999999999999999999", r#"["a","b","c"]"#, ""),
    ] {
        let answer = registry.get(&format!("/v2/a/b/tags/list?{query}")).await;
        assert_eq!(answer.text(), format!(r#"{{"name":"a/b","tags":{tags}}}"#), "{query}");
        assert_eq!(answer.header("link"), link, "{query}");
    }
}

#[tokio::test]
async fn numbers_that_are_none_are_refused() {
    let registry = tagged(&["a"]).await;
    for query in ["n=-1", "n=x", "n=", "n=1&n=2", "last=a&last=b"] {
        for list in ["a/b/tags/list", "_catalog"] {
            let answer = registry.get(&format!("/v2/{list}?{query}")).await;
            assert_eq!(answer.error(), error(400, "UNSUPPORTED"), "{query}");
        }
    }
}

#[tokio::test]
async fn a_repository_without_tags_has_an_empty_list_and_an_unknown_one_none() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.get("/v2/a/tags/list").await.error(), error(404, "NAME_UNKNOWN"));
    assert_eq!(registry.get("/v2/a/tags/list?n=0").await.error(), error(404, "NAME_UNKNOWN"));
    registry.push_blob("a", b"x").await;
    assert_eq!(registry.get("/v2/a/tags/list").await.text(), r#"{"name":"a","tags":[]}"#);
}

#[tokio::test]
async fn repositories_are_listed_in_pages() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.get("/v2/_catalog").await.text(), r#"{"repositories":[]}"#);
    for name in ["b", "a/c", "a"] {
        registry.push_blob(name, b"x").await;
    }
    for (query, names, link) in [
        ("", r#"["a","a/c","b"]"#, ""),
        ("?n=1", r#"["a"]"#, "</v2/_catalog?n=1&last=a>; rel=\"next\""),
        ("?n=1&last=a", r#"["a/c"]"#, "</v2/_catalog?n=1&last=a%2Fc>; rel=\"next\""),
        ("?n=1&last=a%2Fc", r#"["b"]"#, ""),
        ("?n=0", "[]", ""),
    ] {
        let answer = registry.get(&format!("/v2/_catalog{query}")).await;
        assert_eq!(answer.text(), format!(r#"{{"repositories":{names}}}"#), "{query}");
        assert_eq!(answer.header("link"), link, "{query}");
    }
}

#[tokio::test]
async fn pages_are_bounded_whatever_is_asked_for() {
    let mut limits = Limits::default();
    limits.set("tags_page_max", 2).expect("a valid limit");
    let registry = TestRegistry::with(limits, Policy::default()).await;
    for tag in ["a", "b", "c"] {
        registry.push_manifest("r", tag, INDEX, &index(&[], "")).await;
    }
    for query in ["", "?n=100"] {
        let answer = registry.get(&format!("/v2/r/tags/list{query}")).await;
        assert_eq!(answer.text(), r#"{"name":"r","tags":["a","b"]}"#);
        assert_eq!(answer.header("link"), "</v2/r/tags/list?n=2&last=b>; rel=\"next\"");
    }
}
