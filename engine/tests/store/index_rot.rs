//! Rot of the index's own files: bits of RocksDB's files flip, files are cut or vanish. The store opens with
//! everything it had, or it says what is wrong, at the opening or when the place is read; what was
//! acknowledged never seems to be absent, and no wrong byte is handed out. A rebuild brings everything back.
//!
//! `ORLOP_ROT_INDEX_HARMS` says how many; a quick run is part of `make test`, `make crash` a long one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use orlop_engine::{Batch, Digest, Edge, Engine, Error, Options, rebuild};

use crate::{
    common::*,
    rot::{Random, number},
};

const HARMS_DEFAULT: u64 = 30;
const SEED_DEFAULT: u64 = 1;

/// Openings before the damage: each replays the log into table files and begins a new one.
const OPENINGS: u64 = 3;

/// Blobs that each opening pushes: inline ones, large enough for files of their own in RocksDB, and files.
const LENGTHS: [usize; 4] = [100, 5_000, 60_000, 100_000];

#[derive(Debug, Clone, Copy)]
enum Harm {
    Flip,
    Cut,
    Remove,
}

#[derive(Debug, Default)]
struct Counts {
    flips: u64,
    cuts: u64,
    removed: u64,
    /// What became of the store: refused at its opening, at a read, or right in spite of it.
    refused: u64,
    refused_later: u64,
    right: u64,
}

/// What was acknowledged.
#[derive(Default)]
struct Facts {
    contents: Vec<(Digest, Vec<u8>)>,
    names: Vec<(String, Digest)>,
}

async fn filled(root: &Path, options: &Options) -> Facts {
    let (ns, mut facts) = (namespace("app"), Facts::default());
    for opening in 0..OPENINGS {
        let engine = open(root, options).await;
        for (at, len) in LENGTHS.iter().enumerate() {
            let bytes = content(opening * LENGTHS.len() as u64 + at as u64 + 1, *len).to_vec();
            facts.contents.push((push(&engine, &ns, &bytes).await, bytes));
        }
        let (needed, _) = facts.contents[facts.contents.len() - 1];
        let text = format!("document {opening}");
        let sealed = document(&engine, &ns, &text).await;
        let digest = *sealed.digest();
        let name = format!("v{opening}");
        let batch = Batch::new(ns.clone()).document(sealed, b"type".to_vec(), vec![Edge::needs(needed)]);
        let _ = engine.commit(batch.bind(&name, digest)).await.expect("committed");
        facts.contents.push((digest, text.into_bytes()));
        facts.names.push((name, digest));
        engine.journal_settled().await.expect("settled");
        engine.close().await.expect("closed");
    }
    facts
}

/// Everything that was acknowledged is there, or an error says that the index is damaged.
async fn read(engine: &Engine, facts: &Facts) -> orlop_engine::Result<()> {
    let ns = namespace("app");
    for (name, digest) in &facts.names {
        assert_eq!(engine.resolve(&ns, name).await?, *digest, "{name} points elsewhere");
    }
    for (digest, bytes) in &facts.contents {
        assert_eq!(pull(engine, &ns, digest).await?, *bytes, "wrong bytes of {digest} under a clean end");
    }
    let listed = engine.names(&ns, None, 100).await?;
    assert_eq!(listed.len(), facts.names.len(), "names are missing");
    Ok(())
}

fn harm(index: &Path, random: &mut Random, counts: &mut Counts) -> (Harm, PathBuf) {
    let entries = fs::read_dir(index).expect("readable").map(|entry| entry.expect("readable").path());
    // The log of events says nothing about content, and the locks are empty.
    let is_data = |path: &PathBuf| {
        let name = path.file_name().expect("a file").to_string_lossy();
        !name.starts_with("LOG") && fs::metadata(path).expect("readable").len() > 0
    };
    let mut files: Vec<PathBuf> = entries.filter(is_data).collect();
    files.sort();
    let path = files[random.below(files.len())].clone();
    let mut bytes = fs::read(&path).expect("readable");
    let harm = match random.below(10) {
        0..6 => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
            counts.flips += 1;
            Harm::Flip
        }
        6..9 => {
            bytes.truncate(random.below(bytes.len()));
            counts.cuts += 1;
            Harm::Cut
        }
        _ => {
            counts.removed += 1;
            Harm::Remove
        }
    };
    match harm {
        Harm::Remove => fs::remove_file(&path).expect("removed"),
        Harm::Flip | Harm::Cut => fs::write(&path, bytes).expect("written"),
    }
    (harm, path)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// Whether an error tells an operator that the index cannot be read, not a client that something is absent.
fn is_told(error: &Error) -> bool {
    matches!(error, Error::Store { .. } | Error::Io { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn rot_of_the_index_is_told_and_undone_by_a_rebuild() {
    let harms = number("ORLOP_ROT_INDEX_HARMS", HARMS_DEFAULT);
    let seed = number("ORLOP_RIG_SEED", SEED_DEFAULT);
    let scratch = tempfile::tempdir().expect("a directory");
    let (sound, root) = (scratch.path().join("sound"), scratch.path().join("root"));
    let options = real().remove(0);
    let facts = filled(&sound, &options).await;
    let (mut random, mut counts) = (Random::new(seed), Counts::default());
    for number in 0..harms {
        copy(&sound, &root);
        let (harm, path) = harm(&root.join("index"), &mut random, &mut counts);
        let what = format!("ORLOP_RIG_SEED={seed} index rot {number}: {harm:?} of {}", path.display());
        match Engine::open(&root, options.clone()).await {
            Err(error) => {
                let names_the_command =
                    !matches!(error, Error::Store { .. }) || error.to_string().contains("orlop rebuild");
                assert!(is_told(&error) && names_the_command, "{what}: {error}");
                counts.refused += 1;
            }
            Ok(engine) => {
                match read(&engine, &facts).await {
                    Ok(()) => counts.right += 1,
                    Err(error) if is_told(&error) => counts.refused_later += 1,
                    Err(error) => panic!("{what}: {error}"),
                }
                // What cannot be written down any more is not: the next step makes it again.
                let _ = engine.close().await;
            }
        }
        let wishes = rebuild::Options { replace: true, verify: true, ..Default::default() };
        let report = rebuild::rebuild(&root, wishes, &mut |_| {}).await;
        let report = report.unwrap_or_else(|error| panic!("{what}: no rebuild: {error}"));
        assert!(report.is_clean(), "{what}: {report:?}");
        let engine = open(&root, &options).await;
        read(&engine, &facts).await.unwrap_or_else(|error| panic!("{what}: after a rebuild: {error}"));
        close_and_check(engine, &root).await;
        fs::remove_dir_all(&root).expect("removed");
    }
    eprintln!("rig index rot, seed {seed}: {counts:?}; wrong bytes 0, losses 0, not rebuilt 0");
}
