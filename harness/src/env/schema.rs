//! What a test's database has in it before the test begins.

use std::{
    borrow::Cow,
    error::Error as StdError,
    fmt,
    future::Future,
    ops::Deref,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use sqlx::{AssertSqlSafe, Executor, PgPool, migrate::Migrator, postgres::PgPoolOptions};
use tokio::sync::OnceCell;

use crate::{Error, digest::digest};

type BoxError = Box<dyn StdError + Send + Sync>;
type Work = Arc<dyn Fn(PgPool) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send + Sync>;

/// The steps that make a database ready for a test: migrations, SQL, closures, in the order in which they are given.
///
/// They run once, on a template, and every test gets a copy of it. The content of the steps names the template: when a migration or a seed changes,
/// there is a new one. A closure's content can't be looked at, so it has a name, which must change when what it does changes.
///
/// ```
/// use seaworthy_harness::env::Schema;
///
/// let schema = Schema::new()
///     .migrations("migrations")
///     .sql("insert into countries (code) values ('SE'), ('PT')")
///     .run("demo-users-v2", |pool| async move {
///         sqlx::query("insert into users (name) values ('Ada')").execute(&pool).await?;
///         Ok(())
///     });
/// # let _ = schema;
/// ```
#[derive(Debug, Clone, Default)]
pub struct Schema {
    steps: Vec<Step>,
    loaded: Arc<OnceCell<Loaded>>,
}

/// A migrator of the program's own.
#[derive(Debug, Clone)]
pub struct MigratorRef(Source);

#[derive(Debug, Clone)]
enum Source {
    Owned(Arc<Migrator>),
    Static(&'static Migrator),
}

impl From<Migrator> for MigratorRef {
    fn from(migrator: Migrator) -> Self {
        MigratorRef(Source::Owned(Arc::new(migrator)))
    }
}

impl From<&'static Migrator> for MigratorRef {
    fn from(migrator: &'static Migrator) -> Self {
        MigratorRef(Source::Static(migrator))
    }
}

impl Deref for MigratorRef {
    type Target = Migrator;

    fn deref(&self) -> &Migrator {
        match &self.0 {
            Source::Owned(migrator) => migrator,
            Source::Static(migrator) => migrator,
        }
    }
}

#[derive(Clone)]
enum Step {
    Folder(PathBuf),
    Migrator(MigratorRef),
    Sql(Cow<'static, str>),
    Run { name: String, work: Work },
}

impl Schema {
    /// An empty database.
    pub fn new() -> Self {
        Self::default()
    }

    /// The migrations in the folder `migrations` of a crate, if it has one: what `#[seaworthy_harness::test]` takes by itself.
    pub fn of_crate(folder: impl AsRef<Path>) -> Self {
        let migrations = folder.as_ref().join("migrations");
        if migrations.is_dir() { Self::new().migrations(migrations) } else { Self::new() }
    }

    /// The migrations in a folder, as `sqlx migrate add` makes them. A relative path starts from the folder of the crate under test.
    pub fn migrations(self, folder: impl Into<PathBuf>) -> Self {
        self.then(Step::Folder(folder.into()))
    }

    /// The migrations that `sqlx::migrate!` has put into the program: a `Migrator`, or a reference to a static one.
    pub fn migrator(self, migrator: impl Into<MigratorRef>) -> Self {
        self.then(Step::Migrator(migrator.into()))
    }

    /// Statements, separated by semicolons.
    pub fn sql(self, sql: impl Into<Cow<'static, str>>) -> Self {
        self.then(Step::Sql(sql.into()))
    }

    /// Anything else, with a pool of the template. `name` stands for what it does.
    pub fn run<F, W>(self, name: impl Into<String>, work: F) -> Self
    where
        F: Fn(PgPool) -> W + Send + Sync + 'static,
        W: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.then(Step::Run { name: name.into(), work: Arc::new(move |pool| Box::pin(work(pool))) })
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self.loaded = Arc::default();
        self
    }

    /// The schema with its migrations read, and the name that its content gives it. `base` is where relative paths start.
    pub(super) async fn load(&self, base: &Path) -> Result<Loaded, Error> {
        self.loaded.get_or_try_init(|| self.read(base)).await.cloned()
    }

    async fn read(&self, base: &Path) -> Result<Loaded, Error> {
        let mut steps = Vec::new();
        for step in &self.steps {
            steps.push(match step {
                Step::Folder(folder) => {
                    let folder = base.join(folder);
                    let migrator = Migrator::new(folder.as_path()).await.map_err(|source| Error::Schema {
                        step: format!("the migrations in {}", folder.display()),
                        source: source.into(),
                    })?;
                    Step::Migrator(migrator.into())
                }
                other => other.clone(),
            });
        }
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for step in &steps {
            step.describe(&mut parts);
        }
        Ok(Loaded { name: digest(parts.iter().map(Vec::as_slice)), steps: steps.into() })
    }
}

/// A schema whose content is known.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    pub(super) name: String,
    steps: Arc<[Step]>,
}

impl Loaded {
    /// Carries out the steps in a fresh database.
    pub(super) async fn apply(&self, url: &str) -> Result<(), Error> {
        for step in self.steps.iter() {
            let pool = PgPoolOptions::new().max_connections(1).connect(url).await;
            let done = match pool {
                Ok(pool) => {
                    let done = step.apply(&pool).await;
                    // A connection that is left would keep the template from being copied.
                    pool.close().await;
                    done
                }
                Err(error) => Err(error.into()),
            };
            done.map_err(|source| Error::Schema { step: step.to_string(), source })?;
        }
        Ok(())
    }
}

impl Step {
    async fn apply(&self, pool: &PgPool) -> Result<(), BoxError> {
        match self {
            Step::Migrator(migrator) => migrator.run(pool).await?,
            Step::Sql(sql) => {
                pool.execute(sqlx::raw_sql(AssertSqlSafe(sql.as_ref()))).await?;
            }
            Step::Run { work, .. } => work(pool.clone()).await?,
            Step::Folder(folder) => {
                Migrator::new(folder.as_path()).await?.run(pool).await?;
            }
        }
        Ok(())
    }

    fn describe(&self, parts: &mut Vec<Vec<u8>>) {
        match self {
            Step::Migrator(migrator) => {
                parts.push(b"migrations".to_vec());
                for migration in migrator.iter() {
                    parts.push(migration.version.to_le_bytes().to_vec());
                    parts.push(migration.description.as_bytes().to_vec());
                    parts.push(vec![
                        u8::from(migration.no_tx),
                        u8::from(migration.migration_type.is_down_migration()),
                    ]);
                    parts.push(migration.checksum.to_vec());
                }
            }
            Step::Sql(sql) => parts.extend([b"sql".to_vec(), sql.as_bytes().to_vec()]),
            Step::Run { name, .. } => parts.extend([b"run".to_vec(), name.as_bytes().to_vec()]),
            Step::Folder(folder) => {
                parts.extend([b"folder".to_vec(), folder.as_os_str().as_encoded_bytes().to_vec()]);
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Folder(folder) => write!(f, "the migrations in {}", folder.display()),
            Step::Migrator(_) => f.write_str("its migrations"),
            Step::Sql(sql) => write!(f, "`{}`", sql.chars().take(200).collect::<String>()),
            Step::Run { name, .. } => write!(f, "the closure `{name}`"),
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
