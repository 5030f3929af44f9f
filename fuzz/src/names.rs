//! Repository names against the grammar read literally.

use orlop_api::protocol::Repository;

use crate::slow;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Repository::parse(text) {
        Ok(name) => {
            assert!(slow::is_name(text), "accepted {text:?}");
            assert_eq!(name.as_str(), text);
        }
        Err(error) => {
            assert!(!slow::is_name(text), "refused {text:?}: {error}");
            assert!(error.to_string().len() < 300, "an error must not grow with its input");
        }
    }
}
