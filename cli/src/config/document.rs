//! A configuration file as a tree of values, whichever of three formats it has.
//!
//! In: the text of a file and its name. Out: the same [`Value`] for the same content in JSON (RFC 8259), TOML 1.1 or
//! YAML 1.2. What has become true: no key is there twice within an object, whether the format would have kept the
//! first, the last or both, and neither depth nor repeated parts make more of a text than it is long. JSON alone
//! leaves repeated keys to whoever walks the tree, which names their path. The keys of a TOML file come in the order of
//! their names, and in no other: what depended on it would not mean the same in every format.

use std::path::Path;

use serde_saphyr::DuplicateKeyPolicy;

use super::{error::ErrorKind, value::Value};

/// The deepest nesting of YAML; the other readers have 128 (JSON) and 80 (TOML) built in. The known keys need ten.
const NESTING_DEPTH_MAX: usize = 64;

/// Values of a YAML file, those that an alias repeats included: more than 100,000 patterns with a rule each have.
const VALUES_MAX: usize = 4_000_000;

/// Bytes of all texts of a YAML file, those that an alias repeats included.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// Aliases and merges of a YAML file. Nobody writes so many; floods of them do.
const ALIASES_MAX: usize = 10_000;

/// The longest part of a reader's explanation that is shown, in characters.
const REASON_MAX: usize = 300;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Toml,
    Yaml,
}

/// Why a text is not of a format: one line, with the place if it is known.
type Reason = String;

impl Format {
    /// In the order in which they are tried where a name does not tell: what one accepts that comes later is not
    /// what the one before was meant for.
    pub const ALL: [Format; 3] = [Format::Json, Format::Toml, Format::Yaml];

    /// By the extension of a file, in any case.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" => Some(Format::Json),
            "toml" => Some(Format::Toml),
            "yaml" | "yml" => Some(Format::Yaml),
            _ => None,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Json => "JSON",
            Format::Toml => "TOML",
            Format::Yaml => "YAML",
        }
    }

    fn read(self, text: &str) -> Result<Value, Reason> {
        match self {
            Format::Json => Value::parse(text.as_bytes()).map_err(|error| one_line(&error.to_string())),
            Format::Toml => toml(text),
            Format::Yaml => yaml(text),
        }
    }
}

/// Reads a file's text, in the format of its name, or in the first one that gives an object.
pub fn read(path: &Path, text: &[u8]) -> Result<Value, ErrorKind> {
    let text = utf8(text)?;
    if let Some(format) = Format::of(path) {
        return format.read(text).map_err(|reason| ErrorKind::Syntax { format: format.as_str(), reason });
    }
    let mut reasons = Vec::new();
    for format in Format::ALL {
        match format.read(text) {
            Ok(value @ Value::Object(_)) => return Ok(value),
            Ok(_) => reasons.push(format!("as {} it is not an object", format.as_str())),
            Err(reason) => reasons.push(format!("as {}: {reason}", format.as_str())),
        }
    }
    Err(ErrorKind::Syntax { format: "JSON, TOML or YAML", reason: reasons.join("; ") })
}

