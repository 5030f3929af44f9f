//! The command line.

use std::path::PathBuf;

use crate::Outcome;

const BLOBS: u64 = 1_000_000;
const ROUNDS: u64 = 3;
const PER_MILLE: u64 = 10;

/// What the tests run: enough that every step has something to do.
const TEST_BLOBS: u64 = 5_000;

/// Parts of a run, on a store that is kept between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Fill,
    Curve,
    Traffic,
    Scrub,
}

pub struct Arguments {
    pub blobs: u64,
    pub rounds: u64,
    /// Garbage beside traffic, in thousandths of the store.
    pub per_mille: u64,
    /// Kept; without it a temporary directory is used.
    pub store: Option<PathBuf>,
    /// Run by the tests: everything is small.
    pub is_test: bool,
    stage: Option<Stage>,
}

impl Arguments {
    /// `cargo bench` passes `--bench`; without it the tests run this, and whatever filter they pass
    /// is not for us.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let words: Vec<String> = arguments.collect();
        let mut parsed =
            Arguments { blobs: BLOBS, rounds: ROUNDS, per_mille: PER_MILLE, store: None, is_test: false, stage: None };
        if !words.iter().any(|word| word == "--bench") {
            return Ok(Arguments { blobs: TEST_BLOBS, rounds: 1, is_test: true, ..parsed });
        }
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--bench" => {}
                "--blobs" => parsed.blobs = number(&value()?)?,
                "--rounds" => parsed.rounds = number(&value()?)?,
                "--per-mille" => parsed.per_mille = number(&value()?)?,
                "--store" => parsed.store = Some(value()?.into()),
                "--stage" => parsed.stage = Some(stage(&value()?)?),
                _ => return Err(format!("unknown argument {word}; see the top of benches/collect/main.rs").into()),
            }
        }
        if parsed.stage.is_some() && parsed.store.is_none() {
            return Err("--stage needs --store, which the stages share".into());
        }
        Ok(parsed)
    }

    pub fn does(&self, stage: Stage) -> bool {
        self.stage.is_none_or(|only| only == stage)
    }
}

fn number(text: &str) -> Outcome<u64> {
    text.parse().map_err(|_| format!("a number expected, found {text:?}").into())
}

fn stage(text: &str) -> Outcome<Stage> {
    match text {
        "fill" => Ok(Stage::Fill),
        "curve" => Ok(Stage::Curve),
        "traffic" => Ok(Stage::Traffic),
        "scrub" => Ok(Stage::Scrub),
        _ => Err(format!("--stage is fill, curve, traffic or scrub, not {text:?}").into()),
    }
}
