//! Finds the servers' binaries on this machine and checks their versions.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Error, cache,
    digest::digest,
    software::Program,
    version::{digits, is_of, number},
};

/// A binary that was found, with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// Where it is.
    pub path: PathBuf,
    /// Its version, for example `15.18` or `7.0.15`.
    pub version: String,
}

/// How a server is found.
struct Wanted {
    name: &'static str,
    setting: &'static str,
    oldest: (&'static str, (u32, u32)),
    package: Package,
}

struct Package {
    debian: &'static str,
    fedora: &'static str,
    homebrew: &'static str,
    /// Their names with `{}` where the major version stands, where there is one for each.
    of_major: Option<[&'static str; 3]>,
}

const POSTGRES: Wanted = Wanted {
    name: "postgres",
    setting: "SEAWORTHY_POSTGRES",
    oldest: ("14", (14, 0)),
    package: Package {
        debian: "postgresql",
        fedora: "postgresql-server",
        homebrew: "postgresql@17",
        of_major: Some(["postgresql-{}", "postgresql{}-server", "postgresql@{}"]),
    },
};

const REDIS: Wanted = Wanted {
    name: "redis-server",
    setting: "SEAWORTHY_REDIS",
    oldest: ("6.2", (6, 2)),
    package: Package { debian: "redis-server", fedora: "redis", homebrew: "redis", of_major: None },
};

/// The `postgres` binary: the one that `SEAWORTHY_POSTGRES` names, else the first on the PATH, in Debian's versioned
/// folders (the newest) or in Homebrew's. Its neighbour `initdb` comes with it.
///
/// # Errors
///
/// [`Error::BinaryMissing`], [`Error::BinaryTooOld`], [`Error::BinaryBroken`].
pub fn postgres() -> Result<Binary, Error> {
    POSTGRES.find(&postgres_folders(), None)
}

/// The `postgres` binary of this version, `15` or `15.18` for example, among all that [`postgres()`] looks at.
///
/// # Errors
///
/// [`Error::VersionMissing`], and those of [`postgres()`].
pub fn postgres_of(version: &str) -> Result<Binary, Error> {
    POSTGRES.find(&postgres_folders(), Some(version))
}

/// The `redis-server` binary: the one that `SEAWORTHY_REDIS` names, else the first on the PATH or in Homebrew's
/// folders.
///
/// # Errors
///
/// [`Error::BinaryMissing`], [`Error::BinaryTooOld`], [`Error::BinaryBroken`].
pub fn redis() -> Result<Binary, Error> {
    REDIS.find(&SERVER_FOLDERS.map(PathBuf::from), None)
}

/// The `redis-server` binary of this version, `7` or `7.0.15` for example.
///
/// # Errors
///
/// [`Error::VersionMissing`], and those of [`redis()`].
pub fn redis_of(version: &str) -> Result<Binary, Error> {
    REDIS.find(&SERVER_FOLDERS.map(PathBuf::from), Some(version))
}

/// Where servers are that are not on everybody's PATH.
const SERVER_FOLDERS: [&str; 5] =
    ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin", "/usr/local/bin", "/home/linuxbrew/.linuxbrew/bin"];

/// The binary of a server that we know nothing of but its name.
pub(crate) fn of_program(program: &Program) -> Result<PathBuf, Error> {
    let path = PathBuf::from(&program.name);
    let found = if path.is_absolute() {
        path.is_file().then_some(path)
    } else {
        on_path(&program.name, &SERVER_FOLDERS.map(PathBuf::from)).next()
    };
    found.ok_or_else(|| Error::BinaryMissing {
        binary: program.name.clone(),
        looked_in: "the PATH and the folders for servers".to_owned(),
        install: installs(&program.package, &program.package, &program.package),
        setting: "PATH",
    })
}

fn on_path(name: &str, more_folders: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).chain(more_folders.iter().cloned()).collect();
    let name = name.to_owned();
    folders.into_iter().map(move |folder| folder.join(&name)).filter(|candidate| candidate.is_file())
}

/// The command that installs a package with this system's package manager.
fn installs(debian: &str, fedora: &str, homebrew: &str) -> String {
    let known = [
        ("apt-get", format!("sudo apt-get install {debian}")),
        ("dnf", format!("sudo dnf install {fedora}")),
        ("brew", format!("brew install {homebrew}")),
    ];
    let path = env::var_os("PATH").unwrap_or_default();
    let here = |manager: &str| env::split_paths(&path).any(|folder| folder.join(manager).is_file());
    let found = known.into_iter().find(|(manager, _)| here(manager));
    found.map_or_else(|| format!("your package manager (package {debian})"), |(_, command)| command)
}

impl Wanted {
    fn find(&self, more_folders: &[PathBuf], version: Option<&str>) -> Result<Binary, Error> {
        let candidates: Vec<PathBuf> = match env::var_os(self.setting) {
            Some(path) => vec![PathBuf::from(path)],
            None => on_path(self.name, more_folders).collect(),
        };
        let Some(first) = candidates.first() else {
            return Err(self.missing("the PATH and the usual folders"));
        };
        if !first.is_file() {
            return Err(self.missing(&first.display().to_string()));
        }
        let Some(wanted) = version else { return self.accept(first.clone()) };
        let mut others: Vec<String> = Vec::new();
        for path in candidates {
            let accepted = self.accept(path);
            let (path, version) = match accepted {
                Ok(binary) if is_of(&binary.version, wanted) => return Ok(binary),
                Ok(Binary { path, version }) => (path, version),
                Err(Error::BinaryTooOld { path, found, .. }) => (path, found),
                Err(_) => continue,
            };
            let other = format!("{version} at {}", path.display());
            if !others.contains(&other) {
                others.push(other);
            }
        }
        Err(Error::VersionMissing {
            what: self.name.to_owned(),
            wanted: wanted.to_owned(),
            found: if others.is_empty() { "none that works".to_owned() } else { others.join(", ") },
            remedy: format!(
                "install it with {}, or name its binary in {}",
                self.installs(wanted),
                self.setting
            ),
        })
    }

