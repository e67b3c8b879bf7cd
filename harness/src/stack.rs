//! The services of a test, started together and gone together.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::sys::statvfs::statvfs;
use seaworthy_fault_proxy::Proxies;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::{
    Error, Replica, Service, asked,
    guardian::{self, Guardian},
    provider::{Chosen, ProviderChoice, Site, choose},
    software::Software,
    spec::{App, Postgres, Redis, Spec},
};

/// What a stack's data may need, in MiB.
const NEEDED_MIB: u64 = 192;

/// Real services for a test, each reachable directly and through a fault proxy of its own.
///
/// Whatever ends the stack (a drop, a panic, Ctrl-C, kill -9) ends its processes and containers and removes its
/// folder: a guardian process notices and cleans up.
///
/// ```no_run
/// use seaworthy_harness::{App, Fault, Postgres, Redis, Stack};
///
/// # async fn example() -> Result<(), seaworthy_harness::Error> {
/// let stack = Stack::builder()
///     .postgres(Postgres::new())
///     .redis(Redis::new())
///     .websocket(|stack| {
///         App::server("target/debug/shop", "/readyz")
///             .args(["serve", "--listen", "127.0.0.1:{port}"])
///             .env("DATABASE_URL", stack.postgres().url())
///             .env("REDIS_URL", stack.redis().url())
///     })
///     .start()
///     .await?;
///
/// let outage = stack.postgres().inject(Fault::Down).await?;
/// // … the shop must answer 503, and quickly …
/// outage.heal().await?;
/// stack.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Stack {
    services: Mutex<BTreeMap<String, Service>>,
    replicas: Mutex<BTreeMap<String, Replica>>,
    proxies: Proxies,
    provider: Provider,
    ready_deadline: Duration,
    /// Last, so that the services are dropped before the guardian sweeps.
    site: Site,
}

struct Provider(Chosen);

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.why)
    }
}

type AppOf = Box<dyn FnOnce(&Stack) -> App + Send>;

/// A stack that is being set up.
#[must_use]
pub struct StackBuilder {
    provider: ProviderChoice,
    seed: u64,
    ready_deadline: Duration,
    servers: Vec<(String, Spec)>,
    websocket: Option<AppOf>,
    apps: Vec<(String, AppOf)>,
}

impl Stack {
    /// An empty stack, with the provider `auto`.
    pub fn builder() -> StackBuilder {
        StackBuilder {
            provider: ProviderChoice::Auto,
            seed: 0,
            ready_deadline: Duration::from_secs(30),
            servers: Vec::new(),
            websocket: None,
            apps: Vec::new(),
        }
    }

    /// The Postgres server.
    ///
    /// # Panics
    ///
    /// When the stack was built without one.
    pub fn postgres(&self) -> Service {
        self.expect("postgres")
    }

    /// The Redis server.
    ///
    /// # Panics
    ///
    /// When the stack was built without one.
    pub fn redis(&self) -> Service {
        self.expect("redis")
    }

    /// The application that serves WebSockets.
    ///
    /// # Panics
    ///
    /// When the stack was built without one.
    pub fn websocket(&self) -> Service {
        self.expect("websocket")
    }

