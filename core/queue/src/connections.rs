//! The connections that the queue itself works through.

use std::{
    future::Future,
    ops::{Deref, DerefMut},
    time::Duration,
};

use sqlx::{
    Executor as _, PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::time::timeout;

use crate::Error;

/// How a worker's statements are planned: along the indexes, once.
///
/// The tables fill and empty faster than Postgres counts their rows. A plan for the size they had would read and sort all of `ready` for each claim, which took 110 ms instead of 10 where 100,000 jobs
/// waited; and what such a plan is thought to cost would have it compiled besides.
const PLANS: &str = "set enable_bitmapscan = off; set enable_seqscan = off; set jit = off; set plan_cache_mode = force_generic_plan";

/// Connections on which whatever did not end well is not used again.
///
/// A future that is dropped while its `BEGIN` is on its way leaves the session in a transaction of which sqlx 0.9.0 knows nothing (its issue 4393). Whoever
/// gets that connection next writes into a transaction that nobody commits: a worker would run jobs of a claim that nobody else can see.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    pool: PgPool,
    deadline: Duration,
}

impl Connections {
    /// Those of the application's pool.
    pub(crate) fn shared(pool: PgPool, deadline: Duration) -> Self {
        Connections { pool, deadline }
    }

    /// Up to so many of a worker's own, to the same database as the application's. Handlers that use up the application's, or leave one of them in a transaction, can't keep
    /// the worker from claiming, from recording what is done, or from saying that it lives.
    pub(crate) fn own(pool: &PgPool, most: u32, deadline: Duration) -> Self {
        let options = PgPoolOptions::new().max_connections(most).acquire_timeout(deadline);
        let options = options.test_before_acquire(false).after_connect(|connection, _| {
            Box::pin(async move { connection.execute(PLANS).await.map(drop) })
        });
        Connections { pool: options.connect_lazy_with(pool.connect_options().as_ref().clone()), deadline }
    }

    /// A statement may take so long.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(crate) async fn acquire(&self) -> Result<Held, Error> {
        Ok(Held { connection: self.pool.acquire().await?, is_sound: false })
    }

    /// One that hears what is told on this channel.
    pub(crate) async fn listener(&self, channel: &str) -> Result<PgListener, Error> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(channel).await?;
        Ok(listener)
    }

    /// Gives up on statements that get no answer within the deadline. The server may still be at it; those that may wait for locks have it give up first.
    pub(crate) async fn within<T>(
        &self,
        statements: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        timeout(self.deadline, statements).await.unwrap_or_else(|_| {
            let text = format!("no answer within {:?}", self.deadline);
            Err(Error::Database(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text))))
        })
    }

    pub(crate) async fn close(&self) {
        let _ = timeout(self.deadline, self.pool.close()).await;
    }
}

/// A connection that goes back to its pool only when [`release`](Self::release) says so, and is closed otherwise.
#[derive(Debug)]
pub(crate) struct Held {
    connection: PoolConnection<Postgres>,
    is_sound: bool,
}

impl Held {
    /// Everything that was sent on it was answered, and no transaction is open.
    pub(crate) fn release(mut self) {
        self.is_sound = true;
    }
}

impl Deref for Held {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_sound {
            self.connection.close_on_drop();
        }
    }
}
