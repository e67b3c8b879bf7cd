//! One scenario: its checks, what did not hold, latency and rate over time, and the numbers.

use maud::{Markup, html};

use super::{Budget, badge, outcome_keys, plot, replay, scrolled, violation::violation};
use crate::{
    operations::OutcomeKind,
    plot::{Scale, histogram, overview as picture, resource},
    record::{ScenarioRecord, Status},
    resources::Series,
    words::{self, several},
};

/// Rows of the table of faults.
const MOST_FAULTS: usize = 60;

pub(super) fn scenario(record: &ScenarioRecord, anchor: &str, budget: &mut Budget) -> Markup {
    // What is worth most comes first, for as long as there is room.
    let checks = budget.take(|| checks(record));
    let violations: Vec<Markup> =
        record.checks.iter().map(|check| violation(record, check, budget)).collect();
    let played = record.was_played() && record.operations.total().counts.total() > 0;
    let overview = if played { budget.take(|| overview(record)) } else { html!() };
    let spread = if played { budget.take(|| spread(record)) } else { html!() };
    let numbers = if record.numbers.is_empty() { html!() } else { budget.take(|| numbers(record)) };
    let resources = if record.resources.is_empty() { html!() } else { budget.take(|| resources(record)) };
    html! {
        section.card aria-labelledby=(anchor) {
            div.title { h2 id=(anchor) { (record.name) } (badge(record.verdict_word())) }
            p { (record.summary) }
            @match &record.status {
                Status::Skipped(why) => { p { strong { "Not played: " } (why) } }
                Status::Interrupted(why) => { p { strong { "Interrupted: " } (why) } }
                Status::Played => {}
            }
            (checks)
            @for violation in &violations { (violation) }
            (overview)
            (spread)
            (numbers)
            (resources)
            (replay(&record.replay))
        }
    }
}

fn checks(record: &ScenarioRecord) -> Markup {
    let mut checks: Vec<_> = record.checks.iter().collect();
    checks.sort_by_key(|check| std::cmp::Reverse(check.verdict));
    html! {
        @if !checks.is_empty() {
            ul.checks {
                @for check in checks {
                    li {
                        span { (badge(check.verdict.as_str())) }
                        span.what { strong { (check.name) } span.detail { (check.detail) } }
                    }
                }
            }
        } @else if record.was_played() {
            p.note { "Nothing was checked, so nothing is known." }
        }
    }
}

fn overview(record: &ScenarioRecord) -> Markup {
    let total = record.operations.total();
    let latency = |share| words::maybe(total.latencies.quantile(share));
    let says = format!(
        "Latency and rate over time of {}: {}, p50 {}, p95 {}, p99 {}, max {}, under {}",
        record.name,
        several(total.counts.total(), "operation"),
        latency(0.5),
        latency(0.95),
        latency(0.99),
        latency(1.0),
        several(record.faults.len() as u64, "fault"),
    );
    html! {
        h3 { "Latency and rate over time" }
        figure {
            (plot(&says, &picture(record, &Scale::of([record]))))
            (outcome_keys(&OutcomeKind::ALL, !record.faults.is_empty()))
            figcaption { "Latency counts from the intended start, so that a stall hides nothing. Below it, operations per second by how they ended." }
        }
        @if !record.faults.is_empty() {
            details {
                summary { (several(record.faults.len() as u64, "fault")) }
                (scrolled("Table of the faults, can be scrolled", &faults(record)))
            }
        }
        details {
            summary { "The numbers behind the picture" }
            (scrolled("Table of latency and rate over time, can be scrolled", &over_time(record)))
        }
    }
}

fn faults(record: &ScenarioRecord) -> Markup {
    html! {
        table {
            thead { tr {
                th scope="col" { "Service" } th scope="col" { "Fault" }
                th.number scope="col" { "From" } th.number scope="col" { "To" } th.number scope="col" { "Lasted" }
            } }
            tbody {
                @for fault in record.faults.iter().take(MOST_FAULTS) {
                    tr {
                        th scope="row" { (fault.target) } td { (fault.fault) }
                        td.number { (words::moment(fault.from)) } td.number { (words::moment(fault.to)) }
                        td.number { (words::span(fault.to.saturating_sub(fault.from))) }
                    }
                }
            }
        }
        @if record.faults.len() > MOST_FAULTS { p.note { "and " (record.faults.len() - MOST_FAULTS) " more" } }
    }
}

/// As the picture, in at most some thirty rows.
fn over_time(record: &ScenarioRecord) -> Markup {
    html! {
        table {
            thead { tr {
                th scope="col" { "From" }
                @for name in ["Operations", "Not ok", "p50", "p95", "p99", "max"] { th.number scope="col" { (name) } }
            } }
            tbody {
                @for slice in record.operations.in_slices(30) {
                    @let tally = &slice.tally;
                    tr {
                        th scope="row" { (words::moment(slice.at)) }
                        td.number { (words::count(tally.counts.total())) }
                        td.number { (words::count(tally.counts.total() - tally.counts.ok.min(tally.counts.total()))) }
                        @for share in [0.5, 0.95, 0.99, 1.0] { td.number { (words::maybe(tally.latencies.quantile(share))) } }
                    }
                }
            }
        }
    }
}

/// How latencies are spread, and how kinds of operations differ.
fn spread(record: &ScenarioRecord) -> Markup {
    let total = record.operations.total();
    let median = words::maybe(total.latencies.quantile(0.5));
    let kinds = html! {
        table {
            thead { tr {
                th scope="col" { "Kind" }
                @for outcome in OutcomeKind::ALL { th.number scope="col" { (capital(outcome.as_str())) } }
                @for name in ["p50", "p95", "p99", "max"] { th.number scope="col" { (name) } }
            } }
            tbody {
                @for (kind, tally) in record.operations.kinds() {
                    tr {
                        th scope="row" { (kind) }
                        @for outcome in OutcomeKind::ALL { td.number { (words::count(tally.counts.of(outcome))) } }
                        @for share in [0.5, 0.95, 0.99, 1.0] { td.number { (words::maybe(tally.latencies.quantile(share))) } }
                    }
                }
            }
        }
    };
    html! {
        h3 { "How latencies are spread" }
        figure {
            (plot(&format!("Histogram of latencies of {}, the median is {median}", record.name), &histogram(&total.latencies)))
            figcaption { "Operations by latency, on a logarithmic axis. Quantiles are within 0.4 %." }
        }
        (scrolled("Table of the kinds of operations, can be scrolled", &kinds))
    }
}

fn numbers(record: &ScenarioRecord) -> Markup {
    html! {
        h3 { "Numbers" }
        dl.figures {
            @for number in &record.numbers { div { dt { (number.name) } dd { (number.value) } } }
        }
    }
}

fn resources(record: &ScenarioRecord) -> Markup {
    let series: Vec<&Series> = record.resources.series().collect();
    html! {
        h3 { "Resources" }
        @for of_one in series.chunk_by(|one, other| (one.unit, &one.resource) == (other.unit, &other.resource)) {
            @let name = capital(&of_one[0].resource);
            @let peaks: Vec<String> = of_one.iter().map(|series| format!("{} {}", series.service, words::value(series.peak(), series.unit))).collect();
            figure {
                h4 { (name) }
                (plot(&format!("{name} over time; at most {}", peaks.join(", ")), &resource(record, of_one)))
                figcaption { "At most: " (peaks.join(", ")) "." }
            }
        }
    }
}

/// With a capital first letter.
fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
