//! Databases of a server that are copies of templates, made before they are needed.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tokio::{sync::Notify, task::spawn_blocking, time::sleep};

use super::{
    budget::Budget,
    databases::{Files, Locked, State},
    schema::Loaded,
};
use crate::{Error, lock, shared::Record};

/// How long a process waits for another one that is making a template, which runs its migrations.
const TEMPLATE_TURN: Duration = Duration::from_secs(300);
/// How long to try again while something still looks at a template, as autovacuum does.
const BUSY_PATIENCE: Duration = Duration::from_secs(10);
/// `object_in_use`: somebody is connected to the database that is to be copied or dropped.
const IN_USE: &str = "55006";
/// A pause between two looks for work that other processes have left.
const LOOK: Duration = Duration::from_millis(10);
/// How long a maker without work keeps its connection.
const IDLE: Duration = Duration::from_secs(1);
/// How many databases of failed tests are kept at most, for each template.
const KEPT: usize = 50;

/// The databases of one server, for the tests of all processes.
#[derive(Debug)]
pub(crate) struct Clones {
    record: Record,
    /// What the names of all its databases begin with.
    prefix: String,
    folder: PathBuf,
    pub(super) budget: Budget,
    /// Whether nothing is written through to the disk, so that copying files beats writing them to the log.
    in_memory: bool,
    templates: Mutex<HashMap<String, Files>>,
    /// Tells our makers that there is work.
    work: Arc<Notify>,
}

/// A database of a test, until it is given back or kept. A drop gives it back.
#[derive(Debug)]
pub(super) struct Claim {
    clones: Arc<Clones>,
    files: Files,
    locked: Option<Locked>,
}

impl Clones {
    /// The databases of this server; `folder` is where the processes agree on them.
    pub(super) async fn of(record: Record, prefix: String, folder: PathBuf) -> Result<Arc<Self>, Error> {
        let makers = makers();
        let mut admin = connect(&record, &record.login.database).await?;
        let row = admin
            .fetch_one(
                "select current_setting('max_connections')::int4,
                        current_setting('superuser_reserved_connections')::int4,
                        current_setting('fsync') = 'off',
                        (select count(*)::int4 from pg_stat_activity
                         where backend_type = 'client backend' and not starts_with(datname, $$seaworthy_$$))",
            )
            .await
            .map_err(refused)?;
        let (most, reserved, in_memory, others): (i32, i32, bool, i32) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        admin.close().await.map_err(refused)?;
        // Ours counts among the others, and is the one that the next process of this kind may take.
        let free = u32::try_from(most - reserved - others)
            .unwrap_or(0)
            .saturating_sub(u32::try_from(makers).unwrap_or(0));
        let clones = Arc::new(Clones {
            record,
            prefix,
            budget: Budget::new(folder.join("connections"), free.max(1))?,
            folder,
            in_memory,
            templates: Mutex::default(),
            work: Arc::default(),
        });
        tokio::spawn(clones.clone().keep_making(makers));
        Ok(clones)
    }

    /// A database with this schema, which nobody else has.
    pub(super) async fn take(self: &Arc<Self>, schema: &Loaded) -> Result<Claim, Error> {
        let files = self.template(schema).await?;
        loop {
            let Some(ready) = files.lock_any(State::Ready) else { break };
            if let Some(taken) = files.shift(ready, State::Taken) {
                self.work.notify_one();
                return Ok(Claim { clones: self.clone(), files, locked: Some(taken) });
            }
        }
        files.count_starved();
        let mut admin = self.admin().await?;
        let made = self.copy(&mut admin, &files, &self.template_name(&schema.name), State::Taken).await?;
        admin.close().await.map_err(refused)?;
        self.work.notify_one();
        Ok(Claim { clones: self.clone(), files, locked: Some(made) })
    }

    /// How often a test found no database of this schema ready, over all processes.
    pub(super) fn starved(&self, schema: &Loaded) -> u64 {
        self.known(&schema.name).map_or(0, |files| files.starved())
    }

    /// The files of this schema's template, which is made if nobody has.
    async fn template(&self, schema: &Loaded) -> Result<Files, Error> {
        if let Some(files) = self.known(&schema.name) {
            return Ok(files);
        }
        let files = Files::in_folder(self.folder.join("templates").join(&schema.name))?;
        let made = files.folder().join("made");
        if !made.exists() {
            let path = files.folder().join("lock");
            let turn = spawn_blocking(move || lock::wait(&path, TEMPLATE_TURN)).await;
            let _turn = turn.map_err(|error| Error::io("waiting for a lock")(error.into()))??;
            if !made.exists() {
                self.make_template(schema).await?;
                fs::write(&made, "").map_err(Error::io(format!("writing {}", made.display())))?;
            }
        }
        let mut templates = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        templates.insert(schema.name.clone(), files.clone());
        Ok(files)
    }

    async fn make_template(&self, schema: &Loaded) -> Result<(), Error> {
        let name = self.template_name(&schema.name);
        let mut admin = self.admin().await?;
        // What a process left that was killed in the middle.
        run(&mut admin, format!("drop database if exists {name} with (force)")).await?;
        run(&mut admin, format!("create database {name}")).await?;
        schema.apply(&url(&self.record, &name)).await?;
        // With nobody able to connect, nothing stands in the way of a copy.
        run(&mut admin, format!("alter database {name} allow_connections false")).await?;
        admin.close().await.map_err(refused)
    }

