//! Two runs side by side.

use std::{collections::HashMap, fmt::Write as _, time::Duration};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::{
    markdown::{escaped, sign},
    operations::OutcomeKind,
    record::{Run, ScenarioRecord, Verdict},
    resources::Unit,
    terminal::painted,
    text::{NAME, one_line},
    words,
};

/// What readers must know before they draw conclusions.
pub(crate) const CAVEAT: &str = "One run each: how far two runs of the same build lie apart is not known from this. Repeat both, in turns, before you believe a small difference.";

/// Two runs, scenario by scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    pub(crate) names: [String; 2],
    pub(crate) runs: [Run; 2],
    pub(crate) pairs: Vec<Pair>,
}

/// A scenario that either run or both have: where it is in each of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    pub(crate) name: String,
    places: [Option<usize>; 2],
}

/// One number of both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Measure {
    pub(crate) name: String,
    #[serde(skip)]
    latency: bool,
    unit: Unit,
    before: Option<f64>,
    after: Option<f64>,
}

impl Comparison {
    /// Puts two runs side by side, each with the name that the reader knows it by. Scenarios are matched by name; the second of a name with the
    /// second.
    pub fn new(before: (&str, &Run), after: (&str, &Run)) -> Self {
        let runs = [before.1.as_logged(), after.1.as_logged()];
        let mut pairs: Vec<Pair> = Vec::new();
        for (side, run) in runs.iter().enumerate() {
            let mut times: HashMap<&str, usize> = HashMap::new();
            for (place, scenario) in run.scenarios.iter().enumerate() {
                let time = times.entry(&scenario.name).or_default();
                let name = scenario.name.as_str();
                match pairs.iter_mut().filter(|pair| pair.name == name).nth(*time) {
                    Some(pair) => pair.places[side] = Some(place),
                    None => {
                        let mut places = [None; 2];
                        places[side] = Some(place);
                        pairs.push(Pair { name: name.to_owned(), places });
                    }
                }
                *time += 1;
            }
        }
        Comparison { names: [before.0, after.0].map(|name| one_line(name, NAME)), runs, pairs }
    }

    /// The scenario of a pair in both runs.
    pub(crate) fn sides(&self, pair: &Pair) -> [Option<&ScenarioRecord>; 2] {
        [0, 1].map(|side| pair.places[side].map(|place| &self.runs[side].scenarios[place]))
    }

