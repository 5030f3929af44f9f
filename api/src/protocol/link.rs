//! The Link header of a page (RFC 8288, which follows RFC 5988): the path and the query of the next
//! page come in, the header's value comes out.

use super::percent;

/// `<path?key=value&..>; rel="next"`. `path` must be one that the registry serves: its characters
/// are taken as they are, apart from the two that would end the target. The values of `query` may
/// be any text; they are encoded.
pub fn next(path: &str, query: &[(&str, &str)]) -> String {
    let mut link = String::with_capacity(path.len() + 64);
    link.push('<');
    link.extend(path.chars().filter(|c| c.is_ascii_graphic() && *c != '<' && *c != '>'));
    for (index, (key, value)) in query.iter().enumerate() {
        link.push(if index == 0 { '?' } else { '&' });
        percent::encode(key, &mut link);
        link.push('=');
        percent::encode(value, &mut link);
    }
    link.push_str(">; rel=\"next\"");
    link
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_encoded() {
        assert_eq!(next("/v2/a/tags/list", &[]), "</v2/a/tags/list>; rel=\"next\"");
        assert_eq!(
            next("/v2/a/tags/list", &[("n", "10"), ("last", "v1.0")]),
            "</v2/a/tags/list?n=10&last=v1.0>; rel=\"next\""
        );
        assert_eq!(
            next("/v2/a/referrers/sha256:00", &[("artifactType", "a/b+json; c"), ("last", "x>\r\n&y")]),
            "</v2/a/referrers/sha256:00?artifactType=a%2Fb%2Bjson%3B%20c&last=x%3E%0D%0A%26y>; rel=\"next\""
        );
    }

    proptest! {
        #[test]
        fn is_always_one_target_and_printable(path in ".{0,10}", value in ".{0,10}") {
            let link = next(&path, &[("last", &value)]);
            prop_assert!(link.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(link.matches('<').count(), 1);
            prop_assert_eq!(link.matches('>').count(), 1);
        }
    }
}
