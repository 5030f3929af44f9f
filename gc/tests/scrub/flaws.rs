//! Each way in which bytes can be wrong.

use orlop_engine::{
    Digest, Edge,
    damage::{Finder, Flaw},
    index::{Changes, Durability, Index, Table},
};

use crate::{common::*, places::*};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Harm {
    Flip(usize),
    Truncate(usize),
    Extend,
    Remove,
    /// Two files change places.
    Swap,
}

const HARMS: [Harm; 9] = [
    Harm::Flip(0),
    Harm::Flip(LARGE / 2),
    Harm::Flip(LARGE - 1),
    Harm::Truncate(0),
    Harm::Truncate(4096),
    Harm::Truncate(LARGE - 1),
    Harm::Extend,
    Harm::Remove,
    Harm::Swap,
];

impl Harm {
    async fn inflict(self, place: &Place, victim: &Digest, other: &Digest) {
        let path = file_of(victim);
        let content = place.read(&path).await.expect("stored");
        match self {
            Harm::Flip(at) => place.flip(&path, at).await,
            Harm::Truncate(len) => place.write(&path, &content[..len]).await,
            Harm::Extend => place.write(&path, &[content.as_slice(), b"more"].concat()).await,
            Harm::Remove => place.remove(&path).await,
            Harm::Swap => {
                let others = place.read(&file_of(other)).await.expect("stored");
                place.write(&path, &others).await;
                place.write(&file_of(other), &content).await;
            }
        }
    }

