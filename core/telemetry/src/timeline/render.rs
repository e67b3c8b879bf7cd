//! Timelines to be read: as text, and in the trace event format of Chrome's tools.

use std::{
    fmt::Write as _,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{Entry, Kind, Timeline};

/// How many columns the bars have.
const WIDTH: usize = 40;
/// How much of a statement fits into a line, in characters.
const MAX_SHOWN: usize = 120;

impl Timeline {
    /// A waterfall: a line for each entry, with a bar for when it ran, indented by the spans that it lies in.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let Timeline { name, status, request_id, trace_id, .. } = self;
        // Writing to a string can't fail.
        _ = writeln!(text, "{}  {}  {}", clean(name), clean(status), milliseconds(self.time));
        _ = writeln!(text, "request {request_id}  trace {trace_id}");
        _ = writeln!(text, "{:>12} {:>12}", "start", "time");
        for entry in &self.entries {
            _ = writeln!(
                text,
                "{:>12} {:>12} |{}| {:indent$}{}",
                milliseconds(entry.start),
                match entry.kind {
                    Kind::Mark => String::new(),
                    _ => milliseconds(entry.time),
                },
                self.bar(entry),
                "",
                label(entry),
                indent = entry.depth * 2,
            );
        }
        if self.left_out > 0 {
            _ = writeln!(text, "{:>12} more that there was no room for", self.left_out);
        }
        text
    }

    /// The trace event format (JSON object form), which Perfetto and `about:tracing` open:
    /// <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>. Times are microseconds.
    pub fn to_chrome(&self) -> Value {
        let mut events = vec![
            json!({"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": self.name}}),
            json!({
                "ph": "X", "cat": "work", "name": self.name, "pid": 1, "tid": 0,
                "ts": 0.0, "dur": microseconds(self.time), "args": {"status": self.status},
            }),
        ];
        for (entry, lane) in self.entries.iter().zip(self.lanes()) {
            let (name, start, detail) = (&*entry.name, microseconds(entry.start), &entry.detail);
            let duration = microseconds(entry.time);
            events.push(match &entry.kind {
                Kind::Span { busy, ended } => json!({
                    "ph": "X", "cat": "span", "name": name, "pid": 1, "tid": lane, "ts": start, "dur": duration,
                    "args": {"module": detail, "busy_us": microseconds(*busy), "ended": ended},
                }),
                Kind::Statement { rows_returned, rows_affected } => json!({
                    "ph": "X", "cat": "statement", "name": name, "pid": 1, "tid": lane, "ts": start, "dur": duration,
                    "args": {"caller": detail, "rows_returned": rows_returned, "rows_affected": rows_affected},
                }),
                Kind::Mark => json!({
                    "ph": "i", "s": "t", "cat": "mark", "name": name, "pid": 1, "tid": lane, "ts": start,
                }),
            });
        }
        let began = self.began.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        json!({
            "traceEvents": events,
            "displayTimeUnit": "ms",
            "otherData": {
                "name": self.name, "status": self.status, "request_id": self.request_id, "trace_id": self.trace_id,
                "span_id": self.span_id, "began_unix_ms": began, "left_out": self.left_out,
            },
        })
    }

    fn bar(&self, entry: &Entry) -> String {
        let whole = self.time.as_nanos().max(1);
        let column = |at: Duration| ((at.as_nanos() * WIDTH as u128 / whole) as usize).min(WIDTH);
        let first = column(entry.start).min(WIDTH - 1);
        let last = column(entry.start + entry.time).clamp(first + 1, WIDTH);
        let (letter, last) = if entry.kind == Kind::Mark { ("◆", first + 1) } else { ("█", last) };
        format!("{}{}{}", " ".repeat(first), letter.repeat(last - first), " ".repeat(WIDTH - last))
    }

    /// On which thread a viewer shows each entry: on one, each lies within the one that it begins in, so what overlaps needs another.
    fn lanes(&self) -> Vec<usize> {
        let mut lanes: Vec<Vec<Duration>> = vec![vec![self.time]];
        let place = |entry: &Entry| {
            let end = entry.start + entry.time;
            for (number, lane) in lanes.iter_mut().enumerate() {
                lane.retain(|other| *other > entry.start);
                if lane.last().is_none_or(|outer| end <= *outer) {
                    lane.push(end);
                    return number;
                }
            }
            lanes.push(vec![end]);
            lanes.len() - 1
        };
        self.entries.iter().map(place).collect()
    }
}

