//! What the processes that share a service know of it.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    Error,
    provider::{LogSource, Login},
};

/// How long a server that lives may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running service, as it is written down for other processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) provider: String,
    pub(crate) address: String,
    pub(crate) login: Login,
    pub(crate) log: LogSource,
}

impl Record {
    pub(crate) fn read(file: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(file).ok()?).ok()
    }

    /// Written at once or not at all, and for nobody else's eyes: it holds a password.
    pub(crate) fn write(&self, file: &Path) -> Result<(), Error> {
        let draft = file.with_added_extension("draft");
        let write = || {
            let text = serde_json::to_vec(self)?;
            let mut options = OpenOptions::new();
            options.create(true).truncate(true).write(true).mode(0o600);
            options.open(&draft)?.write_all(&text)?;
            fs::rename(&draft, file)
        };
        write().map_err(Error::io(format!("writing {}", file.display())))
    }

    /// Whether anything accepts connections there.
    pub(crate) async fn listens(&self) -> bool {
        matches!(timeout(PATIENCE, TcpStream::connect(&self.address)).await, Ok(Ok(_)))
    }
}
