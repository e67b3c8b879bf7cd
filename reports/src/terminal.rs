//! The run for a terminal.

use std::{fmt::Write as _, time::Duration};

use comfy_table::{CellAlignment, Table, presets};

use crate::{
    operations::OutcomeKind,
    record::{Check, Run, ScenarioRecord, Status, Verdict},
    words,
};

/// Columns of the line that shows latency over time.
const COLUMNS: usize = 60;
/// Checks of a scenario that are told when they did not hold.
const MOST_CHECKS: usize = 20;

impl Run {
    /// The run as plain text for a terminal: a table, then what did not hold and how to play it again. With colour, verdicts are in
    /// ANSI's colours.
    pub fn to_terminal(&self, colour: bool) -> String {
        let run = self.as_logged();
        let mut text = format!("{}\n", table(&run, colour));
        for scenario in &run.scenarios {
            wrong(&mut text, scenario, colour);
        }
        if run.cut_short {
            text.push_str("\nThe run was cut short: its log ends before it did.\n");
        }
        let _ = writeln!(text, "\n{}: {}", painted(run.verdict().as_str(), colour), run.sentence());
        let _ = writeln!(text, "seed {}", run.seed);
        text
    }
}

fn table(run: &Run, colour: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "scenario",
        "verdict",
        "ok",
        "refused",
        "unknown",
        "no answer",
        "p50",
        "p95",
        "p99",
        "max",
        "faults",
        "took",
    ]);
    for scenario in &run.scenarios {
        let total = scenario.operations.total();
        let mut row = vec![scenario.name.clone(), scenario.verdict_word().to_owned()];
        row.extend(OutcomeKind::ALL.map(|outcome| words::count(total.counts.of(outcome))));
        row.extend([0.5, 0.95, 0.99, 1.0].map(|share| words::maybe(total.latencies.quantile(share))));
        row.extend([scenario.faults.len().to_string(), words::span(scenario.took)]);
        table.add_row(row);
    }
    table.column_iter_mut().skip(2).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    // Colours come last: the table would count them as characters.
    let table = table.to_string();
    if !colour {
        return table;
    }
    let words = ["held", "unknown", "violated", "skipped"];
    let lines = table.lines().enumerate().map(|(number, line)| {
        let name =
            number.checked_sub(3).and_then(|row| run.scenarios.get(row)).map(|scenario| &scenario.name);
        let after = name.and_then(|name| line.find(name.as_str()).map(|at| at + name.len()));
        let found = after.and_then(|after| {
            words.iter().filter_map(|word| Some((line[after..].find(word)? + after, *word))).min()
        });
        match found {
            Some((at, word)) => format!("{}{}{}", &line[..at], painted(word, true), &line[at + word.len()..]),
            None => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What did not hold, with its story, the latency around it, and the command that plays it again.
fn wrong(text: &mut String, scenario: &ScenarioRecord, colour: bool) {
    match &scenario.status {
        Status::Skipped(why) => {
            let _ = writeln!(text, "\n{} {}: {why}", scenario.name, painted("skipped", colour));
            return;
        }
        Status::Interrupted(why) => {
            let _ = writeln!(text, "\n{} was interrupted: {why}", scenario.name);
        }
        Status::Played => {}
    }
    let wrong: Vec<&Check> = scenario.checks.iter().filter(|check| check.is_wrong()).collect();
    if wrong.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}", scenario.name);
    for check in wrong.iter().take(MOST_CHECKS) {
        let verdict = painted(check.verdict.as_str(), colour);
        let _ = writeln!(text, "  {verdict}: {}: {}", check.name, check.detail);
        for (number, step) in check.story.iter().enumerate() {
            let _ = writeln!(text, "    {}. {step}", number + 1);
        }
    }
    if wrong.len() > MOST_CHECKS {
        let _ = writeln!(text, "  and {} more", wrong.len() - MOST_CHECKS);
    }
    if let Some((latency, faults, end)) = over_time(scenario) {
        let _ = writeln!(text, "  p99     {latency}  0 to {}", words::span(end));
        let _ = writeln!(text, "  faults  {faults}");
    }
    if !scenario.replay.is_empty() {
        let _ = writeln!(text, "  play it again: {}", scenario.replay);
    }
}

/// p99 over time as a line of bars on a logarithmic scale, and a line that shows when faults were on.
fn over_time(scenario: &ScenarioRecord) -> Option<(String, String, Duration)> {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let slices = scenario.operations.for_drawing();
    let healed = scenario.faults.iter().map(|fault| fault.to).max().unwrap_or_default();
    let end = slices.last().map(|slice| slice.at + slice.lasts)?.max(healed);
    let column = end.div_f64(COLUMNS as f64).max(Duration::from_micros(1));
    let mut p99 = [None; COLUMNS];
    for slice in &slices {
        let (from, to) =
            (slice.at.div_duration_f64(column), (slice.at + slice.lasts).div_duration_f64(column));
        for place in &mut p99[from as usize..(to.ceil() as usize).min(COLUMNS)] {
            *place = (*place).max(slice.tally.latencies.quantile(0.99));
        }
    }
    let known = p99.iter().flatten().map(|latency| latency.as_secs_f64().max(1e-5).log10());
    let (low, high) =
        known.fold((f64::MAX, f64::MIN), |(low, high), latency| (low.min(latency), high.max(latency)));
    let bar = |latency: &Option<Duration>| {
        let Some(latency) = latency else { return ' ' };
        let share = (latency.as_secs_f64().max(1e-5).log10() - low) / (high - low).max(0.3);
        BARS[((share * 8.0) as usize).min(7)]
    };
    let on = |number: usize| {
        let (from, to) = (column * number as u32, column * (number as u32 + 1));
        let meets = scenario.faults.iter().any(|fault| fault.from < to && fault.to > from);
        if meets { '━' } else { '·' }
    };
    Some((p99.iter().map(bar).collect(), (0..COLUMNS).map(on).collect(), end))
}

/// A verdict in its colour.
pub(crate) fn painted(verdict: &str, colour: bool) -> String {
    let code = match verdict {
        _ if !colour => return verdict.to_owned(),
        word if word == Verdict::Held.as_str() => "32",
        word if word == Verdict::Violated.as_str() => "1;31",
        _ => "33",
    };
    format!("\x1b[{code}m{verdict}\x1b[0m")
}
