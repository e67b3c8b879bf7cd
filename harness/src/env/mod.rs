//! A private world for every test: a database with the schema in it, a Redis, faults of their network, and processes of the
//! application, taken from a stack that all tests share and given back when the test ends.
//!
//! ```no_run
//! use std::time::Duration;
//! use seaworthy_harness::Env;
//!
//! #[seaworthy_harness::test]
//! async fn an_order_survives_a_slow_database(env: Env) {
//!     let db = env.postgres().await; // a private, migrated database
//!     let redis = env.redis().await; // a private Redis: keys and channels
//!     env.postgres_faults().latency(Duration::from_millis(200)).for_secs(1);
//!     sqlx::query("create table orders (id int)").execute(&*db).await.unwrap();
//!     # let _ = redis;
//! }
//! # fn main() {}
//! ```
//!
//! Without the attribute, [`Env::builder`] does the same.

mod budget;
mod builder;
mod clones;
mod database;
mod databases;
mod faults;
mod home;
mod keyspaces;
mod redis;
mod report;
mod run;
mod schema;
mod servers;
mod turns;

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Instant, SystemTime},
};

use seaworthy_fault_proxy::Proxies;
use sqlx::{Postgres as Driver, Transaction};
use tokio::{runtime::Handle, sync::OnceCell};

pub use builder::{EnvBuilder, Isolation};
pub use database::Database;
pub use faults::{EnvFaults, Injection};
pub use redis::PrivateRedis;
pub use report::FailureReport;
pub use run::{Outcome, run, run_blocking};
pub use schema::{MigratorRef, Schema};

use crate::{App, Error, NetworkFault, Queries, Service, Stack, Transcript, observed::Commands};
use home::{Home, SHARED_SERVER, on_runtime};
use servers::OwnServer;

/// A private world for one test. Cheap to clone; all clones are the same. What it has is given back when the last one is gone.
#[derive(Clone)]
pub struct Env {
    inner: Arc<Inner>,
}

struct Inner {
    settings: EnvBuilder,
    seed: u64,
    started: (Instant, SystemTime),
    runtime: Handle,
    home: OnceCell<Arc<Home>>,
    proxies: Proxies,
    databases: tokio::sync::Mutex<BTreeMap<String, Database>>,
    redis: OnceCell<PrivateRedis>,
    server: OnceCell<OwnServer>,
    stack: OnceCell<Stack>,
    services: Mutex<Vec<(Service, u64)>>,
    faults: Mutex<Vec<NetworkFault>>,
    told: AtomicBool,
}

impl Env {
    /// An environment with an empty database, on the shared stack of the provider that `SEAWORTHY_PROVIDER` names.
    pub fn builder() -> EnvBuilder {
        EnvBuilder::new()
    }

    /// The environment of the test that runs here, for functions that are not handed one, as the cases of `rstest` and `proptest`.
    ///
    /// # Panics
    ///
    /// Outside of a test with `#[seaworthy_harness::test]`, and in tasks that it has spawned.
    #[track_caller]
    pub fn current() -> Self {
        run::current().unwrap_or_else(|| {
            panic!("there is no environment here: is the test marked with `#[seaworthy_harness::test]`?")
        })
    }

    /// Another environment with the same settings and nothing in it: for each case of a property test, for example.
    pub fn fresh(&self) -> Self {
        self.inner.settings.clone().build_on(self.inner.runtime.clone(), self.inner.seed)
    }

    /// The test's name.
    pub fn name(&self) -> &str {
        &self.inner.settings.name
    }

