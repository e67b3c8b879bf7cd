//! One stack for many processes: the tests of one user and configuration, whatever runs them.
//!
//! A folder in the user's cache names the stacks of each configuration. Whoever needs one takes the folder's lock, joins the stack that is
//! there, or starts one. A service of the stack is started by the first process that asks for it, and outlives that process. The stack's
//! guardian ends it all soon after its last user.

mod attached;
mod configuration;
mod record;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use seaworthy_fault_proxy::Proxies;
use tokio::{sync::OnceCell, task::spawn_blocking};

pub(crate) use attached::{Attached, read_log};
pub(crate) use configuration::Configuration;
pub(crate) use record::Record;

use crate::{
    Error, Service, cache,
    guardian::Guardian,
    lock,
    provider::{Chosen, ProviderChoice, Site, choose},
    spec::Spec,
    stack::{new_folder, new_id},
};

/// How long a process waits for another one that is starting a stack or one of its services.
const TURN: Duration = Duration::from_secs(120);
/// How long a service of a shared stack may take to become ready.
const READY: Duration = Duration::from_secs(60);

/// Our place among the users of a shared stack, which we keep until the process ends.
pub(crate) struct Shared {
    site: Site,
    choice: ProviderChoice,
    provider: OnceCell<Chosen>,
}

impl Shared {
    /// Joins the stack of this configuration, or starts it. Blocks for as long as another process is at that.
    pub(crate) fn join(configuration: &Configuration) -> Result<Self, Error> {
        let home = cache::folder().join("stacks").join(configuration.key());
        fs::create_dir_all(&home).map_err(Error::io(format!("making the folder {}", home.display())))?;
        let _turn = lock::wait(&home.join("lock"), TURN)?;
        let site = match running(&home)? {
            Some(site) => site,
            None => start(&home)?,
        };
        Ok(Shared { site, choice: configuration.choice, provider: OnceCell::new() })
    }

    /// What the stack is called.
    pub(crate) fn id(&self) -> &str {
        &self.site.id
    }

    pub(crate) fn folder(&self) -> &Path {
        self.site.guardian.folder()
    }

    /// A folder of the stack for what its users agree on.
    pub(crate) fn make_folder(&self, name: &str) -> Result<PathBuf, Error> {
        let folder = self.folder().join(name);
        fs::create_dir_all(&folder).map_err(Error::io(format!("making the folder {}", folder.display())))?;
        Ok(folder)
    }

    /// The service of this name, started if nobody has, or if it has died since.
    pub(crate) async fn service(&self, name: &str, spec: &Spec) -> Result<Record, Error> {
        let file = self.make_folder("services")?.join(name);
        if let Some(record) = alive(&file).await {
            return Ok(record);
        }
        let lock = file.with_added_extension("lock");
        let turn = spawn_blocking(move || lock::wait(&lock, TURN)).await;
        let _turn = turn.map_err(|error| Error::io("waiting for a lock")(error.into()))??;
        if let Some(record) = alive(&file).await {
            return Ok(record);
        }
        let record = self.start(name, spec).await?;
        record.write(&file)?;
        Ok(record)
    }

    /// The provider of the stack's services, the same for all of its users.
    async fn provider(&self) -> Result<&Chosen, Error> {
        self.provider
            .get_or_try_init(|| async {
                let decided = self.folder().join("provider");
                let choice = fs::read_to_string(&decided).ok().and_then(|name| name.parse().ok());
                let chosen = choose(choice.unwrap_or(self.choice)).await?;
                fs::write(&decided, chosen.provider.name())
                    .map_err(Error::io(format!("writing {}", decided.display())))?;
                Ok(chosen)
            })
            .await
    }

    /// Whether the services are servers that run already, which are not ours alone.
    pub(crate) async fn is_external(&self) -> Result<bool, Error> {
        Ok(self.provider().await?.provider.name() == "external")
    }

    async fn start(&self, name: &str, spec: &Spec) -> Result<Record, Error> {
        let chosen = self.provider().await?;
        // What an earlier attempt left in its own folder goes with the stack.
        let folder = format!("{name}-{}", &new_id()[..4]);
        let instance = chosen.provider.start(&self.site, &folder, spec).await?;
        let service = Service::new(name, spec, instance.clone(), &Proxies::default(), READY).await?;
        service.wait_until_ready().await?;
        let record = Record {
            provider: chosen.provider.name().to_owned(),
            address: instance.address().unwrap_or_default(),
            login: instance.login(),
            log: instance.log_source(),
        };
        // It belongs to the stack from now on, and not to this process, whose handle would end it when it is dropped.
        std::mem::forget(instance);
        Ok(record)
    }

    /// The service as one test sees it, in this database.
    pub(crate) fn attach(&self, name: &str, record: &Record, database: &str) -> Arc<Attached> {
        let mut record = record.clone();
        record.login.database = database.to_owned();
        Arc::new(Attached::new(name, record))
    }
}

/// Ends every shared stack of this user, also those that are kept. Says how many there were.
///
/// # Errors
///
/// [`Error::Io`] when the folder in which they are listed can't be read.
pub fn take_down() -> Result<usize, Error> {
    let stacks = cache::folder().join("stacks");
    if !stacks.is_dir() {
        return Ok(0);
    }
    let homes = fs::read_dir(&stacks).map_err(Error::io(format!("reading {}", stacks.display())))?;
    let pointers = homes.flatten().flat_map(|home| pointers(&home.path()));
    Ok(pointers
        .filter_map(|pointer| folder_of(&pointer))
        .filter(|folder| Guardian::take_down(folder).is_ok())
        .count())
}

fn running(home: &Path) -> Result<Option<Site>, Error> {
    for pointer in pointers(home) {
        let Some(folder) = folder_of(&pointer) else { continue };
        let id = id_of(&pointer);
        if let Some(guardian) = Guardian::attach(folder, &id, pointer.clone())? {
            return Ok(Some(Site { id, guardian }));
        }
        // Its guardian took it away, or was killed with all the users; the next stack's start looks for what those left.
        let _ = fs::remove_file(&pointer);
    }
    Ok(None)
}

fn start(home: &Path) -> Result<Site, Error> {
    let id = new_id();
    let folder = new_folder(&id)?;
    let pointer = home.join(format!("{id}.stack"));
    let guardian = Guardian::start(folder.clone(), &id, Some(pointer.clone()))?;
    if std::env::var_os("SEAWORTHY_KEEP").is_some_and(|keep| keep == "1") {
        guardian.tell("keep")?;
    }
    let draft = pointer.with_extension("draft");
    let write = || {
        fs::write(&draft, folder.as_os_str().as_encoded_bytes())?;
        fs::rename(&draft, &pointer)
    };
    write().map_err(Error::io(format!("writing {}", pointer.display())))?;
    Ok(Site { id, guardian })
}

fn pointers(home: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(home).into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "stack")).collect()
}

fn folder_of(pointer: &Path) -> Option<PathBuf> {
    fs::read_to_string(pointer).ok().map(PathBuf::from)
}

fn id_of(pointer: &Path) -> String {
    pointer.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

async fn alive(file: &Path) -> Option<Record> {
    let record = Record::read(file)?;
    record.listens().await.then_some(record)
}
