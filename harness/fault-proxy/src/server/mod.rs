//! From the command line to a running server, and to its end.

mod arguments;
mod log;
mod runtime_metrics;

use std::{
    fmt::Display,
    net::SocketAddr,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use seaworthy_fault_proxy::{
    Proxies,
    api::{self, Api, Settings, TOXIPROXY_VERSION},
    config,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use arguments::Arguments;

/// Something could not be had from the machine: a port, mostly.
const FAILED: u8 = 1;
/// What was asked for makes no sense: the arguments, or the file of proxies.
const MISUSED: u8 = 2;
/// How long requests under way may take once the server is told to end.
const FAREWELL: Duration = Duration::from_secs(2);

pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(told) => {
            let _ = told.print();
            return ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(MISUSED));
        }
    };
    if arguments.version {
        println!(
            "seaworthy-fault-proxy version {} (with the API of Toxiproxy {TOXIPROXY_VERSION})",
            env!("CARGO_PKG_VERSION")
        );
        return ExitCode::SUCCESS;
    }
    log::start();
    runtime_metrics::raise_open_files();
    // The API needs no more than this thread; the proxies' bytes are moved by threads of their own.
    let outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(arguments)),
        Err(error) => Err(Failure::new(FAILED, format_args!("no runtime: {error}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, text }) => {
            eprintln!("error: {text}");
            ExitCode::from(code)
        }
    }
}

struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    fn new(code: u8, text: impl Display) -> Self {
        Failure { code, text: text.to_string() }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut interrupts = listen_for(SignalKind::interrupt())?;
    let mut terminations = listen_for(SignalKind::terminate())?;
    let seed = arguments.seed.unwrap_or_else(seed_of_the_moment);
    let proxies = Proxies::with_seed(seed);
    proxies.decisions().record(arguments.decisions as usize);
    populate(&proxies, &arguments).await?;
    let api = serve(proxies, &arguments).await?;
    info!(address = %api.address(), seed, version = env!("CARGO_PKG_VERSION"), "the API listens");
    let ended_by = tokio::select! {
        _ = interrupts.recv() => "SIGINT",
        _ = terminations.recv() => "SIGTERM",
    };
    info!(ended_by, "ending");
    api.shut_down(FAREWELL).await;
    Ok(())
}

fn listen_for(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(FAILED, format_args!("can't listen for signals: {error}")))
}

/// Different on every start, and told in the log, so that a run can be had again.
fn seed_of_the_moment() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

async fn populate(proxies: &Proxies, arguments: &Arguments) -> Result<(), Failure> {
    let Some(path) = &arguments.config else { return Ok(()) };
    let file = path.display();
    let configs = config::read(path).map_err(|error| match error {
        config::Error::Content { line, why } => Failure::new(MISUSED, format_args!("{file}:{line}: {why}")),
        other => Failure::new(MISUSED, format_args!("{file}: {other}")),
    })?;
    let (made, outcome) = proxies.populate(configs).await;
    for proxy in &made {
        let (name, listen, upstream) = (proxy.name(), proxy.listen(), proxy.upstream());
        info!(proxy = name, %listen, upstream, enabled = proxy.is_enabled(), "a proxy from the file");
    }
    outcome.map_err(|error| Failure::new(FAILED, format_args!("{file}: {error}")))
}

async fn serve(proxies: Proxies, arguments: &Arguments) -> Result<Api, Failure> {
    let (host, port) = (arguments.host.as_str(), arguments.port);
    let fail = |why: &dyn Display| {
        Failure::new(
            FAILED,
            format_args!("the API can't listen on {host}:{port}: {why}; choose with --host, --port"),
        )
    };
    let mut settings = Settings::default().log(log::request);
    if arguments.proxy_metrics {
        settings = settings.proxy_metrics();
    }
    if arguments.runtime_metrics {
        settings = settings.more_metrics(runtime_metrics::text);
    }
    let address = find(host, port).await.map_err(|error| fail(&error))?;
    api::serve_with(proxies, address, settings).await.map_err(|error| fail(&error))
}

/// IPv4 comes first where a host has both, as with Toxiproxy.
async fn find(host: &str, port: u16) -> std::io::Result<SocketAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| std::io::Error::other("the host has no address"))
}
