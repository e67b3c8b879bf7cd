//! One at a time.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use seaworthy_reports::{Check, Verdict};

use super::story::step;
use crate::{Operation, Outcome};

/// From when to when somebody knew that a lock, a lease or the lead was theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What was held.
    pub key: String,
    /// By whom.
    pub holder: String,
    /// Since when, from the history's start.
    pub from: Duration,
    /// Until when.
    pub to: Duration,
}

impl Hold {
    /// This holder held it from then to then.
    pub fn new(key: impl Into<String>, holder: impl Into<String>, from: Duration, to: Duration) -> Self {
        Hold { key: key.into(), holder: holder.into(), from, to }
    }
}

/// No two held the same at once.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_history::check::{self, Hold};
/// use seaworthy_reports::Verdict;
///
/// let ms = Duration::from_millis;
/// let reigns = [Hold::new("lead", "a", ms(0), ms(200)), Hold::new("lead", "b", ms(190), ms(390))];
/// assert_eq!(check::held_by_one("no two lead at once", &reigns).verdict, Verdict::Violated);
/// ```
pub fn held_by_one(name: &str, holds: &[Hold]) -> Check {
    let spans: Vec<Span<'_>> = holds
        .iter()
        .map(|hold| Span { key: &hold.key, from: hold.from, to: hold.to, who: Who::Holder(&hold.holder) })
        .collect();
    apart(name, spans)
}

/// No two clients held the same lock at once: from the end of an `acquire` that succeeded to the beginning of the same client's next `release` of that key.
///
/// A client that does not release it before it acquires it again, or whose release is refused, is taken to have held it for a moment only: its lease may have ended at any
/// time. Where clients know until when they held it, [`held_by_one`] sees more. Neither says anything about what is done with a lock that was lost
/// without notice: see [`fenced_operations`](super::fenced_operations).
pub fn mutual_exclusion(name: &str, operations: &[Operation], acquire: &str, release: &str) -> Check {
    let mut of: HashMap<(u64, &str), Vec<&Operation>> = HashMap::new();
    for operation in operations {
        if (operation.kind == acquire && operation.outcome == Outcome::Ok) || operation.kind == release {
            of.entry((operation.process, &operation.key)).or_default().push(operation);
        }
    }
    let mut spans = Vec::new();
    for mut own in of.into_values() {
        own.sort_by_key(|operation| (operation.invoked, operation.ended));
        for (at, taken) in own.iter().enumerate().filter(|(_, it)| it.kind == acquire) {
            let next = own.get(at + 1).filter(|next| next.kind == release);
            let given_back = next.filter(|next| !matches!(next.outcome, Outcome::Failed(_)));
            let to = given_back.map_or(taken.ended, |release| release.invoked.max(taken.ended));
            spans.push(Span { key: &taken.key, from: taken.ended, to, who: Who::Client(taken) });
        }
    }
    apart(name, spans)
}

struct Span<'a> {
    key: &'a str,
    from: Duration,
    to: Duration,
    who: Who<'a>,
}

enum Who<'a> {
    Holder(&'a str),
    Client(&'a Operation),
}

impl Span<'_> {
    fn holder(&self) -> String {
        match self.who {
            Who::Holder(holder) => holder.to_owned(),
            Who::Client(taken) => format!("client {}", taken.process),
        }
    }

    fn begins(&self) -> String {
        match self.who {
            Who::Holder(holder) => format!("{:.3} s: {holder} holds {}", self.from.as_secs_f64(), self.key),
            Who::Client(taken) => step(taken),
        }
    }

    fn ends(&self) -> String {
        format!("{:.3} s: {} gives it back", self.to.as_secs_f64(), self.holder())
    }
}

