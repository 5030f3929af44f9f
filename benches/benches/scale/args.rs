//! The command line.

use std::path::PathBuf;

use crate::{Outcome, plan::Plan};

const BLOBS: u64 = 10_000_000;
/// HEADs of each kind on each store.
const REQUESTS: u64 = 200_000;
/// Manifests pushed to each store.
const PUSHES: u64 = 1000;

/// What the tests run: enough that every step has something to do.
const TEST_BLOBS: u64 = 20_000;
const TEST_REQUESTS: u64 = 2000;
const TEST_PUSHES: u64 = 20;

/// What this process is there for.
pub enum Role {
    Measure,
    Fill(PathBuf),
    Serve(PathBuf),
}

/// Parts of a run, on a store that is kept between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Fill,
    Measure,
    Compact,
}

pub struct Arguments {
    pub role: Role,
    pub plan: Plan,
    pub requests: u64,
    pub pushes: u64,
    /// Kept; without it a temporary directory is used.
    pub store: Option<PathBuf>,
    /// Only this part.
    pub stage: Option<Stage>,
    pub json: Option<PathBuf>,
}

impl Arguments {
    /// `cargo bench` passes `--bench`; without it and without a role the tests run this, and
    /// whatever filter they pass is not for us.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let words: Vec<String> = arguments.collect();
        let tested = !words.iter().any(|word| word == "--bench" || word == "--role");
        let (blobs, requests, pushes) =
            if tested { (TEST_BLOBS, TEST_REQUESTS, TEST_PUSHES) } else { (BLOBS, REQUESTS, PUSHES) };
        let mut parsed = Arguments {
            role: Role::Measure,
            plan: Plan::new(blobs, tested),
            requests,
            pushes,
            store: None,
            stage: None,
            json: None,
        };
        if !tested {
            parsed.read(words)?;
        }
        Ok(parsed)
    }

    fn read(&mut self, words: Vec<String>) -> Outcome<()> {
        let mut words = words.into_iter();
        let (mut blobs, mut documents, mut role, mut root) = (BLOBS, false, None, None);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--bench" => {}
                "--documents" => documents = true,
                "--blobs" => blobs = number(&value()?)?,
                "--requests" => self.requests = number(&value()?)?,
                "--pushes" => self.pushes = number(&value()?)?,
                "--store" => self.store = Some(value()?.into()),
                "--json" => self.json = Some(value()?.into()),
                "--stage" => self.stage = Some(stage(&value()?)?),
                "--role" => role = Some(value()?),
                "--root" => root = Some(PathBuf::from(value()?)),
                _ => return Err(format!("unknown argument {word}; see the top of benches/scale/main.rs").into()),
            }
        }
        if self.stage.is_some() && self.store.is_none() {
            return Err("--stage needs --store, which the stages share".into());
        }
        self.plan = Plan::new(blobs, documents);
        self.role = match (role.as_deref(), root) {
            (None, None) => Role::Measure,
            (Some("fill"), Some(root)) => Role::Fill(root),
            (Some("serve"), Some(root)) => Role::Serve(root),
            _ => return Err("--role fill or serve goes with --root; they are for the tool itself".into()),
        };
        Ok(())
    }
}

fn number(text: &str) -> Outcome<u64> {
    text.parse().map_err(|_| format!("a number expected, found {text:?}").into())
}

fn stage(text: &str) -> Outcome<Stage> {
    match text {
        "fill" => Ok(Stage::Fill),
        "measure" => Ok(Stage::Measure),
        "compact" => Ok(Stage::Compact),
        _ => Err(format!("--stage is fill, measure or compact, not {text:?}").into()),
    }
}
