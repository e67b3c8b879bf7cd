//! Replicas: a copy of a server that follows it, and that can take its place.

use std::{
    fmt,
    time::{Duration, Instant},
};

use seaworthy_fault_proxy::{Proxy, ProxyConfig};
use sqlx::{Connection, Executor, PgConnection, Row};
use tokio::time::sleep;

use crate::{
    Error, Faults, Service, Stack,
    network::Target,
    spec::{Link, Postgres, Redis, Spec},
};

/// A pause between two looks at a replica.
const PAUSE: Duration = Duration::from_millis(5);
/// How long a replica may take to follow, to catch up or to take over.
const PATIENCE: Duration = Duration::from_secs(30);

/// A replica of a Postgres (streaming) or a Redis. What its primary sends it goes through a fault proxy of its own, so that the replication itself can be slow or cut.
#[derive(Clone)]
pub struct Replica {
    primary: Service,
    service: Service,
    link: Proxy,
}

/// How far a replica is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// What the primary has written and the replica has not applied, in bytes of its log.
    pub bytes: u64,
    /// Whether the replica hears of its primary at all.
    pub connected: bool,
}

impl Stack {
    /// Starts a replica of one of the stack's Postgres or Redis servers beside it, and waits until it follows.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownService`], [`Error::ServiceExists`]; [`Error::Unsupported`] for other services and with external servers;
    /// [`Error::Start`] or [`Error::Deadline`] when it does not come to follow.
    ///
    /// ```no_run
    /// # use seaworthy_harness::{Error, Fault, Stack};
    /// # async fn example(stack: Stack) -> Result<(), Error> {
    /// let replica = stack.start_replica("standby", "postgres").await?;
    /// replica.caught_up().await?;
    /// let crash = stack.postgres().inject(Fault::Kill).await?;
    /// replica.take_over().await?; // whoever uses stack.postgres().url() is led to the replica from now on
    /// # drop(crash);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start_replica(&self, name: &str, of: &str) -> Result<Replica, Error> {
        let primary = self.service(of)?;
        let unsupported = || Error::Unsupported {
            fault: "a replica",
            service: of.to_owned(),
            why: "it is neither a Postgres nor a Redis of ours".to_owned(),
        };
        let address =
            primary.instance().address().filter(|_| self.provider() != "external").ok_or_else(unsupported)?;
        if primary.is_postgres() {
            let hba = "copy (select 'host replication all all md5') to program 'cat >>pg_hba.conf'";
            for statement in [hba, "select pg_reload_conf()"] {
                let mut admin = connect(&primary).await?;
                admin.execute(statement).await.map_err(|source| refused(&primary, source))?;
            }
        }
        let link = self.proxies().create(ProxyConfig::new(format!("{name}-link"), address)).await?;
        let to_primary = Link { address: link.listen(), login: primary.instance().login() };
        let spec = if primary.is_postgres() {
            Spec::Postgres(Postgres { replica_of: Some(to_primary), ..Postgres::new() })
        } else if primary.is_redis() {
            Spec::Redis(Redis { replica_of: Some(to_primary), ..Redis::new() })
        } else {
            return Err(unsupported());
        };
        let service = self.start_service(name, &spec).await?;
        let replica = Replica { primary, service, link };
        replica.until("follow its primary", |lag| lag.connected).await?;
        Ok(replica)
    }
}

impl Replica {
    /// The replica as a service: its URL, its faults, its log.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The URL of the replica, through its fault proxy.
    pub fn url(&self) -> String {
        self.service.url()
    }

    /// The faults that the replication can have.
    pub fn link(&self) -> Faults {
        Faults::of(format!("{} (its replication)", self.service.name()), Target::Embedded(self.link.clone()))
    }

    /// How far it is behind its primary.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] or [`Error::Start`] when one of the two does not answer.
    pub async fn lag(&self) -> Result<Lag, Error> {
        if self.primary.is_redis() { self.redis_lag().await } else { self.postgres_lag().await }
    }

    /// Waits until it has all that its primary has written by now.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] after 30 s.
    pub async fn caught_up(&self) -> Result<(), Error> {
        self.until("catch up with its primary", |lag| lag.connected && lag.bytes == 0).await
    }

