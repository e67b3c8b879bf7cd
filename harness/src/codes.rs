//! The codes of the harness' errors.

use seaworthy_errors::{Code, codes};

use crate::{Error, RowsError};

codes! {
    /// The codes of the harness.
    pub static CODES;

    /// A stack was started on tokio's single-threaded runtime. Its proxies would stand still while a test computes.
    pub RUNTIME = "HARNESS-0001", FailedPrecondition, "A stack needs tokio's multi-threaded runtime" {
        example: "`#[tokio::test]` without a flavor.",
        remedy: "Use `#[tokio::test(flavor = \"multi_thread\")]`.",
    }

    /// The native provider needs a server's binary that is not on this machine, is too old, or does not say its version.
    pub BINARY = "HARNESS-0002", FailedPrecondition, "A server's binary can't be used" {
        example: "Redis is not installed, or Postgres is older than 14.",
        remedy: "`seaworthy doctor` names the command that installs it.",
    }

    /// The folder for a stack's files can't be made or used, or has too little room.
    pub FOLDER = "HARNESS-0003", ResourceExhausted, "There is no room for the stack" {
        example: "`/dev/shm` is full.",
        remedy: "Free some space, or name another folder in SEAWORTHY_DIR.",
        retry: Retry::Never,
    }

    /// A port that was asked for by number is taken.
    pub PORT_TAKEN = "HARNESS-0004", AlreadyExists, "A port is taken" {
        example: "A Postgres runs on 5432 already, and the test asks for that port.",
        remedy: "Stop the other process, or ask for no port: the harness finds a free one.",
    }

    /// A service ended, or never answered, while it was being started. The error quotes the end of its log.
    pub START = "HARNESS-0005", Unavailable, "A service did not start" {
        example: "The application under test refuses its settings.",
        remedy: "Read the log that the error quotes.",
        retry: Retry::Never,
    }

    /// Docker can't be used: no daemon answers, an image is missing, or the daemon refused.
    pub DOCKER = "HARNESS-0006", Unavailable, "Docker can't be used" {
        example: "The daemon is not running.",
        remedy: "Start it, build the images with `make images`, or choose `--provider native`.",
        retry: Retry::Never,
    }

    /// A URL of an external service is missing or malformed.
    pub EXTERNAL = "HARNESS-0007", InvalidArgument, "A URL of the external provider is not usable" {
        example: "SEAWORTHY_POSTGRES_URL is not set.",
        remedy: "Set it to the URL of a server that may be used for tests.",
    }

    /// Neither Docker nor native processes can be used on this machine.
    pub NO_PROVIDER = "HARNESS-0008", FailedPrecondition, "No provider works on this machine" {
        example: "There is no Docker daemon, and no Postgres is installed.",
        remedy: "`make demo` installs what is missing; `seaworthy doctor` says what that is.",
    }

    /// A fault can't be injected into this service with this provider.
    pub UNSUPPORTED = "HARNESS-0009", Unimplemented, "The fault can't be injected here" {
        example: "A full disk, without the right to mount a small filesystem.",
        remedy: "Take another provider or run as root, as the error says; the documentation has a table of what works where.",
    }

    /// A fault or a recovery was begun and did not take effect in its time.
    pub DEADLINE = "HARNESS-0010", DeadlineExceeded, "A fault or a recovery did not take effect" {
        example: "A killed Postgres does not come back, since its data is damaged.",
        remedy: "Read the log that the error quotes.",
        retry: Retry::Never,
    }

    /// The stack has no service of this name.
    pub UNKNOWN_SERVICE = "HARNESS-0011", NotFound, "The stack has no such service" {
        example: "A schedule says `postgress`.",
        remedy: "Use one of the names that the error lists.",
    }

    /// The fault proxy, or a Toxiproxy server, refused a request.
    pub PROXY = "HARNESS-0012", InvalidArgument, "The fault proxy refused" {
        example: "A toxic of a type that it does not know.",
        remedy: "Correct what the error names.",
    }

    /// A server refused what the harness asked of it, or the operating system did.
    pub SYSTEM = "HARNESS-0013", Internal, "The harness' own work failed" {
        example: "A process can't be started, since there are too many.",
        remedy: "The source of the error says what the system refused.",
    }

    /// Another process holds a lock of the harness for longer than its work can take.
    pub LOCKED = "HARNESS-0014", DeadlineExceeded, "Another process holds a lock for too long" {
        example: "A debugger has stopped a test while it was starting the shared stack.",
        remedy: "End the process that has the lock's file open: `lsof` or `fuser` says which one that is.",
    }

    /// A migration, a piece of SQL or a closure failed while the template of the tests' databases was being made.
    pub SCHEMA = "HARNESS-0015", InvalidArgument, "The schema of the test's database can't be made" {
        example: "A migration has a syntax error, or the folder of migrations is not there.",
        remedy: "Correct the step that the error names.",
    }

    /// One test asks for more connections at once than the server gives to all tests.
    pub CONNECTIONS = "HARNESS-0016", InvalidArgument, "A test asks for too many connections" {
        example: "`connections = 200`, and the server has 100.",
        remedy: "Ask for fewer, or give the test a server of its own.",
    }

    /// A service is to have a name that another one of the stack has.
    pub SERVICE_EXISTS = "HARNESS-0017", AlreadyExists, "The stack has a service of that name" {
        example: "Two calls of `postgres_named(\"orders\", …)`.",
        remedy: "Choose another name.",
    }

    /// A query whose rows a test looks at gave none that can be shown.
    pub ROWS = "HARNESS-0018", InvalidArgument, "No rows could be read" {
        example: "The query names a column that is not there, or takes parameters.",
        remedy: "Correct the query where the error points.",
    }

    /// A file with a schedule is malformed, or asks for what can't be.
    pub SCHEDULE = "HARNESS-0019", InvalidArgument, "The schedule can't be played" {
        example: "The same fault is to begin while it is on.",
        remedy: "Correct the event that the error names.",
    }

    /// A service is asked for with a name, a version or a setting that no server could take.
    pub MALFORMED = "HARNESS-0020", InvalidArgument, "A service can't be as it was asked for" {
        example: "`Postgres::new().version(\"latest\")`, or a service called `a/b`.",
        remedy: "Correct what the error names.",
    }
}

