//! One line of the audit log.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::Value;
use tracing::{
    Event,
    field::{Field, Visit},
};
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime, SystemTime},
};

/// The fields of an event that are part of what its object is called.
const NAMESPACE: &str = "namespace";
const NAME: &str = "name";
const DIGEST: &str = "digest";

/// Who did what to what, why, and what became of it; then what else is known.
#[derive(Default, Serialize)]
pub struct Line {
    time: String,
    subject: Value,
    action: Value,
    object: Value,
    reason: Value,
    result: Value,
    #[serde(flatten)]
    rest: BTreeMap<&'static str, Value>,
}

impl Line {
    pub fn of(event: &Event<'_>) -> Self {
        let mut line = Line::default();
        event.record(&mut line);
        // Formatting into a string does not fail, and a line without its time is better than none.
        let _ = SystemTime.format_time(&mut Writer::new(&mut line.time));
        if line.object.is_null() {
            line.object = line.named();
        }
        line
    }

    /// The object by the fields that name it: `a/b:tag`, `a/b@digest`, a digest, or `a/b`.
    fn named(&self) -> Value {
        let text = |key| self.rest.get(key).and_then(Value::as_str);
        match (text(NAMESPACE), text(NAME), text(DIGEST)) {
            (Some(namespace), Some(name), _) => format!("{namespace}:{name}").into(),
            (Some(namespace), None, Some(digest)) => format!("{namespace}@{digest}").into(),
            (Some(namespace), None, None) => namespace.into(),
            (None, _, Some(digest)) => digest.into(),
            (None, _, None) => Value::Null,
        }
    }

    /// One JSON object and the end of the line.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string(self).expect("its keys are strings, and its values are JSON");
        text.push('\n');
        text
    }

    fn put(&mut self, field: &Field, value: Value) {
        match field.name() {
            "subject" => self.subject = value,
            "action" => self.action = value,
            "object" => self.object = value,
            "reason" => self.reason = value,
            "result" => self.result = value,
            name => drop(self.rest.insert(name, value)),
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    /// Also what was given as `%value`, which is shown as it displays itself.
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt};

    use super::*;

    #[derive(Default, Clone)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    impl<S: tracing::Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().expect("no panic").push(Line::of(event).to_text());
        }
    }

    #[test]
    fn a_line_has_its_keys_in_their_places() {
        let lines = Lines::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines.clone()), || {
            tracing::info!(
                subject = "collection",
                bytes = 5_u64,
                namespace = Some(tracing::field::display("a/b")),
                digest = %"sha256:00",
                reason = "unneeded",
                action = "collect",
                result = "removed",
                "collected"
            );
            tracing::info!(object = "/v2/a\n\"", subject = "anonymous", status = 201);
            tracing::info!(namespace = "a", name = "t", digest = "d");
            tracing::info!(digest = "d", namespace = None::<&str>);
            tracing::info!(namespace = "a");
        });
        let lines = lines.0.lock().expect("no panic").clone();
        assert!(lines.iter().all(|line| line.ends_with("}\n") && line.lines().count() == 1), "{lines:?}");
        let (time, rest) = lines[0].split_at(r#"{"time":"2026-11-22T03:00:00.000000Z""#.len());
        assert!(time.starts_with(r#"{"time":"20"#) && time.ends_with("Z\""), "{time}");
        assert_eq!(
            rest.trim_end(),
            concat!(
                r#","subject":"collection","action":"collect","object":"a/b@sha256:00","reason":"unneeded","#,
                r#""result":"removed","bytes":5,"digest":"sha256:00","message":"collected","namespace":"a/b"}"#
            )
        );
        let objects = lines.iter().map(|line| {
            serde_json::from_str::<Value>(line).expect("JSON")["object"].as_str().expect("an object").to_owned()
        });
        assert_eq!(objects.collect::<Vec<_>>(), ["a/b@sha256:00", "/v2/a\n\"", "a:t", "d", "a"]);
    }
}