    /// Makes it a server that can be written to, which follows nobody.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] when it is not one within 30 s.
    pub async fn promote(&self) -> Result<(), Error> {
        if self.primary.is_redis() {
            let no_one: redis::RedisResult<()> = redis::cmd("REPLICAOF")
                .arg("NO")
                .arg("ONE")
                .query_async(&mut self.redis(&self.service).await?)
                .await;
            return no_one.map_err(|error| failed(&self.service, &error));
        }
        let mut connection = connect(&self.service).await?;
        let promote = sqlx::query_scalar("select pg_promote(true, $1)").bind(PATIENCE.as_secs() as i32);
        let promoted: bool =
            promote.fetch_one(&mut connection).await.map_err(|source| refused(&self.service, source))?;
        if promoted { Ok(()) } else { Err(self.too_late("be promoted").await) }
    }

    /// Promotes it, and leads to it all who use the URL of its primary through the primary's fault proxy: their connections are closed, and the next ones
    /// come here. The old primary, if it lives, is not told.
    ///
    /// # Errors
    ///
    /// As [`promote`](Self::promote).
    pub async fn take_over(&self) -> Result<(), Error> {
        self.promote().await?;
        if let (Some(proxy), Some(address)) = (self.primary.proxy(), self.service.instance().address()) {
            proxy.set_upstream(address);
            proxy.close_connections();
        }
        Ok(())
    }

    async fn until(&self, action: &'static str, done: impl Fn(Lag) -> bool) -> Result<(), Error> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            // Either of the two may be starting still.
            if self.lag().await.is_ok_and(&done) {
                return Ok(());
            }
            if Instant::now() > give_up {
                return Err(self.too_late(action).await);
            }
            sleep(PAUSE).await;
        }
    }

    async fn too_late(&self, action: &'static str) -> Error {
        let (service, log) = (self.service.name().to_owned(), self.service.log().await);
        Error::Deadline { service, action, deadline: PATIENCE, log }
    }

    async fn postgres_lag(&self) -> Result<Lag, Error> {
        let mut primary = connect(&self.primary).await?;
        let written: String = sqlx::query_scalar("select pg_current_wal_lsn()::text")
            .fetch_one(&mut primary)
            .await
            .map_err(|source| refused(&self.primary, source))?;
        let mut replica = connect(&self.service).await?;
        let row = sqlx::query(
            "select greatest(pg_wal_lsn_diff($1::pg_lsn, pg_last_wal_replay_lsn()), 0)::int8,
                    exists (select from pg_stat_wal_receiver where status = 'streaming')",
        )
        .bind(&written)
        .fetch_one(&mut replica)
        .await
        .map_err(|source| refused(&self.service, source))?;
        let behind = row.get::<Option<i64>, _>(0).unwrap_or(0);
        let _ = (primary.close().await, replica.close().await);
        Ok(Lag { bytes: u64::try_from(behind).unwrap_or(0), connected: row.get(1) })
    }

    async fn redis_lag(&self) -> Result<Lag, Error> {
        let written = self.replication(&self.primary).await?;
        let applied = self.replication(&self.service).await?;
        let number = |text: &str, field: &str| -> u64 {
            let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        let bytes =
            number(&written, "master_repl_offset").saturating_sub(number(&applied, "slave_repl_offset"));
        let connected = applied.lines().any(|line| line.trim() == "master_link_status:up");
        Ok(Lag { bytes, connected })
    }

    async fn replication(&self, service: &Service) -> Result<String, Error> {
        let info = redis::cmd("INFO").arg("replication").clone();
        info.query_async(&mut self.redis(service).await?).await.map_err(|error| failed(service, &error))
    }

    async fn redis(&self, service: &Service) -> Result<redis::aio::MultiplexedConnection, Error> {
        let client = redis::Client::open(service.direct_url()).map_err(|error| failed(service, &error))?;
        client.get_multiplexed_async_connection().await.map_err(|error| failed(service, &error))
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("primary", &self.primary)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

async fn connect(service: &Service) -> Result<PgConnection, Error> {
    PgConnection::connect(&service.direct_url()).await.map_err(|source| refused(service, source))
}

fn refused(service: &Service, source: sqlx::Error) -> Error {
    Error::Database { service: service.name().to_owned(), source }
}

fn failed(service: &Service, error: &redis::RedisError) -> Error {
    Error::Start { service: service.name().to_owned(), why: error.to_string(), log: String::new() }
}
