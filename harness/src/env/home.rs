//! What the tests of one process share, of what all processes share.

use std::{
    collections::{HashMap, hash_map::Entry},
    future::Future,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, sync::OnceCell};

use super::{
    budget::Reservation,
    clones::{Claim, Clones},
    keyspaces::{Keyspace, Keyspaces},
    schema::Loaded,
};
use crate::{
    Error,
    shared::{Configuration, Record, Shared},
    spec::{Postgres, Spec},
};

/// How long a server that answered counts as living.
const FRESH: Duration = Duration::from_secs(1);

/// The work for all tests of the process: starting services, making databases. Tests have runtimes of their own, which come and go.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let built = builder.worker_threads(2).thread_name("seaworthy-stack").enable_all().build();
    built.unwrap_or_else(|error| panic!("no threads can be started for the tests' stack: {error}"))
});

static HOMES: Mutex<Option<HashMap<String, Arc<OnceCell<Arc<Home>>>>>> = Mutex::new(None);

/// Our place in a shared stack. It stays until the process ends.
pub(super) struct Home {
    pub(super) shared: Arc<Shared>,
    postgres: tokio::sync::Mutex<HashMap<String, Server>>,
    /// Databases in which tests have transactions, by server and schema.
    commons: tokio::sync::Mutex<HashMap<(String, String), Claim>>,
    keyspaces: Keyspaces,
}

#[derive(Clone)]
struct Server {
    record: Record,
    clones: Arc<Clones>,
    seen: Instant,
}

/// Runs something on threads that no test can keep busy.
pub(super) fn spawn<F>(work: F)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    drop(RUNTIME.spawn(work));
}

/// Runs something where it outlives the test that asked for it.
pub(super) async fn on_runtime<F>(work: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match RUNTIME.spawn(work).await {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => panic!("the work for a test's stack was given up: {error}"),
        },
    }
}

impl Home {
    /// Joins the stack of this configuration, once in a process.
    pub(super) async fn join(configuration: &Configuration) -> Result<Arc<Self>, Error> {
        let cell = {
            let mut homes = HOMES.lock().unwrap_or_else(PoisonError::into_inner);
            homes.get_or_insert_default().entry(configuration.key()).or_default().clone()
        };
        let join = || async {
            let configuration = configuration.clone();
            let shared = tokio::task::spawn_blocking(move || Shared::join(&configuration)).await;
            let shared = Arc::new(shared.map_err(|error| Error::io("joining a stack")(error.into()))??);
            let keyspaces = Keyspaces::of(shared.clone())?;
            Ok(Arc::new(Home {
                shared,
                postgres: Default::default(),
                commons: Default::default(),
                keyspaces,
            }))
        };
        cell.get_or_try_init(join).await.cloned()
    }

    /// A database with this schema, and the connections that its test may open.
    pub(super) async fn database(
        self: Arc<Self>,
        schema: Loaded,
        connections: u32,
    ) -> Result<(Record, Reservation, Claim), Error> {
        let (record, clones) = self.server("postgres").await?;
        let reservation = clones.budget.reserve(connections).await?;
        let claim = clones.take(&schema).await?;
        Ok((record, reservation, claim))
    }

    /// A database with this schema that the tests of this process share, and the connections that one of them may open.
    pub(super) async fn common(
        self: Arc<Self>,
        schema: Loaded,
        connections: u32,
    ) -> Result<(Record, Reservation, String), Error> {
        let (record, clones) = self.server("postgres").await?;
        let reservation = clones.budget.reserve(connections).await?;
        let mut commons = self.commons.lock().await;
        let claim = match commons.entry((record.address.clone(), schema.name.clone())) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(clones.take(&schema).await?),
        };
        Ok((record, reservation, claim.name().to_owned()))
    }

    /// How often a test found no database of this schema ready.
    pub(super) async fn starved(&self, schema: &Loaded) -> u64 {
        self.postgres.lock().await.values().map(|server| server.clones.starved(schema)).sum()
    }

    /// A private Redis.
    pub(super) async fn keyspace(self: Arc<Self>) -> Result<Keyspace, Error> {
        self.keyspaces.take().await
    }

    async fn server(&self, name: &str) -> Result<(Record, Arc<Clones>), Error> {
        let mut servers = self.postgres.lock().await;
        if let Some(server) = servers.get_mut(name) {
            if server.seen.elapsed() < FRESH || server.record.listens().await {
                server.seen = Instant::now();
                return Ok((server.record.clone(), server.clones.clone()));
            }
            servers.remove(name);
        }
        let record = self.shared.service(name, &Spec::Postgres(Postgres::new())).await?;
        // Its address tells a server from one that died before it, whose databases are gone.
        let folder =
            self.shared.make_folder(&format!("databases/{}", record.address.replace([':', '/'], "-")))?;
        let prefix = format!("seaworthy_{}", self.shared.id());
        let clones = Clones::of(record.clone(), prefix, folder).await?;
        let server = Server { record: record.clone(), clones: clones.clone(), seen: Instant::now() };
        servers.insert(name.to_owned(), server);
        Ok((record, clones))
    }
}
