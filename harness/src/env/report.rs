//! What a person needs to understand why a test failed.

use std::{fmt, time::Duration};

use super::Env;
use crate::shared::read_log;

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
        let (mut logs, mut faults) = (Vec::new(), Vec::new());
        for (service, from) in &services {
            let log = read_log(&service.log_source(), *from).await;
            let text = of_this_test(&log, &names);
            if !text.is_empty() {
                logs.push((service.name().to_owned(), text));
            }
            let toxics = service.proxy().map(|proxy| proxy.toxics()).unwrap_or_default();
            faults.extend(toxics.iter().map(|toxic| format!("{}: {:?}", service.name(), toxic.kind())));
            if service.proxy().is_some_and(|proxy| !proxy.is_enabled()) {
                faults.push(format!("{}: down", service.name()));
            }
        }
        FailureReport {
            test: env.name().to_owned(),
            after: env.inner.started.0.elapsed(),
            databases,
            faults,
            logs,
            seed: env.seed(),
            rerun: env.inner.settings.rerun.clone(),
        }
    }
}

/// The last lines of a log, without those of other tests' databases.
fn of_this_test(log: &str, databases: &[String]) -> String {
    let foreign = |line: &&str| {
        line.split_whitespace()
            .any(|word| word.starts_with("seaworthy_") && !databases.iter().any(|name| name == word))
    };
    let lines: Vec<&str> = log.lines().filter(|line| !foreign(line)).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

impl fmt::Display for FailureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n── {} failed after {:.1?}", self.test, self.after)?;
        for database in &self.databases {
            writeln!(f, "{database}")?;
        }
        for fault in &self.faults {
            writeln!(f, "a fault was on: {fault}")?;
        }
        for (service, log) in &self.logs {
            writeln!(f, "── {service} logged:\n{log}")?;
        }
        let rerun = if self.rerun.is_empty() { "the test" } else { &self.rerun };
        writeln!(f, "── run it again: SEAWORTHY_SEED={} {rerun}", self.seed)
    }
}
