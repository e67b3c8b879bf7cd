//! Which provider a stack takes, and why.

use std::{env, str::FromStr, sync::Arc};

use super::{Provider, external::External, native::Native};
use crate::{Error, binaries};

/// Which provider to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProviderChoice {
    /// Docker when a daemon answers and the images are there or can be pulled, else native processes.
    #[default]
    Auto,
    /// Containers.
    Docker,
    /// Processes of binaries on this machine.
    Native,
    /// Servers that run already, at `SEAWORTHY_POSTGRES_URL` and `SEAWORTHY_REDIS_URL`.
    External,
}

impl ProviderChoice {
    /// Every choice, by its name on the command line.
    pub const NAMES: [&'static str; 4] = ["auto", "docker", "native", "external"];

    /// The choice that the environment variable `SEAWORTHY_PROVIDER` names, else `auto`.
    ///
    /// # Errors
    ///
    /// A text that says what is allowed.
    pub fn from_env() -> Result<Self, String> {
        env::var("SEAWORTHY_PROVIDER").map_or(Ok(Self::Auto), |name| name.parse())
    }
}

impl FromStr for ProviderChoice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "docker" => Ok(Self::Docker),
            "native" => Ok(Self::Native),
            "external" => Ok(Self::External),
            _ => Err(format!("there is no provider `{name}`; choose one of {}", Self::NAMES.join(", "))),
        }
    }
}

/// A provider and the one line that says why it was taken.
pub(crate) struct Chosen {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) why: String,
}

pub(crate) async fn choose(choice: ProviderChoice) -> Result<Chosen, Error> {
    match choice {
        ProviderChoice::Docker => docker().await,
        ProviderChoice::Native => native(""),
        ProviderChoice::External => {
            let provider = Arc::new(External::from_env()?);
            Ok(Chosen {
                provider,
                why: "external: the servers that SEAWORTHY_POSTGRES_URL and SEAWORTHY_REDIS_URL name"
                    .to_owned(),
            })
        }
        ProviderChoice::Auto => match docker().await {
            Ok(chosen) => Ok(chosen),
            Err(docker) => native(&format!(" (not docker: {docker})"))
                .map_err(|native| Error::NoProvider { docker: Box::new(docker), native: Box::new(native) }),
        },
    }
}

/// The provider that a choice takes on this machine, and why, in one line.
///
/// # Errors
///
/// Why it takes none, as [`Error::NoProvider`].
pub async fn would_take(choice: ProviderChoice) -> Result<String, Error> {
    choose(choice).await.map(|chosen| chosen.why)
}

fn native(because: &str) -> Result<Chosen, Error> {
    let (postgres, redis) = (binaries::postgres()?, binaries::redis()?);
    let why =
        format!("native: Postgres {} and Redis {} of this machine{because}", postgres.version, redis.version);
    Ok(Chosen { provider: Arc::new(Native), why })
}

#[cfg(feature = "docker")]
async fn docker() -> Result<Chosen, Error> {
    let provider = super::docker::Docker::connect().await?;
    let why = provider.why();
    Ok(Chosen { provider: Arc::new(provider), why })
}

#[cfg(not(feature = "docker"))]
async fn docker() -> Result<Chosen, Error> {
    let why = "this build leaves out the feature `docker`".to_owned();
    Err(Error::DockerUnavailable { why })
}
