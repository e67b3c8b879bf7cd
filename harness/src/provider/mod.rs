//! Where services come from: containers, native processes, or servers that run already.

mod choice;
#[cfg(feature = "docker")]
pub(crate) mod docker;
pub(crate) mod external;
pub(crate) mod native;
mod port;

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub(crate) use choice::{Chosen, choose};
pub use choice::{ProviderChoice, would_take};

pub(crate) use crate::login::Login;
use crate::{Error, Usage, guardian::Guardian, signal::Signal, spec::Spec};

/// A way to bring services up. All providers behave alike; what one of them can't do is an [`Error::Unsupported`].
#[async_trait]
pub(crate) trait Provider: Send + Sync {
    /// `docker`, `native` or `external`.
    fn name(&self) -> &'static str;

    /// Starts a service. It need not be ready when this returns, but everything that belongs to it must be known to
    /// the site's guardian by then.
    async fn start(&self, site: &Site, name: &str, spec: &Spec) -> Result<Arc<dyn Instance>, Error>;
}

/// The place and the identity that a stack's services share.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) id: String,
    pub(crate) guardian: Guardian,
}

/// A running service, as its provider sees it.
#[async_trait]
pub(crate) trait Instance: Send + Sync {
    /// Where it listens, `host:port`; `None` for an application that does not.
    fn address(&self) -> Option<String>;

    /// Where it listens beside that, by the ports' names.
    fn more_addresses(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// What clients put after the address's scheme: user, password and database.
    fn login(&self) -> Login;

    /// Why the service is no longer running, if it isn't.
    async fn ended(&self) -> Option<String>;

    /// Ends every process of the service with SIGKILL and waits until they are gone.
    async fn kill(&self) -> Result<(), Error>;

    /// Starts it again, at the same address, with the data that it had.
    async fn start_again(&self) -> Result<(), Error>;

    /// Stops every process of the service in its tracks.
    async fn pause(&self) -> Result<(), Error>;

    /// Lets them go on. Must work without waiting, since it is called on drop.
    fn resume(&self) -> Result<(), Error>;

    /// Sends a signal to the process that was started, and not to its children.
    async fn signal(&self, signal: Signal) -> Result<(), Error>;

    /// Fills the disk of its data.
    async fn fill_disk(&self) -> Result<(), Error>;

    /// Gives the space back.
    async fn free_disk(&self) -> Result<(), Error>;

    /// The last lines of its log.
    async fn log(&self) -> String;

    /// Whether it wrote this to its log since it was last started.
    async fn said(&self, text: &str) -> bool;

    /// Every line of its log with this text, from its first start on.
    async fn lines(&self, text: &str) -> Vec<String>;

    /// What its processes use now, as far as that can be told.
    async fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Where its log can be read by another process.
    fn log_source(&self) -> LogSource {
        LogSource::None
    }

    /// The address by which the service can reach the fault proxies of this process.
    async fn reaches_us_at(&self) -> Result<IpAddr, Error> {
        Ok(Ipv4Addr::LOCALHOST.into())
    }

    /// Gives back what the guardian can't: a database on an external server.
    async fn release(&self) {}
}

/// Where the log of a service is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum LogSource {
    File(PathBuf),
    Container(String),
    None,
}
