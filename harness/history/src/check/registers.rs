//! Keys that are written and read: how old what a read tells may be, and what each client may rely on.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use seaworthy_reports::{Check, Verdict};
use serde_json::Value;

use super::story::with_steps;
use crate::{Operation, Outcome};

/// No `read` told a value that had been overwritten, and the next one acknowledged, for longer than this before the read began. `write`s of one key have
/// inputs that differ, a read tells the value as its output, and nothing else changes the keys. With a bound of zero, it is what a register promises about the
/// past, though not its order: for that, see [`linearizable`](super::linearizable).
///
/// A value whose write has no answer may appear at any time, so it is never called stale. A value that nobody wrote is taken for the one that the key
/// began with; two of them on a key can't both be.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_history::{Operation, check};
/// use seaworthy_reports::Verdict;
///
/// let ms = Duration::from_millis;
/// let write = |value: i64, from: u64| Operation::new("write", "x", ms(from)).asking(value).answered(ms(from + 5), ());
/// let read = |value: i64, from: u64| Operation::new("read", "x", ms(from)).answered(ms(from + 5), value);
/// let history = [write(1, 0), write(2, 500), read(1, 600)];
/// assert_eq!(check::fresh_within("the cache is fresh", &history, ms(200)).verdict, Verdict::Held);
/// assert_eq!(check::fresh_within("the cache is fresh", &history, ms(50)).verdict, Verdict::Violated);
/// ```
pub fn fresh_within(name: &str, operations: &[Operation], bound: Duration) -> Check {
    let keys = keys(operations);
    let reads: Vec<&Operation> = reads(operations).collect();
    if let Some(check) = foreign(name, &reads, &keys) {
        return check;
    }
    let (mut judged, mut stale) = (0, Vec::new());
    for read in &reads {
        let Some(key) = keys.get(read.key.as_str()) else { continue };
        let Some(latest) = key.origin(read).latest else { continue };
        let Some(until) = read.invoked.checked_sub(bound) else { continue };
        if key.acknowledged.first().is_some_and(|write| write.ended < until) {
            judged += 1;
        }
        if key.was_overwritten(latest, until, &read.output) {
            stale.push((*read, latest));
        }
    }
    if let Some((read, latest)) = stale.first() {
        let told = |(read, latest): &(&Operation, Duration)| {
            let write = keys[read.key.as_str()].overwriting(*latest, &read.output)?;
            Some(read.invoked.saturating_sub(write.ended))
        };
        let longest = stale.iter().take(LOOKED_AT).filter_map(told).max().unwrap_or_default();
        let detail = format!(
            "{} of {} reads told a value that had been overwritten, for {} ms",
            stale.len(),
            reads.len(),
            longest.as_millis()
        );
        let check = Check::new(name, Verdict::Violated, detail).at(read.ended).about(&read.key);
        let key = &keys[read.key.as_str()];
        let steps = key.sources(read).chain(key.overwriting(*latest, &read.output)).chain([*read]);
        return with_steps(check, steps);
    }
    match (reads.len(), judged) {
        (0, _) => Check::new(name, Verdict::Unknown, "nothing was read"),
        (_, 0) => Check::new(
            name,
            Verdict::Unknown,
            "no read could have been stale: none came late enough after a write",
        ),
        (reads, judged) => {
            let detail = format!(
                "none of {reads} reads was older than {} ms, {judged} could have been",
                bound.as_millis()
            );
            Check::new(name, Verdict::Held, detail)
        }
    }
}

/// No client read a value that was there before its own last acknowledged `write` of the key. Values as in [`fresh_within`]; a client is a
/// [`process`](Operation::process).
pub fn read_your_writes(name: &str, operations: &[Operation]) -> Check {
    let own = |operation: &Operation, _: &Origin| {
        (operation.kind == "write").then_some((operation.invoked, operation.ended))
    };
    session(name, operations, "its own write", own)
}

/// No client read a value that is older than one that it had read before from the same key. Values as in [`fresh_within`]; a client is a
/// [`process`](Operation::process).
pub fn monotonic_reads(name: &str, operations: &[Operation]) -> Check {
    let seen = |operation: &Operation, origin: &Origin| {
        (operation.kind == "read").then_some((origin.earliest, operation.ended))
    };
    session(name, operations, "what it had read", seen)
}

