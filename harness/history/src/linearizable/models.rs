//! The objects that most services promise to be like.

use std::collections::{BTreeSet, VecDeque};

use serde_json::Value;

use super::model::Model;
use crate::Operation;

fn foreign<T>(model: &str, operation: &Operation, known: &str) -> Result<T, String> {
    let kind = &operation.kind;
    Err(format!("a {model} has no operation `{kind}` with such an input: {operation}; it has {known}"))
}

/// A register, null in the beginning: `write` of an input, `read` that tells the value, `cas` of an input `[from, to]` that tells whether it took place
/// (an output of `false`, else it did).
#[derive(Debug, Clone, Copy, Default)]
pub struct Register;

impl Model for Register {
    type State = Value;

    fn start(&self) -> Value {
        Value::Null
    }

    fn step(&self, state: &Value, operation: &Operation, answered: bool) -> Result<Option<Value>, String> {
        match (operation.kind.as_str(), &operation.input) {
            ("write", input) => Ok(Some(input.clone())),
            ("read", _) if !answered || operation.output == *state => Ok(Some(state.clone())),
            ("read", _) => Ok(None),
            ("cas", Value::Array(pair)) if pair.len() == 2 => {
                let fits = *state == pair[0];
                let told = operation.output != Value::Bool(false);
                Ok(match (fits, answered) {
                    (true, false) => Some(pair[1].clone()),
                    (false, false) => Some(state.clone()),
                    (fits, true) if fits == told => Some(if fits { pair[1].clone() } else { state.clone() }),
                    _ => None,
                })
            }
            _ => foreign("register", operation, "write, read, and cas of [from, to]"),
        }
    }
}

/// A set, empty in the beginning: `add` and `remove` of an input, `contains` of an input that tells yes or no, `read` that tells all elements.
#[derive(Debug, Clone, Copy, Default)]
pub struct Set;

impl Model for Set {
    type State = BTreeSet<String>;

    fn start(&self) -> Self::State {
        BTreeSet::new()
    }

    fn step(
        &self,
        state: &Self::State,
        operation: &Operation,
        answered: bool,
    ) -> Result<Option<Self::State>, String> {
        let element = || operation.input.to_string();
        let fits = match (operation.kind.as_str(), &operation.output) {
            ("add", _) => {
                let mut state = state.clone();
                state.insert(element());
                return Ok(Some(state));
            }
            ("remove", _) => {
                let mut state = state.clone();
                state.remove(&element());
                return Ok(Some(state));
            }
            ("contains" | "read", _) if !answered => true,
            ("contains", Value::Bool(told)) => state.contains(&element()) == *told,
            ("read", Value::Array(all)) => {
                all.iter().map(Value::to_string).collect::<BTreeSet<_>>() == *state
                    && all.len() == state.len()
            }
            _ => {
                return foreign("set", operation, "add, remove, contains (true or false), and read (a list)");
            }
        };
        Ok(fits.then(|| state.clone()))
    }
}

/// A counter, 0 in the beginning: `add` of a whole number (1 without an input), `read` that tells the sum.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counter;

impl Model for Counter {
    type State = i64;

    fn start(&self) -> i64 {
        0
    }

    fn step(&self, state: &i64, operation: &Operation, answered: bool) -> Result<Option<i64>, String> {
        match (operation.kind.as_str(), &operation.input) {
            ("add", Value::Null) => Ok(Some(state.wrapping_add(1))),
            ("add", Value::Number(number)) if number.is_i64() => {
                Ok(Some(state.wrapping_add(number.as_i64().unwrap_or_default())))
            }
            ("read", _) => Ok((!answered || operation.output.as_i64() == Some(*state)).then_some(*state)),
            _ => foreign("counter", operation, "add of a whole number, and read"),
        }
    }
}

/// A queue, empty in the beginning, first in and first out: `enqueue` of an input, `dequeue` that tells the element, or null when there was none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Queue;

impl Model for Queue {
    type State = VecDeque<Value>;

    fn start(&self) -> Self::State {
        VecDeque::new()
    }

    fn step(
        &self,
        state: &Self::State,
        operation: &Operation,
        answered: bool,
    ) -> Result<Option<Self::State>, String> {
        let mut state = state.clone();
        match operation.kind.as_str() {
            "enqueue" => state.push_back(operation.input.clone()),
            "dequeue" => {
                let first = state.pop_front().unwrap_or_default();
                if answered && first != operation.output {
                    return Ok(None);
                }
            }
            _ => return foreign("queue", operation, "enqueue and dequeue"),
        }
        Ok(Some(state))
    }
}

/// A lock, free in the beginning: `acquire` and `release`, each by the client that the operation names. Who tries in vain is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lock;

impl Model for Lock {
    type State = Option<u64>;

    fn start(&self) -> Self::State {
        None
    }

    fn step(
        &self,
        state: &Self::State,
        operation: &Operation,
        answered: bool,
    ) -> Result<Option<Self::State>, String> {
        let me = operation.process;
        Ok(match (operation.kind.as_str(), *state) {
            ("acquire", None) => Some(Some(me)),
            ("release", Some(holder)) if holder == me => Some(None),
            // Without an answer, it may have been in vain.
            ("acquire" | "release", _) if !answered => Some(*state),
            ("acquire" | "release", _) => None,
            _ => return foreign("lock", operation, "acquire and release"),
        })
    }
}
