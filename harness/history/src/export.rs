//! Histories in the forms that Jepsen's family of checkers reads: JSON lines, and EDN.
//!
//! Each operation is two events, its invocation and its completion, in the order of time: `{"index":0,"time":1200000,"process":3,"type":"invoke","f":"write",
//! "value":["x",5]}`. Times are nanoseconds from the start; a completion is `ok`, `fail`, or `info` where nobody knows; the value is a pair of the key and the input,
//! or the output, and that alone where there is no key. A process whose operation ended in `info` is never heard of again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Operation, Outcome};

/// Why a text is no history. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryError {
    /// The line that is wrong.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the history is wrong: {}", self.line, self.why)
    }
}

impl std::error::Error for HistoryError {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Invoke,
    Ok,
    Fail,
    Info,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Event {
    index: u64,
    /// In nanoseconds.
    time: u64,
    process: u64,
    #[serde(rename = "type")]
    kind: Type,
    f: String,
    value: Value,
    /// When it should have begun, where that was not when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    intended: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// These operations as JSON lines.
pub fn to_jsonl(operations: &[Operation]) -> String {
    let lines = events(operations).into_iter().map(|event| {
        let line = serde_json::to_string(&event).unwrap_or_default();
        line + "\n"
    });
    lines.collect()
}

/// These operations as EDN, a map for each event.
pub fn to_edn(operations: &[Operation]) -> String {
    let lines = events(operations).into_iter().map(|event| {
        let Event { index, time, process, kind, f, value, error, .. } = event;
        let kind = match kind {
            Type::Invoke => "invoke",
            Type::Ok => "ok",
            Type::Fail => "fail",
            Type::Info => "info",
        };
        let error = error.map_or_else(String::new, |error| format!(", :error {}", edn(&Value::String(error))));
        let value = edn(&value);
        format!("{{:index {index}, :time {time}, :process {process}, :type :{kind}, :f :{}, :value {value}{error}}}\n", keyword(&f))
    });
    lines.collect()
}

/// The operations of such JSON lines, in the order of their invocations. What was never completed has an unknown outcome and ends with the history.
///
/// # Errors
///
/// The first line that is no event, or that can't follow those before it.
pub fn from_jsonl(text: &str) -> Result<Vec<Operation>, HistoryError> {
    let mut operations: Vec<Operation> = Vec::new();
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    let mut end = Duration::ZERO;
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let wrong = |why: String| HistoryError { line, why };
        let event: Event = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let at = Duration::from_nanos(event.time);
        if at < end {
            return Err(wrong("it is earlier than the one before it".to_owned()));
        }
        end = at;
        let (key, value) = unpaired(event.value);
        if event.kind == Type::Invoke {
            if open.insert(event.process, operations.len()).is_some() {
                return Err(wrong(format!("process {} has not ended what it did before", event.process)));
            }
            let mut operation = Operation::new(event.f, key, at).by(event.process).asking(value);
            operation.intended = event.intended.map_or(at, Duration::from_nanos);
            operations.push(operation);
            continue;
        }
        let Some(place) = open.remove(&event.process) else {
            return Err(wrong(format!("process {} has begun nothing that could end", event.process)));
        };
        let operation = &mut operations[place];
        if operation.kind != event.f {
            return Err(wrong(format!(
                "process {} began {} and ended {}",
                event.process, operation.kind, event.f
            )));
        }
        operation.ended = at;
        let why = event.error.unwrap_or_default();
        operation.outcome = match event.kind {
            Type::Fail => Outcome::Failed(why),
            Type::Info if why == Outcome::TimedOut.why() => Outcome::TimedOut,
            Type::Info | Type::Invoke => Outcome::Unknown(why),
            Type::Ok => {
                operation.output = value;
                Outcome::Ok
            }
        };
    }
    open.into_values().for_each(|place| operations[place].ended = end);
    Ok(operations)
}

/// The events in the order of time; those of a process stay in theirs.
fn events(operations: &[Operation]) -> Vec<Event> {
    let mut sorted: Vec<&Operation> = operations.iter().collect();
    sorted.sort_by_key(|operation| operation.invoked);
    let mut numbers = Numbers::of(operations);
    let mut events: Vec<Event> = Vec::new();
    for operation in sorted {
        let process = numbers.of_operation(operation);
        let event = |at: Duration, kind, value: &Value, intended, error| Event {
            index: 0,
            time: nanos(at),
            process,
            kind,
            f: operation.kind.clone(),
            value: paired(&operation.key, value),
            intended,
            error,
        };
        let intended = (operation.intended != operation.invoked).then(|| nanos(operation.intended));
        events.push(event(operation.invoked, Type::Invoke, &operation.input, intended, None));
        let (kind, value) = match operation.outcome {
            Outcome::Ok => (Type::Ok, &operation.output),
            Outcome::Failed(_) => (Type::Fail, &operation.input),
            Outcome::Unknown(_) | Outcome::TimedOut => (Type::Info, &operation.input),
        };
        let error = (kind != Type::Ok).then(|| operation.outcome.why().to_owned());
        events.push(event(operation.ended.max(operation.invoked), kind, value, None, error));
    }
    // Stable, so that what ends when the next thing of its process begins comes before that.
    events.sort_by_key(|event| event.time);
    (0..).zip(&mut events).for_each(|(index, event)| event.index = index);
    events
}

fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
}

fn paired(key: &str, value: &Value) -> Value {
    if key.is_empty() { value.clone() } else { Value::Array(vec![key.into(), value.clone()]) }
}

