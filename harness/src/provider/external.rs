//! Servers that run already: a staging cluster, a managed database.

use std::{env, sync::Arc};

use async_trait::async_trait;
use reqwest::Url;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{Instance, Login, Provider, Site, native};
use crate::{Error, signal::Signal, spec::Spec};

/// Takes the servers that two URLs name. On Postgres, a stack works in a database of its own, which it makes and
/// drops; nothing else there is touched. Applications run as native processes.
#[derive(Debug)]
pub(crate) struct External {
    postgres: Url,
    redis: Url,
}

impl External {
    pub(crate) fn from_env() -> Result<Self, Error> {
        Ok(External { postgres: url("SEAWORTHY_POSTGRES_URL")?, redis: url("SEAWORTHY_REDIS_URL")? })
    }
}

fn url(setting: &'static str) -> Result<Url, Error> {
    let wrong = |why: String| Error::External { setting, why };
    let text =
        env::var(setting).map_err(|_| wrong("it is not set; give it the URL of a test server".to_owned()))?;
    let url = Url::parse(&text).map_err(|error| wrong(format!("its value is no URL ({error})")))?;
    if url.host_str().is_none() {
        return Err(wrong("its URL names no host".to_owned()));
    }
    Ok(url)
}

#[async_trait]
impl Provider for External {
    fn name(&self) -> &'static str {
        "external"
    }

    async fn start(&self, site: &Site, name: &str, spec: &Spec) -> Result<Arc<dyn Instance>, Error> {
        match spec {
            Spec::Postgres(spec) if spec.disk_limit_mib.is_some() => Err(unsupported("a full disk", name)),
            Spec::Postgres(_) => {
                let database = format!("seaworthy_{}", site.id);
                site.guardian.tell(&format!("drop {database} {}", self.postgres))?;
                run(&self.postgres, name, format!("create database {database}")).await?;
                let server =
                    Server { name: name.to_owned(), url: self.postgres.clone(), port: 5432, database };
                Ok(Arc::new(server))
            }
            Spec::Redis(_) => {
                let database = self.redis.path().trim_start_matches('/').to_owned();
                let server = Server { name: name.to_owned(), url: self.redis.clone(), port: 6379, database };
                Ok(Arc::new(server))
            }
            Spec::App(app) => native::start_app(site, name, app),
        }
    }
}

async fn run(url: &Url, service: &str, statement: String) -> Result<(), Error> {
    let fail = |source| Error::Database { service: service.to_owned(), source };
    let mut connection = PgConnection::connect(url.as_str()).await.map_err(fail)?;
    connection.execute(AssertSqlSafe(statement)).await.map_err(fail)?;
    connection.close().await.map_err(fail)
}

struct Server {
    name: String,
    url: Url,
    port: u16,
    database: String,
}

fn unsupported(fault: &'static str, service: &str) -> Error {
    Error::Unsupported {
        fault,
        service: service.to_owned(),
        why: "it is an external server, which is not ours to harm: use `--provider native` or `docker`"
            .to_owned(),
    }
}

#[async_trait]
impl Instance for Server {
    fn address(&self) -> Option<String> {
        let host = self.url.host_str().unwrap_or_default();
        Some(format!("{host}:{}", self.url.port().unwrap_or(self.port)))
    }

    fn login(&self) -> Login {
        Login {
            user: self.url.username().to_owned(),
            password: self.url.password().unwrap_or_default().to_owned(),
            database: self.database.clone(),
        }
    }

    async fn ended(&self) -> Option<String> {
        None
    }

    async fn kill(&self) -> Result<(), Error> {
        Err(unsupported("a kill", &self.name))
    }

    async fn start_again(&self) -> Result<(), Error> {
        Err(unsupported("a restart", &self.name))
    }

    async fn pause(&self) -> Result<(), Error> {
        Err(unsupported("a pause", &self.name))
    }

    fn resume(&self) -> Result<(), Error> {
        Err(unsupported("a pause", &self.name))
    }

    async fn signal(&self, _signal: Signal) -> Result<(), Error> {
        Err(unsupported("a signal", &self.name))
    }

    async fn fill_disk(&self) -> Result<(), Error> {
        Err(unsupported("a full disk", &self.name))
    }

    async fn free_disk(&self) -> Result<(), Error> {
        Err(unsupported("a full disk", &self.name))
    }

    async fn log(&self) -> String {
        String::new()
    }

    async fn said(&self, _text: &str) -> bool {
        false
    }

    async fn lines(&self, _text: &str) -> Vec<String> {
        Vec::new()
    }

    async fn memory(&self) -> Option<u64> {
        None
    }

    async fn release(&self) {
        if self.port == 5432 {
            // The guardian tries too, where `psql` is there; an error here has no better place to go.
            let statement = format!("drop database if exists {} with (force)", self.database);
            let _ = run(&self.url, &self.name, statement).await;
        }
    }
}
