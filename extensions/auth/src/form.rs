//! Forms (`application/x-www-form-urlencoded`, WHATWG URL section 5.1), as the clients of token endpoints send them.

use http::{HeaderMap, header::CONTENT_TYPE};
use orlop_api::protocol::percent;

/// The most fields of a form.
const FIELDS_MAX: usize = 64;

/// Names and values, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

/// A body that is no form.
#[derive(Debug, PartialEq, Eq)]
pub struct NoForm;

impl Form {
    /// Reads a body; an empty one has no fields, whatever its type.
    pub fn of(headers: &HeaderMap, body: &[u8]) -> Result<Self, NoForm> {
        if body.is_empty() {
            return Ok(Form::default());
        }
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        match kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            true => Form::parse(std::str::from_utf8(body).map_err(|_| NoForm)?),
            false => Err(NoForm),
        }
    }

    /// Reads a form or the query of an address.
    pub fn parse(text: &str) -> Result<Self, NoForm> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let fields = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        let fields = fields.take(FIELDS_MAX + 1).collect::<Result<Vec<_>, _>>()?;
        if fields.len() > FIELDS_MAX { Err(NoForm) } else { Ok(Form(fields)) }
    }

    /// The value of a field, if there is one and it is not empty. A field that is there twice has no value.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let value = values.next().filter(|value| !value.is_empty())?;
        values.next().is_none().then_some(value)
    }

    /// As it is sent, with a field set to this value.
    #[cfg(any(feature = "bearer", test))]
    pub fn with(&self, name: &str, value: Option<&str>) -> String {
        let others =
            self.0.iter().filter(|(found, _)| found != name).map(|(name, value)| (name.as_str(), value.as_str()));
        let mut text = String::new();
        for (name, value) in others.chain(value.map(|value| (name, value))) {
            if !text.is_empty() {
                text.push('&');
            }
            percent::encode(name, &mut text);
            text.push('=');
            percent::encode(value, &mut text);
        }
        text
    }
}

/// In a form a plus is a space.
fn decode(text: &str) -> Result<String, NoForm> {
    percent::decode(&text.replace('+', " ")).map(|decoded| decoded.into_owned()).map_err(|_| NoForm)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn fields_have_one_value() {
        let form = Form::parse("a=1&b=x%26y+z&c=&d&a%3D=2&e=1&e=2&&service=s").expect("a form");
        assert_eq!((form.get("a"), form.get("b"), form.get("a=")), (Some("1"), Some("x&y z"), Some("2")));
        for name in ["c", "d", "e", "f", ""] {
            assert_eq!(form.get(name), None, "{name}");
        }
        let sent = form.with("service", Some("r&s"));
        assert_eq!(sent, "a=1&b=x%26y%20z&c=&d=&a%3D=2&e=1&e=2&service=r%26s");
        assert_eq!(Form::parse("service=s").expect("a form").with("service", None), "");
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let mut headers = HeaderMap::new();
        assert_eq!(Form::of(&headers, b""), Ok(Form::default()));
        assert_eq!(Form::of(&headers, b"a=1"), Err(NoForm), "nothing says that it is one");
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("Application/X-WWW-Form-Urlencoded; charset=utf-8"));
        assert!(Form::of(&headers, b"a=1").is_ok());
        for body in ["a=%", "a=%zz", "%ff=1", "\u{0}=%80"] {
            assert_eq!(Form::of(&headers, body.as_bytes()), Err(NoForm), "{body}");
        }
        assert_eq!(Form::of(&headers, b"a=\xff"), Err(NoForm));
        assert_eq!(Form::parse(&"a=1&".repeat(FIELDS_MAX + 1)), Err(NoForm));
    }
}
