//! The run for programs: one JSON document with the numbers that people read, and no buckets.

use std::time::Duration;

use serde::Serialize;

use crate::{
    focus::SingleOperation,
    log::FORMAT,
    operations::{Counts, Slice, Tally},
    record::{Check, Environment, FaultWindow, Number, Run, ScenarioRecord, Status},
    seconds,
};

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    verdict: &'static str,
    cut_short: bool,
    version: &'a str,
    started_at: u64,
    seed: u64,
    environment: &'a Environment,
    scenarios: Vec<Scenario<'a>>,
}

#[derive(Serialize)]
struct Scenario<'a> {
    name: &'a str,
    summary: &'a str,
    verdict: &'static str,
    status: &'a Status,
    #[serde(with = "seconds")]
    took: Duration,
    replay: &'a str,
    checks: &'a [Check],
    faults: &'a [FaultWindow],
    numbers: &'a [Number],
    operations: Figures,
    kinds: Vec<Kind<'a>>,
    over_time: Vec<Moment>,
    resources: Vec<Resource<'a>>,
    around_violations: &'a [SingleOperation],
}

#[derive(Serialize)]
struct Figures {
    #[serde(flatten)]
    counts: Counts,
    latency_ms: Option<Quantiles>,
}

#[derive(Serialize)]
struct Quantiles {
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

#[derive(Serialize)]
struct Kind<'a> {
    kind: &'a str,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Serialize)]
struct Moment {
    #[serde(with = "seconds")]
    at: Duration,
    #[serde(with = "seconds")]
    lasts: Duration,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Serialize)]
struct Resource<'a> {
    service: &'a str,
    resource: &'a str,
    unit: crate::Unit,
    peak: f64,
}

impl Run {
    /// The run as one JSON document, pretty-printed: verdicts, counts and quantiles. What the document says is in the log, and more.
    ///
    /// # Panics
    ///
    /// Never: every part of it has a JSON form.
    pub fn to_json(&self) -> String {
        let run = self.as_logged();
        let document = Document {
            format: FORMAT,
            verdict: run.verdict().as_str(),
            cut_short: run.cut_short,
            version: &run.version,
            started_at: run.started_at,
            seed: run.seed,
            environment: &run.environment,
            scenarios: run.scenarios.iter().map(scenario).collect(),
        };
        let mut text = serde_json::to_string_pretty(&document).expect("a report has a JSON form");
        text.push('\n');
        text
    }
}

fn scenario(record: &ScenarioRecord) -> Scenario<'_> {
    Scenario {
        name: &record.name,
        summary: &record.summary,
        verdict: record.verdict_word(),
        status: &record.status,
        took: record.took,
        replay: &record.replay,
        checks: &record.checks,
        faults: &record.faults,
        numbers: &record.numbers,
        operations: figures(&record.operations.total()),
        kinds: record
            .operations
            .kinds()
            .map(|(kind, tally)| Kind { kind, figures: figures(tally) })
            .collect(),
        over_time: record.operations.for_drawing().iter().map(moment).collect(),
        resources: record
            .resources
            .series()
            .map(|series| Resource {
                service: &series.service,
                resource: &series.resource,
                unit: series.unit,
                peak: series.peak(),
            })
            .collect(),
        around_violations: &record.singles,
    }
}

fn moment(slice: &Slice) -> Moment {
    Moment { at: slice.at, lasts: slice.lasts, figures: figures(&slice.tally) }
}

fn figures(tally: &Tally) -> Figures {
    let ms = |share| tally.latencies.quantile(share).map(|latency| latency.as_micros() as f64 / 1e3);
    let quantiles = || Some(Quantiles { p50: ms(0.5)?, p95: ms(0.95)?, p99: ms(0.99)?, max: ms(1.0)? });
    Figures { counts: tally.counts, latency_ms: quantiles() }
}
