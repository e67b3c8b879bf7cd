//! The types of toxics and their attributes as JSON.

use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{fields::Fields, messages, refusal::Refusal};
use crate::{Stream, ToxicKind};

/// The toxics of Toxiproxy. Attributes that they don't have are ignored, as clients expect.
const TOXIPROXY: &[&str] =
    &["latency", "bandwidth", "slow_close", "timeout", "reset_peer", "slicer", "limit_data", "noop"];

/// The toxics that only this proxy has, each with its attributes. Others are refused: a misspelled one must not be silence.
const OURS: &[(&str, &[&str])] = &[
    ("stall", &["share", "pause"]),
    ("corrupt", &["rate"]),
    ("blackhole", &[]),
    ("refuse", &[]),
    ("half_open", &["timeout"]),
    ("redis", messages::REDIS),
    ("postgres", messages::POSTGRES),
    ("websocket", messages::WEBSOCKET),
];

/// The pause of a stall that names none.
const PAUSE: Duration = Duration::from_millis(200);

/// The attributes of a toxic, in their usual order.
#[derive(Debug)]
pub(super) struct Attributes(Vec<(&'static str, Value)>);

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// The type of this name.
pub(super) fn known_type(name: &str) -> Option<&'static str> {
    let ours = OURS.iter().map(|(known, _)| known);
    TOXIPROXY.iter().chain(ours).copied().find(|known| *known == name)
}

/// The stream of a toxic that names none.
pub(super) fn default_stream(type_name: &str, attributes: &Fields) -> Stream {
    messages::default_stream(type_name, attributes).unwrap_or(Stream::Downstream)
}

/// The attributes of a toxic that is there.
pub(super) fn of(kind: &ToxicKind) -> Attributes {
    Attributes(match kind {
        ToxicKind::Latency { latency, jitter } => {
            vec![("latency", millis(*latency)), ("jitter", millis(*jitter))]
        }
        ToxicKind::Bandwidth { rate } => vec![("rate", json!(rate))],
        ToxicKind::SlowClose { delay } => vec![("delay", millis(*delay))],
        ToxicKind::Timeout { timeout }
        | ToxicKind::ResetPeer { timeout }
        | ToxicKind::HalfOpen { timeout } => vec![("timeout", millis(*timeout))],
        ToxicKind::Slicer { average_size, size_variation, delay } => vec![
            ("average_size", json!(average_size)),
            ("size_variation", json!(size_variation)),
            ("delay", json!(whole(delay.as_micros()))),
        ],
        ToxicKind::LimitData { bytes } => vec![("bytes", json!(bytes))],
        ToxicKind::Stall { share, pause } => vec![("share", json!(share)), ("pause", millis(*pause))],
        ToxicKind::Corrupt { rate } => vec![("rate", json!(rate))],
        ToxicKind::Message(fault) => messages::attributes(fault),
        ToxicKind::Blackhole | ToxicKind::Refuse | ToxicKind::Noop => Vec::new(),
    })
}

/// Makes a toxic of this type; attributes that are not there have their defaults.
pub(super) fn kind(type_name: &str, fields: &Fields) -> Result<ToxicKind, Refusal> {
    refuse_unknown(type_name, fields)?;
    let whole = |name| fields.whole(name).map(Option::unwrap_or_default);
    let share = |name| fields.number(name).map(Option::unwrap_or_default);
    let millis = |name| whole(name).map(Duration::from_millis);
    Ok(match type_name {
        "latency" => ToxicKind::Latency { latency: millis("latency")?, jitter: millis("jitter")? },
        "bandwidth" => ToxicKind::Bandwidth { rate: whole("rate")? },
        "slow_close" => ToxicKind::SlowClose { delay: millis("delay")? },
        "timeout" => ToxicKind::Timeout { timeout: millis("timeout")? },
        "reset_peer" => ToxicKind::ResetPeer { timeout: millis("timeout")? },
        "slicer" => ToxicKind::Slicer {
            average_size: whole("average_size")?,
            size_variation: whole("size_variation")?,
            delay: whole("delay").map(Duration::from_micros)?,
        },
        "limit_data" => ToxicKind::LimitData { bytes: whole("bytes")? },
        "stall" => ToxicKind::Stall {
            share: share("share")?,
            pause: fields.whole("pause")?.map_or(PAUSE, Duration::from_millis),
        },
        "corrupt" => ToxicKind::Corrupt { rate: share("rate")? },
        "blackhole" => ToxicKind::Blackhole,
        "refuse" => ToxicKind::Refuse,
        "half_open" => ToxicKind::HalfOpen { timeout: millis("timeout")? },
        "noop" => ToxicKind::Noop,
        _ => match messages::fault(type_name, fields)? {
            Some(fault) => ToxicKind::Message(fault),
            None => return Err(Refusal::bad("invalid toxic type")),
        },
    })
}

/// Changes the attributes that are mentioned and keeps the others.
pub(super) fn changed(old: &ToxicKind, newer: &Fields) -> Result<ToxicKind, Refusal> {
    let mut fields: Fields = of(old).0.into_iter().collect();
    messages::make_room(&mut fields, newer);
    fields.overlay(newer);
    kind(old.type_name(), &fields)
}

fn refuse_unknown(type_name: &str, fields: &Fields) -> Result<(), Refusal> {
    let Some((_, known)) = OURS.iter().find(|(ours, _)| *ours == type_name) else { return Ok(()) };
    let Some(unknown) = fields.other_than(known) else { return Ok(()) };
    let has = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(Refusal::bad_body(format!(
        "toxics of type {type_name} have no attribute `{unknown:.64}`; they have {has}"
    )))
}

fn millis(duration: Duration) -> Value {
    json!(whole(duration.as_millis()))
}

fn whole(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
