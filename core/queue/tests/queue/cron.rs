//! When periodic jobs are due, above all when clocks change.

use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use proptest::prelude::*;
use seaworthy_queue::{Cron, CronError};

fn cron(expression: &str, zone: &str) -> Cron {
    expression.parse::<Cron>().unwrap().in_zone(zone).unwrap()
}

fn time(text: &str) -> SystemTime {
    SystemTime::try_from(text.parse::<Timestamp>().unwrap()).unwrap()
}

/// When an expression is due after a moment, as local times with their offsets.
fn check(expression: &str, zone: &str, after: &str, expected: &[&str]) {
    let found: Vec<String> = cron(expression, zone)
        .upcoming(time(after))
        .take(expected.len())
        .map(|at| {
            let at = Timestamp::try_from(at).unwrap().to_zoned_datetime(TimeZone::get(zone).unwrap());
            at.strftime("%m-%d %H:%M:%S%:z").to_string()
        })
        .collect();
    assert_eq!(found, expected, "`{expression}` in {zone} after {after}");
}

const STOCKHOLM: &str = "Europe/Stockholm";
const NEW_YORK: &str = "America/New_York";
const LORD_HOWE: &str = "Australia/Lord_Howe";
const KATHMANDU: &str = "Asia/Kathmandu";

#[test]
fn a_time_of_the_day_that_is_skipped_comes_when_the_clock_goes_on() {
    let before = "2026-03-28T12:00:00Z";
    check("30 2 * * *", STOCKHOLM, before, &["03-29 03:00:00+02:00", "03-30 02:30:00+02:00"]);
    // What falls into the same gap, or on its end, is one run.
    check("0,30 2 * * *", STOCKHOLM, before, &["03-29 03:00:00+02:00", "03-30 02:00:00+02:00"]);
    check("0 2,3 * * *", STOCKHOLM, before, &["03-29 03:00:00+02:00", "03-30 02:00:00+02:00"]);
    check("59 1 * * *", STOCKHOLM, before, &["03-29 01:59:00+01:00", "03-30 01:59:00+02:00"]);
    check("30 2 * * *", NEW_YORK, "2026-03-07T12:00:00Z", &["03-08 03:00:00-04:00", "03-09 02:30:00-04:00"]);
    // Lord Howe skips half an hour.
    check("15 2 * * *", LORD_HOWE, "2026-10-03T12:00:00Z", &["10-04 02:30:00+11:00", "10-05 02:15:00+11:00"]);
    check("45 2 * * *", LORD_HOWE, "2026-10-03T12:00:00Z", &["10-04 02:45:00+11:00", "10-05 02:45:00+11:00"]);
}

#[test]
fn a_time_of_the_day_that_comes_twice_is_taken_the_first_time() {
    let before = "2026-10-24T12:00:00Z";
    check("30 2 * * *", STOCKHOLM, before, &["10-25 02:30:00+02:00", "10-26 02:30:00+01:00"]);
    check("0 3 * * *", STOCKHOLM, before, &["10-25 03:00:00+01:00", "10-26 03:00:00+01:00"]);
    check("30 1 * * *", NEW_YORK, "2026-10-31T12:00:00Z", &["11-01 01:30:00-04:00", "11-02 01:30:00-05:00"]);
    check("45 1 * * *", LORD_HOWE, "2026-04-04T00:00:00Z", &["04-05 01:45:00+11:00", "04-06 01:45:00+10:30"]);
    // Also when somebody asks between the two.
    check("30 2 * * *", STOCKHOLM, "2026-10-25T00:45:00Z", &["10-26 02:30:00+01:00"]);
    check("30 2 * * *", STOCKHOLM, "2026-10-25T01:10:00Z", &["10-26 02:30:00+01:00"]);
}

#[test]
fn intervals_follow_the_time_that_passes() {
    check(
        "*/30 * * * *",
        STOCKHOLM,
        "2026-03-29T00:15:00Z",
        &["03-29 01:30:00+01:00", "03-29 03:00:00+02:00", "03-29 03:30:00+02:00"],
    );
    check(
        "*/30 * * * *",
        STOCKHOLM,
        "2026-10-24T23:45:00Z",
        &[
            "10-25 02:00:00+02:00",
            "10-25 02:30:00+02:00",
            "10-25 02:00:00+01:00",
            "10-25 02:30:00+01:00",
            "10-25 03:00:00+01:00",
        ],
    );
    check("@hourly", NEW_YORK, "2026-03-08T06:30:00Z", &["03-08 03:00:00-04:00", "03-08 04:00:00-04:00"]);
    check(
        "*/15 * * * *",
        LORD_HOWE,
        "2026-04-04T14:40:00Z",
        &["04-05 01:45:00+11:00", "04-05 01:30:00+10:30", "04-05 01:45:00+10:30", "04-05 02:00:00+10:30"],
    );
}

