//! The record as a page for people.

use std::time::Duration;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::record::{OutcomeKind, Run, ScenarioRecord, Status, Verdict};

const STYLE: &str = include_str!("style.css");

impl Run {
    /// The record as one HTML page that needs nothing else. The same record gives the same bytes.
    pub fn to_html(&self) -> String {
        page(self).into_string()
    }
}

fn page(run: &Run) -> Markup {
    let verdict = run.verdict();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Seaworthy: " (verdict) ", seed " (run.seed) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "Seaworthy " span class={ "verdict " (verdict) } { (verdict) } }
                    p { (sentence(run)) }
                }
                main {
                    (summary(run))
                    @for scenario in &run.scenarios { (section(scenario)) }
                    (environment(run))
                }
            }
        }
    }
}

fn sentence(run: &Run) -> String {
    let played = run.scenarios.iter().filter(|scenario| scenario.status == Status::Played).count();
    let held =
        run.scenarios.iter().filter(|s| s.status == Status::Played && s.verdict() == Verdict::Held).count();
    let operations: usize = run.scenarios.iter().map(|scenario| scenario.samples.len()).sum();
    let faults: usize = run.scenarios.iter().map(|scenario| scenario.faults.len()).sum();
    format!(
        "{held} of {played} scenarios held, under {faults} faults and {operations} operations, from seed {}.",
        run.seed
    )
}

fn summary(run: &Run) -> Markup {
    html! {
        div.scroll {
            table {
                caption { "Summary" }
                thead {
                    tr {
                        th scope="col" { "Scenario" }
                        th scope="col" { "Verdict" }
                        th.number scope="col" { "Ok" }
                        th.number scope="col" { "Refused" }
                        th.number scope="col" { "Unknown" }
                        th.number scope="col" { "No answer" }
                        th.number scope="col" { "p50" }
                        th.number scope="col" { "p99" }
                        th.number scope="col" { "Took" }
                    }
                }
                tbody {
                    @for scenario in &run.scenarios {
                        tr {
                            th scope="row" { a href={ "#" (scenario.name) } { (scenario.name) } }
                            td { (badge(scenario)) }
                            td.number { (scenario.count(OutcomeKind::Ok)) }
                            td.number { (scenario.count(OutcomeKind::Failed)) }
                            td.number { (scenario.count(OutcomeKind::Unknown)) }
                            td.number { (scenario.count(OutcomeKind::TimedOut)) }
                            td.number { (quantile(scenario, 0.5)) }
                            td.number { (quantile(scenario, 0.99)) }
                            td.number { (format!("{:.1} s", scenario.took.as_secs_f64())) }
                        }
                    }
                }
            }
        }
    }
}

fn badge(scenario: &ScenarioRecord) -> Markup {
    match &scenario.status {
        Status::Played => html! { span class={ "verdict " (scenario.verdict()) } { (scenario.verdict()) } },
        Status::Skipped(_) => html! { span.verdict.skipped { "skipped" } },
    }
}

fn section(scenario: &ScenarioRecord) -> Markup {
    html! {
        section id=(scenario.name) {
            h2 { (scenario.name) " " (badge(scenario)) }
            p { (scenario.summary) }
            @if let Status::Skipped(why) = &scenario.status {
                p { "Not played: " (why) }
            } @else {
                ul.checks {
                    @for check in &scenario.checks {
                        li {
                            span class={ "verdict " (check.verdict) } { (check.verdict) } " "
                            strong { (check.name) } " " span.detail { (check.detail) }
                        }
                    }
                }
                figure {
                    div.plot role="img" aria-label={ "Latency over time of " (scenario.name) } {
                        (PreEscaped(scenario.to_svg()))
                    }
                    figcaption {
                        "Each dot is an operation, at its intended start: "
                        span.key.ok { "ok" } ", " span.key.failed { "refused or unknown" } ", " span.key.late { "no answer in time" }
                        ". The line is the median. Faults are on where the ground is shaded."
                    }
                }
                @if !scenario.numbers.is_empty() {
                    dl {
                        @for number in &scenario.numbers {
                            div { dt { (number.name) } dd { (number.value) } }
                        }
                    }
                }
                details {
                    summary { "Faults" }
                    table {
                        thead { tr {
                            th scope="col" { "Service" } th scope="col" { "Fault" }
                            th.number scope="col" { "From" } th.number scope="col" { "To" }
                        } }
                        tbody {
                            @for fault in &scenario.faults {
                                tr {
                                    td { (fault.target) } td { (fault.fault) }
                                    td.number { (seconds(fault.from)) } td.number { (seconds(fault.to)) }
                                }
                            }
                        }
                    }
                }
            }
            p { "Play it again: " code { (scenario.replay) } }
        }
    }
}

fn environment(run: &Run) -> Markup {
    let environment = &run.environment;
    html! {
        section {
            h2 { "Environment" }
            dl {
                div { dt { "Provider" } dd { (environment.provider) } }
                div { dt { "System" } dd { (environment.system) ", " (environment.cores) " cores" } }
                div { dt { "Durability" } dd { (environment.durability) } }
                div { dt { "Seed" } dd { (run.seed) } }
                div { dt { "Started" } dd { (run.started_at) " s after the Unix epoch" } }
                div { dt { "Seaworthy" } dd { (run.version) } }
            }
        }
    }
}

fn quantile(scenario: &ScenarioRecord, share: f64) -> String {
    let latency = scenario.latency_quantile(share);
    latency.map_or_else(|| "–".to_owned(), |latency| format!("{:.1} ms", latency.as_secs_f64() * 1e3))
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
