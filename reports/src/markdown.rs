//! The run for a pull request.

use std::fmt::Write as _;

use crate::{
    operations::OutcomeKind,
    record::{Check, Run, ScenarioRecord, Status, Verdict},
    words,
};

/// What a comment shows at most; a page has more.
const MOST_SCENARIOS: usize = 60;
const MOST_CHECKS: usize = 12;
/// Bytes of a whole comment; GitHub refuses those of more than 65,536 characters.
const MOST_BYTES: usize = 60_000;

impl Run {
    /// The run as Markdown for a pull request: the verdict, what did not hold, a table, and how to play it again. At most 60 kB.
    pub fn to_markdown(&self) -> String {
        let run = self.as_logged();
        let mut text = String::new();
        let verdict = run.verdict();
        let _ = write!(text, "## {} Seaworthy: {verdict}\n\n{}\n", sign(verdict), escaped(&run.sentence()));
        if run.cut_short {
            text.push_str("\n**The run was cut short**: its log ends before it did.\n");
        }
        table(&mut text, &run);
        for scenario in run.worst_first() {
            let mut part = String::new();
            wrong(&mut part, scenario);
            if text.len() + part.len() > MOST_BYTES {
                text.push_str("\nMore did not hold than fits here: see the whole report.\n");
                break;
            }
            text.push_str(&part);
        }
        let environment = &run.environment;
        let _ = write!(
            text,
            "\n<sub>Seed {} · {} · {} · {} · durability {} · Seaworthy {} · {}</sub>\n",
            run.seed,
            escaped(&environment.provider),
            escaped(&environment.system),
            words::several(environment.cores as u64, "core"),
            escaped(&environment.durability),
            escaped(&run.version),
            words::date(run.started_at),
        );
        text
    }
}

fn table(text: &mut String, run: &Run) {
    text.push_str("\n| | Scenario | Operations | Ok | p50 | p99 | max | Faults | Took |\n");
    text.push_str("|---|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for scenario in run.worst_first().into_iter().take(MOST_SCENARIOS) {
        let total = scenario.operations.total();
        let (count, latency) = (total.counts.total(), |share| words::maybe(total.latencies.quantile(share)));
        let (sign, verdict) =
            if scenario.was_played() { (sign(scenario.verdict()), "") } else { ("⏭", " (skipped)") };
        let _ = writeln!(
            text,
            "| {sign} | {}{verdict} | {} | {} | {} | {} | {} | {} | {} |",
            escaped(&scenario.name),
            words::count(count),
            words::percent(total.counts.of(OutcomeKind::Ok), count),
            latency(0.5),
            latency(0.99),
            latency(1.0),
            scenario.faults.len(),
            words::span(scenario.took),
        );
    }
    if run.scenarios.len() > MOST_SCENARIOS {
        let _ = writeln!(
            text,
            "\n{} more scenarios are in the whole report.",
            run.scenarios.len() - MOST_SCENARIOS
        );
    }
}

/// What did not hold in a scenario, and how to see it again.
fn wrong(text: &mut String, scenario: &ScenarioRecord) {
    let why = match &scenario.status {
        Status::Skipped(why) => Some(("could not be played", why)),
        Status::Interrupted(why) => Some(("was interrupted", why)),
        Status::Played => None,
    };
    let wrong: Vec<&Check> = scenario.checks.iter().filter(|check| check.is_wrong()).collect();
    if wrong.is_empty() && why.is_none() {
        return;
    }
    let _ = writeln!(text, "\n### {}\n", escaped(&scenario.name));
    if let Some((what, why)) = why {
        let _ = writeln!(text, "It {what}: {}", escaped(why));
    }
    for check in wrong.iter().take(MOST_CHECKS) {
        let name = escaped(&check.name);
        let _ = writeln!(
            text,
            "- {} **{name}** ({}): {}",
            sign(check.verdict),
            check.verdict,
            escaped(&check.detail)
        );
        for (number, step) in check.story.iter().enumerate() {
            let _ = writeln!(text, "  {}. {}", number + 1, escaped(step));
        }
    }
    if wrong.len() > MOST_CHECKS {
        let _ = writeln!(text, "- and {} more", wrong.len() - MOST_CHECKS);
    }
    if !scenario.replay.is_empty() {
        let _ = write!(text, "\nPlay it again:\n\n```sh\n{}\n```\n", scenario.replay.replace("```", "'''"));
    }
}

pub(crate) fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Held => "✅",
        Verdict::Unknown => "❔",
        Verdict::Violated => "❌",
    }
}

/// The text as Markdown that reads as the text: no markup, no HTML, no mention of people, and no break out of a table's cell.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // A mark that takes no room keeps `@name` from calling somebody.
            '@' => escaped.push_str("@\u{200b}"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' | '$' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '\n' | '\r' => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}