#[test]
fn zones_without_changes_and_with_odd_offsets_are_even() {
    check("0 0 * * *", KATHMANDU, "2026-03-28T12:00:00Z", &["03-29 00:00:00+05:45", "03-30 00:00:00+05:45"]);
    check("@daily", "UTC", "2026-03-28T12:00:00Z", &["03-29 00:00:00+00:00"]);
}

#[test]
fn what_cron_can_say_is_understood() {
    let newyear = "2026-01-01T00:00:00Z";
    check("@monthly", "UTC", newyear, &["02-01 00:00:00+00:00", "03-01 00:00:00+00:00"]);
    check("@midnight", "UTC", newyear, &["01-02 00:00:00+00:00"]);
    check("@WEEKLY", "UTC", newyear, &["01-04 00:00:00+00:00"]);
    check("*/20 * * * * *", "UTC", newyear, &["01-01 00:00:20+00:00", "01-01 00:00:40+00:00"]);
    check("0 9-17/4 * * MON-FRI", "UTC", newyear, &["01-01 09:00:00+00:00", "01-01 13:00:00+00:00"]);
    check("0 0 L * *", "UTC", newyear, &["01-31 00:00:00+00:00", "02-28 00:00:00+00:00"]);
    check("0 0 * * FRI#2", "UTC", newyear, &["01-09 00:00:00+00:00", "02-13 00:00:00+00:00"]);
    check(
        "0 0 13 * FRI",
        "UTC",
        newyear,
        &["01-02 00:00:00+00:00", "01-09 00:00:00+00:00", "01-13 00:00:00+00:00"],
    );
    check("0 0 13 * +FRI", "UTC", newyear, &["02-13 00:00:00+00:00", "03-13 00:00:00+00:00"]);
    check("0 0 29 2 *", "UTC", newyear, &["02-29 00:00:00+00:00"]);
}

#[test]
fn what_is_wrong_with_an_expression_is_said_with_its_place() {
    fn check(expression: &str, expected: &str) {
        let error = expression.parse::<Cron>().unwrap_err();
        assert!(error.to_string().starts_with(expected), "`{expression}`: {error}");
    }
    check("0 24 * * *", "in `0 24 * * *`, the hour `24` at column 3 is not one: 0 to 23");
    check("61 * * * *", "in `61 * * * *`, the minute `61` at column 1");
    check("0 0 32 * *", "in `0 0 32 * *`, the day of the month `32` at column 5");
    check("0 0 * FOO *", "in `0 0 * FOO *`, the month `FOO` at column 7");
    check("0 0 * * 8", "in `0 0 * * 8`, the day of the week `8` at column 9");
    check("99 0 0 * * *", "in `99 0 0 * * *`, the second `99` at column 1");
    check("*/0 * * * *", "in `*/0 * * * *`, the minute `*/0` at column 1");
    check("5-1 * * * *", "in `5-1 * * * *`, the minute `5-1` at column 1");
    check("* * * *", "`* * * *` has 4 fields");
    check("", "`` has 0 fields");
    check("* * * * * * 2026", "`* * * * * * 2026` has 7 fields");
    check("@sometimes", "`@sometimes` is not one of @yearly");
    check("0 0 30 2 *", "`0 0 30 2 *` never fires");
    check("0 0 31 4,6,9,11 *", "`0 0 31 4,6,9,11 *` never fires");
    check(&"* ".repeat(200), "an expression of");
}

#[test]
fn a_zone_that_nobody_knows_is_refused() {
    for zone in ["Europe/Atlantis", "", "CEST+2", "../../etc/passwd"] {
        let error = "@daily".parse::<Cron>().unwrap().in_zone(zone).unwrap_err();
        assert_eq!(error, CronError::UnknownZone { zone: zone.to_owned(), text: "@daily".to_owned() });
    }
}

/// Fields of which some begin with a star and some do not.
fn expressions() -> impl Strategy<Value = String> {
    let minute = prop_oneof![
        Just("*".to_owned()),
        (1_u8..31).prop_map(|step| format!("*/{step}")),
        (0_u8..60).prop_map(|minute| minute.to_string()),
        (0_u8..30, 30_u8..60).prop_map(|(one, other)| format!("{one},{other}")),
        (0_u8..30, 30_u8..60).prop_map(|(from, to)| format!("{from}-{to}")),
    ];
    let hour = prop_oneof![
        Just("*".to_owned()),
        (1_u8..13).prop_map(|step| format!("*/{step}")),
        (0_u8..5).prop_map(|hour| hour.to_string()),
        (0_u8..3, 3_u8..24).prop_map(|(one, other)| format!("{one},{other}")),
        (0_u8..3, 3_u8..24).prop_map(|(from, to)| format!("{from}-{to}")),
    ];
    let day = prop_oneof![Just("* * *"), Just("* * SAT,SUN"), Just("*/2 * *"), Just("1-15 * MON")];
    (minute, hour, day).prop_map(|(minute, hour, day)| format!("{minute} {hour} {day}"))
}

