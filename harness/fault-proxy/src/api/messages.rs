//! Faults on messages as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::{fields::Fields, refusal::Refusal};
use crate::{Action, Frame, MessageFault, Messages, Postgres, Redis, Stream, WebSocket, When, Which};

pub(super) const REDIS: &[&str] =
    &["command", "key", "action", "error", "delay", "when", "nth", "first", "at_most"];
pub(super) const POSTGRES: &[&str] =
    &["query", "message", "answer", "text", "action", "error", "delay", "when", "nth", "first", "at_most"];
pub(super) const WEBSOCKET: &[&str] =
    &["frame", "text", "action", "error", "delay", "when", "nth", "first", "at_most"];

const FRAMES: &[(&str, Frame)] = &[
    ("any", Frame::Any),
    ("text", Frame::Text),
    ("binary", Frame::Binary),
    ("close", Frame::Close),
    ("ping", Frame::Ping),
    ("pong", Frame::Pong),
];

/// Attributes of which a fault has one at most, so that a new one takes the old one's place.
const ALTERNATIVES: &[&[&str]] = &[&["nth", "first"], &["query", "message", "answer"]];

/// The stream of a fault on messages that names none.
pub(super) fn default_stream(type_name: &str, fields: &Fields) -> Option<Stream> {
    match type_name {
        "redis" => Some(Stream::Upstream),
        "postgres" if fields.has("answer") => Some(Stream::Downstream),
        "postgres" => Some(Stream::Upstream),
        "websocket" => Some(Stream::Downstream),
        _ => None,
    }
}

/// The attributes of a fault on messages that is there.
pub(super) fn attributes(fault: &MessageFault) -> Vec<(&'static str, Value)> {
    let mut attributes: Vec<(&'static str, Value)> = match &fault.messages {
        Messages::Redis(Redis { command, key }) => vec![("command", json!(command)), ("key", json!(key))],
        Messages::Postgres(Postgres::Query(query)) => vec![("query", json!(query))],
        Messages::Postgres(Postgres::Frontend { message, text }) => {
            vec![("message", json!(message)), ("text", json!(text))]
        }
        Messages::Postgres(Postgres::Backend { message, text }) => {
            vec![("answer", json!(message)), ("text", json!(text))]
        }
        Messages::WebSocket(WebSocket { frame, text }) => {
            vec![("frame", json!(frame_name(*frame))), ("text", json!(text))]
        }
    };
    attributes.push(("action", json!(fault.action.name())));
    match &fault.action {
        Action::Fail { error: Some(error) } => attributes.push(("error", json!(error))),
        Action::Delay(delay) => {
            attributes.push(("delay", json!(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))));
        }
        _ => {}
    }
    attributes.push((
        "when",
        json!(match fault.when {
            When::Before => "before",
            When::After => "after",
        }),
    ));
    match fault.which {
        Which::Every => {}
        Which::Nth(nth) => attributes.push(("nth", json!(nth))),
        Which::First(first) => attributes.push(("first", json!(first))),
    }
    if let Some(at_most) = fault.at_most {
        attributes.push(("at_most", json!(at_most)));
    }
    attributes
}

/// Makes a fault on the messages of this type's protocol; `None` when it is the type of something else.
pub(super) fn fault(type_name: &str, fields: &Fields) -> Result<Option<MessageFault>, Refusal> {
    let messages = match type_name {
        "redis" => Messages::Redis(Redis { command: text(fields, "command")?, key: text(fields, "key")? }),
        "postgres" => Messages::Postgres(postgres(fields)?),
        "websocket" => Messages::WebSocket(WebSocket {
            frame: one_of(fields, "frame", FRAMES)?.unwrap_or(Frame::Any),
            text: text(fields, "text")?,
        }),
        _ => return Ok(None),
    };
    let when = [("before", When::Before), ("after", When::After)];
    Ok(Some(MessageFault {
        messages,
        action: action(fields)?,
        when: one_of(fields, "when", &when)?.unwrap_or_default(),
        which: which(fields)?,
        at_most: fields.whole("at_most")?,
    }))
}

/// Removes what would contradict a newer attribute.
pub(super) fn make_room(fields: &mut Fields, newer: &Fields) {
    for alternatives in ALTERNATIVES {
        if alternatives.iter().any(|name| newer.has(name)) {
            alternatives.iter().for_each(|name| fields.remove(name));
        }
    }
    if newer.has("query") {
        fields.remove("text");
    }
    if newer.has("action") {
        fields.remove("error");
        fields.remove("delay");
    }
}

fn postgres(fields: &Fields) -> Result<Postgres, Refusal> {
    let (query, message, answer) = (fields.text("query")?, fields.text("message")?, fields.text("answer")?);
    let starts_with = text(fields, "text")?;
    match (query, message, answer) {
        (query, None, None) if starts_with.is_empty() => Ok(Postgres::query(query.unwrap_or_default())),
        (None, Some(message), None) => Ok(Postgres::message(message).starting_with(starts_with)),
        (None, None, Some(answer)) => Ok(Postgres::answer(answer).starting_with(starts_with)),
        (_, None, None) => Err(Refusal::bad_body("`text` goes with `message` or `answer`")),
        _ => Err(Refusal::bad_body("only one of `query`, `message` and `answer` can be there")),
    }
}

fn action(fields: &Fields) -> Result<Action, Refusal> {
    let (name, error, delay) = (fields.text("action")?, fields.text("error")?, fields.whole("delay")?);
    let name = name.unwrap_or("fail");
    if error.is_some() && name != "fail" {
        return Err(Refusal::bad_body("`error` goes with the action fail"));
    }
    if delay.is_some() && name != "delay" {
        return Err(Refusal::bad_body("`delay` goes with the action delay"));
    }
    match name {
        "fail" => Ok(Action::Fail { error: error.map(str::to_owned) }),
        "delay" => Ok(Action::Delay(Duration::from_millis(delay.unwrap_or_default()))),
        "cut" => Ok(Action::Cut),
        "drop" => Ok(Action::Drop),
        "duplicate" => Ok(Action::Duplicate),
        "reorder" => Ok(Action::Reorder),
        other => Err(Refusal::bad_body(format!(
            "`action` must be fail, delay, cut, drop, duplicate or reorder, not {other:.40?}"
        ))),
    }
}

fn which(fields: &Fields) -> Result<Which, Refusal> {
    match (fields.whole("nth")?, fields.whole("first")?) {
        (None, None) => Ok(Which::Every),
        (Some(nth), None) => Ok(Which::Nth(nth)),
        (None, Some(first)) => Ok(Which::First(first)),
        (Some(_), Some(_)) => Err(Refusal::bad_body("only one of `nth` and `first` can be there")),
    }
}

fn text(fields: &Fields, name: &str) -> Result<String, Refusal> {
    Ok(fields.text(name)?.unwrap_or_default().to_owned())
}

fn one_of<T: Copy>(fields: &Fields, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, Refusal> {
    let Some(text) = fields.text(name)? else { return Ok(None) };
    let found = choices.iter().find(|(choice, _)| *choice == text).map(|&(_, value)| value);
    found.map(Some).ok_or_else(|| {
        let choices: Vec<&str> = choices.iter().map(|&(choice, _)| choice).collect();
        Refusal::bad_body(format!("`{name}` must be one of {}, not {text:.40?}", choices.join(", ")))
    })
}

fn frame_name(frame: Frame) -> &'static str {
    FRAMES.iter().find(|(_, known)| *known == frame).map_or("any", |&(name, _)| name)
}
