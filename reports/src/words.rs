//! Numbers and times as people read them.

use std::time::{Duration, UNIX_EPOCH};

use crate::resources::Unit;

/// A latency with three digits: `0.42 ms`, `12.3 ms`, `1.24 s`.
pub(crate) fn latency(latency: Duration) -> String {
    let ms = latency.as_secs_f64() * 1e3;
    match ms {
        _ if ms >= 100_000.0 => format!("{} s", (ms / 1e3).round()),
        _ if ms >= 9_995.0 => format!("{:.1} s", ms / 1e3),
        _ if ms >= 999.5 => format!("{:.2} s", ms / 1e3),
        _ if ms >= 99.95 => format!("{ms:.0} ms"),
        _ if ms >= 9.995 => format!("{ms:.1} ms"),
        _ => format!("{ms:.2} ms"),
    }
}

/// A latency that may be missing.
pub(crate) fn maybe(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "–".to_owned(), latency)
}

/// A moment of a scenario: `2.140 s`.
pub(crate) fn moment(at: Duration) -> String {
    format!("{:.3} s", at.as_secs_f64())
}

/// How long something lasted: `8.2 s`, `3 min 20 s`, `1 h 02 min`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=59 => format!("{:.1} s", duration.as_secs_f64()),
        60..=3599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A count with spaces between thousands: `1 204 312`. The spaces are narrow and don't break.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut spaced = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            spaced.push('\u{202f}');
        }
        spaced.push(digit);
    }
    spaced
}

/// One thing or several: `1 fault`, `2 faults`.
pub(crate) fn several(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A share in percent: `100 %` only when it is all, `0 %` only when it is none.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    match (part as f64 / whole as f64) * 100.0 {
        _ if part == 0 => "0 %".to_owned(),
        _ if part == whole => "100 %".to_owned(),
        percent if percent > 99.99 => "> 99.99 %".to_owned(),
        percent if percent < 0.01 => "< 0.01 %".to_owned(),
        percent => format!("{percent:.2} %"),
    }
}

/// A measured value with its unit.
pub(crate) fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => bytes(value),
        Unit::Share => format!("{:.1} %", value * 100.0),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Count if value.fract() == 0.0 && value.abs() < 1e15 => format!("{value:.0}"),
        Unit::Count => format!("{value:.2}"),
    }
}

fn bytes(bytes: f64) -> String {
    const KIB: f64 = 1024.0;
    for (scale, unit) in [(KIB * KIB * KIB, "GiB"), (KIB * KIB, "MiB"), (KIB, "KiB")] {
        if bytes >= scale {
            let number = format!("{:.1}", bytes / scale);
            return format!("{} {unit}", number.trim_end_matches(".0"));
        }
    }
    format!("{bytes:.0} B")
}

/// A moment in UTC, from seconds since the Unix epoch: `2026-03-01 12:00:05 UTC`.
pub(crate) fn date(since_epoch: u64) -> String {
    /// The end of the year 9999, after which dates have no common form.
    const LAST: u64 = 253_402_300_799;
    let at = UNIX_EPOCH + Duration::from_secs(since_epoch.min(LAST));
    humantime::format_rfc3339_seconds(at).to_string().replace('T', " ").replace('Z', " UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        let micros = |micros| latency(Duration::from_micros(micros));
        assert_eq!(
            [420, 12_345, 99_960, 999_700, 12_345_678, 123_456_789].map(micros),
            ["0.42 ms", "12.3 ms", "100 ms", "1.00 s", "12.3 s", "123 s"]
        );
        assert_eq!(
            [0, 999, 1_000, 1_204_312].map(count).join(" "),
            "0 999 1\u{202f}000 1\u{202f}204\u{202f}312"
        );
        assert_eq!(
            [8, 200, 3_725].map(|seconds| span(Duration::from_secs(seconds))),
            ["8.0 s", "3 min 20 s", "1 h 02 min"]
        );
        let percents = [(0, 9), (9, 9), (999_999, 1_000_000), (1, 1_000_000), (1, 3), (0, 0)];
        assert_eq!(
            percents.map(|(part, whole)| percent(part, whole)),
            ["0 %", "100 %", "> 99.99 %", "< 0.01 %", "33.33 %", "–"]
        );
        assert_eq!(date(1_700_000_000), "2023-11-14 22:13:20 UTC");
        assert_eq!(date(u64::MAX), "9999-12-31 23:59:59 UTC");
        assert_eq!(value(3.5 * 1024.0 * 1024.0, Unit::Bytes), "3.5 MiB");
        assert_eq!(value(100.0 * 1024.0, Unit::Bytes), "100 KiB");
    }
}