fn apart(name: &str, spans: Vec<Span<'_>>) -> Check {
    let times = spans.len();
    let mut held: BTreeMap<&str, Vec<Span<'_>>> = BTreeMap::new();
    for span in spans {
        held.entry(span.key).or_default().push(span);
    }
    let mut together: Vec<(&Span<'_>, &Span<'_>)> = Vec::new();
    for spans in held.values_mut() {
        spans.sort_by_key(|span| (span.from, span.to));
        let Some((mut longest, others)) = spans.split_first() else { continue };
        for next in others {
            if next.from < longest.to {
                together.push((longest, next));
            }
            if next.to > longest.to {
                longest = next;
            }
        }
    }
    together.sort_by_key(|(_, next)| next.from);
    match (times, together.first()) {
        (0, _) => Check::new(name, Verdict::Unknown, "nobody held it"),
        (_, None) => Check::new(name, Verdict::Held, format!("{times} times held, never by two at once")),
        (_, Some((one, other))) => {
            let again =
                if together.len() > 1 { format!("; so {} times", together.len()) } else { String::new() };
            let both = one.to.min(other.to).saturating_sub(other.from).as_millis();
            let (who, and) = (one.holder(), other.holder());
            let detail = format!("{who} and {and} held {} at once, for {both} ms{again}", one.key);
            let mut ends = [one, other];
            ends.sort_by_key(|span| span.to);
            let check = Check::new(name, Verdict::Violated, detail).at(other.from).about(one.key);
            let check = check.step(one.begins()).step(other.begins());
            ends.iter().fold(check, |check, span| check.step(span.ends()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn operation(process: u64, kind: &str, from: u64, to: u64) -> Operation {
        Operation::new(kind, "lock", ms(from)).by(process).answered(ms(to), ())
    }

    fn check(operations: &[Operation]) -> Check {
        mutual_exclusion("lock", operations, "acquire", "release")
    }

    #[test]
    fn two_holders_at_once_are_a_violation() {
        use Verdict::{Held, Unknown, Violated};
        let first = || vec![operation(1, "acquire", 0, 10), operation(1, "release", 50, 60)];
        let refused = |mut operation: Operation| {
            operation.outcome = Outcome::Failed("it is not yours".to_owned());
            operation
        };
        let other_lock = |mut operation: Operation| {
            operation.key = "other".to_owned();
            operation
        };
        for (expected, operations) in [
            (Unknown, vec![]),
            (Unknown, vec![refused(operation(1, "acquire", 0, 10))]),
            (Held, first()),
            // It came in while the first was giving it back.
            (Held, [first(), vec![operation(2, "acquire", 5, 55)]].concat()),
            (Violated, [first(), vec![operation(2, "acquire", 20, 40)]].concat()),
            (Held, [first(), vec![refused(operation(2, "acquire", 20, 40))]].concat()),
            (Held, [first(), vec![other_lock(operation(2, "acquire", 20, 40))]].concat()),
            // Without a release, it may have been a lease that ended.
            (Held, vec![operation(1, "acquire", 0, 10), operation(2, "acquire", 20, 30)]),
            // A later release is that of a later hold.
            (
                Held,
                vec![
                    operation(1, "acquire", 0, 10),
                    operation(2, "acquire", 20, 30),
                    operation(2, "release", 40, 50),
                    operation(1, "acquire", 60, 70),
                    operation(1, "release", 80, 90),
                ],
            ),
            // The lock had gone to another one, and the service says so.
            (
                Held,
                vec![
                    operation(1, "acquire", 0, 10),
                    operation(2, "acquire", 20, 30),
                    refused(operation(1, "release", 40, 50)),
                ],
            ),
            // The release may have had its effect at any time from its beginning on.
            (
                Violated,
                vec![
                    operation(1, "acquire", 0, 10),
                    operation(2, "acquire", 20, 30),
                    operation(1, "release", 40, 50).ended(ms(50), Outcome::TimedOut),
                ],
            ),
        ] {
            assert_eq!(check(&operations).verdict, expected, "{operations:?}");
        }
    }

    #[test]
    fn two_holders_are_told_in_order() {
        let operations = [
            operation(1, "acquire", 0, 10),
            operation(1, "release", 50, 60),
            operation(2, "acquire", 20, 40),
            operation(2, "release", 45, 49),
        ];
        let found = check(&operations);
        insta::assert_snapshot!(format!("{}\n{}", found.detail, found.story.join("\n")), @"
        client 1 and client 2 held lock at once, for 5 ms
        0.000 s to 0.010 s, client 1: acquire lock, ok
        0.020 s to 0.040 s, client 2: acquire lock, ok
        0.045 s: client 2 gives it back
        0.050 s: client 1 gives it back
        ");
    }

    #[test]
    fn holds_that_touch_are_no_violation() {
        let hold = |who: &str, from, to| Hold::new("lead", who, ms(from), ms(to));
        let of = |holds: &[Hold]| held_by_one("lead", holds);
        assert_eq!(of(&[]).verdict, Verdict::Unknown);
        assert_eq!(of(&[hold("b", 10, 20), hold("a", 0, 10)]).verdict, Verdict::Held);
        let long = [hold("a", 0, 100), hold("b", 10, 20), hold("c", 30, 40)];
        insta::assert_snapshot!(of(&long).detail, @"a and b held lead at once, for 10 ms; so 2 times");
    }
}
