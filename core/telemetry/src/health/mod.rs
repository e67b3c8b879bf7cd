//! Whether the service is alive, ready, and well, as orchestrators and people ask it.
//!
//! ```
//! use std::time::Duration;
//! use seaworthy_telemetry::health::{Health, Outcome};
//!
//! # #[tokio::main]
//! # async fn main() {
//! let health = Health::builder("shop")
//!     .check("stock", async || Outcome::pass().observed(12.0, "items"))
//!     .check_with("mail", |check| check.optional().every(Duration::from_secs(30)), async || Outcome::fail("no answer"))
//!     .build();
//!
//! assert!(health.is_ready().await, "mail is optional");
//! health.drain();
//! assert!(!health.is_ready().await, "what is about to stop takes no new requests");
//! # }
//! ```
//!
//! | endpoint | answers | depends on |
//! |---|---|---|
//! | `/livez` | 200 unless a [`Pulse`] stopped | nothing outside of the process: a restart would not mend it |
//! | `/readyz` | 503 while a required component of the group `ready` fails, or the service drains | other services |
//! | `/startupz` | 503 until the service was ready once | other services, until then |
//! | `/health` | every component, as `application/health+json` | other services |
//! | `/health/{group}` | those of a group | other services |
//!
//! A component is checked at most once per interval however many probes ask, and no probe waits for longer than its deadline.

mod check;
mod component;
#[cfg(feature = "postgres")]
mod postgres;
mod pulse;
#[cfg(feature = "redis")]
mod redis;
mod resources;
#[cfg(feature = "http")]
mod routes;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use check::{Check, Outcome, Status};
pub use component::{Change, Checked};
#[cfg(feature = "postgres")]
pub use postgres::PostgresCheck;
pub use pulse::Pulse;
#[cfg(feature = "redis")]
pub use redis::RedisCheck;
pub use resources::{DiskCheck, MemoryCheck, backlog_check};
#[cfg(feature = "http")]
pub use routes::routes;

use self::{component::Component, pulse::Pulses};

/// The group that `/readyz` asks.
pub const READY: &str = "ready";

/// The health of a service. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

struct Inner {
    service: String,
    components: Vec<Arc<Component>>,
    pulses: Pulses,
    started: AtomicBool,
    draining: AtomicBool,
}

/// What the health of a service is made of.
pub struct HealthBuilder {
    service: String,
    components: Vec<Arc<Component>>,
}

/// How a component is checked.
#[derive(Debug, Clone)]
pub struct CheckSettings {
    pub(crate) deadline: Duration,
    pub(crate) interval: Duration,
    pub(crate) required: bool,
    pub(crate) groups: Vec<&'static str>,
}

impl CheckSettings {
    /// How long a check may take before it counts as failed; 1 s unless said otherwise.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long a result is good for; 2 s unless said otherwise.
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The service can do without it: its failure is a warning.
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// The groups that it belongs to, instead of `ready`.
    pub fn groups(mut self, groups: impl IntoIterator<Item = &'static str>) -> Self {
        self.groups = groups.into_iter().collect();
        self
    }
}

impl Default for CheckSettings {
    fn default() -> Self {
        CheckSettings {
            deadline: Duration::from_secs(1),
            interval: Duration::from_secs(2),
            required: true,
            groups: vec![READY],
        }
    }
}

impl HealthBuilder {
    /// Adds a component that the service needs to be ready.
    ///
    /// # Panics
    ///
    /// When there is a component of this name.
    pub fn check(self, name: &'static str, check: impl Check) -> Self {
        self.check_with(name, |settings| settings, check)
    }

    /// Adds a component with other settings.
    ///
    /// # Panics
    ///
    /// When there is a component of this name.
    pub fn check_with(
        mut self,
        name: &'static str,
        settings: impl FnOnce(CheckSettings) -> CheckSettings,
        check: impl Check,
    ) -> Self {
        assert!(
            !self.components.iter().any(|other| other.name() == name),
            "two components are called `{name}`"
        );
        self.components.push(Component::new(name, settings(CheckSettings::default()), Arc::new(check)));
        self
    }

    /// The health of the service, which has not started yet.
    pub fn build(self) -> Health {
        Health {
            inner: Arc::new(Inner {
                service: self.service,
                components: self.components,
                pulses: Pulses::default(),
                started: AtomicBool::new(false),
                draining: AtomicBool::new(false),
            }),
        }
    }
}

impl Health {
    /// The health of a service of this name.
    pub fn builder(service: impl Into<String>) -> HealthBuilder {
        HealthBuilder { service: service.into(), components: Vec::new() }
    }

    /// Every component's present state, in the order in which they were added. Waits for those that are due to be checked, side by
    /// side, and for none longer than its deadline.
    pub async fn components(&self) -> Vec<Checked> {
        self.checked(|_| true).await
    }

    /// The present state of a group's components; `None` when no component belongs to it.
    pub async fn group(&self, group: &str) -> Option<Vec<Checked>> {
        let known = self.inner.components.iter().any(|component| component.is_in(group));
        if known { Some(self.checked(|component| component.is_in(group)).await) } else { None }
    }

    /// Whether the service takes requests: it does not drain, and no required component of the group `ready` fails.
    pub async fn is_ready(&self) -> bool {
        self.readiness().await.0
    }

    /// Whether the service takes requests, and the components that decided it.
    async fn readiness(&self) -> (bool, Vec<Checked>) {
        if self.is_draining() {
            return (false, Vec::new());
        }
        let components = self.checked(|component| component.is_in(READY)).await;
        let ready = worst(&components) != Status::Fail;
        if ready {
            self.started();
        }
        (ready, components)
    }

    /// Whether the service has started: it was ready once, or said so.
    pub async fn has_started(&self) -> bool {
        self.inner.started.load(Ordering::Relaxed) || self.is_ready().await
    }

    /// Says that the service has started.
    pub fn started(&self) {
        self.inner.started.store(true, Ordering::Relaxed);
    }

    /// Says that the service is about to stop: it is alive and not ready from now on.
    pub fn drain(&self) {
        self.inner.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the service is about to stop.
    pub fn is_draining(&self) -> bool {
        self.inner.draining.load(Ordering::Relaxed)
    }

    /// Something within the process that must go on, for example a loop: when no beat comes for longer than `silence`, the service
    /// counts as dead, and an orchestrator restarts it. The pulse ends when it is dropped.
    pub fn pulse(&self, name: &'static str, silence: Duration) -> Pulse {
        self.inner.pulses.start(name, silence)
    }

    /// The pulses that stopped; the service is alive when there are none.
    pub fn stopped_pulses(&self) -> Vec<&'static str> {
        self.inner.pulses.stopped()
    }

    /// The service's name.
    pub fn service(&self) -> &str {
        &self.inner.service
    }

    async fn checked(&self, wanted: impl Fn(&Component) -> bool) -> Vec<Checked> {
        // All are started before the first is waited for.
        let components = self.inner.components.iter().filter(|component| wanted(component));
        let running: Vec<_> = components.map(|component| component.current()).collect();
        let mut checked = Vec::with_capacity(running.len());
        for component in running {
            checked.push(component.await);
        }
        checked
    }
}

/// The worst status; an optional component is at worst a warning.
pub(crate) fn worst(components: &[Checked]) -> Status {
    components.iter().map(Checked::weight).max().unwrap_or(Status::Pass)
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.inner.components.iter().map(|component| component.name()).collect();
        f.debug_struct("Health").field("service", &self.inner.service).field("components", &names).finish()
    }
}
