//! What a stack is to consist of.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use crate::{Error, login::Login, software::Software};

/// A Postgres server.
///
/// ```
/// use seaworthy_harness::Postgres;
///
/// let postgres = Postgres::new().durable(true).disk_limit_mib(96);
/// # let _ = postgres;
/// ```
#[derive(Debug, Clone, Default)]
pub struct Postgres {
    pub(crate) durable: bool,
    pub(crate) disk_limit_mib: Option<u64>,
    pub(crate) port: Option<u16>,
    pub(crate) version: Option<String>,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) replicas: Vec<String>,
    pub(crate) replica_of: Option<Link>,
}

impl Postgres {
    /// A throwaway server: durability off, any free port.
    pub fn new() -> Self {
        Self::default()
    }

    /// What tells the server so, wherever it runs.
    pub(crate) fn parameters(&self) -> Vec<String> {
        let mut parameters = vec![
            "shared_buffers=32MB".to_owned(),
            "max_connections=100".to_owned(),
            // With the database's name, by which a test finds its own lines.
            "log_line_prefix=%m [%p] %d ".to_owned(),
            // What a replica that is cut off still needs is kept, but not for ever.
            "max_slot_wal_keep_size=256MB".to_owned(),
        ];
        if self.replica_of.is_some() {
            // A replication that was cut goes on soon after it heals; by itself the server would wait for five seconds.
            parameters.push("wal_retrieve_retry_interval=100ms".to_owned());
        }
        if !self.durable {
            let off = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off"];
            parameters.extend(off.map(str::to_owned));
        }
        parameters.extend(self.settings.iter().map(|(name, value)| format!("{name}={value}")));
        parameters.into_iter().flat_map(|parameter| ["-c".to_owned(), parameter]).collect()
    }

    /// Turns `fsync`, `synchronous_commit` and `full_page_writes` on, as a crash scenario needs.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Puts the data folder, without the write-ahead log, on a filesystem of this size, so that
    /// [`Fault::DiskFull`](crate::Fault::DiskFull) can fill it. A fresh cluster takes about 25 MiB.
    pub fn disk_limit_mib(mut self, mib: u64) -> Self {
        self.disk_limit_mib = Some(mib);
        self
    }

    /// Listens on this port instead of any free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Takes this version, `15` or `15.18` for example, instead of whichever is found first.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets a parameter of the server, as its configuration file would.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Sets parameters of the server, as its configuration file would.
    ///
    /// ```
    /// let postgres = seaworthy_harness::Postgres::new().settings([("work_mem", "1MB"), ("jit", "off")]);
    /// # let _ = postgres;
    /// ```
    pub fn settings<N: Into<String>, V: Into<String>>(
        mut self,
        settings: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.settings.extend(settings.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Sets an environment variable of the server's processes.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Adds a replica of this name, of the same version and with the same settings, which follows it by streaming. [`Stack::replica`](crate::Stack::replica) finds it.
    pub fn replica(mut self, name: impl Into<String>) -> Self {
        self.replicas.push(name.into());
        self
    }
}

/// A Redis server.
#[derive(Debug, Clone, Default)]
pub struct Redis {
    pub(crate) durable: bool,
    pub(crate) port: Option<u16>,
    pub(crate) version: Option<String>,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) replicas: Vec<String>,
    pub(crate) replica_of: Option<Link>,
}

/// The way from a replica to its primary, which leads through a fault proxy.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    pub(crate) login: Login,
    /// Under which name a Postgres keeps what the replica has not got yet.
    pub(crate) slot: String,
}

