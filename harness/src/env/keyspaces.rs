//! Redis servers that tests take in turns: one test at a time, cleared in between.
//!
//! A logical database would not do: channels know nothing of them, and neither do scripts, settings and users.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};

use super::turns::{Turn, Turns};
use crate::{
    Error, lock,
    shared::{Record, Shared},
    spec::{Redis, Spec},
};

/// How long a Redis may take for an answer while it is made ready for a test.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many logical databases an external server is taken to have.
const LOGICAL: u32 = 16;

/// The Redis servers of a shared stack.
pub(super) struct Keyspaces {
    shared: Arc<Shared>,
    turns: Turns,
}

/// A Redis that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Keyspace {
    pub(super) record: Record,
    pub(super) database: String,
    _held: Held,
}

/// What is ours: a server, or a logical database of one.
#[derive(Debug)]
enum Held {
    Server(#[allow(dead_code, reason = "held for its lock")] Turn),
    Logical(#[allow(dead_code, reason = "held for its lock")] lock::Held),
}

impl Keyspaces {
    pub(super) fn of(shared: Arc<Shared>) -> Result<Self, Error> {
        let turns = Turns::of(shared.clone(), "keyspaces")?;
        Ok(Keyspaces { shared, turns })
    }

    /// A Redis that nobody else has, as if it had just been started.
    pub(super) async fn take(&self) -> Result<Keyspace, Error> {
        if self.shared.is_external().await? {
            return self.take_logical().await;
        }
        for (turn, record) in self.turns.free() {
            if clear(&record, turn.path()).await.is_ok() {
                return Ok(Keyspace { record, database: String::new(), _held: Held::Server(turn) });
            }
            // A test has changed it for good, or killed it.
            turn.retire();
        }
        self.start().await
    }

    async fn start(&self) -> Result<Keyspace, Error> {
        let turn = self.turns.add("redis")?;
        let record = self.shared.service(&turn.name, &Spec::Redis(Redis::new())).await?;
        let mut connection = connect(&record, "").await.map_err(|error| failed(&error))?;
        let settings = settings(&mut connection).await.map_err(|error| failed(&error))?;
        let text = serde_json::to_vec(&settings).unwrap_or_default();
        fs::write(turn.path(), text).map_err(Error::io(format!("writing {}", turn.path().display())))?;
        Ok(Keyspace { record, database: String::new(), _held: Held::Server(turn) })
    }

    /// An empty logical database of a server that is not ours alone. Its channels are everybody's.
    async fn take_logical(&self) -> Result<Keyspace, Error> {
        let record = self.shared.service("redis", &Spec::Redis(Redis::new())).await?;
        let folder = self.shared.make_folder("logical")?;
        for number in 0..LOGICAL {
            let path = folder.join(format!("{}-{number}", record.address.replace([':', '/'], "-")));
            let Ok(held) = lock::now(&path) else { continue };
            let database = number.to_string();
            let Ok(mut connection) = connect(&record, &database).await else { continue };
            let used = path.with_added_extension("used");
            // Only what a test of ours has left may be thrown away.
            let empty: redis::RedisResult<u64> = redis::cmd("DBSIZE").query_async(&mut connection).await;
            match empty {
                Ok(0) => {}
                Ok(_) if used.exists() => {
                    let _: () =
                        redis::cmd("FLUSHDB").query_async(&mut connection).await.map_err(|e| failed(&e))?;
                }
                _ => continue,
            }
            fs::write(&used, "").map_err(Error::io(format!("writing {}", used.display())))?;
            return Ok(Keyspace { record, database, _held: Held::Logical(held) });
        }
        Err(Error::External {
            setting: "SEAWORTHY_REDIS_URL",
            why: format!("none of its first {LOGICAL} logical databases is both empty and free"),
        })
    }
}

async fn connect(record: &Record, database: &str) -> redis::RedisResult<MultiplexedConnection> {
    let client = redis::Client::open(url(record, database))?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    client.get_multiplexed_async_connection_with_config(&config).await
}

pub(super) fn url(record: &Record, database: &str) -> String {
    let login = &record.login;
    let login = match (login.user.as_str(), login.password.as_str()) {
        ("", "") => String::new(),
        (user, password) => format!("{user}:{password}@"),
    };
    let path = if database.is_empty() { String::new() } else { format!("/{database}") };
    format!("redis://{login}{}{path}", record.address)
}

/// Makes a server as good as new; fails when a test has changed what can't be changed back.
async fn clear(record: &Record, path: &Path) -> redis::RedisResult<()> {
    let mut connection = connect(record, "").await?;
    let mut pipe = redis::pipe();
    for kind in ["normal", "pubsub", "replica"] {
        pipe.cmd("CLIENT").arg("KILL").arg("TYPE").arg(kind).arg("SKIPME").arg("yes").ignore();
    }
    pipe.cmd("CLIENT").arg("UNPAUSE").ignore();
    pipe.cmd("FLUSHALL").arg("SYNC").ignore();
    pipe.cmd("SCRIPT").arg("FLUSH").arg("SYNC").ignore();
    pipe.cmd("CONFIG").arg("RESETSTAT").ignore();
    pipe.cmd("SLOWLOG").arg("RESET").ignore();
    let _: () = pipe.query_async(&mut connection).await?;
    // Since Redis 7.
    let _: redis::RedisResult<()> = redis::cmd("FUNCTION").arg("FLUSH").query_async(&mut connection).await;
    let before = fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    if before == Some(settings(&mut connection).await?) {
        return Ok(());
    }
    let _: redis::RedisResult<()> = redis::cmd("SHUTDOWN").arg("NOSAVE").query_async(&mut connection).await;
    Err(redis::RedisError::from((
        redis::ErrorKind::Client,
        "a test has changed the server's settings or users",
    )))
}

/// What a test may change besides the data.
async fn settings(connection: &mut MultiplexedConnection) -> redis::RedisResult<BTreeMap<String, String>> {
    let mut settings: BTreeMap<String, String> =
        redis::cmd("CONFIG").arg("GET").arg("*").query_async(connection).await?;
    let users: Vec<String> = redis::cmd("ACL").arg("LIST").query_async(connection).await?;
    settings.insert("users".to_owned(), users.join("\n"));
    Ok(settings)
}

fn failed(error: &redis::RedisError) -> Error {
    Error::Start { service: "redis".to_owned(), why: error.to_string(), log: String::new() }
}