/// Reads that can be shown to be older than something that their client knew before: `known` tells when that came about at the earliest, and since when
/// the client knew it.
fn session(
    name: &str,
    operations: &[Operation],
    than: &str,
    known: impl Fn(&Operation, &Origin) -> Option<(Duration, Duration)>,
) -> Check {
    let keys = keys(operations);
    let mut sorted: Vec<&Operation> = operations
        .iter()
        .filter(|it| it.outcome == Outcome::Ok && (it.kind == "read" || it.kind == "write"))
        .collect();
    sorted.sort_by_key(|operation| (operation.invoked, operation.ended));
    let mut newest: HashMap<(u64, &str), (Duration, Duration, &Operation)> = HashMap::new();
    let (mut judged, mut wrong) = (0, Vec::new());
    for operation in sorted {
        let Some(key) = keys.get(operation.key.as_str()) else { continue };
        let origin = key.origin(operation);
        let mine = (operation.process, operation.key.as_str());
        if let Some((earliest, since, before)) = newest.get(&mine)
            && operation.kind == "read"
            && *since <= operation.invoked
            && let Some(latest) = origin.latest
        {
            judged += 1;
            if latest < *earliest {
                wrong.push((operation, *before));
            }
        }
        if let Some((earliest, since)) = known(operation, &origin)
            && newest.get(&mine).is_none_or(|(before, ..)| *before <= earliest)
        {
            newest.insert(mine, (earliest, since, operation));
        }
    }
    match (judged, wrong.first()) {
        (_, Some((read, before))) => {
            let detail = format!("{} of {judged} reads told what is older than {than}", wrong.len());
            let check = Check::new(name, Verdict::Violated, detail).at(read.ended).about(&read.key);
            let key = &keys[read.key.as_str()];
            let steps = key.sources(read).chain(key.sources(before)).chain([*before, *read]);
            with_steps(check, steps)
        }
        (0, None) => Check::new(name, Verdict::Unknown, "no client came back to a key"),
        (_, None) => {
            Check::new(name, Verdict::Held, format!("none of {judged} reads told what is older than {than}"))
        }
    }
}

/// Violations whose age is worked out: it takes a look at all writes of the key for each.
const LOOKED_AT: usize = 1_000;

fn reads(operations: &[Operation]) -> impl Iterator<Item = &Operation> {
    operations.iter().filter(|it| it.kind == "read" && it.outcome == Outcome::Ok)
}

fn keys(operations: &[Operation]) -> BTreeMap<&str, Key<'_>> {
    let mut keys: BTreeMap<&str, Key<'_>> = BTreeMap::new();
    for write in operations.iter().filter(|it| it.kind == "write" && it.outcome.may_have_happened()) {
        let key = keys.entry(&write.key).or_default();
        key.writes.entry(&write.input).or_default().push(write);
        if write.outcome == Outcome::Ok {
            key.acknowledged.push(write);
        }
    }
    keys.values_mut().for_each(Key::index);
    keys
}

/// What is known of the writes of a key.
#[derive(Debug, Default)]
struct Key<'a> {
    /// Those that may have happened, by their value.
    writes: HashMap<&'a Value, Vec<&'a Operation>>,
    /// Those that did, in the order of their ends.
    acknowledged: Vec<&'a Operation>,
    /// For each of these: the one that began last among it and those before.
    begun_last: Vec<&'a Operation>,
}

/// When a value came about.
struct Origin {
    /// Not before.
    earliest: Duration,
    /// Not after; nobody knows when one of its writes has no answer.
    latest: Option<Duration>,
}

impl<'a> Key<'a> {
    fn index(&mut self) {
        self.acknowledged.sort_by_key(|write| write.ended);
        let mut last: Option<&Operation> = None;
        for write in &self.acknowledged {
            let later = last.filter(|last| last.invoked >= write.invoked).unwrap_or(write);
            self.begun_last.push(later);
            last = Some(later);
        }
    }