impl Redis {
    /// A throwaway server: nothing is written to disk, any free port.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes every change to an append-only file before it is acknowledged.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Listens on this port instead of any free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Takes this version, `7` or `7.0.15` for example, instead of whichever is found first.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets a parameter of the server, as its configuration file would.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Sets parameters of the server, as its configuration file would.
    ///
    /// ```
    /// let redis = seaworthy_harness::Redis::new().settings([("maxmemory", "64mb"), ("maxmemory-policy", "allkeys-lru")]);
    /// # let _ = redis;
    /// ```
    pub fn settings<N: Into<String>, V: Into<String>>(
        mut self,
        settings: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.settings.extend(settings.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Adds a replica of this name, of the same version and with the same settings. [`Stack::replica`](crate::Stack::replica) finds it.
    pub fn replica(mut self, name: impl Into<String>) -> Self {
        self.replicas.push(name.into());
        self
    }

    /// What tells the server so, wherever it runs.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let (append, sync) = if self.durable { ("yes", "always") } else { ("no", "no") };
        // A replica copies its primary at once; by itself the server would wait for five seconds for more of them to come.
        let args =
            [("save", ""), ("appendonly", append), ("appendfsync", sync), ("repl-diskless-sync-delay", "0")];
        let args =
            args.into_iter().chain(self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        args.flat_map(|(name, value)| [format!("--{name}"), value.to_owned()]).collect()
    }
}

/// The application under test: a command that runs as a process, or in a container under the docker provider.
///
/// `{port}` in an argument or a value stands for the port that the harness picked. An application that listens is
/// ready once `GET` on its readiness path answers 200; one that does not ([`App::worker`]) is ready once it says so in its
/// log.
///
/// ```
/// use seaworthy_harness::App;
///
/// let app = App::server("target/debug/shop", "/readyz").args(["serve", "--listen", "127.0.0.1:{port}"]);
/// # let _ = app;
/// ```
#[derive(Debug, Clone)]
pub struct App {
    pub(crate) command: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) ready: Ready,
    pub(crate) restarted_text: Option<String>,
}

/// How an application shows that it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ready {
    /// `GET` on this path answers 200.
    Path(String),
    /// It writes a line with this text to its standard output or error.
    Log(String),
}

impl App {
    /// An application that serves HTTP (and WebSockets), and answers 200 on `ready_path` once it is ready.
    pub fn server(command: impl Into<PathBuf>, ready_path: impl Into<String>) -> Self {
        Self::new(command.into(), Ready::Path(ready_path.into()))
    }

    /// An application that does not listen, and writes `ready_text` to its log (standard output or error) once it is ready.
    pub fn worker(command: impl Into<PathBuf>, ready_text: impl Into<String>) -> Self {
        Self::new(command.into(), Ready::Log(ready_text.into()))
    }

    fn new(command: PathBuf, ready: Ready) -> Self {
        App { command, args: Vec::new(), env: Vec::new(), ready, restarted_text: None }
    }

    pub(crate) fn listens(&self) -> bool {
        matches!(self.ready, Ready::Path(_))
    }

    /// Adds arguments.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The application restarts on SIGHUP without losing a request, and writes `restarted_text` to its log each time that a new process has
    /// taken over: what [`Fault::Restart`](crate::Fault::Restart) needs.
    pub fn restarts_gracefully(mut self, restarted_text: impl Into<String>) -> Self {
        self.restarted_text = Some(restarted_text.into());
        self
    }

    /// The command's absolute path: the application runs in another folder.
    pub(crate) fn program(&self, service: &str) -> Result<PathBuf, Error> {
        self.command.canonicalize().map_err(|error| Error::Start {
            service: service.to_owned(),
            why: format!("{}: {error}", self.command.display()),
            log: String::new(),
        })
    }

    /// The application with its port filled in.
    pub(crate) fn on_port(mut self, port: u16) -> Self {
        let port = port.to_string();
        let values = self.env.iter_mut().map(|(_, value)| value);
        self.args.iter_mut().chain(values).for_each(|text| *text = text.replace("{port}", &port));
        self
    }
}

/// A service of any kind, as a provider gets it.
#[derive(Debug, Clone)]
pub(crate) enum Spec {
    /// A Postgres server.
    Postgres(Postgres),
    /// A Redis server.
    Redis(Redis),
    /// The application under test.
    App(App),
    /// Any other server.
    Other(Arc<dyn Software>),
}
