//! A test's Redis.

use std::{fmt, sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};

use super::{Env, home::on_runtime, keyspaces::Keyspace};
use crate::{
    Error, Service,
    spec::{Redis, Spec},
};

/// How long a test's connection may take to be there.
const CONNECT: Duration = Duration::from_secs(10);

/// A Redis that belongs to one test: keys, channels, scripts and settings.
///
/// ```no_run
/// use redis::AsyncCommands;
///
/// # async fn example(env: seaworthy_harness::Env) -> redis::RedisResult<()> {
/// let redis = env.redis().await;
/// let mut connection = redis.connection().await?;
/// let _: () = connection.set("greeting", "ahoy").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PrivateRedis {
    inner: Arc<Inner>,
}

struct Inner {
    service: Service,
    _keyspace: Keyspace,
}

impl PrivateRedis {
    pub(super) async fn take(env: &Env) -> Result<Self, Error> {
        let home = env.home().await?;
        let keyspace = on_runtime(home.clone().keyspace()).await?;
        let instance = home.shared.attach("redis", &keyspace.record, &keyspace.database);
        let spec = Spec::Redis(Redis::new());
        let service = Service::new("redis", &spec, instance, &env.inner.proxies, CONNECT).await?;
        Ok(PrivateRedis { inner: Arc::new(Inner { service, _keyspace: keyspace }) })
    }

    /// The URL through the fault proxy: what an application under test gets.
    pub fn url(&self) -> String {
        self.inner.service.url()
    }

    /// The URL past the fault proxy: what a test checks the truth with.
    pub fn direct_url(&self) -> String {
        self.inner.service.direct_url()
    }

    /// A new connection, through the fault proxy.
    ///
    /// # Errors
    ///
    /// When the server can't be reached within 10 s, as under a fault.
    pub async fn connection(&self) -> redis::RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT));
        redis::Client::open(self.url())?.get_multiplexed_async_connection_with_config(&config).await
    }

    /// The server as a service: its faults, its log.
    pub fn service(&self) -> &Service {
        &self.inner.service
    }
}

impl fmt::Debug for PrivateRedis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateRedis").finish_non_exhaustive()
    }
}
