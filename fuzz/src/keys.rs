//! Files and documents with public keys: whatever they are, they are read or refused in one line.

use orlop_auth::bearer::Keys;

pub fn run(data: &[u8]) {
    if let Err(error) = Keys::parse(data) {
        let error = error.to_string();
        assert_eq!(error.lines().count(), 1, "{error:?}");
    }
}
