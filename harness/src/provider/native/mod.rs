//! Services as processes of binaries that this machine has.

mod account;
mod app;
mod disk;
mod other;
mod postgres;
mod process;
mod redis;
mod service;

use std::sync::Arc;

use async_trait::async_trait;

use super::{Instance, Provider, Site};
use crate::{Error, spec::Spec};

pub(crate) use app::start_app;

/// Starts native processes, as an unprivileged user where the server insists on one.
#[derive(Debug)]
pub(crate) struct Native;

#[async_trait]
impl Provider for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    async fn start(&self, site: &Site, name: &str, spec: &Spec) -> Result<Arc<dyn Instance>, Error> {
        match spec {
            Spec::Postgres(spec) => postgres::start(site, name, spec).await,
            Spec::Redis(spec) => redis::start(site, name, spec),
            Spec::App(app) => start_app(site, name, app),
            Spec::Other(software) => other::start(site, name, &**software),
        }
    }
}
