//! Replicas: a copy of a server that follows it, and that can take its place.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use seaworthy_fault_proxy::{Proxy, ProxyConfig};
use sqlx::{Connection, Executor, PgConnection, Row};
use tokio::time::{sleep, timeout};

use crate::{
    Error, Faults, Service, Stack,
    network::Target,
    spec::{Link, Postgres, Redis, Spec},
    stack::new_id,
};

/// A pause between two looks at a replica.
const PAUSE: Duration = Duration::from_millis(5);
/// How long a server may take to answer one question; one that is paused never does.
const ANSWER: Duration = Duration::from_secs(5);

/// A replica of a Postgres (streaming) or a Redis. What its primary sends it goes through a fault proxy of its own, so that the replication
/// itself can be slow or cut. Cheap to clone; all clones are the same replica.
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
    /// For how long: the age of the newest transaction that a Postgres has applied, or since when a Redis has not heard of its primary, in whole
    /// seconds. Zero when nothing is missing.
    pub behind: Duration,
    /// Whether the replica hears of its primary at all.
    pub connected: bool,
}

impl Stack {
    /// The replica of this name, which [`Postgres::replica`], [`Redis::replica`] or [`start_replica`](Self::start_replica) has added.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownService`].
    pub fn replica(&self, name: &str) -> Result<Replica, Error> {
        let replicas = self.replicas();
        replicas.get(name).cloned().ok_or_else(|| Error::UnknownService {
            name: name.to_owned(),
            known: match replicas.len() {
                0 => "no replicas".to_owned(),
                _ => format!("the replicas {}", replicas.keys().cloned().collect::<Vec<_>>().join(", ")),
            },
        })
    }

