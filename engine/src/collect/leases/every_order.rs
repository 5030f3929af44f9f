//! Somebody tells of a member, or pins content, while it is removed, in every order.

use std::sync::Arc;

use super::*;
use crate::{
    Algorithm,
    error::{Error, What},
    schedule::{AtomicBool, in_every_order, thread},
};

fn subject() -> (Namespace, Digest) {
    (Namespace::new("a").expect("valid"), Digest::of(Algorithm::Sha256, b"x"))
}

fn leases() -> Arc<Leases> {
    let leases = Leases::new(5, 1);
    leases.waive_earlier_answers();
    Arc::new(leases)
}

/// Removes on the commit thread, if nothing protects what is to go.
fn remove(leases: &Leases, condemned: Option<Key>, is_there: &AtomicBool) {
    let Some(key) = condemned else { return };
    is_there.store(false, Ordering::SeqCst);
    leases.release(&[key]);
}

#[test]
fn whoever_is_told_finds_it() {
    let orders = in_every_order(|| {
        let (leases, is_there) = (leases(), Arc::new(AtomicBool::new(true)));
        let (namespace, digest) = subject();
        let remover = {
            let (leases, is_there, namespace) = (leases.clone(), is_there.clone(), namespace.clone());
            thread::spawn(move || remove(&leases, leases.condemn_member(&namespace, &digest), &is_there))
        };
        let look =
            || async { is_there.load(Ordering::SeqCst).then_some(()).ok_or(Error::NotFound { what: What::Blob }) };
        let is_told = shuttle::future::block_on(leases.telling(&namespace, &digest, look)).is_ok();
        remover.join().expect("the remover does not panic");
        assert!(!is_told || is_there.load(Ordering::SeqCst), "it was told of, and removed");
    });
    assert!(orders > 20, "{orders}");
}

#[test]
fn whoever_gives_an_answer_again_finds_it() {
    let orders = in_every_order(|| {
        let (leases, is_there) = (leases(), Arc::new(AtomicBool::new(true)));
        let (namespace, digest) = subject();
        let remover = {
            let (leases, is_there, namespace) = (leases.clone(), is_there.clone(), namespace.clone());
            thread::spawn(move || remove(&leases, leases.condemn_member(&namespace, &digest), &is_there))
        };
        let key = leases.member_key(&namespace, &digest);
        let is_told = leases.tell_if(key, || is_there.load(Ordering::SeqCst));
        remover.join().expect("the remover does not panic");
        assert!(!is_told || is_there.load(Ordering::SeqCst), "it was told of again, and removed");
    });
    assert!(orders > 10, "{orders}");
}

#[test]
fn what_is_pinned_stays() {
    let orders = in_every_order(|| {
        let (leases, is_there) = (leases(), Arc::new(AtomicBool::new(true)));
        let (_, digest) = subject();
        let remover = {
            let (leases, is_there) = (leases.clone(), is_there.clone());
            thread::spawn(move || remove(&leases, leases.condemn_content(&digest), &is_there))
        };
        let pin = leases.pin(&digest);
        let was_there = is_there.load(Ordering::SeqCst);
        if pin.is_some() && was_there {
            remover.join().expect("the remover does not panic");
            assert!(is_there.load(Ordering::SeqCst), "it was pinned, seen and removed");
        } else {
            remover.join().expect("the remover does not panic");
        }
        drop(pin);
    });
    assert!(orders > 10, "{orders}");
}
