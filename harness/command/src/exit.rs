//! How a command ends.

use std::{fmt, process::ExitCode};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well: 0.
    Held,
    /// Something that must hold did not, or could not be judged: 1.
    Violated,
    /// The command was not understood: 2.
    Usage,
    /// The machine lacks something: 3.
    Environment,
    /// Ctrl-C or SIGTERM: 130, what a shell reports for a command that Ctrl-C ended.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Held => 0,
            Exit::Violated => 1,
            Exit::Usage => 2,
            Exit::Environment => 3,
            Exit::Interrupted => 130,
        })
    }
}

/// Says what was wrong with the arguments.
pub fn usage(error: &dyn fmt::Display) -> Exit {
    eprintln!("seaworthy: {error}");
    Exit::Usage
}

/// Says what the machine lacks.
pub fn environment(error: &dyn fmt::Display) -> Exit {
    eprintln!("seaworthy: {error}");
    Exit::Environment
}

/// Hides users and passwords in URLs: an argument in a wrong place is repeated in what is said about it.
pub(crate) fn without_logins(text: &str) -> String {
    let hide = |word: &str| {
        let login = word.find("://").map(|at| at + 3).zip(word.rfind('@'));
        match login.filter(|(from, to)| from <= to) {
            Some((from, to)) => format!("{}[hidden]{}", &word[..from], &word[to..]),
            None => word.to_owned(),
        }
    };
    text.split_inclusive(char::is_whitespace).map(hide).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_in_a_wrong_place_is_repeated_without_its_login() {
        let said = "error: unexpected argument 'postgres://shop:pa/s@s@db/shop' found\n\nUsage: a@b\n";
        let shown = "error: unexpected argument 'postgres://[hidden]@db/shop' found\n\nUsage: a@b\n";
        assert_eq!(without_logins(said), shown);
    }
}