fn unpaired(value: Value) -> (String, Value) {
    match value {
        Value::Array(mut pair) if pair.len() == 2 && pair[0].is_string() => {
            let value = pair.pop().unwrap_or_default();
            let key = pair.pop().and_then(|key| key.as_str().map(str::to_owned)).unwrap_or_default();
            (key, value)
        }
        value => (String::new(), value),
    }
}

/// Numbers of processes as checkers want them: each does one thing at a time, and nothing after it did not learn how one ended.
struct Numbers {
    /// Until when each is busy; for ever, where nobody knows.
    busy: BTreeMap<u64, Duration>,
    taken: BTreeSet<u64>,
}

impl Numbers {
    fn of(operations: &[Operation]) -> Self {
        let taken = operations.iter().map(|operation| operation.process).collect();
        Numbers { busy: BTreeMap::new(), taken }
    }

    fn of_operation(&mut self, operation: &Operation) -> u64 {
        let mut process = operation.process;
        if self.busy.get(&process).is_some_and(|until| *until > operation.invoked) {
            process = self.taken.last().map_or(0, |last| last + 1);
            self.taken.insert(process);
        }
        let until = if operation.outcome.is_known() { operation.ended } else { Duration::MAX };
        self.busy.insert(process, until);
        process
    }
}

/// A JSON value as EDN.
fn edn(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Array(all) => format!("[{}]", all.iter().map(edn).collect::<Vec<_>>().join(" ")),
        Value::Object(all) => {
            let pairs =
                all.iter().map(|(key, value)| format!("{} {}", edn(&key.as_str().into()), edn(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        // Numbers, booleans and strings are written alike.
        other => other.to_string(),
    }
}

/// A name without what ends a keyword.
fn keyword(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "-_.*+!?".contains(c) { c } else { '-' };
    if name.is_empty() { "-".to_owned() } else { name.chars().map(plain).collect() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn both_forms_are_as_other_checkers_read_them() {
        let operations = [
            Operation::new("write", "x", ms(1)).by(3).asking(5).answered(ms(3), Value::Null),
            Operation::new("read", "", ms(2)).by(4).ended(ms(4), Outcome::TimedOut),
            Operation::new("look up", "y", ms(5))
                .by(4)
                .asking(json!({"a": [true, "b\"c"]}))
                .ended(ms(6), Outcome::Failed("409".to_owned())),
        ];
        let expected = r#"{:index 0, :time 1000000, :process 3, :type :invoke, :f :write, :value ["x" 5]}
{:index 1, :time 2000000, :process 4, :type :invoke, :f :read, :value nil}
{:index 2, :time 3000000, :process 3, :type :ok, :f :write, :value ["x" nil]}
{:index 3, :time 4000000, :process 4, :type :info, :f :read, :value nil, :error "no answer in time"}
{:index 4, :time 5000000, :process 5, :type :invoke, :f :look-up, :value ["y" {"a" [true "b\"c"]}]}
{:index 5, :time 6000000, :process 5, :type :fail, :f :look-up, :value ["y" {"a" [true "b\"c"]}], :error "409"}
"#;
        assert_eq!(to_edn(&operations), expected);
        let first = r#"{"index":0,"time":1000000,"process":3,"type":"invoke","f":"write","value":["x",5]}"#;
        assert_eq!(to_jsonl(&operations).lines().next(), Some(first));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let invoke = r#"{"index":0,"time":9,"process":1,"type":"invoke","f":"read","value":null}"#;
        let ok = |process: u64, time: u64, f: &str| {
            format!(r#"{{"index":1,"time":{time},"process":{process},"type":"ok","f":"{f}","value":1}}"#)
        };
        for (text, why) in [
            ("nonsense".to_owned(), "line 1 of the history is wrong: expected"),
            (format!("{invoke}\n\n{invoke}"), "line 3 of the history is wrong: process 1 has not ended"),
            (ok(1, 9, "read"), "process 1 has begun nothing that could end"),
            (format!("{invoke}\n{}", ok(1, 8, "read")), "it is earlier than the one before it"),
            (format!("{invoke}\n{}", ok(1, 9, "write")), "process 1 began read and ended write"),
            (invoke.replace("invoke", "begin"), "unknown variant `begin`"),
        ] {
            let error = from_jsonl(&text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(!from_jsonl(invoke).unwrap()[0].outcome.is_known());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(steps in prop::collection::vec((0_u64..5, 0_u64..9, 0_u64..9, 0_u64..4), 0..20)) {
            let mut now = Duration::ZERO;
            let operations: Vec<Operation> = steps
                .into_iter()
                .enumerate()
                .map(|(number, (wait, lasts, input, outcome))| {
                    let begin = now + Duration::from_nanos(wait);
                    now = begin + Duration::from_nanos(lasts);
                    let operation = Operation::new("cas", if outcome == 1 { "" } else { "x" }, begin).by(number as u64).asking(input);
                    match outcome {
                        0 => operation.answered(now, json!([input, null])),
                        1 => operation.ended(now, Outcome::TimedOut),
                        2 => operation.ended(now, Outcome::Unknown("reset".to_owned())),
                        _ => operation.ended(now, Outcome::Failed("no".to_owned())),
                    }
                })
                .collect();
            prop_assert_eq!(from_jsonl(&to_jsonl(&operations)).unwrap(), operations);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,100}") {
            let _ = from_jsonl(&text);
        }
    }
}
