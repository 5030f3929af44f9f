//! The limits documentation is generated; this proves that the committed page is the present table.

use std::{env, fs, path::Path};

use orlop_api::limits::Limits;

/// Set to rewrite the page instead of comparing it.
const REGENERATE: &str = "ORLOP_REGENERATE";

#[test]
fn the_limits_page_is_the_table() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/limits.md");
    let expected = Limits::document();
    if env::var_os(REGENERATE).is_some() {
        fs::write(&page, &expected).unwrap();
    }
    let committed = fs::read_to_string(&page).unwrap_or_default();
    assert!(
        committed == expected,
        "docs/limits.md differs from api/src/limits.rs; regenerate it with\n\
         {REGENERATE}=1 cargo test --release -p orlop-api --test limits"
    );
}
