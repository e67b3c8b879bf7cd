//! The ways in which a test can get a database of its own, beside which the harness' own way is measured.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use seaworthy_harness::{Postgres, ProviderChoice, Stack};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, migrate::Migrator,
    postgres::PgConnectOptions,
};

/// The database with the schema, which the others are copied from.
const TEMPLATE: &str = "bench_template";
/// The database that is emptied again and again.
const EMPTIED: &str = "bench_emptied";

/// The failures of a benchmark end it.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What one test's database took.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// Until a connection to it answered.
    pub ready: Duration,
    /// Until nothing was left of it.
    pub whole: Duration,
}

/// A server with a template of the schema in `benches/schema`: 40 tables as those of a shop, with seed rows.
#[derive(Debug)]
pub struct Databases {
    server: PgConnectOptions,
    migrations: Migrator,
    next: AtomicU64,
}

impl Databases {
    /// Makes the template on this server.
    ///
    /// # Errors
    ///
    /// When Postgres refuses.
    pub async fn on(server: &str) -> Result<Databases> {
        let migrations = Migrator::new(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/schema"))).await?;
        let databases = Databases { server: server.parse()?, migrations, next: AtomicU64::new(0) };
        let mut admin = databases.admin().await?;
        for name in [TEMPLATE, EMPTIED] {
            run(&mut admin, format!("create database {name}")).await?;
            let mut connection = databases.connect(name).await?;
            databases.migrations.run(&mut connection).await?;
            connection.close().await?;
        }
        Ok(databases)
    }

    /// A connection that creates and drops databases.
    ///
    /// # Errors
    ///
    /// When Postgres refuses.
    pub async fn admin(&self) -> Result<PgConnection> {
        Ok(self.server.connect().await?)
    }

    /// The size of the template in bytes, and its number of tables.
    ///
    /// # Errors
    ///
    /// When Postgres refuses.
    pub async fn size(&self) -> Result<(i64, i64)> {
        let mut connection = self.connect(TEMPLATE).await?;
        let size = sqlx::query_as(
            "select pg_database_size(current_database()), count(*) from pg_tables
            where schemaname = 'public' and tablename <> '_sqlx_migrations'",
        );
        let size = size.fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(size)
    }

    /// As `#[sqlx::test]`: an empty database, every migration, and a drop.
    ///
    /// # Errors
    ///
    /// When Postgres refuses.
    pub async fn by_migrations(&self, admin: &mut PgConnection) -> Result<Taken> {
        let (name, began) = (self.name(), Instant::now());
        run(admin, format!("create database {name}")).await?;
        let mut connection = self.connect(&name).await?;
        self.migrations.run(&mut connection).await?;
        let ready = began.elapsed();
        self.remove(admin, connection, &name).await?;
        Ok(Taken { ready, whole: began.elapsed() })
    }

    /// A copy of the template, and a drop.
    ///
    /// # Errors
    ///
    /// When Postgres refuses.
    pub async fn by_template(&self, admin: &mut PgConnection) -> Result<Taken> {
        let (name, began) = (self.name(), Instant::now());
        run(admin, create_from_template(&name)).await?;
        let mut connection = self.connect(&name).await?;
        connection.execute("select 1").await?;
        let ready = began.elapsed();
        self.remove(admin, connection, &name).await?;
        Ok(Taken { ready, whole: began.elapsed() })
    }

    /// One database for all tests, emptied for each over an open connection. The seed rows are gone with the rest, so a test that needs
    /// them pays for them on top; and two tests can't run at once.
    ///
    /// # Errors
    ///
    /// When Postgres refuses.
    pub async fn by_truncation(&self, connection: &mut PgConnection) -> Result<Taken> {
        let began = Instant::now();
        let tables: String = sqlx::query_scalar(
            "select string_agg(format('%I', tablename), ', ') from pg_tables
            where schemaname = 'public' and tablename <> '_sqlx_migrations'",
        )
        .fetch_one(&mut *connection)
        .await?;
        run(connection, format!("truncate {tables} restart identity cascade")).await?;
        let taken = began.elapsed();
        Ok(Taken { ready: taken, whole: taken })
    }

    /// A connection to the database that [`by_truncation`](Self::by_truncation) empties.
    ///
    /// # Errors
    ///
    /// When Postgres refuses.
    pub async fn emptied(&self) -> Result<PgConnection> {
        self.connect(EMPTIED).await
    }

    /// A server of its own, with every migration.
    ///
    /// # Errors
    ///
    /// When the provider can't start it, or Postgres refuses.
    pub async fn by_server(&self, provider: ProviderChoice) -> Result<Taken> {
        let began = Instant::now();
        let stack = Stack::builder().provider(provider).postgres(Postgres::new()).start().await?;
        let mut connection = PgConnection::connect(&stack.postgres().direct_url()).await?;
        self.migrations.run(&mut connection).await?;
        let ready = began.elapsed();
        connection.close().await?;
        stack.stop().await;
        Ok(Taken { ready, whole: began.elapsed() })
    }

    /// A copy of the template is made and dropped, and nobody connects to it.
    ///
    /// # Errors
    ///
    /// When Postgres refuses.
    pub async fn bare_copy(&self, admin: &mut PgConnection) -> Result<()> {
        let name = self.name();
        run(admin, create_from_template(&name)).await?;
        run(admin, format!("drop database {name}")).await
    }

    async fn remove(&self, admin: &mut PgConnection, connection: PgConnection, name: &str) -> Result<()> {
        // First: a drop that meets a connection, be it on its way out, waits 100 ms for Postgres' next look. That is the tail.
        connection.close().await?;
        run(admin, format!("drop database {name} with (force)")).await
    }

    async fn connect(&self, name: &str) -> Result<PgConnection> {
        Ok(self.server.clone().database(name).connect().await?)
    }

    fn name(&self) -> String {
        format!("bench_{}", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// How often a second this is done to the end by so many clients at once, each in a thread of its own, in at least this time.
///
/// # Errors
///
/// When one of them fails.
pub fn rate<Client: Send>(
    clients: Vec<Client>,
    time: Duration,
    once: impl Fn(&mut Client) -> Result<()> + Sync,
) -> Result<f64> {
    let began = Instant::now();
    let work = |mut client: Client| {
        let mut done = 0_u32;
        while began.elapsed() < time {
            once(&mut client)?;
            done += 1;
        }
        Ok(done)
    };
    let done: Result<Vec<u32>> = thread::scope(|scope| {
        let working: Vec<_> = clients.into_iter().map(|client| scope.spawn(|| work(client))).collect();
        working.into_iter().map(|client| client.join().map_err(|_| "a client panicked")?).collect()
    });
    Ok(f64::from(done?.into_iter().sum::<u32>()) / began.elapsed().as_secs_f64())
}

fn create_from_template(name: &str) -> String {
    format!("create database {name} template {TEMPLATE} strategy file_copy")
}

async fn run(connection: &mut PgConnection, statement: String) -> Result<()> {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await?;
    Ok(())
}
