//! Users who show a certificate: which part of it is their name.
//!
//! In: a certificate that the connection has verified. Out: the name of its user, from the first attribute of the rules
//! that it has. A part that could be read in two ways (two common names, control characters) is no name. Whoever shows a
//! certificate without a name, or one whose time has passed since the connection began, is refused: he is not nobody.

use std::fmt::Write as _;

use orlop_gc::retention::NamePattern;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::FromDer,
    time::ASN1Time,
    x509::{AttributeTypeAndValue, X509Name},
};

/// The longest name of a user, in bytes.
const NAME_BYTES_MAX: usize = 1024;

/// The most alternative names of a certificate that are looked at.
const ALTERNATIVES_MAX: usize = 1024;

/// The object identifier of the common name.
const COMMON_NAME: &str = "2.5.4.3";

/// A part of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// The common name of the subject.
    CommonName,
    /// The whole subject (RFC 2253).
    Subject,
    /// An alternative name that is a URI, such as `spiffe://example.org/ci`.
    Uri,
    /// An alternative name that is a host.
    Dns,
    /// An alternative name that is an e-mail address.
    Email,
}

impl Attribute {
    /// The attribute with this name of zot's, in any case.
    pub fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "commonname" | "cn" => Some(Attribute::CommonName),
            "subject" | "dn" => Some(Attribute::Subject),
            "uri" | "url" => Some(Attribute::Uri),
            "dnsname" | "dns" => Some(Attribute::Dns),
            "email" | "rfc822name" => Some(Attribute::Email),
            _ => None,
        }
    }
}

/// Which part of a certificate is the name of its user.
#[derive(Debug, Clone)]
pub struct CertificateRules {
    /// Tried in this order.
    pub attributes: Vec<Attribute>,
    /// What of a URI is the name: the first group. Without it, all of it.
    pub uri_pattern: Option<NamePattern>,
    /// Which of several names of a kind, counted from 0.
    pub uri_index: usize,
    pub dns_index: usize,
    pub email_index: usize,
}

impl Default for CertificateRules {
    fn default() -> Self {
        let attributes = vec![Attribute::CommonName];
        CertificateRules { attributes, uri_pattern: None, uri_index: 0, dns_index: 0, email_index: 0 }
    }
}

impl CertificateRules {
    /// The user of a certificate in DER form, if it has one now.
    pub fn user(&self, der: &[u8]) -> Option<String> {
        self.user_at(der, ASN1Time::now())
    }

