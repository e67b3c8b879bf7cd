//! A test's database.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use sqlx::{
    Acquire, PgPool, Postgres as Driver, Transaction,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

use super::{Env, Schema, budget::Reservation, clones::Claim, home::on_runtime};
use crate::{
    Error, Service,
    shared::Record,
    spec::{Postgres, Spec},
};

/// How long a test waits for one of its own connections.
const ACQUIRE: Duration = Duration::from_secs(30);
/// How long the pool's connections get to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// A database that belongs to one test. It derefs to its pool.
///
/// ```no_run
/// # async fn example(env: seaworthy_harness::Env) -> sqlx::Result<()> {
/// let db = env.postgres().await;
/// sqlx::query("create table orders (id int)").execute(&*db).await?;
/// let mut transaction = db.begin().await?;
/// # transaction.rollback().await
/// # }
/// ```
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    /// First, so that the connections end before the database is given back.
    pool: PgPool,
    service: Service,
    name: String,
    has_own_server: bool,
    claim: Mutex<Option<Claim>>,
    _reservation: Option<Reservation>,
}

impl Database {
    /// A copy of the schema's template on the shared server.
    pub(super) async fn shared(env: &Env, name: &str, schema: &Schema) -> Result<Self, Error> {
        let home = env.home().await?;
        let loaded = schema.load(&env.inner.settings.base).await?;
        let connections = env.inner.settings.connections;
        let (record, reservation, claim) =
            on_runtime(home.database(env.server().await?, loaded, connections)).await?;
        let database = claim.name().to_owned();
        Self::at(env, name, record, &database, reservation, Some(claim)).await
    }

    /// A copy of the schema's template that the tests of this process share.
    pub(super) async fn common(env: &Env, schema: &Schema) -> Result<Self, Error> {
        let home = env.home().await?;
        let loaded = schema.load(&env.inner.settings.base).await?;
        let connections = env.inner.settings.connections;
        let (record, reservation, database) = on_runtime(home.common(loaded, connections)).await?;
        Self::at(env, "postgres", record, &database, reservation, None).await
    }

    async fn at(
        env: &Env,
        name: &str,
        record: Record,
        database: &str,
        reservation: Reservation,
        claim: Option<Claim>,
    ) -> Result<Self, Error> {
        let home = env.home().await?;
        let instance = home.shared.attach(name, &record, database);
        let spec = Spec::Postgres(Postgres::new());
        let service =
            Service::new(name, &spec, instance, &env.inner.proxies, Duration::from_secs(30)).await?;
        let pool = pool(env, &service)?;
        let (claim, _reservation) = (Mutex::new(claim), Some(reservation));
        let inner =
            Inner { pool, service, name: database.to_owned(), has_own_server: false, claim, _reservation };
        Ok(Database { inner: Arc::new(inner) })
    }

    /// A durable server of the test's own.
    pub(super) async fn durable(env: &Env, name: &str, schema: &Schema) -> Result<Self, Error> {
        let loaded = schema.load(&env.inner.settings.base).await?;
        let stack = env.try_stack().await?;
        let service = stack.start_service(name, &Spec::Postgres(Postgres::new().durable(true))).await?;
        loaded.apply(&service.direct_url()).await?;
        let pool = pool(env, &service)?;
        let (name, claim) = (service.database(), Mutex::new(None));
        let inner = Inner { pool, service, name, has_own_server: true, claim, _reservation: None };
        Ok(Database { inner: Arc::new(inner) })
    }

    /// The database's name on its server.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Connections to the database, through the fault proxy.
    pub fn pool(&self) -> &PgPool {
        &self.inner.pool
    }

    /// The URL through the fault proxy: what an application under test gets.
    pub fn url(&self) -> String {
        self.inner.service.url()
    }

    /// The URL past the fault proxy: what a test checks the truth with.
    pub fn direct_url(&self) -> String {
        self.inner.service.direct_url()
    }

    /// The server as a service: its faults, its log.
    pub fn service(&self) -> &Service {
        &self.inner.service
    }

    /// Where in the server's log the test begins, in bytes.
    pub(super) fn log_start(&self) -> u64 {
        if self.inner.has_own_server { 0 } else { self.inner.service.log_length() }
    }

    /// Where the database is, for somebody who wants to look at it after a failure.
    pub(super) fn whereabouts(&self) -> String {
        let url = self.direct_url();
        if self.inner.has_own_server {
            return format!(
                "database {}: on a server of the test's own, which has gone with it",
                self.name()
            );
        }
        format!(
            "database {}: kept while tests run (SEAWORTHY_KEEP=1 keeps it for longer): psql '{url}'",
            self.name()
        )
    }

    /// Leaves it for somebody to look at.
    pub(super) fn keep(&self) {
        if let Some(claim) = &mut *self.inner.claim.lock().unwrap_or_else(PoisonError::into_inner) {
            claim.keep();
        }
    }

    pub(super) async fn close(self) {
        // A connection that a task still has is broken off when the database is dropped.
        let _ = timeout(GOODBYE, self.inner.pool.close()).await;
        drop(self.inner.claim.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

fn pool(env: &Env, service: &Service) -> Result<PgPool, Error> {
    let options: PgConnectOptions = service
        .url()
        .parse()
        .map_err(|source| Error::Database { service: service.name().to_owned(), source })?;
    // What Postgres cuts longer names to.
    let name: String = env.name().chars().filter(char::is_ascii).collect();
    let name = &name[name.len().saturating_sub(63)..];
    let pool = PgPoolOptions::new().max_connections(env.inner.settings.connections).acquire_timeout(ACQUIRE);
    // Whoever makes random values for the test's database finds its seed there, as factories do.
    let options = options.application_name(name).options([("seaworthy.seed", env.seed())]);
    Ok(pool.connect_lazy_with(options))
}

/// So that `&db` goes where a pool does.
impl<'c> Acquire<'c> for &Database {
    type Database = Driver;
    type Connection = PoolConnection<Driver>;

    fn acquire(self) -> BoxFuture<'c, sqlx::Result<PoolConnection<Driver>>> {
        Box::pin(self.inner.pool.acquire())
    }

    fn begin(self) -> BoxFuture<'c, sqlx::Result<Transaction<'c, Driver>>> {
        Acquire::begin(&self.inner.pool)
    }
}

impl Deref for Database {
    type Target = PgPool;

    fn deref(&self) -> &PgPool {
        &self.inner.pool
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("name", &self.inner.name).finish_non_exhaustive()
    }
}
