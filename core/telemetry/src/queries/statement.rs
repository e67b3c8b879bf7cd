//! One statement that was run.

use std::{fmt, sync::Arc, time::Duration};

use super::{Caller, Fingerprint};
use crate::trace::Work;

/// A statement that has ended, or that nobody waits for any more. It holds no values: neither parameters nor literals.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Statement {
    /// The statement with `?` for its literals and its lists shortened, at most 2 KiB.
    pub text: Arc<str>,
    /// The same for every statement that differs only in literals and the length of lists.
    pub fingerprint: Fingerprint,
    /// From handing it to the connection to its last row.
    pub time: Duration,
    /// How many rows came back.
    pub rows_returned: u64,
    /// How many rows the database says it touched; for a `select`, those that it found.
    pub rows_affected: u64,
    /// Whether it took as long as the threshold for slow statements, or longer.
    pub slow: bool,
    /// The application's line that waits for it, where callers are looked for.
    pub caller: Option<Arc<Caller>>,
    /// The work that it belongs to.
    pub work: Option<Arc<Work>>,
}

impl Statement {
    /// What kind of statement it is, of few different values: fit for a label of a metric.
    pub fn kind(&self) -> &'static str {
        const KINDS: &[&str] = &[
            "select",
            "insert",
            "update",
            "delete",
            "merge",
            "with",
            "begin",
            "commit",
            "rollback",
            "savepoint",
            "set",
            "copy",
            "create",
            "alter",
            "drop",
            "truncate",
            "lock",
            "listen",
            "notify",
            "explain",
        ];
        let first = self.text.split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default();
        KINDS.iter().find(|kind| kind.eq_ignore_ascii_case(first)).copied().unwrap_or("other")
    }
}

/// For reading: `1.2 ms  3 rows  select * from orders  from src/orders.rs:120 (shop::orders::states)`.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows_returned.max(self.rows_affected);
        write!(f, "{:.1} ms  {rows} rows  {}", self.time.as_secs_f64() * 1000.0, self.text)?;
        match &self.caller {
            Some(caller) => write!(f, "  from {caller}"),
            None => Ok(()),
        }
    }
}
