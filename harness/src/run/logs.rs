//! When a service wrote a line of its log, by the time that the line begins with.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use seaworthy_reports::LogLine;

use crate::Stack;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What every service of the stack has logged since this moment, which is the scenario's start.
pub(super) async fn since(stack: &Stack, start: SystemTime) -> Vec<LogLine> {
    let start = start.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut all = Vec::new();
    for service in stack.all() {
        all.extend(timed(&service.lines("").await, service.name(), start));
    }
    all
}

/// The lines with their times from the start; one without a time belongs to the line before it. What came before the start is left out.
fn timed(lines: &[String], service: &str, start: Duration) -> Vec<LogLine> {
    let mut now = None;
    let timed = lines.iter().filter_map(|line| {
        now = written_at(line).or(now);
        let at = now?.checked_sub(start)?;
        Some(LogLine { at, service: service.to_owned(), line: line.clone() })
    });
    timed.collect()
}

/// The time since the Unix epoch in UTC: `2026-01-02T03:04:05.678Z` of the shop, `2026-01-02 03:04:05.678 UTC` of Postgres, and `12:M 02 Jan 2026
/// 03:04:05.678` of Redis, which names no zone.
fn written_at(line: &str) -> Option<Duration> {
    let mut words = line.split_ascii_whitespace();
    let first = words.next()?;
    if let Some((date, time)) = first.split_once('T') {
        return moment(date, time.strip_suffix('Z')?);
    }
    if first.split('-').count() == 3 {
        let (time, zone) = (words.next()?, words.next()?);
        return ["UTC", "GMT"].contains(&zone).then(|| moment(first, time))?;
    }
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    moment(&format!("{year}-{month:02}-{day}"), time)
}

/// A date and a time of day, as the time since the Unix epoch.
fn moment(date: &str, time: &str) -> Option<Duration> {
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = clock.split(':').map(|part| part.parse::<u64>().ok());
    let (hours, minutes, seconds) = (clock.next()??, clock.next()??, clock.next()??);
    let fraction: f64 = format!("0.{fraction}").parse().ok()?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hours > 24
    {
        return None;
    }
    // Days from the civil calendar (Howard Hinnant, "chrono-compatible low-level date algorithms"): years begin in March.
    let years = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (years / 400, years % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = u64::try_from(days).ok()? * 86_400 + hours * 3_600 + minutes * 60 + seconds;
    Some(Duration::from_secs(seconds) + Duration::from_secs_f64(fraction.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_every_service_are_timed_by_what_they_begin_with() {
        let start = Duration::from_secs(1_767_323_045);
        let at = |line: &str| written_at(line).map(|at| at.as_millis() as i128 - start.as_millis() as i128);
        assert_eq!(at("2026-01-02T03:04:05.678Z  INFO shop: an order was read"), Some(678));
        assert_eq!(at("2026-01-02 03:04:06.000 UTC [12] shop LOG:  checkpoint starting"), Some(1_000));
        assert_eq!(at("12:M 02 Jan 2026 03:04:05.250 * Ready to accept connections"), Some(250));
        assert_eq!(at("2024-02-29T00:00:00Z"), Some(1_709_164_800_000 - start.as_millis() as i128));
        for line in [
            "",
            "    at src/main.rs:5",
            "2026-01-02 03:04:06.000 CET [12] LOG:",
            "1:M 02 Foo 2026 03:04:05",
            "T",
            "--Z x y z",
        ] {
            assert_eq!(at(line), None, "{line}");
        }
    }

    #[test]
    fn a_line_without_a_time_belongs_to_the_one_before_and_what_came_before_the_start_is_left_out() {
        let lines =
            ["2026-01-02T03:04:04Z early", "  also early", "2026-01-02T03:04:07Z panicked", "  at main.rs"];
        let kept = timed(&lines.map(str::to_owned), "shop", Duration::from_secs(1_767_323_045));
        let kept: Vec<_> = kept.iter().map(|line| (line.at.as_secs(), line.line.as_str())).collect();
        assert_eq!(kept, [(2, "2026-01-02T03:04:07Z panicked"), (2, "  at main.rs")]);
    }
}
