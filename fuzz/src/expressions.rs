//! Expressions of policies and mappings.
//!
//! An input is the text of one. It is refused in one line; or it says the same of the same values each time, on a
//! stack no larger than that of the server's threads, and the values that are missing are no more than an error.

use std::thread;

use orlop_auth::{Expression, expression::of_json};
use serde_json::json;

/// As tokio gives its threads.
const STACK_BYTES: usize = 2 << 20;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let expression = match Expression::compile(text, &["req", "claims", "vars"]) {
        Ok(expression) => expression,
        Err(error) => {
            let error = error.to_string();
            assert_eq!(error.lines().count(), 1, "{error:?}");
            return;
        }
    };
    let evaluating = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        let value = of_json(&json!({
            "a": "text", "n": 1, "list": ["x", "y", 3, null], "user": {"username": "alice", "groups": ["g"]},
            "tag": "v1.2", "action": "read", "sub": "repo:org/app:ref", "flag": true,
        }));
        let values = ["req", "claims", "vars"].map(|name| (name, value.clone()));
        let first = expression.evaluate(&values).map_err(drop).map(|value| format!("{value:?}"));
        let second = expression.evaluate(&values).map_err(drop).map(|value| format!("{value:?}"));
        // Maps have no order.
        if !first.as_ref().is_ok_and(|text| text.contains("Map")) {
            assert_eq!(first, second);
        }
        let _ = expression.holds(&[]);
    });
    evaluating.expect("a thread").join().expect("no panic");
}
