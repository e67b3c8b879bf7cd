//! What a team relies on when it uses the queue.

mod cancelling;
mod crash;
mod database;
mod dead_letters;
mod errors_and_traces;
mod flows;
mod lifecycle;
mod schedules;
mod unique;
mod workers;