/// Days around which the clock changes, and one around which it does not.
fn places() -> impl Strategy<Value = (&'static str, &'static str)> {
    prop::sample::select(vec![
        (STOCKHOLM, "2026-03-28T00:00:00Z"),
        (STOCKHOLM, "2026-10-24T00:00:00Z"),
        (NEW_YORK, "2026-03-07T00:00:00Z"),
        (NEW_YORK, "2026-10-31T00:00:00Z"),
        (LORD_HOWE, "2026-04-04T00:00:00Z"),
        (LORD_HOWE, "2026-10-03T00:00:00Z"),
        ("Africa/Cairo", "2026-04-23T00:00:00Z"),
        (KATHMANDU, "2026-03-28T00:00:00Z"),
    ])
}

/// Whether a field without names allows a value: written anew, so that it does not share what could be wrong.
fn allows(field: &str, value: i8) -> bool {
    field.split(',').any(|part| {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
            None if range == "*" => (0, 59),
            None => (range.parse::<i8>().unwrap(), range.parse::<i8>().unwrap()),
        };
        (from..=to).contains(&value) && (value - from) % step.parse::<i8>().unwrap() == 0
    })
}

fn fits(expression: &str, local: DateTime) -> bool {
    let fields: Vec<&str> = expression.split(' ').collect();
    let weekday = local.weekday().to_sunday_zero_offset();
    let fits_day = match &fields[2..] {
        ["*", "*", "*"] => true,
        ["*", "*", "SAT,SUN"] => [0, 6].contains(&weekday),
        ["*/2", "*", "*"] => local.day() % 2 == 1,
        ["1-15", "*", "MON"] => local.day() <= 15 || weekday == 1,
        other => panic!("the test does not know {other:?}"),
    };
    fits_day && allows(fields[0], local.minute()) && allows(fields[1], local.hour())
}

/// When an expression is due in three days, minute for minute.
fn scanned(expression: &str, zone: &TimeZone, from: Timestamp) -> Vec<Timestamp> {
    let minutes =
        |from: Timestamp, count: i64| (1..=count).map(move |minute| from + SignedDuration::from_mins(minute));
    const SPAN: i64 = 3 * 24 * 60;
    let is_interval = expression.split(' ').take(2).any(|field| field.starts_with('*'));
    if is_interval {
        let is_due = |at: &Timestamp| fits(expression, zone.to_datetime(*at));
        return minutes(from, SPAN).filter(is_due).collect();
    }
    // Each local minute, from before the span until after it, and the moment at which the clock first shows it or a later one.
    let moments: Vec<(Timestamp, DateTime)> =
        minutes(from - SignedDuration::from_hours(24), SPAN + 2 * 24 * 60)
            .map(|at| (at, zone.to_datetime(at)))
            .collect();
    let (first, last) = (moments[0].1, moments[moments.len() - 1].1);
    let mut due = Vec::new();
    let mut local = first;
    let mut shown = 0;
    while local < last {
        while moments[shown].1 < local {
            shown += 1;
        }
        if fits(expression, local) {
            due.push(moments[shown].0);
        }
        local += SignedDuration::from_mins(1);
    }
    due.dedup();
    due.retain(|at| *at > from && *at <= from + SignedDuration::from_mins(SPAN));
    due
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_minute_that_is_due_is_found_once_and_in_order(
        expression in expressions(), (zone, from) in places(), offset in 0_i64..1440,
    ) {
        let from = from.parse::<Timestamp>().unwrap() + SignedDuration::from_mins(offset);
        let until = SystemTime::try_from(from + SignedDuration::from_hours(72)).unwrap();
        let found: Vec<Timestamp> = cron(&expression, zone)
            .upcoming(SystemTime::try_from(from).unwrap())
            .take_while(|at| *at <= until)
            .map(|at| Timestamp::try_from(at).unwrap())
            .collect();
        prop_assert!(found.is_sorted_by(|one, other| one < other), "each is later than the one before");
        prop_assert_eq!(found, scanned(&expression, &TimeZone::get(zone).unwrap(), from), "`{}` in {}", expression, zone);
    }
}