    /// The writes that what this tells, or writes, may come from: none of those that began when it was already over.
    fn sources(&self, operation: &'a Operation) -> impl Iterator<Item = &'a Operation> {
        let value = if operation.kind == "write" { &operation.input } else { &operation.output };
        let writes = self.writes.get(value).map_or(&[][..], Vec::as_slice);
        writes.iter().copied().filter(move |write| write.invoked <= operation.ended)
    }

    /// Without a source, it is there from the start.
    fn origin(&self, operation: &'a Operation) -> Origin {
        let mut origin = Origin { earliest: Duration::MAX, latest: Some(Duration::ZERO) };
        for source in self.sources(operation) {
            let known = source.outcome == Outcome::Ok;
            origin.earliest = origin.earliest.min(source.invoked);
            origin.latest = origin.latest.filter(|_| known).map(|latest| latest.max(source.ended));
        }
        if origin.earliest == Duration::MAX {
            origin.earliest = Duration::ZERO;
        }
        origin
    }

    /// Whether a write began after this value had come about, and was over before that moment.
    fn was_overwritten(&self, came_about: Duration, until: Duration, value: &Value) -> bool {
        let over = self.acknowledged.partition_point(|write| write.ended < until);
        over.checked_sub(1)
            .map(|at| self.begun_last[at])
            .is_some_and(|write| write.invoked >= came_about && write.input != *value)
    }

    /// The write that was the first to be over among those that overwrote it.
    fn overwriting(&self, came_about: Duration, value: &Value) -> Option<&'a Operation> {
        let mut over = self.acknowledged.iter().copied();
        over.find(|write| write.invoked >= came_about && write.input != *value)
    }
}