    /// What all random decisions come from: `SEAWORTHY_SEED`, else another one in each run. A failing test prints it.
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// The test's database, with its schema. It is the same one on every call.
    ///
    /// # Panics
    ///
    /// When it can't be had, with the reason: see [`try_postgres`](Self::try_postgres).
    pub async fn postgres(&self) -> Database {
        self.try_postgres().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The test's database.
    ///
    /// # Errors
    ///
    /// Whatever keeps the stack's Postgres from starting, [`Error::Schema`] when a migration or a seed fails, [`Error::TooManyConnections`], and
    /// [`Error::Unsupported`] with [`Isolation::Transaction`].
    pub async fn try_postgres(&self) -> Result<Database, Error> {
        if self.inner.settings.isolation == Isolation::Transaction {
            return Err(Error::Unsupported {
                fault: "a database of its own",
                service: "postgres".to_owned(),
                why: "the test's isolation is a transaction: use `env.transaction()`".to_owned(),
            });
        }
        self.try_database("postgres", self.inner.settings.schema.clone()).await
    }

    /// One more database, with a schema of its own. It is the same one on every call with this name.
    ///
    /// # Panics
    ///
    /// When it can't be had, with the reason.
    pub async fn database(&self, name: &str, schema: Schema) -> Database {
        self.try_database(name, schema).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// One more database.
    ///
    /// # Errors
    ///
    /// As [`try_postgres`](Self::try_postgres).
    pub async fn try_database(&self, name: &str, schema: Schema) -> Result<Database, Error> {
        let mut databases = self.inner.databases.lock().await;
        if let Some(database) = databases.get(name) {
            return Ok(database.clone());
        }
        let database = if self.inner.settings.durable {
            Database::durable(self, name, &schema).await?
        } else {
            Database::shared(self, name, &schema).await?
        };
        self.watch(database.service(), database.log_start());
        databases.insert(name.to_owned(), database.clone());
        Ok(database)
    }

    /// A transaction in a database with the test's schema. It is rolled back when it is dropped.
    ///
    /// # Panics
    ///
    /// When it can't be had, with the reason.
    pub async fn transaction(&self) -> Transaction<'static, Driver> {
        self.try_transaction().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// A transaction that is rolled back.
    ///
    /// # Errors
    ///
    /// As [`try_postgres`](Self::try_postgres).
    pub async fn try_transaction(&self) -> Result<Transaction<'static, Driver>, Error> {
        let mut databases = self.inner.databases.lock().await;
        let database = match databases.get("transactions") {
            Some(database) => database.clone(),
            None => {
                let database = Database::common(self, &self.inner.settings.schema).await?;
                self.watch(database.service(), database.log_start());
                databases.insert("transactions".to_owned(), database.clone());
                database
            }
        };
        drop(databases);
        database.begin().await.map_err(|source| Error::Database { service: "postgres".to_owned(), source })
    }

    /// The test's Redis: its keys, channels, scripts and settings. It is the same one on every call.
    ///
    /// # Panics
    ///
    /// When it can't be had, with the reason.
    pub async fn redis(&self) -> PrivateRedis {
        self.try_redis().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The test's Redis.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from starting.
    pub async fn try_redis(&self) -> Result<PrivateRedis, Error> {
        let start = || async {
            let redis = PrivateRedis::take(self).await?;
            self.watch(redis.service(), redis.service().log_length());
            Ok(redis)
        };
        self.inner.redis.get_or_try_init(start).await.cloned()
    }

    /// Starts a process of the application under test, and waits until it is ready. It ends with the test.
    ///
    /// # Panics
    ///
    /// When it does not become ready; the message quotes its log.
    pub async fn app(&self, name: &str, app: App) -> Service {
        self.try_app(name, app).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts a process of the application under test.
    ///
    /// # Errors
    ///
    /// As [`Stack::start_app`].
    pub async fn try_app(&self, name: &str, app: App) -> Result<Service, Error> {
        let service = self.try_stack().await?.start_app(name, app).await?;
        self.watch(&service, 0);
        Ok(service)
    }

    /// A stack that belongs to this test alone, for what can't be shared: services to kill, to pause, to fill the disk of. It
    /// begins empty.
    ///
    /// # Panics
    ///
    /// When it can't be had, with the reason.
    pub async fn stack(&self) -> &Stack {
        self.try_stack().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// A stack that belongs to this test alone.
    ///
    /// # Errors
    ///
    /// As [`StackBuilder::start`](crate::StackBuilder::start).
    pub async fn try_stack(&self) -> Result<&Stack, Error> {
        let start = || async {
            let provider = self.inner.settings.configuration()?.choice;
            Stack::builder().provider(provider).seed(self.inner.seed).start().await
        };
        self.inner.stack.get_or_try_init(start).await
    }

    /// Faults of the network between the test's database and all who use it through [`Database::url`] or the database's pool.
    ///
    /// # Panics
    ///
    /// Before [`postgres`](Self::postgres) was called.
    #[track_caller]
    pub fn postgres_faults(&self) -> EnvFaults {
        self.faults("postgres")
    }

    /// Faults of the network between the test's Redis and all who use it through [`PrivateRedis::url`].
    ///
    /// # Panics
    ///
    /// Before [`redis`](Self::redis) was called.
    #[track_caller]
    pub fn redis_faults(&self) -> EnvFaults {
        self.faults("redis")
    }

    /// Faults of the network to a service that the test has: a database or an application, by its name.
    ///
    /// # Panics
    ///
    /// When the test has no service of this name yet.
    #[track_caller]
    pub fn faults(&self, service: &str) -> EnvFaults {
        EnvFaults::new(self.clone(), self.service(service).faults())
    }

    /// A service that the test has, by its name.
    ///
    /// # Panics
    ///
    /// When the test has no service of this name yet.
    #[track_caller]
    pub fn service(&self, name: &str) -> Service {
        let services = self.services();
        let known = || services.iter().map(|(service, _)| service.name()).collect::<Vec<_>>().join(", ");
        match services.iter().find(|(service, _)| service.name() == name) {
            Some((service, _)) => service.clone(),
            None => panic!(
                "the test has no service `{name}` yet; it has [{}]. Ask for it first, as by `env.postgres().await`",
                known()
            ),
        }
    }

    /// The SQL that ran in the test's database through its fault proxy: the test's own and that of its applications. `assert_queries!(env, <= 3)` and
    /// `assert_no_n_plus_one!(env)` look at it.
    ///
    /// # Panics
    ///
    /// Before [`postgres`](Self::postgres) was called.
    #[track_caller]
    pub fn queries(&self) -> Queries {
        self.service("postgres").queries()
    }

    /// The Redis commands that were sent through the test's fault proxy.
    ///
    /// # Panics
    ///
    /// Before [`redis`](Self::redis) was called.
    #[track_caller]
    pub fn commands(&self) -> Commands {
        self.service("redis").commands()
    }

    /// The WebSocket messages to and from one of the test's applications.
    ///
    /// # Panics
    ///
    /// When the test has no application of this name yet, or it does not listen.
    #[track_caller]
    pub fn transcript(&self, app: &str) -> Transcript {
        self.service(app).transcript()
    }

    /// Runs something to its end, from a test that is not async.
    ///
    /// # Panics
    ///
    /// Inside of async code, which would wait for itself.
    pub fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.inner.runtime.block_on(work)
    }

    /// What a person needs to understand a failure of this test.
    pub async fn report(&self) -> FailureReport {
        FailureReport::of(self).await
    }

    /// How often a test with this schema found no database ready, over all processes that share the stack: it then waited until one was made.
    pub async fn starved(&self) -> Result<u64, Error> {
        let schema = self.inner.settings.schema.load(&self.inner.settings.base).await?;
        Ok(self.home().await?.starved(&schema).await)
    }

    /// Gives everything back: heals the faults, ends the applications, closes the pool. A drop does the same, less orderly.
    pub async fn finish(self) {
        self.clear_faults();
        let databases = std::mem::take(&mut *self.inner.databases.lock().await);
        for database in databases.into_values() {
            database.close().await;
        }
    }

    async fn home(&self) -> Result<Arc<Home>, Error> {
        let join = || async {
            let configuration = self.inner.settings.configuration()?;
            on_runtime(async move { Home::join(&configuration).await }).await
        };
        self.inner.home.get_or_try_init(join).await.cloned()
    }

    /// The name of the server that has the test's databases.
    async fn server(&self) -> Result<String, Error> {
        if self.inner.settings.isolation != Isolation::Server {
            return Ok(SHARED_SERVER.to_owned());
        }
        let home = self.home().await?;
        let take = || async { on_runtime(home.own_server()).await };
        self.inner.server.get_or_try_init(take).await.map(|server| server.name.clone())
    }

    /// Remembers a service, and where in its log the test begins.
    fn watch(&self, service: &Service, log_start: u64) {
        self.services().push((service.clone(), log_start));
    }

    fn services(&self) -> MutexGuard<'_, Vec<(Service, u64)>> {
        self.inner.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear_faults(&self) {
        self.inner.faults.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Keeps the test's databases, for somebody to look at.
    async fn keep_databases(&self) {
        if let Some(server) = self.inner.server.get() {
            server.keep();
        }
        for database in self.inner.databases.lock().await.values() {
            database.keep();
        }
    }
}

/// The environment as a fixture of `rstest`: `use seaworthy_harness::env::fixture as env;` makes `env: Env` the environment of each case, under
/// `#[seaworthy_harness::test]`.
///
/// ```ignore
/// #[rstest]
/// #[case(1)]
/// #[seaworthy_harness::test]
/// async fn each_case_has_its_own(env: Env, #[case] number: u32) {}
/// ```
pub mod fixture {
    use super::Env;

    /// The environment of the case that runs.
    ///
    /// # Panics
    ///
    /// Outside of a test with `#[seaworthy_harness::test]`.
    pub fn default() -> Env {
        Env::current()
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("name", &self.name()).field("seed", &self.seed()).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Where the attribute ran the test, the report has been told already.
        if std::thread::panicking() && !self.told.swap(true, Ordering::Relaxed) {
            if let Some(server) = self.server.get() {
                server.keep();
            }
            for database in self.databases.get_mut().values() {
                database.keep();
                eprintln!("{}", database.whereabouts());
            }
            eprintln!("seed: SEAWORTHY_SEED={}", self.seed);
        }
    }
}