    /// The service of this name.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownService`].
    pub fn service(&self, name: &str) -> Result<Service, Error> {
        let services = self.services();
        services.get(name).cloned().ok_or_else(|| Error::UnknownService {
            name: name.to_owned(),
            known: services.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// Every service, by name.
    pub fn all(&self) -> Vec<Service> {
        self.services().values().cloned().collect()
    }

    /// Starts an application beside the services, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] or [`Error::Deadline`] when it does not become ready.
    pub async fn start_app(&self, name: &str, app: App) -> Result<Service, Error> {
        self.start_service(name, &Spec::App(app)).await
    }

    /// `docker`, `native` or `external`.
    pub fn provider(&self) -> &'static str {
        self.provider.0.provider.name()
    }

    /// One line that says which provider was taken, and why.
    pub fn provider_line(&self) -> &str {
        &self.provider.0.why
    }

    /// The folder of the stack's files, which goes with it.
    pub fn folder(&self) -> &Path {
        self.site.guardian.folder()
    }

    /// Ends every service and removes everything that belongs to the stack. A drop does the same, blocking.
    pub async fn stop(self) {
        self.replicas().clear();
        let services: Vec<Service> = std::mem::take(&mut *self.services()).into_values().collect();
        for service in &services {
            service.instance().release().await;
        }
        // The services' and the guardian's clean-up blocks for a moment.
        let _ = tokio::task::spawn_blocking(move || drop((services, self))).await;
    }

    pub(crate) fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    pub(crate) async fn start_service(&self, name: &str, spec: &Spec) -> Result<Service, Error> {
        self.check_free(name, spec)?;
        let start = async {
            let instance = self.provider.0.provider.start(&self.site, name, spec).await?;
            let service = Service::new(name, spec, instance, &self.proxies, self.ready_deadline).await?;
            service.wait_until_ready().await.map(|()| service)
        };
        match start.await {
            Ok(service) => {
                self.services().insert(name.to_owned(), service.clone());
                Ok(service)
            }
            Err(error) => {
                self.forget(name).await;
                Err(error)
            }
        }
    }

    pub(crate) fn check_free(&self, name: &str, spec: &Spec) -> Result<(), Error> {
        spec.check(name)?;
        if self.services().keys().any(|other| other.eq_ignore_ascii_case(name)) {
            return Err(Error::ServiceExists { name: name.to_owned() });
        }
        Ok(())
    }

    /// Takes away what is left of a service that did not start, so that another one can have its name.
    pub(crate) async fn forget(&self, name: &str) {
        drop(self.services().remove(name));
        let ports = format!("{name}.port.");
        for proxy in self.proxies.list().iter().map(|proxy| proxy.name()) {
            if proxy == name || proxy.starts_with(&ports) {
                let _ = self.proxies.delete(proxy).await;
            }
        }
        let _ = std::fs::remove_dir_all(self.folder().join(name));
    }

    pub(crate) fn replicas(&self) -> MutexGuard<'_, BTreeMap<String, Replica>> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect(&self, name: &str) -> Service {
        self.service(name).unwrap_or_else(|error| panic!("{error}: ask the builder for it"))
    }

    fn services(&self) -> MutexGuard<'_, BTreeMap<String, Service>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StackBuilder {
    /// Takes this provider instead of `auto`.
    pub fn provider(mut self, provider: ProviderChoice) -> Self {
        self.provider = provider;
        self
    }

    /// The seed of every random decision of the fault proxies.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How long a service may take to become ready, also after a fault (default 30 s).
    pub fn ready_deadline(mut self, deadline: Duration) -> Self {
        self.ready_deadline = deadline;
        self
    }

    /// Adds a Postgres server.
    pub fn postgres(mut self, postgres: Postgres) -> Self {
        self.servers.push(("postgres".to_owned(), Spec::Postgres(postgres)));
        self
    }

    /// Adds a Redis server.
    pub fn redis(mut self, redis: Redis) -> Self {
        self.servers.push(("redis".to_owned(), Spec::Redis(redis)));
        self
    }

    /// Adds one more Postgres server, by a name of its own: `stack.service("ledger")` finds it.
    pub fn postgres_named(mut self, name: impl Into<String>, postgres: Postgres) -> Self {
        self.servers.push((name.into(), Spec::Postgres(postgres)));
        self
    }

    /// Adds one more Redis server, by a name of its own.
    pub fn redis_named(mut self, name: impl Into<String>, redis: Redis) -> Self {
        self.servers.push((name.into(), Spec::Redis(redis)));
        self
    }

    /// Adds any other server, [`Nats`](crate::Nats) for one.
    pub fn service(mut self, name: impl Into<String>, software: impl Software) -> Self {
        self.servers.push((name.into(), Spec::Other(Arc::new(software))));
        self
    }

    /// Adds the application that serves WebSockets (and HTTP); it is told where the other services are.
    pub fn websocket(mut self, app: impl FnOnce(&Stack) -> App + Send + 'static) -> Self {
        self.websocket = Some(Box::new(app));
        self
    }

    /// Adds another process of the application, a worker for one. Those that are added are started one after the other, after the one that serves.
    pub fn app(mut self, name: impl Into<String>, app: impl FnOnce(&Stack) -> App + Send + 'static) -> Self {
        self.apps.push((name.into(), Box::new(app)));
        self
    }

    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    ///
    /// Whatever keeps a service from becoming ready; nothing is left behind then. [`Error::Runtime`] on a single-threaded runtime.
    pub async fn start(self) -> Result<Stack, Error> {
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            return Err(Error::Runtime);
        }
        asked::check_all(&self.servers)?;
        let chosen = choose(self.provider).await?;
        let id = new_id();
        let guardian = Guardian::start(new_folder(&id)?, &id, None)?;
        let stack = Stack {
            services: Mutex::default(),
            replicas: Mutex::default(),
            proxies: Proxies::with_seed(self.seed),
            provider: Provider(chosen),
            ready_deadline: self.ready_deadline,
            site: Site { id, guardian },
        };
        // An early return drops the stack, and with it whatever has been started.
        let mut starting = Vec::new();
        for (name, spec) in &self.servers {
            starting.push(stack.start_service(name, spec));
        }
        futures_util::future::try_join_all(starting).await?;
        let mut following = Vec::new();
        for (of, spec) in &self.servers {
            for name in spec.replicas() {
                following.push(stack.start_replica(name, of));
            }
        }
        futures_util::future::try_join_all(following).await?;
        if let Some(app) = self.websocket {
            let app = app(&stack);
            stack.start_app("websocket", app).await?;
        }
        for (name, app) in self.apps {
            let app = app(&stack);
            stack.start_app(&name, app).await?;
        }
        Ok(stack)
    }
}