/// Reads of values that nobody wrote: a key begins with one value only.
fn foreign(name: &str, reads: &[&Operation], keys: &BTreeMap<&str, Key<'_>>) -> Option<Check> {
    let mut initial: HashMap<&str, &Operation> = HashMap::new();
    let mut foreign: Vec<(&Operation, &Operation)> = Vec::new();
    for read in reads {
        if keys.get(read.key.as_str()).is_some_and(|key| key.sources(read).next().is_some()) {
            continue;
        }
        let first = *initial.entry(&read.key).or_insert(read);
        if first.output != read.output {
            foreign.push((first, read));
        }
    }
    let (first, read) = foreign.first()?;
    let detail = format!("{} reads told what nobody had written by then", foreign.len());
    let check = Check::new(name, Verdict::Violated, detail).at(read.ended).about(&read.key);
    Some(with_steps(check, [*first, *read]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn write(value: i64, from: u64, to: u64) -> Operation {
        Operation::new("write", "x", ms(from)).asking(value).answered(ms(to), Value::Null)
    }

    fn lost(value: i64, from: u64) -> Operation {
        Operation::new("write", "x", ms(from)).asking(value).ended(ms(from + 5), Outcome::TimedOut)
    }

    fn read(value: Value, from: u64) -> Operation {
        Operation::new("read", "x", ms(from)).by(7).answered(ms(from + 5), value)
    }

    #[test]
    fn reads_are_fresh() {
        use Verdict::{Held, Unknown, Violated};
        for (expected, bound, more) in [
            (Unknown, 0, vec![]),
            (Held, 0, vec![read(json!(2), 40)]),
            (Violated, 0, vec![read(json!(1), 40)]),
            (Held, 20, vec![read(json!(1), 40)]),
            (Violated, 9, vec![read(json!(1), 40)]),
            // The write was over just then, not before.
            (Held, 10, vec![read(json!(1), 40)]),
            (Unknown, u64::MAX, vec![read(json!(1), 40)]),
            // It may have begun before the second write had ended.
            (Held, 0, vec![read(json!(1), 25)]),
            // The value that the key began with was overwritten, whether it is told or not.
            (Violated, 0, vec![read(Value::Null, 40)]),
            (Violated, 0, vec![read(json!(0), 40)]),
            (Held, 30, vec![read(json!(0), 8), read(json!(2), 70)]),
            // It can't have begun with both.
            (Violated, 1_000, vec![read(json!(0), 8), read(json!(9), 9)]),
            // What is written only later can't be told yet.
            (Violated, 0, vec![read(json!(5), 40), write(5, 60, 70)]),
            // It was written once more, by somebody who has no answer, or was it not?
            (Unknown, 0, vec![lost(1, 2), read(json!(1), 40)]),
            (Unknown, 0, vec![lost(3, 2), read(json!(3), 400)]),
            (Violated, 0, vec![read(json!(1), 40), lost(1, 50)]),
            // Two writes at once: either may be the later one.
            (Held, 0, vec![write(3, 15, 35), read(json!(2), 40), read(json!(3), 40)]),
            (Violated, 0, vec![write(3, 15, 35), read(json!(1), 40)]),
            // It was refused, so it did not overwrite anything.
            (
                Held,
                0,
                vec![
                    Operation::new("write", "x", ms(31))
                        .asking(4)
                        .ended(ms(33), Outcome::Failed("409".into())),
                    read(json!(2), 40),
                ],
            ),
        ] {
            let operations = [vec![write(1, 0, 10), write(2, 20, 30)], more].concat();
            let check = fresh_within("fresh", &operations, ms(bound));
            assert_eq!(check.verdict, expected, "{bound} {:?}: {}", &operations[2..], check.detail);
        }
    }

    #[test]
    fn a_stale_read_is_told_with_the_writes_before_it() {
        let operations = [write(1, 0, 10), write(2, 20, 30), write(3, 32, 35), read(json!(1), 40)];
        let check = fresh_within("fresh", &operations, ms(0));
        insta::assert_snapshot!(format!("{}\n{}", check.detail, check.story.join("\n")), @"
        1 of 1 reads told a value that had been overwritten, for 10 ms
        0.000 s to 0.010 s, client 0: write x 1, ok
        0.020 s to 0.030 s, client 0: write x 2, ok
        0.040 s to 0.045 s, client 7: read x -> 1
        ");
    }

    #[test]
    fn clients_read_their_own_writes() {
        use Verdict::{Held, Unknown, Violated};
        let mine = |value, from| write(value, from, from + 5).by(7);
        for (expected, operations) in [
            (Unknown, vec![]),
            (Unknown, vec![write(1, 0, 5), read(json!(1), 10)]),
            (Held, vec![mine(1, 0), read(json!(1), 10)]),
            (Violated, vec![mine(1, 0), mine(2, 10), read(json!(1), 20)]),
            (Violated, vec![mine(1, 1), read(Value::Null, 20)]),
            // Another client may see it later.
            (Unknown, vec![mine(1, 1), read(Value::Null, 20).by(8)]),
            // Somebody else's write at the same time may be the later one.
            (Held, vec![write(2, 12, 18), mine(1, 10), read(json!(2), 20)]),
            (Violated, vec![write(2, 3, 8), mine(1, 10), read(json!(2), 20)]),
            // Nobody knows whether its own write happened.
            (Unknown, vec![lost(1, 1).by(7), read(Value::Null, 20)]),
            (Unknown, vec![lost(2, 1), mine(1, 10), read(json!(2), 20)]),
        ] {
            assert_eq!(read_your_writes("own", &operations).verdict, expected, "{operations:?}");
        }
        let check = read_your_writes("own", &[write(2, 3, 8), mine(1, 10), read(json!(2), 20)]);
        insta::assert_snapshot!(format!("{}\n{}", check.detail, check.story.join("\n")), @"
        1 of 1 reads told what is older than its own write
        0.003 s to 0.008 s, client 0: write x 2, ok
        0.010 s to 0.015 s, client 7: write x 1, ok
        0.020 s to 0.025 s, client 7: read x -> 2
        ");
    }

    #[test]
    fn clients_do_not_read_backwards() {
        use Verdict::{Held, Unknown, Violated};
        let writes = [write(1, 0, 10), write(2, 20, 30)];
        for (expected, reads) in [
            (Unknown, vec![]),
            (Unknown, vec![read(json!(2), 40)]),
            (Held, vec![read(json!(1), 40), read(json!(2), 50)]),
            (Held, vec![read(json!(1), 40), read(json!(1), 50)]),
            (Violated, vec![read(json!(2), 40), read(json!(1), 50)]),
            (Violated, vec![read(json!(2), 40), read(json!(2), 50), read(Value::Null, 60)]),
            (Unknown, vec![read(json!(2), 40), read(json!(1), 50).by(8)]),
            // At once, neither is before the other.
            (Held, vec![write(3, 25, 35), read(json!(2), 40), read(json!(3), 50), read(json!(2), 60)]),
            // It may have been written again.
            (Unknown, vec![lost(1, 45), read(json!(2), 40), read(json!(1), 50)]),
        ] {
            let operations = [writes.to_vec(), reads].concat();
            assert_eq!(monotonic_reads("forward", &operations).verdict, expected, "{operations:?}");
        }
    }
}
