//! `log.traces`: which requests are written down as spans of traces, and where they go. The keys are Orlop's own.

use orlop_telemetry::{Endpoint, Headers, Options, Sample};

use super::{Config, error::ErrorKind, tree::Node, value::Value};

pub const KEY: &str = "log.traces";

/// The most fields that are sent along.
const HEADERS_MAX: usize = 32;

/// The longest name of a service in bytes.
const SERVICE_NAME_BYTES_MAX: usize = 255;

const SERVICE_NAME_DEFAULT: &str = "orlop";

/// Sets the section. Values of headers are in no error: they may be secret.
pub fn set(config: &mut Config, path: &str, value: &Value) -> Result<(), ErrorKind> {
    let node = Node::new(path, value);
    let (mut endpoint, mut headers, mut sample) = (None, Headers::default(), Sample::default());
    let mut service_name = SERVICE_NAME_DEFAULT.to_owned();
    node.each_key(&["endpoint", "headers", "sample", "serviceName"], |key, node| {
        match key {
            "endpoint" => {
                let text = node.text("the address of a collector as a string")?;
                endpoint = Some(Endpoint::new(text).map_err(|error| node.unusable(error))?);
            }
            "headers" => node.each_entry(HEADERS_MAX, |name, node| {
                let value = node.text("a string")?;
                headers.insert(name, value).map_err(|error| node.unusable(error))
            })?,
            "sample" => sample = self::sample(&node)?,
            _ => service_name = name(&node)?,
        }
        Ok(())
    })?;
    let endpoint = endpoint.ok_or_else(|| {
        node.unusable("it has no \"endpoint\", the address of a collector, such as \"http://127.0.0.1:4318\"")
    })?;
    let service_version = env!("CARGO_PKG_VERSION");
    let base_path = String::new();
    config.traces = Some(Options { endpoint, headers, sample, service_name, service_version, base_path });
    Ok(())
}

fn sample(node: &Node<'_>) -> Result<Sample, ErrorKind> {
    let share = match node.value {
        Value::Whole(number) => *number as f64,
        Value::Number(number) => *number,
        other => {
            let problem = other.is_not("a number from 0 to 1");
            return Err(ErrorKind::Value { key: node.path.clone(), problem });
        }
    };
    Sample::new(share).map_err(|error| node.unusable(format!("{share}: {error}")))
}

fn name(node: &Node<'_>) -> Result<String, ErrorKind> {
    match node.text("a string")? {
        "" => Err(node.unusable("the name is empty")),
        name if name.len() > SERVICE_NAME_BYTES_MAX => {
            Err(node.unusable(format!("it has {} bytes, expected at most {SERVICE_NAME_BYTES_MAX}", name.len())))
        }
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn parse(traces: &str) -> Result<Options, String> {
        let mut config = Config::default();
        let text = format!(r#"{{"log": {{"traces": {traces}}}}}"#);
        parse::apply(&mut config, text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(config.traces.expect("set"))
    }

    #[test]
    fn a_collector_is_all_that_is_needed() {
        let options = parse(r#"{"endpoint": "http://127.0.0.1:4318"}"#).expect("accepted");
        assert_eq!(options.endpoint.uri().to_string(), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(options.sample, Sample::new(orlop_telemetry::SAMPLE_DEFAULT).expect("a share"));
        assert_eq!((&*options.service_name, options.headers), ("orlop", Headers::default()));
        let options = parse(
            r#"{"Endpoint": "https://c/otlp", "headers": {"Authorization": "Bearer s3cret", "x-tenant": "ci"},
                "sample": 1, "serviceName": "registry-eu"}"#,
        )
        .expect("accepted");
        assert_eq!(options.sample, Sample::new(1.0).expect("all"));
        assert_eq!(options.service_name, "registry-eu");
        let shown = format!("{options:?}");
        assert!(shown.contains("authorization") && !shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn what_would_send_nothing_or_nowhere_is_refused() {
        let beside = |rest: &str| format!(r#"{{"endpoint": "http://c", {rest}}}"#);
        for (text, part) in [
            ("true", "\"log.traces\" must be an object"),
            ("{}", "no \"endpoint\""),
            (r#"{"sample": 0.1}"#, "no \"endpoint\""),
            (r#"{"endpoint": 4318}"#, "\"log.traces.endpoint\" must be the address"),
            (r#"{"endpoint": "collector:4317"}"#, "http://127.0.0.1:4318"),
            (r#"{"endpoint": "http://u:s3cret@c"}"#, "\"headers\""),
            (r#"{"endpoint": "http://c?key=s3cret"}"#, "\"headers\""),
            (r#"{"endpoints": "http://c"}"#, "log.traces.endpoint"),
            (&beside(r#""sample": 1.5"#), "1.5: expected a number from 0 to 1"),
            (&beside(r#""sample": -0.1"#), "from 0 to 1"),
            (&beside(r#""sample": "0.1""#), "must be a number from 0 to 1, found a string"),
            (&beside(r#""serviceName": """#), "empty"),
            (&beside(r#""headers": ["a"]"#), "must be an object"),
            (&beside(r#""headers": {"a b": "s3cret"}"#), "no name of a header field"),
            (&beside(r#""headers": {"a": "s3cret\n"}"#), "log.traces.headers.a"),
            (&beside(r#""headers": {"a": 1}"#), "must be a string"),
            (&beside(r#""headers": {"a": "1", "A": "s3cret"}"#), "twice"),
            (&beside(r#""headers": {"Host": "s3cret"}"#), "belongs to the request itself"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(part) && error.lines().count() == 1, "{part:?} is not in: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        let many: Vec<String> = (0..=HEADERS_MAX).map(|at| format!("\"h{at}\": \"v\"")).collect();
        let error = parse(&beside(&format!("\"headers\": {{{}}}", many.join(",")))).expect_err("too many");
        assert!(error.contains("at most 32"), "{error}");
    }
}
