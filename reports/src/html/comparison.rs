//! Two runs side by side.

use maud::{Markup, html};

use super::{Budget, badge, outcome_keys, page, plot, scrolled};
use crate::{
    comparison::{CAVEAT, Comparison, Pair, word},
    operations::OutcomeKind,
    plot::{Scale, overview},
    record::ScenarioRecord,
};

const MOST_SECTIONS: usize = 100;

impl Comparison {
    /// The comparison as one HTML page that needs nothing else.
    pub fn to_html(&self) -> String {
        let mut budget = Budget::new();
        let head = html! {
            h1 { "Two runs, side by side" }
            p { "A and B, scenario by scenario. " (CAVEAT) }
            dl.facts {
                @for (letter, name, run) in [("A", &self.names[0], &self.runs[0]), ("B", &self.names[1], &self.runs[1])] {
                    div { dt { (letter) } dd { (name) " " (badge(run.verdict().as_str())) } }
                }
            }
        };
        let body = html! {
            (circumstances(self))
            @for pair in self.pairs.iter().take(MOST_SECTIONS) { (budget.take(|| section(self, pair))) }
            @if self.pairs.len() > MOST_SECTIONS { p.note { "and " (self.pairs.len() - MOST_SECTIONS) " more scenarios" } }
        };
        page(&format!("Seaworthy: {} and {}", self.names[0], self.names[1]), &head, &body)
    }
}

fn circumstances(comparison: &Comparison) -> Markup {
    let different = comparison.circumstances();
    let table = html! {
        table {
            thead { tr { th scope="col" { "What" } th scope="col" { "A" } th scope="col" { "B" } } }
            tbody {
                @for (what, before, after) in &different {
                    tr { th scope="row" { (what) } td.wrap { (before) } td.wrap { (after) } }
                }
            }
        }
    };
    html! {
        section.card aria-labelledby="circumstances" {
            h2 #circumstances { "What was not the same" }
            @if different.is_empty() {
                p { "Seed, versions, provider and machine are the same." }
            } @else {
                (scrolled("Table of what was not the same, can be scrolled", &table))
            }
        }
    }
}

fn section(comparison: &Comparison, pair: &Pair) -> Markup {
    let sides = comparison.sides(pair);
    let verdicts = sides.map(|side| side.map_or("missing", ScenarioRecord::verdict_word));
    let changed = comparison.changed_checks(pair);
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Measure" }
                th.number scope="col" { "A" } th.number scope="col" { "B" } th.number scope="col" { "B / A" }
            } }
            tbody {
                @for measure in comparison.measures(pair) {
                    tr {
                        th scope="row" { (measure.name) }
                        td.number { (measure.before()) } td.number { (measure.after()) } td.number { (measure.ratio()) }
                    }
                }
            }
        }
    };
    html! {
        section.card {
            div.title { h2 { (pair.name) } (badge(verdicts[0])) "→" (badge(verdicts[1])) }
            @if !changed.is_empty() {
                ul.checks {
                    @for (name, before, after) in &changed {
                        li {
                            span { (badge(word(*after))) }
                            span.what { strong { (name) } span.detail { "was " (word(*before)) ", is " (word(*after)) } }
                        }
                    }
                }
            }
            (pictures(sides))
            (scrolled("Table of the measures of both runs, can be scrolled", &table))
        }
    }
}

/// Both on the same axes.
fn pictures(sides: [Option<&ScenarioRecord>; 2]) -> Markup {
    let scale = Scale::of(sides.into_iter().flatten()).narrow();
    html! {
        div.pair.half {
            @for (letter, side) in ["A", "B"].into_iter().zip(sides) {
                @if let Some(record) = side {
                    figure {
                        h3 { (letter) }
                        (plot(&format!("Latency and rate over time of {}, run {letter}", record.name), &overview(record, &scale)))
                    }
                }
            }
        }
        (outcome_keys(&OutcomeKind::ALL, true))
        p.note { "Both on the same axes." }
    }
}
