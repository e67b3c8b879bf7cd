//! `history`: what clients did in a run, in the forms that other checkers read.

use std::{fs, path::PathBuf};

use clap::{Args, ValueEnum};
use seaworthy_harness::export::{from_jsonl, to_edn, to_jsonl};

use crate::{Exit, usage};

/// The name of the file in a report that has the operations of a play.
pub(crate) fn history_file(play: &str) -> String {
    format!("{play}.history.jsonl")
}

/// Print a history that a run has left (`SCENARIO.history.jsonl` in its report) in a form that Jepsen's family of checkers reads.
#[derive(Debug, Args)]
pub struct HistoryFile {
    /// The history, as JSON lines.
    file: PathBuf,
    /// The form.
    #[arg(long, default_value = "edn")]
    format: Form,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    /// A map for each event, as in Jepsen's `history.edn`.
    Edn,
    /// JSON lines, in the order of time and with processes that do one thing at a time.
    Jsonl,
    /// A line for each operation, for people.
    Text,
}

impl HistoryFile {
    pub(crate) fn execute(self) -> Exit {
        let text = fs::read_to_string(&self.file).map_err(|error| error.to_string());
        let operations = text.and_then(|text| from_jsonl(&text).map_err(|error| error.to_string()));
        match operations {
            Ok(operations) => match self.format {
                Form::Edn => print!("{}", to_edn(&operations)),
                Form::Jsonl => print!("{}", to_jsonl(&operations)),
                Form::Text => operations.iter().for_each(|operation| println!("{operation}")),
            },
            Err(error) => return usage(&format!("{}: {error}", self.file.display())),
        }
        Exit::Held
    }
}
