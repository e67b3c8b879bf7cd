//! What a test says of its environment.

use std::{
    env,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::{Duration, Instant, SystemTime},
};

use seaworthy_fault_proxy::Proxies;
use tokio::{runtime::Handle, sync::OnceCell};

use super::{Env, Inner, Schema};
use crate::{Error, ProviderChoice, shared::Configuration};

/// How long a test may take, unless it says otherwise.
const PATIENCE: Duration = Duration::from_secs(300);
/// How many connections a test may open, unless it says otherwise.
const CONNECTIONS: u32 = 5;

/// How a test's data is kept from other tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Isolation {
    /// A database of its own.
    #[default]
    Database,
    /// A database of its own on a server that no other test uses at the same time, and that is cleaned afterwards: for tests that make roles, set
    /// settings of the server, or look at what is going on in it.
    Server,
    /// A transaction that is rolled back, in a database that tests share: for tests that need nothing but one connection.
    Transaction,
}

/// The settings of an [`Env`].
#[derive(Debug, Clone)]
#[must_use]
pub struct EnvBuilder {
    pub(super) name: String,
    pub(super) rerun: String,
    pub(super) base: PathBuf,
    pub(super) schema: Schema,
    pub(super) isolation: Isolation,
    pub(super) durable: bool,
    pub(super) connections: u32,
    pub(super) timeout: Duration,
    provider: Option<ProviderChoice>,
    stack: String,
    seed: Option<u64>,
}

impl EnvBuilder {
    pub(super) fn new() -> Self {
        EnvBuilder {
            name: std::thread::current().name().unwrap_or("a test").to_owned(),
            rerun: String::new(),
            base: env::current_dir().unwrap_or_default(),
            schema: Schema::new(),
            isolation: Isolation::default(),
            durable: false,
            connections: CONNECTIONS,
            timeout: PATIENCE,
            provider: None,
            stack: String::new(),
            seed: None,
        }
    }

    /// The test's name, for messages and for the connections' `application_name` (default: the thread's name).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The test's name and the command that runs it again, from the package's name and the function's path.
    #[doc(hidden)]
    pub fn of_test(self, package: &str, path: &str) -> Self {
        let name = path.split_once("::").map_or(path, |(_, name)| name);
        let rerun = match env::var_os("NEXTEST") {
            Some(_) => format!("cargo nextest run -p {package} -E 'test(={name})'"),
            None => format!("cargo test -p {package} {name} -- --exact"),
        };
        self.name(name).rerun(rerun)
    }

    /// The command that runs this test again, for the report of a failure.
    pub fn rerun(mut self, command: impl Into<String>) -> Self {
        self.rerun = command.into();
        self
    }

    /// Where relative paths start (default: the working folder, which `cargo test` makes that of the crate).
    pub fn base(mut self, folder: impl AsRef<Path>) -> Self {
        self.base = folder.as_ref().to_owned();
        self
    }

    /// What the test's database has in it (default: nothing).
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = schema;
        self
    }

    /// How the test's data is kept from other tests.
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Gives the test a Postgres server of its own that loses nothing when it is killed, in its [`Env::stack`].
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// How many connections to its database the test and its applications open at most (default 5). They are reserved, so that no other test fails for
    /// lack of them.
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = connections;
        self
    }

    /// How long the test may take (default 300 s), where the attribute runs it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Takes this provider, whatever `SEAWORTHY_PROVIDER` says.
    pub fn provider(mut self, provider: ProviderChoice) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Shares a stack only with those who give it the same name (default: none).
    pub fn stack_name(mut self, name: impl Into<String>) -> Self {
        self.stack = name.into();
        self
    }

    /// Takes this seed, whatever `SEAWORTHY_SEED` says.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The environment. Nothing is started before it is asked for.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn build(self) -> Env {
        let seed = self.seed.or_else(|| env::var("SEAWORTHY_SEED").ok()?.parse().ok());
        let seed = seed.unwrap_or_else(rand::random);
        self.build_on(Handle::current(), seed)
    }

    pub(super) fn build_on(self, runtime: Handle, seed: u64) -> Env {
        Env {
            inner: Arc::new(Inner {
                settings: self,
                seed,
                started: (Instant::now(), SystemTime::now()),
                runtime,
                home: OnceCell::new(),
                proxies: Proxies::with_seed(seed),
                databases: Default::default(),
                redis: OnceCell::new(),
                server: OnceCell::new(),
                stack: OnceCell::new(),
                services: Mutex::default(),
                faults: Mutex::default(),
                told: AtomicBool::new(false),
            }),
        }
    }

    pub(super) fn configuration(&self) -> Result<Configuration, Error> {
        let choice = match self.provider {
            Some(choice) => choice,
            None => ProviderChoice::from_env()
                .map_err(|why| Error::External { setting: "SEAWORTHY_PROVIDER", why })?,
        };
        Ok(Configuration { choice, name: self.stack.clone() })
    }
}