    fn user_at(&self, der: &[u8], now: ASN1Time) -> Option<String> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() || !certificate.validity().is_valid_at(now) {
            return None;
        }
        self.attributes.iter().find_map(|attribute| self.name(&certificate, *attribute).filter(|name| is_name(name)))
    }

    fn name(&self, certificate: &X509Certificate<'_>, attribute: Attribute) -> Option<String> {
        let alternative = |kind: fn(&GeneralName<'_>) -> Option<String>, index| {
            let names = certificate.subject_alternative_name().ok()??.value;
            names.general_names.iter().take(ALTERNATIVES_MAX).filter_map(kind).nth(index)
        };
        match attribute {
            Attribute::CommonName => common_name(certificate.subject()),
            Attribute::Subject => subject(certificate.subject()),
            Attribute::Dns => {
                let dns =
                    |name: &GeneralName<'_>| if let GeneralName::DNSName(text) = name { owned(text) } else { None };
                alternative(dns, self.dns_index)
            }
            Attribute::Email => {
                let email =
                    |name: &GeneralName<'_>| if let GeneralName::RFC822Name(text) = name { owned(text) } else { None };
                alternative(email, self.email_index)
            }
            Attribute::Uri => {
                let uri = |name: &GeneralName<'_>| if let GeneralName::URI(text) = name { owned(text) } else { None };
                let uri = alternative(uri, self.uri_index)?;
                match &self.uri_pattern {
                    // URIs have ASCII characters only (RFC 3986), and patterns are made for these.
                    Some(pattern) if uri.is_ascii() => pattern.first_group(&uri).map(str::to_owned),
                    Some(_) => None,
                    None => Some(uri),
                }
            }
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what the names of one kind are made of")]
fn owned(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// The one common name.
fn common_name(name: &X509Name<'_>) -> Option<String> {
    let mut names = name.iter_common_name();
    match (names.next(), names.next()) {
        (Some(one), None) => one.as_str().ok().map(str::to_owned),
        _ => None,
    }
}

/// What a subject is made of, in the order in which Go, and so zot, writes it; the others come after these.
const TYPES: [(&str, &str); 9] = [
    ("2.5.4.5", "SERIALNUMBER"),
    (COMMON_NAME, "CN"),
    ("2.5.4.17", "POSTALCODE"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.8", "ST"),
    ("2.5.4.7", "L"),
    ("2.5.4.11", "OU"),
    ("2.5.4.10", "O"),
    ("2.5.4.6", "C"),
];

/// The whole subject as Go's `pkix.Name` has it, so that policies that were written for zot name the same users.
fn subject(name: &X509Name<'_>) -> Option<String> {
    let attributes: Vec<(String, &AttributeTypeAndValue<'_>)> =
        name.iter_attributes().map(|attribute| (attribute.attr_type().to_id_string(), attribute)).collect();
    let of = |oid: &str| -> Option<Vec<&str>> {
        let values = attributes.iter().filter(|(found, _)| found == oid);
        values.map(|(_, attribute)| attribute.as_str().ok()).collect()
    };
    let mut parts = Vec::new();
    for (oid, label) in TYPES {
        let values = of(oid)?;
        // Go keeps the last of these, so that two would be read as one.
        if matches!(label, "CN" | "SERIALNUMBER") && values.len() > 1 {
            return None;
        }
        if !values.is_empty() {
            let values: Vec<String> = values.iter().map(|value| format!("{label}={}", escaped(value))).collect();
            parts.push(values.join("+"));
        }
    }
    let others = attributes.iter().filter(|(oid, _)| TYPES.iter().all(|(known, _)| known != oid));
    for (oid, attribute) in others.rev() {
        parts.push(format!("{oid}=#{}", encoded(attribute.as_str().ok()?)));
    }
    Some(parts.join(","))
}

/// A value with what means something in a subject behind backslashes (RFC 2253 section 2.4).
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        let is_special = match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            '#' => index == 0,
            ' ' => index == 0 || index == last,
            _ => false,
        };
        if is_special {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

/// The digits of a value in DER form, as Go encodes texts: PrintableString where that suffices, else UTF8String.
fn encoded(value: &str) -> String {
    let is_printable = |byte: u8| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte);
    let tag: u8 = if value.bytes().all(is_printable) { 0x13 } else { 0x0c };
    let mut bytes = vec![tag];
    match value.len() {
        short @ ..0x80 => bytes.push(short as u8),
        long => {
            let length: Vec<u8> = long.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            bytes.push(0x80 | length.len() as u8);
            bytes.extend(length);
        }
    }
    bytes.extend(value.bytes());
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(names: &[(DnType, &str)], alternatives: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), *name);
        }
        params.subject_alt_names = alternatives;
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signed").der().to_vec()
    }

    fn rules(attributes: &[&str]) -> CertificateRules {
        let attributes = attributes.iter().map(|name| Attribute::named(name).expect("known")).collect();
        CertificateRules { attributes, ..CertificateRules::default() }
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().expect("ASCII"))
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().expect("ASCII"))
    }

    #[test]
    fn the_first_attribute_that_is_there_is_the_name() {
        let email = SanType::Rfc822Name("ann@example.org".try_into().expect("ASCII"));
        let uris = [uri("spiffe://example.org/ns/a/sa/ci"), uri("https://example.org/")];
        let hosts = [dns("one.example.org"), dns("two.example.org")];
        let der = certificate(&[(DnType::CommonName, "ann")], [vec![email], uris.into(), hosts.into()].concat());
        let user = |rules: &CertificateRules| rules.user(&der);
        assert_eq!(user(&CertificateRules::default()).as_deref(), Some("ann"));
        for (attributes, name) in [
            (&["CN"][..], "ann"),
            (&["Subject"], "CN=ann"),
            (&["URL"], "spiffe://example.org/ns/a/sa/ci"),
            (&["DNSName", "CommonName"], "one.example.org"),
            (&["rfc822name"], "ann@example.org"),
        ] {
            assert_eq!(user(&rules(attributes)).as_deref(), Some(name));
        }
        let pattern = |text: &str| Some(NamePattern::new(text).expect("a pattern"));
        let spiffe =
            CertificateRules { uri_pattern: pattern("spiffe://example.org/ns/[^/]+/sa/(.*)"), ..rules(&["URI"]) };
        assert_eq!(user(&spiffe).as_deref(), Some("ci"));
        let other = CertificateRules { uri_pattern: pattern("spiffe://other/(.*)"), ..rules(&["URI", "CN"]) };
        assert_eq!(user(&other).as_deref(), Some("ann"), "the pattern is not there, so the next attribute is tried");
        assert_eq!(user(&CertificateRules { dns_index: 1, ..rules(&["DNS"]) }).as_deref(), Some("two.example.org"));
        assert_eq!(user(&CertificateRules { uri_index: 2, ..rules(&["URI"]) }), None);
    }

    /// S-73: names that one reader takes for another's.
    #[test]
    fn what_could_be_two_names_is_none() {
        let user = |names: &[(DnType, &str)], attribute: &str| rules(&[attribute]).user(&certificate(names, vec![]));
        for name in ["", "admin\0.example.org", "admin\n", &"a".repeat(NAME_BYTES_MAX + 1)] {
            assert_eq!(user(&[(DnType::CommonName, name)], "CN"), None, "{name:?}");
        }
        assert_eq!(user(&[], "CN"), None);
        assert_eq!(user(&[], "DN"), None);
        let second = DnType::CustomDnType(vec![2, 5, 4, 3]);
        let two = [(DnType::CommonName, "ann"), (second, "admin")];
        assert_eq!((user(&two, "CN"), user(&two, "DN")), (None, None));
        assert_eq!(rules(&["DNS"]).user(&certificate(&[], vec![dns("")])), None);
    }

    #[test]
    fn subjects_are_written_as_by_zot() {
        let user = |names: &[(DnType, &str)]| rules(&["DN"]).user(&certificate(names, vec![])).expect("a subject");
        let names = [
            (DnType::CountryName, "DE"),
            (DnType::CommonName, "ann, \"the\" one "),
            (DnType::OrganizationName, "#1+2"),
            (DnType::OrganizationalUnitName, "ci"),
        ];
        assert_eq!(user(&names), r#"CN=ann\, \"the\" one\ ,OU=ci,O=\#1\+2,C=DE"#);
        let email = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        assert_eq!(user(&[(email, "a@b"), (DnType::CommonName, "a")]), "CN=a,1.2.840.113549.1.9.1=#0c03614062");
        assert_eq!(encoded("ab"), "13026162");
        assert!(encoded(&"a".repeat(200)).starts_with("1381c861"));
    }

    #[test]
    fn a_certificate_ends_also_while_its_connection_lasts() {
        let der = certificate(&[(DnType::CommonName, "ann")], vec![]);
        let (_, parsed) = X509Certificate::from_der(&der).expect("a certificate");
        let rules = CertificateRules::default();
        let at = |seconds: i64| ASN1Time::from_timestamp(seconds).expect("a time");
        let (begin, end) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        assert!(rules.user_at(&der, at(begin)).is_some() && rules.user_at(&der, at(end)).is_some());
        assert!(rules.user_at(&der, at(begin - 1)).is_none() && rules.user_at(&der, at(end + 1)).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0_usize..400, with: u8, cut in 0_usize..400) {
            let mut der = certificate(&[(DnType::CommonName, "ann")], vec![uri("a:b"), dns("a")]);
            let place = at % der.len();
            der[place] = with;
            let rules = rules(&["URI", "DN", "DNS", "Email", "CN"]);
            let _ = rules.user(&der);
            der.truncate(cut % der.len());
            prop_assert_eq!(rules.user(&der), None);
        }
    }
}
