//! The queue's jobs, those that can be claimed, and those that were given up.

use fake::faker::lorem::en::Sentence;
use seaworthy_factories::Factory;
use serde::Serialize;
use serde_json::{Value, json};

/// What was asked for. A worker claims those that have a [`ReadyJob`].
#[derive(Debug, Clone, PartialEq, Serialize, Factory)]
#[factory(table = "seaworthy_queue.job")]
#[factory(state(urgent(priority = -10), once(max_attempts = 1)))]
pub struct Job {
    /// Counted.
    #[factory(key)]
    pub id: i64,
    /// The queue that it is in.
    #[factory(value = "default")]
    pub queue: String,
    /// Which handler it is for.
    #[factory(weighted = [("send_mail", 6), ("resize_image", 3), ("bill", 1)])]
    pub kind: String,
    /// What the handler gets.
    #[factory(value = json!({ "number": record.number() }))]
    pub args: Value,
    /// Smaller is sooner.
    #[factory(value = 0)]
    pub priority: i16,
    /// How often it is tried.
    #[factory(value = 25)]
    pub max_attempts: i16,
}

/// That a job can be claimed, and how soon.
#[derive(Debug, Clone, PartialEq, Serialize, Factory)]
#[factory(table = "seaworthy_queue.ready")]
pub struct ReadyJob {
    /// The queue of the job.
    #[factory(value = "default")]
    pub queue: String,
    /// When it may run, in milliseconds after 1970: long ago, one after the other.
    #[factory(with = |record| record.number() as i64)]
    pub rank: i64,
    /// The job.
    #[factory(parent = Job, as = job)]
    pub id: i64,
    /// Which attempt it will be.
    #[factory(value = 1)]
    pub attempt: i16,
}

/// A job that was given up.
#[derive(Debug, Clone, PartialEq, Serialize, Factory)]
#[factory(table = "seaworthy_queue.dead_letter")]
pub struct DeadLetter {
    /// The job.
    #[factory(parent = Job, as = job)]
    pub id: i64,
    /// The last attempt.
    #[factory(fake = 1..=25)]
    pub attempt: i16,
    /// Why.
    #[factory(fake = Sentence(3..8))]
    pub error: String,
}
