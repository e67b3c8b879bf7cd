//! Tokens that make a lock safe that can be lost without its holder's notice (Kleppmann, "How to do distributed locking", 2016).

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    hash::Hash,
};

use seaworthy_reports::{Check, Verdict};

use super::{
    naming::{about, first},
    story::with_steps,
};
use crate::{Operation, Outcome};

/// No write was accepted with an older fencing token than one before it: pairs of (key, token) in the order in which they were accepted, as the storage has
/// them. Where only clients are heard, see [`fenced_operations`].
pub fn fenced_writes<K: Eq + Hash + Display>(name: &str, accepted: &[(K, u64)]) -> Check {
    let mut latest: HashMap<&K, u64> = HashMap::new();
    let mut wrong: Vec<(&K, String)> = Vec::new();
    for (key, token) in accepted {
        let newest = latest.entry(key).or_insert(*token);
        if token < newest {
            wrong.push((key, format!("{key} with token {token} after token {newest}")));
        }
        *newest = (*newest).max(*token);
    }
    match (accepted.len(), wrong.len()) {
        (0, _) => Check::new(name, Verdict::Unknown, "nothing was written"),
        (writes, 0) => Check::new(name, Verdict::Held, format!("{writes} writes, none with an older token")),
        (_, times) => {
            let sentences: Vec<&String> = wrong.iter().map(|(_, sentence)| sentence).collect();
            let detail = format!("{times} writes of former holders were accepted: {}", first(&sentences));
            about(Check::new(name, Verdict::Violated, detail), wrong.iter().map(|(key, _)| key))
        }
    }
}

/// As [`fenced_writes`], as far as clients can know: no operation of this kind was accepted that began after another one with a newer token had been. The
/// closure tells an operation's token, for example from its input; those without one are left out.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_history::{Operation, check};
/// use seaworthy_reports::Verdict;
///
/// let ms = Duration::from_millis;
/// let write = |token: u64, at: u64| Operation::new("write", "account-7", ms(at)).asking(token).answered(ms(at + 5), ());
/// let late = [write(34, 10), write(33, 20)];
/// let check = check::fenced_operations("former holders can't write", &late, "write", |it| it.input.as_u64());
/// assert_eq!(check.verdict, Verdict::Violated);
/// ```
pub fn fenced_operations(
    name: &str,
    operations: &[Operation],
    kind: &str,
    token: impl Fn(&Operation) -> Option<u64>,
) -> Check {
    let with_token = accepted(operations, kind, token);
    let writes = with_token.values().map(Vec::len).sum::<usize>();
    let wrong = behind(&with_token, |before, after| before > after);
    match (writes, wrong.first()) {
        (0, _) => Check::new(name, Verdict::Unknown, "nothing was written with a token"),
        (_, None) => Check::new(name, Verdict::Held, format!("{writes} writes, none with an older token")),
        (_, Some(_)) => violated(name, "writes of former holders were accepted", &wrong),
    }
}

/// The token of each lock that was acquired is newer than that of those before it: operations of this kind, whose tokens the closure tells, for example from
/// the output. Those that went on at once may have either order, but no two have the same token.
pub fn tokens_grow(
    name: &str,
    operations: &[Operation],
    acquire: &str,
    token: impl Fn(&Operation) -> Option<u64>,
) -> Check {
    let with_token = accepted(operations, acquire, token);
    let times = with_token.values().map(Vec::len).sum::<usize>();
    let mut wrong = behind(&with_token, |before, after| before >= after);
    for tokens in with_token.values() {
        let mut first: HashMap<u64, &Operation> = HashMap::new();
        for (operation, token) in tokens {
            let before = *first.entry(*token).or_insert(operation);
            if !std::ptr::eq(before, *operation)
                && !wrong.iter().any(|(.., late, _)| std::ptr::eq(*late, *operation))
            {
                wrong.push((before, *token, operation, *token));
            }
        }
    }
    match (times, wrong.first()) {
        (0, _) => Check::new(name, Verdict::Unknown, "nobody got a token"),
        (_, None) => Check::new(name, Verdict::Held, format!("{times} tokens, each newer than those before")),
        (_, Some(_)) => violated(name, "tokens were not newer", &wrong),
    }
}

/// An operation that had ended, its token, and one that began after that, with its token.
type Behind<'a> = (&'a Operation, u64, &'a Operation, u64);

fn violated(name: &str, what: &str, wrong: &[Behind<'_>]) -> Check {
    let sentence = |(_, before, late, token): &Behind<'_>| {
        let key = if late.key.is_empty() { "token" } else { &format!("{} with token", late.key) };
        format!("{key} {token} after {before}")
    };
    let sentences: Vec<String> = wrong.iter().map(sentence).collect();
    let named: Vec<&String> = sentences.iter().collect();
    let detail = format!("{} {what}: {}", wrong.len(), first(&named));
    let (before, _, late, _) = wrong[0];
    let check = Check::new(name, Verdict::Violated, detail).at(late.ended);
    let check = about(check, wrong.iter().map(|(_, _, late, _)| &late.key));
    with_steps(check, [before, late])
}

