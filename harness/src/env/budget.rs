//! How many connections the tests of all processes may have open on a server, together.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{Error, lock, stack::new_id};

/// A pause between two looks for connections that others have given back.
const PAUSE: Duration = Duration::from_millis(5);
/// How long a look at the books takes at most.
const TURN: Duration = Duration::from_secs(10);
/// How long a test waits for others to give connections back.
const PATIENCE: Duration = Duration::from_secs(300);

/// The connections of one server: each test reserves those it may open before it opens them. A reservation is a file with
/// a number in it, which its holder keeps locked, so what a killed process had reserved is free again.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    folder: PathBuf,
    connections: u32,
}

/// Connections that are ours until this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    path: PathBuf,
    _file: File,
}

impl Budget {
    pub(super) fn new(folder: PathBuf, connections: u32) -> Result<Self, Error> {
        fs::create_dir_all(&folder).map_err(Error::io(format!("making the folder {}", folder.display())))?;
        Ok(Budget { folder, connections })
    }

    /// Waits until so many connections are free, and takes them.
    pub(super) async fn reserve(&self, wanted: u32) -> Result<Reservation, Error> {
        if wanted > self.connections {
            return Err(Error::TooManyConnections { wanted, budget: self.connections });
        }
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(reservation) = self.try_reserve(wanted)? {
                return Ok(reservation);
            }
            if Instant::now() > give_up {
                return Err(Error::Deadline {
                    service: "postgres".to_owned(),
                    action: "have enough connections free",
                    deadline: PATIENCE,
                    log: format!("other tests have reserved all of its {} connections", self.connections),
                });
            }
            sleep(PAUSE).await;
        }
    }

    fn try_reserve(&self, wanted: u32) -> Result<Option<Reservation>, Error> {
        // Held for some microseconds a reservation, so it is no harm to block.
        let _turn = lock::wait(&self.folder.join("lock"), TURN)?;
        if self.reserved() + wanted > self.connections {
            return Ok(None);
        }
        let path = self.folder.join(format!("{}.held", new_id()));
        let write = || {
            let mut file = OpenOptions::new().create_new(true).write(true).open(&path)?;
            file.lock()?;
            write!(file, "{wanted}")?;
            Ok(file)
        };
        let file = write().map_err(Error::io(format!("writing {}", path.display())))?;
        Ok(Some(Reservation { path, _file: file }))
    }

    /// What all living processes have reserved.
    fn reserved(&self) -> u32 {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        entries
            .filter(|path| path.extension().is_some_and(|extension| extension == "held"))
            .map(|path| held(&path))
            .sum()
    }
}

fn held(path: &Path) -> u32 {
    let Ok(mut file) = File::open(path) else { return 0 };
    if lock::take(&file).unwrap_or(false) {
        let _ = fs::remove_file(path);
        return 0;
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_or(0, |_| text.parse().unwrap_or(0))
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_reserved_never_exceeds_the_budget_and_is_given_back() {
        let folder = std::env::temp_dir().join(format!("seaworthy-budget-{}", std::process::id()));
        let budget = Budget::new(folder.clone(), 10).unwrap();
        let first = budget.reserve(6).await.unwrap();
        let second = budget.reserve(4).await.unwrap();
        assert!(budget.try_reserve(1).unwrap().is_none());
        drop(first);
        assert!(budget.try_reserve(7).unwrap().is_none());
        let third = budget.reserve(6).await.unwrap();
        let refused = budget.reserve(11).await.unwrap_err();
        assert!(matches!(refused, Error::TooManyConnections { wanted: 11, budget: 10 }), "{refused}");
        drop((second, third));
        assert_eq!(budget.reserved(), 0);
        fs::remove_dir_all(folder).unwrap();
    }
}