    /// Starts a replica of one of the stack's Postgres or Redis servers beside it, and waits until it follows. It is of the same version and
    /// has the same settings.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownService`], [`Error::ServiceExists`], [`Error::Malformed`]; [`Error::Unsupported`] for other services and with
    /// external servers; [`Error::Start`] or [`Error::Deadline`] when it does not come to follow, and then nothing of it is left.
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
        let mut spec = match primary.spec() {
            // The disk and the port are the primary's own.
            Spec::Postgres(postgres) => Spec::Postgres(Postgres {
                disk_limit_mib: None,
                port: None,
                replicas: Vec::new(),
                ..postgres.clone()
            }),
            Spec::Redis(redis) => Spec::Redis(Redis { port: None, replicas: Vec::new(), ..redis.clone() }),
            Spec::App(_) | Spec::Other(_) => return Err(unsupported()),
        };
        self.check_free(name, &spec)?;
        let link = self.proxies().create(ProxyConfig::new(link_of(name), address)).await?;
        let to_primary = Link {
            address: link.listen(),
            login: primary.instance().login(),
            slot: format!("seaworthy_{}", new_id()),
        };
        match &mut spec {
            Spec::Postgres(postgres) => postgres.replica_of = Some(to_primary),
            Spec::Redis(redis) => redis.replica_of = Some(to_primary),
            Spec::App(_) | Spec::Other(_) => {}
        }
        match self.start_following(name, &spec, primary, link.clone()).await {
            Ok(replica) => {
                self.replicas().insert(name.to_owned(), replica.clone());
                Ok(replica)
            }
            Err(error) => {
                self.forget(name).await;
                let _ = self.proxies().delete(link.name()).await;
                Err(error)
            }
        }
    }

    async fn start_following(
        &self,
        name: &str,
        spec: &Spec,
        primary: Service,
        link: Proxy,
    ) -> Result<Replica, Error> {
        if primary.is_postgres() {
            let patience = primary.ready_deadline().min(ANSWER);
            timeout(patience, allow_replication(&primary)).await.map_err(|_| Error::Deadline {
                service: primary.name().to_owned(),
                action: "let a replica in",
                deadline: patience,
                log: String::new(),
            })??;
        }
        let service = self.start_service(name, spec).await?;
        let replica = Replica { primary, service, link };
        if replica.service.is_redis() {
            follow(&replica.service, Some(replica.link.listen())).await?;
        }
        replica.until("follow its primary", Goal::Connected).await?;
        Ok(replica)
    }

    /// Lets a primary that is no more than a replica of its replica now reach that one.
    async fn way_back(&self, from: &Service, to: String) -> Result<Proxy, Error> {
        let name = link_of(from.name());
        if let Ok(link) = self.proxies().get(&name) {
            link.set_upstream(to);
            link.close_connections();
            return Ok(link);
        }
        let host: IpAddr = from.instance().reaches_us_at().await?;
        let link = ProxyConfig::new(name, to).listen(SocketAddr::new(host, 0).to_string());
        Ok(self.proxies().create(link).await?)
    }

    /// Has the old primary of a Redis follow the replica that was promoted in its place, once it runs again: a failover in full. What it gives back is the old
    /// primary as a replica, which has a link of its own, and which may take over in its turn.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownService`]; [`Error::Unsupported`] for a Postgres, which can't turn round: start another replica of the one that was
    /// promoted; [`Error::Start`] or [`Error::Deadline`] when it does not come to follow.
    ///
    /// ```no_run
    /// # use seaworthy_harness::{Error, Fault, Stack};
    /// # async fn example(stack: Stack) -> Result<(), Error> {
    /// let crash = stack.redis().inject(Fault::Kill).await?;
    /// stack.replica("standby")?.take_over().await?;
    /// crash.heal().await?;
    /// let old = stack.follow_promoted("standby").await?;
    /// old.caught_up().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn follow_promoted(&self, replica: &str) -> Result<Replica, Error> {
        let Replica { primary: old, service: promoted, .. } = self.replica(replica)?;
        if !old.is_redis() {
            return Err(Error::Unsupported {
                fault: "following what was promoted",
                service: old.name().to_owned(),
                why: format!(
                    "a Postgres whose history went another way has to be made anew: `stack.start_replica(…, \"{}\")`",
                    promoted.name()
                ),
            });
        }
        let link = self.way_back(&old, promoted.instance().address().unwrap_or_default()).await?;
        let turned = Replica { primary: promoted, service: old, link };
        follow(&turned.service, Some(turned.link.listen())).await?;
        turned.until("follow what was promoted", Goal::Connected).await?;
        let mut replicas = self.replicas();
        replicas.remove(replica);
        replicas.insert(turned.service.name().to_owned(), turned.clone());
        Ok(turned)
    }
}