    fn accept(&self, path: PathBuf) -> Result<Binary, Error> {
        let version = known_version_of(&path)?;
        if number(&version) < self.oldest.1 {
            return Err(Error::BinaryTooOld {
                path,
                found: version,
                needed: self.oldest.0,
                install: self.install(),
                setting: self.setting,
            });
        }
        // Absolute, since the server will run in another folder; links stay, since redis-server looks at its own name.
        let path = std::path::absolute(&path).unwrap_or(path);
        Ok(Binary { path, version })
    }

    fn missing(&self, looked_in: &str) -> Error {
        Error::BinaryMissing {
            binary: self.name.to_owned(),
            looked_in: looked_in.to_owned(),
            install: self.install(),
            setting: self.setting,
        }
    }

    fn install(&self) -> String {
        let Package { debian, fedora, homebrew, .. } = self.package;
        installs(debian, fedora, homebrew)
    }

    /// How this version is installed: systems that have packages of more than one have the major version in their names.
    fn installs(&self, wanted: &str) -> String {
        let major = wanted.split('.').next().unwrap_or(wanted);
        match self.package.of_major {
            Some([debian, fedora, homebrew]) => {
                let [debian, fedora, homebrew] =
                    [debian, fedora, homebrew].map(|package| package.replace("{}", major));
                format!("`{}`", installs(&debian, &fedora, &homebrew))
            }
            None => format!(
                "`{}` if your system's package is of that version, else from the makers of {}",
                self.install(),
                self.name
            ),
        }
    }
}

/// What the binary says of itself, which is asked once and kept in the user's cache as long as the file stays as it is: a test run starts many
/// processes, and each would ask again.
fn known_version_of(path: &Path) -> Result<String, Error> {
    let Some(note) = note_of(path) else { return version_of(path) };
    if let Ok(version) = std::fs::read_to_string(&note) {
        return Ok(version);
    }
    let version = version_of(path)?;
    let draft = note.with_extension(std::process::id().to_string());
    // Not to know it costs some milliseconds, and no test.
    let _ = note.parent().map(std::fs::create_dir_all);
    let _ = std::fs::write(&draft, &version).and_then(|()| std::fs::rename(&draft, &note));
    Ok(version)
}

/// Where the version is written down of a file with this name, this length and this time of change.
fn note_of(path: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let real = path.canonicalize().ok()?;
    let file = real.metadata().ok()?;
    let parts = [file.len(), file.mtime() as u64, file.mtime_nsec() as u64].map(u64::to_le_bytes);
    let parts = parts.iter().map(<[u8; 8]>::as_slice).chain([real.as_os_str().as_encoded_bytes()]);
    Some(cache::folder().join("versions").join(digest(parts)))
}

fn postgres_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    let fedora = std::fs::read_dir("/usr").into_iter().flatten().flatten().map(|entry| entry.path());
    let fedora = fedora.filter(|path| path.to_string_lossy().starts_with("/usr/pgsql-"));
    let parents = ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"].map(PathBuf::from);
    for parent in parents.into_iter().chain(fedora) {
        let children = std::fs::read_dir(&parent).into_iter().flatten().flatten().map(|entry| entry.path());
        folders.extend(children.chain([parent]).map(|folder| folder.join("bin")));
    }
    folders.retain(|folder| folder.join("postgres").is_file());
    // The newest first, as numbers: 9.6 comes after 15.
    folders.sort_by_key(|folder| std::cmp::Reverse(number(&digits(&folder.to_string_lossy()))));
    folders
}

fn version_of(path: &Path) -> Result<String, Error> {
    let broken = |answer: String| Error::BinaryBroken { path: path.to_owned(), answer };
    let output = Command::new(path).arg("--version").output().map_err(|error| broken(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version = digits(&said);
    if version.is_empty() {
        let said = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
        return Err(broken(said.trim().chars().take(200).collect()));
    }
    Ok(version)
}
