//! `orlop verify`: whether a configuration file is accepted.

use crate::{
    args,
    config::{Config, Flags},
    exit::Failure,
};

/// Reads the file as `serve` would and starts nothing. Files that it names need not exist yet.
pub fn run(arguments: &args::Verify) -> Result<(), Failure> {
    let flags = Flags { ignore_unsupported: arguments.ignore_unsupported, ..Flags::default() };
    let config = Config::load(Some(&arguments.config), flags)?;
    let file = arguments.config.display();
    for note in &config.notes {
        println!("{file}: note: {note}");
    }
    println!("{file}: ok");
    Ok(())
}
