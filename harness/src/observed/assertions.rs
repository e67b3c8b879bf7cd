//! Assertions on the SQL that ran.

use std::fmt::Write;

use super::{Queries, queries::Seen};

/// How often a statement runs before it is taken for a query in a loop, unless something else is asked for.
pub const DEFAULT_REPEATED: usize = 5;

/// Asserts how many statements of the application's own ran.
///
/// The source is anything with a method `queries()` that gives [`Queries`](crate::observed::Queries): a Postgres
/// [`Service`](crate::Service), or a view of its own. Without a block, everything counts that the view has. With a block, only what ran in it counts, on
/// whatever connection, and the macro has the block's value; the block may await, and where it is left early, nothing is asserted.
///
/// ```no_run
/// # use seaworthy_harness::{Stack, assert_queries};
/// # async fn place_order(url: &str) -> u64 { 1 }
/// # async fn example(stack: Stack) {
/// let postgres = stack.postgres();
/// let order = assert_queries!(postgres, <= 3, { place_order(&postgres.url()).await });
/// assert_queries!(postgres, == 3);
/// # }
/// ```
///
/// # Panics
///
/// With the statements, when there were more or fewer of them, and when that can't be told: where the recording had to drop entries, or
/// connections are encrypted.
#[macro_export]
macro_rules! assert_queries {
    ($source:expr, $operator:tt $limit:expr, $block:block) => {{
        let queries = $source.queries().from_now();
        let value = $block;
        $crate::assert_queries!(queries, $operator $limit);
        value
    }};
    ($source:expr, $operator:tt $limit:expr $(,)?) => {{
        let limit: usize = $limit;
        let claim = $crate::observed::Claim { operator: stringify!($operator), limit };
        $crate::observed::check(&$source.queries(), claim, |count: usize| count $operator limit)
    }};
}

/// Asserts that no statement of the application's own ran many times: 5, or as many as are named.
///
/// Statements are the same when they differ only in literals, parameters and the lengths of lists. The source and the block are those of
/// [`assert_queries!`](crate::assert_queries).
///
/// ```no_run
/// # use seaworthy_harness::{Stack, assert_no_n_plus_one};
/// # async fn list_orders(url: &str) {}
/// # async fn example(stack: Stack) {
/// let postgres = stack.postgres();
/// assert_no_n_plus_one!(postgres, { list_orders(&postgres.url()).await });
/// assert_no_n_plus_one!(postgres, threshold = 20);
/// # }
/// ```
///
/// # Panics
///
/// With the statements that did, how often, and how long they took together.
#[macro_export]
macro_rules! assert_no_n_plus_one {
    ($source:expr, threshold = $threshold:expr, $block:block) => {{
        let queries = $source.queries().from_now();
        let value = $block;
        queries.assert_no_n_plus_one($threshold);
        value
    }};
    ($source:expr, $block:block) => {
        $crate::assert_no_n_plus_one!($source, threshold = $crate::observed::DEFAULT_REPEATED, $block)
    };
    ($source:expr, threshold = $threshold:expr $(,)?) => {
        $source.queries().assert_no_n_plus_one($threshold)
    };
    ($source:expr $(,)?) => {
        $crate::assert_no_n_plus_one!($source, threshold = $crate::observed::DEFAULT_REPEATED)
    };
}

/// What [`assert_queries!`](crate::assert_queries) claims, as it is shown.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    pub operator: &'static str,
    pub limit: usize,
}

#[doc(hidden)]
#[track_caller]
pub fn check(queries: &Queries, claim: Claim, holds: impl Fn(usize) -> bool) {
    if let Err(message) = judge(&queries.seen(), claim, holds) {
        panic!("{message}");
    }
}

/// Why a claim does not hold, or can't be told to.
fn judge(seen: &Seen, Claim { operator, limit }: Claim, holds: impl Fn(usize) -> bool) -> Result<(), String> {
    let count = seen.ran.iter().filter(|ran| ran.kind() == super::Kind::Own).count();
    let most = count.saturating_add(seen.dropped as usize);
    let is_exact = matches!(operator, "==" | "!=");
    let certain = seen.dropped == 0 || (!is_exact && holds(count) && holds(most));
    if holds(count) && certain && seen.not_understood.is_empty() {
        return Ok(());
    }
    let were = if count == 1 { "statement ran" } else { "statements ran" };
    let mut message = if !holds(count) {
        format!("{count} {were}, and `{operator} {limit}` was expected:\n")
    } else {
        format!(
            "whether `{operator} {limit}` statements ran can't be told; {count} {were} that the recording has:\n"
        )
    };
    let _ = write!(message, "{seen}");
    Err(message)
}

impl Queries {
    /// Asserts that no statement of the application's own ran `threshold` times or more; see
    /// [`assert_no_n_plus_one!`](crate::assert_no_n_plus_one).
    ///
    /// # Panics
    ///
    /// With the statements that did, how often, and how long they took together; and when that can't be told, since entries were dropped or
    /// a connection was not understood.
    #[track_caller]
    pub fn assert_no_n_plus_one(&self, threshold: usize) {
        let repeated = self.repeated(threshold);
        let seen = self.seen();
        if !repeated.is_empty() {
            let lines: String = repeated.iter().map(|repeated| format!("  {repeated}\n")).collect();
            panic!(
                "the same statement ran again and again ({threshold} times or more): ask for all rows at once, with a join or \
                 `= any($1)`\n{lines}"
            );
        }
        assert!(
            seen.dropped == 0 && seen.not_understood.is_empty(),
            "whether a statement ran {threshold} times can't be told from what the recording has:\n{seen}"
        );
    }
}
