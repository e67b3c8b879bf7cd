//! Which items a violated check names, and which its report follows.

use std::fmt::Display;

use seaworthy_reports::Check;

/// Items that a violated check names at most.
const NAMED: usize = 3;
/// Items whose operations the report looks for.
pub(super) const FOLLOWED: usize = 20;

/// With the keys of these, so that the report can look at what happened around them.
pub(super) fn about<T: Display>(check: Check, items: impl IntoIterator<Item = T>) -> Check {
    items.into_iter().take(FOLLOWED).fold(check, |check, item| check.about(item.to_string()))
}

pub(super) fn first<T: Display>(items: &[&T]) -> String {
    let mut named: Vec<String> = items.iter().take(NAMED).map(ToString::to_string).collect();
    named.sort();
    let rest = items.len().saturating_sub(NAMED);
    if rest > 0 { format!("{} and {rest} more", named.join(", ")) } else { named.join(", ") }
}
