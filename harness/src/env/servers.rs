//! Postgres servers that tests take in turns: one test at a time, cleaned in between.
//!
//! Some things belong to a server and not to one of its databases: roles, settings by `ALTER SYSTEM` and `ALTER ROLE`, tablespaces, replication
//! slots. Tests that touch those have a server each.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{
    clones::{drop_database, url},
    turns::{Turn, Turns},
};
use crate::{
    Error,
    shared::{Record, Shared},
    spec::{Postgres, Spec},
};

/// How many servers of failed tests are kept at most.
const KEPT: usize = 8;

/// The Postgres servers of a shared stack that tests have for themselves.
pub(super) struct Servers {
    shared: Arc<Shared>,
    turns: Turns,
}

/// A server that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct OwnServer {
    pub(super) name: String,
    turn: Turn,
}

impl OwnServer {
    /// Leaves the server as it is, for somebody to look at, until the stack ends.
    pub(super) fn keep(&self) {
        let kept = self.turn.path().with_file_name("..").join("kept-servers");
        let _ = fs::create_dir_all(&kept);
        if fs::read_dir(&kept).map_or(0, Iterator::count) < KEPT {
            let _ = fs::rename(self.turn.path(), kept.join(&self.name));
        }
    }
}

impl Servers {
    pub(super) fn of(shared: Arc<Shared>) -> Result<Self, Error> {
        let turns = Turns::of(shared.clone(), "servers")?;
        Ok(Servers { shared, turns })
    }

    /// A server that nobody else uses, with nothing in it but the databases that were made ahead.
    pub(super) async fn take(&self) -> Result<OwnServer, Error> {
        // What is on a server that is not ours is not ours to clean.
        if self.shared.is_external().await? {
            return Err(Error::Unsupported {
                fault: "a server of the test's own",
                service: "postgres".to_owned(),
                why: "the provider is external, and others may use the server: take native or docker"
                    .to_owned(),
            });
        }
        for (turn, record) in self.turns.free() {
            if clean(&record, &self.known_databases(&record)).await.is_ok() {
                return Ok(OwnServer { name: turn.name.clone(), turn });
            }
            // A test has changed it for good, or killed it.
            turn.retire();
        }
        let turn = self.turns.add("postgres")?;
        self.shared.service(&turn.name, &Spec::Postgres(Postgres::new())).await?;
        Ok(OwnServer { name: turn.name.clone(), turn })
    }

    /// The names of the templates and of the copies that no test has had.
    fn known_databases(&self, record: &Record) -> Vec<String> {
        let names = |folder: &Path| {
            fs::read_dir(folder)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        let templates = databases_folder(&self.shared, record).join("templates");
        let prefix = database_prefix(&self.shared);
        let mut known = Vec::new();
        for template in names(&templates) {
            let folder = templates.join(&template);
            known.push(format!("{prefix}_{template}"));
            known.extend(["ready", "making"].iter().flat_map(|state| names(&folder.join(state))));
        }
        known
    }
}

/// Where the processes agree on the databases of this server. Its address tells it from one that died before it, whose databases
/// are gone.
pub(super) fn databases_folder(shared: &Shared, record: &Record) -> PathBuf {
    shared.folder().join("databases").join(record.address.replace([':', '/'], "-"))
}

/// What the names of all the stack's databases begin with.
pub(super) fn database_prefix(shared: &Shared) -> String {
    format!("seaworthy_{}", shared.id())
}

/// Takes away what a test has left on a server; fails when something stays.
async fn clean(record: &Record, known: &[String]) -> sqlx::Result<()> {
    let mut admin = PgConnection::connect(&url(record, &record.login.database)).await?;
    let databases: Vec<String> = sqlx::query_scalar(
        "select datname from pg_database
         where datname <> all ($1) and not datistemplate and datname <> current_database()",
    )
    .bind(known)
    .fetch_all(&mut admin)
    .await?;
    for database in databases {
        drop_database(&mut admin, &database).await?;
    }
    let left: Vec<String> = sqlx::query_scalar(
        "select format('select pg_terminate_backend(%s)', pid) from pg_stat_activity
         where backend_type = 'client backend' and pid <> pg_backend_pid() and datname = current_database()
           and application_name <> 'seaworthy'
         union all
         select format('select pg_drop_replication_slot(%L)', slot_name) from pg_replication_slots
         union all
         select format('drop tablespace %I', spcname) from pg_tablespace where not starts_with(spcname, 'pg_')
         union all
         select unnest(array[format('drop owned by %I cascade', rolname), format('drop role %I', rolname)]) from pg_roles
         where not starts_with(rolname, 'pg_') and rolname <> current_user",
    )
    .fetch_all(&mut admin)
    .await?;
    run_all(&mut admin, left).await?;
    let settings: Vec<String> = sqlx::query_scalar(
        "select unnest(array['alter role all reset all', 'alter role current_user reset all']) from pg_db_role_setting
         union
         select unnest(array['alter system reset all', 'select pg_reload_conf()']) from pg_file_settings
         where sourcefile like '%postgresql.auto.conf'
         -- The reset comes before the reload.
         order by 1",
    )
    .fetch_all(&mut admin)
    .await?;
    run_all(&mut admin, settings).await?;
    admin.close().await
}

async fn run_all(admin: &mut PgConnection, statements: Vec<String>) -> sqlx::Result<()> {
    for statement in statements {
        admin.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await?;
    }
    Ok(())
}