    /// What is to be found, and where.
    fn flaw(self) -> (Flaw, u64) {
        match self {
            Harm::Flip(at) => (Flaw::Checksum, at as u64 / 65_536 * 65_536),
            Harm::Truncate(len) => (Flaw::Length, len as u64),
            Harm::Extend => (Flaw::Length, LARGE as u64),
            Harm::Remove => (Flaw::Missing, 0),
            Harm::Swap => (Flaw::Checksum, 0),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_answers_as_absent_everywhere_and_is_healed_by_one_push() {
    let (app, other) = (namespace("app"), namespace("other"));
    for (harm, is_real) in HARMS.into_iter().flat_map(|harm| [(harm, false), (harm, true)]) {
        let place = if is_real { Place::real() } else { Place::simulated() };
        let engine = place.open().await;
        let (content, bystander) = (bytes(1, LARGE), bytes(2, LARGE));
        let digest = push(&engine, &app, &content).await.expect("pushed");
        push(&engine, &other, &content).await.expect("pushed");
        let sound = push(&engine, &other, &bystander).await.expect("pushed");
        assert_eq!(pass(&engine).await.damaged, 0, "nothing is wrong yet");
        harm.inflict(&place, &digest, &sound).await;
        let harmed = place.read(&file_of(&digest)).await;

        let report = pass(&engine).await;
        let count = if harm == Harm::Swap { 2 } else { 1 };
        assert_eq!((report.damaged, report.skipped, report.blobs), (count, 0, 2), "{harm:?}");
        let list = listed(&engine).await;
        let damaged = &list[&digest];
        assert_eq!((damaged.flaw, damaged.offset), harm.flaw(), "{harm:?}");
        assert_eq!((damaged.finder, damaged.size), (Finder::Scrub, LARGE as u64));
        assert_eq!(list.contains_key(&sound), harm == Harm::Swap);
        for ns in [&app, &other] {
            assert!(is_missing(&engine, ns, &digest).await, "{harm:?} in {ns}");
        }
        let kept = match quarantined(damaged) {
            Some(path) => place.read(&path).await,
            None => None,
        };
        assert_eq!(kept, harmed, "{harm:?}: the wrong bytes are kept");
        assert_eq!(place.read(&file_of(&digest)).await, None, "{harm:?}: and not where right ones belong");

        let again = pass(&engine).await;
        assert_eq!((again.damaged, again.known), (0, count), "{harm:?} is known");
        assert_eq!(listed(&engine).await, list, "and stays as it was found");

        push(&engine, &other, &content).await.expect("pushed again");
        push(&engine, &other, &bystander).await.expect("pushed again");
        for ns in [&app, &other] {
            assert_eq!(pull_whole(&engine, ns, &digest).await.expect("healed"), content, "{harm:?}");
        }
        assert!(listed(&engine).await.is_empty());
        let healed = pass(&engine).await;
        assert_eq!((healed.damaged, healed.known, healed.recovered), (0, 0, 0), "{harm:?}");
        assert_eq!(engine.statistics().blobs_healed, count);
        place.check(engine).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_index_is_found_and_healed() {
    for harmed in [Some(b"content 9".to_vec()), Some(b"content".to_vec()), None] {
        let place = Place::simulated();
        let Place::Simulated(parts) = &place else { unreachable!("simulated") };
        let engine = place.open().await;
        let ns = namespace("app");
        let digest = push(&engine, &ns, &content(8)).await.expect("pushed");
        let writes = vec![(Table::Bytes, digest.to_key(), harmed.clone())];
        let changes = Changes { conditions: Vec::new(), writes };
        parts.index.write(&changes, Durability::Synced).expect("memory");

        assert_eq!(pass(&engine).await.damaged, 1, "{harmed:?}");
        assert!(is_missing(&engine, &ns, &digest).await);
        let list = listed(&engine).await;
        assert_eq!(list[&digest].quarantined, None, "there is no file");
        assert_eq!(list[&digest].flaw == Flaw::Missing, harmed.is_none(), "{list:?}");
        push(&engine, &ns, &content(8)).await.expect("pushed again");
        assert_eq!(pull(&engine, &ns, &digest).await.expect("healed"), content(8));
        assert!(listed(&engine).await.is_empty());
        place.check(engine).await;
    }
}

/// The medium recovered, or somebody put a copy back.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_right_again_are_served_again() {
    for is_real in [false, true] {
        let place = if is_real { Place::real() } else { Place::simulated() };
        let engine = place.open().await;
        let ns = namespace("app");
        let content = bytes(3, LARGE);
        let digest = push(&engine, &ns, &content).await.expect("pushed");
        let path = file_of(&digest);

        // In quarantine.
        place.flip(&path, 77).await;
        assert_eq!(pass(&engine).await.damaged, 1);
        let aside = quarantined(&listed(&engine).await[&digest]).expect("kept");
        place.flip(&aside, 78).await;
        assert_eq!(pass(&engine).await.known, 1, "still not right");
        place.flip(&aside, 78).await;
        place.flip(&aside, 77).await;
        assert_eq!(pass(&engine).await.recovered, 1);
        assert_eq!(pull_whole(&engine, &ns, &digest).await.expect("sound"), content);
        assert_eq!(place.read(&aside).await, None, "it is back in its place");

        // In its place.
        place.remove(&path).await;
        assert_eq!(pass(&engine).await.damaged, 1);
        assert!(is_missing(&engine, &ns, &digest).await);
        place.write(&path, &content).await;
        assert!(is_missing(&engine, &ns, &digest).await, "until somebody has looked");
        assert_eq!(pass(&engine).await.recovered, 1);
        assert_eq!(pull_whole(&engine, &ns, &digest).await.expect("sound"), content);
        assert!(listed(&engine).await.is_empty());
        place.check(engine).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_a_reader_finds_is_on_the_same_list() {
    let place = Place::simulated();
    let engine = place.open().await;
    let ns = namespace("app");
    let content = bytes(4, LARGE);
    let digest = push(&engine, &ns, &content).await.expect("pushed");
    place.flip(&file_of(&digest), LARGE - 1).await;
    assert!(pull_whole(&engine, &ns, &digest).await.is_err());
    let list = listed(&engine).await;
    assert_eq!((list[&digest].finder, list[&digest].flaw), (Finder::Read, Flaw::Checksum));
    assert!(list[&digest].quarantined.is_some());
    assert!(is_missing(&engine, &ns, &digest).await);
    assert_eq!(pass(&engine).await.known, 1);
    push(&engine, &ns, &content).await.expect("pushed again");
    assert_eq!(pull_whole(&engine, &ns, &digest).await.expect("healed"), content);
    place.check(engine).await;
}

/// Who opened the file before it was healed reads the old one, and must not give the alarm for the new.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_old_file_does_not_harm_the_healed_one() {
    let place = Place::simulated();
    let engine = place.open().await;
    let ns = namespace("app");
    let content = bytes(5, LARGE);
    let digest = push(&engine, &ns, &content).await.expect("pushed");
    let old = engine.open_blob(&ns, &digest).await.expect("opened");
    place.flip(&file_of(&digest), 9).await;
    assert_eq!(pass(&engine).await.damaged, 1);
    push(&engine, &ns, &content).await.expect("pushed again");
    assert!(old.bytes(LARGE).await.is_err(), "wrong bytes are not handed out");
    assert_eq!(pull_whole(&engine, &ns, &digest).await.expect("healed"), content);
    assert!(listed(&engine).await.is_empty());
    assert_eq!(engine.statistics().blobs_damaged, 1, "the scrub's alarm only");
    place.check(engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_affected_is_told_through_documents_that_need_documents() {
    let place = Place::simulated();
    let engine = place.open().await;
    let (app, mirror) = (namespace("app"), namespace("mirror"));
    let content = bytes(6, LARGE);
    let digest = push(&engine, &app, &content).await.expect("pushed");
    push(&engine, &mirror, &content).await.expect("pushed");
    let inner = push_document(&engine, &app, b"inner", vec![Edge::needs(digest)], Some("v1")).await.expect("pushed");
    push_document(&engine, &app, b"outer", vec![Edge::needs(inner)], Some("all")).await.expect("pushed");
    push_document(&engine, &app, b"apart", vec![], Some("apart")).await.expect("pushed");
    place.flip(&file_of(&digest), 1).await;
    pass(&engine).await;
    let mut affected = engine.affected(&digest).await.expect("read");
    affected.iter_mut().for_each(|affected| affected.names.sort());
    let told: Vec<_> = affected.iter().map(|a| (a.namespace.as_str(), a.names.clone(), a.has_more)).collect();
    let names = vec!["all".to_owned(), "v1".to_owned()];
    assert_eq!(told, [("app", names, false), ("mirror", Vec::new(), false)]);
    place.check(engine).await;
}
