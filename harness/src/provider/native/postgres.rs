//! A native Postgres: a copy of a cluster that was initialised once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{account::Account, disk::SmallDisk, process::Process, service::NativeService};
use crate::{
    Error,
    binaries::{self, Binary},
    cache,
    guardian::Guardian,
    provider::{Instance, Login, Site, port},
    spec::{Link, Postgres},
};

const USER: &str = "seaworthy";
/// How long `initdb` or `pg_basebackup` may take.
const PROGRAM_DEADLINE: Duration = Duration::from_secs(60);
/// A pause between two looks at it.
const PROGRAM_PAUSE: Duration = Duration::from_millis(2);
/// Grows when what `initdb` is told changes, so that clusters of older releases are not taken.
const LAYOUT: u32 = 1;

pub(crate) async fn start(site: &Site, name: &str, spec: &Postgres) -> Result<Arc<dyn Instance>, Error> {
    let binary = spec.version.as_deref().map_or_else(binaries::postgres, binaries::postgres_of)?;
    let port = port::pick(name, spec.port)?;
    let account = Account::unprivileged()?;
    let home = site.guardian.folder().join(name);
    let (guardian, spec, name) = (&site.guardian, spec.clone(), name.to_owned());
    // Files are copied and initdb runs: seconds in the worst case, so not on this runtime's thread.
    let instance = tokio::task::block_in_place(|| -> Result<_, Error> {
        let data = home.join("data");
        if let Some(link) = &spec.replica_of {
            account_home(account, &home)?;
            account.make_folder(&data)?;
            base_backup(&binary, account, link, &data)?;
            let process = Process::new(&name, data.clone(), binary.path.clone(), account)
                .args(arguments(&data, port, &spec))
                .env(&spec.env);
            return Ok(NativeService {
                login: link.login.clone(),
                ..NativeService::new(process, Some(port))
            });
        }
        let cluster = Cluster::cached(&binary, account, &home, guardian)?;
        account_home(account, &home)?;
        account.make_folder(&data)?;
        let disk = spec.disk_limit_mib.map(|mib| SmallDisk::mount(&name, &data, mib)).transpose()?;
        account.own(&data)?;
        cluster.copy_to(account, &data, &home.join("wal"))?;
        let password = fs::read_to_string(cluster.folder.join("password"))
            .map_err(Error::io("reading the cached cluster's password"))?;
        let process = Process::new(&name, data.clone(), binary.path.clone(), account)
            .args(arguments(&data, port, &spec))
            .env(&spec.env);
        let login = Login { user: USER.to_owned(), password, database: "postgres".to_owned() };
        Ok(NativeService { login, disk, ..NativeService::new(process, Some(port)) })
    })?;
    instance.process.start(&site.guardian)?;
    Ok(Arc::new(instance))
}

fn account_home(account: Account, home: &Path) -> Result<(), Error> {
    if home.is_dir() { Ok(()) } else { account.make_folder(home) }
}

fn arguments(data: &Path, port: u16, spec: &Postgres) -> Vec<String> {
    let settings = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        // In the data folder, where they go with it, instead of in /dev/shm.
        "dynamic_shared_memory_type=mmap".to_owned(),
        "log_checkpoints=off".to_owned(),
    ];
    let settings = settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]);
    ["-D".to_owned(), data.display().to_string()]
        .into_iter()
        .chain(settings)
        .chain(spec.parameters())
        .collect()
}

/// A cluster that `initdb` made once for this version of Postgres, kept in the user's cache folder.
struct Cluster {
    folder: PathBuf,
}

