//! Rights behind a batch: asked about what is true when it is committed.

use std::sync::Arc;

use orlop_engine::{Batch, Error, Guard, Namespace, Removal};

use crate::common::*;

/// New names only, but none that begins with `fixed`; content of `open` only.
struct NewOnly;

impl Guard for NewOnly {
    fn may_bind(&self, _: &str, is_new: bool) -> bool {
        is_new
    }

    fn may_unbind(&self, name: &str) -> bool {
        !name.starts_with("fixed")
    }

    fn may_mount_from(&self, namespace: &Namespace) -> bool {
        namespace.as_str() == "open"
    }
}

fn forbidden<T>(result: orlop_engine::Result<T>) -> Option<String> {
    match result {
        Err(Error::Forbidden { name }) => Some(name),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_is_asked_about_names() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let engine = open(root.path(), &real().remove(0)).await;
    let (first, second) = (document(&engine, &ns, "one").await, document(&engine, &ns, "two").await);
    let (one, two) = (*first.digest(), *second.digest());
    let guarded = || Batch::new(ns.clone()).guarded(Arc::new(NewOnly));
    let batch = guarded().document(first, b"t".to_vec(), vec![]).bind("fixed", one).bind("loose", one);
    let _ = engine.commit(batch).await.expect("both are new");

    // Also within one batch: what it made is not new any more.
    let batch = guarded().document(second, b"t".to_vec(), vec![]).bind("new", two).bind("fixed", two);
    assert_eq!(forbidden(engine.commit(batch).await).as_deref(), Some("fixed"));
    assert!(is_missing(&engine.find(&ns, &two).await) && is_missing(&engine.resolve(&ns, "new").await));
    assert_eq!(forbidden(engine.commit(guarded().bind("loose", one)).await).as_deref(), Some("loose"), "not even anew");

    assert_eq!(forbidden(engine.commit(guarded().unbind("fixed")).await).as_deref(), Some("fixed"));
    let removal = engine.commit(guarded().remove(one, Removal::Always)).await;
    assert_eq!(forbidden(removal).as_deref(), Some("fixed"), "it would take the name with it");
    assert_eq!(engine.resolve(&ns, "loose").await.expect("nothing of the batch happened"), one);
    let _ = engine.commit(guarded().unbind("loose")).await.expect("it may be removed");
    let _ = engine.commit(Batch::new(ns.clone()).unbind("fixed")).await.expect("nobody is asked without a guard");
    let _ = engine.commit(guarded().remove(one, Removal::Always)).await.expect("it has no names left");
    close_and_check(engine, root.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_is_asked_where_content_comes_from() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = open(root.path(), &real().remove(0)).await;
    let (shut, open, target) = (namespace("a-shut"), namespace("open"), namespace("target"));
    let secret = push(&engine, &shut, b"secret").await;
    let mount = |digest, from: &[&Namespace]| {
        let from = from.iter().map(|namespace| (*namespace).clone()).collect();
        engine.commit(Batch::new(target.clone()).guarded(Arc::new(NewOnly)).mount(digest, from))
    };
    for from in [&[][..], &[&shut], &[&open], &[&shut, &open]] {
        assert!(is_missing(&mount(secret, from).await), "{from:?}");
        assert!(is_missing(&engine.find(&target, &secret).await));
    }
    assert_eq!(push(&engine, &open, b"secret").await, secret);
    assert!(is_missing(&mount(secret, &[&shut]).await), "it is there, but may not be taken from there");
    let _ = mount(secret, &[]).await.expect("one of those that have it may be read");
    assert_eq!(pull(&engine, &target, &secret).await.expect("a member"), b"secret");
    close_and_check(engine, root.path()).await;
}