/// A file without content would be a configuration of defaults in TOML, which lets everybody do everything: it is
/// more often what is left of a file that could not be written.
fn utf8(text: &[u8]) -> Result<&str, ErrorKind> {
    match std::str::from_utf8(text) {
        Ok(text) if text.trim().is_empty() => Err(ErrorKind::Empty),
        Ok(text) => Ok(text),
        Err(error) => {
            let line = 1 + text[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            Err(ErrorKind::Syntax { format: "UTF-8", reason: format!("at line {line}") })
        }
    }
}

/// Repeated keys are an error of the reader.
fn toml(text: &str) -> Result<Value, Reason> {
    toml::from_str(text).map_err(|error| {
        let begin = error.span().map(|span| span.start.min(text.len()));
        let line = begin.map(|begin| 1 + text.as_bytes()[..begin].iter().filter(|byte| **byte == b'\n').count());
        let place = line.map_or(String::new(), |line| format!(" at line {line}"));
        format!("{}{place}", one_line(error.message()))
    })
}

fn yaml(text: &str) -> Result<Value, Reason> {
    let mut options = serde_saphyr::Options::default();
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    // As YAML 1.2 has it: `no` is a country and `007` a user.
    options.strict_booleans = true;
    options.leading_zero_numbers_as_strings = true;
    options.underscored_numbers_as_strings = true;
    options.with_snippet = false;
    options.budget = serde_saphyr::budget! {
        max_reader_input_bytes: Some(TEXT_BYTES_MAX),
        max_depth: NESTING_DEPTH_MAX,
        flow_nesting_limit: NESTING_DEPTH_MAX,
        max_events: 2 * VALUES_MAX,
        max_nodes: VALUES_MAX,
        max_total_scalar_bytes: TEXT_BYTES_MAX,
        max_documents: 1,
        max_aliases: ALIASES_MAX,
        max_anchors: ALIASES_MAX,
        max_merge_keys: ALIASES_MAX,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| one_line(&error.to_string()))
}

/// An explanation without line ends and control characters, cut where it would drown the rest.
fn one_line(reason: &str) -> Reason {
    let words = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line = String::new();
    for character in words.chars().take(REASON_MAX) {
        match character.is_control() {
            true => line.extend(character.escape_default()),
            false => line.push(character),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(name: &str, text: &str) -> Result<Value, String> {
        read(Path::new(name), text.as_bytes()).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(name: &str, text: &str, parts: &[&str]) {
        let Err(error) = read_as(name, text) else { panic!("accepted: {text}") };
        assert!(error.lines().count() == 1 && error.len() < 2000, "{error:?}");
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
    }

    const JSON: &str = r#"{"http": {"port": 8080, "compat": ["docker2s2"]}, "storage": {"gc": true, "gcDelay": "1h"}}"#;
    const TOML: &str = "[http]\nport = 8080\ncompat = [\"docker2s2\"]\n\n[storage]\ngc = true\ngcDelay = \"1h\"\n";
    const YAML: &str = "http:\n  port: 8080\n  compat: [docker2s2]\nstorage:\n  gc: true\n  gcDelay: 1h\n";

    #[test]
    fn the_same_content_is_the_same_in_every_format() {
        let value = sorted(read_as("c.json", JSON).expect("JSON"));
        for (name, text) in [("c.toml", TOML), ("c.yaml", YAML), ("c.YML", YAML), ("c.yaml", JSON)] {
            assert_eq!(read_as(name, text).map(sorted).as_ref(), Ok(&value), "{name}");
        }
    }

    #[test]
    fn without_a_known_extension_the_text_tells() {
        let value = sorted(read_as("c.json", JSON).expect("JSON"));
        for text in [JSON, TOML, YAML] {
            for name in ["c", "c.conf", "json", ".yaml"] {
                assert_eq!(read_as(name, text).map(sorted).as_ref(), Ok(&value), "{name}: {text}");
            }
        }
        refused("c", "just words", &["not valid JSON, TOML or YAML", "as TOML: ", "as YAML it is not an object"]);
        refused("c.conf", "a: [", &["as JSON: ", "as TOML: ", "as YAML: "]);
    }

    #[test]
    fn a_known_extension_is_final() {
        refused("c.json", YAML, &["not valid JSON", "line 1"]);
        refused("c.toml", JSON, &["not valid TOML", "line 1"]);
        refused("c.yaml", TOML, &["not valid YAML", "line 2"]);
    }

    #[test]
    fn repeated_keys_are_refused_with_their_line() {
        refused("c.toml", "[http]\nport = 1\nport = 2\n", &["not valid TOML", "duplicate key", "line 3"]);
        refused("c.yaml", "http:\n  port: 1\n  port: 2\n", &["not valid YAML", "duplicate", "port", "line 3"]);
        refused("c.yaml", "a: 1\n---\na: 2\n", &["not valid YAML"]);
    }

    #[test]
    fn a_small_text_does_not_become_a_large_tree() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        refused("c.yaml", &bomb, &["not valid YAML"]);
        for depth in [NESTING_DEPTH_MAX + 1, 100_000] {
            refused("c.yaml", &format!("{}{}", "[".repeat(depth), "]".repeat(depth)), &["not valid YAML"]);
            refused("c.toml", &format!("a = {}{}", "[".repeat(128 + depth), "]".repeat(128 + depth)), &["TOML"]);
        }
        let nested = (0..=NESTING_DEPTH_MAX).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>();
        refused("c.yaml", &nested, &["not valid YAML"]);
    }

    #[test]
    fn a_file_without_content_is_no_configuration_of_defaults() {
        for name in ["c.json", "c.toml", "c.yaml", "c"] {
            for text in ["", " \n\t\n"] {
                refused(name, text, &["is empty"]);
            }
        }
        assert_eq!(
            read_as("c.toml", "# nothing\n"),
            Ok(Value::Object(Vec::new())),
            "but it may say nothing on purpose"
        );
    }

    #[test]
    fn scalars_are_what_they_look_like() {
        let yaml = |text: &str| match read_as("c.yaml", &format!("a: {text}")) {
            Ok(Value::Object(entries)) => entries[0].1.clone(),
            other => panic!("{text}: {other:?}"),
        };
        let text = |text: &str| Value::Text(text.to_owned());
        for (written, value) in [
            ("8080", Value::Whole(8080)),
            ("\"8080\"", text("8080")),
            ("'8080'", text("8080")),
            ("true", Value::Bool(true)),
            ("yes", text("yes")),
            ("no", text("no")),
            ("007", text("007")),
            ("1_000", text("1_000")),
            ("~", Value::Null),
            ("-1", Value::Number(-1.0)),
            ("1.5", Value::Number(1.5)),
            ("1.1.1", text("1.1.1")),
            ("2026-11-22", text("2026-11-22")),
            ("!!str 1", text("1")),
        ] {
            assert_eq!(yaml(written), value, "{written}");
        }
        let date = read_as("c.toml", "a = 2026-11-22").expect("TOML");
        assert_eq!(date, Value::Object(vec![("a".to_owned(), text("2026-11-22"))]));
    }

    #[test]
    fn parts_can_be_written_once_in_yaml() {
        let merged = "x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: *x\n";
        let plain = r#"{"x": {"a": 1, "b": 2}, "y": {"b": 3, "a": 1}, "z": {"a": 1, "b": 2}}"#;
        assert_eq!(read_as("c.yaml", merged).map(sorted), read_as("c.json", plain).map(sorted));
    }

    fn sorted(value: Value) -> Value {
        match value {
            Value::Object(entries) => {
                let mut entries: Vec<_> = entries.into_iter().map(|(key, value)| (key, sorted(value))).collect();
                entries.sort_by(|(a, _), (b, _)| a.cmp(b));
                Value::Object(entries)
            }
            other => other,
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let Err(error) = read(Path::new("c.yaml"), b"a: 1\nb: \xff\n") else { panic!("accepted") };
        assert_eq!(error.to_string(), "not valid UTF-8: at line 2");
        refused("c.yaml", "a: \"\u{1b}[2J\nb", &["not valid YAML"]);
    }
}