impl Cluster {
    fn cached(binary: &Binary, account: Account, home: &Path, guardian: &Guardian) -> Result<Self, Error> {
        let cache = cache::folder();
        let folder = cache.join(format!("postgres-{}-{LAYOUT}", binary.version));
        if folder.is_dir() {
            return Ok(Cluster { folder });
        }
        fs::create_dir_all(&cache)
            .map_err(Error::io(format!("making the cache folder {}", cache.display())))?;
        // Made in the stack's folder, as the user that runs it, then copied and moved into place at once: whoever is
        // faster wins, and whoever is killed leaves nothing.
        let made = home.with_extension("initdb");
        account.make_folder(&made)?;
        initialise(binary, account, &made)?;
        let draft = cache.join(format!(".{}", uuid::Uuid::new_v4()));
        guardian.tell(&format!("remove {}", draft.display()))?;
        Account::OURSELVES.copy_folder(&made, &draft, &|_| true)?;
        if fs::rename(&draft, &folder).is_err() && !folder.is_dir() {
            return Err(Error::Folder {
                path: folder,
                why: "the initialised cluster can't be moved there".to_owned(),
            });
        }
        let _ = fs::remove_dir_all(&draft);
        let _ = fs::remove_dir_all(&made);
        Ok(Cluster { folder })
    }

    /// Copies the cluster, its write-ahead log to a place of its own, so that a full data disk does not stop the server.
    fn copy_to(&self, account: Account, data: &Path, wal: &Path) -> Result<(), Error> {
        let source = self.folder.join("data");
        let source_wal = source.join("pg_wal");
        account.copy_folder(&source, data, &|path| path != source_wal)?;
        account.copy_folder(&source_wal, wal, &|_| true)?;
        let link = data.join("pg_wal");
        std::os::unix::fs::symlink(wal, &link).map_err(Error::io(format!("linking {}", link.display())))
    }
}

/// Copies a primary, and has the copy follow it.
fn base_backup(binary: &Binary, account: Account, link: &Link, data: &Path) -> Result<(), Error> {
    let mut command = Command::new(neighbour(binary, "pg_basebackup"));
    command
        .args([
            "--write-recovery-conf",
            "--wal-method",
            "stream",
            "--checkpoint",
            "fast",
            "--no-sync",
            "--pgdata",
        ])
        .arg(data)
        .args(["--host", &link.address.ip().to_string(), "--port", &link.address.port().to_string()])
        .args(["--username", &link.login.user, "--create-slot", "--slot", &link.slot])
        .env("PGPASSWORD", &link.login.password)
        .current_dir(data)
        .stdin(Stdio::null());
    run(account, &mut command)
}

/// A program that comes with the server. A link to `postgres` on the PATH need not have a link to it beside.
fn neighbour(binary: &Binary, name: &str) -> PathBuf {
    binary.path.canonicalize().unwrap_or_else(|_| binary.path.clone()).with_file_name(name)
}

/// Runs a program that comes with the server to its end. It may wait for another server, so not for ever.
fn run(account: Account, command: &mut Command) -> Result<(), Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let fail = |why: String| Error::Start { service: "postgres".to_owned(), why, log: String::new() };
    let child = account.apply(command).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| fail(format!("{program}: {error}")))?;
    let give_up = Instant::now() + PROGRAM_DEADLINE;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > give_up {
            let _ = child.kill();
            let _ = child.wait();
            return Err(fail(format!("{program} did not end within {PROGRAM_DEADLINE:?}")));
        }
        std::thread::sleep(PROGRAM_PAUSE);
    }
    let output = child.wait_with_output().map_err(|error| fail(format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(fail(format!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

fn initialise(binary: &Binary, account: Account, folder: &Path) -> Result<(), Error> {
    let password_file = folder.join("password");
    fs::write(&password_file, uuid::Uuid::new_v4().simple().to_string())
        .map_err(Error::io("writing a password"))?;
    account.own(&password_file)?;
    let mut command = Command::new(neighbour(binary, "initdb"));
    command
        // A password that is checked in microseconds: tests open connections by the thousand.
        .args(["--username", USER, "--auth", "md5", "--encoding", "UTF8", "--locale", "C", "--no-sync"])
        .arg("--pwfile")
        .arg(&password_file)
        .arg("--pgdata")
        .arg(folder.join("data"))
        .current_dir(folder)
        .stdin(Stdio::null());
    run(account, &mut command)
}
