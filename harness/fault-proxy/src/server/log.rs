//! What the server tells, on its standard error.

use seaworthy_fault_proxy::api::Answered;
use tracing::{debug, level_filters::LevelFilter, warn};

/// Starts the log at the level that `LOG_LEVEL` names.
pub(super) fn start() {
    let named = std::env::var("LOG_LEVEL").unwrap_or_default();
    let level = level(&named);
    tracing_subscriber::fmt()
        .with_max_level(level.unwrap_or(LevelFilter::INFO))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
    if level.is_none() {
        warn!(LOG_LEVEL = named, "an unknown level; info is taken");
    }
}

/// Tells of an answered request: what went wrong with the machine at once, the rest to those who ask for it.
pub(super) fn request(answered: &Answered<'_>) {
    let Answered { id, method, path, status, reason, took, .. } = answered;
    let (status, reason) = (status.as_u16(), reason.unwrap_or_default());
    if status >= 500 {
        warn!(id, %method, path, status, reason, ?took, "a request failed");
    } else {
        debug!(id, %method, path, status, reason, ?took, "a request");
    }
}

/// The level of this name, among those that Toxiproxy has, too.
fn level(name: &str) -> Option<LevelFilter> {
    match name.to_ascii_lowercase().as_str() {
        "trace" => Some(LevelFilter::TRACE),
        "debug" => Some(LevelFilter::DEBUG),
        "" | "info" => Some(LevelFilter::INFO),
        "warn" => Some(LevelFilter::WARN),
        "error" | "fatal" | "panic" => Some(LevelFilter::ERROR),
        "disabled" | "off" => Some(LevelFilter::OFF),
        _ => None,
    }
}
