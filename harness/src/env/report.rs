//! What a person needs to understand why a test failed.

use std::{fmt, time::Duration};

use seaworthy_fault_proxy::{Outcome, Protocol, Recording, What};

use super::Env;
use crate::{Service, shared::read_log};

/// How many lines of a log are shown at most.
const LINES: usize = 40;

/// Where the test's databases are, what its services logged while it ran, the faults that were on, the seed, and the command that runs the
/// test again. It displays as text.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FailureReport {
    /// The test's name.
    pub test: String,
    /// How long it had run.
    pub after: Duration,
    /// Where each of its databases is, and how to open it.
    pub databases: Vec<String>,
    /// The faults that were on.
    pub faults: Vec<String>,
    /// What each service logged while the test ran, by name.
    pub logs: Vec<(String, String)>,
    /// What passed through the fault proxies, by the name of the service: the SQL that ran, the Redis commands, the WebSocket messages. The last lines of each.
    pub passed: Vec<(String, String)>,
    /// How often tests with this schema found no database ready so far, and waited until one was made.
    pub starved: u64,
    /// What its random decisions came from.
    pub seed: u64,
    /// The command that runs it again.
    pub rerun: String,
}

impl FailureReport {
    pub(super) async fn of(env: &Env) -> Self {
        let databases = env.inner.databases.lock().await;
        let names: Vec<String> = databases.values().map(|database| database.name().to_owned()).collect();
        let databases = databases.values().map(|database| database.whereabouts()).collect();
        let services = env.services().clone();
        let (mut logs, mut faults, mut passed) = (Vec::new(), Vec::new(), Vec::new());
        for (service, from) in &services {
            let log = read_log(&service.log_source(), *from).await;
            let text = of_this_test(&log, &names);
            if !text.is_empty() {
                logs.push((service.name().to_owned(), text));
            }
            let heard = what_passed(service);
            if !heard.is_empty() {
                passed.push((service.name().to_owned(), heard));
            }
            let toxics = service.proxy().map(|proxy| proxy.toxics()).unwrap_or_default();
            faults.extend(toxics.iter().map(|toxic| format!("{}: {:?}", service.name(), toxic.kind())));
            if service.proxy().is_some_and(|proxy| !proxy.is_enabled()) {
                faults.push(format!("{}: down", service.name()));
            }
        }
        // It must not fail for a count, and there is none where no database was asked for.
        let starved = if names.is_empty() { 0 } else { env.starved().await.unwrap_or(0) };
        FailureReport {
            test: env.name().to_owned(),
            after: env.inner.started.0.elapsed(),
            databases,
            faults,
            logs,
            passed,
            starved,
            seed: env.seed(),
            rerun: env.inner.settings.rerun.clone(),
        }
    }
}

/// What the recording of a service has, as text.
fn what_passed(service: &Service) -> String {
    let Some(recording) = service.recording() else { return String::new() };
    if recording.all().entries.is_empty() {
        return String::new();
    }
    let text = match recording.tap().protocol() {
        Protocol::Postgres => statements(recording),
        Protocol::Redis => service.commands().to_string(),
        _ => service.transcript().to_string(),
    };
    last_lines(&text)
}

/// The statements in the order in which they ran, each on a line with what became of it.
fn statements(recording: &Recording) -> String {
    let entries = recording.all().entries;
    let lines = entries.iter().filter_map(|entry| {
        let What::Statement(statement) = &entry.what else { return None };
        let became = match &statement.outcome {
            Outcome::Done { tag } => tag.to_string(),
            Outcome::Failed { code, message } => format!("failed: {code} {message}"),
            Outcome::Skipped => "skipped, since one ahead of it failed".to_owned(),
            Outcome::NoAnswer => "no answer: the connection ended".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        };
        let sql = statement.sql.as_str().split_whitespace().collect::<Vec<_>>().join(" ");
        let (at, took) =
            (entry.offset.as_secs_f64() * 1e3, statement.took.unwrap_or_default().as_secs_f64() * 1e3);
        Some(format!("{at:>9.1} ms  #{}  {sql}  [{became}, {took:.1} ms]", entry.connection))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// The last lines of a log, without those of other tests' databases.
fn of_this_test(log: &str, databases: &[String]) -> String {
    let foreign = |line: &&str| {
        line.split_whitespace()
            .any(|word| word.starts_with("seaworthy_") && !databases.iter().any(|name| name == word))
    };
    let lines: Vec<&str> = log.lines().filter(|line| !foreign(line)).collect();
    last_lines(&lines.join("\n"))
}

impl fmt::Display for FailureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n── {} failed after {:.1?}", self.test, self.after)?;
        for database in &self.databases {
            writeln!(f, "{database}")?;
        }
        if self.starved > 0 {
            writeln!(f, "tests with its schema found no database ready {} times so far", self.starved)?;
        }
        for fault in &self.faults {
            writeln!(f, "a fault was on: {fault}")?;
        }
        for (service, passed) in &self.passed {
            writeln!(f, "── {service} was told:\n{passed}")?;
        }
        for (service, log) in &self.logs {
            writeln!(f, "── {service} logged:\n{log}")?;
        }
        let rerun = if self.rerun.is_empty() { "the test" } else { &self.rerun };
        writeln!(f, "── run it again: SEAWORTHY_SEED={} {rerun}", self.seed)
    }
}
