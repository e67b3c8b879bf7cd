//! Jobs in Redis, for those who have no Postgres at hand and can live with its durability.

mod answers;

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use redis::{
    Client, FromRedisValue, Script,
    aio::{ConnectionManager, ConnectionManagerConfig, PubSubStream},
};
use seaworthy_telemetry::metrics::Backlog;
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use self::answers::ClaimedRow;
use super::{Backend, Claim, Claimed, ClaimedBatch, Completed, Ending, Listener, Unfinished};
use crate::{
    Error, JobId, NewJob,
    answers::{Cancelled, DeadLetter, Enqueued, Progress, Stats},
    job::{Start, microseconds},
};

/// What the queue asks the server for, beyond what workers do, may take so long.
const DEADLINE: Duration = Duration::from_secs(30);

/// All calls, in one script.
static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue.lua")));

/// Jobs in Redis 6.2 or newer. All keys of a queue begin with `{seaworthy:NAME}`, so they are in one hash slot of a cluster; the client has to lead to the node that has it.
///
/// A queue is as durable as its server: with `appendfsync everysec`, the default of an append-only file, a crash may lose the last second, and with replicas a failover may lose what had not
/// been replicated. A job that was lost is never run; a completion that was lost lets its job run again. `appendonly yes` with `appendfsync always` and no failover keeps every promise.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    connection: ConnectionManager,
    /// The prefix of all keys.
    prefix: Arc<str>,
    deadline: Duration,
}

impl Redis {
    /// The jobs of this name on this server. Connects when it is first used, and again whenever the connection is lost.
    ///
    /// # Errors
    ///
    /// [`Error::Redis`] when the client's settings contradict each other.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn new(client: Client, name: &str) -> Result<Self, Error> {
        let connection = connect(&client, DEADLINE)?;
        // A brace would end the hash tag before its time.
        let name = name.replace(['{', '}'], "_");
        Ok(Redis { client, connection, prefix: format!("{{seaworthy:{name}}}").into(), deadline: DEADLINE })
    }

    async fn call<T: FromRedisValue>(&self, call: &str, arguments: Value) -> Result<T, Error> {
        let mut connection = self.connection.clone();
        let arguments = arguments.to_string();
        let mut invocation = SCRIPT.key(&*self.prefix);
        invocation.arg(call).arg(arguments);
        let answer = timeout(self.deadline, invocation.invoke_async(&mut connection)).await;
        Ok(answer.map_err(|_| self.no_answer())??)
    }

    fn no_answer(&self) -> Error {
        Error::NoAnswer { backend: "redis", within: self.deadline }
    }

    /// Where it is told that there is work.
    fn channel(&self) -> String {
        format!("{}:wake", self.prefix)
    }
}

