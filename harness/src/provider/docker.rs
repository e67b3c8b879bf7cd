//! Services in containers, through testcontainers.

use std::{
    collections::HashMap,
    env,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use testcontainers::{
    ContainerAsync, ContainerRequest, GenericImage, ImageExt,
    bollard::{
        self,
        models::{HostConfig, PortBinding},
        query_parameters::{
            CreateImageOptionsBuilder, KillContainerOptionsBuilder, LogsOptionsBuilder, StatsOptionsBuilder,
        },
    },
    core::{CmdWaitFor, ExecCommand, IntoContainerPort, Mount, client::docker_client_instance},
    runners::AsyncRunner,
};
use tokio::time::timeout;

use super::{Instance, LogSource, Login, Provider, Site, native, port};
use crate::{
    Error, Usage,
    signal::Signal,
    software::{Placeholders, Software},
    spec::{App, Link, Postgres, Redis, Spec},
    version::is_of,
};

/// How long the daemon gets to answer at all.
const PING_DEADLINE: Duration = Duration::from_secs(3);
/// How long an image gets to be pulled.
const PULL_DEADLINE: Duration = Duration::from_secs(180);
/// How long a container gets to be created and started.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// What an error message quotes of a log, in bytes.
const LOG_TAIL: usize = 4096;

/// Where the small filesystem of a Postgres is mounted.
const DISK: &str = "/pgdata";

/// An image, and where it comes from.
#[derive(Debug)]
struct Image {
    setting: &'static str,
    official: &'static str,
    offline: &'static str,
}

const POSTGRES: Image = Image {
    setting: "SEAWORTHY_POSTGRES_IMAGE",
    official: "postgres:17-alpine",
    offline: "seaworthy/postgres:offline",
};
const REDIS: Image = Image {
    setting: "SEAWORTHY_REDIS_IMAGE",
    official: "redis:7-alpine",
    offline: "seaworthy/redis:offline",
};
const APP: Image = Image {
    setting: "SEAWORTHY_APP_IMAGE",
    official: "debian:stable-slim",
    offline: "seaworthy/app:offline",
};

/// What an offline image says of the version of the server in it.
const VERSION_LABEL: &str = "seaworthy.version";

/// Makes a replica and runs it, whichever way the image has to give up the rights of root.
const REPLICA: &str = r#"
as_postgres() {
    if command -v gosu >/dev/null; then gosu postgres "$@"
    elif command -v su-exec >/dev/null; then su-exec postgres "$@"
    else setpriv --reuid=postgres --regid=postgres --init-groups "$@"; fi
}
mkdir -p "$PGDATA" && chown postgres "$PGDATA" && chmod 700 "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    as_postgres pg_basebackup --write-recovery-conf --wal-method stream --checkpoint fast --no-sync --pgdata "$PGDATA" \
        --host "$1" --port "$2" --username "$3" --create-slot --slot "$4" || exit 1
fi
shift 4
if command -v gosu >/dev/null; then exec gosu postgres "$@"
elif command -v su-exec >/dev/null; then exec su-exec postgres "$@"
else exec setpriv --reuid=postgres --regid=postgres --init-groups "$@"; fi
"#;

/// Containers on the daemon that `DOCKER_HOST` names, or the local one.
pub(crate) struct Docker {
    client: bollard::Docker,
    version: String,
    postgres: String,
    redis: String,
    app: String,
}

/// The version of the Docker daemon that answers.
///
/// # Errors
///
/// [`Error::DockerUnavailable`].
pub async fn version() -> Result<String, Error> {
    connect().await.map(|(_, version)| version)
}

/// The end of a container's log.
pub(crate) async fn log_of(id: &str) -> Option<String> {
    let (client, _) = connect().await.ok()?;
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail("500").build();
    let pieces = client.logs(id, Some(options)).try_collect::<Vec<_>>();
    let pieces = timeout(PING_DEADLINE, pieces).await.ok()?.ok()?;
    Some(
        pieces
            .iter()
            .map(|piece| String::from_utf8_lossy(&piece.clone().into_bytes()).into_owned())
            .collect(),
    )
}

async fn connect() -> Result<(bollard::Docker, String), Error> {
    let unavailable = |why: String| Error::DockerUnavailable { why };
    let client = docker_client_instance().await.map_err(|error| unavailable(chain(&error)))?;
    match timeout(PING_DEADLINE, client.version()).await {
        Ok(Ok(version)) => Ok((client, version.version.unwrap_or_else(|| "of unknown version".to_owned()))),
        Ok(Err(error)) => Err(unavailable(chain(&error))),
        Err(_) => Err(unavailable(format!("it did not answer within {PING_DEADLINE:?}"))),
    }
}

impl Docker {
    /// Connects to the daemon and sees to the images.
    pub(crate) async fn connect() -> Result<Self, Error> {
        let (client, version) = connect().await?;
        // All of them are seen to, so that which one an error names does not depend on which answer came first.
        let (postgres, redis, app) =
            tokio::join!(POSTGRES.resolve(&client), REDIS.resolve(&client), APP.resolve(&client));
        Ok(Docker { client, version, postgres: postgres?, redis: redis?, app: app? })
    }

    pub(crate) fn why(&self) -> String {
        format!("docker {}: images {}, {} and {}", self.version, self.postgres, self.redis, self.app)
    }

    async fn run(
        &self,
        site: &Site,
        name: &str,
        request: ContainerRequest<GenericImage>,
    ) -> Result<Container, Error> {
        site.guardian.tell("docker on")?;
        let request = request.with_label("seaworthy.stack", &site.id).with_startup_timeout(START_DEADLINE);
        let fail = |why: String| Error::Docker { action: "start a container", service: name.to_owned(), why };
        let container = timeout(START_DEADLINE, request.start())
            .await
            .map_err(|_| fail(format!("it took longer than {START_DEADLINE:?}")))?
            .map_err(|error| fail(chain(&error)))?;
        Ok(Container {
            name: name.to_owned(),
            client: self.client.clone(),
            container,
            port: None,
            more_ports: Vec::new(),
            login: Login::default(),
            disk: false,
            starts: AtomicUsize::new(1),
        })
    }

    async fn start_postgres(&self, site: &Site, name: &str, spec: &Postgres) -> Result<Container, Error> {
        let port = port::pick(name, spec.port)?;
        let image_name = self.versioned(&POSTGRES, &self.postgres, spec.version.as_deref()).await?;
        if let Some(link) = &spec.replica_of {
            return self.start_postgres_replica(site, name, spec, (port, &image_name, link)).await;
        }
        let password = uuid::Uuid::new_v4().simple().to_string();
        let command = ["postgres", "-c", "listen_addresses=*"].map(str::to_owned);
        let mut request = image(&image_name)
            .with_exposed_port(5432.tcp())
            .with_host_config_modifier(publish(port, 5432))
            .with_cmd(command.into_iter().chain(spec.parameters()))
            .with_env_var("POSTGRES_USER", "seaworthy")
            .with_env_var("POSTGRES_PASSWORD", &password)
            .with_env_var("POSTGRES_DB", "postgres")
            .with_env_var("POSTGRES_INITDB_ARGS", "--no-sync")
            .with_env_var("POSTGRES_INITDB_WALDIR", "/pgwal")
            .with_env_var("PGDATA", format!("{DISK}/data"));
        for (name, value) in &spec.env {
            request = request.with_env_var(name, value);
        }
        if let Some(mib) = spec.disk_limit_mib {
            request = request.with_mount(Mount::tmpfs_mount(DISK).with_size(&format!("{mib}m")));
        }
        let login = Login { user: "seaworthy".to_owned(), password, database: "postgres".to_owned() };
        let disk = spec.disk_limit_mib.is_some();
        Ok(Container { port: Some(port), login, disk, ..self.run(site, name, request).await? })
    }

    /// Runs it on the host's network, so that it finds the fault proxy in front of its primary.
    async fn start_postgres_replica(
        &self,
        site: &Site,
        name: &str,
        spec: &Postgres,
        (port, image_name, link): (u16, &str, &Link),
    ) -> Result<Container, Error> {
        let (host, link_port) = (link.address.ip().to_string(), link.address.port().to_string());
        let script =
            ["-c", REPLICA, "seaworthy-replica", &host, &link_port, &link.login.user, &link.slot, "postgres"];
        let listen = ["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={port}")].map(str::to_owned);
        let command = script.map(str::to_owned).into_iter().chain(listen).chain(spec.parameters());
        let (repository, tag) = split(image_name);
        let mut request = GenericImage::new(repository, tag)
            .with_entrypoint("sh")
            .with_network("host")
            .with_cmd(command)
            .with_env_var("PGPASSWORD", &link.login.password)
            .with_env_var("PGDATA", format!("{DISK}/data"));
        for (name, value) in &spec.env {
            request = request.with_env_var(name, value);
        }
        Ok(Container { port: Some(port), login: link.login.clone(), ..self.run(site, name, request).await? })
    }

    async fn start_redis(&self, site: &Site, name: &str, spec: &Redis) -> Result<Container, Error> {
        let port = port::pick(name, spec.port)?;
        let image_name = self.versioned(&REDIS, &self.redis, spec.version.as_deref()).await?;
        // What is changed at runtime, as whom it follows, is written down and so survives a restart.
        let script = "[ -e redis.conf ] || : >redis.conf; exec redis-server redis.conf \"$@\"";
        let mut command = ["sh", "-c", script, "seaworthy-redis"].map(str::to_owned).to_vec();
        command.extend(spec.arguments());
        let request = if spec.replica_of.is_some() {
            // On the host's network it finds the fault proxy in front of its primary.
            command.extend(["--port", &port.to_string(), "--bind", "127.0.0.1"].map(str::to_owned));
            image(&image_name).with_network("host").with_cmd(command)
        } else {
            // Its port is published on the loopback interface only, so Redis need not refuse what comes from outside its container.
            command.extend(["--protected-mode", "no"].map(str::to_owned));
            image(&image_name)
                .with_exposed_port(6379.tcp())
                .with_host_config_modifier(publish(port, 6379))
                .with_cmd(command)
        };
        Ok(Container { port: Some(port), ..self.run(site, name, request).await? })
    }

    async fn start_other(
        &self,
        site: &Site,
        name: &str,
        software: &dyn Software,
    ) -> Result<Container, Error> {
        let wanted = software.image();
        let port = port::pick(name, None)?;
        let more = software
            .more_ports()
            .into_iter()
            .map(|more| Ok((more.name, more.inside, port::pick(name, None)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let image_name =
            resolve(&self.client, "Software::image", &wanted.name, wanted.offline.as_deref()).await?;
        let inside: Vec<(String, u16)> =
            more.iter().map(|(name, inside, _)| (name.clone(), *inside)).collect();
        let placeholders = Placeholders::new(wanted.port, &inside, "/data");
        let published: Vec<_> = [(port, wanted.port)]
            .into_iter()
            .chain(more.iter().map(|(_, inside, host)| (*host, *inside)))
            .collect();
        let exposing = published
            .iter()
            .fold(image(&image_name), |image, (_, inside)| image.with_exposed_port(inside.tcp()));
        let mut request = exposing
            .with_host_config_modifier(publish_all(published))
            .with_cmd(wanted.args.iter().map(|arg| placeholders.fill(arg)));
        for (name, value) in placeholders.fill_env(&wanted.env) {
            request = request.with_env_var(name, value);
        }
        let more_ports = more.into_iter().map(|(name, _, host)| (name, host)).collect();
        Ok(Container { port: Some(port), more_ports, ..self.run(site, name, request).await? })
    }

    /// The image for this version, or the one that was found at first.
    async fn versioned(&self, image: &Image, found: &str, version: Option<&str>) -> Result<String, Error> {
        let Some(version) = version else { return Ok(found.to_owned()) };
        let mut other = None;
        if found == image.offline {
            let inspected = self.client.inspect_image(found).await.ok();
            let labels = inspected.and_then(|image| image.config?.labels).unwrap_or_default();
            let here = labels.get(VERSION_LABEL).map_or("one of unknown version", String::as_str);
            if is_of(here, version) {
                return Ok(found.to_owned());
            }
            other = Some(format!("{found} with {here}"));
        }
        let (repository, _) = split(image.official);
        let wanted = format!("{repository}:{version}-alpine");
        match (resolve(&self.client, image.setting, &wanted, None).await, other) {
            (Err(Error::Image { why, .. }), Some(found)) => Err(Error::VersionMissing {
                what: format!("an image of {repository}"),
                wanted: version.to_owned(),
                found,
                remedy: format!("pull it with `docker pull {wanted}`, which now fails: {why}"),
            }),
            (resolved, _) => resolved,
        }
    }

    /// Runs the application on the host's network, so that it finds the fault proxies where the test finds them.
    async fn start_app(&self, site: &Site, name: &str, app: &App) -> Result<Container, Error> {
        let command = app.program(name)?;
        let port = app.listens().then(|| port::pick(name, None)).transpose()?;
        let app = app.clone().on_port(port.unwrap_or(0));
        const INSIDE: &str = "/seaworthy-app";
        let mut request = image(&self.app)
            .with_network("host")
            .with_mount(Mount::bind_mount(command.display().to_string(), INSIDE))
            .with_cmd([INSIDE.to_owned()].into_iter().chain(app.args));
        for (name, value) in app.env {
            request = request.with_env_var(name, value);
        }
        Ok(Container { port, ..self.run(site, name, request).await? })
    }
}

#[async_trait]
impl Provider for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    async fn start(&self, site: &Site, name: &str, spec: &Spec) -> Result<Arc<dyn Instance>, Error> {
        Ok(match spec {
            Spec::Postgres(spec) => Arc::new(self.start_postgres(site, name, spec).await?),
            Spec::Redis(spec) => Arc::new(self.start_redis(site, name, spec).await?),
            Spec::App(app) if cfg!(target_os = "linux") => Arc::new(self.start_app(site, name, app).await?),
            Spec::Other(software) => Arc::new(self.start_other(site, name, &**software).await?),
            // Elsewhere containers live in a virtual machine, which can't run this system's binaries.
            Spec::App(app) => return native::start_app(site, name, app),
        })
    }
}

impl Image {
    /// The image that the setting names, else the official one if it is here, else the offline one if that is here, else
    /// the official one, pulled.
    async fn resolve(&self, client: &bollard::Docker) -> Result<String, Error> {
        match env::var(self.setting) {
            Ok(chosen) => resolve(client, self.setting, &chosen, None).await,
            Err(_) => resolve(client, self.setting, self.official, Some(self.offline)).await,
        }
    }
}

/// The first image if it is here, else the second if that is, else the first one, pulled.
async fn resolve(
    client: &bollard::Docker,
    setting: &'static str,
    first: &str,
    second: Option<&str>,
) -> Result<String, Error> {
    for image in [Some(first), second].into_iter().flatten() {
        if client.inspect_image(image).await.is_ok() {
            return Ok(image.to_owned());
        }
    }
    let fail = |why| Error::Image { image: first.to_owned(), why, setting };
    let options = CreateImageOptionsBuilder::default().from_image(first).build();
    let pull = client.create_image(Some(options), None, None).try_collect::<Vec<_>>();
    match timeout(PULL_DEADLINE, pull).await {
        Ok(Ok(_)) => Ok(first.to_owned()),
        Ok(Err(error)) => Err(fail(chain(&error))),
        Err(_) => Err(fail(format!("the pull took longer than {PULL_DEADLINE:?}"))),
    }
}

/// `name:tag` as testcontainers takes it.
fn image(name: &str) -> GenericImage {
    let (name, tag) = split(name);
    GenericImage::new(name, tag)
}

/// `name:tag` or `name@sha256:digest`.
fn split(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (name, "latest"),
    }
}

/// Publishes a port on the loopback interface only: a test's services are nobody else's.
fn publish(host: u16, inside: u16) -> impl Fn(&mut HostConfig) + Send + Sync + 'static {
    publish_all(vec![(host, inside)])
}

