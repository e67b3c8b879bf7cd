//! The messages of profile.proto that a CPU profile needs: <https://github.com/google/pprof/blob/main/proto/profile.proto>.

use std::{collections::HashMap, time::UNIX_EPOCH};

use prost::Message;

use super::cpu::{CpuProfile, Frame};

#[derive(Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Message)]
struct Sample {
    /// The innermost location comes first.
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    text: i64,
}

#[derive(Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

pub(super) fn encode(profile: &CpuProfile) -> Vec<u8> {
    let mut tables = Tables::new();
    let period = 1_000_000_000 / i64::from(profile.frequency);
    let mut message = Profile {
        sample_type: vec![tables.value_type("samples", "count"), tables.value_type("cpu", "nanoseconds")],
        period_type: Some(tables.value_type("cpu", "nanoseconds")),
        period,
        time_nanos: profile.began.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as i64),
        duration_nanos: profile.time.as_nanos() as i64,
        ..Profile::default()
    };
    let key = tables.text("thread");
    for (stack, count) in &profile.stacks {
        let count = *count as i64;
        message.sample.push(Sample {
            location_id: stack.frames.iter().rev().map(|frame| tables.location(frame)).collect(),
            value: vec![count, count * period],
            label: vec![Label { key, text: tables.text(&stack.thread) }],
        });
    }
    (message.location, message.function) = (tables.locations, tables.functions);
    message.string_table = tables.texts;
    message.encode_to_vec()
}

/// What a profile says once and refers to by number. Text 0 is empty; ids begin with 1.
struct Tables {
    texts: Vec<String>,
    text_numbers: HashMap<String, i64>,
    functions: Vec<Function>,
    function_ids: HashMap<(i64, i64), u64>,
    locations: Vec<Location>,
    location_ids: HashMap<(u64, u32), u64>,
}

impl Tables {
    fn new() -> Self {
        let mut tables = Tables {
            texts: Vec::new(),
            text_numbers: HashMap::new(),
            functions: Vec::new(),
            function_ids: HashMap::new(),
            locations: Vec::new(),
            location_ids: HashMap::new(),
        };
        tables.text("");
        tables
    }

    fn text(&mut self, text: &str) -> i64 {
        if let Some(number) = self.text_numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as i64;
        self.texts.push(text.to_owned());
        self.text_numbers.insert(text.to_owned(), number);
        number
    }

    fn value_type(&mut self, kind: &str, unit: &str) -> ValueType {
        ValueType { kind: self.text(kind), unit: self.text(unit) }
    }

    fn location(&mut self, frame: &Frame) -> u64 {
        let (name, filename) = (self.text(&frame.function), self.text(&frame.file));
        let functions = &mut self.functions;
        let function_id = *self.function_ids.entry((name, filename)).or_insert_with(|| {
            let id = functions.len() as u64 + 1;
            functions.push(Function { id, name, system_name: name, filename });
            id
        });
        let locations = &mut self.locations;
        *self.location_ids.entry((function_id, frame.line)).or_insert_with(|| {
            let id = locations.len() as u64 + 1;
            locations.push(Location { id, line: vec![Line { function_id, line: frame.line.into() }] });
            id
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        time::{Duration, SystemTime},
    };

    use super::*;
    use crate::profiles::cpu::Stack;

    #[test]
    fn a_reader_finds_each_function_by_its_number() {
        let frame =
            |function: &str, line| Frame { function: function.into(), file: "src/main.rs".into(), line };
        let stack = |frames: Vec<Frame>| Stack { thread: "worker".into(), frames };
        let stacks = BTreeMap::from([
            (stack(vec![frame("main", 1), frame("busy", 7)]), 3),
            (stack(vec![frame("main", 1), frame("busy", 8)]), 2),
        ]);
        let profile =
            CpuProfile { stacks, began: SystemTime::now(), time: Duration::from_secs(2), frequency: 100 };
        let read = Profile::decode(&*encode(&profile)).unwrap();
        let text = |number: i64| read.string_table[number as usize].as_str();
        assert_eq!(text(0), "");
        let named = |id: &u64| {
            let line = &read.location[*id as usize - 1].line[0];
            (text(read.function[line.function_id as usize - 1].name), line.line)
        };
        let samples: Vec<(Vec<_>, _)> = read
            .sample
            .iter()
            .map(|sample| (sample.location_id.iter().map(named).collect(), &*sample.value))
            .collect();
        assert_eq!(
            samples,
            [
                (vec![("busy", 7), ("main", 1)], &[3i64, 30_000_000][..]),
                (vec![("busy", 8), ("main", 1)], &[2, 20_000_000][..]),
            ]
        );
        let units: Vec<_> = read.sample_type.iter().map(|kind| (text(kind.kind), text(kind.unit))).collect();
        assert_eq!(units, [("samples", "count"), ("cpu", "nanoseconds")]);
        assert_eq!((read.function.len(), read.location.len()), (2, 3));
        assert_eq!(text(read.sample[0].label[0].text), "worker");
    }
}
