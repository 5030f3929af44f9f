//! `docs/security.md` names a test for each case that exists; this keeps the page and the tests one.

use std::{collections::BTreeSet, fs, path::Path};

/// A row of the page: the case, and the tests that hold it.
struct Row {
    case: u32,
    tests: Vec<String>,
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of all tables whose first cell is a case such as `S-07`.
fn rows(page: &str) -> Vec<Row> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = page.lines().filter(|line| line.starts_with("| S-")).map(|line| {
        let cells = cells(line);
        let case = cells[1].trim_start_matches("S-").parse().unwrap_or_else(|_| panic!("no case: {line}"));
        let quoted = cells[2].split('`').skip(1).step_by(2);
        Row { case, tests: quoted.map(str::to_owned).collect() }
    });
    rows.collect()
}

/// Names of the test functions of a source file.
fn tests_of(source: &str) -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if is_test && let Some(at) = line.find("fn ") {
            let name = line[at + 3..].split('(').next().expect("a split has a first part");
            tests.insert(name.to_owned());
            is_test = false;
        }
    }
    tests
}

#[test]
fn every_test_that_the_page_names_exists() {
    let page = read("docs/security.md");
    let mut wrong = Vec::new();
    for Row { case, tests } in rows(&page) {
        for test in tests {
            let Some((place, name)) = test.rsplit_once("::") else {
                wrong.push(format!("S-{case:02}: {test} names no file"));
                continue;
            };
            let file = match place.ends_with(".rs") {
                true => place.to_owned(),
                false => format!("tests/tests/security/{place}.rs"),
            };
            if !tests_of(&read(&file)).contains(name) {
                wrong.push(format!("S-{case:02}: {file} has no test {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_attack_is_on_the_page() {
    let page = read("docs/security.md");
    let named: BTreeSet<String> = rows(&page).into_iter().flat_map(|row| row.tests).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/security");
    for entry in fs::read_dir(folder).expect("the folder of this file") {
        let path = entry.expect("an entry").path();
        let module = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if module == "page" {
            continue;
        }
        for test in tests_of(&fs::read_to_string(&path).expect("a source file")) {
            let test = format!("{module}::{test}");
            assert!(named.contains(&test), "{test} is on no row of docs/security.md");
        }
    }
}

#[test]
fn cases_are_in_order_and_each_is_there_once() {
    let page = read("docs/security.md");
    let rows = rows(&page);
    assert!(rows.len() > 90, "{} cases", rows.len());
    for pair in rows.windows(2) {
        assert!(pair[0].case < pair[1].case, "S-{} comes before S-{}", pair[0].case, pair[1].case);
    }
}
