//! Finds the servers' binaries on this machine and checks their versions.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::Error;

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
}

const POSTGRES: Wanted = Wanted {
    name: "postgres",
    setting: "SEAWORTHY_POSTGRES",
    oldest: ("14", (14, 0)),
    package: Package { debian: "postgresql", fedora: "postgresql-server", homebrew: "postgresql@17" },
};

const REDIS: Wanted = Wanted {
    name: "redis-server",
    setting: "SEAWORTHY_REDIS",
    oldest: ("6.2", (6, 2)),
    package: Package { debian: "redis-server", fedora: "redis", homebrew: "redis" },
};

/// The `postgres` binary: the one that `SEAWORTHY_POSTGRES` names, else the first on the PATH, in Debian's versioned
/// folders (the newest) or in Homebrew's. Its neighbour `initdb` comes with it.
///
/// # Errors
///
/// [`Error::BinaryMissing`], [`Error::BinaryTooOld`], [`Error::BinaryBroken`].
pub fn postgres() -> Result<Binary, Error> {
    POSTGRES.find(&postgres_folders())
}

/// The `redis-server` binary: the one that `SEAWORTHY_REDIS` names, else the first on the PATH or in Homebrew's
/// folders.
///
/// # Errors
///
/// [`Error::BinaryMissing`], [`Error::BinaryTooOld`], [`Error::BinaryBroken`].
pub fn redis() -> Result<Binary, Error> {
    let homebrew = ["/opt/homebrew/bin", "/usr/local/bin", "/home/linuxbrew/.linuxbrew/bin"];
    REDIS.find(&homebrew.map(PathBuf::from))
}

impl Wanted {
    fn find(&self, more_folders: &[PathBuf]) -> Result<Binary, Error> {
        let path = match env::var_os(self.setting) {
            Some(path) => PathBuf::from(path),
            None => {
                self.search(more_folders).ok_or_else(|| self.missing("the PATH and the usual folders"))?
            }
        };
        if !path.is_file() {
            return Err(self.missing(&path.display().to_string()));
        }
        let version = version_of(&path)?;
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

    fn search(&self, more_folders: &[PathBuf]) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&path).chain(more_folders.iter().cloned());
        folders.map(|folder| folder.join(self.name)).find(|candidate| candidate.is_file())
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
        let Package { debian, fedora, homebrew } = &self.package;
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
}

fn postgres_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for parent in
        ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt", "/usr/pgsql-18", "/usr/pgsql-17"]
    {
        let children = std::fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
        folders.extend(children.chain([PathBuf::from(parent)]).map(|folder| folder.join("bin")));
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

/// The first thing in the text that looks like a version: `postgres (PostgreSQL) 15.18 (Debian)` gives `15.18`, and
/// `Redis server v=7.0.15 sha=00000000:0` gives `7.0.15`.
fn digits(text: &str) -> String {
    let start = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let version: String = text[start..].chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    version.trim_end_matches('.').to_owned()
}

fn number(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_servers_say_of_themselves() {
        let cases = [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "15.18", (15, 18)),
            ("postgres (PostgreSQL) 17beta1", "17", (17, 0)),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64", "7.0.15", (7, 0)),
            ("/usr/lib/postgresql/9.6/bin", "9.6", (9, 6)),
            ("command not found", "", (0, 0)),
        ];
        for (said, version, parsed) in cases {
            assert_eq!(digits(said), version, "{said}");
            assert_eq!(number(version), parsed, "{said}");
        }
    }
}
