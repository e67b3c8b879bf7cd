//! Many runs, one after the other.

use maud::{Markup, html};

use super::{Budget, badge, page, plot, scrolled};
use crate::{
    operations::OutcomeKind,
    plot::trend,
    record::Verdict,
    trend::{Entered, Trend, ms},
    words::{self, several},
};

/// Rows of each scenario's table: the latest runs.
const MOST_ROWS: usize = 50;

impl Trend {
    /// The trend as one HTML page that needs nothing else.
    pub fn to_html(&self) -> String {
        let mut budget = Budget::new();
        let runs = several(self.len() as u64, "run");
        let held = self.runs().iter().filter(|run| run.verdict == Verdict::Held).count();
        let head = html! {
            @if let Some(last) = self.runs().last() { p { (badge(last.verdict.as_str())) } }
            h1 { (held) " of " (runs) " held." }
            p { "The badge is that of the latest run. Runs stand in the order in which they began." }
            @if let (Some(first), Some(last)) = (self.runs().first(), self.runs().last()) {
                dl.facts {
                    div { dt { "First" } dd { (words::date(first.started_at)) } }
                    div { dt { "Latest" } dd { (words::date(last.started_at)) } }
                }
            }
        };
        let body = html! {
            @for (name, entries) in self.scenarios() { (budget.take(|| section(self, name, &entries))) }
        };
        page(&format!("Seaworthy: {runs}"), &head, &body)
    }
}

fn section(of: &Trend, name: &str, entries: &[Option<&Entered>]) -> Markup {
    let points: Vec<_> = entries
        .iter()
        .map(|entered| {
            let [p50, p99] = entered.map_or([None; 2], Entered::latencies);
            (entered.and_then(|entered| entered.verdict), p50, p99)
        })
        .collect();
    let held = entries.iter().flatten().filter(|entered| entered.verdict == Some(Verdict::Held)).count();
    let played = entries.iter().flatten().filter(|entered| entered.verdict.is_some()).count();
    let latest = entries.iter().rev().flatten().next().map_or("missing", |entered| entered.word());
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Run" } th scope="col" { "Started" } th scope="col" { "Verdict" } th.number scope="col" { "Seed" }
                th.number scope="col" { "Operations" } th.number scope="col" { (OutcomeKind::Ok.as_str()) }
                th.number scope="col" { "p50" } th.number scope="col" { "p99" } th.number scope="col" { "max" }
            } }
            tbody {
                @for (run, entered) in of.runs().iter().zip(entries).rev().take(MOST_ROWS) {
                    @if let Some(entered) = entered {
                        tr {
                            th scope="row" { (run.name) } td { (words::date(run.started_at)) } td { (badge(entered.word())) }
                            td.number { (run.seed) } td.number { (words::count(entered.operations)) }
                            td.number { (words::percent(entered.ok, entered.operations)) }
                            td.number { (ms(entered.p50_ms)) } td.number { (ms(entered.p99_ms)) } td.number { (ms(entered.max_ms)) }
                        }
                    }
                }
            }
        }
    };
    html! {
        section.card {
            div.title { h2 { (name) } (badge(latest)) }
            p { "Held in " (held) " of " (several(played as u64, "run")) "." }
            figure {
                (plot(&format!("p50, p99 and verdicts of {name} over {}", several(entries.len() as u64, "run")), &trend(&points)))
                figcaption { "The latest run is on the right. The worse a verdict, the taller its mark." }
            }
            details {
                summary { "The numbers, the latest run first" }
                (scrolled("Table of the runs, can be scrolled", &table))
            }
        }
    }
}
