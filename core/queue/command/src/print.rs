//! What commands print on standard output.

use std::io::{self, Write as _};

use serde_json::Value;

use crate::{Exit, Problem};

/// Prints it. Whoever reads may have seen enough and gone, as `head` does: that is no error.
pub(crate) fn print(text: &str) -> Result<Exit, Problem> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Problem::unreachable(format!("standard output can't be written: {error}")))
        }
        _ => Ok(Exit::Done),
    }
}

/// Prints it as JSON with a line for each value.
pub(crate) fn print_json(value: &Value) -> Result<Exit, Problem> {
    print(&format!("{value:#}\n"))
}

/// Prints a table, or says that there is nothing.
pub(crate) fn print_list(
    is_empty: bool,
    nothing: &str,
    text: impl FnOnce() -> String,
) -> Result<Exit, Problem> {
    if is_empty { Err(Problem::refused(nothing)) } else { print(&text()) }
}
