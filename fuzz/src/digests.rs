//! Digests as text and in their stored form.

use orlop_engine::digest::Digest;

use crate::slow;

pub fn run(data: &[u8]) {
    stored(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.parse::<Digest>() {
        Ok(digest) => {
            assert!(slow::is_digest(text), "accepted {text:?}");
            assert_eq!(digest.to_string(), text);
            assert_eq!(Digest::decode(&digest.to_key()), Some((digest, &[][..])));
            assert_eq!(Digest::from_bytes(digest.algorithm(), digest.as_bytes()), Some(digest));
        }
        Err(error) => assert!(!slow::is_digest(text), "refused {text:?}: {error}"),
    }
}

fn stored(data: &[u8]) {
    if let Some((digest, rest)) = Digest::decode(data) {
        let mut again = digest.to_key();
        again.extend_from_slice(rest);
        assert_eq!(again, data);
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }
}
