//! Servers that run already: a staging cluster, a managed database.

use std::{env, net::IpAddr, sync::Arc};

use async_trait::async_trait;
use reqwest::Url;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{Instance, Login, Provider, Site, native};
use crate::{
    Error,
    signal::Signal,
    spec::{Postgres, Redis, Spec},
    version,
};

/// Takes the servers that two URLs name. On Postgres, a stack works in a database of its own, which it makes and
/// drops; nothing else there is touched. Applications run as native processes.
#[derive(Debug)]
pub(crate) struct External {
    postgres: Url,
    redis: Url,
}

impl External {
    pub(crate) fn from_env() -> Result<Self, Error> {
        let external =
            External { postgres: url("SEAWORTHY_POSTGRES_URL")?, redis: url("SEAWORTHY_REDIS_URL")? };
        if env::var("SEAWORTHY_EXTERNAL").is_ok_and(|said| said == "these are for tests") {
            return Ok(external);
        }
        for (setting, url) in
            [("SEAWORTHY_POSTGRES_URL", &external.postgres), ("SEAWORTHY_REDIS_URL", &external.redis)]
        {
            looks_like_a_test_server(url).map_err(|why| Error::External { setting, why })?;
        }
        Ok(external)
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

/// Whether nobody can mind if tests use this server: it is on this machine, or its host, its user or its database says that it is
/// for tests. None of them may say that it is in production.
fn looks_like_a_test_server(url: &Url) -> Result<(), String> {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']);
    let is_here = host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let names = [host, url.username(), url.path()];
    let words =
        || names.iter().flat_map(|name| name.split(|c: char| !c.is_alphanumeric())).map(str::to_lowercase);
    let why = if let Some(word) = words().find(|word| ["prod", "production", "live"].contains(&word.as_str()))
    {
        format!("the word `{word}` is in it")
    } else if is_here
        || words().any(|word| ["test", "tests", "testing", "ci", "dev", "staging"].contains(&word.as_str()))
    {
        return Ok(());
    } else {
        format!(
            "{host} is another machine, and neither its name nor that of the user or the database has the word test, ci, dev or staging"
        )
    };
    Err(format!(
        "the server does not look like one for tests: {why}; if it is one, set SEAWORTHY_EXTERNAL='these are for tests'"
    ))
}

#[async_trait]
impl Provider for External {
    fn name(&self) -> &'static str {
        "external"
    }

    async fn start(&self, site: &Site, name: &str, spec: &Spec) -> Result<Arc<dyn Instance>, Error> {
        match spec {
            Spec::Postgres(spec) if spec.disk_limit_mib.is_some() => Err(unsupported("a full disk", name)),
            Spec::Postgres(Postgres { replica_of: Some(_), .. })
            | Spec::Redis(Redis { replica_of: Some(_), .. }) => Err(unsupported("a replica", name)),
            Spec::Postgres(Postgres { settings, .. }) | Spec::Redis(Redis { settings, .. })
                if !settings.is_empty() =>
            {
                Err(unsupported("a setting of the server", name))
            }
            Spec::Postgres(Postgres { env, .. }) if !env.is_empty() => {
                Err(unsupported("an environment variable of the server", name))
            }
            Spec::Postgres(Postgres { version, .. }) => {
                if version.is_some() {
                    let said = version_of_postgres(&self.postgres, name).await?;
                    version::expect(name, &said, version.as_deref())?;
                }
                let stack = format!("seaworthy_{}", site.id);
                // Each of several servers of a stack is a database of the one server that there is.
                let database = if name == "postgres" { stack.clone() } else { format!("{stack}_{name}") };
                site.guardian.tell(&format!("drop {stack} {}", self.postgres))?;
                run(&self.postgres, name, format!("create database \"{database}\"")).await?;
                let server =
                    Server { name: name.to_owned(), url: self.postgres.clone(), port: 5432, database };
                Ok(Arc::new(server))
            }
            Spec::Redis(Redis { version, .. }) => {
                if version.is_some() {
                    let said = version_of_redis(&self.redis, name).await?;
                    version::expect(name, &said, version.as_deref())?;
                }
                let database = self.redis.path().trim_start_matches('/').to_owned();
                let server = Server { name: name.to_owned(), url: self.redis.clone(), port: 6379, database };
                Ok(Arc::new(server))
            }
            Spec::App(app) => native::start_app(site, name, app),
            Spec::Other(_) => Err(unsupported("a start", name)),
        }
    }
}

async fn run(url: &Url, service: &str, statement: String) -> Result<(), Error> {
    let fail = |source| Error::Database { service: service.to_owned(), source };
    let mut connection = PgConnection::connect(url.as_str()).await.map_err(fail)?;
    connection.execute(AssertSqlSafe(statement)).await.map_err(fail)?;
    connection.close().await.map_err(fail)
}

async fn version_of_postgres(url: &Url, service: &str) -> Result<String, Error> {
    let fail = |source| Error::Database { service: service.to_owned(), source };
    let mut connection = PgConnection::connect(url.as_str()).await.map_err(fail)?;
    let said = sqlx::query_scalar("show server_version").fetch_one(&mut connection).await.map_err(fail)?;
    connection.close().await.map_err(fail)?;
    Ok(said)
}

async fn version_of_redis(url: &Url, service: &str) -> Result<String, Error> {
    let ask = async {
        let client = redis::Client::open(url.as_str())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
        Ok(info)
    };
    let info = ask.await.map_err(|error: redis::RedisError| Error::Start {
        service: service.to_owned(),
        why: error.to_string(),
        log: String::new(),
    })?;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    Ok(version.unwrap_or_default().to_owned())
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

    async fn release(&self) {
        if self.port == 5432 {
            // The guardian tries too, where `psql` is there; an error here has no better place to go.
            let statement = format!("drop database if exists \"{}\" with (force)", self.database);
            let _ = run(&self.url, &self.name, statement).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_taken_only_if_it_looks_like_one_for_tests() {
        let cases = [
            ("postgres://me@localhost/app", true),
            ("postgres://127.0.0.1:5432", true),
            ("redis://[::1]:6379/3", true),
            ("postgres://me@db.test.example.com/app", true),
            ("postgres://ci@10.0.0.7/app", true),
            ("postgres://me@10.0.0.7/app_test", true),
            ("redis://staging-cache.internal", true),
            ("postgres://me@10.0.0.7/app", false),
            ("postgres://me@db.example.com/contest", false),
            ("postgres://me@localhost/app_production", false),
            ("postgres://test@live.example.com/app", false),
        ];
        for (url, taken) in cases {
            let looks = looks_like_a_test_server(&Url::parse(url).unwrap());
            assert_eq!(looks.is_ok(), taken, "{url}: {looks:?}");
        }
        let refused =
            looks_like_a_test_server(&Url::parse("redis://cache.example.com").unwrap()).unwrap_err();
        assert!(refused.contains("SEAWORTHY_EXTERNAL"), "{refused}");
    }
}
