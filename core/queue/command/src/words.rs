//! How times, numbers and other people's texts are written.

use std::time::{Duration, SystemTime};

use serde_json::Value;

/// A length of time in one unit, for people: `95s`, `12m`, `30h`, `4d`.
pub(crate) fn age(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// How long ago this was. The database's clock may be a little ahead of ours.
pub(crate) fn since(time: SystemTime) -> String {
    age(time.elapsed().unwrap_or_default())
}

/// When something is due.
pub(crate) fn until(time: SystemTime) -> String {
    match time.duration_since(SystemTime::now()) {
        Ok(left) => format!("in {}", age(left)),
        Err(_) => "now".to_owned(),
    }
}

/// How long something took: `0.4ms`, `12ms`, `1.5s`, and as an age from two minutes on.
pub(crate) fn took(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    match milliseconds {
        ..10.0 => format!("{milliseconds:.1}ms"),
        ..1_000.0 => format!("{milliseconds:.0}ms"),
        ..120_000.0 => format!("{:.1}s", time.as_secs_f64()),
        _ => age(time),
    }
}

/// A number per second.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second < 100.0 { format!("{per_second:.1}") } else { format!("{per_second:.0}") }
}

/// Jobs, which the queue counts up to 10,000.
pub(crate) fn count(jobs: u64) -> String {
    if jobs >= 10_000 { format!("{jobs}+") } else { jobs.to_string() }
}

/// One or many of something whose plural has an s.
pub(crate) fn many(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A time for programs.
pub(crate) fn rfc3339(time: SystemTime) -> Value {
    // Times before 1970 have no such form there, and a job has none.
    let time = time.max(SystemTime::UNIX_EPOCH);
    Value::String(humantime::format_rfc3339_micros(time).to_string())
}

/// As [`rfc3339`], or nothing.
pub(crate) fn maybe_rfc3339(time: Option<SystemTime>) -> Value {
    time.map_or(Value::Null, rfc3339)
}

/// Somebody else's text on one line, without what a terminal would take for an order.
pub(crate) fn line(text: &str) -> String {
    block(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Somebody else's text with its lines, without what a terminal would take for an order: escape sequences, and what turns the direction of writing around.
pub(crate) fn block(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown = |c: char| match c {
        '\n' => '\n',
        '\t' | '\r' => ' ',
        c if c.is_control() || turns(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit_and_few_digits() {
        let told =
            [0, 119, 120, 7_199, 7_200, 172_799, 172_800, 86_400 * 400].map(|s| age(Duration::from_secs(s)));
        assert_eq!(told, ["0s", "119s", "2m", "119m", "2h", "47h", "2d", "400d"]);
        let told = [300, 12_000, 1_500_000, 180_000_000].map(|micros| took(Duration::from_micros(micros)));
        assert_eq!(told, ["0.3ms", "12ms", "1.5s", "3m"]);
        assert_eq!((count(9_999).as_str(), count(10_000).as_str()), ("9999", "10000+"));
    }

    #[test]
    fn a_text_gives_a_terminal_no_orders() {
        assert_eq!(
            line("no such host\n\tat \x1b[2J\u{9b}31m \u{202e}x"),
            "no such host at \u{fffd}[2J\u{fffd}31m \u{fffd}x"
        );
        assert_eq!(block("a\r\nb\x07"), "a \nb\u{fffd}");
    }
}