fn connect(client: &Client, deadline: Duration) -> Result<ConnectionManager, Error> {
    // What fails is tried again by whoever asked, who knows how long that makes sense.
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(deadline))
        .set_response_timeout(Some(deadline));
    Ok(ConnectionManager::new_lazy_with_config(client.clone(), config)?)
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn for_worker(&self, deadline: Duration) -> Arc<dyn Backend> {
        // The settings were good for the first one.
        let connection = connect(&self.client, deadline).unwrap_or_else(|_| self.connection.clone());
        Arc::new(Redis { client: self.client.clone(), connection, prefix: self.prefix.clone(), deadline })
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn close(&self) {}

    async fn migrate(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn enqueue(&self, jobs: &[NewJob], edges: &[(usize, usize)]) -> Result<Vec<Enqueued>, Error> {
        let jobs: Vec<Value> = jobs.iter().map(entry).collect();
        let numbers: Vec<i64> = self.call("enqueue", json!({"jobs": jobs, "edges": edges})).await?;
        let enqueued = |pair: &[i64]| Enqueued { id: JobId(pair[0]), is_new: pair[1] == 1 };
        Ok(numbers.chunks_exact(2).map(enqueued).collect())
    }

    async fn notify(&self, queues: &[String]) -> Result<(), Error> {
        let mut pipe = redis::pipe();
        for queue in queues {
            pipe.publish(self.channel(), queue).ignore();
        }
        let mut connection = self.connection.clone();
        let told = timeout(self.deadline, pipe.query_async::<()>(&mut connection)).await;
        Ok(told.map_err(|_| self.no_answer())??)
    }

    async fn register_worker(&self, worker: Uuid, lease_timeout: Duration) -> Result<(), Error> {
        self.call("register", json!({"worker": worker, "timeout": microseconds(lease_timeout)})).await
    }

    async fn heartbeat(&self, worker: Uuid) -> Result<bool, Error> {
        self.call("heartbeat", json!({"worker": worker})).await
    }

    async fn retire_worker(&self, worker: Uuid) -> Result<u64, Error> {
        self.call("retire", json!({"worker": worker, "why": "the worker signed off"})).await
    }

    async fn listen(&self) -> Result<Box<dyn Listener>, Error> {
        let listen = async {
            let mut connection = self.client.get_async_pubsub().await?;
            connection.subscribe(self.channel()).await?;
            let messages = connection.into_on_message();
            Ok::<_, Error>(Box::new(Hearing { messages, within: self.deadline }) as Box<dyn Listener>)
        };
        timeout(self.deadline, listen).await.map_err(|_| self.no_answer())?
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<ClaimedBatch, Error> {
        let Claim { worker, token, queue, limit, .. } = claim;
        let arguments = json!({"worker": worker, "token": token, "queue": &**queue, "limit": limit});
        let rows: Option<Vec<ClaimedRow>> = self.call("claim", arguments).await?;
        let rows = rows.ok_or(Error::Dismissed { worker })?;
        Ok(answers::claimed(rows, queue, token))
    }

    async fn give_back(&self, part: i16, jobs: &[Claimed]) -> Result<(), Error> {
        let Some(token) = jobs.first().map(|job| job.token) else { return Ok(()) };
        let jobs: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        self.call("give_back", json!({"token": token, "part": part, "jobs": jobs})).await
    }

    async fn leases_of(&self, worker: Uuid) -> Result<Vec<Uuid>, Error> {
        let tokens: Vec<String> = self.call("leases_of", json!({"worker": worker})).await?;
        Ok(answers::tokens(tokens))
    }

    async fn release(&self, tokens: &[Uuid]) -> Result<u64, Error> {
        self.call("release", json!({"tokens": tokens, "why": "the answer to the claim got lost"})).await
    }

    async fn complete(&self, done: &[Completed]) -> Result<HashSet<Uuid>, Error> {
        let tokens: Vec<String> = self.call("complete", json!({"done": done})).await?;
        Ok(answers::tokens(tokens))
    }

    async fn end_unfinished(&self, all: &[Unfinished]) -> Result<usize, Error> {
        let all: Vec<Value> = all.iter().map(ending).collect();
        self.call("unfinished", json!({"all": all})).await
    }

    async fn close_lease(&self, token: Uuid) -> Result<u64, Error> {
        let why = "the handler said that the job was done, and its end was not recorded";
        self.call("close", json!({"tokens": [token], "why": why})).await
    }

    async fn tell_progress(&self, token: Uuid, job: JobId, progress: &Progress) -> Result<(), Error> {
        // As text: Lua's numbers have 53 bits.
        let Progress { done, total, note } = progress;
        let (done, total) = (done.to_string(), total.to_string());
        let arguments = json!({"token": token, "job": job, "done": done, "total": total, "note": note});
        let is_told: bool = self.call("tell_progress", arguments).await?;
        if is_told { Ok(()) } else { Err(Error::Fenced { job: job.0 }) }
    }

    async fn promote_due(&self) -> Result<u64, Error> {
        self.call("promote", json!({})).await
    }

    async fn rescue_expired(&self) -> Result<u64, Error> {
        self.call("rescue", json!({"why": "the worker died"})).await
    }

    async fn cancelled_on(&self, worker: Uuid) -> Result<Vec<JobId>, Error> {
        let asked: Vec<i64> = self.call("cancelled_on", json!({"worker": worker})).await?;
        Ok(asked.into_iter().map(JobId).collect())
    }

    async fn cancel(&self, job: JobId) -> Result<Cancelled, Error> {
        let became: String = self.call("cancel", json!({"job": job})).await?;
        Ok(match became.as_str() {
            "queued" => Cancelled::Queued,
            "running" => Cancelled::Running,
            _ => Cancelled::Over,
        })
    }

    async fn progress(&self, job: JobId) -> Result<Option<Progress>, Error> {
        let (done, total, note): (Option<i64>, Option<i64>, Option<String>) =
            self.call("progress", json!({"job": job})).await?;
        Ok(done.zip(total).zip(note).map(|((done, total), note)| Progress { done, total, note }))
    }

    async fn result(&self, job: JobId) -> Result<Option<String>, Error> {
        self.call("result", json!({"job": job})).await
    }

    async fn pause(&self, queue: &str) -> Result<bool, Error> {
        self.call("pause", json!({"queue": queue})).await
    }

    async fn resume(&self, queue: &str) -> Result<bool, Error> {
        self.call("resume", json!({"queue": queue})).await
    }

    async fn backlog(&self, queue: &str) -> Result<Backlog, Error> {
        let (ready, scheduled, leased, dead, oldest): (u64, u64, u64, u64, u64) =
            self.call("backlog", json!({"queue": queue})).await?;
        Ok(Backlog { ready, scheduled, limited: 0, leased, dead, oldest: Duration::from_micros(oldest) })
    }

    async fn stats(&self) -> Result<Stats, Error> {
        let (ready, scheduled, blocked, leased, dead, completed, rescued, cancelled, expired) =
            self.call("stats", json!({})).await?;
        Ok(Stats {
            ready,
            scheduled,
            limited: 0,
            blocked,
            leased,
            dead,
            completed,
            rescued,
            cancelled,
            expired,
        })
    }

    async fn dead_letters(&self, kind: Option<&str>, limit: i64) -> Result<Vec<DeadLetter>, Error> {
        let mut arguments = json!({"limit": limit});
        if let Some(kind) = kind {
            arguments["kind"] = kind.into();
        }
        answers::dead_letters(self.call("dead_letters", arguments).await?)
    }

    async fn replay(&self, dead: &[JobId]) -> Result<Vec<(JobId, JobId)>, Error> {
        let numbers: Vec<i64> = self.call("replay", json!({"jobs": dead})).await?;
        Ok(numbers.chunks_exact(2).map(|pair| (JobId(pair[0]), JobId(pair[1]))).collect())
    }

    async fn purge(&self, dead: &[JobId]) -> Result<u64, Error> {
        self.call("purge", json!({"jobs": dead})).await
    }
}

/// A job as the script takes it. What is not there is left out: a null would be something in Lua.
fn entry(job: &NewJob) -> Value {
    let mut entry = json!({
        "queue": job.queue, "kind": job.kind, "args": job.args, "priority": job.priority, "max_attempts": job.max_attempts,
        "version": job.version,
    });
    match job.start {
        Start::Now => {}
        Start::In(delay) => entry["delay"] = delay.into(),
        Start::At(at) => entry["at"] = at.into(),
    }
    if let Some(time) = job.expires_in {
        entry["expires_in"] = time.into();
    }
    if let Some(trace) = &job.trace {
        entry["trace"] = trace.as_str().into();
    }
    if let Some(key) = job.key() {
        entry["key"] = key.into();
    }
    if let Some(period) = job.unique.as_ref().and_then(|unique| unique.period) {
        entry["period"] = period.into();
    }
    entry
}

fn ending(one: &Unfinished) -> Value {
    let (ending, wait) = match one.ending {
        Ending::RetryIn(wait) => ("retry", microseconds(wait)),
        Ending::ReturnIn(wait) => ("return", microseconds(wait)),
        Ending::Dead => ("dead", 0),
        Ending::Cancelled => ("cancelled", 0),
        Ending::Expired => ("expired", 0),
    };
    json!({
        "token": one.token, "part": one.part, "job": one.job, "attempt": one.attempt, "ending": ending, "wait": wait, "why": one.why,
    })
}

struct Hearing {
    messages: PubSubStream,
    within: Duration,
}

#[async_trait]
impl Listener for Hearing {
    async fn next(&mut self) -> Result<String, Error> {
        match self.messages.next().await {
            Some(message) => Ok(message.get_payload()?),
            None => Err(Error::NoAnswer { backend: "redis", within: self.within }),
        }
    }
}
