//! Replays the committed corpora: every input that was ever of interest, in every test run.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use orlop_fuzz::TARGETS;

/// A corpus with fewer inputs than this was lost or never written.
const INPUTS_MIN: usize = 20;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_input_of_every_corpus_passes() {
    for (target, run) in TARGETS {
        let corpus = folder("corpus").join(target);
        let inputs = names(&corpus);
        assert!(inputs.len() >= INPUTS_MIN, "{} has {} inputs", corpus.display(), inputs.len());
        for input in inputs {
            // The harness shows the output of a failed test: the last line is the input at fault.
            println!("{target}/{input}");
            run(&fs::read(corpus.join(input)).unwrap());
        }
    }
}

#[test]
fn every_target_has_its_binary_and_its_corpus_and_no_other_exists() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(target, _)| (*target).to_owned()).collect();
    assert_eq!(names(&folder("corpus")), targets);
    let binaries: BTreeSet<String> = targets.iter().map(|target| format!("{target}.rs")).collect();
    assert_eq!(names(&folder("fuzz_targets")), binaries);
}