    /// Copies a template. The copy is in `state` and locked.
    async fn copy(
        &self,
        admin: &mut PgConnection,
        files: &Files,
        template: &str,
        state: State,
    ) -> Result<Locked, Error> {
        let making = files.create(&self.prefix, State::Making)?;
        let strategy =
            match self.in_memory && admin.server_version_num().is_some_and(|version| version >= 150_000) {
                true => " strategy file_copy",
                false => "",
            };
        run(admin, format!("create database {} template {template}{strategy}", making.name)).await?;
        let name = making.name.clone();
        files.shift(making, state).ok_or_else(|| Error::Folder {
            path: files.folder().to_owned(),
            why: format!("the file of the database {name} is gone"),
        })
    }

    fn template_name(&self, schema: &str) -> String {
        format!("{}_{schema}", self.prefix)
    }

    fn known(&self, schema: &str) -> Option<Files> {
        self.templates.lock().unwrap_or_else(PoisonError::into_inner).get(schema).cloned()
    }

    async fn admin(&self) -> Result<PgConnection, Error> {
        connect(&self.record, &self.record.login.database).await
    }

    /// Keeps databases ready and drops those that are spent, in one process at a time.
    async fn keep_making(self: Arc<Self>, makers: usize) {
        let path = self.folder.join("maker.lock");
        let _turn = loop {
            match lock::now(&path) {
                Ok(turn) => break turn,
                Err(Error::Locked { .. }) => sleep(5 * LOOK).await,
                // The stack is gone, and so is the work.
                Err(_) => return,
            }
        };
        let others = (1..makers).map(|_| tokio::spawn(self.clone().make(makers))).collect::<Vec<_>>();
        self.make(makers).await;
        for other in others {
            let _ = other.await;
        }
    }

    async fn make(self: Arc<Self>, makers: usize) {
        let mut admin = None;
        let mut worked = Instant::now();
        while self.folder.is_dir() {
            let Some(job) = self.next_job(2 * makers) else {
                if worked.elapsed() > IDLE
                    && let Some(admin) = admin.take()
                {
                    let _ = PgConnection::close(admin).await;
                }
                let _ = tokio::time::timeout(LOOK, self.work.notified()).await;
                continue;
            };
            worked = Instant::now();
            if admin.is_none() {
                admin = self.admin().await.ok();
            }
            let done = match &mut admin {
                Some(admin) => self.carry_out(job, admin).await.is_ok(),
                None => false,
            };
            if !done {
                // A server in trouble is the tests' business: one that finds no database ready makes its own, and says what is wrong.
                admin = None;
                sleep(10 * LOOK).await;
            }
        }
    }

    async fn carry_out(&self, job: Job, admin: &mut PgConnection) -> Result<(), Error> {
        match job {
            Job::Drop(spent) => {
                run(admin, format!("drop database if exists {} with (force)", spent.name)).await?;
                spent.forget();
                Ok(())
            }
            Job::Copy { files, template } => {
                self.copy(admin, &files, &template, State::Ready).await.map(drop)
            }
        }
    }

    /// What is most urgent: first space, then databases.
    fn next_job(&self, wanted: usize) -> Option<Job> {
        let templates = fs::read_dir(self.folder.join("templates")).ok()?;
        let mut copy = None;
        for entry in templates.flatten() {
            let files = Files::at(entry.path());
            let dead = || {
                [State::Taken, State::Making]
                    .into_iter()
                    .find_map(|state| files.lock_any(state).and_then(|dead| files.shift(dead, State::Spent)))
            };
            if let Some(spent) = files.lock_any(State::Spent).or_else(dead) {
                return Some(Job::Drop(spent));
            }
            let template = self.template_name(&entry.file_name().to_string_lossy());
            let stock = files.count(State::Ready) + files.count(State::Making);
            if copy.is_none() && stock < wanted && files.folder().join("made").exists() {
                copy = Some(Job::Copy { files, template });
            }
        }
        copy
    }
}

enum Job {
    Drop(Locked),
    Copy { files: Files, template: String },
}

impl Claim {
    /// The name of the database.
    pub(super) fn name(&self) -> &str {
        self.locked.as_ref().map_or("", |locked| &locked.name)
    }

    /// Leaves the database for somebody to look at, until the stack ends.
    pub(super) fn keep(&mut self) {
        if let Some(locked) = self.locked.take()
            && self.files.count(State::Kept) < KEPT
        {
            let _ = self.files.shift(locked, State::Kept);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(locked) = self.locked.take() {
            let _ = self.files.shift(locked, State::Spent);
            self.clones.work.notify_one();
        }
    }
}

/// How many connections make and drop databases: more of them wait for the same disk and the same checkpoint.
fn makers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8)
}

pub(super) fn url(record: &Record, database: &str) -> String {
    let login = &record.login;
    let password = if login.password.is_empty() { String::new() } else { format!(":{}", login.password) };
    format!("postgres://{}{password}@{}/{database}", login.user, record.address)
}

async fn connect(record: &Record, database: &str) -> Result<PgConnection, Error> {
    PgConnection::connect(&url(record, database)).await.map_err(refused)
}

fn refused(source: sqlx::Error) -> Error {
    Error::Database { service: "postgres".to_owned(), source }
}

/// Runs a statement that fails while somebody looks at a database, until nobody does.
async fn run(admin: &mut PgConnection, statement: String) -> Result<(), Error> {
    let give_up = Instant::now() + BUSY_PATIENCE;
    loop {
        let error = match admin.execute(sqlx::raw_sql(AssertSqlSafe(statement.as_str()))).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let in_use = error.as_database_error().is_some_and(|error| error.code().as_deref() == Some(IN_USE));
        if !in_use || Instant::now() > give_up {
            return Err(refused(error));
        }
        sleep(LOOK).await;
    }
}
