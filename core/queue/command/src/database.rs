//! Where the queue is.

use std::{convert::Infallible, fmt, str::FromStr, time::Duration};

use clap::Args;
use seaworthy_queue::Queue;
use seaworthy_telemetry::redaction::scrub;
use sqlx::{
    ConnectOptions as _, Connection as _,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

use crate::exit::Problem;

/// How long the database gets for a connection.
pub(crate) const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// As many as wait for each other's answers.
const CONNECTIONS: u32 = 2;

/// The option that names the database.
#[derive(Debug, Args)]
pub(crate) struct Database {
    /// The Postgres database with the queue: postgres://USER:PASSWORD@HOST/DATABASE. Others on this machine can see what is on a command line: a password is better off in
    /// DATABASE_URL.
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    url: Option<Url>,
}

/// A text that is not shown.
#[derive(Clone)]
struct Url(String);

impl FromStr for Url {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Url(text.trim().to_owned()))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl Database {
    /// The queue, once the database has answered, and what the database is called.
    pub(crate) async fn open(&self) -> Result<(Queue, String), Problem> {
        let url = self.url.as_ref().map(|url| url.0.as_str()).filter(|url| !url.is_empty());
        let url = url.ok_or_else(|| Problem::usage("which database? Set DATABASE_URL, or give --url"))?;
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(Problem::usage(
                "the database's URL does not begin with postgres:// or postgresql://",
            ));
        }
        let options = url.parse::<PgConnectOptions>().map_err(|error| {
            Problem::usage(format!("the database's URL can't be read: {}", scrub(&error.to_string())))
        })?;
        let options = options.application_name("seaworthy queue").disable_statement_logging();
        let host = options.get_host();
        let name = format!("{host}:{}/{}", options.get_port(), options.get_database().unwrap_or_default());
        // A pool tries again and again, and says only that it took too long.
        let why = match timeout(CONNECT_DEADLINE, options.connect()).await {
            Ok(Ok(connection)) => {
                let _ = connection.close().await;
                let pool =
                    PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(CONNECT_DEADLINE);
                return Ok((Queue::new(pool.connect_lazy_with(options)), name));
            }
            Ok(Err(error)) => scrub(&error.to_string()).into_owned(),
            Err(_) => format!("no answer within {} s", CONNECT_DEADLINE.as_secs()),
        };
        Err(Problem::unreachable(format!("the database {name} could not be reached: {why}")))
    }
}
