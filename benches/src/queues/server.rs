//! The Postgres server that all contenders share.

use anyhow::Context as _;
use seaworthy_harness::{Postgres, ProviderChoice, Stack};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool, postgres::PgPoolOptions};

/// A durable server, with `fsync` on; each contender has a database of its own on it.
#[derive(Debug)]
pub struct Server {
    stack: Stack,
}

impl Server {
    /// Settings other than Postgres' own defaults and durability: room for many workers, and no checkpoint every few seconds.
    pub const SETTINGS: [(&str, &str); 3] =
        [("shared_buffers", "256MB"), ("max_wal_size", "4GB"), ("max_connections", "700")];

    /// Starts it where `SEAWORTHY_DIR` says, and prints where that is: `fsync` costs nothing in a filesystem that is in memory, which is where test servers are by default.
    ///
    /// # Errors
    ///
    /// When there is no Postgres on this machine.
    pub async fn start() -> anyhow::Result<Self> {
        let postgres = Postgres::new().durable(true).settings(Self::SETTINGS);
        let provider = ProviderChoice::from_env().map_err(anyhow::Error::msg)?;
        let stack = Stack::builder().provider(provider).postgres(postgres).start().await?;
        eprintln!("Postgres ({}) in {}, fsync on", stack.provider(), stack.folder().display());
        Ok(Server { stack })
    }

    /// An empty database of this name, and a pool of up to so many connections to it.
    ///
    /// # Errors
    ///
    /// When Postgres refuses.
    pub async fn database(&self, name: &str, connections: u32) -> anyhow::Result<PgPool> {
        let mut admin = PgConnection::connect(&self.stack.postgres().direct_url()).await?;
        admin.execute(AssertSqlSafe(format!("create database {name}"))).await?;
        admin.close().await?;
        Ok(PgPoolOptions::new().max_connections(connections).connect(&self.url(name)?).await?)
    }

    /// Where the database of this name is, if it is there.
    ///
    /// # Errors
    ///
    /// When the server's own URL names no database.
    pub fn url(&self, name: &str) -> anyhow::Result<String> {
        let url = self.stack.postgres().direct_url();
        let (server, _) = url.rsplit_once('/').context("the server's URL names a database")?;
        Ok(format!("{server}/{name}"))
    }

    /// Stops it.
    pub async fn stop(self) {
        self.stack.stop().await;
    }
}
