//! What a scenario is.

use std::{error, fmt, future::Future, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;

use super::Voyage;
use crate::{Schedule, Storm};

/// Any error, as a scenario's function may return it.
pub type BoxError = Box<dyn error::Error + Send + Sync>;

/// How long a scenario may take by itself.
const WITHIN: Duration = Duration::from_secs(10 * 60);

/// Something to sail through: the faults that a seed gives, and what is done meanwhile. Cheap to clone.
#[derive(Clone)]
#[must_use]
pub struct Scenario {
    name: String,
    summary: String,
    within: Duration,
    faults: Arc<dyn Fn(u64) -> Schedule + Send + Sync>,
    sail: Arc<dyn Fn(Voyage) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario").field("name", &self.name).field("summary", &self.summary).finish()
    }
}

impl Scenario {
    /// A scenario without faults in which nothing is done yet, and that may take 10 minutes. The name is what it is called on a command line.
    pub fn new(name: impl Into<String>, summary: impl Into<String>) -> Self {
        Scenario {
            name: name.into(),
            summary: summary.into(),
            within: WITHIN,
            faults: Arc::new(|_| Schedule::quiet()),
            sail: Arc::new(|_| Box::pin(async { Ok(()) })),
        }
    }

    /// The faults that a seed gives: always the same ones.
    pub fn faults(mut self, faults: impl Fn(u64) -> Schedule + Send + Sync + 'static) -> Self {
        self.faults = Arc::new(faults);
        self
    }

    /// The faults that a storm gives.
    pub fn storm(self, storm: Storm) -> Self {
        self.faults(move |seed| storm.schedule(seed))
    }

    /// What is done: services, load, and checks, through the [`Voyage`]. An error means that it could not be judged.
    pub fn sail<F, Fut, E>(mut self, sail: F) -> Self
    where
        F: Fn(Voyage) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.sail = Arc::new(move |voyage| {
            let sailing = sail(voyage);
            Box::pin(async move { sailing.await.map_err(Into::into) })
        });
        self
    }

    /// How long it may take, start and end of its services included.
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it does, in a sentence.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// The faults that this seed gives.
    pub fn schedule(&self, seed: u64) -> Schedule {
        (self.faults)(seed)
    }

    pub(super) fn limit(&self) -> Duration {
        self.within
    }

    pub(super) fn begin(&self, voyage: Voyage) -> BoxFuture<'static, Result<(), BoxError>> {
        (self.sail)(voyage)
    }
}
