//! A running service, as a test sees it.

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use seaworthy_fault_proxy::{Protocol, Proxies, Proxy, ProxyConfig, Recording};
use sqlx::{Connection, PgConnection};
use tokio::time::{sleep, timeout};

use crate::{
    Error, Usage,
    provider::{Instance, LogSource, Login},
    readiness::Sign,
    signal::Signal,
    software::Software,
    spec::{Ready, Spec},
};

/// A pause between two looks at a service that is not ready yet.
const READY_PAUSE: Duration = Duration::from_millis(5);
/// A pause between two looks at the log of a service that restarts, which may be long.
const RESTART_PAUSE: Duration = Duration::from_millis(50);
/// How long one question after readiness may take.
const READY_QUESTION: Duration = Duration::from_secs(2);

/// A service of a stack. Cheap to clone; all clones are the same service.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    kind: Kind,
    spec: Spec,
    instance: Arc<dyn Instance>,
    proxy: Option<Proxy>,
    /// Those of the ports beside the first, by their names.
    more_proxies: Vec<(String, Proxy)>,
    /// What went through the proxy, from the first connection on: a recording that began later would miss what a pool has open.
    recording: Option<Recording>,
    ready_deadline: Duration,
    restarted_text: Option<String>,
}

/// What a service speaks, and how it shows that it is ready.
#[derive(Debug, Clone)]
enum Kind {
    Postgres,
    Redis,
    Http { ready_path: String },
    Worker { ready_text: String },
    Other { software: Arc<dyn Software>, sign: Sign },
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the URL, which holds a password.
        f.debug_struct("Service").field("name", &self.inner.name).field("kind", &self.inner.kind).finish()
    }
}