impl Replica {
    /// The replica as a service: its URL, its faults, its log.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The server that it follows, or followed before it was promoted.
    pub fn primary(&self) -> &Service {
        &self.primary
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
    /// [`Error::Database`], [`Error::Start`] or [`Error::Deadline`] when one of the two does not answer, as when it was killed or paused.
    pub async fn lag(&self) -> Result<Lag, Error> {
        let look = async {
            let written = self.written().await?;
            Ok(self.applied().await?.behind(&written))
        };
        match timeout(ANSWER, look).await {
            Ok(lag) => lag,
            Err(_) => Err(self.too_late("tell how far it is behind", ANSWER, "").await),
        }
    }

    /// Waits until it has all that its primary has written by now, whatever is written meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] when it has not within the stack's deadline for a service to become ready.
    pub async fn caught_up(&self) -> Result<(), Error> {
        self.until("catch up with its primary", Goal::CaughtUp(None)).await
    }

    /// Makes it a server that can be written to, which follows nobody, and waits until it is. It stays one when it is killed and started again.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] when it is not one within the stack's deadline for a service to become ready; [`Error::Database`] or
    /// [`Error::Start`] when it does not answer or was promoted before.
    pub async fn promote(&self) -> Result<(), Error> {
        let patience = self.service.ready_deadline();
        let promoted = async {
            if self.primary.is_redis() {
                return follow(&self.service, None).await.map(|()| true);
            }
            let mut connection = connect(&self.service).await?;
            let seconds = i32::try_from(patience.as_secs().max(1)).unwrap_or(i32::MAX);
            let promote = sqlx::query_scalar("select pg_promote(true, $1)").bind(seconds);
            promote.fetch_one(&mut connection).await.map_err(|source| refused(&self.service, source))
        };
        match timeout(patience + ANSWER, promoted).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Err(error)) => Err(error),
            Ok(Ok(false)) | Err(_) => Err(self.too_late("be promoted", patience, "").await),
        }
    }

    /// Promotes it, and leads to it all who use the URL of its primary through the primary's fault proxy: their connections are closed, and the next ones
    /// come here. The old primary, if it lives, is not told: see [`Stack::follow_promoted`].
    ///
    /// # Errors
    ///
    /// As [`promote`](Self::promote).
    pub async fn take_over(&self) -> Result<(), Error> {
        self.promote().await?;
        let Some(address) = self.service.instance().address() else { return Ok(()) };
        // Its own proxy leads elsewhere if another one had taken its place before.
        for proxy in [self.primary.proxy(), self.service.proxy()].into_iter().flatten() {
            if proxy.upstream() != address {
                proxy.set_upstream(address.clone());
                proxy.close_connections();
            }
        }
        Ok(())
    }

    async fn until(&self, action: &'static str, mut goal: Goal) -> Result<(), Error> {
        let patience = self.service.ready_deadline();
        let give_up = Instant::now() + patience;
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            // Either of the two may be starting still.
            let seen = match timeout(left.min(ANSWER), self.towards(&mut goal)).await {
                Ok(Ok(lag)) if goal.is_reached(lag) => return Ok(()),
                Ok(Ok(lag)) => format!("{lag:?}"),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() >= give_up {
                return Err(self.too_late(action, patience, &seen).await);
            }
            sleep(PAUSE).await;
        }
    }

    /// How far it is from there.
    async fn towards(&self, goal: &mut Goal) -> Result<Lag, Error> {
        let written = match goal {
            Goal::Connected => self.written().await?,
            Goal::CaughtUp(Some(written)) => written.clone(),
            Goal::CaughtUp(None) => {
                self.flush().await?;
                let written = self.written().await?;
                *goal = Goal::CaughtUp(Some(written.clone()));
                written
            }
        };
        Ok(self.applied().await?.behind(&written))
    }

    async fn too_late(&self, action: &'static str, deadline: Duration, seen: &str) -> Error {
        let mut log = self.service.log().await;
        if !seen.is_empty() {
            log = format!("{}\n(what was seen last: {seen})", log.trim_end());
        }
        Error::Deadline { service: self.service.name().to_owned(), action, deadline, log }
    }

    /// Has a Postgres that acknowledges before it writes, as throwaway ones do, write what it has acknowledged: only then is it sent.
    async fn flush(&self) -> Result<(), Error> {
        if self.primary.is_redis() {
            return Ok(());
        }
        let mut primary = connect(&self.primary).await?;
        for statement in ["set synchronous_commit = local", "select pg_current_xact_id()"] {
            primary.execute(statement).await.map_err(|source| refused(&self.primary, source))?;
        }
        let _ = primary.close().await;
        Ok(())
    }

    /// How far the primary's log goes.
    async fn written(&self) -> Result<Written, Error> {
        if self.primary.is_redis() {
            let info = replication(&self.primary).await?;
            return Ok(Written {
                history: text_of(&info, "master_replid").to_owned(),
                position: number_of(&info, "master_repl_offset"),
            });
        }
        let mut primary = connect(&self.primary).await?;
        let position: i64 =
            sqlx::query_scalar("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8")
                .fetch_one(&mut primary)
                .await
                .map_err(|source| refused(&self.primary, source))?;
        let _ = primary.close().await;
        Ok(Written { history: String::new(), position: u64::try_from(position).unwrap_or(0) })
    }

    /// How far the replica has come in it.
    async fn applied(&self) -> Result<Applied, Error> {
        if self.primary.is_redis() {
            let info = replication(&self.service).await?;
            let age = number_of(&info, "master_last_io_seconds_ago")
                .max(number_of(&info, "master_link_down_since_seconds"));
            return Ok(Applied {
                history: text_of(&info, "master_replid").to_owned(),
                position: number_of(&info, "slave_repl_offset"),
                age: Duration::from_secs(age),
                connected: text_of(&info, "master_link_status") == "up",
            });
        }
        let mut replica = connect(&self.service).await?;
        let row = sqlx::query(
            "select coalesce(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'), 0)::int8,
                    coalesce(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()), 0)::float8,
                    exists (select from pg_stat_wal_receiver where status = 'streaming')",
        )
        .fetch_one(&mut replica)
        .await
        .map_err(|source| refused(&self.service, source))?;
        let _ = replica.close().await;
        Ok(Applied {
            history: String::new(),
            position: u64::try_from(row.get::<i64, _>(0)).unwrap_or(0),
            age: Duration::try_from_secs_f64(row.get(1)).unwrap_or_default(),
            connected: row.get(2),
        })
    }
}