impl Error {
    /// The code, which stays the same over releases.
    pub fn code(&self) -> &'static Code {
        match self {
            Error::Runtime => &RUNTIME,
            Error::BinaryMissing { .. }
            | Error::BinaryTooOld { .. }
            | Error::BinaryBroken { .. }
            | Error::VersionMissing { .. } => &BINARY,
            Error::Folder { .. } | Error::NoSpace { .. } => &FOLDER,
            Error::PortTaken { .. } => &PORT_TAKEN,
            Error::Start { .. } => &START,
            Error::DockerUnavailable { .. } | Error::Image { .. } | Error::Docker { .. } => &DOCKER,
            Error::External { .. } => &EXTERNAL,
            Error::NoProvider { .. } => &NO_PROVIDER,
            Error::Unsupported { .. } => &UNSUPPORTED,
            Error::Deadline { .. } => &DEADLINE,
            Error::UnknownService { .. } => &UNKNOWN_SERVICE,
            Error::Proxy(_) | Error::Toxiproxy { .. } => &PROXY,
            Error::ServiceExists { .. } => &SERVICE_EXISTS,
            Error::Malformed { .. } => &MALFORMED,
            Error::Schedule { .. } => &SCHEDULE,
            Error::Locked { .. } => &LOCKED,
            Error::Schema { .. } => &SCHEMA,
            Error::TooManyConnections { .. } => &CONNECTIONS,
            Error::Database { .. } | Error::Io { .. } => &SYSTEM,
        }
    }
}

impl RowsError {
    /// The code, which stays the same over releases.
    pub fn code(&self) -> &'static Code {
        &ROWS
    }
}

impl From<RowsError> for seaworthy_errors::Error {
    #[track_caller]
    fn from(error: RowsError) -> Self {
        seaworthy_errors::Error::new(error.code()).caused_by(error)
    }
}

impl From<Error> for seaworthy_errors::Error {
    #[track_caller]
    fn from(error: Error) -> Self {
        seaworthy_errors::Error::new(error.code()).caused_by(error)
    }
}
