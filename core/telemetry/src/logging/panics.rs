//! Panics, as log lines.

use std::{panic, sync::Once};

use super::{bounds, writer};
use crate::redaction::scrub;

/// Logs panics as errors of the target `panic`, with the place and the thread. Their texts are scrubbed, unlike those that the
/// standard library writes to standard error. Where nothing logs, the scrubbed text goes there.
pub fn log_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| panic::set_hook(Box::new(log)));
}

fn log(panic: &panic::PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("a panic without a text");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let stopped = super::INSTALLED.get().is_some_and(|handle| handle.queue.is_stopped());
    if tracing::event_enabled!(target: "panic", tracing::Level::ERROR)
        && !stopped
        && !writer::is_this_thread()
    {
        tracing::event!(target: "panic", tracing::Level::ERROR, panic.location = location, thread, "a thread panicked: {text}");
    } else {
        let text = bounds::finish(&scrub(text), text.len());
        writer::to_stderr(&format!("the thread {thread} panicked at {location}: {text}"));
    }
    // Nobody drops the guard of a process that aborts.
    if cfg!(panic = "abort")
        && let Some(handle) = super::INSTALLED.get()
    {
        handle.flush(std::time::Duration::from_secs(1));
    }
}
