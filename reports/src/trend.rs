//! Many runs, one after the other.

use std::{fmt::Write as _, time::Duration};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::{
    markdown::{escaped, sign},
    operations::{OutcomeKind, Tally},
    record::{Run, ScenarioRecord, Verdict},
    terminal::painted,
    text::{NAME, one_line},
    words,
};

/// Runs that a trend shows at most: the latest.
pub(crate) const MOST_RUNS: usize = 200;
/// Scenarios that it tells apart.
const MOST_SCENARIOS: usize = 60;

/// What became of scenarios, run after run. Of each run only a few numbers are kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trend {
    runs: Vec<Entry>,
}

/// One run of a trend.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) started_at: u64,
    pub(crate) seed: u64,
    pub(crate) verdict: Verdict,
    pub(crate) scenarios: Vec<Entered>,
}

/// A scenario in one run of a trend; all of its plays together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Entered {
    pub(crate) name: String,
    /// None when it was skipped.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) operations: u64,
    pub(crate) ok: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) max_ms: Option<f64>,
}

impl Trend {
    /// Adds a run, with the name that the reader knows it by.
    pub fn add(&mut self, name: &str, run: &Run) {
        let run = run.as_logged();
        let mut scenarios: Vec<Entered> = Vec::new();
        for record in &run.scenarios {
            if scenarios.len() < MOST_SCENARIOS && !scenarios.iter().any(|other| other.name == record.name) {
                let plays: Vec<_> = run.scenarios.iter().filter(|other| other.name == record.name).collect();
                scenarios.push(entered(&plays));
            }
        }
        let (name, verdict) = (one_line(name, NAME), run.verdict());
        self.runs.push(Entry { name, started_at: run.started_at, seed: run.seed, verdict, scenarios });
        self.runs.sort_by(|one, other| (one.started_at, &one.name).cmp(&(other.started_at, &other.name)));
        let surplus = self.runs.len().saturating_sub(MOST_RUNS);
        self.runs.drain(..surplus);
    }

    /// The runs, the oldest first.
    pub(crate) fn runs(&self) -> &[Entry] {
        &self.runs
    }

    /// How many runs it has.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Every scenario of any run, in the order in which they first appeared, with its place in each run.
    pub(crate) fn scenarios(&self) -> Vec<(&str, Vec<Option<&Entered>>)> {
        let mut names: Vec<&str> = Vec::new();
        for entered in self.runs.iter().flat_map(|run| &run.scenarios) {
            if !names.contains(&entered.name.as_str()) && names.len() < MOST_SCENARIOS {
                names.push(&entered.name);
            }
        }
        let of = |name| {
            self.runs.iter().map(|run| run.scenarios.iter().find(|entered| entered.name == name)).collect()
        };
        names.into_iter().map(|name| (name, of(name))).collect()
    }

    /// The trend as plain text for a terminal: a table per scenario, the latest run last.
    pub fn to_terminal(&self, colour: bool) -> String {
        const MOST_ROWS: usize = 20;
        let mut text = format!("{}\n", words::several(self.runs.len() as u64, "run"));
        for (name, entries) in self.scenarios() {
            let held =
                entries.iter().flatten().filter(|entered| entered.verdict == Some(Verdict::Held)).count();
            let played = entries.iter().flatten().filter(|entered| entered.verdict.is_some()).count();
            let _ = writeln!(text, "\n{name}: held in {held} of {played}");
            let mut table = Table::new();
            table.load_style(presets::UTF8_BORDERS_ONLY);
            table.set_header(["run", "started", "verdict", "operations", "ok", "p50", "p99", "max"]);
            let first = entries.len().saturating_sub(MOST_ROWS);
            for (run, entered) in self.runs.iter().zip(entries).skip(first) {
                let Some(entered) = entered else { continue };
                table.add_row([
                    run.name.clone(),
                    words::date(run.started_at),
                    entered.word().to_owned(),
                    words::count(entered.operations),
                    words::percent(entered.ok, entered.operations),
                    ms(entered.p50_ms),
                    ms(entered.p99_ms),
                    ms(entered.max_ms),
                ]);
            }
            table
                .column_iter_mut()
                .skip(3)
                .for_each(|column| column.set_cell_alignment(CellAlignment::Right));
            let _ = writeln!(text, "{table}");
        }
        if let Some(last) = self.runs.last() {
            let _ = writeln!(text, "\nthe latest, {}: {}", last.name, painted(last.verdict.as_str(), colour));
        }
        text
    }

    /// The trend as Markdown: a row per scenario, a sign per run.
    pub fn to_markdown(&self) -> String {
        const MOST_SIGNS: usize = 20;
        let mut text = format!("## Seaworthy: {}\n\n", words::several(self.runs.len() as u64, "run"));
        text.push_str("| Scenario | Verdicts, the latest last | p50 | p99 |\n|---|---|--:|--:|\n");
        for (name, entries) in self.scenarios() {
            let latest = entries.iter().skip(entries.len().saturating_sub(MOST_SIGNS));
            let signs: String = latest
                .map(|entered| match entered {
                    Some(Entered { verdict: Some(verdict), .. }) => sign(*verdict),
                    Some(_) => "⏭",
                    None => "·",
                })
                .collect();
            let last = entries.iter().rev().flatten().next();
            let latency = |of: fn(&Entered) -> Option<f64>| ms(last.and_then(|entered| of(entered)));
            let (p50, p99) = (latency(|entered| entered.p50_ms), latency(|entered| entered.p99_ms));
            let _ = writeln!(text, "| {} | {signs} | {p50} | {p99} |", escaped(name));
        }
        text
    }

    /// The trend as JSON.
    ///
    /// # Panics
    ///
    /// Never: every part of it has a JSON form.
    pub fn to_json(&self) -> String {
        let document = serde_json::json!({ "runs": self.runs });
        let mut text = serde_json::to_string_pretty(&document).expect("a trend has a JSON form");
        text.push('\n');
        text
    }
}

impl Entered {
    /// The verdict in a word, or `skipped`.
    pub(crate) fn word(&self) -> &'static str {
        self.verdict.map_or("skipped", Verdict::as_str)
    }

    /// p50 and p99 as times.
    pub(crate) fn latencies(&self) -> [Option<Duration>; 2] {
        [self.p50_ms, self.p99_ms].map(|ms| Duration::try_from_secs_f64(ms? / 1e3).ok())
    }
}

fn entered(plays: &[&ScenarioRecord]) -> Entered {
    let mut total = Tally::default();
    plays.iter().for_each(|record| total.merge(&record.operations.total()));
    let played = plays.iter().filter(|record| record.was_played());
    let ms = |share| total.latencies.quantile(share).map(|latency| latency.as_micros() as f64 / 1e3);
    Entered {
        name: plays[0].name.clone(),
        verdict: played.map(|record| record.verdict()).max(),
        operations: total.counts.total(),
        ok: total.counts.of(OutcomeKind::Ok),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        max_ms: ms(1.0),
    }
}

pub(crate) fn ms(ms: Option<f64>) -> String {
    words::maybe(ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok()))
}
