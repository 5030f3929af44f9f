//! The filter that finds the entry of a user (RFC 4515).

use std::fmt;

/// The longest filter of the operator's own, in bytes.
const FILTER_BYTES_MAX: usize = 4096;

/// The longest name of an attribute, in bytes.
const ATTRIBUTE_BYTES_MAX: usize = 255;

/// Why a text is no filter, or no name of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("{0:?} is no name of an attribute, expected letters, digits and hyphens such as \"uid\"")]
    Attribute(String),
    #[error("{0:?} is no LDAP filter (RFC 4515), expected one such as \"(objectClass=person)\"")]
    Filter(String),
}

/// Finds entries by the name that somebody gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFilter {
    attribute: String,
    /// In its parentheses.
    also: Option<String>,
}

impl UserFilter {
    /// Finds entries whose `attribute` is the name, and, if it is there, for which `also` holds. As in zot, that is
    /// written with or without the parentheses around it.
    pub fn new(attribute: &str, also: Option<&str>) -> Result<Self, FilterError> {
        let also = also.map(str::trim).filter(|also| !also.is_empty());
        let also = also.map(|also| if also.starts_with('(') { also.to_owned() } else { format!("({also})") });
        if let Some(also) = also.as_ref()
            && (also.len() > FILTER_BYTES_MAX || ldap3::parse_filter(also).is_err())
        {
            return Err(FilterError::Filter(also.clone()));
        }
        Ok(UserFilter { attribute: self::attribute(attribute)?.to_owned(), also })
    }

    /// The filter for one name, whatever characters it has: none of them means anything in it.
    pub fn of(&self, user: &str) -> String {
        let named = format!("({}={})", self.attribute, Literal(user));
        match &self.also {
            Some(also) => format!("(&{named}{also})"),
            None => named,
        }
    }
}

/// A name of an attribute, perhaps with options (RFC 4512 section 2.5), or its number.
pub fn attribute(text: &str) -> Result<&str, FilterError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b';' | b'_');
    let is_name = (1..=ATTRIBUTE_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain);
    if is_name { Ok(text) } else { Err(FilterError::Attribute(text.to_owned())) }
}

/// A value in a filter: everything that is no plain character is written as its bytes (RFC 4515 section 3).
struct Literal<'a>(&'a str);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'@' => {
                    write!(f, "{}", char::from(byte))?;
                }
                _ => write!(f, "\\{byte:02x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// S-126: names that would be more than a name in a filter that is put together from texts.
    #[test]
    fn no_name_means_anything_in_a_filter() {
        let filter = UserFilter::new("uid", None).expect("a filter");
        assert_eq!(filter.of("alice.b-c_d@e"), "(uid=alice.b-c_d@e)");
        assert_eq!(filter.of("*"), "(uid=\\2a)");
        assert_eq!(filter.of("*)(uid=*"), "(uid=\\2a\\29\\28uid\\3d\\2a)");
        assert_eq!(filter.of("a\\2a"), "(uid=a\\5c2a)");
        assert_eq!(filter.of("cn=a,dc=b\0"), "(uid=cn\\3da\\2cdc\\3db\\00)");
        assert_eq!(filter.of(" \u{e4}"), "(uid=\\20\\c3\\a4)");
    }

    #[test]
    fn a_filter_of_the_operators_own_must_hold_as_well() {
        for also in ["(objectClass=person)", "objectClass=person", " (objectClass=person) "] {
            let filter = UserFilter::new("uid", Some(also)).expect("a filter");
            assert_eq!(filter.of("a"), "(&(uid=a)(objectClass=person))");
        }
        assert_eq!(UserFilter::new("uid", Some("")).expect("none").of("a"), "(uid=a)");
        let either = UserFilter::new("uid", Some("(|(a=1)(b=2))")).expect("a filter");
        assert_eq!(either.of("a"), "(&(uid=a)(|(a=1)(b=2)))");
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for also in ["(", "person", "(a=b", "(a=b))", "(a=b)(c=d)", "(a=\\zz)"] {
            assert!(UserFilter::new("uid", Some(also)).is_err(), "{also}");
        }
        for attribute in ["", "uid=", "u id", "uid)(", "\u{e4}"] {
            assert!(UserFilter::new(attribute, None).is_err(), "{attribute}");
        }
    }

    proptest! {
        /// Whatever the name is, the filter is one comparison with all of it.
        #[test]
        fn every_name_is_one_value(name in "\\PC{1,40}") {
            let text = UserFilter::new("uid", None).expect("a filter").of(&name);
            prop_assert!(ldap3::parse_filter(&text).is_ok(), "{}", text);
            let inside = &text[1..text.len() - 1];
            prop_assert!(!inside.contains(['(', ')', '*']));
            let value = inside.strip_prefix("uid=").expect("the attribute");
            prop_assert_eq!(ldap3::ldap_unescape(value).expect("a value"), name.as_str());
        }
    }
}