type Tokens<'a> = BTreeMap<&'a str, Vec<(&'a Operation, u64)>>;

fn accepted<'a>(
    operations: &'a [Operation],
    kind: &str,
    token: impl Fn(&Operation) -> Option<u64>,
) -> Tokens<'a> {
    let mut of: Tokens<'_> = BTreeMap::new();
    for operation in operations.iter().filter(|it| it.kind == kind && it.outcome == Outcome::Ok) {
        if let Some(token) = token(operation) {
            of.entry(&operation.key).or_default().push((operation, token));
        }
    }
    of
}

/// Operations that began after one had ended whose token is wrong before theirs; that one is the one with the newest token.
fn behind<'a>(of: &Tokens<'a>, is_wrong: fn(u64, u64) -> bool) -> Vec<Behind<'a>> {
    let mut wrong = Vec::new();
    for tokens in of.values() {
        let (mut begun, mut ended) = (tokens.clone(), tokens.clone());
        begun.sort_by_key(|(operation, _)| operation.invoked);
        ended.sort_by_key(|(operation, _)| operation.ended);
        let mut over = ended.into_iter().peekable();
        let mut newest: Option<(&Operation, u64)> = None;
        for (operation, token) in begun {
            while let Some(before) = over.next_if(|(before, _)| before.ended < operation.invoked) {
                newest = newest.filter(|(_, newest)| *newest >= before.1).or(Some(before));
            }
            if let Some((before, newest)) = newest
                && is_wrong(newest, token)
            {
                wrong.push((before, newest, operation, token));
            }
        }
    }
    wrong.sort_by_key(|(_, _, late, _)| late.invoked);
    wrong
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn write(token: u64, from: u64, to: u64) -> Operation {
        Operation::new("write", "a", ms(from)).asking(token).answered(ms(to), token)
    }

    fn of_input(operation: &Operation) -> Option<u64> {
        operation.input.as_u64()
    }

    #[test]
    fn a_write_with_an_older_token_is_a_violation() {
        assert_eq!(fenced_writes("writes", &[("a", 1), ("b", 1), ("a", 2), ("a", 2)]).verdict, Verdict::Held);
        let check = fenced_writes("writes", &[("a", 1), ("a", 3), ("a", 2)]);
        assert_eq!(check.detail, "1 writes of former holders were accepted: a with token 2 after token 3");
        assert_eq!(fenced_writes::<&str>("writes", &[]).verdict, Verdict::Unknown);
    }

    #[test]
    fn an_operation_with_an_older_token_is_a_violation_when_it_began_later() {
        use Verdict::{Held, Unknown, Violated};
        let refused = |mut operation: Operation| {
            operation.outcome = Outcome::Failed("an old token".to_owned());
            operation
        };
        for (expected, operations) in [
            (Unknown, vec![]),
            (Unknown, vec![refused(write(1, 0, 5))]),
            (Held, vec![write(1, 0, 5), write(1, 10, 15), write(2, 20, 25)]),
            (Violated, vec![write(2, 0, 5), write(1, 10, 15)]),
            (Violated, vec![write(3, 0, 5), write(4, 1, 30), write(2, 10, 15)]),
            (Held, vec![write(2, 0, 5), refused(write(1, 10, 15))]),
            // Either may have come first.
            (Held, vec![write(2, 0, 12), write(1, 10, 15)]),
            // Nobody knows whether the newer one was accepted.
            (Held, vec![write(2, 0, 5).ended(ms(5), Outcome::TimedOut), write(1, 10, 15)]),
        ] {
            assert_eq!(fenced_operations("fence", &operations, "write", of_input).verdict, expected);
        }
        let check = fenced_operations("fence", &[write(34, 0, 5), write(33, 10, 15)], "write", of_input);
        insta::assert_snapshot!(format!("{}\n{}", check.detail, check.story.join("\n")), @"
        1 writes of former holders were accepted: a with token 33 after 34
        0.000 s to 0.005 s, client 0: write a 34 -> 34
        0.010 s to 0.015 s, client 0: write a 33 -> 33
        ");
    }

    #[test]
    fn tokens_that_do_not_grow_are_a_violation() {
        for (expected, operations) in [
            (Verdict::Unknown, vec![]),
            (Verdict::Held, vec![write(1, 0, 5), write(2, 10, 15)]),
            (Verdict::Held, vec![write(2, 0, 12), write(1, 10, 15)]),
            (Verdict::Violated, vec![write(2, 0, 5), write(1, 10, 15)]),
            (Verdict::Violated, vec![write(2, 0, 5), write(2, 10, 15)]),
            (Verdict::Violated, vec![write(2, 0, 12), write(2, 10, 15)]),
        ] {
            assert_eq!(
                tokens_grow("tokens", &operations, "write", |it| it.output.as_u64()).verdict,
                expected
            );
        }
    }
}