fn publish_all(ports: Vec<(u16, u16)>) -> impl Fn(&mut HostConfig) + Send + Sync + 'static {
    move |config| {
        let bindings = ports.iter().map(|(host, inside)| {
            let binding =
                PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(host.to_string()) };
            (format!("{inside}/tcp"), Some(vec![binding]))
        });
        config.port_bindings = Some(bindings.collect::<HashMap<_, _>>());
    }
}

struct Container {
    name: String,
    client: bollard::Docker,
    container: ContainerAsync<GenericImage>,
    port: Option<u16>,
    more_ports: Vec<(String, u16)>,
    login: Login,
    disk: bool,
    starts: AtomicUsize,
}

impl Container {
    fn fail(&self, action: &'static str, why: String) -> Error {
        Error::Docker { action, service: self.name.clone(), why }
    }

    async fn whole_log(&self) -> Vec<u8> {
        let (out, err) = (self.container.stdout_to_vec().await, self.container.stderr_to_vec().await);
        let mut bytes = out.unwrap_or_default();
        bytes.extend(err.unwrap_or_default());
        bytes
    }

    async fn on_disk(&self, action: &'static str, script: &str) -> Result<(), Error> {
        if !self.disk {
            return Err(Error::no_small_disk(&self.name));
        }
        let command =
            ExecCommand::new(["sh", "-c", script]).with_cmd_ready_condition(CmdWaitFor::exit_code(0));
        let done = timeout(START_DEADLINE, self.container.exec(command)).await;
        done.map_err(|_| self.fail(action, format!("it took longer than {START_DEADLINE:?}")))?
            .map(drop)
            .map_err(|error| self.fail(action, chain(&error)))
    }
}