fn label(entry: &Entry) -> String {
    let name = clean(&entry.name);
    let short = match name.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    };
    match &entry.kind {
        Kind::Span { ended: false, .. } => format!("{short} (not ended)"),
        Kind::Span { .. } | Kind::Mark => short,
        Kind::Statement { rows_returned, rows_affected } => {
            let rows = match (*rows_returned).max(*rows_affected) {
                1 => "1 row".to_owned(),
                rows => format!("{rows} rows"),
            };
            match &entry.detail {
                Some(caller) => format!("{short} ({rows}, from {caller})"),
                None => format!("{short} ({rows})"),
            }
        }
    }
}

/// Nothing of a name moves a terminal's cursor.
fn clean(name: &str) -> String {
    name.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
}

fn microseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn entry(kind: Kind, name: &str, start: u64, time: u64, depth: usize) -> Entry {
        Entry { kind, name: name.into(), start: ms(start), time: ms(time), depth, detail: None }
    }

    fn timeline() -> Timeline {
        let span = |ended| Kind::Span { busy: ms(1), ended };
        let statement = Kind::Statement { rows_returned: 1, rows_affected: 1 };
        Timeline {
            name: "GET /orders".into(),
            request_id: "order-42".into(),
            trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
            span_id: "b7ad6b7169203331".into(),
            status: "200".into(),
            began: UNIX_EPOCH + Duration::from_secs(1),
            time: ms(100),
            entries: vec![
                entry(span(true), "list", 0, 90, 0),
                entry(Kind::Mark, "cache\u{1b}[31m miss", 10, 0, 1),
                Entry {
                    detail: Some("src/orders.rs:12 (shop::list)".into()),
                    ..entry(statement.clone(), "select * from orders", 20, 40, 1)
                },
                entry(statement, "select 1", 50, 30, 1),
                entry(span(false), "answer", 95, 5, 0),
            ],
            left_out: 3,
        }
    }

    #[test]
    fn a_waterfall_shows_what_ran_when() {
        insta::assert_snapshot!(timeline().to_text(), @"
        GET /orders  200  100.000 ms
        request order-42  trace 0af7651916cd43dd8448eb211c80319c
               start         time
            0.000 ms    90.000 ms |████████████████████████████████████    | list
           10.000 ms              |    ◆                                   |   cache [31m miss
           20.000 ms    40.000 ms |        ████████████████                |   select * from orders (1 row, from src/orders.rs:12 (shop::list))
           50.000 ms    30.000 ms |                    ████████████        |   select 1 (1 row)
           95.000 ms     5.000 ms |                                      ██| answer (not ended)
                   3 more that there was no room for
        ");
    }

    #[test]
    fn on_one_lane_each_entry_lies_within_the_one_that_it_begins_in() {
        assert_eq!(timeline().lanes(), [0, 0, 0, 1, 0]);
        let chrome = timeline().to_chrome();
        let events = chrome["traceEvents"].as_array().unwrap();
        assert_eq!(events.len(), 2 + timeline().entries.len());
        assert_eq!((&events[4]["ts"], &events[4]["dur"]), (&json!(20_000.0), &json!(40_000.0)));
        assert_eq!(events[4]["args"]["caller"], "src/orders.rs:12 (shop::list)");
        assert_eq!(chrome["otherData"]["request_id"], "order-42");
    }
}