/// What tells a stack from all others, also on other machines.
pub(crate) fn new_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..12].to_owned()
}

/// The folder of a new stack, which its guardian is to make.
pub(crate) fn new_folder(id: &str) -> Result<PathBuf, Error> {
    let root = usable(root_folder()?)?;
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| guardian::adopt_orphans(&root));
    Ok(root.join(format!("seaworthy-{id}")))
}

/// Where stacks keep their files: `SEAWORTHY_DIR`, else memory where the system has a filesystem in it with enough
/// room, else the folder for temporary files.
fn root_folder() -> Result<PathBuf, Error> {
    if let Some(folder) = env::var_os("SEAWORTHY_DIR").map(PathBuf::from) {
        return match free_mib(&folder)? {
            free_mib if free_mib < NEEDED_MIB => {
                Err(Error::NoSpace { path: folder, free_mib, needed_mib: NEEDED_MIB })
            }
            _ => Ok(folder),
        };
    }
    let candidates = [PathBuf::from("/dev/shm"), env::temp_dir()];
    let mut best = (0, env::temp_dir());
    for folder in candidates {
        match free_mib(&folder) {
            Ok(free) if free >= NEEDED_MIB => return Ok(folder),
            Ok(free) if free > best.0 => best = (free, folder),
            _ => {}
        }
    }
    Err(Error::NoSpace { path: best.1, free_mib: best.0, needed_mib: NEEDED_MIB })
}

/// The folder under its real name, by which the system reports where processes run and what is mounted, and only if that name
/// has nothing in it that the guardian's script or the mount table would read as something else.
fn usable(folder: PathBuf) -> Result<PathBuf, Error> {
    let real =
        folder.canonicalize().map_err(|error| Error::Folder { path: folder, why: error.to_string() })?;
    let plain = |c: char| c.is_alphanumeric() || "/._-+@,=".contains(c);
    if real.to_str().is_some_and(|name| name.chars().all(plain)) {
        return Ok(real);
    }
    Err(Error::Folder {
        path: real,
        why: "its name has more than letters, digits and ./_-+@,= in it".to_owned(),
    })
}

/// Where stacks keep their files, and how much room there is, in one line.
///
/// # Errors
///
/// [`Error::NoSpace`], [`Error::Folder`].
pub fn data_folder() -> Result<String, Error> {
    let folder = root_folder()?;
    Ok(format!("{} with {} MiB free", folder.display(), free_mib(&folder)?))
}

fn free_mib(folder: &Path) -> Result<u64, Error> {
    let stat = statvfs(folder)
        .map_err(|errno| Error::Folder { path: folder.to_owned(), why: errno.desc().to_owned() })?;
    #[allow(clippy::useless_conversion, reason = "the types differ between systems")]
    let free = u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size()));
    Ok(free / (1024 * 1024))
}
