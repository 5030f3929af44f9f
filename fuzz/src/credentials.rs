//! The field of a request that shows who sends it, against a plain reading of the same bytes.
//!
//! An input is the values of the field, one a line.

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use orlop_api::protocol::base64;
use orlop_auth::Credentials;

pub fn run(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.append(AUTHORIZATION, value);
    }
    let count = headers.len();
    let text = headers.get(AUTHORIZATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let (scheme, rest) = text.as_deref().and_then(|text| text.split_once(' ')).unwrap_or_default();
    let rest = rest.trim_matches(' ');
    match Credentials::of(&headers) {
        Err(_) => assert!(count > 0, "nothing is wrong with no field"),
        Ok(Credentials::None) => {
            assert!(count == 0 || count == 1 && rest == "Og==", "{count} fields are none: {text:?}");
        }
        Ok(Credentials::Token(token)) => {
            assert_eq!((count, token.as_str()), (1, rest));
            assert!(scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' '), "{text:?}");
        }
        Ok(Credentials::Password { user, password }) => {
            assert!(count == 1 && scheme.eq_ignore_ascii_case("basic"), "{text:?}");
            let both = format!("{user}:{password}");
            assert_eq!(base64::decode(rest).as_deref(), Some(both.as_bytes()));
            assert!(!user.is_empty() && !user.contains(':') && !both.chars().any(char::is_control), "{text:?}");
        }
    }
}