/// What a replica is waited for to have done.
enum Goal {
    Connected,
    /// It has what its primary had written when that was first asked.
    CaughtUp(Option<Written>),
}

impl Goal {
    fn is_reached(&self, lag: Lag) -> bool {
        lag.connected && (matches!(self, Goal::Connected) || lag.bytes == 0)
    }
}

/// A position in a primary's log. Redis begins a new one, whose positions say nothing in the old one, when it starts without its data.
#[derive(Clone)]
struct Written {
    history: String,
    position: u64,
}

struct Applied {
    history: String,
    position: u64,
    age: Duration,
    connected: bool,
}

impl Applied {
    fn behind(&self, written: &Written) -> Lag {
        let of_it = if self.history == written.history { self.position } else { 0 };
        let bytes = written.position.saturating_sub(of_it);
        let behind = if bytes == 0 { Duration::ZERO } else { self.age };
        Lag { bytes, behind, connected: self.connected }
    }
}

/// The name of the proxy that leads to a replica's primary. No service can have it, since there is a dot in it.
fn link_of(replica: &str) -> String {
    format!("{replica}.link")
}

async fn allow_replication(primary: &Service) -> Result<(), Error> {
    let hba = "copy (select 'host replication all all md5') to program 'cat >>pg_hba.conf'";
    let mut admin = connect(primary).await?;
    for statement in [hba, "select pg_reload_conf()"] {
        admin.execute(statement).await.map_err(|source| refused(primary, source))?;
    }
    Ok(())
}

/// Has a Redis follow the one at this address, or nobody, also after it is started again.
async fn follow(service: &Service, primary: Option<SocketAddr>) -> Result<(), Error> {
    let (host, port) = match primary {
        Some(address) => (address.ip().to_string(), address.port().to_string()),
        None => ("NO".to_owned(), "ONE".to_owned()),
    };
    let mut connection = redis_of(service).await?;
    for command in [redis::cmd("REPLICAOF").arg(host).arg(port), redis::cmd("CONFIG").arg("REWRITE")] {
        let done: redis::RedisResult<()> = command.query_async(&mut connection).await;
        done.map_err(|error| failed(service, &error))?;
    }
    Ok(())
}

async fn replication(service: &Service) -> Result<String, Error> {
    let info = redis::cmd("INFO").arg("replication").clone();
    info.query_async(&mut redis_of(service).await?).await.map_err(|error| failed(service, &error))
}

fn text_of<'a>(info: &'a str, name: &str) -> &'a str {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim()
}

/// A number that `INFO` tells, or zero where it tells none, or `-1` for never.
fn number_of(info: &str, name: &str) -> u64 {
    text_of(info, name).parse().unwrap_or(0)
}

async fn redis_of(service: &Service) -> Result<MultiplexedConnection, Error> {
    let client = redis::Client::open(service.direct_url()).map_err(|error| failed(service, &error))?;
    client.get_multiplexed_async_connection().await.map_err(|error| failed(service, &error))
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
