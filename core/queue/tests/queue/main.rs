//! What a team relies on when it uses the queue.

mod batches;
mod cancelling;
mod crash;
mod cron;
mod database;
mod dead_letters;
mod debouncing;
mod errors_and_traces;
mod flows;
mod gauge;
mod lifecycle;
mod limits;
mod limits_and_deaths;
mod operators;
mod periodic;
mod rates;
mod retention;
mod retrying;
mod schedules;
mod unique;
mod versions;
mod wellness;
mod workers;
