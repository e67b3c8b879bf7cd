//! What happened around a violation: its story, operations, and what services logged.

use maud::{Markup, html};

use super::{Budget, outcome_keys, plot, scrolled};
use crate::{
    focus::Focus,
    operations::OutcomeKind,
    plot::timeline,
    record::{Check, ScenarioRecord, Verdict},
    words::{self, several},
};

/// Rows of the table of operations around a violation.
const MOST_ROWS: usize = 150;

pub(super) fn violation(record: &ScenarioRecord, check: &Check, budget: &mut Budget) -> Markup {
    let focus = check.focus();
    if !check.is_wrong() || (check.story.is_empty() && focus.is_none()) {
        return html!();
    }
    let story = budget.take(|| {
        html! {
            h3 { (check.name) }
            @if !check.story.is_empty() {
                ol.story { @for step in &check.story { li { (step) } } }
            }
        }
    });
    let around = focus.map_or_else(|| html!(), |focus| budget.take(|| around(record, check, focus)));
    html! {
        div class={ "focus" @if check.verdict == Verdict::Unknown { " unknown-focus" } } {
            (story)
            (around)
        }
    }
}

fn around(record: &ScenarioRecord, check: &Check, focus: Focus) -> Markup {
    let singles = record.operations_in(focus);
    let about = singles.iter().filter(|single| check.concerns(single)).count() as u64;
    let says = format!(
        "Operations from {} to {}: {}, {about} of which this is about",
        words::moment(focus.from),
        words::moment(focus.to),
        several(singles.len() as u64, "operation"),
    );
    html! {
        @if !singles.is_empty() {
            figure {
                (plot(&says, &timeline(record, check, focus)))
                (outcome_keys(&OutcomeKind::ALL, true))
                figcaption {
                    "Each bar is an operation, from its intended start to its end. Those that this is about are strong. "
                    "A red line marks when it was seen."
                }
            }
            details {
                summary { (several(singles.len() as u64, "operation")) " around it" }
                (scrolled("Table of the operations around it, can be scrolled", &table(record, check, focus)))
            }
        }
        @for (service, lines) in record.logs_in(focus) {
            details {
                summary { "Log of " (service) ": " (several(lines.len() as u64, "line")) }
                ol.log tabindex="0" aria-label={ "Log of " (service) } {
                    @for line in lines { li { time { (words::moment(line.at)) } span { (line.line) } } }
                }
            }
        }
    }
}

fn table(record: &ScenarioRecord, check: &Check, focus: Focus) -> Markup {
    html! {
        table {
            thead { tr {
                th.number scope="col" { "At" } th scope="col" { "Operation" } th scope="col" { "Key" } th scope="col" { "Ended" }
                th.number scope="col" { "Latency" } th scope="col" { "Why" }
            } }
            tbody {
                @for single in record.operations_in(focus).into_iter().take(MOST_ROWS) {
                    tr.about[check.concerns(single)] {
                        td.number { (words::moment(single.at)) }
                        td { (single.kind) }
                        td { @if check.concerns(single) { strong { (single.key) } } @else { (single.key) } }
                        td { (single.outcome.as_str()) }
                        td.number { (words::latency(single.latency)) }
                        td.wrap { (single.why) }
                    }
                }
            }
        }
    }
}
