//! A run: its verdict first, then what did not hold, then scenario by scenario.

use maud::{Markup, html};

use super::{Budget, badge, environment::environment, page, scenario::scenario, scrolled};
use crate::{
    record::{Check, Run, ScenarioRecord, Verdict},
    words::{self, several},
};

/// Rows of the summary, and scenarios with a section of their own.
const MOST_ROWS: usize = 200;
const MOST_SECTIONS: usize = 100;
/// What did not hold is listed up to here.
const MOST_WRONG: usize = 50;

impl Run {
    /// The run as one HTML page that needs nothing else: less than 2 MB, whatever the run was.
    pub fn to_html(&self) -> String {
        let run = self.as_logged();
        let mut budget = Budget::new();
        let scenarios = run.worst_first();
        let wrong = budget.take(|| wrong(&run, &scenarios));
        let summary = budget.take(|| summary(&run, &scenarios));
        let environment = budget.take(|| environment(&run));
        let shown = scenarios.iter().take(MOST_SECTIONS);
        let sections: Vec<Markup> = shown
            .map(|record| budget.around(|budget| scenario(record, &anchor(&run, record), budget)))
            .filter(|section| !section.0.is_empty())
            .collect();
        let without = (scenarios.len() - sections.len()) as u64;
        let body = html! {
            (wrong)
            (summary)
            @for section in &sections { (section) }
            @if without > 0 {
                p.note { (several(without, "more scenario")) ", no worse than these: the log of the run has the rest." }
            }
            (environment)
        };
        page(&format!("Seaworthy: {}, seed {}", run.verdict(), run.seed), &head(&run), &body)
    }
}

/// The place of a scenario on the page.
fn anchor(run: &Run, record: &ScenarioRecord) -> String {
    let place = run.scenarios.iter().position(|other| std::ptr::eq(other, record)).unwrap_or_default();
    format!("scenario-{}", place + 1)
}

fn head(run: &Run) -> Markup {
    let verdict = run.verdict();
    let checks = || run.scenarios.iter().flat_map(|scenario| &scenario.checks);
    let violated = checks().filter(|check| check.verdict == Verdict::Violated).count();
    let said = match verdict {
        Verdict::Held => "Everything held.".to_owned(),
        Verdict::Unknown => "Not everything could be judged.".to_owned(),
        Verdict::Violated if violated == 1 => "One thing did not hold.".to_owned(),
        Verdict::Violated => format!("{} did not hold.", several(violated as u64, "thing")),
    };
    let took = run
        .scenarios
        .iter()
        .map(|scenario| scenario.took)
        .fold(std::time::Duration::ZERO, |sum, took| sum.saturating_add(took));
    html! {
        p { (badge(verdict.as_str())) }
        h1 { (said) }
        p { (run.sentence()) }
        @if run.cut_short {
            p { strong { "The run was cut short: " } "its log ends before it did." }
        }
        dl.facts {
            div { dt { "Seed" } dd { (run.seed) } }
            div { dt { "Started" } dd { (words::date(run.started_at)) } }
            div { dt { "Played for" } dd { (words::span(took)) } }
            @if !run.environment.provider.is_empty() {
                div { dt { "Provider" } dd { (run.environment.provider) } }
            }
        }
    }
}

/// Everything that did not hold, in one list.
fn wrong(run: &Run, scenarios: &[&ScenarioRecord]) -> Markup {
    let mut wrong: Vec<(&ScenarioRecord, &Check)> = scenarios
        .iter()
        .flat_map(|scenario| {
            scenario.checks.iter().filter(|check| check.is_wrong()).map(move |check| (*scenario, check))
        })
        .collect();
    wrong.sort_by_key(|(_, check)| std::cmp::Reverse(check.verdict));
    html! {
        @if !wrong.is_empty() {
            section.card aria-labelledby="wrong" {
                h2 #wrong { "What did not hold" }
                ul.checks {
                    @for (scenario, check) in wrong.iter().take(MOST_WRONG) {
                        li {
                            span { (badge(check.verdict.as_str())) }
                            span.what {
                                strong { (check.name) }
                                span.detail { "in " a href={ "#" (anchor(run, scenario)) } { (scenario.name) } ": " (check.detail) }
                            }
                        }
                    }
                }
                @if wrong.len() > MOST_WRONG { p.note { "and " (wrong.len() - MOST_WRONG) " more" } }
            }
        }
    }
}

fn summary(run: &Run, scenarios: &[&ScenarioRecord]) -> Markup {
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Scenario" } th scope="col" { "Verdict" }
                @for name in ["Operations", "Ok", "p50", "p95", "p99", "max", "Faults", "Took"] { th.number scope="col" { (name) } }
            } }
            tbody {
                @for (number, record) in scenarios.iter().take(MOST_ROWS).enumerate() {
                    @let total = record.operations.total();
                    @let count = total.counts.total();
                    tr {
                        th scope="row" {
                            @if number < MOST_SECTIONS { a href={ "#" (anchor(run, record)) } { (record.name) } } @else { (record.name) }
                        }
                        td { (badge(record.verdict_word())) }
                        td.number { (words::count(count)) }
                        td.number { (words::percent(total.counts.ok, count)) }
                        @for share in [0.5, 0.95, 0.99, 1.0] { td.number { (words::maybe(total.latencies.quantile(share))) } }
                        td.number { (record.faults.len()) }
                        td.number { (words::span(record.took)) }
                    }
                }
            }
        }
    };
    html! {
        section.card aria-labelledby="summary" {
            h2 #summary { "Scenarios" }
            (scrolled("Table of the scenarios, can be scrolled", &table))
            @if scenarios.len() > MOST_ROWS { p.note { "and " (scenarios.len() - MOST_ROWS) " more" } }
        }
    }
}
