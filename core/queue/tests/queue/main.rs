//! What a team relies on when it uses the queue.

mod cancelling;
mod cron;
mod database;
mod dead_letters;
mod errors_and_traces;
mod flows;
mod lifecycle;
mod operators;
mod periodic;
mod retention;
mod schedules;
mod unique;
mod versions;
mod wellness;
mod workers;
