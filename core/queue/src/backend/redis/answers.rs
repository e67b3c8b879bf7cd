//! What the script answers.

use std::{sync::Arc, time::Duration};

use redis::{FromRedisValue, ParsingError, Value};
use uuid::Uuid;

use crate::{
    Error, JobId,
    answers::DeadLetter,
    backend::{Claimed, ClaimedBatch},
};

/// The first one has the rank of the first job, the others are jobs.
pub(super) enum ClaimedRow {
    Rank(i64),
    Job(Box<Row>),
}

/// Number, kind, arguments, attempt, attempts in all, version, trace, whether it is expired, microseconds since it was enqueued.
type Row = (i64, String, String, i16, i16, u8, Option<String>, bool, u64);

impl FromRedisValue for ClaimedRow {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        match &value {
            Value::Array(fields) if fields.len() == 1 => {
                <(i64,)>::from_redis_value(value).map(|(rank,)| ClaimedRow::Rank(rank))
            }
            _ => Row::from_redis_value(value).map(|row| ClaimedRow::Job(Box::new(row))),
        }
    }
}

pub(super) fn claimed(rows: Vec<ClaimedRow>, queue: &Arc<str>, token: Uuid) -> ClaimedBatch {
    let mut batch = ClaimedBatch::default();
    for row in rows {
        match row {
            ClaimedRow::Rank(rank) => batch.first_rank = Some(rank),
            ClaimedRow::Job(row) => {
                let (id, kind, args, attempt, max_attempts, version, trace, is_expired, age) = *row;
                batch.jobs.push(Claimed {
                    id: JobId(id),
                    queue: queue.clone(),
                    kind,
                    args,
                    attempt,
                    max_attempts,
                    flags: 0,
                    version,
                    is_expired,
                    trace,
                    age: Duration::from_micros(age),
                    token,
                    place: i16::try_from(batch.jobs.len()).unwrap_or(i16::MAX),
                });
            }
        }
    }
    batch
}

/// All of them were made by workers.
pub(super) fn tokens<C: FromIterator<Uuid>>(texts: Vec<String>) -> C {
    texts.iter().filter_map(|text| Uuid::parse_str(text).ok()).collect()
}

pub(super) fn dead_letters(rows: Vec<(i64, String, String, i16, String)>) -> Result<Vec<DeadLetter>, Error> {
    let letter = |(id, kind, args, attempts, error): (i64, String, String, i16, String)| {
        let args =
            serde_json::from_str(&args).map_err(|source| Error::Arguments { kind: kind.clone(), source })?;
        Ok(DeadLetter { id: JobId(id), kind, args, attempts, error })
    };
    rows.into_iter().map(letter).collect()
}