impl Service {
    pub(crate) async fn new(
        name: &str,
        spec: &Spec,
        instance: Arc<dyn Instance>,
        proxies: &Proxies,
        ready_deadline: Duration,
    ) -> Result<Self, Error> {
        let kind = match spec {
            Spec::Postgres(_) => Kind::Postgres,
            Spec::Redis(_) => Kind::Redis,
            Spec::App(app) => match app.ready.clone() {
                Ready::Path(ready_path) => Kind::Http { ready_path },
                Ready::Log(ready_text) => Kind::Worker { ready_text },
            },
            Spec::Other(software) => {
                Kind::Other { software: software.clone(), sign: software.readiness().sign }
            }
        };
        let restarted_text = match spec {
            Spec::App(app) => app.restarted_text.clone(),
            _ => None,
        };
        let proxy = match instance.address() {
            Some(address) => Some(proxies.create(ProxyConfig::new(name, address)).await?),
            None => None,
        };
        let mut more_proxies = Vec::new();
        for (port, address) in instance.more_addresses() {
            let config = ProxyConfig::new(format!("{name}.port.{port}"), address);
            more_proxies.push((port, proxies.create(config).await?));
        }
        let protocol = match kind {
            Kind::Postgres => Some(Protocol::Postgres),
            Kind::Redis => Some(Protocol::Redis),
            Kind::Http { .. } => Some(Protocol::WebSocket),
            Kind::Worker { .. } | Kind::Other { .. } => None,
        };
        let recording = proxy.as_ref().zip(protocol).map(|(proxy, protocol)| proxy.record(protocol));
        Ok(Service {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                kind,
                spec: spec.clone(),
                instance,
                proxy,
                more_proxies,
                recording,
                ready_deadline,
                restarted_text,
            }),
        })
    }

    /// The service's name in its stack.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The URL through the fault proxy: what the application under test gets. Empty for a worker, which does not listen.
    pub fn url(&self) -> String {
        self.proxy().map_or_else(String::new, |proxy| self.url_at(&proxy.listen().to_string()))
    }

    /// The URL past the fault proxy: what a test checks the truth with. Empty for a worker.
    pub fn direct_url(&self) -> String {
        self.inner.instance.address().map_or_else(String::new, |address| self.url_at(&address))
    }

    /// The fault proxy in front of the service, for faults beyond [`Fault`](crate::Fault). A worker has none.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.inner.proxy.as_ref()
    }

    /// Where another port of a [`Software`] is, through the fault proxy of that port.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownService`] when it is none of [`Software::more_ports`].
    pub fn address_of(&self, port: &str) -> Result<SocketAddr, Error> {
        self.proxy_of(port).map(Proxy::listen)
    }

    /// The fault proxy in front of another port of a [`Software`].
    ///
    /// # Errors
    ///
    /// As [`address_of`](Self::address_of).
    pub fn proxy_of(&self, port: &str) -> Result<&Proxy, Error> {
        let proxies = &self.inner.more_proxies;
        let found = proxies.iter().find(|(name, _)| name == port).map(|(_, proxy)| proxy);
        found.ok_or_else(|| Error::UnknownService {
            name: format!("{}.{port}", self.inner.name),
            known: match proxies.len() {
                0 => "no more ports of that service".to_owned(),
                _ => proxies.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "),
            },
        })
    }

    pub(crate) fn recording(&self) -> Option<&Recording> {
        self.inner.recording.as_ref()
    }

    /// The last lines of the service's log; empty for an external server.
    pub async fn log(&self) -> String {
        self.inner.instance.log().await
    }

    /// Whether the service wrote this to its log since it was last started; never for an external server.
    pub async fn said(&self, text: &str) -> bool {
        self.inner.instance.said(text).await
    }

    /// Every line of the service's log with this text, from its first start on; none for an external server.
    pub async fn lines(&self, text: &str) -> Vec<String> {
        self.inner.instance.lines(text).await
    }

    /// Where its log is, for those who read it themselves.
    pub(crate) fn log_source(&self) -> LogSource {
        self.inner.instance.log_source()
    }

    /// How long its log is now, in bytes, where that can be told.
    pub(crate) fn log_length(&self) -> u64 {
        match self.log_source() {
            LogSource::File(path) => std::fs::metadata(path).map_or(0, |file| file.len()),
            _ => 0,
        }
    }

    /// The database that its URLs name.
    pub(crate) fn database(&self) -> String {
        self.inner.instance.login().database
    }

    /// What the service's processes use now, as far as that can be told.
    pub async fn usage(&self) -> Usage {
        self.inner.instance.usage().await
    }

    /// Sends a signal to the process that was started, and not to its children; in a container, to its first process.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for an external server; [`Error::Io`] or [`Error::Docker`] when the service does not run.
    pub async fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.inner.instance.signal(signal).await
    }

    /// Has the service restart in its own way, and waits until its new process has taken over.
    pub(crate) async fn restart(&self) -> Result<(), Error> {
        let Some(text) = &self.inner.restarted_text else {
            return Err(Error::Unsupported {
                fault: "a graceful restart",
                service: self.inner.name.clone(),
                why: "it has not said how it tells that one is over: see `App::restarts_gracefully`"
                    .to_owned(),
            });
        };
        let give_up = Instant::now() + self.inner.ready_deadline;
        let before = self.lines(text).await.len();
        self.signal(Signal::HangUp).await?;
        while self.lines(text).await.len() <= before {
            if let Some(why) = self.ended().await {
                return Err(Error::Start { service: self.inner.name.clone(), why, log: self.log().await });
            }
            if Instant::now() > give_up {
                return Err(Error::Deadline {
                    service: self.inner.name.clone(),
                    action: "restart",
                    deadline: self.inner.ready_deadline,
                    log: self.log().await,
                });
            }
            sleep(RESTART_PAUSE).await;
        }
        Ok(())
    }

    /// Waits until the service answers a real query (past the proxy): `select 1`, `PING`, a 200
    /// on its readiness path, or, for a worker, its word in the log.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] when the service ended, [`Error::Deadline`] when it did not answer in time; both quote its log.
    pub async fn wait_until_ready(&self) -> Result<(), Error> {
        let give_up = Instant::now() + self.inner.ready_deadline;
        let mut last_answer;
        loop {
            match timeout(READY_QUESTION, self.answers()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(answer)) => last_answer = answer,
                Err(_) => last_answer = format!("no answer within {READY_QUESTION:?}"),
            }
            let log =
                || async { format!("{}\n(its last answer: {last_answer})", self.log().await.trim_end()) };
            if let Some(why) = self.inner.instance.ended().await {
                return Err(Error::Start { service: self.inner.name.clone(), why, log: self.log().await });
            }
            if Instant::now() > give_up {
                return Err(Error::Deadline {
                    service: self.inner.name.clone(),
                    action: "become ready",
                    deadline: self.inner.ready_deadline,
                    log: log().await,
                });
            }
            sleep(READY_PAUSE).await;
        }
    }

    /// Why the service is not running, if it isn't.
    pub async fn ended(&self) -> Option<String> {
        self.inner.instance.ended().await
    }

    /// What it was asked for as.
    pub(crate) fn spec(&self) -> &Spec {
        &self.inner.spec
    }

    /// How long it may take to become ready.
    pub(crate) fn ready_deadline(&self) -> Duration {
        self.inner.ready_deadline
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.inner.kind, Kind::Postgres)
    }

    pub(crate) fn is_redis(&self) -> bool {
        matches!(self.inner.kind, Kind::Redis)
    }

    pub(crate) fn instance(&self) -> &dyn Instance {
        &*self.inner.instance
    }

    async fn answers(&self) -> Result<(), String> {
        let url = self.direct_url();
        match &self.inner.kind {
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&url).await.map_err(|error| error.to_string())?;
                sqlx::query("select 1").execute(&mut connection).await.map_err(|error| error.to_string())?;
                connection.close().await.map_err(|error| error.to_string())
            }
            Kind::Redis => {
                let client = redis::Client::open(url).map_err(|error| error.to_string())?;
                let mut connection =
                    client.get_multiplexed_async_connection().await.map_err(|error| error.to_string())?;
                let pong: Result<String, _> = redis::cmd("PING").query_async(&mut connection).await;
                pong.map(drop).map_err(|error| error.to_string())
            }
            Kind::Http { ready_path } => get(&format!("{url}{ready_path}")).await,
            Kind::Other { software, sign: Sign::Answers } => {
                software.answers(&self.inner.instance.address().unwrap_or_default()).await
            }
            Kind::Other { sign: Sign::Path { port, path }, .. } => {
                let more = self.inner.instance.more_addresses();
                let named = |wanted: &String| more.into_iter().find(|(name, _)| name == wanted);
                let address = match port {
                    Some(port) => named(port).map(|(_, address)| address),
                    None => self.inner.instance.address(),
                };
                get(&format!("http://{}{path}", address.unwrap_or_default())).await
            }
            Kind::Other { sign: Sign::Says(text), .. } => says(self, text).await,
            Kind::Worker { ready_text } => says(self, ready_text).await,
        }
    }

    fn url_at(&self, address: &str) -> String {
        let Login { user, password, database } = self.inner.instance.login();
        let login = match (user.as_str(), password.as_str()) {
            ("", "") => String::new(),
            (user, "") => format!("{user}@"),
            (user, password) => format!("{user}:{password}@"),
        };
        match &self.inner.kind {
            Kind::Postgres => format!("postgres://{login}{address}/{database}"),
            Kind::Redis if database.is_empty() => format!("redis://{login}{address}"),
            Kind::Redis => format!("redis://{login}{address}/{database}"),
            Kind::Http { .. } | Kind::Worker { .. } => format!("http://{address}"),
            Kind::Other { software, .. } => format!("{}://{login}{address}", software.scheme()),
        }
    }
}

async fn get(url: &str) -> Result<(), String> {
    let response = reqwest::get(url).await.map_err(|error| error.to_string())?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    Err(format!("{status} {}", response.text().await.unwrap_or_default()))
}

async fn says(service: &Service, text: &str) -> Result<(), String> {
    if service.said(text).await { Ok(()) } else { Err(format!("it has not said `{text}` yet")) }
}
