//! The queue's command line as an operator meets it, on a real database.

mod dead_letters;
mod jobs;
mod operator;
mod queues;
mod refusals;
mod schedules;
#[cfg(target_os = "linux")]
mod terminal;
mod watching;
