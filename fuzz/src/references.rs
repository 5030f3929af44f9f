//! Tags and digests in the place of a manifest's reference.

use orlop_api::protocol::Reference;

use crate::slow;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Reference::parse(text) {
        Ok(reference) => {
            assert_eq!(reference.to_string(), text);
            match reference {
                Reference::Tag(_) => assert!(slow::is_tag(text), "accepted {text:?}"),
                Reference::Digest(_) => assert!(slow::is_digest(text), "accepted {text:?}"),
            }
        }
        Err(error) => assert!(!slow::is_tag(text) && !slow::is_digest(text), "refused {text:?}: {error}"),
    }
}
