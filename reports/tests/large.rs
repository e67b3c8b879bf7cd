//! A run of a million operations, and one of a great many scenarios: memory and size stay bounded.

use std::{
    alloc::System,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use seaworthy_reports::{
    Check, FaultWindow, LogLine, OutcomeKind, Run, ScenarioRecord, SingleOperation, Unit, Verdict,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One test at a time: the other one's memory is not to be counted.
static ALONE: Mutex<()> = Mutex::new(());

const MIB: usize = 1 << 20;
const PAGE: usize = 2_000_000;

fn latency(number: u64) -> Duration {
    Duration::from_micros(500 + number.wrapping_mul(2_654_435_761) % 1_000_000)
}

#[test]
fn a_million_operations_take_bounded_memory_and_a_page_of_bounded_size() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = Region::new(ALLOCATOR);
    let mut record = ScenarioRecord::new("soak", "An hour of load.");
    for number in 0..1_000_000 {
        let outcome = if number % 1_000 == 0 { OutcomeKind::Failed } else { OutcomeKind::Ok };
        record.operations.record(
            "place-order",
            Duration::from_micros(number * 3_600),
            latency(number),
            outcome,
        );
        if number % 100 == 0 {
            let at = Duration::from_micros(number * 3_600);
            record.resources.sample(at, "postgres", "memory", Unit::Bytes, number as f64);
        }
    }
    let change = before.change();
    let kept = change.bytes_allocated.saturating_sub(change.bytes_deallocated);
    assert!(kept < 24 * MIB, "{kept} bytes are kept");
    assert_eq!(record.operations.total().counts.total(), 1_000_000);
    assert!(record.operations.slices().count() <= 240);
    let series = record.resources.series().next().unwrap();
    assert!(series.points().len() <= 240 && series.peak() == 999_900.0, "the peak is kept");

    record.checks.push(Check::new("c", Verdict::Violated, "").about("999").at(Duration::from_secs(4)));
    let single = |number: u64| SingleOperation {
        kind: "place-order".into(),
        key: number.to_string(),
        at: Duration::from_micros(number * 3_600),
        latency: latency(number),
        outcome: OutcomeKind::Ok,
        why: String::new(),
    };
    record.keep_operations((0..100_000).map(single));
    assert_eq!(record.singles.len(), 150);
    let run = Run { scenarios: vec![record], ..Run::default() };
    let (page, log) = (run.to_html(), run.to_log());
    assert!(page.len() < PAGE && log.len() < 8 * MIB, "{} and {}", page.len(), log.len());
    assert!(page.contains(">999<"));
}

#[test]
fn a_great_many_scenarios_fit_on_a_page_that_shows_the_worst_first() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut model = ScenarioRecord::new("s", "summary ".repeat(100));
    for number in 0..300 {
        let at = Duration::from_millis(number * 20);
        model.operations.record("k", at, latency(number), OutcomeKind::ALL[number as usize % 4]);
        let line = "x<".repeat(400);
        model.logs.push(LogLine { at, service: format!("s{}", number % 9), line });
    }
    for number in 0..600 {
        let from = Duration::from_millis(number * 60);
        let to = from + Duration::from_millis(30);
        model.faults.push(FaultWindow {
            target: format!("t{}", number % 20),
            fault: "down".into(),
            from,
            to,
        });
    }
    let check = |verdict| Check::new("n".repeat(200), verdict, "d<".repeat(900)).at(Duration::from_secs(3));
    model.checks = vec![check(Verdict::Held); 250];
    let mut run = Run { scenarios: vec![model; 30], ..Run::default() };
    run.scenarios[29].name = "the last one".into();
    run.scenarios[29].checks.push(check(Verdict::Violated));
    assert_eq!(run.verdict(), Verdict::Violated);
    let page = run.to_html();
    assert!(page.len() < PAGE, "{} bytes", page.len());
    assert!(page.contains("Left out, as this page is large enough"));
    let first = page.find("id=\"scenario-30\"").expect("the violated one has a section");
    assert!(page.find("id=\"scenario-1\"").is_none_or(|other| first < other));
    assert!(page.contains("Left out of the report: checks"));
    assert!(run.to_junit().contains("the last one"), "a violation is never what is left out");
}
