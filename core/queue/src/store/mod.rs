//! The statements behind the queue. Each one keeps the invariants that the crate's front page states.

mod analytics;
/// The end of a statement that puts the rows of `$jobs` (id, queue, rank, attempt, flags, expires_at) where they can go on: limited ones to their gate, the others to
/// `ready`.
macro_rules! go_on {
    ($jobs:literal) => {
        concat!(
            "ready as (
                insert into seaworthy_queue.ready (queue, rank, id, attempt) select queue, rank, id, attempt from ", $jobs, " where flags & 4 = 0
            ), gated as (
                insert into seaworthy_queue.gated (name, key, rank, id, attempt, expires_at)
                select limit_name, limit_key, rank, id, attempt, expires_at from ", $jobs, " join seaworthy_queue.belonging using (id) where flags & 4 <> 0
                returning name, key
            ), gate_event as (
                insert into seaworthy_queue.gate_event (name, key) select distinct name, key from gated
            )"
        )
    };
}

mod advance;
mod backlog;
mod batch;
mod begin;
mod cancel;
mod claim;
mod clock;
mod dead;
mod debounce;
mod draft;
mod end;
mod enqueue;
mod failures;
mod flow;
mod gate;
mod leader;
mod limit;
mod listing;
mod notify;
mod rescue;
mod retention;
mod schedules;
mod story;
mod told;
mod workers;

use std::time::Duration;

use sqlx::{PgConnection, postgres::types::PgInterval};

use crate::{Error, job::microseconds};

pub(crate) use advance::{advance_after, promote_due};
pub(crate) use analytics::{analytics, pace};
pub(crate) use backlog::{backlog, stats};
pub(crate) use batch::{
    add_to_batch, batch_of, batch_progress, cancel_batch, close_batch, enqueue_batch, push_batch,
};
pub(crate) use cancel::{cancel, cancelled_on};
pub(crate) use claim::claim;
pub(crate) use dead::{dead_letters, purge, replay};
pub(crate) use end::{close_lease, complete_many, complete_one, end_unfinished};
pub(crate) use enqueue::enqueue;
pub(crate) use failures::failures;
pub(crate) use flow::enqueue_flow;
pub(crate) use leader::{Term, lead, resign};
pub(crate) use limit::{at_limit, remove_limit, set_limit};
pub(crate) use listing::{jobs, pressure, queues, workers};
pub(crate) use notify::{CHANNEL, notify};
pub(crate) use rescue::{give_back, release, rescue_expired};
pub(crate) use retention::{PAUSE as RETENTION_PAUSE, forget};
pub(crate) use schedules::{
    fire, occurrence_of, pause_schedule, remove_schedule, resume_schedule, schedules, upsert_schedule,
};
pub(crate) use story::story;
pub(crate) use told::{progress, progress_of, result_of};
pub(crate) use workers::{
    count_workers, describe_worker, heartbeat, leases_of, pause, register_worker, resume, retire_worker,
};

/// Rows that one maintenance statement handles at most.
const MAINTENANCE_BATCH: i64 = 1024;

/// What a job's end touches besides; and, from bit 8 on, the version of its arguments.
pub(crate) mod flag {
    pub(crate) const UNIQUE: i16 = 1;
    pub(crate) const CHILDREN: i16 = 2;
    /// What there is to know at the end.
    pub(crate) const END: i16 = 0xff;
    /// Where the version is.
    pub(crate) const VERSION: i16 = 0x7f00;

    /// Jobs from before there were versions have the first.
    pub(crate) fn version(flags: i16) -> u8 {
        u8::try_from(flags >> 8).unwrap_or(1).max(1)
    }

    pub(crate) fn of_version(version: u8) -> i16 {
        i16::from(version) << 8 & VERSION
    }
    pub(crate) const LIMITED: i16 = 4;
    pub(crate) const BATCH: i16 = 8;
    /// Its key is free as soon as a worker takes it.
    pub(crate) const UNIQUE_WHILE_WAITING: i16 = 16;
    /// What touches something else already when a worker takes it.
    pub(crate) const AT_BEGIN: i16 = LIMITED | UNIQUE_WHILE_WAITING;
    /// All but the jobs that wait for it.
    pub(crate) const OWN: i16 = UNIQUE | LIMITED | BATCH;
}

/// Makes the server give up on a lock before the client gives up on the statement: a statement that nobody waits for any more would
/// keep its connection and its own locks.
async fn limit_lock_waits(tx: &mut PgConnection, deadline: Duration) -> Result<(), Error> {
    sqlx::query("select set_config('lock_timeout', $1, true)")
        .bind(milliseconds(deadline / 2))
        .execute(tx)
        .await?;
    Ok(())
}

/// As [`limit_lock_waits`], for statements that take some rows from the beginning of an index: Postgres must not read and sort all of a table that was empty when it last
/// looked, and has grown. Nor must it compile such statements: what it is told to avoid, where there is nothing else, it takes for very dear.
async fn plain_plans(tx: &mut PgConnection, deadline: Duration) -> Result<(), Error> {
    sqlx::query(
        "select set_config('lock_timeout', $1, true), set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
            set_config('enable_sort', 'off', true), set_config('jit', 'off', true)",
    )
    .bind(milliseconds(deadline / 2))
    .execute(tx)
    .await?;
    Ok(())
}

/// A time as a setting of Postgres takes it, at least a millisecond: zero would mean for ever.
fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis().clamp(1, i32::MAX as u128))
}

/// A duration as Postgres takes it, in whole microseconds.
fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: microseconds(duration) }
}