#[async_trait]
impl Instance for Container {
    fn address(&self) -> Option<String> {
        self.port.map(|port| format!("127.0.0.1:{port}"))
    }

    fn more_addresses(&self) -> Vec<(String, String)> {
        self.more_ports.iter().map(|(name, port)| (name.clone(), format!("127.0.0.1:{port}"))).collect()
    }

    fn login(&self) -> Login {
        self.login.clone()
    }

    async fn reaches_us_at(&self) -> Result<IpAddr, Error> {
        let inspected = self.client.inspect_container(self.container.id(), None).await;
        let inspected = inspected.map_err(|error| self.fail("inspect the container", chain(&error)))?;
        let networks = inspected.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        // One on the host's network has no gateway: it is where we are.
        let gateway = networks.into_values().find_map(|network| network.gateway?.parse().ok());
        Ok(gateway.unwrap_or(Ipv4Addr::LOCALHOST.into()))
    }

    async fn ended(&self) -> Option<String> {
        match self.container.exit_code().await {
            Ok(None) => None,
            Ok(Some(code)) => Some(format!("its container ended with exit code {code}")),
            Err(error) => Some(chain(&error)),
        }
    }

    async fn kill(&self) -> Result<(), Error> {
        const ACTION: &str = "kill the container";
        if self.disk {
            return Err(Error::Unsupported {
                fault: "kill -9",
                service: self.name.clone(),
                why: "its data is on a filesystem in memory, which goes with the container".to_owned(),
            });
        }
        let killed = self.client.kill_container(self.container.id(), None).await;
        killed.map_err(|error| self.fail(ACTION, chain(&error)))?;
        let gone = async {
            while self.container.is_running().await.unwrap_or(false) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(START_DEADLINE, gone).await.map_err(|_| self.fail(ACTION, "it is still running".to_owned()))
    }

    async fn start_again(&self) -> Result<(), Error> {
        self.starts.fetch_add(1, Ordering::Relaxed);
        let started = self.client.start_container(self.container.id(), None).await;
        started.map_err(|error| self.fail("start the container again", chain(&error)))
    }

    async fn pause(&self) -> Result<(), Error> {
        self.container.pause().await.map_err(|error| self.fail("pause the container", chain(&error)))
    }

    fn resume(&self) -> Result<(), Error> {
        let (client, id) = (self.client.clone(), self.container.id().to_owned());
        tokio::spawn(async move { client.unpause_container(&id).await });
        Ok(())
    }

    async fn signal(&self, signal: Signal) -> Result<(), Error> {
        let options = KillContainerOptionsBuilder::default().signal(signal.name()).build();
        let sent = self.client.kill_container(self.container.id(), Some(options)).await;
        sent.map_err(|error| self.fail("send a signal to the container", chain(&error)))
    }

    async fn fill_disk(&self) -> Result<(), Error> {
        let fill = format!(
            "dd if=/dev/zero of={DISK}/ballast bs=64k 2>/dev/null; \
             dd if=/dev/zero of={DISK}/ballast bs=512 oflag=append conv=notrunc 2>/dev/null; test -s {DISK}/ballast"
        );
        self.on_disk("fill the disk", &fill).await
    }

    async fn free_disk(&self) -> Result<(), Error> {
        self.on_disk("free the disk", &format!("rm -f {DISK}/ballast")).await
    }

    async fn log(&self) -> String {
        let bytes = self.whole_log().await;
        String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_TAIL)..]).into_owned()
    }

    async fn said(&self, text: &str) -> bool {
        // The daemon keeps the log over restarts: each start must have said it.
        let log = self.whole_log().await;
        String::from_utf8_lossy(&log).matches(text).count() >= self.starts.load(Ordering::Relaxed)
    }

    async fn lines(&self, text: &str) -> Vec<String> {
        let log = self.whole_log().await;
        let log = String::from_utf8_lossy(&log);
        log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    fn log_source(&self) -> LogSource {
        LogSource::Container(self.container.id().to_owned())
    }

    async fn usage(&self) -> Usage {
        Usage { memory: self.memory().await, ..Usage::default() }
    }
}

impl Container {
    async fn memory(&self) -> Option<u64> {
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let mut answers = self.client.stats(self.container.id(), Some(options));
        let memory = timeout(PING_DEADLINE, answers.try_next()).await.ok()?.ok()??.memory_stats?;
        let parts = memory.stats.unwrap_or_default();
        // The names of control groups of version 2, then of version 1. Their sum is what processes have resident, without the files
        // that the kernel merely keeps in memory.
        let resident = [("anon", "file_mapped"), ("rss", "mapped_file")]
            .into_iter()
            .find_map(|(anonymous, mapped)| Some(parts.get(anonymous)? + parts.get(mapped)?));
        resident.or(memory.usage)
    }
}

/// An error with its causes: the outermost alone rarely says what happened.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
