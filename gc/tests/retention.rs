//! Retention: verdicts against a slow model, and carried out on an engine.

#[path = "retention/apply.rs"]
mod apply;
#[path = "retention/examples.rs"]
mod examples;
#[path = "retention/model.rs"]
mod model;
