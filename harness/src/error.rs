//! What can go wrong with a stack: what, where, and what to do about it.

use std::{io, path::PathBuf, time::Duration};

/// Why a stack could not be started, or a fault not be injected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stack was started on a single-threaded runtime.
    #[error(
        "a stack needs tokio's multi-threaded runtime, since its proxies work while a test computes: use \
         `#[tokio::test(flavor = \"multi_thread\")]`"
    )]
    Runtime,
    /// A server's binary is not on this machine.
    #[error("`{binary}` was not found in {looked_in}; install it with `{install}`, or set {setting}")]
    BinaryMissing {
        /// The name of the binary.
        binary: String,
        /// Where we looked.
        looked_in: String,
        /// The command that installs it.
        install: String,
        /// The environment variable that points to it.
        setting: &'static str,
    },
    /// A server's binary is older than what Seaworthy works with.
    #[error(
        "{path} is version {found}, and at least {needed} is needed; install a newer one with `{install}`, or set {setting}"
    )]
    BinaryTooOld {
        /// The binary.
        path: PathBuf,
        /// The version that it reports.
        found: String,
        /// The oldest version that works.
        needed: &'static str,
        /// The command that installs a newer one.
        install: String,
        /// The environment variable that points to it.
        setting: &'static str,
    },
    /// A binary did not say its version.
    #[error("{path} --version did not answer with a version: {answer}")]
    BinaryBroken {
        /// The binary.
        path: PathBuf,
        /// What it said, or why it could not be run.
        answer: String,
    },
    /// The stack's folder could not be created or used.
    #[error("the folder {path} can't be used: {why}; set SEAWORTHY_DIR to a folder that you can write to")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// There is too little room for the services' data.
    #[error(
        "{path} has {free_mib} MiB free and a stack needs {needed_mib} MiB; free some, or set SEAWORTHY_DIR to a larger place"
    )]
    NoSpace {
        /// Where the data would go.
        path: PathBuf,
        /// What is free, in MiB.
        free_mib: u64,
        /// What is needed, in MiB.
        needed_mib: u64,
    },
    /// A port that was asked for is taken.
    #[error("port {port} for {service} is taken by another process; stop that one or choose another port")]
    PortTaken {
        /// The service.
        service: String,
        /// The port.
        port: u16,
    },
    /// A service ended, or never answered, while it was being started.
    #[error("{service} did not start: {why}{}", log_tail(log))]
    Start {
        /// The service.
        service: String,
        /// What happened.
        why: String,
        /// The end of its log; may be empty.
        log: String,
    },
    /// No Docker daemon answers.
    #[error("no Docker daemon answers ({why}); start one, or use `--provider native`")]
    DockerUnavailable {
        /// What the connection said.
        why: String,
    },
    /// A container image is not there and can't be pulled.
    #[error(
        "the image {image} is not here and can't be pulled ({why}); build the offline images with `make images`, or name another image in {setting}"
    )]
    Image {
        /// The image.
        image: String,
        /// What the daemon said.
        why: String,
        /// The environment variable that names another one.
        setting: &'static str,
    },
    /// The Docker daemon answers but could not do what it was asked for.
    #[error("Docker could not {action} for {service}: {why}")]
    Docker {
        /// What it was asked for.
        action: &'static str,
        /// The service.
        service: String,
        /// What it answered.
        why: String,
    },
    /// A URL of an external service is missing or malformed.
    #[error("the external provider needs {setting}: {why}")]
    External {
        /// The environment variable.
        setting: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// No provider can work on this machine.
    #[error("neither provider works here.\n  docker: {docker}\n  native: {native}")]
    NoProvider {
        /// Why Docker can't be used.
        docker: Box<Error>,
        /// Why native processes can't be used.
        native: Box<Error>,
    },
    /// The fault can't be injected into this service here.
    #[error("{fault} can't be injected into {service}: {why}")]
    Unsupported {
        /// The fault.
        fault: &'static str,
        /// The service.
        service: String,
        /// Why not, and what to do.
        why: String,
    },
    /// A fault or a recovery that was begun did not take effect.
    #[error("{service} did not {action} within {deadline:?}{}", log_tail(log))]
    Deadline {
        /// The service.
        service: String,
        /// What it did not do.
        action: &'static str,
        /// How long we waited.
        deadline: Duration,
        /// The end of its log; may be empty.
        log: String,
    },
    /// The stack has no service of this name.
    #[error("the stack has no service named `{name}`; it has {known}")]
    UnknownService {
        /// The name.
        name: String,
        /// The names that it has.
        known: String,
    },
    /// Two services of a stack have the same name.
    #[error("the stack has a service named `{name}` already; choose another name")]
    ServiceExists {
        /// The name.
        name: String,
    },
    /// A service is asked for in a way that no server could take.
    #[error("{service} can't have {what} `{text}`: {why}")]
    Malformed {
        /// The service.
        service: String,
        /// What of it, `the name`, `the version` or `the setting` for example.
        what: &'static str,
        /// What was asked for, its beginning.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A server of the version that was asked for is not here.
    #[error("{what} of version {wanted} was not found, only {found}; {remedy}")]
    VersionMissing {
        /// The server.
        what: String,
        /// What was asked for.
        wanted: String,
        /// What is here.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// A fault proxy refused.
    #[error(transparent)]
    Proxy(#[from] seaworthy_fault_proxy::Error),
    /// A Toxiproxy server refused a fault, or did not do what it was asked for.
    #[error("the Toxiproxy at {address} failed: {why}")]
    Toxiproxy {
        /// The address of its API.
        address: String,
        /// What it said, or did not do.
        why: String,
    },
    /// The database of an external server could not be created.
    #[error("{service} refused a statement: {source}")]
    Database {
        /// The service.
        service: String,
        /// What it said.
        source: sqlx::Error,
    },
    /// A schedule is malformed, or asks for what no player could play.
    #[error("the schedule can't be played: {why}")]
    Schedule {
        /// Where, and what is wrong.
        why: String,
    },
    /// Another process holds a lock, and has not given it back in time.
    #[error(
        "another process has held the lock {path} for too long; if it hangs, end it, and its lock is free"
    )]
    Locked {
        /// The lock's file.
        path: PathBuf,
    },
    /// A step of a database's schema failed.
    #[error("the schema of the test's database failed at {step}: {source}")]
    Schema {
        /// The step: a folder of migrations, a piece of SQL, or the name of a closure.
        step: String,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A test asks for more connections than the server has.
    #[error(
        "a test asks for {wanted} connections at once, and the server has {budget} for tests: ask for fewer with `connections = …`"
    )]
    TooManyConnections {
        /// What the test asked for.
        wanted: u32,
        /// What there is for all tests together.
        budget: u32,
    },
    /// The operating system refused.
    #[error("{action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn no_small_disk(service: &str) -> Error {
        Error::Unsupported {
            fault: "a full disk",
            service: service.to_owned(),
            why:
                "its data is not on a filesystem of limited size: ask for one with `Postgres::disk_limit_mib`"
                    .to_owned(),
        }
    }

    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let action = action.into();
        move |source| Error::Io { action, source }
    }

    pub(crate) fn nix(action: impl Into<String>) -> impl FnOnce(nix::Error) -> Error {
        let action = action.into();
        move |errno| Error::Io { action, source: errno.into() }
    }
}

fn log_tail(log: &str) -> String {
    if log.trim().is_empty() { String::new() } else { format!("; the end of its log:\n{}", log.trim_end()) }
}
