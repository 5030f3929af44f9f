//! The engine does not know what its content means: the protocol's words do not occur in it.

use std::{fs, path::Path};

/// Words of the layers above, in lower case.
const FOREIGN_WORDS: [&str; 9] = ["manifest", "tag", "tags", "layer", "image", "http", "json", "oci", "registry"];

/// Another library's words for something else: its list of the files that make an index.
const EXCEPTIONS: [&str; 2] = ["set_track_and_verify_wals_in_manifest", "manifest-"];

fn visit(directory: &Path, found: &mut Vec<String>) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(directory).expect("the sources are there") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files += visit(&path, found);
            continue;
        }
        files += 1;
        for (at, line) in fs::read_to_string(&path).expect("readable").lines().enumerate() {
            let line = EXCEPTIONS.iter().fold(line.to_lowercase(), |line, exception| line.replace(exception, ""));
            let mut words = line.split(|character: char| !character.is_ascii_alphanumeric());
            if let Some(word) = words.find(|word| FOREIGN_WORDS.contains(word)) {
                found.push(format!("{}:{}: {word}", path.display(), at + 1));
            }
        }
    }
    files
}

#[test]
fn the_engine_has_no_word_for_what_its_content_means() {
    let mut found = Vec::new();
    let engine = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = visit(&engine.join("src"), &mut found);
    assert!(files > 30, "the sources were looked at");
    // Nor has whoever decides what dies.
    assert!(visit(&engine.join("../gc/src"), &mut found) > 5, "the sources were looked at");
    assert!(found.is_empty(), "{}", found.join("\n"));
}