    /// What can be compared of a pair.
    pub(crate) fn measures(&self, pair: &Pair) -> Vec<Measure> {
        let sides = self.sides(pair);
        let totals = sides.map(|side| side.map(|record| record.operations.total()));
        let mut measures = Vec::new();
        let mut add = |name: &str, unit, latency, [before, after]: [Option<f64>; 2]| {
            if before.is_some() || after.is_some() {
                measures.push(Measure { name: name.to_owned(), latency, unit, before, after });
            }
        };
        for (name, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)] {
            let of = |side: usize| {
                totals[side].as_ref()?.latencies.quantile(share).map(|latency| latency.as_secs_f64())
            };
            add(name, Unit::Seconds, true, [of(0), of(1)]);
        }
        for outcome in OutcomeKind::ALL {
            let of = |side: usize| totals[side].as_ref().map(|total| total.counts.of(outcome) as f64);
            add(outcome.as_str(), Unit::Count, false, [of(0), of(1)]);
        }
        let took = |side: usize| sides[side].map(|record| record.took.as_secs_f64());
        add("took", Unit::Seconds, false, [took(0), took(1)]);
        let mut resources: Vec<(Unit, &str, &str)> = Vec::new();
        for series in sides.iter().flatten().flat_map(|record| record.resources.series()) {
            let key = (series.unit, series.resource.as_str(), series.service.as_str());
            if !resources.contains(&key) {
                resources.push(key);
            }
        }
        for (unit, resource, service) in resources {
            let of = |side: usize| {
                let mut all = sides[side]?.resources.series();
                let same = |series: &&crate::Series| series.resource == resource && series.service == service;
                all.find(same).map(|series| series.peak())
            };
            add(&format!("peak {resource} of {service}"), unit, false, [of(0), of(1)]);
        }
        measures
    }

    /// Checks whose verdict is another one, or that only one run has: name, before, after.
    pub(crate) fn changed_checks(&self, pair: &Pair) -> Vec<(String, Option<Verdict>, Option<Verdict>)> {
        let sides = self.sides(pair);
        let [before, after] = sides.map(|side| side.map_or(&[][..], |record| &record.checks[..]));
        let mut names: Vec<&str> = before.iter().map(|check| check.name.as_str()).collect();
        for check in after {
            if !names.contains(&check.name.as_str()) {
                names.push(&check.name);
            }
        }
        let worst = |checks: &[crate::Check], name: &str| {
            checks.iter().filter(|check| check.name == name).map(|check| check.verdict).max()
        };
        let changed =
            names.into_iter().map(|name| (name.to_owned(), worst(before, name), worst(after, name)));
        changed.filter(|(_, before, after)| before != after).collect()
    }

    /// What was not the same where the runs took place: what, before, after.
    pub(crate) fn circumstances(&self) -> Vec<(&'static str, String, String)> {
        let [before, after] = &self.runs;
        let (old, new) = (&before.environment, &after.environment);
        let all = [
            ("Started", words::date(before.started_at), words::date(after.started_at)),
            ("Seed", before.seed.to_string(), after.seed.to_string()),
            ("Seaworthy", before.version.clone(), after.version.clone()),
            ("Provider", old.provider.clone(), new.provider.clone()),
            ("System", old.system.clone(), new.system.clone()),
            ("Cores", old.cores.to_string(), new.cores.to_string()),
            ("Durability", old.durability.clone(), new.durability.clone()),
        ];
        all.into_iter().filter(|(_, before, after)| before != after).collect()
    }

    /// The comparison as plain text for a terminal.
    pub fn to_terminal(&self, colour: bool) -> String {
        let mut text = format!("A  {}\nB  {}\n", self.names[0], self.names[1]);
        for (what, before, after) in self.circumstances() {
            let _ = writeln!(text, "{what}: {before} → {after}");
        }
        for pair in &self.pairs {
            let words = self
                .sides(pair)
                .map(|side| painted(side.map_or("missing", ScenarioRecord::verdict_word), colour));
            let _ = writeln!(text, "\n{}: {} → {}", pair.name, words[0], words[1]);
            for (name, before, after) in self.changed_checks(pair) {
                let [before, after] = [before, after].map(|verdict| painted(word(verdict), colour));
                let _ = writeln!(text, "  {name}: {before} → {after}");
            }
            let mut table = Table::new();
            table.load_style(presets::UTF8_BORDERS_ONLY);
            table.set_header(["", "A", "B", "B / A"]);
            for measure in self.measures(pair) {
                table.add_row([measure.name.clone(), measure.before(), measure.after(), measure.ratio()]);
            }
            table
                .column_iter_mut()
                .skip(1)
                .for_each(|column| column.set_cell_alignment(CellAlignment::Right));
            let _ = writeln!(text, "{table}");
        }
        let _ = writeln!(text, "\n{CAVEAT}");
        text
    }

    /// The comparison as Markdown for a pull request.
    pub fn to_markdown(&self) -> String {
        const MOST_PAIRS: usize = 40;
        let mut text = format!(
            "## Seaworthy: two runs\n\nA: {}  \nB: {}\n",
            escaped(&self.names[0]),
            escaped(&self.names[1])
        );
        for (what, before, after) in self.circumstances() {
            let _ = write!(text, "\n- {what}: {} → {}", escaped(&before), escaped(&after));
        }
        text.push('\n');
        for pair in self.pairs.iter().take(MOST_PAIRS) {
            let signs = self.sides(pair).map(|side| match side {
                Some(record) if record.was_played() => sign(record.verdict()),
                Some(_) => "⏭",
                None => "–",
            });
            let _ = write!(text, "\n### {} {} → {}\n\n", escaped(&pair.name), signs[0], signs[1]);
            for (name, before, after) in self.changed_checks(pair) {
                let _ = writeln!(text, "- {}: {} → **{}**", escaped(&name), word(before), word(after));
            }
            text.push_str("\n| | A | B | B / A |\n|---|--:|--:|--:|\n");
            for measure in self.measures(pair) {
                let (before, after, ratio) = (measure.before(), measure.after(), measure.ratio());
                let _ = writeln!(text, "| {} | {before} | {after} | {ratio} |", escaped(&measure.name));
            }
        }
        if self.pairs.len() > MOST_PAIRS {
            let _ = writeln!(text, "\n{} more scenarios are left out.", self.pairs.len() - MOST_PAIRS);
        }
        let _ = writeln!(text, "\n<sub>{CAVEAT}</sub>");
        text
    }

    /// The comparison as JSON.
    ///
    /// # Panics
    ///
    /// Never: every part of it has a JSON form.
    pub fn to_json(&self) -> String {
        let pairs: Vec<_> = self
            .pairs
            .iter()
            .map(|pair| {
                let verdicts = self.sides(pair).map(|side| side.map(ScenarioRecord::verdict_word));
                let changed: Vec<_> = self.changed_checks(pair);
                let changed: Vec<_> = changed
                    .iter()
                    .map(|(name, before, after)| serde_json::json!({ "name": name, "before": before, "after": after }))
                    .collect();
                serde_json::json!({
                    "scenario": pair.name,
                    "before": verdicts[0],
                    "after": verdicts[1],
                    "changed_checks": changed,
                    "measures": self.measures(pair),
                })
            })
            .collect();
        let document = serde_json::json!({
            "before": { "name": self.names[0], "verdict": self.runs[0].verdict(), "seed": self.runs[0].seed },
            "after": { "name": self.names[1], "verdict": self.runs[1].verdict(), "seed": self.runs[1].seed },
            "scenarios": pairs,
        });
        let mut text = serde_json::to_string_pretty(&document).expect("a comparison has a JSON form");
        text.push('\n');
        text
    }
}

/// A verdict that a run may not have.
pub(crate) fn word(verdict: Option<Verdict>) -> &'static str {
    verdict.map_or("missing", Verdict::as_str)
}

impl Measure {
    pub(crate) fn before(&self) -> String {
        self.value(self.before)
    }

    pub(crate) fn after(&self) -> String {
        self.value(self.after)
    }

    /// How many times as much the second is.
    pub(crate) fn ratio(&self) -> String {
        match (self.before, self.after) {
            (Some(before), Some(after)) if before == after => "same".to_owned(),
            (Some(before), Some(after)) if before > 0.0 => format!("× {:.2}", after / before),
            _ => "–".to_owned(),
        }
    }

    fn value(&self, value: Option<f64>) -> String {
        match value {
            Some(value) if self.latency => {
                words::latency(Duration::try_from_secs_f64(value).unwrap_or_default())
            }
            Some(value) => words::value(value, self.unit),
            None => "–".to_owned(),
        }
    }
}
